//! One request, from its head to its answer, as a state machine without a world.
//!
//! A shell feeds [`Event`]s to [`Exchange::step`] and carries out the one [`Effect`] that comes back. Every pair of
//! state and event has an arm, so a host that calls late, twice or out of order does no harm; and no exchange has
//! more than one answer.

use std::collections::BTreeMap;
use std::rc::Rc;

use wicketgate_envelope::hop::{Ack, LimitState, RecordResult};
use wicketgate_envelope::timestamp::Timestamp;

use crate::admission::Admitted;
use crate::answer::{Sent, answer, verdicts};
use crate::auth::{self, Denial, HeadChanges, Principal, Rejected, Tried, Verdict};
use crate::callout::Outcome;
use crate::config::document::{OnError, Streams};
use crate::config::{Config, Unmatched};
use crate::cors::{self, Preflight};
use crate::env::{Count, Env, fresh_id};
use crate::fetch::Fetch;
use crate::head::{MAX_FIELDS, RequestHead};
use crate::limit::key::Facts;
use crate::limit::{self, Ledger, Refusal, Report, RouteLimit, Stage};
use crate::path::CanonicalPath;
use crate::reply::{Headers, LocalReply, Problem, Told};
use crate::reshape::{Outgoing, Record, reshape};
use crate::route::{Action, Matched, Obstacle, Route};
use crate::shares::Holder;
use crate::unending::Unending;
use crate::webhook_handshake;

mod decided;

pub use self::decided::Decided;

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
    /// There is no room for a body, in answer to [`Effect::ReadBody`], or for records, in answer to [`Effect::Dispatch`].
    Saturated,
    /// The answer to [`Effect::Fetch`] is in [`Env::memory`], or it is known that there will be none.
    Fetched,
    /// What became of one record, in answer to [`Effect::Dispatch`].
    Outcome {
        /// Which of the records, counted from 0.
        index: usize,
        /// What became of it.
        outcome: Outcome,
    },
    /// What limits that gateways share have said of the request, before the outcome of its records.
    Limits(&'a [LimitState]),
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
    /// Hold the request, make this call unless one with the same key is out already, hand its answer to
    /// [`crate::auth::Memory::fetched`] once, and step on with [`Event::Fetched`].
    Fetch(Box<Fetch>),
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
    /// What the upstream's view of the head differs in.
    head_changes: HeadChanges,
    route: Option<Rc<Route>>,
    principal: Option<Principal>,
    client_address: Option<Box<str>>,
    /// What it has used up of its limits.
    ledger: Ledger,
    began: Option<Timestamp>,
    decided: Option<Decided>,
    /// The `id` of its first event.
    event_id: Option<String>,
    /// Whether it is written down what each method of authentication says.
    traced: bool,
    tried: Vec<Tried>,
    /// Whether the callback that is running is not one of the request's own, so that going on takes a call to the host.
    detached: bool,
}

#[derive(Debug)]
enum State {
    /// Nothing has happened yet.
    New,
    /// An authority is being asked about its credential.
    Fetching { candidate: Box<Candidate>, progress: Progress },
    /// Its body is still coming.
    Buffering { held: Held, buffered: usize },
    /// The shell is asked for its body.
    Reading { held: Held },
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

/// A request whose route is known and whose caller is not.
#[derive(Debug)]
struct Candidate {
    route: Rc<Route>,
    head: RequestHead,
    path_parameters: Vec<String>,
    request_id: String,
    /// How often an authority was asked for it.
    fetches: usize,
    /// Whether its credential cannot be checked without its body.
    needs_body: bool,
}

/// A request that is held until its body is whole.
#[derive(Debug)]
enum Held {
    /// Its caller is known by then only.
    Candidate(Box<Candidate>),
    /// It is let in.
    Admitted(Box<Admitted>),
}

/// How much of a request's body has come.
#[derive(Clone, Copy, Debug)]
struct Progress {
    /// In bytes.
    buffered: usize,
    ended: bool,
}

/// What the path of a request leads to.
enum Found {
    Route(Rc<Route>, Vec<String>),
    Permission(webhook_handshake::Fields),
    Preflight(Preflight),
    Unmatched,
}

/// What becomes of a request that may.
enum Admission {
    Pass,
    Hold(Box<Admitted>),
}

/// Header fields by which services take a request for one with another method.
const METHOD_OVERRIDES: [&str; 3] = ["x-http-method-override", "x-http-method", "x-method-override"];
/// Header fields by which services take a request for one with another path.
const PATH_OVERRIDES: [&str; 3] = ["x-original-url", "x-original-uri", "x-rewrite-url"];

/// The most often that an authority is asked for one request: discovery, keys, and keys again for one that is new, with
/// one to spare for a second method.
const MAX_FETCHES: usize = 4;

impl Exchange {
    /// A request about which nothing is known yet.
    pub fn new(config: Rc<Config>) -> Self {
        Self {
            config,
            state: State::New,
            response_headers: Headers::new(),
            head_changes: HeadChanges::default(),
            route: None,
            principal: None,
            client_address: None,
            ledger: Ledger::default(),
            began: None,
            decided: None,
            event_id: None,
            traced: false,
            tried: Vec::new(),
            detached: false,
        }
    }

    /// The same, with what each method of authentication says written down for [`Exchange::tried`].
    pub fn traced(config: Rc<Config>) -> Self {
        Self { traced: true, ..Self::new(config) }
    }

    /// As if so many units had just been used of these limits, by name.
    pub fn with_used(mut self, used: BTreeMap<String, u64>) -> Self {
        self.ledger = Ledger::with_used(used);
        self
    }

    /// What each method of authentication said of the request when it was last asked, in order.
    pub fn tried(&self) -> &[Tried] {
        &self.tried
    }

    /// The route that the request takes, once that is known.
    pub fn route(&self) -> Option<&Route> {
        self.route.as_deref()
    }

    /// Who sent the request, once that is known.
    pub fn principal(&self) -> Option<&Principal> {
        self.principal.as_ref()
    }

    /// What each of its limits has said last.
    pub fn limits(&self) -> &[Report] {
        self.ledger.reports()
    }

    /// Whose share of a common memory it counts for.
    pub fn holder(&self) -> Holder {
        Holder::of(self.principal.as_ref(), self.client_address.as_deref())
    }

    /// What became of the request, once that is decided.
    pub fn decided(&self) -> Option<Decided> {
        self.decided
    }

    /// The `id` of the event that was made of the request, or of the first of them, once there is one.
    pub fn event_id(&self) -> Option<&str> {
        self.event_id.as_deref()
    }

    /// What the head of the request has to be changed in before it goes on to its upstream. To be done while the head
    /// can be changed, which is right after [`Event::Head`].
    pub fn head_changes(&self) -> &HeadChanges {
        &self.head_changes
    }

    /// Takes in what happened and says what to do.
    pub fn step(&mut self, event: Event<'_>, env: &mut dyn Env) -> Effect {
        match (&self.state, &event) {
            (State::Fetching { .. }, Event::Fetched) | (State::Dispatched(_), Event::Outcome { .. }) => {
                self.detached = true;
            }
            // The first three follow from an effect, in the callback that it was returned to; the others come when
            // nobody waits for them.
            (_, Event::Body(_) | Event::BodyUnreadable | Event::Saturated)
            | (_, Event::Fetched | Event::Outcome { .. } | Event::Limits(_)) => {}
            _ => self.detached = false,
        }
        if self.began.is_none() {
            self.began = Some(env.now());
        }
        let state = std::mem::replace(&mut self.state, State::Done);
        let (state, effect) = self.transition(state, event, env);
        self.state = state;
        if self.decided.is_none() && matches!(self.state, State::Passed | State::Done) {
            self.decide(&effect, env);
        }
        if self.detached && effect == Effect::Continue { Effect::Resume } else { effect }
    }

    /// Takes down what became of the request.
    fn decide(&mut self, effect: &Effect, env: &mut dyn Env) {
        let decided = Decided::by(effect);
        self.decided = Some(decided);
        let nanos = self.began.map_or(0, |began| env.now().as_nanos().saturating_sub(began.as_nanos()));
        let route = self.route.as_ref().map(|route| route.name.as_str());
        env.count(Count::Request { route, decided, millis: nanos / 1_000_000 });
    }

    fn transition(&mut self, state: State, event: Event<'_>, env: &mut dyn Env) -> (State, Effect) {
        match (state, event) {
            (State::New, Event::Head { head, end_of_stream }) => self.on_head(head, end_of_stream, env),
            (State::New, Event::HeadUnreadable) => self.deny(&Problem::Internal, &fresh_id(env)),
            (State::Fetching { candidate, .. }, Event::BodyBuffered { len, end_of_stream }) => {
                let progress = Progress { buffered: len, ended: end_of_stream };
                (State::Fetching { candidate, progress }, Effect::Wait)
            }
            (State::Fetching { candidate, progress }, Event::Trailers) => {
                (State::Fetching { candidate, progress: Progress { ended: true, ..progress } }, Effect::Wait)
            }
            (State::Fetching { candidate, .. }, Event::Saturated) => {
                self.deny(&Problem::AuthorityUnavailable, &candidate.request_id)
            }
            (State::Fetching { candidate, progress }, Event::Fetched) if candidate.needs_body => {
                self.hold(Held::Candidate(candidate), progress, env)
            }
            (State::Fetching { candidate, progress }, Event::Fetched) => {
                self.identify(candidate, progress, None, env)
            }
            (State::Buffering { held, .. }, Event::BodyBuffered { len, end_of_stream }) => {
                self.hold(held, Progress { buffered: len, ended: end_of_stream }, env)
            }
            (State::Buffering { held, buffered }, Event::Trailers) => {
                self.hold(held, Progress { buffered, ended: true }, env)
            }
            (State::Reading { held }, Event::Body(body)) => self.on_whole(held, body, env),
            (State::Reading { held }, Event::BodyUnreadable) => self.fail(&held, &Problem::Internal),
            (State::Reading { held }, Event::Saturated) => {
                self.fail(&held, &Problem::Unavailable { retry_after: 1 })
            }
            (State::Dispatched(dispatched), Event::Saturated) => {
                let problem = Problem::Unavailable { retry_after: 1 };
                self.fail_route(&dispatched.route, &problem, &dispatched.request_id)
            }
            (State::Dispatched(dispatched), Event::Outcome { index, outcome }) => {
                self.on_outcome(dispatched, index, outcome, env)
            }
            (state @ State::Dispatched(_), Event::Limits(states)) => {
                self.ledger.shared_said(states, env);
                (state, Effect::Nothing)
            }
            // Nothing of a request may move while its records are on their way.
            (state @ State::Dispatched(_), Event::BodyBuffered { .. } | Event::Trailers) => {
                (state, Effect::Wait)
            }
            (State::Passed, Event::ResponseHead) => (State::Passed, self.change_response_head()),
            (_, Event::Closed) => {
                self.ledger.close(env);
                (State::Done, Effect::Nothing)
            }
            (State::Passed, Event::Fetched | Event::Outcome { .. } | Event::Limits(_)) => {
                (State::Passed, Effect::Nothing)
            }
            (State::Passed, _) => (State::Passed, Effect::Continue),
            // Data before any head: a host that does this is not believed.
            (State::New, Event::BodyBuffered { .. } | Event::Trailers) => {
                self.deny(&Problem::Internal, &fresh_id(env))
            }
            // After an answer of ours the host may still walk the rest of the request; it goes nowhere.
            (State::Done, Event::BodyBuffered { .. } | Event::Trailers) => (State::Done, Effect::Wait),
            (state, _) => (state, Effect::Nothing),
        }
    }

    fn on_head(&mut self, head: RequestHead, end_of_stream: bool, env: &mut dyn Env) -> (State, Effect) {
        let request_id = request_id(&head).unwrap_or_else(|| fresh_id(env));
        self.client_address = head.client_address().map(Box::from);
        match self.find(&head) {
            Ok(Found::Route(route, path_parameters)) => {
                if let Err(problem) = self.take_route(&route, &head) {
                    return self.deny(&problem, &request_id);
                }
                let candidate =
                    Candidate { route, head, path_parameters, request_id, fetches: 0, needs_body: false };
                let progress = Progress { buffered: 0, ended: end_of_stream };
                match self.limit_before_authentication(&candidate, env) {
                    Ok(()) => self.identify(Box::new(candidate), progress, None, env),
                    Err(problem) => self.deny(&problem, &candidate.request_id),
                }
            }
            Ok(Found::Permission(fields)) => {
                (State::Done, Effect::Reply(permission_answer(fields, &request_id)))
            }
            Ok(Found::Preflight(preflight)) => {
                (State::Done, Effect::Reply(preflight_answer(preflight, &request_id)))
            }
            Ok(Found::Unmatched) => match self.let_go_on(None, &head) {
                Ok(()) => (State::Passed, Effect::Continue),
                Err(problem) => self.deny(&problem, &request_id),
            },
            Err(problem) => self.deny(&problem, &request_id),
        }
    }

    /// Finds what the request is for.
    fn find(&self, head: &RequestHead) -> Result<Found, Problem> {
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
        let routes = &self.config.routes;
        if let Some(preflight) = routes.preflight(head, host, &path) {
            return Ok(Found::Preflight(preflight));
        }
        if let Some(permission) = routes.permission(head, host, &path) {
            return Ok(Found::Permission(permission));
        }
        match routes.find(head, host, &path) {
            Matched::Route(route, parameters) => {
                Ok(Found::Route(route, parameters.into_iter().map(str::to_owned).collect()))
            }
            Matched::MethodNotAllowed(allowed) => Err(Problem::MethodNotAllowed(allowed)),
            Matched::Unclear => Err(unclear_path()),
            Matched::NotFound if self.config.unmatched == Unmatched::Reject => Err(Problem::NotFound),
            // What belongs to a route is never let pass unauthenticated, not by another spelling of its path either.
            Matched::NotFound => match routes.obstacle(host, &path) {
                Some(Obstacle::Route) => Err(Problem::NotFound),
                Some(Obstacle::Path) => Err(unclear_path()),
                None => Ok(Found::Unmatched),
            },
        }
    }

    /// Takes down what the route says of every answer and of what its upstream gets.
    fn take_route(&mut self, route: &Rc<Route>, head: &RequestHead) -> Result<(), Problem> {
        if let Some(cors) = &route.cors {
            // Two origins are none that a page could have.
            self.response_headers = owned(cors.fields(head.single("origin").ok().flatten()));
        }
        self.route = Some(Rc::clone(route));
        match route.action {
            Action::Produce { .. } => Ok(()),
            Action::Pass | Action::Tee { .. } => self.let_go_on(Some(route), head),
        }
    }

    /// Makes of the head what an upstream gets, if it gets it: without credentials, and with one method and one path.
    fn let_go_on(&mut self, route: Option<&Route>, head: &RequestHead) -> Result<(), Problem> {
        let credentials = route.map_or(&self.config.stripped, |route| &route.credentials);
        self.head_changes = credentials.taken_out_of(head);
        if !self.config.routes.are_guarded() {
            return Ok(());
        }
        // Another method was asked for than the one that was looked at. It cannot be left out: the request would mean
        // something else.
        if let Some(name) = METHOD_OVERRIDES.iter().find(|name| head.all(name).next().is_some()) {
            return Err(Problem::BadRequest(format!(
                "{name}: wanted the method of the request itself, got another way to say it"
            )));
        }
        let overrides = PATH_OVERRIDES.iter().filter(|name| head.all(name).next().is_some());
        self.head_changes.remove.extend(overrides.map(|name| (*name).to_owned()));
        Ok(())
    }

    /// Finds out who the caller is, and goes on with what that caller may do.
    fn identify(
        &mut self,
        mut candidate: Box<Candidate>,
        progress: Progress,
        body: Option<&[u8]>,
        env: &mut dyn Env,
    ) -> (State, Effect) {
        let request = auth::Request { head: &candidate.head, body };
        if self.traced {
            self.tried = candidate.route.requirement.tried(&request, env);
        }
        match candidate.route.requirement.check(&request, env) {
            Verdict::Known(principal) => self.admit(&candidate, principal, progress, body, env),
            Verdict::Denied(denial) => {
                let guessed = matches!(denial.rejected, Some(Rejected::Invalid(_)));
                let counted = if guessed { self.ledger.failed_authentication(env) } else { Ok(()) };
                let problem = counted.map_or_else(Problem::from, |()| denied(denial));
                self.deny(&problem, &candidate.request_id)
            }
            Verdict::Fetch(fetch) if candidate.fetches < MAX_FETCHES => {
                candidate.fetches += 1;
                (State::Fetching { candidate, progress }, Effect::Fetch(fetch))
            }
            Verdict::Fetch(_) => self.deny(&Problem::AuthorityUnavailable, &candidate.request_id),
            Verdict::Challenge(text) => {
                let reply = challenge_answer(text, &candidate.request_id);
                (State::Done, Effect::Reply(self.with_response_headers(reply)))
            }
            Verdict::Body if body.is_some() => self.deny(&Problem::Internal, &candidate.request_id),
            Verdict::Body => {
                candidate.needs_body = true;
                let ends = match Unending::of(&candidate.head) {
                    None => Ok(()),
                    Some(_) => Err(refused_stream("its signature is of all of it")),
                };
                match ends.and_then(|()| self.check_length(&candidate.head)) {
                    Ok(()) => self.hold(Held::Candidate(candidate), progress, env),
                    Err(problem) => self.deny(&problem, &candidate.request_id),
                }
            }
        }
    }

    /// Lets a known caller in, or not.
    fn admit(
        &mut self,
        candidate: &Candidate,
        principal: Principal,
        progress: Progress,
        body: Option<&[u8]>,
        env: &mut dyn Env,
    ) -> (State, Effect) {
        env.count(Count::Authenticated { method: &principal.method });
        self.principal = Some(principal.clone());
        let admission = self
            .authorise(candidate, &principal)
            .and_then(|()| self.limit(candidate, Stage::AfterAuthentication, env))
            .and_then(|()| self.plan(candidate, principal, env));
        match (admission, body) {
            (Ok(Admission::Pass), _) => (State::Passed, Effect::Continue),
            // Nothing of its body is waited for.
            (Ok(Admission::Hold(admitted)), None) if admitted.unending.is_some() => {
                self.dispatch(&admitted, b"", env)
            }
            (Ok(Admission::Hold(admitted)), Some(body)) => self.dispatch(&admitted, body, env),
            (Ok(Admission::Hold(admitted)), None) => self.hold(Held::Admitted(admitted), progress, env),
            (Err(problem), _) => self.deny(&problem, &candidate.request_id),
        }
    }

    fn limit_before_authentication(
        &mut self,
        candidate: &Candidate,
        env: &mut dyn Env,
    ) -> Result<(), Problem> {
        self.limit(candidate, Stage::BeforeAuthentication, env)?;
        self.limit(candidate, Stage::FailedAuthentication, env)
    }

    /// Asks the limits of a stage.
    fn limit(&mut self, candidate: &Candidate, stage: Stage, env: &mut dyn Env) -> Result<(), Problem> {
        let route = &candidate.route;
        let is_now = |limit: &RouteLimit| {
            let last = stage == Stage::AfterAuthentication && limit.stage() == Stage::WithRecords;
            last || limit.stage() == stage
        };
        if !route.limits.iter().any(is_now) {
            return Ok(());
        }
        // A body that says of itself that it is too large is refused for that.
        let length = content_length(&candidate.head)?.filter(|len| *len <= self.config.max_body_bytes as u64);
        let parameters: Vec<&str> = candidate.path_parameters.iter().map(String::as_str).collect();
        let facts = Facts {
            head: &candidate.head,
            client_address: &self.config.client_address,
            route: &route.name,
            parameters: &parameters,
            principal: self.principal.as_ref(),
        };
        self.ledger.charge(&route.limits, stage, &facts, length, env)?;
        if stage == Stage::AfterAuthentication {
            self.ledger.note_shared(&route.limits, &facts);
        }
        Ok(())
    }

    /// Whether the caller may send this request.
    fn authorise(&self, candidate: &Candidate, principal: &Principal) -> Result<(), Problem> {
        let Some(authorization) = &candidate.route.authorization else { return Ok(()) };
        let path_parameters: Vec<&str> = candidate.path_parameters.iter().map(String::as_str).collect();
        authorization
            .check(principal, &candidate.head, &path_parameters)
            .map_err(|forbidden| Problem::Forbidden { scopes: forbidden.scopes })
    }

    /// Takes in what the request's head says of the records that are to be made of it.
    fn plan(
        &self,
        candidate: &Candidate,
        principal: Principal,
        env: &mut dyn Env,
    ) -> Result<Admission, Problem> {
        let Candidate { route, head, path_parameters, request_id, .. } = candidate;
        let (Action::Produce { plan, .. } | Action::Tee { plan, .. }) = &route.action else {
            return Ok(Admission::Pass);
        };
        let named = (request_id.clone(), env.now());
        let unending = may_wait(&route.action, head);
        let admitted = unending.and_then(|()| self.check_length(head)).and_then(|()| {
            Admitted::new(Rc::clone(route), plan, path_parameters.clone(), principal, head, named)
        });
        match admitted {
            Ok(admitted) => Ok(Admission::Hold(Box::new(admitted))),
            Err(_) if route.action.goes_on_without_a_copy() => Ok(Admission::Pass),
            Err(problem) => Err(problem),
        }
    }

    /// Refuses a body that says of itself that it is too large.
    fn check_length(&self, head: &RequestHead) -> Result<(), Problem> {
        match content_length(head)? {
            Some(len) if len > self.config.max_body_bytes as u64 => {
                Err(Problem::TooLarge(self.config.max_body_bytes))
            }
            _ => Ok(()),
        }
    }

    /// Holds a request until its body is whole, and goes on with it then.
    fn hold(&mut self, held: Held, progress: Progress, env: &mut dyn Env) -> (State, Effect) {
        let Progress { buffered, ended } = progress;
        if buffered > self.config.max_body_bytes {
            return self.fail(&held, &Problem::TooLarge(self.config.max_body_bytes));
        }
        match (ended, buffered) {
            (false, _) => (State::Buffering { held, buffered }, Effect::Wait),
            (true, 0) => self.on_whole(held, b"", env),
            (true, len) => (State::Reading { held }, Effect::ReadBody { len }),
        }
    }

    fn on_whole(&mut self, held: Held, body: &[u8], env: &mut dyn Env) -> (State, Effect) {
        match held {
            Held::Admitted(admitted) => self.dispatch(&admitted, body, env),
            Held::Candidate(candidate) => {
                let progress = Progress { buffered: body.len(), ended: true };
                self.identify(candidate, progress, Some(body), env)
            }
        }
    }

    fn dispatch(&mut self, admitted: &Admitted, body: &[u8], env: &mut dyn Env) -> (State, Effect) {
        let (Action::Produce { plan, .. } | Action::Tee { plan, .. }) = &admitted.route.action else {
            return self.deny(&Problem::Internal, &admitted.request_id);
        };
        let bytes = u64::try_from(body.len()).unwrap_or(u64::MAX);
        if let Err(refusal) =
            self.ledger.settle(|cost| (cost == limit::Cost::BodyBytes).then_some(bytes), env)
        {
            return self.deny(&refusal.into(), &admitted.request_id);
        }
        match reshape(admitted, plan, body, env) {
            Ok(Outgoing { records, .. }) if records.is_empty() => self.on_nothing(admitted, plan.ack()),
            Ok(Outgoing { mut records, batch }) => {
                let events = u64::try_from(records.len()).unwrap_or(u64::MAX);
                if let Err(refusal) = self.ledger.settle(|_| Some(events), env) {
                    return self.deny(&refusal.into(), &admitted.request_id);
                }
                if let Some(first) = records.first_mut() {
                    first.limits = self.ledger.shared(bytes, events);
                }
                self.event_id = records.first().map(|record| record.event_id.clone());
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
            Err(problem) => self.fail_admitted(admitted, &problem),
        }
    }

    /// A batch of no events is one (CloudEvents JSON Format 1.0.2, section 4), but no copy of a request.
    fn on_nothing(&mut self, admitted: &Admitted, ack: Ack) -> (State, Effect) {
        let Action::Produce { success, .. } = &admitted.route.action else {
            let detail =
                "body: wanted at least one event, as the request goes on with a copy, got an empty batch";
            return self.fail_admitted(admitted, &Problem::BadRequest(detail.to_owned()));
        };
        let sent = Sent { records: Vec::new(), ack, batch: true };
        let reply = answer(&sent, &[], success, &admitted.request_id);
        (State::Done, Effect::Reply(self.with_response_headers(reply)))
    }

    fn on_outcome(
        &mut self,
        mut dispatched: Box<Dispatched>,
        index: usize,
        outcome: Outcome,
        env: &mut dyn Env,
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
        if outcomes.iter().flatten().all(|outcome| *outcome == Outcome::Answered(RecordResult::Limited)) {
            let refusal = self.ledger.shared_refused(env);
            return self.deny(&refusal.into(), &request_id);
        }
        let verdicts = verdicts(&sent, outcomes.into_iter().flatten().collect());
        let reply = match &route.action {
            Action::Produce { success, .. } => answer(&sent, &verdicts, success, &request_id),
            Action::Tee { on_error, .. } => match verdicts.into_iter().find_map(Result::err) {
                Some(problem) if *on_error == OnError::Deny => problem.reply(&request_id),
                _ => return (State::Passed, Effect::Continue),
            },
            Action::Pass => return (State::Passed, Effect::Continue),
        };
        (State::Done, Effect::Reply(self.with_response_headers(reply)))
    }

    fn fail(&mut self, held: &Held, problem: &Problem) -> (State, Effect) {
        match held {
            // Whose request it is was never found out, so it goes nowhere.
            Held::Candidate(candidate) => self.deny(problem, &candidate.request_id),
            Held::Admitted(admitted) => self.fail_admitted(admitted, problem),
        }
    }

    /// Ends a request that was let in and cannot become records; or lets it go on without a copy, if its route says so.
    fn fail_admitted(&mut self, admitted: &Admitted, problem: &Problem) -> (State, Effect) {
        self.fail_route(&admitted.route, problem, &admitted.request_id)
    }

    fn fail_route(&mut self, route: &Route, problem: &Problem, request_id: &str) -> (State, Effect) {
        if route.action.goes_on_without_a_copy() {
            (State::Passed, Effect::Continue)
        } else {
            self.deny(problem, request_id)
        }
    }

    fn deny(&mut self, problem: &Problem, request_id: &str) -> (State, Effect) {
        (State::Done, Effect::Reply(self.with_response_headers(problem.reply(request_id))))
    }

    fn with_response_headers(&mut self, mut reply: LocalReply) -> LocalReply {
        reply.headers.append(&mut self.take_response_headers());
        reply
    }

    /// What every answer has, as it is now.
    fn take_response_headers(&mut self) -> Headers {
        let mut headers = std::mem::take(&mut self.response_headers);
        headers.append(&mut limit::fields::fields(self.ledger.reports(), self.config.limit_fields));
        headers
    }

    fn change_response_head(&mut self) -> Effect {
        let add = self.take_response_headers();
        if add.is_empty() {
            return Effect::Continue;
        }
        // Where a route says which pages may read an answer, its upstream's own fields have no say.
        let cors = self.route.as_ref().is_some_and(|route| route.cors.is_some());
        let remove: &[&str] = if cors { &cors::RESPONSE_FIELDS } else { &[] };
        Effect::SetResponseHeaders { remove, add }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Exceeded { policies, retry_after } => Self::QuotaExceeded { policies, retry_after },
            Refusal::Unavailable { policy } => Self::LimitUnavailable { policy },
        }
    }
}

/// Refuses what is waited for and need not come.
fn may_wait(action: &Action, head: &RequestHead) -> Result<(), Problem> {
    match (action, Unending::of(head)) {
        // A call with one message ends, and is a body like others.
        (Action::Produce { .. }, Some(Unending::Grpc)) | (_, None) => Ok(()),
        (Action::Tee { streams: Streams::Head, .. } | Action::Pass, Some(_)) => Ok(()),
        (Action::Produce { .. } | Action::Tee { .. }, Some(_)) => {
            Err(refused_stream("it is taken when all of it is there"))
        }
    }
}

fn refused_stream(because: &str) -> Problem {
    Problem::BadRequest(format!(
        "request: wanted one that ends, because {because}, got an upgrade, a CONNECT or a gRPC call"
    ))
}

/// What a caller is told of a denial: never which part of a credential was wrong.
fn denied(denial: Denial) -> Problem {
    match denial.rejected {
        Some(Rejected::Repeated(place)) => Problem::BadRequest(format!("{place}: {}", crate::head::Repeated)),
        Some(Rejected::Unavailable) => Problem::AuthorityUnavailable,
        Some(Rejected::Invalid(_)) | None => Problem::Unauthenticated(denial.challenge),
    }
}

fn unclear_path() -> Problem {
    Problem::BadRequest(
        "path: decoded again it is another, which may lead where a credential is asked for".to_owned(),
    )
}

/// What a provider of webhooks that only asks whether somebody is there wants to hear.
fn challenge_answer(text: String, request_id: &str) -> LocalReply {
    let headers = vec![
        ("content-type".into(), "text/plain; charset=utf-8".to_owned()),
        ("x-content-type-options".into(), "nosniff".to_owned()),
        ("x-request-id".into(), request_id.to_owned()),
    ];
    LocalReply { status: 200, headers, body: text.into_bytes(), told: Told::Answer }
}

/// CloudEvents, HTTP 1.1 Web Hooks, section 4.2.
fn permission_answer(fields: webhook_handshake::Fields, request_id: &str) -> LocalReply {
    let mut headers =
        vec![("x-request-id".into(), request_id.to_owned()), ("allow".into(), "POST".to_owned())];
    headers.extend(fields.into_iter().map(|(name, value)| (name.into(), value)));
    LocalReply { status: 200, headers, body: Vec::new(), told: Told::Answer }
}

fn preflight_answer(preflight: Preflight, request_id: &str) -> LocalReply {
    match preflight {
        Preflight::Granted(fields) => {
            let mut headers = vec![("x-request-id".into(), request_id.to_owned())];
            headers.extend(owned(fields));
            LocalReply { status: 204, headers, body: Vec::new(), told: Told::Answer }
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
