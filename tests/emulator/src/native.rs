//! The crate, natively: the ABI's calls are calls of the host's state, and its callbacks calls of the crate.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use wicketgate_filter::host::{
    Action, Buffer, Calls, Envoy, HeaderMap, HttpCall, MetricKind, Status, encode_pairs,
};
use wicketgate_filter::root::Root;
use wicketgate_filter::stream::Stream;

use crate::callback::Callback;
use crate::machine::Machine;
use crate::world::{self, SharedWorld};

thread_local! {
    /// The host that logs on this thread go to.
    static LOGS: RefCell<Option<SharedWorld>> = const { RefCell::new(None) };
}

struct Logger;

impl log::Log for Logger {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::Level::Info
    }

    fn log(&self, record: &log::Record<'_>) {
        let level = 5 - record.level() as u32;
        let world = LOGS.with_borrow(Clone::clone);
        if let Some(world) = world.filter(|_| self.enabled(record.metadata())) {
            world.borrow_mut().log(level, &record.args().to_string());
        }
    }

    fn flush(&self) {}
}

/// See the module.
pub(crate) struct Native {
    calls: Rc<NativeCalls>,
    root: Option<Root>,
    streams: BTreeMap<u32, Stream>,
}

impl Native {
    pub(crate) fn new(world: SharedWorld, worker: usize) -> Self {
        // Another test of this process may have been faster.
        let _ = log::set_logger(&Logger);
        log::set_max_level(log::LevelFilter::Info);
        Self { calls: Rc::new(NativeCalls { world, worker }), root: None, streams: BTreeMap::new() }
    }

    fn root(&mut self) -> &mut Root {
        self.root.as_mut().expect("the root context is created first")
    }
}

impl Machine for Native {
    fn call(&mut self, callback: Callback) -> Result<u32, String> {
        LOGS.set(Some(Rc::clone(&self.calls.world)));
        let stream = self.streams.get_mut(&callback.context());
        let action = |action| Ok(u32::from(action == Action::Pause));
        match (callback, stream) {
            (Callback::ContextCreate { context, parent: 0 }, _) => {
                let host = Envoy::new(Rc::clone(&self.calls) as Rc<dyn Calls>);
                self.root = Some(Root::new(context, Rc::new(host)));
            }
            (Callback::ContextCreate { context, .. }, _) => {
                let stream = self.root().create_stream(context);
                self.streams.insert(context, stream);
            }
            (Callback::VmStart { .. }, _) => {
                self.root().on_vm_start();
                return Ok(1);
            }
            (Callback::Configure { size, .. }, _) => {
                return Ok(u32::from(self.root().on_configure(size as usize)));
            }
            (Callback::QueueReady { .. }, _) => self.root().on_woken(),
            (Callback::HttpCallResponse { context, token, headers, size }, _) => {
                // As the SDK does.
                self.calls.set_effective_context(context);
                self.root().on_http_call_response(token, headers as usize, size as usize);
            }
            (Callback::RequestHeaders { end_of_stream, .. }, Some(stream)) => {
                return action(stream.on_request_headers(end_of_stream));
            }
            (Callback::RequestBody { size, end_of_stream, .. }, Some(stream)) => {
                return action(stream.on_request_body(size as usize, end_of_stream));
            }
            (Callback::RequestTrailers { .. }, Some(stream)) => {
                return action(stream.on_request_trailers());
            }
            (Callback::ResponseHeaders { .. }, Some(stream)) => {
                return action(stream.on_response_headers());
            }
            (Callback::ResponseBody { .. } | Callback::Log { .. }, Some(_)) => {}
            (Callback::Done { .. }, Some(stream)) => {
                stream.on_done();
                return Ok(1);
            }
            (Callback::Delete { context }, Some(_)) => {
                self.streams.remove(&context);
            }
            (callback, None) => return Err(format!("{callback:?} of a context that is not there")),
        }
        Ok(0)
    }
}

struct NativeCalls {
    world: SharedWorld,
    worker: usize,
}

impl fmt::Debug for NativeCalls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NativeCalls")
    }
}

fn status(status: world::Status) -> Status {
    match status {
        world::Status::NotFound => Status::NotFound,
        world::Status::CasMismatch => Status::CasMismatch,
        _ => Status::Failed,
    }
}

impl Calls for NativeCalls {
    fn header_map(&self, map: HeaderMap) -> Option<Vec<u8>> {
        Some(self.world.borrow_mut().header_map(self.worker, map as u32))
    }

    fn buffer(&self, buffer: Buffer, len: usize) -> Option<Vec<u8>> {
        self.world.borrow_mut().buffer(self.worker, buffer as u32, 0, len).ok()
    }

    fn property(&self, path: &[&str]) -> Option<Vec<u8>> {
        self.world.borrow_mut().property(self.worker, &path.join("\0")).ok()
    }

    fn now_nanos(&self) -> u64 {
        self.world.borrow_mut().now()
    }

    fn fill_random(&self, buffer: &mut [u8]) -> bool {
        self.world.borrow_mut().fill_random(buffer);
        true
    }

    fn send_local_response(&self, status: u16, headers: &[u8], body: &[u8]) -> bool {
        self.world.borrow_mut().send_local_response(self.worker, u32::from(status), headers, body).is_ok()
    }

    fn add_header(&self, map: HeaderMap, name: &str, value: &str) -> bool {
        let mut world = self.world.borrow_mut();
        world.add_header(self.worker, map as u32, name.as_bytes(), value.as_bytes()).is_ok()
    }

    fn replace_header(&self, map: HeaderMap, name: &str, value: &[u8]) -> bool {
        self.world.borrow_mut().replace_header(self.worker, map as u32, name.as_bytes(), value).is_ok()
    }

    fn remove_header(&self, map: HeaderMap, name: &str) -> bool {
        self.world.borrow_mut().remove_header(self.worker, map as u32, name.as_bytes()).is_ok()
    }

    fn resume_request(&self) -> bool {
        self.world.borrow_mut().continue_stream(self.worker, 0).is_ok()
    }

    fn set_effective_context(&self, context: u32) -> bool {
        self.world.borrow_mut().set_effective_context(self.worker, context).is_ok()
    }

    fn dispatch(&self, call: HttpCall<'_>) -> Option<u32> {
        let HttpCall { upstream, headers, body, timeout } = call;
        let headers = encode_pairs(headers.iter().copied());
        let timeout = u32::try_from(timeout.max(Duration::from_millis(1)).as_millis()).unwrap();
        self.world.borrow_mut().http_call(self.worker, upstream.as_bytes(), &headers, body, timeout).ok()
    }

    fn register_queue(&self, name: &str) -> Option<u32> {
        Some(self.world.borrow_mut().register_queue(self.worker, name.as_bytes()))
    }

    fn enqueue(&self, queue: u32) -> bool {
        self.world.borrow_mut().enqueue(queue, b"1").is_ok()
    }

    fn dequeue(&self, queue: u32) -> bool {
        self.world.borrow_mut().dequeue(queue).is_ok()
    }

    fn shared_data(&self, key: &str) -> Result<(Vec<u8>, u32), Status> {
        self.world.borrow_mut().shared_data(key.as_bytes()).map_err(status)
    }

    fn set_shared_data(&self, key: &str, value: &[u8], version: u32) -> Result<(), Status> {
        self.world.borrow_mut().set_shared_data(key.as_bytes(), value, version).map_err(status)
    }

    fn define_metric(&self, kind: MetricKind, name: &str) -> Option<u32> {
        Some(self.world.borrow_mut().define_metric(kind as u32, name))
    }

    fn record_metric(&self, metric: u32, value: u64) -> bool {
        self.world.borrow_mut().record_metric(metric, value).is_ok()
    }

    fn set_property(&self, path: &str, value: &[u8]) -> bool {
        self.world.borrow_mut().set_property(path, value);
        true
    }

    fn add_to_metric(&self, metric: u32, by: i64) -> bool {
        self.world.borrow_mut().increment_metric(metric, by).is_ok()
    }
}
