//! One request: the host's callbacks become events of an exchange, its effects become host calls.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};

use wicketgate_envelope::hop::LimitState;
use wicketgate_policy::callout::Outcome;
use wicketgate_policy::config::Config;
use wicketgate_policy::env::fresh_id;
use wicketgate_policy::exchange::{Decided, Effect, Event, Exchange};
use wicketgate_policy::head::RequestHead;
use wicketgate_policy::reply::{LocalReply, Problem};
use wicketgate_policy::reshape::Record;

use crate::environment::Environment;
use crate::host::{Action, Buffer, Calls, HeaderMap, decode_pairs, encode_pairs};
use crate::outbox::{Lane, Outbox, Parcel, Waiter};

/// The host's context of a request. It goes when the request goes.
#[derive(Debug)]
pub struct Stream {
    environment: Rc<Environment>,
    request: Option<Rc<Request>>,
}

/// A request as the outbox knows it, too, while it waits.
#[derive(Debug)]
struct Request {
    context_id: u32,
    environment: Rc<Environment>,
    exchange: RefCell<Exchange>,
    outbox: Rc<Outbox>,
}

impl Stream {
    /// Without a configuration, which no host should let happen, every request is denied.
    pub(crate) fn new(
        context_id: u32,
        environment: Rc<Environment>,
        configured: Option<(Rc<Config>, Rc<Outbox>)>,
    ) -> Self {
        let request = configured.map(|(config, outbox)| {
            Rc::new(Request {
                context_id,
                environment: Rc::clone(&environment),
                exchange: RefCell::new(Exchange::new(config)),
                outbox,
            })
        });
        Self { environment, request }
    }

    /// The head is there; the request ends with it, if `end_of_stream` says so.
    pub fn on_request_headers(&mut self, end_of_stream: bool) -> Action {
        let action = match read_head(self.calls()) {
            Some(head) => self.step(Event::Head { head, end_of_stream }),
            None => self.step(Event::HeadUnreadable),
        };
        self.change_head();
        action
    }

    /// More of the body is there. `body_size` is all that is buffered, not what came last (Envoy buffers as long as the
    /// answer is [`Action::Pause`]).
    pub fn on_request_body(&mut self, body_size: usize, end_of_stream: bool) -> Action {
        self.step(Event::BodyBuffered { len: body_size, end_of_stream })
    }

    /// A request with trailers ends here, and its body callbacks never said so.
    pub fn on_request_trailers(&mut self) -> Action {
        self.step(Event::Trailers)
    }

    /// The head of the answer is there, be it the upstream's or one of ours.
    pub fn on_response_headers(&mut self) -> Action {
        match &self.request {
            Some(request) => request.step(Event::ResponseHead),
            // The answer to a request that was denied.
            None => Action::Continue,
        }
    }

    /// The caller has gone, or the host has finished with the request.
    pub fn on_done(&mut self) {
        self.step(Event::Closed);
    }

    fn calls(&self) -> &dyn Calls {
        self.environment.host.calls()
    }

    fn step(&self, event: Event<'_>) -> Action {
        match (&self.request, event) {
            (Some(request), event) => request.step(event),
            (None, Event::Closed) => Action::Continue,
            (None, _) => {
                let id = fresh_id(&mut self.environment.lend());
                send(self.calls(), &Problem::Internal.reply(&id));
                Action::Pause
            }
        }
    }

    /// Makes the request's head what its upstream gets, as long as the head can be changed.
    fn change_head(&self) {
        let Some(request) = &self.request else { return };
        let exchange = request.exchange.borrow();
        let changes = exchange.head_changes();
        for name in &changes.remove {
            if !self.environment.host.strip_request_header(name) {
                log::error!("the host did not remove the request header {name}");
            }
        }
        for (name, value) in &changes.set {
            if !self.calls().replace_header(HeaderMap::Request, name, value) {
                log::error!("the host did not change the request header {name}");
            }
        }
    }
}

impl Waiter for Request {
    fn resolve(self: Rc<Self>, index: usize, outcome: Outcome) {
        self.step_later(Event::Outcome { index, outcome });
    }

    fn fetched(self: Rc<Self>) {
        // The caller is found out in this step, and what the host says of a connection is of the effective context's.
        if self.calls().set_effective_context(self.context_id) {
            self.step_later(Event::Fetched);
        } else {
            log::error!("the host does not know the request any more that waits for an authority");
        }
    }

    fn limited(self: Rc<Self>, states: &[LimitState]) {
        self.step_later(Event::Limits(states));
    }
}

impl Request {
    fn calls(&self) -> &dyn Calls {
        self.environment.host.calls()
    }

    fn step(self: &Rc<Self>, event: Event<'_>) -> Action {
        let (effect, decided) = self.advance(event);
        if decided {
            self.describe();
        }
        self.perform(effect)
    }

    /// A step of the exchange, and whether the request is decided by it.
    fn advance(&self, event: Event<'_>) -> (Effect, bool) {
        let mut exchange = self.exchange.borrow_mut();
        let open = exchange.decided().is_none();
        let effect = exchange.step(event, &mut self.environment.lend());
        let decided = open && exchange.decided().is_some();
        drop(exchange);
        self.outbox.run_errands();
        (effect, decided)
    }

    /// Tells the access log what became of the request.
    fn describe(&self) {
        let host = &self.environment.host;
        let exchange = self.exchange.borrow();
        let consumer = exchange.principal().and_then(|principal| principal.consumer.as_deref());
        let decided = exchange.decided();
        let known = [
            ("route", exchange.route().map(|route| route.name.as_str())),
            ("outcome", decided.map(Decided::as_str)),
            ("problem", decided.and_then(Decided::problem)),
            ("consumer", consumer.map(|consumer| consumer.name.as_str())),
            ("event_id", exchange.event_id()),
        ];
        for (name, value) in known {
            value.into_iter().for_each(|value| host.describe(name, value));
        }
    }

    /// A step in a callback of the root context.
    fn step_later(self: &Rc<Self>, event: Event<'_>) {
        let (effect, decided) = self.advance(event);
        if effect == Effect::Nothing {
            return;
        }
        if self.calls().set_effective_context(self.context_id) {
            if decided {
                self.describe();
            }
            self.perform(effect);
        } else {
            log::error!("the host does not know the request any more that waits for an answer");
        }
    }

    fn perform(self: &Rc<Self>, effect: Effect) -> Action {
        match effect {
            Effect::Continue | Effect::Nothing => Action::Continue,
            Effect::Wait => Action::Pause,
            // Before the body takes up memory of the VM.
            Effect::ReadBody { .. } | Effect::Dispatch { .. } if !self.has_room() => {
                self.step(Event::Saturated)
            }
            Effect::ReadBody { len } => match self.calls().buffer(Buffer::RequestBody, len) {
                // Less than what was announced is not the body.
                Some(body) if body.len() == len => self.step(Event::Body(&body)),
                _ => self.step(Event::BodyUnreadable),
            },
            Effect::Resume => {
                if !self.calls().resume_request() {
                    log::error!("the host did not take back a request that was to go on");
                }
                Action::Continue
            }
            Effect::Fetch(fetch) => {
                if self.outbox.ask(*fetch, Rc::downgrade(self) as Weak<dyn Waiter>) {
                    Action::Pause
                } else {
                    self.step(Event::Saturated)
                }
            }
            Effect::Dispatch { records, request_id } => {
                self.post(records, &request_id);
                Action::Pause
            }
            Effect::SetResponseHeaders { remove, add } => {
                let calls = self.calls();
                let removed = remove.iter().all(|name| calls.remove_header(HeaderMap::Response, name));
                let added =
                    add.iter().all(|(name, value)| calls.add_header(HeaderMap::Response, name, value));
                if !(removed && added) {
                    log::error!("the host did not take the changes to the upstream's answer");
                }
                Action::Continue
            }
            Effect::Reply(reply) => {
                send(self.calls(), &reply);
                Action::Pause
            }
        }
    }

    fn has_room(&self) -> bool {
        self.outbox.has_room(&self.exchange.borrow().holder())
    }

    /// Posts records, in a parcel for each lane.
    fn post(self: &Rc<Self>, records: Vec<Record>, request_id: &str) {
        let mut parcels: Vec<Parcel> = Vec::with_capacity(1);
        let holder = self.exchange.borrow().holder();
        // Limits let all records of a request through or none, so these travel together.
        let together = records.iter().any(|record| !record.limits.is_empty());
        for (index, Record { topic, ack, cluster, bytes, limits, .. }) in records.into_iter().enumerate() {
            let lane = Lane { cluster, topic, ack };
            match parcels.iter_mut().find(|parcel| together || parcel.lane == lane) {
                Some(parcel) => parcel.records.push((index, bytes)),
                None => parcels.push(Parcel {
                    waiter: Rc::downgrade(self) as Weak<dyn Waiter>,
                    holder: holder.clone(),
                    request_id: request_id.to_owned(),
                    lane,
                    records: vec![(index, bytes)],
                    limits,
                }),
            }
        }
        parcels.into_iter().for_each(|parcel| self.outbox.post(parcel));
    }
}

/// The head is readable only while its own callback runs, so it is copied there, once.
fn read_head(calls: &dyn Calls) -> Option<RequestHead> {
    let map = calls.header_map(HeaderMap::Request)?;
    let mut head = RequestHead::default();
    for (name, value) in decode_pairs(&map)? {
        head.push(name, value);
    }
    // An address of the form 192.0.2.1:443 or [2001:db8::1]:443.
    let address = calls.property(&["source", "address"]).and_then(|bytes| String::from_utf8(bytes).ok());
    if let Some(address) = address.and_then(|address| address.parse::<SocketAddr>().ok()) {
        head.set_client_address(address.ip().to_string());
    }
    Some(head)
}

fn send(calls: &dyn Calls, reply: &LocalReply) {
    let headers = encode_pairs(reply.headers.iter().map(|(name, value)| (name.as_ref(), value.as_str())));
    if !calls.send_local_response(reply.status, &headers, &reply.body) {
        log::error!("the host did not take an answer with status {}", reply.status);
    }
}
