//! What the filter asks of a proxy-wasm host, in two layers.
//!
//! [`Calls`] are the calls of the ABI, one method each: every host has them, and tests have a host of their own. The
//! SDK's wrappers of them panic on every status that they do not expect and on text that is not UTF-8, and a panic in
//! a gateway is an outage; here a call returns what the host gave, or nothing. [`Host`] is what one kind of proxy wants
//! done with those calls where proxies differ. The rest of the filter knows both as traits only.
//!
//! `abi.rs` has the only unsafe code of the filter.

#[cfg(target_arch = "wasm32")]
#[allow(unsafe_code, reason = "host calls take and return raw pointers")]
pub(crate) mod abi;
mod envoy;
#[cfg(test)]
pub(crate) mod fake;
mod pairs;

use std::fmt;
use std::time::Duration;

pub use self::envoy::Envoy;
pub use self::pairs::{decode as decode_pairs, encode as encode_pairs};

/// `proxy_map_type_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum HeaderMap {
    /// Fields of the request; readable while its head is being handled.
    Request = 0,
    /// Fields of the response; changeable while its head is being handled.
    Response = 2,
    /// Fields of a callout's answer; readable in its callback.
    CalloutResponse = 6,
}

/// `proxy_buffer_type_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Buffer {
    /// The body of the request as far as it is buffered.
    RequestBody = 0,
    /// The body of a callout's answer.
    CalloutResponseBody = 4,
    /// The configuration document.
    PluginConfiguration = 7,
}

/// `proxy_metric_type_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum MetricKind {
    /// It only grows.
    Counter = 0,
    /// It grows and shrinks.
    Gauge = 1,
    /// It tells how values are distributed.
    Histogram = 2,
}

/// `proxy_action_t`: whether a stream goes on when a callback returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It goes on.
    Continue,
    /// It is held.
    Pause,
}

/// Why a host call came to nothing (`proxy_status_t`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// There is no such thing.
    NotFound,
    /// The version of a shared value is another.
    CasMismatch,
    /// Anything else.
    Failed,
}

/// An HTTP call that the host is to make.
#[derive(Clone, Copy, Debug)]
pub struct HttpCall<'a> {
    /// Where to: on Envoy, the name of a cluster.
    pub upstream: &'a str,
    /// The fields, pseudo-fields first.
    pub headers: &'a [(&'a str, &'a str)],
    /// The content; empty for none.
    pub body: &'a [u8],
    /// How long to wait for the answer. Zero counts as a millisecond, since to hosts it would mean for ever.
    pub timeout: Duration,
}

/// The host calls, as the ABI has them. A call counts for the effective context.
pub trait Calls {
    /// All fields of a map, as [`decode_pairs`] reads them.
    fn header_map(&self, map: HeaderMap) -> Option<Vec<u8>>;

    /// `len` bytes from the start of a buffer; fewer, if it has no more.
    fn buffer(&self, buffer: Buffer, len: usize) -> Option<Vec<u8>>;

    /// A property by its path, such as `["source", "address"]` (Envoy: "Attributes").
    fn property(&self, path: &[&str]) -> Option<Vec<u8>>;

    /// Nanoseconds since the epoch; 0 if the host has no clock.
    fn now_nanos(&self) -> u64;

    /// Fills `buffer` with bytes that nobody can guess. Says whether the host had them.
    fn fill_random(&self, buffer: &mut [u8]) -> bool;

    /// Answers the request. `headers` is what [`encode_pairs`] made. Says whether the host took it.
    fn send_local_response(&self, status: u16, headers: &[u8], body: &[u8]) -> bool;

    /// Adds a field. Legal while the head is being handled.
    fn add_header(&self, map: HeaderMap, name: &str, value: &str) -> bool;

    /// Gives a field this value in place of all that it has. Legal while the head is being handled.
    fn replace_header(&self, map: HeaderMap, name: &str, value: &[u8]) -> bool;

    /// Removes every field of this name. Legal while the head is being handled.
    fn remove_header(&self, map: HeaderMap, name: &str) -> bool;

    /// Lets a request go on that has been held.
    fn resume_request(&self) -> bool;

    /// Makes the calls that follow count for this context, until the current callback returns.
    fn set_effective_context(&self, context: u32) -> bool;

    /// Makes an HTTP call on behalf of the context that is being called back. Returns the host's number of it, or `None`
    /// if the host did not take it, which it then says in its own log.
    fn dispatch(&self, call: HttpCall<'_>) -> Option<u32>;

    /// Makes a queue that calls this root context back, on this thread, when something is put into it.
    fn register_queue(&self, name: &str) -> Option<u32>;

    /// Puts one token into a queue.
    fn enqueue(&self, queue: u32) -> bool;

    /// Takes one token out of a queue. Says whether there was one.
    fn dequeue(&self, queue: u32) -> bool;

    /// A value that all VMs share, with its version.
    ///
    /// # Errors
    /// [`Status::NotFound`] if there is none.
    fn shared_data(&self, key: &str) -> Result<(Vec<u8>, u32), Status>;

    /// Sets a value that all VMs share. What `version` means differs between hosts: see [`Host::create_shared`].
    ///
    /// # Errors
    /// [`Status::CasMismatch`] if its version is another.
    fn set_shared_data(&self, key: &str, value: &[u8], version: u32) -> Result<(), Status>;

    /// Defines a metric, and returns the host's number of it. A host keeps each definition for ever, so each is made once.
    fn define_metric(&self, kind: MetricKind, name: &str) -> Option<u32>;

    /// Adds to a metric. Says whether the host took it; hosts refuse to add nothing to a counter.
    fn add_to_metric(&self, metric: u32, by: i64) -> bool;

    /// Sets a gauge, or takes a value into a histogram. Says whether the host took it.
    fn record_metric(&self, metric: u32, value: u64) -> bool;

    /// Sets a property of the request. Says whether the host took it. Which names it takes differs between hosts: see
    /// [`Host::describe`].
    fn set_property(&self, path: &str, value: &[u8]) -> bool;
}

/// One kind of proxy.
pub trait Host {
    /// The calls of the ABI.
    fn calls(&self) -> &dyn Calls;

    /// A way to have the root context called back soon, on its own thread. `name` must be nobody else's in the proxy.
    /// `None` if the host does not give one.
    fn waker(&self, name: &str) -> Option<Box<dyn Wake>>;

    /// Takes a field out of the request, so that no upstream sees it. Says whether the host did.
    fn strip_request_header(&self, name: &str) -> bool;

    /// Says something of the request to the host's access log. A host that has no place for it loses it.
    fn describe(&self, _name: &str, _value: &str) {}

    /// Creates a value that all VMs share. Says whether it did: false if there was one already.
    ///
    /// # Errors
    /// [`Status::Failed`] when the host does not do its part.
    fn create_shared(&self, key: &str, value: &[u8]) -> Result<bool, Status>;

    /// Replaces a value that all VMs share if its version is still this one. Says whether it did.
    ///
    /// # Errors
    /// [`Status::Failed`] when the host does not do its part.
    fn swap_shared(&self, key: &str, value: &[u8], version: u32) -> Result<bool, Status>;
}

/// A way to have the root context called back.
pub trait Wake {
    /// Asks for the callback. Says whether the host took the wish.
    fn wake(&self) -> bool;

    /// Takes note that the callback has come.
    fn woken(&self);
}

// Not by the trait, for then each implementation's whole `Debug` would be in the module that ships.
impl fmt::Debug for dyn Calls + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Calls")
    }
}

impl fmt::Debug for dyn Host + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Host")
    }
}

impl fmt::Debug for dyn Wake + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wake")
    }
}
