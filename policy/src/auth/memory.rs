//! What a VM remembers of credentials that it has checked and of what authorities have said.

use std::rc::Rc;

use wicketgate_envelope::timestamp::Timestamp;

use super::basic::Remembered;
use super::introspection::Answers;
use super::jwt::Tokens;
use super::key_sets::{KeySets, Keys, Source};
use crate::fetch::{Fetch, FetchKey, FetchSubject, Response};
use crate::jose::{KeySet, KeySetError};

/// The bounded caches of one VM and one configuration. A new configuration starts with empty ones, so nothing that was
/// checked by an old rule is believed under a new one.
#[derive(Debug, Default)]
pub struct Memory {
    /// Passwords that were checked.
    pub(super) passwords: Remembered,
    /// What is known of limits.
    pub(crate) limits: crate::limit::Local,
    pub(super) tokens: Tokens,
    /// What authorisation servers have said of tokens.
    pub(super) answers: Answers,
    key_sets: KeySets,
    errands: Errands,
}

/// What a shell is to do for no request in particular.
#[derive(Debug, Default)]
pub struct Errands {
    /// Calls that nobody waits for. Their answers go to [`Memory::fetched`].
    pub fetches: Vec<Fetch>,
    /// The methods whose issuers were asked for keys, and whether there are new ones now.
    pub key_sets: Vec<(Rc<str>, bool)>,
    /// What an operator should know, a line each. Nothing of a credential is in it.
    pub notes: Vec<String>,
}

impl Memory {
    /// Takes in what an authority has said. `None` is a call that failed or whose answer was larger than asked for.
    pub fn fetched(&mut self, key: &FetchKey, response: Option<Response<'_>>, now: Timestamp) {
        match key.subject {
            FetchSubject::Discovery | FetchSubject::KeySet => {
                let note = self.key_sets.fetched(key, response, now);
                // A discovery document that was found is only half of the way.
                if note.is_some() || key.subject == FetchSubject::KeySet {
                    self.errands.key_sets.push((Rc::clone(&key.method), note.is_none()));
                }
                self.errands.notes.extend(note);
            }
            FetchSubject::Token(token) => self.answers.fetched(token, response, now),
        }
    }

    /// What is to be done now, once. To be asked after each step of an exchange and after [`Memory::fetched`].
    pub fn errands(&mut self) -> Errands {
        std::mem::take(&mut self.errands)
    }

    /// Puts a set of keys (RFC 7517, section 5) in place of what the issuer of this method would say.
    ///
    /// # Errors
    /// [`KeySetError`] when it is none.
    pub fn put_keys(&mut self, method: &str, jwks: &[u8], now: Timestamp) -> Result<(), KeySetError> {
        self.key_sets.put(&Rc::from(method), KeySet::from_jwks(jwks)?, now);
        Ok(())
    }

    pub(super) fn keys(&mut self, name: &Rc<str>, source: &Source, now: Timestamp) -> Keys {
        let (keys, background) = self.key_sets.get(name, source, now);
        self.errands.fetches.extend(background);
        keys
    }

    pub(super) fn newer_keys(&mut self, name: &Rc<str>, source: &Source, now: Timestamp) -> Keys {
        self.key_sets.renew(name, source, now)
    }
}
