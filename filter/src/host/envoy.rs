//! Envoy's way.

use std::rc::Rc;

use super::{Calls, HeaderMap, Host, Status, Wake};

/// A version that Envoy gives to no value within reach: it counts up from 1, over all values of the process.
const NO_VERSION: u32 = u32::MAX;

/// Envoy.
#[derive(Clone, Debug)]
pub struct Envoy {
    calls: Rc<dyn Calls>,
}

impl Envoy {
    /// Envoy behind these calls.
    pub fn new(calls: Rc<dyn Calls>) -> Self {
        Self { calls }
    }
}

impl Host for Envoy {
    fn calls(&self) -> &dyn Calls {
        self.calls.as_ref()
    }

    fn waker(&self, name: &str) -> Option<Box<dyn Wake>> {
        let queue = self.calls.register_queue(name)?;
        Some(Box::new(Queue { calls: Rc::clone(&self.calls), queue }))
    }

    fn strip_request_header(&self, name: &str) -> bool {
        self.calls.remove_header(HeaderMap::Request, name)
    }

    /// Envoy sets a value that is not there whatever the version, overwrites one that is there where the version is 0, and
    /// else compares (`SharedData::set` in proxy-wasm-cpp-host, `src/shared_data.cc`). With 0, two workers that create
    /// at the same time would overwrite each other.
    /// As filter state `wasm.wicketgate.<name>` (Envoy, `Context::setProperty`).
    fn describe(&self, name: &str, value: &str) {
        self.calls().set_property(&["wicketgate.", name].concat(), value.as_bytes());
    }

    fn create_shared(&self, key: &str, value: &[u8]) -> Result<bool, Status> {
        written(self.calls.set_shared_data(key, value, NO_VERSION))
    }

    fn swap_shared(&self, key: &str, value: &[u8], version: u32) -> Result<bool, Status> {
        written(self.calls.set_shared_data(key, value, version))
    }
}

fn written(result: Result<(), Status>) -> Result<bool, Status> {
    match result {
        Ok(()) => Ok(true),
        Err(Status::CasMismatch) => Ok(false),
        Err(status) => Err(status),
    }
}

/// A shared queue that only this VM knows. Envoy calls the root context back for each token, in the next turn of the
/// worker's event loop.
#[derive(Debug)]
struct Queue {
    calls: Rc<dyn Calls>,
    queue: u32,
}

impl Wake for Queue {
    fn wake(&self) -> bool {
        self.calls.enqueue(self.queue)
    }

    fn woken(&self) {
        while self.calls.dequeue(self.queue) {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fake::Fake;

    #[test]
    fn of_two_that_create_a_shared_value_one_is_told_so() {
        let host = Fake::new().host();
        assert_eq!(host.create_shared("slot", b"1"), Ok(true));
        assert_eq!(host.create_shared("slot", b"2"), Ok(false));
        assert_eq!(host.calls().shared_data("slot").unwrap().0, b"1");
    }

    #[test]
    fn of_two_that_replace_a_shared_value_one_is_told_so() {
        let host = Fake::new().host();
        assert_eq!(host.calls().shared_data("slot"), Err(Status::NotFound));
        host.create_shared("slot", b"1").unwrap();
        let (_, version) = host.calls().shared_data("slot").unwrap();
        assert_eq!(host.swap_shared("slot", b"2", version), Ok(true));
        assert_eq!(host.swap_shared("slot", b"3", version), Ok(false));
        assert_eq!(host.calls().shared_data("slot").unwrap().0, b"2");
    }
}
