//! What the core may not own, from the host and from this VM's memory.

use std::cell::{RefCell, RefMut};
use std::rc::Rc;

use wicketgate_envelope::timestamp::Timestamp;
use wicketgate_policy::auth::Memory;
use wicketgate_policy::env::{Count, Env, SharedError, SharedStore, Version};

use crate::host::{Host, Status};
use crate::metrics::{Metric, Metrics};

/// The host, and what a VM remembers for one configuration.
#[derive(Debug)]
pub(crate) struct Environment {
    pub(crate) host: Rc<dyn Host>,
    memory: RefCell<Memory>,
    metrics: RefCell<Metrics>,
}

impl Environment {
    pub(crate) fn new(host: Rc<dyn Host>) -> Rc<Self> {
        Rc::new(Self { host, memory: RefCell::default(), metrics: RefCell::default() })
    }

    /// Adds to a metric.
    pub(crate) fn add(&self, metric: Metric<'_>, by: i64) {
        self.metrics.borrow_mut().add(metric, by, self.host.calls());
    }

    /// Sets a gauge, or takes a value into a histogram.
    pub(crate) fn record(&self, metric: Metric<'_>, value: usize) {
        let value = u64::try_from(value).unwrap_or(u64::MAX);
        self.metrics.borrow_mut().record(metric, value, self.host.calls());
    }

    /// For one step of the core, which calls nobody back; so never twice at a time.
    pub(crate) fn lend(&self) -> HostEnv<'_> {
        HostEnv {
            host: self.host.as_ref(),
            memory: self.memory.borrow_mut(),
            metrics: self.metrics.borrow_mut(),
        }
    }
}

/// What the host and the VM lend for one step.
#[derive(Debug)]
pub(crate) struct HostEnv<'a> {
    host: &'a (dyn Host + 'a),
    memory: RefMut<'a, Memory>,
    metrics: RefMut<'a, Metrics>,
}

impl Env for HostEnv<'_> {
    fn now(&self) -> Timestamp {
        Timestamp::from_nanos(self.host.calls().now_nanos())
    }

    fn fill_random(&mut self, buffer: &mut [u8]) {
        if !self.host.calls().fill_random(buffer) {
            log::error!("the host has no random bytes: event ids may repeat");
        }
    }

    fn memory(&mut self) -> &mut Memory {
        &mut self.memory
    }

    fn property(&self, path: &[&str]) -> Option<Vec<u8>> {
        self.host.calls().property(path)
    }

    fn shared(&mut self) -> &mut dyn SharedStore {
        self
    }

    fn count(&mut self, count: Count<'_>) {
        self.metrics.count(count, self.host.calls());
    }
}

impl SharedStore for HostEnv<'_> {
    fn get(&mut self, key: &str) -> Result<Option<(Vec<u8>, Version)>, SharedError> {
        match self.host.calls().shared_data(key) {
            Ok((value, version)) => Ok(Some((value, Version(version)))),
            Err(Status::NotFound) => Ok(None),
            Err(_) => Err(SharedError),
        }
    }

    fn create(&mut self, key: &str, value: &[u8]) -> Result<bool, SharedError> {
        self.host.create_shared(key, value).map_err(|_| SharedError)
    }

    fn compare_and_swap(&mut self, key: &str, value: &[u8], version: Version) -> Result<bool, SharedError> {
        self.host.swap_shared(key, value, version.0).map_err(|_| SharedError)
    }
}
