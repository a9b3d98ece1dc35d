//! The memory that all bodies have together, and who gets how much of it: a body takes it as its bytes arrive, and one whose
//! sender has not proven anything yet, which is so until a signature could be checked, takes of a part only.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::config::Config;

/// The part of the whole that bodies without a proof have together, as a divisor; a single body fits in any case.
const UNPROVEN_PART: u32 = 4;

/// The part of that which the bodies of one connection have together, likewise.
const CONNECTION_PART: u32 = 2;

/// What the bodies of one connection take that have no proof yet, in KiB.
#[derive(Debug, Default)]
pub(crate) struct ConnectionMemory(AtomicU32);

/// The memory of all bodies.
#[derive(Debug)]
pub(super) struct BodyMemory(Mutex<State>);

/// How much there is, in KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bounds {
    whole: u32,
    unproven: u32,
    connection: u32,
}

#[derive(Debug)]
struct State {
    bounds: Bounds,
    /// What all bodies take, in KiB.
    taken: u32,
    /// What those without a proof take of it.
    unproven_taken: u32,
    unproven: HashMap<u64, Unproven>,
    next: u64,
}

/// A body without a proof.
#[derive(Debug)]
struct Unproven {
    kbytes: u32,
    connection: Arc<ConnectionMemory>,
    evicted: Arc<Notify>,
}

/// There is no memory for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exhausted;

impl Bounds {
    /// As configured. All bodies together may take as much as the producer's queue, and the largest body always fits.
    fn new(config: &Config) -> Self {
        let body = config.max_body_bytes.div_ceil(1024);
        let whole = config.queue_kbytes.max(body);
        let unproven = (whole / UNPROVEN_PART).max(body);
        Self { whole, unproven, connection: (unproven / CONNECTION_PART).max(body) }
    }
}

impl BodyMemory {
    /// As configured.
    pub(super) fn new(config: &Config) -> Self {
        Self(Mutex::new(State {
            bounds: Bounds::new(config),
            taken: 0,
            unproven_taken: 0,
            unproven: HashMap::new(),
            next: 0,
        }))
    }

    /// Holds to another configuration from now on. What has been taken stays so.
    pub(super) fn reconfigure(&self, config: &Config) {
        self.state().bounds = Bounds::new(config);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes so much more for a body with a proof. Those without have to make room.
    fn take(&mut self, kbytes: u32) -> Result<(), Exhausted> {
        if self.proven_taken().saturating_add(kbytes) > self.bounds.whole {
            return Err(Exhausted);
        }
        while self.taken.saturating_add(kbytes) > self.bounds.whole {
            self.evict_the_largest(0)?;
        }
        self.taken += kbytes;
        Ok(())
    }

    /// Takes so much more for a body without one. Larger ones have to make room: whoever holds a lot for long keeps
    /// nobody out who needs little.
    fn take_unproven(&mut self, id: u64, kbytes: u32) -> Result<(), Exhausted> {
        let body = self.unproven.get(&id).ok_or(Exhausted)?;
        let (connection, own) = (Arc::clone(&body.connection), body.kbytes.saturating_add(kbytes));
        let on_connection = connection.0.load(Ordering::Relaxed).saturating_add(kbytes);
        let Bounds { whole, unproven, connection: most } = self.bounds;
        if on_connection > most || own > unproven || self.proven_taken().saturating_add(own) > whole {
            return Err(Exhausted);
        }
        while self.unproven_taken.saturating_add(kbytes) > unproven
            || self.taken.saturating_add(kbytes) > whole
        {
            self.evict_the_largest(own)?;
        }
        if let Some(body) = self.unproven.get_mut(&id) {
            body.kbytes = own;
        }
        connection.0.fetch_add(kbytes, Ordering::Relaxed);
        self.unproven_taken += kbytes;
        self.taken += kbytes;
        Ok(())
    }

    fn proven_taken(&self) -> u32 {
        self.taken.saturating_sub(self.unproven_taken)
    }

    /// Ends the largest of the bodies without a proof, if it takes more than `least`. Its request drops it as soon as it
    /// can.
    fn evict_the_largest(&mut self, least: u32) -> Result<(), Exhausted> {
        let bodies = self.unproven.iter().filter(|(_, body)| body.kbytes > least);
        let (id, _) = bodies.max_by_key(|(_, body)| body.kbytes).ok_or(Exhausted)?;
        let id = *id;
        if let Some(body) = self.forget(id) {
            self.taken = self.taken.saturating_sub(body.kbytes);
            body.evicted.notify_one();
        }
        Ok(())
    }

    /// A body is no longer among those without a proof.
    fn forget(&mut self, id: u64) -> Option<Unproven> {
        let body = self.unproven.remove(&id)?;
        self.unproven_taken = self.unproven_taken.saturating_sub(body.kbytes);
        body.connection.0.fetch_sub(body.kbytes, Ordering::Relaxed);
        Some(body)
    }
}

/// What one body takes. It is given back when this value is dropped.
#[derive(Debug)]
pub(super) struct Share {
    memory: Arc<BodyMemory>,
    kbytes: u32,
    /// While it has no proof.
    unproven: Option<u64>,
    evicted: Arc<Notify>,
}

impl Share {
    /// Of a body whose sender has proven who it is, or need not.
    pub(super) fn proven(memory: &Arc<BodyMemory>) -> Self {
        Self { memory: Arc::clone(memory), kbytes: 0, unproven: None, evicted: Arc::default() }
    }

    /// Of one whose sender has not, on this connection.
    pub(super) fn unproven(memory: &Arc<BodyMemory>, connection: &Arc<ConnectionMemory>) -> Self {
        let evicted = Arc::new(Notify::new());
        let mut state = memory.state();
        let id = state.next;
        state.next = state.next.wrapping_add(1);
        let body = Unproven { kbytes: 0, connection: Arc::clone(connection), evicted: Arc::clone(&evicted) };
        state.unproven.insert(id, body);
        drop(state);
        Self { memory: Arc::clone(memory), kbytes: 0, unproven: Some(id), evicted }
    }

    /// Makes it enough for `bytes` in all.
    ///
    /// # Errors
    /// [`Exhausted`], also if it has been taken away.
    pub(super) fn hold(&mut self, bytes: usize) -> Result<(), Exhausted> {
        let wanted = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
        let Some(more) = wanted.checked_sub(self.kbytes).filter(|more| *more > 0) else { return Ok(()) };
        let mut state = self.memory.state();
        match self.unproven {
            Some(id) => state.take_unproven(id, more)?,
            None => state.take(more)?,
        }
        self.kbytes = wanted;
        Ok(())
    }

    /// Waits until it is taken away, which happens to those without a proof only.
    pub(super) async fn evicted(&self) {
        self.evicted.notified().await;
    }

    /// The sender has proven who it is.
    pub(super) fn prove(&mut self) {
        let Some(id) = self.unproven.take() else { return };
        let mut state = self.memory.state();
        if state.forget(id).is_none() {
            // It was to go in this moment. Now it stays, and the others wait for it.
            state.taken = state.taken.saturating_add(self.kbytes);
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut state = self.memory.state();
        // If it was taken away it has been given back already.
        if self.unproven.is_none_or(|id| state.forget(id).is_some()) {
            state.taken = state.taken.saturating_sub(self.kbytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use clap::Parser as _;

    use super::*;

    /// 64 KiB in all, 16 of them without a proof, 8 of these on one connection.
    fn memory() -> Arc<BodyMemory> {
        let flags = ["--embedded-broker", "--queue-kbytes", "64", "--max-body-bytes", "4096"];
        let config = Config::try_parse_from(["kafka-bridge"].iter().chain(&flags)).unwrap();
        let memory = BodyMemory::new(&config);
        assert_eq!(memory.state().bounds, Bounds { whole: 64, unproven: 16, connection: 8 });
        Arc::new(memory)
    }

    fn stranger(memory: &Arc<BodyMemory>, kbytes: usize) -> (Share, Result<(), Exhausted>) {
        let mut share = Share::unproven(memory, &Arc::default());
        let held = share.hold(kbytes * 1024);
        (share, held)
    }

    fn is_evicted(share: &Share) -> bool {
        pin!(share.evicted()).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    fn taken(memory: &BodyMemory) -> (u32, u32) {
        let state = memory.state();
        (state.taken, state.unproven_taken)
    }

    #[test]
    fn all_is_given_back() {
        let memory = memory();
        let mut proven = Share::proven(&memory);
        proven.hold(1).unwrap();
        proven.hold(1025).unwrap();
        let (stranger, _) = stranger(&memory, 3);
        assert_eq!(taken(&memory), (5, 3));
        let mut signed = Share::unproven(&memory, &Arc::default());
        signed.hold(4096).unwrap();
        signed.prove();
        assert_eq!(taken(&memory), (9, 3));
        drop((proven, stranger));
        assert_eq!(taken(&memory), (4, 0));
        drop(signed);
        assert_eq!(taken(&memory), (0, 0));
        assert!(memory.state().unproven.is_empty());
    }

    #[test]
    fn strangers_have_a_part_in_which_the_largest_makes_room() {
        let memory = memory();
        let shares: Vec<_> = [5, 7, 4].into_iter().map(|kbytes| stranger(&memory, kbytes)).collect();
        assert!(shares.iter().all(|(_, held)| held.is_ok()));
        // Not for one that would be the largest itself.
        let (too_large, held) = stranger(&memory, 7);
        assert_eq!(held, Err(Exhausted));
        let (small, held) = stranger(&memory, 2);
        assert_eq!(held, Ok(()));
        let evicted: Vec<_> = shares.iter().map(|(share, _)| is_evicted(share)).collect();
        assert_eq!(evicted, [false, true, false]);
        assert_eq!(taken(&memory), (11, 11));
        let (mut last, _) = shares.into_iter().nth(1).unwrap();
        assert_eq!(last.hold(8 * 1024), Err(Exhausted));
        drop((too_large, small, last));
        assert_eq!(taken(&memory), (0, 0));
        // The rest of the whole is not theirs.
        let mut proven = Share::proven(&memory);
        assert_eq!(proven.hold(64 * 1024), Ok(()));
    }

    #[test]
    fn strangers_make_room_for_who_has_a_proof() {
        let memory = memory();
        let (large, _) = stranger(&memory, 8);
        let (small, _) = stranger(&memory, 1);
        let mut proven = Share::proven(&memory);
        proven.hold(56 * 1024).unwrap();
        assert_eq!((is_evicted(&large), is_evicted(&small)), (true, false));
        proven.hold(64 * 1024).unwrap();
        assert!(is_evicted(&small));
        assert_eq!(stranger(&memory, 1).1, Err(Exhausted));
        assert_eq!(Share::proven(&memory).hold(1), Err(Exhausted));
        drop((large, small, proven));
        assert_eq!(taken(&memory), (0, 0));
    }

    #[test]
    fn a_proof_that_comes_after_all_keeps_what_was_to_go() {
        let memory = memory();
        let (mut large, _) = stranger(&memory, 8);
        let (_more, _) = stranger(&memory, 7);
        let (_small, _) = stranger(&memory, 2);
        assert_eq!(taken(&memory), (9, 9));
        large.prove();
        assert_eq!(taken(&memory), (17, 9));
        drop(large);
        assert_eq!(taken(&memory), (9, 9));
    }

    #[test]
    fn one_connection_has_a_part_of_that() {
        let memory = memory();
        let connection = Arc::default();
        let mut shares: Vec<_> = (0..8).map(|_| Share::unproven(&memory, &connection)).collect();
        assert!(shares.iter_mut().all(|share| share.hold(1024).is_ok()));
        let mut further = Share::unproven(&memory, &connection);
        assert_eq!(further.hold(1024), Err(Exhausted));
        assert_eq!(stranger(&memory, 4).1, Ok(()));
        // What is proven no longer counts, nor what is over.
        shares[0].prove();
        shares.pop();
        assert_eq!(further.hold(2048), Ok(()));
        assert_eq!(further.hold(2049), Err(Exhausted));
    }
}
