//! One request: the host's callbacks become events of an exchange, its effects become host calls.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;
use wicketgate_policy::callout::Outcome;
use wicketgate_policy::config::Config;
use wicketgate_policy::env::fresh_id;
use wicketgate_policy::exchange::{Effect, Event, Exchange};
use wicketgate_policy::head::RequestHead;
use wicketgate_policy::reply::{LocalReply, Problem};
use wicketgate_policy::reshape::Record;

use crate::environment::HostEnv;
use crate::host::{self, Buffer, HeaderMap};
use crate::outbox::{Lane, Outbox, Parcel};

/// The host's context of a request. It goes when the request goes.
#[derive(Debug)]
pub(crate) struct Stream {
    request: Option<Rc<Request>>,
}

/// A request as the outbox knows it, too, while it waits.
#[derive(Debug)]
pub(crate) struct Request {
    context_id: u32,
    exchange: RefCell<Exchange>,
    outbox: Rc<Outbox>,
}

impl Stream {
    /// Without a configuration, which no host should let happen, every request is denied.
    pub(crate) fn new(context_id: u32, configured: Option<(Rc<Config>, Rc<Outbox>)>) -> Self {
        let request = configured.map(|(config, outbox)| {
            Rc::new(Request { context_id, exchange: RefCell::new(Exchange::new(config)), outbox })
        });
        Self { request }
    }

    fn step(&self, event: Event<'_>) -> Action {
        match (&self.request, event) {
            (Some(request), event) => request.step(event),
            (None, Event::Closed) => Action::Continue,
            (None, _) => {
                send(&Problem::Internal.reply(&fresh_id(&mut HostEnv::default())));
                Action::Pause
            }
        }
    }
}

impl Stream {
    /// Makes the request's head what its upstream gets, as long as the head can be changed.
    fn change_head(&self) {
        let Some(request) = &self.request else { return };
        let exchange = request.exchange.borrow();
        let changes = exchange.head_changes();
        for name in &changes.remove {
            if !host::remove_header(HeaderMap::Request, name) {
                log::error!("the host did not remove the request header {name}");
            }
        }
        for (name, value) in &changes.set {
            if !host::replace_header(HeaderMap::Request, name, value) {
                log::error!("the host did not change the request header {name}");
            }
        }
    }
}

impl Request {
    /// Takes what became of the records that this request had sent. It comes from the root context's callback.
    pub(crate) fn resolve(self: &Rc<Self>, index: usize, outcome: Outcome) {
        let event = Event::Outcome { index, outcome };
        let effect = self.exchange.borrow_mut().step(event, &mut HostEnv::default());
        if effect == Effect::Nothing {
            return;
        }
        if host::set_effective_context(self.context_id) {
            self.perform(effect);
        } else {
            log::error!("the host does not know the request any more that waits for an answer");
        }
    }

    fn step(self: &Rc<Self>, event: Event<'_>) -> Action {
        let effect = self.exchange.borrow_mut().step(event, &mut HostEnv::default());
        self.perform(effect)
    }

    fn perform(self: &Rc<Self>, effect: Effect) -> Action {
        match effect {
            Effect::Continue | Effect::Nothing => Action::Continue,
            Effect::Wait => Action::Pause,
            // Before the body takes up memory of the VM.
            Effect::ReadBody { .. } if !self.outbox.has_room() => self.step(Event::Saturated),
            Effect::ReadBody { len } => match host::buffer(Buffer::RequestBody, len) {
                // Less than what was announced is not the body.
                Some(body) if body.len() == len => self.step(Event::Body(&body)),
                _ => self.step(Event::BodyUnreadable),
            },
            Effect::Resume => {
                if !host::resume_request() {
                    log::error!("the host did not take back a request that was to go on");
                }
                Action::Continue
            }
            // No method of authentication asks anybody yet.
            Effect::Fetch(_) => self.step(Event::Fetched),
            Effect::Dispatch { records, request_id } => {
                self.post(records, &request_id);
                Action::Pause
            }
            Effect::SetResponseHeaders { remove, add } => {
                let removed = remove.iter().all(|name| host::remove_header(HeaderMap::Response, name));
                let added =
                    add.iter().all(|(name, value)| host::add_header(HeaderMap::Response, name, value));
                if !(removed && added) {
                    log::error!("the host did not take the changes to the upstream's answer");
                }
                Action::Continue
            }
            Effect::Reply(reply) => {
                send(&reply);
                Action::Pause
            }
        }
    }
}

impl Request {
    /// Posts records, in a parcel for each lane.
    fn post(self: &Rc<Self>, records: Vec<Record>, request_id: &str) {
        let mut parcels: Vec<Parcel> = Vec::with_capacity(1);
        for (index, Record { topic, ack, cluster, bytes, .. }) in records.into_iter().enumerate() {
            let lane = Lane { cluster, topic, ack };
            match parcels.iter_mut().find(|parcel| parcel.lane == lane) {
                Some(parcel) => parcel.records.push((index, bytes)),
                None => parcels.push(Parcel {
                    request: Rc::downgrade(self),
                    request_id: request_id.to_owned(),
                    lane,
                    records: vec![(index, bytes)],
                }),
            }
        }
        parcels.into_iter().for_each(|parcel| self.outbox.post(parcel));
    }
}

impl Context for Stream {
    fn on_done(&mut self) -> bool {
        self.step(Event::Closed);
        true
    }
}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _num_headers: usize, end_of_stream: bool) -> Action {
        let action = match read_head() {
            Some(head) => self.step(Event::Head { head, end_of_stream }),
            None => self.step(Event::HeadUnreadable),
        };
        self.change_head();
        action
    }

    /// `body_size` is all that is buffered, not what came last (Envoy buffers as long as the answer is `Pause`).
    fn on_http_request_body(&mut self, body_size: usize, end_of_stream: bool) -> Action {
        self.step(Event::BodyBuffered { len: body_size, end_of_stream })
    }

    /// A request with trailers ends here, and its body callbacks never said so.
    fn on_http_request_trailers(&mut self, _num_trailers: usize) -> Action {
        self.step(Event::Trailers)
    }

    fn on_http_response_headers(&mut self, _num_headers: usize, _end_of_stream: bool) -> Action {
        match &self.request {
            Some(request) => request.step(Event::ResponseHead),
            // The answer to a request that was denied.
            None => Action::Continue,
        }
    }
}

/// The head is readable only while its own callback runs, so it is copied there, once.
fn read_head() -> Option<RequestHead> {
    let map = host::header_map(HeaderMap::Request)?;
    let mut head = RequestHead::default();
    for (name, value) in host::decode_pairs(&map)? {
        head.push(name, value);
    }
    // An address of the form 192.0.2.1:443 or [2001:db8::1]:443.
    let address = host::property(&["source", "address"]).and_then(|bytes| String::from_utf8(bytes).ok());
    if let Some(address) = address.and_then(|address| address.parse::<SocketAddr>().ok()) {
        head.set_client_address(address.ip().to_string());
    }
    Some(head)
}

fn send(reply: &LocalReply) {
    let headers =
        host::encode_pairs(reply.headers.iter().map(|(name, value)| (name.as_ref(), value.as_str())));
    if !host::send_local_response(reply.status, &headers, &reply.body) {
        log::error!("the host did not take an answer with status {}", reply.status);
    }
}
