//! Where counts are kept: a fixed number of slots in the data that all workers share.
//!
//! Shared data is never freed, so a key for each caller would fill the host's memory. Slots are kept in sets of
//! [`WAYS`], each set one shared value; a key's digest says in which set it is. Looking a key up and counting it is
//! one read and one conditional write, whichever slot it has. A slot whose key has all its quota back is as good as an
//! empty one and is taken over. If every slot of a set is in use, a further key of that set can't be counted: the
//! limit's `on_error` decides.
//!
//! The digest is keyed with random bytes that the first worker puts into shared data: nobody can choose keys that
//! meet in one set.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};
use wicketgate_envelope::timestamp::Timestamp;

use super::gcra::Tat;
use crate::env::{SharedError, SharedStore, Version};

/// Slots of a set.
pub const WAYS: usize = 16;
/// How often a write is tried again that another worker was faster with.
pub const MAX_RETRIES: usize = 8;

const DIGEST: usize = 16;
const SLOT: usize = DIGEST + 16;

/// Random bytes that are the same for all workers of a gateway.
pub type Seed = [u8; 16];

/// The digest of a key.
pub type Digest = [u8; 16];

/// The random bytes of this gateway. The first worker that asks puts `fresh` there.
///
/// # Errors
/// [`SharedError`] when the host does not do its part.
pub fn seed(store: &mut dyn SharedStore, fresh: Seed) -> Result<Seed, SharedError> {
    const KEY: &str = "wicketgate/limits/seed";
    for _ in 0..2 {
        if let Some((bytes, _)) = store.get(KEY)? {
            return bytes.try_into().map_err(|_| SharedError);
        }
        if store.create(KEY, &fresh)? {
            return Ok(fresh);
        }
    }
    Err(SharedError)
}

/// The slots of one limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    prefix: String,
    sets: u32,
}

/// Where a key is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The shared value.
    pub(super) shared_key: String,
    pub(super) digest: Digest,
}

/// A set of slots, as it was read.
#[derive(Clone, Debug)]
pub struct Set {
    bytes: Vec<u8>,
    /// `None` if nothing has ever been written there.
    version: Option<Version>,
}

/// Why a key cannot be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableError {
    /// Every slot that it could have is in use.
    Full,
    /// Others were faster, again and again.
    Contended,
    /// The host did not do its part.
    Host,
}

impl From<SharedError> for TableError {
    fn from(_: SharedError) -> Self {
        Self::Host
    }
}

impl Table {
    /// A table of at least `slots` slots. Tables of the same name share them.
    pub fn new(name: &str, slots: u32) -> Self {
        let ways = u32::try_from(WAYS).unwrap_or(1);
        Self { prefix: format!("wicketgate/limits/{name}/"), sets: slots.div_ceil(ways).max(1) }
    }

    /// Where a key is.
    pub fn place(&self, seed: &Seed, key: &[u8]) -> Place {
        let hash: [u8; 32] = Sha256::new().chain_update(seed).chain_update(key).finalize().into();
        let (digest, rest) = hash
            .split_first_chunk::<DIGEST>()
            .map_or(([0; DIGEST], &hash[..]), |(digest, rest)| (*digest, rest));
        let number = rest.first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        let mut shared_key = self.prefix.clone();
        // Writing to a string cannot fail.
        let _ = write!(shared_key, "{}", number % u64::from(self.sets));
        Place { shared_key, digest }
    }

    /// The most sets that there can be.
    pub fn sets(&self) -> u32 {
        self.sets
    }
}

impl Place {
    /// Reads the set that the key is in.
    ///
    /// # Errors
    /// [`TableError::Host`].
    pub fn read(&self, store: &mut dyn SharedStore) -> Result<Set, TableError> {
        Ok(match store.get(&self.shared_key)? {
            Some((bytes, version)) => Set { bytes, version: Some(version) },
            None => Set { bytes: Vec::new(), version: None },
        })
    }

    /// The TAT of the key.
    ///
    /// # Errors
    /// [`TableError::Full`] if the key has no slot and there is none for it.
    pub fn tat(&self, set: &Set, now: Timestamp) -> Result<Tat, TableError> {
        let mut live = 0;
        for (digest, tat) in set.slots() {
            if digest == self.digest {
                return Ok(tat);
            }
            live += usize::from(!tat.is_past(now));
        }
        if live < WAYS { Ok(Tat::default()) } else { Err(TableError::Full) }
    }

    /// Writes the TAT of the key, unless another worker has written to the set since it was read. `capacity` is how far ahead
    /// of now a TAT of this table can be, in picoseconds; one that is further was made by a clock that has been set
    /// back. Returns by how many the slots in use have grown, or `None` if nothing was written.
    ///
    /// # Errors
    /// [`TableError::Host`].
    pub fn write(
        &self,
        store: &mut dyn SharedStore,
        set: &Set,
        tat: Tat,
        now: Timestamp,
        capacity: u128,
    ) -> Result<Option<isize>, TableError> {
        let latest = Tat(Tat::at(now).0.saturating_add(capacity));
        let others = set.slots().filter(|(digest, tat)| *digest != self.digest && !tat.is_past(now));
        let mut bytes = Vec::with_capacity(set.bytes.len() + SLOT);
        if !tat.is_past(now) {
            put(&mut bytes, &self.digest, tat);
        }
        others.for_each(|(digest, tat)| put(&mut bytes, &digest, tat.min(latest)));
        let written = match set.version {
            Some(version) => store.compare_and_swap(&self.shared_key, &bytes, version)?,
            None => store.create(&self.shared_key, &bytes)?,
        };
        let slots = |bytes: &[u8]| isize::try_from(bytes.len() / SLOT).unwrap_or(isize::MAX);
        Ok(written.then(|| slots(&bytes) - slots(&set.bytes)))
    }
}

impl Set {
    fn slots(&self) -> impl Iterator<Item = (Digest, Tat)> {
        self.bytes.chunks_exact(SLOT).take(WAYS).filter_map(|slot| {
            let (digest, tat) = slot.split_first_chunk::<DIGEST>()?;
            Some((*digest, Tat(u128::from_le_bytes(*tat.first_chunk()?))))
        })
    }
}

fn put(bytes: &mut Vec<u8>, digest: &Digest, tat: Tat) {
    bytes.extend_from_slice(digest);
    bytes.extend_from_slice(&tat.0.to_le_bytes());
}

#[cfg(test)]
mod tests;
