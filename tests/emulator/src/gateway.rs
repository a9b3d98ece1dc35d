//! Envoy's part: it walks requests through the filter and obeys what the filter says.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use crate::callback::Callback;
use crate::costs::Costs;
use crate::machine::{Kind, Machine};
use crate::native::Native;
use crate::pairs::Pairs;
use crate::wasm::{Count, Wasm};
use crate::world::{Deferred, SharedWorld, Stream, Worker, World};

/// The root context of each VM.
const ROOT: u32 = 1;

/// `per_connection_buffer_limit_bytes`: more body than this is answered by Envoy itself.
const BUFFER_LIMIT: usize = 1024 * 1024;

/// A request's head.
#[derive(Clone, Debug)]
pub struct Request {
    headers: Pairs,
    properties: BTreeMap<String, Vec<u8>>,
}

impl Request {
    /// A request from 192.0.2.7.
    pub fn new(method: &str, path: &str) -> Self {
        let headers =
            [(":method", method), (":path", path), (":scheme", "https"), (":authority", "a.example")];
        let properties = [("source\0address".to_owned(), b"192.0.2.7:4711".to_vec())];
        Self { headers: pairs(&headers), properties: properties.into() }
    }

    /// The same with one more field.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The same with this attribute of the connection or the request.
    #[must_use]
    pub fn property(mut self, path: &[&str], value: &[u8]) -> Self {
        self.properties.insert(path.join("\0"), value.to_vec());
        self
    }
}

/// An answer that the gateway gave itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The status.
    pub status: u32,
    /// The fields, as a client sees them.
    pub headers: Vec<(String, String)>,
    /// The content.
    pub body: String,
}

impl Reply {
    /// The first value of a field.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }
}

/// A callout that the filter has made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Callout {
    /// The worker whose VM made it.
    pub worker: usize,
    /// The host's number of it.
    pub token: u32,
    /// Where to.
    pub cluster: String,
    /// Its fields.
    pub headers: Vec<(String, String)>,
    /// Its content.
    pub body: String,
    /// How long the filter waits, in milliseconds.
    pub timeout_ms: u32,
}

/// What has become of a request so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The gateway's own answer.
    pub reply: Option<Reply>,
    /// Head and body, as far as they have gone on to the upstream.
    pub upstream: Option<(Vec<(String, String)>, String)>,
    /// The head of the upstream's answer, as a client sees it.
    pub upstream_answer: Option<Vec<(String, String)>>,
}

/// A gateway with the filter in it.
pub struct Gateway {
    world: SharedWorld,
    machines: Vec<Box<dyn Machine>>,
    outcomes: BTreeMap<u32, Outcome>,
    /// Which worker has which request.
    workers: BTreeMap<u32, usize>,
    next_context: u32,
    spent_before: u64,
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gateway").field("outcomes", &self.outcomes).finish_non_exhaustive()
    }
}

impl Gateway {
    /// A gateway with one worker. What it costs to get here is not counted.
    ///
    /// # Panics
    /// If the filter refuses the document.
    pub fn start(kind: Kind, document: &str) -> Self {
        Self::with_workers(kind, document, 1)
    }

    /// The same with several workers.
    ///
    /// # Panics
    /// If the filter refuses the document.
    pub fn with_workers(kind: Kind, document: &str, workers: usize) -> Self {
        let (mut gateway, accepted) = Self::try_start(kind, document, workers);
        assert!(accepted, "the filter refuses the document: {:#?}", gateway.logs());
        gateway.count_from_here();
        gateway
    }

    /// The same, and whether the filter takes the document.
    pub fn try_start(kind: Kind, document: &str, workers: usize) -> (Self, bool) {
        let world = World::new();
        let mut machines: Vec<Box<dyn Machine>> = Vec::new();
        for worker in 0..workers {
            let configuration = document.as_bytes().to_vec();
            world.borrow_mut().workers.push(Worker { root: ROOT, configuration, ..Worker::default() });
            machines.push(match kind {
                Kind::Native => Box::new(Native::new(Rc::clone(&world), worker)),
                Kind::Wasm => Box::new(Wasm::new(Rc::clone(&world), worker, Count::Fuel)),
                Kind::WasmUncounted => Box::new(Wasm::new(Rc::clone(&world), worker, Count::Nothing)),
            });
        }
        let mut gateway = Self {
            world,
            machines,
            outcomes: BTreeMap::new(),
            workers: BTreeMap::new(),
            next_context: ROOT + 1,
            spent_before: 0,
        };
        let size = u32::try_from(document.len()).unwrap();
        let mut accepted = true;
        for worker in 0..workers {
            gateway.call(worker, Callback::ContextCreate { context: ROOT, parent: 0 });
            accepted &= gateway.call(worker, Callback::VmStart { context: ROOT }) == 1;
            accepted &= gateway.call(worker, Callback::Configure { context: ROOT, size }) == 1;
        }
        (gateway, accepted)
    }

    /// Forgets what has been counted.
    pub fn count_from_here(&mut self) {
        self.world.borrow_mut().costs = Costs::default();
        self.spent_before = self.machines.iter_mut().map(|machine| machine.fuel()).sum();
    }

    /// Lets there be a cluster of this name.
    #[must_use]
    pub fn cluster(self, name: &str) -> Self {
        self.world.borrow_mut().clusters.insert(name.to_owned());
        self
    }

    /// Has calls to a cluster fail as soon as they are made, or no longer.
    pub fn fail_at_once(&mut self, cluster: &str, fails: bool) {
        let mut world = self.world.borrow_mut();
        match fails {
            true => world.failing_at_once.insert(cluster.to_owned()),
            false => world.failing_at_once.remove(cluster),
        };
    }

    /// Lets time go by.
    pub fn advance(&mut self, milliseconds: u64) {
        self.world.borrow_mut().now_nanos += milliseconds * 1_000_000;
    }

    /// Everything that the filter has logged.
    pub fn logs(&self) -> Vec<String> {
        self.world.borrow().logs.clone()
    }

    /// The size of a worker's memory in bytes.
    pub fn memory(&mut self, worker: usize) -> usize {
        self.machines[worker].memory()
    }

    /// The wasm instructions of all workers since [`Gateway::count_from_here`].
    pub fn fuel(&mut self) -> u64 {
        self.machines.iter_mut().map(|machine| machine.fuel()).sum::<u64>() - self.spent_before
    }

    /// How long all callbacks so far have taken, what they asked of the host included; zero natively.
    pub fn busy(&self) -> Duration {
        self.machines.iter().map(|machine| machine.busy()).sum()
    }

    /// Gives a worker its document once more, as a change of Envoy's configuration does. What it has remembered is gone.
    ///
    /// # Panics
    /// If the filter refuses what it has accepted before.
    pub fn configure_again(&mut self, worker: usize) {
        let size = self.world.borrow().workers[worker].configuration.len();
        let size = u32::try_from(size).unwrap();
        assert_eq!(self.call(worker, Callback::Configure { context: ROOT, size }), 1);
    }

    /// The value that all workers share under a key.
    pub fn shared(&self, key: &str) -> Option<Vec<u8>> {
        let before = self.world.borrow().costs.clone();
        let value = self.world.borrow_mut().shared_data(key.as_bytes()).ok();
        self.world.borrow_mut().costs = before;
        value.map(|(value, _)| value)
    }

    fn call(&mut self, worker: usize, callback: Callback) -> u32 {
        {
            let mut world = self.world.borrow_mut();
            *world.costs.callbacks.entry(callback.name()).or_default() += 1;
            let worker = &mut world.workers[worker];
            worker.effective = callback.context();
            worker.next_iteration_stopped = false;
        }
        let result = self.machines[worker].call(callback);
        let result = result.unwrap_or_else(|trap| panic!("the VM died in {callback:?}: {trap}"));
        let mut world = self.world.borrow_mut();
        let stopped = std::mem::take(&mut world.workers[worker].next_iteration_stopped);
        if stopped && matches!(callback, Callback::RequestHeaders { .. } | Callback::RequestBody { .. }) {
            return 1;
        }
        result
    }

    /// What was put off until the callback had returned.
    fn act(&mut self, worker: usize) {
        loop {
            let action = self.world.borrow_mut().workers[worker].actions.pop_front();
            match action {
                None => return,
                Some(Deferred::Reply { stream, status, headers, body }) => {
                    self.local_reply(worker, stream, status, headers, &body);
                }
                Some(Deferred::Resume { stream }) => self.go_on(worker, stream),
                Some(Deferred::Failure { token }) => self.call_failed(worker, token),
            }
        }
    }

    fn stream<T>(&mut self, stream: u32, change: impl FnOnce(&mut Stream) -> T) -> Option<T> {
        let worker = *self.workers.get(&stream)?;
        let mut world = self.world.borrow_mut();
        world.workers[worker].streams.get_mut(&stream).map(change)
    }

    /// A request without a body. Returns its number.
    pub fn request(&mut self, request: Request) -> u32 {
        self.head(0, request, true)
    }

    /// A request with this body, which comes in one piece.
    pub fn request_with_body(&mut self, request: Request, body: impl AsRef<[u8]>) -> u32 {
        let id = self.head(0, request, false);
        self.body(id, body, true);
        id
    }

    /// The head of a request comes to a worker.
    pub fn head(&mut self, worker: usize, request: Request, end_of_stream: bool) -> u32 {
        let id = self.next_context;
        self.next_context += 1;
        self.workers.insert(id, worker);
        self.outcomes.insert(id, Outcome::default());
        let count = u32::try_from(request.headers.len()).unwrap();
        let stream = Stream {
            request_headers: Some(request.headers),
            properties: request.properties,
            ended: end_of_stream,
            ..Stream::default()
        };
        self.world.borrow_mut().workers[worker].streams.insert(id, stream);
        self.call(worker, Callback::ContextCreate { context: id, parent: ROOT });
        let paused = self.call(worker, Callback::RequestHeaders { context: id, count, end_of_stream }) == 1;
        self.stream(id, |stream| {
            stream.held = paused;
            if !paused {
                stream.head = stream.request_headers.take().unwrap_or_default();
            }
        });
        if !paused {
            self.go_on(worker, id);
        }
        self.act(worker);
        id
    }

    /// A piece of body comes.
    pub fn body(&mut self, id: u32, bytes: impl AsRef<[u8]>, end_of_stream: bool) {
        let worker = self.workers[&id];
        let Some((size, was_held)) = self.stream(id, |stream| {
            stream.ended |= end_of_stream;
            if !stream.held {
                stream.buffered.clear();
            }
            stream.buffered.extend(bytes.as_ref());
            stream.body_readable = true;
            (stream.buffered.len(), stream.held)
        }) else {
            return;
        };
        if was_held && size > BUFFER_LIMIT {
            self.local_reply(worker, id, 413, Pairs::new(), b"Payload Too Large");
            return;
        }
        let callback =
            Callback::RequestBody { context: id, size: u32::try_from(size).unwrap(), end_of_stream };
        let paused = self.call(worker, callback) == 1;
        self.after_piece(worker, id, paused);
        self.act(worker);
    }

    /// The request ends with trailers.
    pub fn trailers(&mut self, id: u32, count: u32) {
        let worker = self.workers[&id];
        if self.stream(id, |stream| stream.ended = true).is_none() {
            return;
        }
        let paused = self.call(worker, Callback::RequestTrailers { context: id, count }) == 1;
        self.after_piece(worker, id, paused);
        self.act(worker);
    }

    /// The filter that lets a piece go on lets go on what was held before it, too (`commonHandleAfterDataCallback`).
    fn after_piece(&mut self, worker: usize, id: u32, paused: bool) {
        self.stream(id, |stream| {
            stream.held = paused;
            if !paused {
                stream.body_readable = false;
                if let Some(head) = stream.request_headers.take() {
                    stream.head = head;
                }
            }
        });
        if !paused {
            self.go_on(worker, id);
        }
    }

    /// What has come of the request goes on to the upstream.
    fn go_on(&mut self, worker: usize, id: u32) {
        let sent = {
            let mut world = self.world.borrow_mut();
            let Some(stream) = world.workers[worker].streams.get_mut(&id) else { return };
            let body = std::mem::take(&mut stream.buffered);
            let (_, sent) =
                stream.to_upstream.get_or_insert_with(|| (std::mem::take(&mut stream.head), Vec::new()));
            sent.extend(body);
            stream.to_upstream.clone()
        };
        let outcome = self.outcomes.get_mut(&id).unwrap();
        outcome.upstream = sent.map(|(head, body)| (texts(&head), text(&body)));
    }

    /// The answer to a request that is not the upstream's: it runs the response phase, and the request ends.
    fn local_reply(&mut self, worker: usize, id: u32, status: u32, headers: Pairs, body: &[u8]) {
        let mut all = pairs(&[(":status", &status.to_string())]);
        all.extend(headers);
        let Some(()) = self.stream(id, |stream| stream.response_headers = Some(all)) else { return };
        let headers = self.response_phase(worker, id, !body.is_empty());
        if !body.is_empty() {
            let size = u32::try_from(body.len()).unwrap();
            self.call(worker, Callback::ResponseBody { context: id, size, end_of_stream: true });
        }
        let reply = Reply { status, headers, body: text(body) };
        let outcome = self.outcomes.get_mut(&id).unwrap();
        assert_eq!(outcome.reply.replace(reply), None, "request {id} is answered twice");
        self.end(id);
    }

    fn response_phase(&mut self, worker: usize, id: u32, has_body: bool) -> Vec<(String, String)> {
        let count = self.stream(id, |stream| stream.response_headers.as_ref().map_or(0, Vec::len)).unwrap();
        let count = u32::try_from(count).unwrap();
        self.call(worker, Callback::ResponseHeaders { context: id, count, end_of_stream: !has_body });
        texts(&self.stream(id, |stream| stream.response_headers.take()).flatten().unwrap_or_default())
    }

    /// The upstream answers, without a body, and the request ends.
    pub fn upstream_answers(&mut self, id: u32, status: u32, headers: &[(&str, &str)]) {
        let worker = self.workers[&id];
        let mut all = pairs(&[(":status", &status.to_string())]);
        all.extend(pairs(headers));
        assert!(self.outcomes[&id].upstream.is_some(), "an upstream answers what it has not got");
        self.stream(id, |stream| stream.response_headers = Some(all)).expect("the request is there");
        let headers = self.response_phase(worker, id, false);
        self.act(worker);
        self.outcomes.get_mut(&id).unwrap().upstream_answer = Some(headers);
        self.end(id);
    }

    /// The client leaves.
    pub fn leave(&mut self, id: u32) {
        self.end(id);
    }

    fn end(&mut self, id: u32) {
        let worker = self.workers[&id];
        if self.stream(id, |_| ()).is_none() {
            return;
        }
        self.call(worker, Callback::Log { context: id });
        self.call(worker, Callback::Done { context: id });
        self.call(worker, Callback::Delete { context: id });
        self.world.borrow_mut().workers[worker].streams.remove(&id);
    }

    /// One turn of every worker's event loop: the queues' callbacks.
    pub fn turn(&mut self) {
        let ready: Vec<_> = {
            let mut world = self.world.borrow_mut();
            let ready = world.queues.iter_mut();
            ready
                .map(|(id, queue)| (*id, queue.worker, queue.context, std::mem::take(&mut queue.ready)))
                .collect()
        };
        for (queue, worker, context, times) in ready {
            for _ in 0..times {
                self.call(worker, Callback::QueueReady { context, queue });
                self.act(worker);
            }
        }
    }

    /// Has a queue's callback come though nobody has put anything into it.
    pub fn turn_for_nothing(&mut self) {
        for queue in self.world.borrow_mut().queues.values_mut() {
            queue.ready += 1;
        }
        self.turn();
    }

    /// The callouts that wait for an answer.
    pub fn callouts(&self) -> Vec<Callout> {
        let world = self.world.borrow();
        let mut callouts = Vec::new();
        for (worker, state) in world.workers.iter().enumerate() {
            for (token, call) in &state.calls {
                callouts.push(Callout {
                    worker,
                    token: *token,
                    cluster: call.cluster.clone(),
                    headers: texts(&call.headers),
                    body: text(&call.body),
                    timeout_ms: call.timeout_ms,
                });
            }
        }
        callouts
    }

    /// The one callout that waits for an answer.
    ///
    /// # Panics
    /// If there is not exactly one.
    pub fn callout(&self) -> Callout {
        let callouts = self.callouts();
        let [callout] = callouts.as_slice() else { panic!("wanted one callout, got {callouts:#?}") };
        callout.clone()
    }

    /// A callout is answered.
    pub fn answer(&mut self, callout: &Callout, status: u32, headers: &[(&str, &str)], body: &str) {
        let mut all = pairs(&[(":status", &status.to_string())]);
        all.extend(pairs(headers));
        let (count, size) = (u32::try_from(all.len()).unwrap(), u32::try_from(body.len()).unwrap());
        self.call_over(callout.worker, callout.token, Some((all, body.into())), count, size);
        self.act(callout.worker);
    }

    /// A callout's time is up, for which Envoy answers in the upstream's place.
    pub fn time_out(&mut self, callout: &Callout) {
        self.advance(u64::from(callout.timeout_ms));
        self.answer(callout, 504, &[("content-type", "text/plain")], "upstream request timeout");
    }

    /// A callout's connection breaks.
    pub fn fail(&mut self, callout: &Callout) {
        self.call_failed(callout.worker, callout.token);
        self.act(callout.worker);
    }

    fn call_failed(&mut self, worker: usize, token: u32) {
        self.call_over(worker, token, None, 0, 0);
    }

    fn call_over(
        &mut self,
        worker: usize,
        token: u32,
        answer: Option<(Pairs, Vec<u8>)>,
        headers: u32,
        size: u32,
    ) {
        {
            let mut world = self.world.borrow_mut();
            let state = &mut world.workers[worker];
            state.calls.remove(&token).expect("the call waits for an answer");
            state.answer = answer;
        }
        self.call(worker, Callback::HttpCallResponse { context: ROOT, token, headers, size });
        self.world.borrow_mut().workers[worker].answer = None;
    }

    /// What has become of a request so far.
    pub fn outcome(&self, id: u32) -> &Outcome {
        &self.outcomes[&id]
    }

    /// The gateway's own answer to a request.
    ///
    /// # Panics
    /// If there is none.
    pub fn reply(&self, id: u32) -> &Reply {
        let outcome = self.outcome(id);
        outcome.reply.as_ref().unwrap_or_else(|| panic!("request {id} has no answer: {outcome:#?}"))
    }

    /// Says what it all cost, and fails if the filter did what a host does not allow or left a request hanging: whole,
    /// held, and nothing out that could let it go.
    ///
    /// # Panics
    /// On either.
    pub fn finish(mut self) -> Costs {
        let fuel = self.fuel();
        let mut world = self.world.borrow_mut();
        assert!(world.violations.is_empty(), "{:#?}", world.violations);
        for (index, worker) in world.workers.iter().enumerate() {
            let awaited = !worker.calls.is_empty()
                || world.queues.values().any(|queue| queue.worker == index && queue.ready > 0);
            let hanging: Vec<_> =
                worker.streams.iter().filter(|(_, stream)| stream.held && stream.ended).collect();
            assert!(awaited || hanging.is_empty(), "requests hang: {hanging:#?}");
        }
        let costs = std::mem::take(&mut world.costs);
        Costs { fuel, ..costs }
    }
}

fn pairs(fields: &[(&str, &str)]) -> Pairs {
    fields.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn texts(pairs: &Pairs) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| (text(name), text(value))).collect()
}
