//! The memory that all bodies have together, and who gets how much of it: a body takes it as its bytes arrive, and one whose
//! sender has not proven anything yet, which is so until a signature could be checked, takes of a part only.
//!
//! Where that part is full, the body goes of which nothing has come for longest, however little it takes: bodies of callers
//! come without pauses, and who pauses is told by nothing else from who keeps memory from others. To have a body ended, all
//! of the part has to be filled anew between one KiB of it and the next.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// The part of the whole that bodies without a proof have together, as a divisor; a single body fits in any case.
const UNPROVEN_PART: u32 = 4;

/// The part of that which the bodies of one connection have together, likewise.
const CONNECTION_PART: u32 = 2;

/// What the bodies of one connection take that have no proof yet.
#[derive(Debug, Default)]
pub(crate) struct ConnectionMemory(Mutex<OnConnection>);

#[derive(Debug, Default)]
struct OnConnection {
    kbytes: u32,
    /// The turns of the bodies, see [`State::unproven`].
    turns: BTreeSet<u64>,
}

impl ConnectionMemory {
    /// Only taken with the lock of [`BodyMemory`] held.
    fn state(&self) -> MutexGuard<'_, OnConnection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The memory of all bodies.
#[derive(Debug)]
pub(crate) struct BodyMemory(Mutex<State>);

/// How much there is, in KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
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
    /// Those without a proof by their turn: what has gone on last is last.
    unproven: BTreeMap<u64, Unproven>,
    next_turn: u64,
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
pub(crate) struct Exhausted;

impl Bounds {
    /// All bodies together may take as much as the producer's queue, and the largest body always fits.
    pub(crate) fn new(max_body_bytes: u32, queue_kbytes: u32) -> Self {
        let body = max_body_bytes.div_ceil(1024);
        let whole = queue_kbytes.max(body);
        let unproven = (whole / UNPROVEN_PART).max(body);
        Self { whole, unproven, connection: (unproven / CONNECTION_PART).max(body) }
    }
}

impl BodyMemory {
    /// Nothing is taken yet.
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self(Mutex::new(State {
            bounds,
            taken: 0,
            unproven_taken: 0,
            unproven: BTreeMap::new(),
            next_turn: 0,
        }))
    }

    /// What bodies take and may take, and what those without a proof do, in KiB.
    pub(crate) fn in_use(&self) -> [(u32, u32); 2] {
        let state = self.state();
        [(state.taken, state.bounds.whole), (state.unproven_taken, state.bounds.unproven)]
    }

    /// Holds to other bounds from now on. What has been taken stays so.
    pub(crate) fn reconfigure(&self, bounds: Bounds) {
        self.state().bounds = bounds;
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
            let (turn, _) = self.unproven.first_key_value().ok_or(Exhausted)?;
            self.evict(*turn);
        }
        self.taken += kbytes;
        Ok(())
    }

    /// Takes so much more for the body without one whose turn this is. Those that have not gone on for longest make room,
    /// on its own connection and then on all.
    fn take_unproven(&mut self, turn: u64, kbytes: u32) -> Result<(), Exhausted> {
        let body = self.unproven.get(&turn).ok_or(Exhausted)?;
        let (connection, own) = (Arc::clone(&body.connection), body.kbytes.saturating_add(kbytes));
        let Bounds { whole, unproven, connection: most } = self.bounds;
        if own > most || own > unproven || self.proven_taken().saturating_add(own) > whole {
            return Err(Exhausted);
        }
        loop {
            let on_connection = connection.state();
            if on_connection.kbytes.saturating_add(kbytes) <= most {
                break;
            }
            let other = on_connection.turns.iter().copied().find(|other| *other != turn).ok_or(Exhausted)?;
            drop(on_connection);
            self.evict(other);
        }
        while self.unproven_taken.saturating_add(kbytes) > unproven
            || self.taken.saturating_add(kbytes) > whole
        {
            let other = self.unproven.keys().copied().find(|other| *other != turn).ok_or(Exhausted)?;
            self.evict(other);
        }
        if let Some(body) = self.unproven.get_mut(&turn) {
            body.kbytes = own;
        }
        connection.state().kbytes += kbytes;
        self.unproven_taken += kbytes;
        self.taken += kbytes;
        Ok(())
    }

    /// A body is among those without a proof, behind all others. Its turn.
    fn join(&mut self, body: Unproven) -> u64 {
        let turn = self.next_turn;
        self.next_turn += 1;
        self.unproven_taken += body.kbytes;
        let mut on_connection = body.connection.state();
        on_connection.kbytes += body.kbytes;
        on_connection.turns.insert(turn);
        drop(on_connection);
        self.unproven.insert(turn, body);
        turn
    }

    /// A body is no longer among those without a proof.
    fn leave(&mut self, turn: u64) -> Option<Unproven> {
        let body = self.unproven.remove(&turn)?;
        self.unproven_taken = self.unproven_taken.saturating_sub(body.kbytes);
        let mut on_connection = body.connection.state();
        on_connection.kbytes = on_connection.kbytes.saturating_sub(body.kbytes);
        on_connection.turns.remove(&turn);
        drop(on_connection);
        Some(body)
    }

    /// Ends a body without a proof. Its request drops it as soon as it can.
    fn evict(&mut self, turn: u64) {
        if let Some(body) = self.leave(turn) {
            self.taken = self.taken.saturating_sub(body.kbytes);
            body.evicted.notify_one();
        }
    }

    fn proven_taken(&self) -> u32 {
        self.taken.saturating_sub(self.unproven_taken)
    }
}

/// What one body takes. It is given back when this value is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    memory: Arc<BodyMemory>,
    kbytes: u32,
    /// While the sender has not proven anything.
    unproven: Option<Stranger>,
    evicted: Arc<Notify>,
}

/// What there is to know of a body without a proof.
#[derive(Debug)]
struct Stranger {
    connection: Arc<ConnectionMemory>,
    /// What of it has come.
    arrived_kbytes: usize,
    /// None before its first byte.
    turn: Option<u64>,
}

impl Share {
    /// Of a body whose sender has proven who it is, or need not.
    pub(crate) fn proven(memory: &Arc<BodyMemory>) -> Self {
        Self { memory: Arc::clone(memory), kbytes: 0, unproven: None, evicted: Arc::default() }
    }

    /// Of one whose sender has not, on this connection.
    pub(crate) fn unproven(memory: &Arc<BodyMemory>, connection: &Arc<ConnectionMemory>) -> Self {
        let stranger = Stranger { connection: Arc::clone(connection), arrived_kbytes: 0, turn: None };
        Self { memory: Arc::clone(memory), kbytes: 0, unproven: Some(stranger), evicted: Arc::default() }
    }

    /// So many bytes have come in all. With each KiB a body without a proof goes behind all others; less does not count, so
    /// that staying costs something. Whether that is so now.
    ///
    /// # Errors
    /// [`Exhausted`] if its memory has been taken away.
    pub(crate) fn arrived(&mut self, bytes: usize) -> Result<bool, Exhausted> {
        let kbytes = bytes.div_ceil(1024);
        let Some(stranger) = self.unproven.as_mut().filter(|stranger| kbytes > stranger.arrived_kbytes)
        else {
            return Ok(false);
        };
        stranger.arrived_kbytes = kbytes;
        let mut state = self.memory.state();
        let body = match stranger.turn {
            Some(turn) => state.leave(turn).ok_or(Exhausted)?,
            None => Unproven {
                kbytes: 0,
                connection: Arc::clone(&stranger.connection),
                evicted: Arc::clone(&self.evicted),
            },
        };
        stranger.turn = Some(state.join(body));
        Ok(true)
    }

    /// Makes it enough for `bytes` in all, of which some have [arrived](Self::arrived).
    ///
    /// # Errors
    /// [`Exhausted`], also if it has been taken away.
    pub(crate) fn hold(&mut self, bytes: usize) -> Result<(), Exhausted> {
        let wanted = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
        let Some(more) = wanted.checked_sub(self.kbytes).filter(|more| *more > 0) else { return Ok(()) };
        let mut state = self.memory.state();
        match &self.unproven {
            Some(stranger) => state.take_unproven(stranger.turn.ok_or(Exhausted)?, more)?,
            None => state.take(more)?,
        }
        self.kbytes = wanted;
        Ok(())
    }

    /// Waits until it is taken away, which happens to those without a proof only.
    pub(crate) async fn evicted(&self) {
        self.evicted.notified().await;
    }

    /// The sender has proven who it is.
    pub(crate) fn prove(&mut self) {
        let Some(turn) = self.unproven.take().and_then(|stranger| stranger.turn) else { return };
        let mut state = self.memory.state();
        if state.leave(turn).is_none() {
            // It was to go in this moment. Now it stays, and the others wait for it.
            state.taken = state.taken.saturating_add(self.kbytes);
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut state = self.memory.state();
        // If it was taken away it has been given back already.
        let held = match &self.unproven {
            Some(stranger) => stranger.turn.is_some_and(|turn| state.leave(turn).is_some()),
            None => true,
        };
        if held {
            state.taken = state.taken.saturating_sub(self.kbytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    /// 64 KiB in all, 16 of them without a proof, 8 of these on one connection.
    fn memory() -> Arc<BodyMemory> {
        let memory = BodyMemory::new(Bounds::new(4096, 64));
        assert_eq!(memory.state().bounds, Bounds { whole: 64, unproven: 16, connection: 8 });
        Arc::new(memory)
    }

    fn grow(share: &mut Share, kbytes: usize) -> Result<(), Exhausted> {
        share.arrived(kbytes * 1024).and_then(|_| share.hold(kbytes * 1024))
    }

    fn stranger(memory: &Arc<BodyMemory>, kbytes: usize) -> (Share, Result<(), Exhausted>) {
        let mut share = Share::unproven(memory, &Arc::default());
        let held = grow(&mut share, kbytes);
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
        let (mut signed, _) = self::stranger(&memory, 4);
        signed.prove();
        assert_eq!(taken(&memory), (9, 3));
        drop((proven, stranger));
        assert_eq!(taken(&memory), (4, 0));
        drop(signed);
        assert_eq!(taken(&memory), (0, 0));
        assert!(memory.state().unproven.is_empty());
    }

    #[test]
    fn strangers_have_a_part_in_which_those_that_pause_make_room() {
        let memory = memory();
        let mut shares: Vec<_> = [5, 7, 4].into_iter().map(|kbytes| stranger(&memory, kbytes).0).collect();
        // One has not begun, and has nothing to give.
        let waiting = Share::unproven(&memory, &Arc::default());
        // The first has gone on since, if by nothing that takes memory; bytes alone would not do.
        shares[0].arrived(5 * 1024 + 1).unwrap();
        shares[1].arrived(7 * 1024).unwrap();
        let (small, held) = stranger(&memory, 1);
        assert_eq!(held, Ok(()));
        let evicted: Vec<_> = shares.iter().map(is_evicted).collect();
        assert_eq!((&evicted[..], is_evicted(&waiting)), (&[false, true, false][..], false));
        assert_eq!(taken(&memory), (10, 10));
        assert_eq!(shares[1].arrived(8 * 1024), Err(Exhausted));
        assert_eq!(shares[1].hold(8 * 1024), Err(Exhausted));
        // A larger one is let in all the same, however small the others are.
        let (large, held) = stranger(&memory, 8);
        assert_eq!(held, Ok(()));
        assert_eq!(shares.iter().map(is_evicted).collect::<Vec<_>>(), [false, false, true]);
        assert_eq!(taken(&memory), (14, 14));
        drop((waiting, small, large, shares));
        assert_eq!(taken(&memory), (0, 0));
        // The rest of the whole is not theirs.
        let mut proven = Share::proven(&memory);
        assert_eq!(proven.hold(64 * 1024), Ok(()));
    }

    #[test]
    fn many_small_ones_keep_out_no_large_one() {
        let memory = memory();
        let small: Vec<_> = (0..16).map(|_| stranger(&memory, 1)).collect();
        assert!(small.iter().all(|(_, held)| held.is_ok()));
        let (mut large, held) = stranger(&memory, 4);
        assert_eq!(held, Ok(()));
        // Nor do those that come while it goes on.
        let mut later = Vec::new();
        for kbytes in 5..=8 {
            later.extend((0..8).map(|_| stranger(&memory, 1)));
            assert_eq!(grow(&mut large, kbytes), Ok(()));
        }
        assert!(!is_evicted(&large));
        large.prove();
        drop((small, later));
        assert_eq!(taken(&memory), (8, 0));
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
        assert!(shares.iter_mut().all(|share| grow(share, 1).is_ok()));
        let (elsewhere, _) = stranger(&memory, 4);
        // What is proven no longer counts.
        shares[0].prove();
        let mut further = Share::unproven(&memory, &connection);
        assert_eq!(grow(&mut further, 1), Ok(()));
        assert!(!shares.iter().any(is_evicted));
        // The others on the connection make room, and nobody else.
        assert_eq!(grow(&mut further, 2), Ok(()));
        let evicted: Vec<_> = shares.iter().map(is_evicted).collect();
        assert_eq!(evicted, [false, true, false, false, false, false, false, false]);
        assert!(!is_evicted(&elsewhere));
        assert_eq!(taken(&memory), (13, 12));
        assert_eq!(grow(&mut further, 9), Err(Exhausted));
    }
}
