//! One request, from its head to its answer, as a state machine without a world.
//!
//! A shell feeds [`Event`]s to [`Exchange::step`] and carries out the one [`Effect`] that comes back. Every pair of
//! state and event has an arm, so a host that calls late, twice or out of order does no harm; and no exchange has
//! more than one answer.

use std::rc::Rc;

use crate::admission::Admitted;
use crate::answer::{Sent, answer, verdicts};
use crate::auth::{self, AuthError, Principal};
use crate::callout::Outcome;
use crate::config::document::OnError;
use crate::config::{Config, Unmatched};
use crate::cors::{self, Preflight};
use crate::env::{Env, fresh_id};
use crate::head::{MAX_FIELDS, RequestHead};
use crate::path::CanonicalPath;
use crate::reply::{Headers, LocalReply, Problem};
use crate::reshape::{Outgoing, Record, reshape};
use crate::route::{Action, Matched, Route};

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
    /// There is a body, and no room for more.
    Saturated,
    /// What became of one record, in answer to [`Effect::Dispatch`].
    Outcome {
        /// Which of the records, counted from 0.
        index: usize,
        /// What became of it.
        outcome: Outcome,
    },
    /// The upstream has answered a request that was let go on.
    ResponseHead,
    /// The caller has gone, or the host has finished with the request.
    Closed,
}

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    /// Let the request go on, from the callback that is running.
    Continue,
    /// Let the request go on that has been held until now.
    Resume,
    /// Hold the request.
    Wait,
    /// Hold the request, read this many bytes of body, and step on with [`Event::Body`].
    ReadBody {
        /// All that has been buffered, in bytes.
        len: usize,
    },
    /// Hold the request, send these records to kafka-bridge, and step on with an [`Event::Outcome`] for each when it is
    /// known.
    Dispatch {
        /// At least one. Those of one topic stay in this order.
        records: Vec<Record>,
        /// The name of the request, to find it again in the logs of both.
        request_id: String,
    },
    /// Answer. The request ends here.
    Reply(LocalReply),
    /// Change the head of the upstream's answer.
    SetResponseHeaders {
        /// Fields to take out first, by name.
        remove: &'static [&'static str],
        /// Fields to add then.
        add: Headers,
    },
    /// Nothing.
    Nothing,
}

/// One request.
#[derive(Debug)]
pub struct Exchange {
    config: Rc<Config>,
    state: State,
    /// What every answer to this request has, whoever gives it.
    response_headers: Headers,
    credential_headers: Vec<String>,
    route: Option<Rc<Route>>,
    principal: Option<Principal>,
}

#[derive(Debug)]
enum State {
    /// Nothing has happened yet.
    New,
    /// Let in; its body is still coming.
    Buffering { admitted: Box<Admitted>, buffered: usize },
    /// Let in; the shell is asked for the body.
    Reading { admitted: Box<Admitted> },
    /// Its records are on their way.
    Dispatched(Box<Dispatched>),
    /// Let through; none of our business any more.
    Passed,
    /// Answered or gone.
    Done,
}

#[derive(Debug)]
struct Dispatched {
    route: Rc<Route>,
    request_id: String,
    sent: Sent,
    /// What is known of each record.
    outcomes: Vec<Option<Outcome>>,
}

/// What the head decides.
enum Admission {
    Pass,
    Answer(LocalReply),
    Hold(Box<Admitted>),
}

impl Exchange {
    /// A request about which nothing is known yet.
    pub fn new(config: Rc<Config>) -> Self {
        Self {
            config,
            state: State::New,
            response_headers: Headers::new(),
            credential_headers: Vec::new(),
            route: None,
            principal: None,
        }
    }

    /// The route that the request takes, once that is known.
    pub fn route(&self) -> Option<&Route> {
        self.route.as_deref()
    }

    /// Who sent the request, once that is known.
    pub fn principal(&self) -> Option<&Principal> {
        self.principal.as_ref()
    }

    /// Request headers that must not reach an upstream. To be removed while the head can be changed, which is right
    /// after [`Event::Head`].
    pub fn credential_headers(&self) -> &[String] {
        &self.credential_headers
    }

    /// Takes in what happened and says what to do.
    pub fn step(&mut self, event: Event<'_>, env: &mut dyn Env) -> Effect {
        let state = std::mem::replace(&mut self.state, State::Done);
        let (state, effect) = match (state, event) {
            (State::New, Event::Head { head, end_of_stream }) => self.on_head(&head, end_of_stream, env),
            (State::New, Event::HeadUnreadable) => self.deny(&Problem::Internal, &fresh_id(env)),
            (State::Buffering { admitted, .. }, Event::BodyBuffered { len, end_of_stream }) => {
                self.on_body(admitted, len, end_of_stream, env)
            }
            (State::Buffering { admitted, buffered }, Event::Trailers) => {
                self.on_body(admitted, buffered, true, env)
            }
            (State::Reading { admitted }, Event::Body(body)) => self.dispatch(&admitted, body, env),
            (State::Reading { admitted }, Event::BodyUnreadable) => self.fail(&admitted, &Problem::Internal),
            (State::Reading { admitted }, Event::Saturated) => {
                self.fail(&admitted, &Problem::Unavailable { retry_after: 1 })
            }
            (State::Dispatched(dispatched), Event::Outcome { index, outcome }) => {
                self.on_outcome(dispatched, index, outcome)
            }
            // Nothing of a request may move while its records are on their way.
            (state @ State::Dispatched(_), Event::BodyBuffered { .. } | Event::Trailers) => {
                (state, Effect::Wait)
            }
            (State::Passed, Event::ResponseHead) if !self.response_headers.is_empty() => {
                let add = std::mem::take(&mut self.response_headers);
                (State::Passed, Effect::SetResponseHeaders { remove: &cors::RESPONSE_FIELDS, add })
            }
            (_, Event::Closed) => (State::Done, Effect::Nothing),
            (State::Passed, _) => (State::Passed, Effect::Continue),
            // Data before any head: a host that does this is not believed.
            (State::New, Event::BodyBuffered { .. } | Event::Trailers) => {
                self.deny(&Problem::Internal, &fresh_id(env))
            }
            // After an answer of ours the host may still walk the rest of the request; it goes nowhere.
            (State::Done, Event::BodyBuffered { .. } | Event::Trailers) => (State::Done, Effect::Wait),
            (state, _) => (state, Effect::Nothing),
        };
        self.state = state;
        effect
    }

    fn on_head(&mut self, head: &RequestHead, end_of_stream: bool, env: &mut dyn Env) -> (State, Effect) {
        let request_id = request_id(head).unwrap_or_else(|| fresh_id(env));
        match self.admit(head, &request_id, env) {
            Ok(Admission::Pass) => (State::Passed, Effect::Continue),
            Ok(Admission::Answer(reply)) => (State::Done, Effect::Reply(reply)),
            Ok(Admission::Hold(admitted)) if end_of_stream => self.dispatch(&admitted, b"", env),
            Ok(Admission::Hold(admitted)) => (State::Buffering { admitted, buffered: 0 }, Effect::Wait),
            Err(problem) => self.deny(&problem, &request_id),
        }
    }

    /// Everything that can be decided by the head alone.
    fn admit(
        &mut self,
        head: &RequestHead,
        request_id: &str,
        env: &mut dyn Env,
    ) -> Result<Admission, Problem> {
        if head.len() > MAX_FIELDS {
            return Err(Problem::BadRequest(format!(
                "headers: wanted at most {MAX_FIELDS}, got {}",
                head.len()
            )));
        }
        // Methods are case-sensitive (RFC 9110, section 9.1), and services that fold them would see another.
        if !head.method().iter().all(|byte| byte.is_ascii_uppercase() || *byte == b'-') {
            return Err(Problem::BadRequest("method: wanted upper case".to_owned()));
        }
        let path = CanonicalPath::from_target(head.target())
            .map_err(|error| Problem::BadRequest(format!("path: {error}")))?;
        let host = head.host().map_err(|error| Problem::BadRequest(format!("host: {error}")))?;
        if let Some(preflight) = self.config.routes.preflight(head, host, &path) {
            return Ok(Admission::Answer(preflight_answer(preflight, request_id)));
        }
        let routes = &self.config.routes;
        let (route, path_parameters) = match routes.find(head, host, &path) {
            Matched::Route(route, parameters) => (route, parameters),
            Matched::MethodNotAllowed(allowed) => return Err(Problem::MethodNotAllowed(allowed)),
            // What belongs to a route is never let pass unauthenticated, not by another spelling of its path either.
            Matched::NotFound if self.config.unmatched == Unmatched::Reject || routes.claim(host, &path) => {
                return Err(Problem::NotFound);
            }
            Matched::NotFound => return Ok(Admission::Pass),
        };
        self.route = Some(Rc::clone(&route));
        if let Some(cors) = &route.cors {
            // Two origins are none that a page could have.
            self.response_headers = owned(cors.fields(head.single("origin").ok().flatten()));
        }
        let principal = auth::authenticate(&route.authentication, head).map_err(|error| match error {
            AuthError::Unauthenticated => Problem::Unauthenticated(route.challenge.clone()),
            AuthError::RepeatedCredential(header) => {
                Problem::BadRequest(format!("{header}: {}", crate::head::Repeated))
            }
        })?;
        self.principal = Some(principal.clone());
        let plan = match &route.action {
            Action::Produce { plan, .. } => plan,
            Action::Tee { plan, .. } => {
                self.credential_headers.clone_from(&route.credential_headers);
                plan
            }
            Action::Pass => {
                self.credential_headers.clone_from(&route.credential_headers);
                return Ok(Admission::Pass);
            }
        };
        let parameters = path_parameters.into_iter().map(str::to_owned).collect();
        let admitted = content_length(head).and_then(|len| {
            if len.is_some_and(|len| len > self.config.max_body_bytes as u64) {
                return Err(Problem::TooLarge(self.config.max_body_bytes));
            }
            let named = (request_id.to_owned(), env.now());
            Admitted::new(Rc::clone(&route), plan, parameters, principal, head, named)
        });
        match admitted {
            Ok(admitted) => Ok(Admission::Hold(Box::new(admitted))),
            Err(_) if route.action.goes_on_without_a_copy() => Ok(Admission::Pass),
            Err(problem) => Err(problem),
        }
    }

    fn on_body(
        &mut self,
        admitted: Box<Admitted>,
        len: usize,
        end_of_stream: bool,
        env: &mut dyn Env,
    ) -> (State, Effect) {
        if len > self.config.max_body_bytes {
            return self.fail(&admitted, &Problem::TooLarge(self.config.max_body_bytes));
        }
        match (end_of_stream, len) {
            (false, _) => (State::Buffering { admitted, buffered: len }, Effect::Wait),
            (true, 0) => self.dispatch(&admitted, b"", env),
            (true, _) => (State::Reading { admitted }, Effect::ReadBody { len }),
        }
    }

    fn dispatch(&mut self, admitted: &Admitted, body: &[u8], env: &mut dyn Env) -> (State, Effect) {
        let (Action::Produce { plan, .. } | Action::Tee { plan, .. }) = &admitted.route.action else {
            return self.fail(admitted, &Problem::Internal);
        };
        match reshape(admitted, plan, body, env) {
            Ok(Outgoing { records, batch }) => {
                let sent =
                    records.iter().map(|record| (record.event_id.clone(), record.topic.clone())).collect();
                let request_id = admitted.request_id.clone();
                let dispatched = Dispatched {
                    route: Rc::clone(&admitted.route),
                    request_id: request_id.clone(),
                    outcomes: vec![None; records.len()],
                    sent: Sent { records: sent, ack: plan.ack(), batch },
                };
                (State::Dispatched(Box::new(dispatched)), Effect::Dispatch { records, request_id })
            }
            Err(problem) => self.fail(admitted, &problem),
        }
    }

    fn on_outcome(
        &mut self,
        mut dispatched: Box<Dispatched>,
        index: usize,
        outcome: Outcome,
    ) -> (State, Effect) {
        // What is known of a record stays: a host that says it twice is not believed the second time.
        match dispatched.outcomes.get_mut(index) {
            Some(known @ None) => *known = Some(outcome),
            _ => return (State::Dispatched(dispatched), Effect::Nothing),
        }
        if dispatched.outcomes.iter().any(Option::is_none) {
            return (State::Dispatched(dispatched), Effect::Nothing);
        }
        let Dispatched { route, request_id, sent, outcomes } = *dispatched;
        let verdicts = verdicts(&sent, outcomes.into_iter().flatten().collect());
        let reply = match &route.action {
            Action::Produce { success, .. } => answer(&sent, &verdicts, success, &request_id),
            Action::Tee { on_error, .. } => match verdicts.into_iter().find_map(Result::err) {
                Some(problem) if *on_error == OnError::Deny => problem.reply(&request_id),
                _ => return (State::Passed, Effect::Resume),
            },
            Action::Pass => return (State::Passed, Effect::Resume),
        };
        (State::Done, Effect::Reply(self.with_response_headers(reply)))
    }

    /// Ends a request that was let in and cannot become records; or lets it go on without a copy, if its route says so.
    fn fail(&mut self, admitted: &Admitted, problem: &Problem) -> (State, Effect) {
        if admitted.route.action.goes_on_without_a_copy() {
            (State::Passed, Effect::Continue)
        } else {
            self.deny(problem, &admitted.request_id)
        }
    }

    fn deny(&mut self, problem: &Problem, request_id: &str) -> (State, Effect) {
        (State::Done, Effect::Reply(self.with_response_headers(problem.reply(request_id))))
    }

    fn with_response_headers(&mut self, mut reply: LocalReply) -> LocalReply {
        reply.headers.append(&mut self.response_headers);
        reply
    }
}

fn preflight_answer(preflight: Preflight, request_id: &str) -> LocalReply {
    match preflight {
        Preflight::Granted(fields) => {
            let mut headers = vec![("x-request-id".into(), request_id.to_owned())];
            headers.extend(owned(fields));
            LocalReply { status: 204, headers, body: Vec::new() }
        }
        Preflight::Denied(denial, fields) => {
            let mut reply = Problem::CorsRefused(denial).reply(request_id);
            reply.headers.extend(owned(fields));
            reply
        }
    }
}

fn owned(fields: cors::Fields) -> Headers {
    fields.into_iter().map(|(name, value)| (name.into(), value)).collect()
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
