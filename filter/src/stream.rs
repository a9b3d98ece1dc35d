//! One request: the host's callbacks become events of an exchange, its effects become host calls.

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

use crate::environment::HostEnv;
use crate::host::{self, Buffer, HeaderMap};
use crate::{callout, host::encode_pairs};

#[derive(Debug)]
pub(crate) struct Stream {
    exchange: Option<Exchange>,
}

impl Stream {
    /// Without a configuration, which no host should let happen, every request is denied.
    pub(crate) fn new(config: Option<Rc<Config>>) -> Self {
        Self { exchange: config.map(Exchange::new) }
    }

    fn step(&mut self, event: Event<'_>) -> Action {
        let Some(exchange) = &mut self.exchange else {
            if !matches!(event, Event::Closed) {
                send(&Problem::Internal.reply(&fresh_id(&mut HostEnv)));
            }
            return Action::Pause;
        };
        let effect = exchange.step(event, &mut HostEnv);
        self.perform(effect)
    }

    fn perform(&mut self, effect: Effect) -> Action {
        match effect {
            Effect::Continue | Effect::Nothing => Action::Continue,
            Effect::Wait => Action::Pause,
            Effect::ReadBody { len } => match host::buffer(Buffer::RequestBody, len) {
                // Less than what was announced is not the body.
                Some(body) if body.len() == len => self.step(Event::Body(&body)),
                _ => self.step(Event::BodyUnreadable),
            },
            Effect::Dispatch { record, request_id } => {
                let sent = self.exchange.as_ref().is_some_and(|exchange| {
                    callout::dispatch(&exchange.config().bridge, &request_id, &record)
                });
                if sent { Action::Pause } else { self.step(Event::Outcome(Outcome::Unreachable)) }
            }
            Effect::Reply(reply) => {
                send(&reply);
                Action::Pause
            }
        }
    }
}

impl Context for Stream {
    fn on_http_call_response(
        &mut self,
        _token: u32,
        num_headers: usize,
        body_size: usize,
        _num_trailers: usize,
    ) {
        let outcome = callout::outcome(num_headers, body_size);
        self.step(Event::Outcome(outcome));
    }

    fn on_done(&mut self) -> bool {
        self.step(Event::Closed);
        true
    }
}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _num_headers: usize, end_of_stream: bool) -> Action {
        match read_head() {
            Some(head) => self.step(Event::Head { head, end_of_stream }),
            None => self.step(Event::HeadUnreadable),
        }
    }

    /// `body_size` is all that is buffered, not what came last (Envoy buffers as long as the answer is `Pause`).
    fn on_http_request_body(&mut self, body_size: usize, end_of_stream: bool) -> Action {
        self.step(Event::BodyBuffered { len: body_size, end_of_stream })
    }

    /// A request with trailers ends here, and its body callbacks never said so.
    fn on_http_request_trailers(&mut self, _num_trailers: usize) -> Action {
        self.step(Event::Trailers)
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
    let headers = encode_pairs(reply.headers.iter().map(|(name, value)| (*name, value.as_str())));
    if !host::send_local_response(reply.status, &headers, &reply.body) {
        log::error!("the host did not take an answer with status {}", reply.status);
    }
}
