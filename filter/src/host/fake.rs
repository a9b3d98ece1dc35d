//! A host without a proxy for unit tests: it records what it is asked for, and refuses what a test tells it to.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use super::{Buffer, Calls, Envoy, HeaderMap, Host, HttpCall, MetricKind, Status, encode_pairs};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Fake {
    pub(crate) calls: RefCell<Vec<SentCall>>,
    pub(crate) effective_context: Cell<u32>,
    pub(crate) tokens: Cell<usize>,
    /// How many of the next calls are refused.
    pub(crate) refuses_calls: Cell<usize>,
    pub(crate) refuses_tokens: Cell<bool>,
    answer: RefCell<(Vec<u8>, Vec<u8>)>,
    shared: RefCell<BTreeMap<String, (Vec<u8>, u32)>>,
    random: Cell<u8>,
    /// Names and values of metrics, in the order in which they were defined.
    pub(crate) metrics: RefCell<Vec<(String, i64)>>,
    /// What [`Calls::buffer`] has been asked for.
    pub(crate) read: RefCell<VecDeque<Buffer>>,
}

/// A call that was to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SentCall {
    pub(crate) upstream: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
    pub(crate) timeout: Duration,
    pub(crate) by: u32,
}

impl Fake {
    pub(crate) fn new() -> Rc<Self> {
        Rc::default()
    }

    pub(crate) fn host(self: &Rc<Self>) -> Rc<dyn Host> {
        Rc::new(Envoy::new(Rc::clone(self) as Rc<dyn Calls>))
    }

    /// The answer that the callback which comes next can read. Returns the size of its body.
    pub(crate) fn answer(&self, headers: &[(&str, &str)], body: &str) -> usize {
        self.answer.replace((encode_pairs(headers.iter().copied()), body.as_bytes().to_vec()));
        body.len()
    }

    /// The bodies of the calls so far.
    pub(crate) fn bodies(&self) -> Vec<String> {
        self.calls.borrow().iter().map(|call| call.body.clone()).collect()
    }
}

impl Calls for Fake {
    fn header_map(&self, map: HeaderMap) -> Option<Vec<u8>> {
        (map == HeaderMap::CalloutResponse).then(|| self.answer.borrow().0.clone())
    }

    fn buffer(&self, buffer: Buffer, len: usize) -> Option<Vec<u8>> {
        self.read.borrow_mut().push_back(buffer);
        (buffer == Buffer::CalloutResponseBody)
            .then(|| self.answer.borrow().1.iter().copied().take(len).collect())
    }

    fn property(&self, _path: &[&str]) -> Option<Vec<u8>> {
        None
    }

    fn now_nanos(&self) -> u64 {
        1_700_000_000_000_000_000
    }

    fn fill_random(&self, buffer: &mut [u8]) -> bool {
        self.random.set(self.random.get().wrapping_add(1));
        buffer.fill(self.random.get());
        true
    }

    fn send_local_response(&self, _status: u16, _headers: &[u8], _body: &[u8]) -> bool {
        false
    }

    fn add_header(&self, _map: HeaderMap, _name: &str, _value: &str) -> bool {
        false
    }

    fn replace_header(&self, _map: HeaderMap, _name: &str, _value: &[u8]) -> bool {
        false
    }

    fn remove_header(&self, _map: HeaderMap, _name: &str) -> bool {
        false
    }

    fn resume_request(&self) -> bool {
        false
    }

    fn set_effective_context(&self, context: u32) -> bool {
        self.effective_context.set(context);
        true
    }

    fn dispatch(&self, call: HttpCall<'_>) -> Option<u32> {
        if let Some(left) = self.refuses_calls.get().checked_sub(1) {
            self.refuses_calls.set(left);
            return None;
        }
        let headers = call.headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let mut calls = self.calls.borrow_mut();
        calls.push(SentCall {
            upstream: call.upstream.to_owned(),
            headers: headers.collect(),
            body: String::from_utf8(call.body.to_vec()).unwrap(),
            timeout: call.timeout,
            by: self.effective_context.get(),
        });
        u32::try_from(calls.len()).ok()
    }

    fn register_queue(&self, _name: &str) -> Option<u32> {
        Some(7)
    }

    fn enqueue(&self, queue: u32) -> bool {
        assert_eq!(queue, 7);
        if !self.refuses_tokens.get() {
            self.tokens.set(self.tokens.get() + 1);
        }
        !self.refuses_tokens.get()
    }

    fn dequeue(&self, queue: u32) -> bool {
        assert_eq!(queue, 7);
        let tokens = self.tokens.get();
        self.tokens.set(tokens.saturating_sub(1));
        tokens > 0
    }

    fn shared_data(&self, key: &str) -> Result<(Vec<u8>, u32), Status> {
        self.shared.borrow().get(key).cloned().ok_or(Status::NotFound)
    }

    fn define_metric(&self, _: MetricKind, name: &str) -> Option<u32> {
        let mut metrics = self.metrics.borrow_mut();
        metrics.push((name.to_owned(), 0));
        u32::try_from(metrics.len() - 1).ok()
    }

    fn record_metric(&self, metric: u32, value: u64) -> bool {
        let mut metrics = self.metrics.borrow_mut();
        let value = i64::try_from(value).expect("a small value");
        metrics.get_mut(metric as usize).map(|(_, recorded)| *recorded = value).is_some()
    }

    fn set_property(&self, _: &str, _: &[u8]) -> bool {
        true
    }

    fn add_to_metric(&self, metric: u32, by: i64) -> bool {
        let mut metrics = self.metrics.borrow_mut();
        metrics.get_mut(metric as usize).map(|(_, value)| *value += by).is_some()
    }

    /// As `SharedData::set` in proxy-wasm-cpp-host.
    fn set_shared_data(&self, key: &str, value: &[u8], version: u32) -> Result<(), Status> {
        let mut shared = self.shared.borrow_mut();
        let next = shared.values().map(|(_, version)| *version).max().unwrap_or(0) + 1;
        match shared.get(key) {
            Some((_, known)) if version != 0 && version != *known => return Err(Status::CasMismatch),
            _ => shared.insert(key.to_owned(), (value.to_vec(), next)),
        };
        Ok(())
    }
}
