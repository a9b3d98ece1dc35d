//! Tokens that an authorisation server is asked about: [`crate::introspection`] has the question and the answer, this
//! file has where the token stands, how long an answer is good, and what it makes of the token's bearer.

use std::rc::Rc;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use wicketgate_envelope::timestamp::Timestamp;

use super::bearer::Bearer;
use super::cache::Cache;
use super::jwt::TokenIdentity;
use super::{Checked, Rejected, Request};
use crate::env::Env;
use crate::fetch::{Fetch, FetchKey, FetchSubject, Response};
use crate::introspection::{Active, Answer, Client, MAX_ANSWER_BYTES, Question};

/// The longest token that a server is asked about, in bytes.
const MAX_TOKEN_BYTES: usize = 8192;

/// The most tokens that one VM remembers: those that are good, and apart from them, so that no flood of others pushes
/// them out, those that are not.
const MAX_CACHED: usize = 1_000;

/// How long a token that is not good stays so, without another question.
const REMEMBER_INACTIVE: Duration = Duration::from_secs(10);

/// How long a server that has not answered is left alone about the same token.
const REMEMBER_FAILED: Duration = Duration::from_secs(1);

/// Tokens of one authorisation server.
#[derive(Debug)]
pub struct Introspection {
    pub(crate) bearer: Bearer,
    pub(crate) server: Server,
    /// What `iss` in an answer has to be.
    pub(crate) issuer: Option<String>,
    /// What `aud` in an answer has to have one of.
    pub(crate) audiences: Vec<String>,
    /// How long an answer is good, where the token does not expire before.
    pub(crate) cache: Duration,
    pub(crate) identity: TokenIdentity,
    /// Whether an upstream gets the token.
    pub(crate) forward: bool,
}

/// The server, and how it is asked.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) upstream: String,
    pub(crate) authority: String,
    pub(crate) path: String,
    pub(crate) client: Client,
    pub(crate) timeout: Duration,
}

/// What servers have said.
#[derive(Debug)]
pub(crate) struct Answers {
    /// When it was said.
    active: Cache<[u8; 32], (Rc<Active>, Timestamp)>,
    /// Until when it is believed.
    others: Cache<[u8; 32], (Other, Timestamp)>,
}

#[derive(Clone, Copy, Debug)]
enum Other {
    Inactive,
    Failed,
}

impl Default for Answers {
    fn default() -> Self {
        Self { active: Cache::new(MAX_CACHED), others: Cache::new(MAX_CACHED) }
    }
}

impl Answers {
    /// Takes in what a server has said of a token.
    pub(super) fn fetched(&mut self, token: [u8; 32], response: Option<Response<'_>>, now: Timestamp) {
        let answer = response.map_or(Answer::Failed, |Response { status, body }| Answer::read(status, body));
        match answer {
            Answer::Active(active) => {
                self.others.remove(&token);
                self.active.insert(token, (Rc::new(active), now));
            }
            Answer::Inactive => {
                self.active.remove(&token);
                self.others.insert(token, (Other::Inactive, later(now, REMEMBER_INACTIVE)));
            }
            Answer::Failed => self.others.insert(token, (Other::Failed, later(now, REMEMBER_FAILED))),
        }
    }

    fn active(&mut self, token: &[u8; 32], cache: Duration, now: Timestamp) -> Option<Rc<Active>> {
        let (active, said) = self.active.get(token)?;
        // A clock that was set back makes no answer good for longer.
        if *said <= now && now < later(*said, cache) {
            return Some(Rc::clone(active));
        }
        self.active.remove(token);
        None
    }

    fn other(&mut self, token: &[u8; 32], now: Timestamp) -> Option<Other> {
        let (other, until) = self.others.get(token)?;
        if now < *until {
            return Some(*other);
        }
        self.others.remove(token);
        None
    }
}

impl Introspection {
    pub(super) fn check(&self, name: &Rc<str>, request: &Request<'_>, env: &mut dyn Env) -> Checked {
        let token = match self.bearer.read(request.head) {
            Ok(Some(token)) => token,
            Ok(None) => return Checked::Absent,
            Err(rejected) => return Checked::Rejected(rejected),
        };
        let text = std::str::from_utf8(&token).ok().filter(|text| text.len() <= MAX_TOKEN_BYTES);
        let Some(text) = text else { return Checked::Rejected(Rejected::Invalid("malformed")) };
        let (digest, now) = (digest(name, text), env.now());
        let answers = &mut env.memory().answers;
        if let Some(active) = answers.active(&digest, self.cache, now) {
            return self.known(name, &active, now);
        }
        match answers.other(&digest, now) {
            Some(Other::Inactive) => Checked::Rejected(Rejected::Invalid("the token is not active")),
            Some(Other::Failed) => Checked::Rejected(Rejected::Unavailable),
            None => Checked::Fetch(Box::new(self.question(name, text, digest))),
        }
    }

    fn known(&self, name: &Rc<str>, active: &Active, now: Timestamp) -> Checked {
        if let Some(reason) = active.refused(self.issuer.as_deref(), &self.audiences, now) {
            return Checked::Rejected(Rejected::Invalid(reason));
        }
        match self.identity.principal(name, active.subject.as_deref(), &active.claims) {
            Ok(principal) => Checked::Known(principal),
            Err(rejected) => Checked::Rejected(rejected),
        }
    }

    fn question(&self, name: &Rc<str>, token: &str, digest: [u8; 32]) -> Fetch {
        let Server { upstream, authority, path, client, timeout } = &self.server;
        let Question { headers, body } = Question::about(token, client);
        Fetch {
            key: FetchKey { method: Rc::clone(name), subject: FetchSubject::Token(digest) },
            upstream: upstream.clone(),
            method: "POST",
            authority: authority.clone(),
            path: path.clone(),
            headers,
            body,
            timeout: *timeout,
            max_bytes: MAX_ANSWER_BYTES,
        }
    }
}

/// An answer is remembered for one method only: another asks another server.
fn digest(name: &str, token: &str) -> [u8; 32] {
    Sha256::new().chain_update(name.as_bytes()).chain_update([0]).chain_update(token).finalize().into()
}

fn later(time: Timestamp, duration: Duration) -> Timestamp {
    let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    Timestamp::from_nanos(time.as_nanos().saturating_add(nanos))
}

#[cfg(test)]
mod tests;
