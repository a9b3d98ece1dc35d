//! What the spool's threads share.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::refused::Refused;
use crate::delivery::Outcome;
use crate::idempotency::Claim;

/// Ages are known to about a second.
const AGE_STEP_MILLIS: u64 = 1000;

/// A record that waits to be written.
#[derive(Debug)]
pub(super) struct Pending {
    /// As [`super::format::Entry::encode`] made it.
    pub(super) frame: Vec<u8>,
    pub(super) spooled_at: u64,
    pub(super) reply: oneshot::Sender<Outcome>,
    pub(super) claim: Option<Claim>,
    pub(super) since: std::time::Instant,
}

/// A segment on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// The number of its first record.
    pub(super) first: u64,
    /// The number after its last.
    pub(super) next: u64,
    pub(super) path: PathBuf,
    /// Its durable bytes.
    pub(super) len: u64,
}

/// All of it, behind one lock that nobody holds while the disk works.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) pending: Vec<Pending>,
    pub(super) pending_bytes: u64,
    /// The oldest first.
    pub(super) segments: VecDeque<Segment>,
    /// The first number of the segment that the writer may still append to.
    pub(super) open: Option<u64>,
    /// The number of the next record to become durable.
    pub(super) next: u64,
    /// All records up to this number are in Kafka, or set aside.
    pub(super) done: u64,
    pub(super) refused: Refused,
    /// The last number of each group of records of about the same age, and since when they are there.
    pub(super) ages: VecDeque<(u64, u64)>,
    /// Why the disk takes nothing at present.
    pub(super) broken: bool,
    pub(super) stopping: bool,
    /// Whether the drainer has met something on disk that is not what was written, so that nothing behind it is drained.
    pub(super) damaged: bool,
}

impl State {
    /// Bytes on disk.
    pub(super) fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.len).sum::<u64>() + self.refused.bytes
    }

    /// Records that are neither in Kafka nor set aside.
    pub(super) fn records(&self) -> u64 {
        self.next.saturating_sub(1).saturating_sub(self.done)
    }

    /// The record with this number is durable.
    pub(super) fn aged(&mut self, sequence: u64, spooled_at: u64) {
        match self.ages.back_mut() {
            Some((last, at)) if (*at..at.saturating_add(AGE_STEP_MILLIS)).contains(&spooled_at) => {
                *last = sequence
            }
            _ => self.ages.push_back((sequence, spooled_at)),
        }
    }

    /// All records up to this number are done with.
    pub(super) fn done_up_to(&mut self, sequence: u64) {
        self.done = self.done.max(sequence);
        while self.ages.pop_front_if(|(last, _)| *last <= sequence).is_some() {}
    }

    /// For how long the oldest record has been there, in milliseconds; `None` if there is none. `now`: the present, in
    /// milliseconds since 1970-01-01T00:00:00Z. A clock that was set back makes records look as if they had yet to come:
    /// their age is counted from when that is found.
    pub(super) fn oldest_age(&mut self, now: u64) -> Option<u64> {
        for (_, at) in self.ages.iter_mut().take_while(|(_, at)| *at > now) {
            *at = now;
        }
        self.ages.front().map(|(_, at)| now - *at)
    }

    /// The segment that has the record with this number, once it is durable.
    pub(super) fn segment_of(&self, sequence: u64) -> Option<&Segment> {
        self.segments.iter().find(|segment| (segment.first..segment.next).contains(&sequence))
    }
}

/// The state, and whom to wake.
#[derive(Debug, Default)]
pub(super) struct Shared {
    state: Mutex<State>,
    /// There is something for the writer.
    pub(super) to_write: Condvar,
}

impl Shared {
    pub(super) fn new(state: State) -> Self {
        Self { state: Mutex::new(state), to_write: Condvar::new() }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_the_oldest_that_is_not_done_with() {
        let mut state = State { next: 1, ..State::default() };
        assert_eq!(state.oldest_age(6_000), None);
        for (sequence, at) in [(1, 1_000), (2, 1_900), (3, 2_000), (4, 5_000)] {
            state.aged(sequence, at);
            state.next = sequence + 1;
        }
        for (done, age, records) in
            [(0, Some(5_000), 4), (1, Some(5_000), 3), (2, Some(4_000), 2), (3, Some(1_000), 1), (4, None, 0)]
        {
            state.done_up_to(done);
            assert_eq!((state.oldest_age(6_000), state.records()), (age, records), "{done}");
        }
    }

    #[test]
    fn an_age_grows_again_after_the_clock_was_set_back() {
        let mut state = State { next: 1, ..State::default() };
        // The clock is an hour ahead, and then set right.
        for (sequence, at) in [(1, 3_700_000), (2, 3_700_500), (3, 100_000), (4, 100_900)] {
            state.aged(sequence, at);
            state.next = sequence + 1;
        }
        assert_eq!(state.oldest_age(101_000), Some(0));
        assert_eq!(state.oldest_age(105_000), Some(4_000));
        state.done_up_to(2);
        assert_eq!(state.oldest_age(105_000), Some(5_000));
    }
}
