//! Whether the cluster answers at all: a state machine whose every input comes with its time.

use std::time::{Duration, Instant};

/// While the cluster does not answer, one record in so much time is let through all the same. It may be only probes that
/// get no answer, and then nothing else would ever tell.
const TRIALS: Duration = Duration::from_secs(10);

/// What there is to tell of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// The cluster no longer answers.
    Lost,
    /// It answers again.
    Found {
        /// Since when it did not.
        lost: Instant,
    },
}

/// Whether the cluster answers, records and probes alike.
#[derive(Debug, Default)]
pub(super) struct Reach {
    lost: Option<Lost>,
    answered: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Lost {
    since: Instant,
    next_trial: Instant,
}

impl Reach {
    /// It has answered.
    pub(super) fn answered(&mut self, now: Instant) -> Option<Change> {
        // Answers are told by several threads.
        self.answered = self.answered.max(Some(now));
        self.lost.take().map(|lost| Change::Found { lost: lost.since })
    }

    /// A probe that began at `began` had no answer. Says nothing if there has been another answer since.
    pub(super) fn unanswered(&mut self, now: Instant, began: Instant) -> Option<Change> {
        if self.lost.is_some() || self.answered.is_some_and(|answered| answered >= began) {
            return None;
        }
        self.lost = Some(Lost { since: now, next_trial: now + TRIALS });
        Some(Change::Lost)
    }

    /// Whether a record is let through although the cluster is lost; if so, no other for a while.
    pub(super) fn take_trial(&mut self, now: Instant) -> bool {
        let Some(lost) = self.lost.as_mut().filter(|lost| now >= lost.next_trial) else { return false };
        lost.next_trial = now + TRIALS;
        true
    }

    /// The record that was to be let through was kept back for another reason.
    pub(super) fn give_trial_back(&mut self, now: Instant) {
        if let Some(lost) = &mut self.lost {
            lost.next_trial = now;
        }
    }

    /// Whether the last that is known is that it does not answer.
    pub(super) fn is_lost(&self) -> bool {
        self.lost.is_some()
    }

    /// When it last answered.
    pub(super) fn last_answer(&self) -> Option<Instant> {
        self.answered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_without_answer_loses_it_and_any_answer_finds_it() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut reach = Reach::default();
        assert!(!reach.is_lost(), "nothing is known, and records may wait for it");
        assert_eq!(reach.unanswered(at(2), at(0)), Some(Change::Lost));
        assert_eq!(reach.unanswered(at(4), at(3)), None, "told once");
        assert_eq!(reach.answered(at(5)), Some(Change::Found { lost: at(2) }));
        assert_eq!(reach.answered(at(6)), None);
        assert_eq!(reach.last_answer(), Some(at(6)));
    }

    #[test]
    fn an_acknowledgement_says_more_than_a_probe_that_began_before_it() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut reach = Reach::default();
        reach.answered(at(1));
        assert_eq!(reach.unanswered(at(2), at(0)), None);
        assert_eq!(reach.unanswered(at(3), at(2)), Some(Change::Lost));
    }
}
