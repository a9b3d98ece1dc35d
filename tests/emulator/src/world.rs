//! The state of the host: one process of Envoy with its workers, and what host calls do to it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use crate::costs::Costs;
use crate::pairs::{Pairs, marshal, unmarshal};

pub(crate) type SharedWorld = Rc<RefCell<World>>;

/// `proxy_status_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Status {
    NotFound = 1,
    BadArgument = 2,
    Empty = 7,
    CasMismatch = 8,
    Unimplemented = 12,
}

/// `proxy_map_type_t`, as far as there is one.
const REQUEST_HEADERS: u32 = 0;
const RESPONSE_HEADERS: u32 = 2;
const CALL_RESPONSE_HEADERS: u32 = 6;

/// `proxy_buffer_type_t`, as far as there is one.
const REQUEST_BODY: u32 = 0;
const CALL_RESPONSE_BODY: u32 = 4;
const PLUGIN_CONFIGURATION: u32 = 7;

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) now_nanos: u64,
    random: u64,
    shared: BTreeMap<Vec<u8>, (Vec<u8>, u32)>,
    next_version: u32,
    pub(crate) queues: BTreeMap<u32, Queue>,
    /// The clusters that there are.
    pub(crate) clusters: BTreeSet<String>,
    /// Those of them to which calls fail at once.
    pub(crate) failing_at_once: BTreeSet<String>,
    pub(crate) workers: Vec<Worker>,
    pub(crate) violations: Vec<String>,
    pub(crate) logs: Vec<String>,
    pub(crate) costs: Costs,
    /// Kind, name and value of each metric. Each definition is one more.
    pub(crate) metrics: Vec<(u32, String, i64)>,
    /// What the filter has told the access log, in order.
    pub(crate) described: Vec<(String, String)>,
}

/// A shared queue, and which worker's root context is called back for it.
#[derive(Debug)]
pub(crate) struct Queue {
    name: Vec<u8>,
    pub(crate) worker: usize,
    pub(crate) context: u32,
    pub(crate) tokens: VecDeque<Vec<u8>>,
    /// How many callbacks are on their way.
    pub(crate) ready: usize,
}

/// A worker thread with its VM.
#[derive(Debug, Default)]
pub(crate) struct Worker {
    /// The context for which calls count.
    pub(crate) effective: u32,
    pub(crate) root: u32,
    pub(crate) configuration: Vec<u8>,
    pub(crate) streams: BTreeMap<u32, Stream>,
    pub(crate) calls: BTreeMap<u32, Call>,
    pub(crate) next_token: u32,
    /// The answer that the running callback is about.
    pub(crate) answer: Option<(Pairs, Vec<u8>)>,
    /// What is done when the running callback has returned (`addAfterVmCallAction`).
    pub(crate) actions: VecDeque<Deferred>,
    pub(crate) next_iteration_stopped: bool,
}

#[derive(Debug)]
pub(crate) enum Deferred {
    Reply { stream: u32, status: u32, headers: Pairs, body: Vec<u8> },
    Resume { stream: u32 },
    Failure { token: u32 },
}

/// A callout.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) cluster: String,
    pub(crate) headers: Pairs,
    pub(crate) body: Vec<u8>,
    pub(crate) timeout_ms: u32,
}

/// A request, as the filter's context in Envoy sees it.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    pub(crate) request_headers: Option<Pairs>,
    pub(crate) response_headers: Option<Pairs>,
    /// The body that is buffered while the filter holds it.
    pub(crate) buffered: Vec<u8>,
    /// Whether the filter may read the body.
    pub(crate) body_readable: bool,
    pub(crate) properties: BTreeMap<String, Vec<u8>>,
    /// The head as the filter has left it.
    pub(crate) head: Pairs,
    pub(crate) held: bool,
    pub(crate) ended: bool,
    pub(crate) replying: bool,
    pub(crate) to_upstream: Option<(Pairs, Vec<u8>)>,
}

impl World {
    pub(crate) fn new() -> SharedWorld {
        Rc::new(RefCell::new(Self {
            now_nanos: 1_800_000_000_000_000_000,
            random: 0x9e37_79b9_7f4a_7c15,
            shared: BTreeMap::new(),
            next_version: 1,
            queues: BTreeMap::new(),
            clusters: BTreeSet::new(),
            failing_at_once: BTreeSet::new(),
            workers: Vec::new(),
            violations: Vec::new(),
            logs: Vec::new(),
            costs: Costs::default(),
            metrics: Vec::new(),
            described: Vec::new(),
        }))
    }

    pub(crate) fn count(&mut self, call: &'static str) {
        *self.costs.calls.entry(call).or_default() += 1;
    }

    pub(crate) fn violation(&mut self, what: impl Into<String>) {
        self.violations.push(what.into());
    }

    /// Bytes that are the same in each run (SplitMix64).
    pub(crate) fn fill_random(&mut self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(8) {
            self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = self.random;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            chunk.copy_from_slice(&(mixed ^ (mixed >> 31)).to_le_bytes()[..chunk.len()]);
        }
    }

    fn stream(&mut self, worker: usize) -> Option<&mut Stream> {
        let worker = &mut self.workers[worker];
        worker.streams.get_mut(&worker.effective)
    }

    /// A map that is not there is an empty one when it is read as a whole.
    pub(crate) fn header_map(&mut self, worker: usize, map: u32) -> Vec<u8> {
        self.count("proxy_get_header_map_pairs");
        let pairs = match map {
            REQUEST_HEADERS => self.stream(worker).and_then(|stream| stream.request_headers.clone()),
            RESPONSE_HEADERS => self.stream(worker).and_then(|stream| stream.response_headers.clone()),
            CALL_RESPONSE_HEADERS => self.workers[worker].answer.clone().map(|(headers, _)| headers),
            _ => None,
        };
        match pairs {
            Some(pairs) if pairs.is_empty() => Vec::new(),
            Some(pairs) => marshal(&pairs),
            None => {
                self.violation(format!("reads header map {map}, which is not there"));
                Vec::new()
            }
        }
    }

    /// Changes a map by name. A map that is not there is a bad argument.
    pub(crate) fn change_header(
        &mut self,
        worker: usize,
        map: u32,
        change: impl FnOnce(&mut Pairs),
    ) -> Result<(), Status> {
        let stream = self.stream(worker);
        let pairs = match (map, stream) {
            (REQUEST_HEADERS, Some(stream)) => stream.request_headers.as_mut(),
            (RESPONSE_HEADERS, Some(stream)) => stream.response_headers.as_mut(),
            _ => None,
        };
        if let Some(pairs) = pairs {
            change(pairs);
            return Ok(());
        }
        self.violation(format!("changes header map {map}, which is not there"));
        Err(Status::BadArgument)
    }

    pub(crate) fn add_header(
        &mut self,
        worker: usize,
        map: u32,
        name: &[u8],
        value: &[u8],
    ) -> Result<(), Status> {
        self.count("proxy_add_header_map_value");
        let field = (name.to_ascii_lowercase(), value.to_vec());
        self.change_header(worker, map, |pairs| pairs.push(field))
    }

    pub(crate) fn remove_header(&mut self, worker: usize, map: u32, name: &[u8]) -> Result<(), Status> {
        self.count("proxy_remove_header_map_value");
        self.change_header(worker, map, |pairs| pairs.retain(|(field, _)| !field.eq_ignore_ascii_case(name)))
    }

    pub(crate) fn replace_header(
        &mut self,
        worker: usize,
        map: u32,
        name: &[u8],
        value: &[u8],
    ) -> Result<(), Status> {
        self.count("proxy_replace_header_map_value");
        self.change_header(worker, map, |pairs| {
            let at = pairs.iter().position(|(field, _)| field.eq_ignore_ascii_case(name));
            pairs.retain(|(field, _)| !field.eq_ignore_ascii_case(name));
            let at = at.unwrap_or(pairs.len());
            pairs.insert(at, (name.to_ascii_lowercase(), value.to_vec()));
        })
    }

    pub(crate) fn buffer(
        &mut self,
        worker: usize,
        buffer: u32,
        start: usize,
        len: usize,
    ) -> Result<Vec<u8>, Status> {
        self.count("proxy_get_buffer_bytes");
        let bytes = match buffer {
            REQUEST_BODY => {
                self.stream(worker).filter(|stream| stream.body_readable).map(|stream| &stream.buffered)
            }
            CALL_RESPONSE_BODY => self.workers[worker].answer.as_ref().map(|(_, body)| body),
            PLUGIN_CONFIGURATION => Some(&self.workers[worker].configuration),
            _ => None,
        };
        if let Some(bytes) = bytes {
            let start = start.min(bytes.len());
            return Ok(bytes[start..(start + len).min(bytes.len())].to_vec());
        }
        self.violation(format!("reads buffer {buffer}, which is not there"));
        Err(Status::NotFound)
    }

    pub(crate) fn property(&mut self, worker: usize, path: &str) -> Result<Vec<u8>, Status> {
        self.count("proxy_get_property");
        self.stream(worker).and_then(|stream| stream.properties.get(path).cloned()).ok_or(Status::NotFound)
    }

    pub(crate) fn now(&mut self) -> u64 {
        self.count("proxy_get_current_time_nanoseconds");
        self.now_nanos
    }

    pub(crate) fn send_local_response(
        &mut self,
        worker: usize,
        status: u32,
        headers: &[u8],
        body: &[u8],
    ) -> Result<(), Status> {
        self.count("proxy_send_local_response");
        let Some(headers) = unmarshal(headers) else {
            self.violation("answers with fields that the host cannot read");
            return Ok(());
        };
        match self.stream(worker) {
            Some(stream) if stream.replying => self.violation("answers twice"),
            Some(stream) if stream.to_upstream.is_some() => {
                self.violation("answers a request that went on");
            }
            None => self.violation("answers in the root context"),
            Some(stream) => stream.replying = true,
        }
        let worker = &mut self.workers[worker];
        let stream = worker.effective;
        worker.next_iteration_stopped = true;
        worker.actions.push_back(Deferred::Reply { stream, status, headers, body: body.to_vec() });
        Ok(())
    }

    pub(crate) fn continue_stream(&mut self, worker: usize, kind: u32) -> Result<(), Status> {
        self.count("proxy_continue_stream");
        match self.stream(worker) {
            Some(stream) if kind == 0 && stream.held && !stream.replying => {
                stream.held = false;
                // What the filter has left of it is what goes on.
                if let Some(head) = stream.request_headers.take() {
                    stream.head = head;
                }
                stream.body_readable = false;
            }
            _ => self.violation("resumes what is not held"),
        }
        let worker = &mut self.workers[worker];
        worker.actions.push_back(Deferred::Resume { stream: worker.effective });
        Ok(())
    }

    pub(crate) fn set_effective_context(&mut self, worker: usize, context: u32) -> Result<(), Status> {
        self.count("proxy_set_effective_context");
        let state = &mut self.workers[worker];
        if context == state.root || state.streams.contains_key(&context) {
            state.effective = context;
            return Ok(());
        }
        self.violation(format!("acts for context {context}, which is not there"));
        Err(Status::BadArgument)
    }

    pub(crate) fn http_call(
        &mut self,
        worker: usize,
        cluster: &[u8],
        headers: &[u8],
        body: &[u8],
        timeout_ms: u32,
    ) -> Result<u32, Status> {
        self.count("proxy_http_call");
        let cluster = String::from_utf8_lossy(cluster).into_owned();
        let Some(headers) = unmarshal(headers) else {
            self.violation("calls with fields that the host cannot read");
            return Err(Status::BadArgument);
        };
        if timeout_ms == 0 {
            self.violation(format!("calls {cluster} without a timeout"));
        }
        let needed = [":method", ":path", ":authority"];
        if needed.iter().any(|name| !headers.iter().any(|(field, _)| field == name.as_bytes())) {
            self.violation(format!("calls {cluster} without one of {needed:?}"));
            return Err(Status::BadArgument);
        }
        if !self.clusters.contains(&cluster) {
            return Err(Status::BadArgument);
        }
        let fails = self.failing_at_once.contains(&cluster);
        let worker = &mut self.workers[worker];
        worker.next_token += 1;
        let token = worker.next_token;
        worker.calls.insert(token, Call { cluster, headers, body: body.to_vec(), timeout_ms });
        if fails {
            // We are in a reentrant call, so defer.
            worker.actions.push_back(Deferred::Failure { token });
        }
        Ok(token)
    }

    pub(crate) fn register_queue(&mut self, worker: usize, name: &[u8]) -> u32 {
        self.count("proxy_register_shared_queue");
        let context = self.workers[worker].root;
        if let Some((id, _)) = self.queues.iter().find(|(_, queue)| queue.name == name) {
            return *id;
        }
        let id = u32::try_from(self.queues.len()).unwrap() + 1;
        let queue = Queue { name: name.to_vec(), worker, context, tokens: VecDeque::new(), ready: 0 };
        self.queues.insert(id, queue);
        id
    }

    pub(crate) fn enqueue(&mut self, queue: u32, token: &[u8]) -> Result<(), Status> {
        self.count("proxy_enqueue_shared_queue");
        let queue = self.queues.get_mut(&queue).ok_or(Status::NotFound)?;
        queue.tokens.push_back(token.to_vec());
        queue.ready += 1;
        Ok(())
    }

    pub(crate) fn dequeue(&mut self, queue: u32) -> Result<Vec<u8>, Status> {
        self.count("proxy_dequeue_shared_queue");
        let queue = self.queues.get_mut(&queue).ok_or(Status::NotFound)?;
        queue.tokens.pop_front().ok_or(Status::Empty)
    }

    pub(crate) fn shared_data(&mut self, key: &[u8]) -> Result<(Vec<u8>, u32), Status> {
        self.count("proxy_get_shared_data");
        self.shared.get(key).cloned().ok_or(Status::NotFound)
    }

    /// `SharedData::set`: a version of 0 overwrites, a key that is not there is created whatever the version.
    pub(crate) fn set_shared_data(&mut self, key: &[u8], value: &[u8], version: u32) -> Result<(), Status> {
        self.count("proxy_set_shared_data");
        if let Some((_, known)) = self.shared.get(key)
            && version != 0
            && version != *known
        {
            return Err(Status::CasMismatch);
        }
        self.shared.insert(key.to_vec(), (value.to_vec(), self.next_version));
        self.next_version += 1;
        Ok(())
    }

    /// Envoy makes a new metric of each definition, so a second one of the same name is a leak.
    pub(crate) fn define_metric(&mut self, kind: u32, name: &str) -> u32 {
        self.count("proxy_define_metric");
        self.metrics.push((kind, name.to_owned(), 0));
        u32::try_from(self.metrics.len()).unwrap()
    }

    pub(crate) fn increment_metric(&mut self, metric: u32, by: i64) -> Result<(), Status> {
        const COUNTER: u32 = 0;
        self.count("proxy_increment_metric");
        match self.metrics.get_mut((metric as usize).wrapping_sub(1)) {
            Some((COUNTER, ..)) if by <= 0 => {
                self.violation("adds nothing to a counter");
                Err(Status::BadArgument)
            }
            Some((_, _, value)) => {
                *value += by;
                Ok(())
            }
            None => Err(Status::NotFound),
        }
    }

    /// Sets a gauge, or takes a value into a histogram, of which the sum is kept.
    pub(crate) fn record_metric(&mut self, metric: u32, value: u64) -> Result<(), Status> {
        const HISTOGRAM: u32 = 2;
        self.count("proxy_record_metric");
        let value = i64::try_from(value).unwrap();
        match self.metrics.get_mut((metric as usize).wrapping_sub(1)) {
            Some((HISTOGRAM, _, sum)) => *sum += value,
            Some((_, _, current)) => *current = value,
            None => return Err(Status::NotFound),
        }
        Ok(())
    }

    /// What the host's access log can tell of the stream whose callback runs.
    pub(crate) fn set_property(&mut self, path: &str, value: &[u8]) {
        self.count("proxy_set_property");
        let value = String::from_utf8_lossy(value).into_owned();
        self.described.push((path.to_owned(), value));
    }

    pub(crate) fn log(&mut self, level: u32, message: &str) {
        self.count("proxy_log");
        const LEVELS: [&str; 6] = ["trace", "debug", "info", "warn", "error", "critical"];
        self.logs.push(format!("{}: {message}", LEVELS[level as usize]));
    }
}
