//! What the spool's threads share.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use segment_log::{Log, UnsealedFrame};
use tokio::sync::oneshot;

use crate::delivery::Outcome;
use crate::idempotency::Claim;

/// Ages are known to about a second.
const AGE_STEP_MILLIS: u64 = 1000;

/// A record that waits to be written.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) frame: UnsealedFrame,
    pub(super) spooled_at: u64,
    pub(super) reply: oneshot::Sender<Outcome>,
    pub(super) claim: Option<Claim>,
    pub(super) since: std::time::Instant,
}

/// The records that Kafka did not take.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct DeadLetters {
    pub(super) records: u64,
    pub(super) bytes: u64,
    /// Topics that some of the records are for.
    pub(super) topics: BTreeSet<String>,
}

impl DeadLetters {
    /// Counts a record for this topic.
    pub(super) fn add(&mut self, topic: &str) {
        self.records += 1;
        if !self.topics.contains(topic) {
            self.topics.insert(topic.to_owned());
        }
    }
}

/// What the log does not know of its records, behind one lock that nobody holds while the disk works.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) pending: Vec<Pending>,
    pub(super) pending_bytes: u64,
    /// All records up to this number are in Kafka, or dead letters.
    done: u64,
    pub(super) dead_letters: DeadLetters,
    /// The last number of each group of records of about the same age, and since when they are there.
    ages: VecDeque<(u64, u64)>,
    pub(super) stopping: bool,
    /// Whether the drainer has met something on disk that is not what was written, so that nothing behind it is drained.
    pub(super) damaged: bool,
}

impl State {
    /// The record with this number is durable.
    pub(super) fn aged(&mut self, sequence: u64, spooled_at: u64) {
        if sequence <= self.done {
            return;
        }
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
}

/// The state, and whom to wake.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) log: Log,
    state: Mutex<State>,
    /// There is something for the writer.
    pub(super) to_write: Condvar,
}

impl Shared {
    pub(super) fn new(log: Log, state: State) -> Self {
        Self { log, state: Mutex::new(state), to_write: Condvar::new() }
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
        let mut state = State::default();
        assert_eq!(state.oldest_age(6_000), None);
        for (sequence, at) in [(1, 1_000), (2, 1_900), (3, 2_000), (4, 5_000)] {
            state.aged(sequence, at);
        }
        for (done, age) in [(0, Some(5_000)), (1, Some(5_000)), (2, Some(4_000)), (3, Some(1_000)), (4, None)]
        {
            state.done_up_to(done);
            assert_eq!(state.oldest_age(6_000), age, "{done}");
        }
        // The reader may be ahead of who counts ages.
        state.aged(4, 5_000);
        assert_eq!(state.oldest_age(6_000), None);
    }

    #[test]
    fn an_age_grows_again_after_the_clock_was_set_back() {
        let mut state = State::default();
        // The clock is an hour ahead, and then set right.
        for (sequence, at) in [(1, 3_700_000), (2, 3_700_500), (3, 100_000), (4, 100_900)] {
            state.aged(sequence, at);
        }
        assert_eq!(state.oldest_age(101_000), Some(0));
        assert_eq!(state.oldest_age(105_000), Some(4_000));
        state.done_up_to(2);
        assert_eq!(state.oldest_age(105_000), Some(5_000));
    }
}
