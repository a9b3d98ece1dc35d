//! The keys of issuers, fetched when they are needed: kept, refreshed before they age out, asked for again when a token
//! names one that is not known, and believed for a bounded time while the issuer does not answer.
//!
//! ```text
//!            age < refresh            refresh <= age < refresh + stale        older, or none yet
//!  used  ──────────────────────  used, and fetched anew in the background  ──  held until fetched, else refused
//! ```

use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use wicketgate_envelope::timestamp::Timestamp;

use crate::fetch::{Fetch, FetchKey, FetchSubject, Response};
use crate::jose::{Discovery, KeySet, MAX_KEY_SET_BYTES};

/// The largest discovery document that is read, in bytes.
const MAX_DISCOVERY_BYTES: usize = 64 * 1024;
/// The shortest time between two calls for the same keys.
const FLOOR: Duration = Duration::from_secs(10);
/// The same while there are no keys at all, and so no request that asks for a token gets in.
const FLOOR_WITHOUT_KEYS: Duration = Duration::from_secs(1);

/// Where the keys of an issuer come from.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) upstream: String,
    pub(crate) location: Location,
    /// How old keys get before newer ones are asked for.
    pub(crate) refresh: Duration,
    /// How much older they may get while the issuer does not answer.
    pub(crate) stale: Duration,
    /// How long to wait for an answer.
    pub(crate) timeout: Duration,
}

/// How keys are found.
#[derive(Clone, Debug)]
pub(crate) enum Location {
    /// They are at this address.
    KeySet { authority: String, path: String },
    /// The issuer's discovery document, at this address, says where.
    Discovery { issuer: String, authority: String, path: String },
}

/// What there is of an issuer's keys.
#[derive(Debug)]
pub(crate) enum Keys {
    /// These are to be used.
    Ready(Rc<KeySet>),
    /// They have to be asked for first.
    Fetch(Box<Fetch>),
    /// There are none, and it is too early to ask again.
    Unavailable,
}

/// The keys of all issuers, by the name of the method that uses them.
#[derive(Debug, Default)]
pub(crate) struct KeySets(HashMap<Rc<str>, Entry>);

#[derive(Debug, Default)]
struct Entry {
    keys: Option<Rc<KeySet>>,
    fetched: Option<Timestamp>,
    /// Where discovery said that the keys are.
    discovered: Option<Discovery>,
    /// Whether discovery has said so and nobody has asked there yet.
    to_follow: bool,
    /// What discovery was asked for.
    issuer: String,
    asked: Option<Timestamp>,
    /// Until when the call that is out can be answered.
    answered_by: Option<Timestamp>,
}

/// What there is to tell an operator.
pub(crate) type Note = String;

impl KeySets {
    /// The keys to use now, with the call to make in the background if they are getting old.
    pub(crate) fn get(&mut self, name: &Rc<str>, source: &Source, now: Timestamp) -> (Keys, Option<Fetch>) {
        let entry = self.0.entry(Rc::clone(name)).or_default();
        let age = entry.fetched.map(|fetched| since(fetched, now));
        match (&entry.keys, age) {
            (Some(keys), Some(age)) if age < source.refresh.saturating_add(source.stale) => {
                let keys = Keys::Ready(Rc::clone(keys));
                let background = age >= source.refresh && !entry.is_out(now) && entry.may_ask(FLOOR, now);
                (keys, background.then(|| entry.ask(name, source, now)))
            }
            _ => {
                entry.keys = None;
                (entry.wait(name, source, FLOOR_WITHOUT_KEYS, now), None)
            }
        }
    }

    /// The same for a token that names a key which `get` did not have. Asks at most once in ten seconds.
    pub(crate) fn renew(&mut self, name: &Rc<str>, source: &Source, now: Timestamp) -> Keys {
        self.0.entry(Rc::clone(name)).or_default().wait(name, source, FLOOR, now)
    }

    /// Takes in an answer. Says what an operator should know.
    pub(crate) fn fetched(
        &mut self,
        key: &FetchKey,
        response: Option<Response<'_>>,
        now: Timestamp,
    ) -> Option<Note> {
        let entry = self.0.get_mut(&key.method)?;
        entry.answered_by = None;
        let taken = match response {
            None => Err("no answer, or one that is too large".to_owned()),
            Some(Response { status: 200, body }) => entry.take(&key.subject, body, now),
            Some(Response { status, .. }) => Err(format!("status {status}")),
        };
        let reason = taken.err()?;
        // An issuer that has moved its keys is found again by its discovery document.
        entry.discovered = None;
        let what = match key.subject {
            FetchSubject::Discovery => "the issuer's discovery document",
            _ => "the issuer's keys",
        };
        let kept = match entry.fetched {
            Some(fetched) if entry.keys.is_some() => {
                format!(
                    "keys that are {} s old stay in use for a bounded time",
                    since(fetched, now).as_secs()
                )
            }
            _ => "no token can be verified until they can".to_owned(),
        };
        Some(format!("authentication.{}: {what} could not be fetched ({reason}); {kept}", key.method))
    }

    /// Puts keys in place of those that would be fetched.
    pub(crate) fn put(&mut self, name: &Rc<str>, keys: KeySet, now: Timestamp) {
        let entry = self.0.entry(Rc::clone(name)).or_default();
        entry.keys = Some(Rc::new(keys));
        entry.fetched = Some(now);
    }
}

impl Entry {
    fn is_out(&self, now: Timestamp) -> bool {
        self.answered_by.is_some_and(|by| now < by)
    }

    /// A clock that was set back counts as time that has passed.
    fn may_ask(&self, floor: Duration, now: Timestamp) -> bool {
        self.asked.is_none_or(|asked| now < asked || since(asked, now) >= floor)
    }

    /// Waits for the call that is out, or makes one unless it is too early.
    fn wait(&mut self, name: &Rc<str>, source: &Source, floor: Duration, now: Timestamp) -> Keys {
        // What discovery said is followed at once.
        if self.is_out(now) || self.to_follow || self.may_ask(floor, now) {
            Keys::Fetch(Box::new(self.ask(name, source, now)))
        } else {
            Keys::Unavailable
        }
    }

    fn ask(&mut self, name: &Rc<str>, source: &Source, now: Timestamp) -> Fetch {
        if !self.is_out(now) {
            let timeout = u64::try_from(source.timeout.as_nanos()).unwrap_or(u64::MAX);
            self.asked = Some(now);
            self.answered_by = Some(Timestamp::from_nanos(now.as_nanos().saturating_add(timeout)));
        }
        self.to_follow = false;
        let (subject, authority, path, max_bytes) = match (&source.location, &self.discovered) {
            (Location::KeySet { authority, path }, _)
            | (Location::Discovery { .. }, Some(Discovery { authority, path })) => {
                (FetchSubject::KeySet, authority, path, MAX_KEY_SET_BYTES)
            }
            (Location::Discovery { issuer, authority, path }, None) => {
                self.issuer.clone_from(issuer);
                (FetchSubject::Discovery, authority, path, MAX_DISCOVERY_BYTES)
            }
        };
        Fetch {
            key: FetchKey { method: Rc::clone(name), subject },
            upstream: source.upstream.clone(),
            method: "GET",
            authority: authority.clone(),
            path: path.clone(),
            headers: vec![("accept".to_owned(), "application/json".to_owned())],
            body: Vec::new(),
            timeout: source.timeout,
            max_bytes,
        }
    }

    fn take(&mut self, subject: &FetchSubject, body: &[u8], now: Timestamp) -> Result<(), String> {
        match subject {
            FetchSubject::Discovery => {
                let discovered = Discovery::parse(body, &self.issuer).map_err(|error| error.to_string())?;
                self.discovered = Some(discovered);
                self.to_follow = true;
            }
            FetchSubject::KeySet => {
                let keys = KeySet::from_jwks(body).map_err(|error| error.to_string())?;
                // Tokens that the same keys have verified stay verified.
                if self.keys.as_deref() != Some(&keys) {
                    self.keys = Some(Rc::new(keys));
                }
                self.fetched = Some(now);
            }
            FetchSubject::Token(_) => {}
        }
        Ok(())
    }
}

/// How long ago that was; nothing, if the clock was set back since.
fn since(earlier: Timestamp, now: Timestamp) -> Duration {
    Duration::from_nanos(now.as_nanos().saturating_sub(earlier.as_nanos()))
}

#[cfg(test)]
mod tests;
