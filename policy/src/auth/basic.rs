//! HTTP Basic: [`crate::password`] has the cryptography, this file has users, and what is remembered of them.

use std::collections::HashMap;
use std::hash::BuildHasher as _;
use std::hash::RandomState;
use std::rc::Rc;
use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use wicketgate_envelope::timestamp::Timestamp;

use super::cache::Cache;
use super::{Checked, Consumer, Place, Principal, REALM, Rejected, Request};
use crate::env::{Count, Env};
use crate::password::{Budget, Credentials, Stored};

/// The most passwords of a user: one and its successor.
pub(crate) const MAX_PASSWORDS: usize = 2;

/// The most right and the most wrong credentials that one VM remembers, each.
const MAX_REMEMBERED: usize = 1_000;

/// How long right credentials are remembered.
const REMEMBER_RIGHT: Duration = Duration::from_secs(3_600);

/// How long wrong credentials are remembered, so that a caller who sends the same ones again and again costs nothing.
const REMEMBER_WRONG: Duration = Duration::from_secs(60);

/// Users, and the passwords they have.
#[derive(Debug, Default)]
pub(crate) struct Users {
    entries: Vec<User>,
    by_name: HashMap<String, usize>,
    /// Chooses the user that stands in for one who does not exist.
    stand_in: RandomState,
}

#[derive(Debug)]
struct User {
    passwords: Vec<Stored>,
    consumer: Rc<Consumer>,
}

impl Users {
    /// Adds a user. Says whose name it is already, if it is somebody's.
    pub(crate) fn insert(
        &mut self,
        name: &str,
        passwords: Vec<Stored>,
        consumer: Rc<Consumer>,
    ) -> Option<Rc<Consumer>> {
        if let Some(earlier) = self.by_name.get(name).and_then(|index| self.entries.get(*index)) {
            return Some(Rc::clone(&earlier.consumer));
        }
        self.by_name.insert(name.to_owned(), self.entries.len());
        self.entries.push(User { passwords, consumer });
        None
    }

    /// The user, and whether it is the one that was asked for. A name that nobody has gets some user, always the same:
    /// its password is hashed and nothing comes of it, and so the time that it takes does not tell who exists.
    fn find(&self, name: &str) -> Option<(&User, bool)> {
        match self.by_name.get(name) {
            Some(index) => Some((self.entries.get(*index)?, true)),
            None => {
                let count = u64::try_from(self.entries.len()).ok()?;
                let index = self.stand_in.hash_one(name).checked_rem(count)?;
                Some((self.entries.get(usize::try_from(index).ok()?)?, false))
            }
        }
    }
}

/// A user and a password in `Authorization`.
#[derive(Clone, Debug)]
pub struct Basic {
    pub(crate) users: Rc<Users>,
    /// Whether an upstream gets the password.
    pub(crate) forward: bool,
}

/// Credentials that were checked, by a digest that only this VM can make.
#[derive(Debug)]
pub(crate) struct Remembered {
    key: Option<[u8; 32]>,
    right: Cache<[u8; 32], (Rc<Consumer>, Timestamp)>,
    /// Apart, so that guesses push nothing out that is right.
    wrong: Cache<[u8; 32], Timestamp>,
    budget: Budget,
}

impl Default for Remembered {
    fn default() -> Self {
        let (right, wrong) = (Cache::new(MAX_REMEMBERED), Cache::new(MAX_REMEMBERED));
        Self { key: None, right, wrong, budget: Budget::default() }
    }
}

impl Remembered {
    /// Whose these credentials are, or that they are wrong, if that was checked lately.
    fn remembered(&mut self, digest: &[u8; 32], now: Timestamp) -> Option<Option<Rc<Consumer>>> {
        if let Some((consumer, until)) = self.right.get(digest) {
            if *until > now {
                return Some(Some(Rc::clone(consumer)));
            }
            self.right.remove(digest);
        }
        self.wrong.get(digest).is_some_and(|until| *until > now).then_some(None)
    }
}

impl Basic {
    pub(super) fn check(&self, name: &Rc<str>, request: &Request<'_>, env: &mut dyn Env) -> Checked {
        let value = match self.place().read(request.head) {
            Ok(Some(value)) => value,
            Ok(None) => return Checked::Absent,
            Err(repeated) => return Checked::Rejected(repeated),
        };
        let credentials = match Credentials::parse(&value) {
            Ok(Some(credentials)) => credentials,
            Ok(None) => return Checked::Absent,
            Err(_) => return Checked::Rejected(Rejected::Invalid("malformed")),
        };
        match self.verify(&credentials, env) {
            Ok(consumer) => Checked::Known(Principal::consumer(Rc::clone(name), "app_user", consumer)),
            Err(rejected) => Checked::Rejected(rejected),
        }
    }

    fn verify(&self, credentials: &Credentials, env: &mut dyn Env) -> Result<Rc<Consumer>, Rejected> {
        const WRONG: Rejected = Rejected::Invalid("no user has this name and this password");
        let Some(digest) = digest(credentials, env) else { return Err(Rejected::Unavailable) };
        let now = env.now();
        let remembered = env.memory().passwords.remembered(&digest, now);
        env.count(Count::Cache { cache: "passwords", hit: remembered.is_some() });
        if let Some(remembered) = remembered {
            return remembered.ok_or(WRONG);
        }
        let known = &mut env.memory().passwords;
        let Some((user, exists)) = self.users.find(credentials.user()) else { return Err(WRONG) };
        if !known.budget.spend(user.passwords.iter().map(Stored::iterations).sum(), now) {
            return Err(Rejected::Unavailable);
        }
        // All of them are tried, whichever is right.
        let tried = user.passwords.iter().map(|stored| stored.verify(credentials.password()));
        if tried.fold(false, |right, one| right | one) & exists {
            let consumer = Rc::clone(&user.consumer);
            known.right.insert(digest, (Rc::clone(&consumer), later(now, REMEMBER_RIGHT)));
            Ok(consumer)
        } else {
            known.wrong.insert(digest, later(now, REMEMBER_WRONG));
            Err(WRONG)
        }
    }

    #[expect(clippy::unused_self, reason = "as with every other method")]
    pub(super) fn place(&self) -> Place {
        Place::Header("authorization".to_owned())
    }

    /// RFC 7617, section 2.1: the character encoding is told.
    pub(super) fn challenge() -> String {
        format!("Basic realm=\"{REALM}\", charset=\"UTF-8\"")
    }
}

/// What credentials are remembered by. The key is random, so a digest is of no use outside this VM.
fn digest(credentials: &Credentials, env: &mut dyn Env) -> Option<[u8; 32]> {
    let key = match env.memory().passwords.key {
        Some(key) => key,
        None => {
            let mut key = [0; 32];
            env.fill_random(&mut key);
            *env.memory().passwords.key.insert(key)
        }
    };
    let mac = Hmac::<Sha256>::new_from_slice(&key).ok()?;
    Some(mac.chain_update(credentials.as_bytes()).finalize().into_bytes().into())
}

fn later(now: Timestamp, duration: Duration) -> Timestamp {
    let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    Timestamp::from_nanos(now.as_nanos().saturating_add(nanos))
}

#[cfg(test)]
mod tests;
