//! How many requests of a key are in flight.
//!
//! Each VM writes into a shared value how many it has of a key itself, with the time up to which that is believed. The sum over
//! all VMs is what is in flight. A VM always writes its whole number, so a write that failed is made good by the next; a
//! VM that has died writes no more, and what it had is forgotten when its time is up.

use std::time::Duration;

use wicketgate_envelope::timestamp::Timestamp;

use super::local::Local;
use super::table::{Digest, MAX_RETRIES, Place, Table, TableError};
use crate::env::Env;

/// Entries of a set: a VM's number for a key each.
const MAX_ENTRIES: usize = 64;
/// Sets of a limit. An entry is there only while something is in flight, so few are enough.
const SLOTS: u32 = 16_384;
const ENTRY: usize = 16 + 8 + 4 + 8;

/// A limit on what is in flight.
#[derive(Debug)]
pub struct InFlight {
    /// How many requests.
    pub limit: u32,
    /// How long a VM's number is believed after it was written.
    pub lease: Duration,
    table: Table,
}

/// What one VM has in flight of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    digest: Digest,
    owner: u64,
    count: u32,
    /// Nanoseconds since the epoch.
    until: u64,
}

/// One request that is counted.
#[derive(Clone, Debug)]
pub struct Lease {
    place: Place,
    lease: Duration,
}

impl InFlight {
    /// A limit of this name.
    pub fn new(name: &str, limit: u32, lease: Duration) -> Self {
        Self { limit, lease, table: Table::new(name, SLOTS) }
    }

    /// Counts one request of a key, if there is room. The number is how many there is room for beside it; `None` for
    /// a request that there is no room for.
    ///
    /// # Errors
    /// [`TableError`] when it cannot be counted.
    pub(super) fn acquire(&self, key: &[u8], env: &mut dyn Env) -> Result<(u32, Option<Lease>), TableError> {
        let place = self.table.place(&Local::seed(env)?, key);
        let lease = Lease { place, lease: self.lease };
        for _ in 0..=MAX_RETRIES {
            let others = lease.read(env)?;
            let own = lease.own(env);
            let of_others: u64 = others.of_key.iter().map(|entry| u64::from(entry.count)).sum();
            let in_flight = of_others.saturating_add(u64::from(own));
            let room = u64::from(self.limit).saturating_sub(in_flight);
            let Some(left) = room.checked_sub(1) else { return Ok((0, None)) };
            if others.len() >= MAX_ENTRIES {
                return Err(TableError::Full);
            }
            if lease.write(&others, own.saturating_add(1), env)? {
                lease.set_own(own.saturating_add(1), env);
                return Ok((u32::try_from(left).unwrap_or(u32::MAX), Some(lease)));
            }
        }
        Err(TableError::Contended)
    }
}

/// A set without this VM's entry for the key.
struct Others {
    of_key: Vec<Entry>,
    of_other_keys: Vec<Entry>,
    version: Option<crate::env::Version>,
}

impl Others {
    fn len(&self) -> usize {
        self.of_key.len() + self.of_other_keys.len()
    }
}

impl Lease {
    /// Gives the request back. What cannot be written now is with this VM's next write for the key, or when its time
    /// is up.
    pub(super) fn release(&self, env: &mut dyn Env) {
        let own = self.own(env).saturating_sub(1);
        self.set_own(own, env);
        for _ in 0..=MAX_RETRIES {
            let Ok(others) = self.read(env) else { return };
            match self.write(&others, own, env) {
                Ok(false) => {}
                Ok(true) | Err(_) => return,
            }
        }
    }

    fn read(&self, env: &mut dyn Env) -> Result<Others, TableError> {
        let owner = Local::owner(env);
        let (bytes, version) = match env.shared().get(&self.place.shared_key)? {
            Some((bytes, version)) => (bytes, Some(version)),
            None => (Vec::new(), None),
        };
        // A time that is further ahead than a lease was written before the clock was set back; or by another worker since, if
        // this one had looked at the clock first.
        let now = env.now();
        let latest = self.until(now);
        let live = bytes
            .chunks_exact(ENTRY)
            .take(MAX_ENTRIES)
            .filter_map(|bytes| Entry::read(bytes, latest))
            .filter(|entry| entry.until > now.as_nanos());
        let (of_key, of_other_keys) = live
            .filter(|entry| entry.digest != self.place.digest || entry.owner != owner)
            .partition(|entry| entry.digest == self.place.digest);
        Ok(Others { of_key, of_other_keys, version })
    }

    fn write(&self, others: &Others, own: u32, env: &mut dyn Env) -> Result<bool, TableError> {
        let until = self.until(env.now());
        let mine = Entry { digest: self.place.digest, owner: Local::owner(env), count: own, until };
        let mut bytes = Vec::with_capacity((others.len() + 1) * ENTRY);
        others.of_key.iter().chain(&others.of_other_keys).for_each(|entry| entry.put(&mut bytes));
        if own > 0 {
            mine.put(&mut bytes);
        }
        let store = env.shared();
        Ok(match others.version {
            Some(version) => store.compare_and_swap(&self.place.shared_key, &bytes, version)?,
            None => store.create(&self.place.shared_key, &bytes)?,
        })
    }

    fn until(&self, now: Timestamp) -> u64 {
        now.as_nanos().saturating_add(u64::try_from(self.lease.as_nanos()).unwrap_or(u64::MAX))
    }

    fn own(&self, env: &mut dyn Env) -> u32 {
        let key = (self.place.shared_key.clone(), self.place.digest);
        env.memory().limits.in_flight.get(&key).copied().unwrap_or_default()
    }

    fn set_own(&self, own: u32, env: &mut dyn Env) {
        let key = (self.place.shared_key.clone(), self.place.digest);
        let in_flight = &mut env.memory().limits.in_flight;
        match own {
            0 => drop(in_flight.remove(&key)),
            own => drop(in_flight.insert(key, own)),
        }
    }
}

impl Entry {
    /// An entry that is believed up to `latest` at most.
    fn read(bytes: &[u8], latest: u64) -> Option<Self> {
        let (digest, rest) = bytes.split_first_chunk()?;
        let (owner, rest) = rest.split_first_chunk()?;
        let (count, rest) = rest.split_first_chunk()?;
        let until = u64::from_le_bytes(*rest.first_chunk()?).min(latest);
        let (owner, count) = (u64::from_le_bytes(*owner), u32::from_le_bytes(*count));
        Some(Self { digest: *digest, owner, count, until })
    }

    fn put(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.digest);
        bytes.extend_from_slice(&self.owner.to_le_bytes());
        bytes.extend_from_slice(&self.count.to_le_bytes());
        bytes.extend_from_slice(&self.until.to_le_bytes());
    }
}

#[cfg(test)]
mod tests;
