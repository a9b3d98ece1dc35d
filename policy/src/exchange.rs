//! One request, from its head to its answer, as a state machine without a world.
//!
//! A shell feeds [`Event`]s to [`Exchange::step`] and carries out the one [`Effect`] that comes back. Every pair of
//! state and event has an arm, so a host that calls late, twice or out of order does no harm; and no exchange has
//! more than one answer.

use std::rc::Rc;

use wicketgate_envelope::hop::RecordResult;

use crate::auth::{self, AuthError};
use crate::callout::Outcome;
use crate::config::{Config, Unmatched};
use crate::env::{Env, fresh_id};
use crate::head::{MAX_FIELDS, RequestHead};
use crate::path::CanonicalPath;
use crate::reply::{LocalReply, Problem, UnknownCause, accepted};
use crate::reshape::{Admitted, Ids};
use crate::route::Matched;

/// What happened.
#[derive(Debug)]
pub enum Event<'a> {
    /// The head is there.
    Head {
        /// The head.
        head: RequestHead,
        /// Whether the request ends with it.
        end_of_stream: bool,
    },
    /// The head is there, and the host could not hand it over.
    HeadUnreadable,
    /// More of the body is there.
    BodyBuffered {
        /// How many bytes of it are buffered by now, in all.
        len: usize,
        /// Whether the request ends with them.
        end_of_stream: bool,
    },
    /// The request ends with trailers, after the body that has been buffered.
    Trailers,
    /// The whole body, in answer to [`Effect::ReadBody`].
    Body(&'a [u8]),
    /// The host could not hand the body over.
    BodyUnreadable,
    /// What became of the record, in answer to [`Effect::Dispatch`].
    Outcome(Outcome),
    /// The caller has gone, or the host has finished with the request.
    Closed,
}

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    /// Let the request go on.
    Continue,
    /// Hold the request.
    Wait,
    /// Hold the request, read this many bytes of body, and step on with [`Event::Body`].
    ReadBody {
        /// All that has been buffered, in bytes.
        len: usize,
    },
    /// Hold the request, send this record to kafka-bridge, and step on with [`Event::Outcome`] when it is known.
    Dispatch {
        /// As [`wicketgate_envelope::hop::write_record`] made it.
        record: Vec<u8>,
        /// The topic that the record is for.
        topic: String,
        /// The name of the request, to find it again in the logs of both.
        request_id: String,
    },
    /// Answer. The request ends here.
    Reply(LocalReply),
    /// Nothing.
    Nothing,
}

/// One request.
#[derive(Debug)]
pub struct Exchange {
    config: Rc<Config>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Nothing has happened yet.
    New,
    /// Admitted; its body is still coming in.
    Buffering { admitted: Box<Admitted>, buffered: usize },
    /// Admitted; the shell is asked for the body.
    Reading { admitted: Box<Admitted> },
    /// The record is on its way.
    Dispatched { event_id: String, request_id: String },
    /// Let through; none of our business any more.
    Passed,
    /// Answered or gone.
    Done,
}

impl Exchange {
    /// A request about which nothing is known yet.
    pub fn new(config: Rc<Config>) -> Self {
        Self { config, state: State::New }
    }

    /// The configuration that this request is decided by, whatever is configured meanwhile.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Takes in what happened and says what to do.
    pub fn step(&mut self, event: Event<'_>, env: &mut dyn Env) -> Effect {
        let state = std::mem::replace(&mut self.state, State::Done);
        let (state, effect) = match (state, event) {
            (State::New, Event::Head { head, end_of_stream }) => self.on_head(head, end_of_stream, env),
            (State::New, Event::HeadUnreadable) => reply(&Problem::Internal, &fresh_id(env)),
            (State::Buffering { admitted, .. }, Event::BodyBuffered { len, end_of_stream }) => {
                self.on_body(admitted, len, end_of_stream)
            }
            (State::Buffering { admitted, buffered }, Event::Trailers) => {
                self.on_body(admitted, buffered, true)
            }
            (State::Reading { admitted }, Event::Body(body)) => self.dispatch(&admitted, body),
            (State::Reading { admitted }, Event::BodyUnreadable) => {
                reply(&Problem::Internal, &admitted.request_id)
            }
            (State::Dispatched { event_id, request_id }, Event::Outcome(outcome)) => {
                (State::Done, Effect::Reply(answer(outcome, event_id, &request_id)))
            }
            // Nothing of a request may move while its answer is being waited for.
            (state @ State::Dispatched { .. }, Event::BodyBuffered { .. } | Event::Trailers) => {
                (state, Effect::Wait)
            }
            (state @ (State::Buffering { .. } | State::Reading { .. } | State::Dispatched { .. }), event) => {
                match event {
                    Event::Closed => (State::Done, Effect::Nothing),
                    _ => (state, Effect::Nothing),
                }
            }
            (State::Passed, Event::Closed) => (State::Done, Effect::Nothing),
            (State::Passed, _) => (State::Passed, Effect::Continue),
            // Data before any head: a host that does this is not believed.
            (State::New, Event::BodyBuffered { .. } | Event::Trailers) => {
                reply(&Problem::Internal, &fresh_id(env))
            }
            (State::New, Event::Body(_) | Event::BodyUnreadable | Event::Outcome(_) | Event::Closed) => {
                (State::Done, Effect::Nothing)
            }
            // After an answer of ours the host may still walk the rest of the request; there is nothing left to
            // hold back.
            (State::Done, Event::BodyBuffered { .. } | Event::Trailers) => (State::Done, Effect::Wait),
            (State::Done, _) => (State::Done, Effect::Nothing),
        };
        self.state = state;
        effect
    }

    fn on_head(&self, head: RequestHead, end_of_stream: bool, env: &mut dyn Env) -> (State, Effect) {
        let request_id = request_id(&head).unwrap_or_else(|| fresh_id(env));
        match self.admit(head, request_id.clone(), env) {
            Ok(None) => (State::Passed, Effect::Continue),
            Ok(Some(admitted)) if end_of_stream => self.dispatch(&admitted, b""),
            Ok(Some(admitted)) => {
                (State::Buffering { admitted: Box::new(admitted), buffered: 0 }, Effect::Wait)
            }
            Err(problem) => reply(&problem, &request_id),
        }
    }

    /// Everything that can be decided by the head alone. `None` lets the request pass.
    fn admit(
        &self,
        head: RequestHead,
        request_id: String,
        env: &mut dyn Env,
    ) -> Result<Option<Admitted>, Problem> {
        if head.len() > MAX_FIELDS {
            return Err(Problem::BadRequest(format!(
                "headers: wanted at most {MAX_FIELDS}, got {}",
                head.len()
            )));
        }
        let path = CanonicalPath::from_target(head.target())
            .map_err(|error| Problem::BadRequest(format!("path: {error}")))?;
        let host = head.host().map_err(|error| Problem::BadRequest(format!("host: {error}")))?;
        let (route, parameters) = match (self.config.routes.find(&head, host, &path), self.config.unmatched) {
            (Matched::Route(route, parameters), _) => (route, parameters),
            (_, Unmatched::Pass) => return Ok(None),
            (Matched::MethodNotAllowed(allowed), Unmatched::Reject) => {
                return Err(Problem::MethodNotAllowed(allowed));
            }
            (Matched::NotFound, Unmatched::Reject) => return Err(Problem::NotFound),
        };
        let principal = auth::authenticate(&route.authentication, &head).map_err(|error| match error {
            AuthError::Unauthenticated => Problem::Unauthenticated(route.challenge.clone()),
            AuthError::RepeatedCredential(header) => {
                Problem::BadRequest(format!("{header}: {}", crate::head::Repeated))
            }
        })?;
        if let Some(len) = content_length(&head)?
            && len > self.config.max_body_bytes as u64
        {
            return Err(Problem::TooLarge(self.config.max_body_bytes));
        }
        let ids = Ids { event_id: fresh_id(env), request_id, time: env.now() };
        Admitted::new(route, &parameters, principal, head, ids).map(Some)
    }

    fn on_body(&self, admitted: Box<Admitted>, len: usize, end_of_stream: bool) -> (State, Effect) {
        if len > self.config.max_body_bytes {
            return reply(&Problem::TooLarge(self.config.max_body_bytes), &admitted.request_id);
        }
        match (end_of_stream, len) {
            (false, _) => (State::Buffering { admitted, buffered: len }, Effect::Wait),
            (true, 0) => self.dispatch(&admitted, b""),
            (true, _) => (State::Reading { admitted }, Effect::ReadBody { len }),
        }
    }

    fn dispatch(&self, admitted: &Admitted, body: &[u8]) -> (State, Effect) {
        match admitted.record(&self.config, body) {
            Ok(record) => {
                let (event_id, request_id) = (admitted.event_id.clone(), admitted.request_id.clone());
                let dispatch = Effect::Dispatch {
                    record,
                    topic: admitted.route.topic.clone(),
                    request_id: request_id.clone(),
                };
                (State::Dispatched { event_id, request_id }, dispatch)
            }
            Err(problem) => reply(&problem, &admitted.request_id),
        }
    }
}

fn reply(problem: &Problem, request_id: &str) -> (State, Effect) {
    (State::Done, Effect::Reply(problem.reply(request_id)))
}

fn answer(outcome: Outcome, event_id: String, request_id: &str) -> LocalReply {
    let problem = match outcome {
        Outcome::Answered(RecordResult::Acknowledged { receipt }) => return accepted(&receipt, request_id),
        Outcome::Answered(RecordResult::TooLarge) => Problem::EventTooLarge,
        Outcome::Answered(RecordResult::Invalid { .. } | RecordResult::Refused) => Problem::Refused,
        Outcome::Answered(RecordResult::Unavailable { retry_after }) => Problem::Unavailable { retry_after },
        Outcome::Unreachable => Problem::Unavailable { retry_after: 1 },
        Outcome::Answered(RecordResult::Unknown) | Outcome::TimedOut => {
            Problem::OutcomeUnknown { cause: UnknownCause::Timeout, event_id }
        }
        Outcome::Broken => Problem::OutcomeUnknown { cause: UnknownCause::Broken, event_id },
    };
    problem.reply(request_id)
}

/// The request's own name, if it has one that can stand in a header, a log line and an event.
fn request_id(head: &RequestHead) -> Option<String> {
    let id = std::str::from_utf8(head.single("x-request-id").ok()??).ok()?;
    let plain = (1..=128).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic());
    plain.then(|| id.to_owned())
}

fn content_length(head: &RequestHead) -> Result<Option<u64>, Problem> {
    let value = head
        .single("content-length")
        .map_err(|repeated| Problem::BadRequest(format!("content-length: {repeated}")))?;
    let Some(value) = value else { return Ok(None) };
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    let number =
        std::str::from_utf8(value).ok().filter(|_| digits).map(|text| text.parse().unwrap_or(u64::MAX));
    number.map(Some).ok_or_else(|| Problem::BadRequest("content-length: wanted digits".to_owned()))
}

#[cfg(test)]
mod tests;
