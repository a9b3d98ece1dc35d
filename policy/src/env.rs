//! What the host lends to the core.

mod local_store;
#[cfg(test)]
pub(crate) mod testing;

use wicketgate_envelope::timestamp::Timestamp;

pub use self::local_store::LocalStore;
use crate::auth::Memory;
use crate::exchange::Decided;
use crate::limit::Verdict;

/// Everything that the core may not own.
pub trait Env {
    /// The time now.
    fn now(&self) -> Timestamp;

    /// Fills `buffer` with bytes that nobody can guess.
    fn fill_random(&mut self, buffer: &mut [u8]);

    /// The caches of this VM and this configuration.
    fn memory(&mut self) -> &mut Memory;

    /// An attribute of the connection or the request by its path, such as `["connection", "mtls"]` (Envoy:
    /// "Attributes"); `None` if the host has none.
    fn property(&self, path: &[&str]) -> Option<Vec<u8>>;

    /// Data that all workers of this gateway share.
    fn shared(&mut self) -> &mut dyn SharedStore;

    /// Takes down what operators want to see in numbers. A host without metrics has nowhere to put it.
    fn count(&mut self, _count: Count<'_>) {}
}

/// Something to be seen in numbers. Names are those of the document, so there are no more of them than there are in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count<'a> {
    /// A request is decided.
    Request {
        /// The name of its route; `None` where no route has it.
        route: Option<&'a str>,
        /// What became of it.
        decided: Decided,
        /// How long that took from its head on, in milliseconds.
        millis: u64,
    },
    /// A caller is known.
    Authenticated {
        /// The name of the method.
        method: &'a str,
    },
    /// A cache of checked credentials was asked.
    Cache {
        /// Of what.
        cache: &'static str,
        /// Whether it had the answer.
        hit: bool,
    },
    /// A limit was asked.
    Limit {
        /// Its name.
        policy: &'a str,
        /// What it said.
        verdict: Verdict,
    },
    /// The slots in use of a limit have become more, or fewer.
    Slots {
        /// Its name.
        policy: &'a str,
        /// By how many.
        by: isize,
    },
}

/// Data that all workers of a gateway share, by key. Nothing in it is ever removed, so the keys have to be few.
pub trait SharedStore {
    /// The value and its version; `None` if there is no such key.
    ///
    /// # Errors
    /// [`SharedError`] when the host does not do its part.
    fn get(&mut self, key: &str) -> Result<Option<(Vec<u8>, Version)>, SharedError>;

    /// Creates the key with this value. Returns false if the key exists.
    ///
    /// # Errors
    /// [`SharedError`] when the host does not do its part.
    fn create(&mut self, key: &str, value: &[u8]) -> Result<bool, SharedError>;

    /// Replaces the value if its version is still this one. Returns false if it is not.
    ///
    /// # Errors
    /// [`SharedError`] when the host does not do its part.
    fn compare_and_swap(&mut self, key: &str, value: &[u8], version: Version) -> Result<bool, SharedError>;
}

/// The version of a shared value. It changes whenever the value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version(pub u32);

/// The host did not do its part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedError;

/// A fresh UUID, version 7 (RFC 9562, section 5.7): ordered by time, unique across workers and restarts.
pub fn fresh_id(env: &mut dyn Env) -> String {
    let mut random = [0; 10];
    env.fill_random(&mut random);
    uuid::Builder::from_unix_timestamp_millis(env.now().as_millis(), &random).into_uuid().to_string()
}
