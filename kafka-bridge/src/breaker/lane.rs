//! The breaker of one topic: a state machine whose every input comes with its time.
//!
//! ```text
//!              stalled, or failing                      let through once nothing waits, the pause is over,
//!            ┌──────────────────────► Open ───────────► and the cluster has answered: Trial
//!   Closed ──┘                         ▲                     │
//!     ▲                                └─ stalled or failed ─┤ (the next pause is twice as long)
//!     └──── acknowledged, in any state; refused, as Trial; ──┘
//!           or nobody has come to be tried for a long time
//! ```

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::breaker::Settings;

/// How long nothing must have been acknowledged before failures in a row open the breaker. Records of one partition
/// fail together, while those of others go on to be acknowledged.
const FAILING: Duration = Duration::from_millis(500);
/// Records that were handed over within so long of each other are kept as one group.
const GROUP: Duration = Duration::from_millis(10);

/// What became of a record that was let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// Kafka has it.
    Acknowledged,
    /// Kafka will not take it. That ends a trial, and says nothing of records that it would take: a leader refuses by
    /// itself, while those wait for its followers.
    Refused,
    /// Nobody can say.
    Failed,
    /// It was never handed over.
    Withdrawn,
}

/// Why a breaker opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// Records wait, and none has been acknowledged for too long.
    Stalled,
    /// Records failed in a row.
    Failing,
}

/// What there is to tell of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// From closed to open.
    Opened(Cause),
    /// The record that was let through has not made it.
    TrialFailed {
        /// How long it stays closed to further ones, at least.
        pause: Duration,
    },
    /// Records are let through as before.
    Closed {
        /// Since when they were not.
        opened: Instant,
    },
    /// Likewise, but only because nobody has tried for a long time.
    Forgotten {
        /// Since when they were not.
        opened: Instant,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed,
    /// Nothing is let through.
    Open {
        /// Since when, the failed trials included.
        opened: Instant,
        /// Since when there has been no trial.
        since: Instant,
        pause: Duration,
        /// Since when the next record would be one.
        due: Option<Instant>,
    },
    /// One record has been let through, and nothing is known of it yet, or it was withdrawn.
    Trial {
        opened: Instant,
        since: Instant,
        pause: Duration,
    },
}

/// The records of one topic.
#[derive(Debug)]
pub(super) struct Lane {
    state: State,
    waiting: Waiting,
    /// When Kafka last acknowledged one.
    acknowledged: Option<Instant>,
    /// Failures since Kafka last acknowledged one.
    failures: u32,
}

/// Records handed over and not settled.
#[derive(Debug, Default)]
struct Waiting {
    /// Groups of them, each with the time of its first, which is its name. Only the first group is never empty.
    groups: VecDeque<(Instant, usize)>,
    records: usize,
}

impl Waiting {
    /// Returns the record's group.
    fn add(&mut self, now: Instant) -> Instant {
        self.records += 1;
        if let Some((first, records)) = self.groups.back_mut()
            && now.saturating_duration_since(*first) < GROUP
        {
            *records += 1;
            return *first;
        }
        self.groups.push_back((now, 1));
        now
    }

    fn remove(&mut self, group: Instant) {
        let Ok(index) = self.groups.binary_search_by_key(&group, |(first, _)| *first) else { return };
        let Some((_, records)) = self.groups.get_mut(index) else { return };
        *records = records.saturating_sub(1);
        self.records = self.records.saturating_sub(1);
        while self.groups.pop_front_if(|(_, records)| *records == 0).is_some() {}
    }

    fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Since when the first of them waits.
    fn oldest(&self) -> Option<Instant> {
        self.groups.front().map(|(first, _)| *first)
    }
}

impl Lane {
    pub(super) fn new() -> Self {
        Self { state: State::Closed, waiting: Waiting::default(), acknowledged: None, failures: 0 }
    }

    /// Lets a record through, or not (`None`). If so, it waits from now on, and is to be settled with what this returns.
    /// `answered` is when the cluster last answered anything.
    pub(super) fn admit(&mut self, now: Instant, answered: Option<Instant>) -> Option<Instant> {
        match self.state {
            State::Closed => {}
            State::Open { opened, pause, .. } if self.takes_trial(now, answered) => {
                self.state = State::Trial { opened, since: now, pause };
            }
            // The record that was let through has been withdrawn.
            State::Trial { .. } if self.waiting.is_empty() => {}
            State::Open { .. } | State::Trial { .. } => return None,
        }
        Some(self.waiting.add(now))
    }

    /// Since when records wait and none has been acknowledged; `None` if none waits.
    fn stuck_since(&self) -> Option<Instant> {
        self.waiting.oldest().max(self.waiting.oldest().and(self.acknowledged))
    }

    /// How long it will take at least until something changes.
    pub(super) fn wait(&self, now: Instant, settings: &Settings) -> Duration {
        let change = match self.state {
            State::Closed => now,
            State::Open { since, pause, .. } => since + pause,
            State::Trial { .. } => self.stuck_since().map_or(now, |since| since + settings.stall),
        };
        change.saturating_duration_since(now)
    }

    /// Whether the next record is let through as a trial. Records that still wait are as good as one.
    fn takes_trial(&self, now: Instant, answered: Option<Instant>) -> bool {
        matches!(self.state, State::Open { since, pause, .. }
            if self.waiting.is_empty()
                && now.saturating_duration_since(since) >= pause
                && answered.is_some_and(|answered| answered > since))
    }

    /// A record that was let through no longer waits. `admitted` is what [`Lane::admit`] returned for it.
    pub(super) fn settle(
        &mut self,
        now: Instant,
        admitted: Instant,
        settlement: Settlement,
        settings: &Settings,
    ) -> Option<Change> {
        self.waiting.remove(admitted);
        match settlement {
            Settlement::Withdrawn => None,
            Settlement::Acknowledged => self.acknowledge(now),
            Settlement::Refused if matches!(self.state, State::Trial { .. }) => self.close(),
            Settlement::Refused => None,
            Settlement::Failed => {
                self.failures = self.failures.saturating_add(1);
                let going = self
                    .acknowledged
                    .is_some_and(|acknowledged| now.saturating_duration_since(acknowledged) < FAILING);
                match self.state {
                    State::Closed if self.failures >= settings.failures && !going => {
                        Some(self.open(now, Cause::Failing, settings))
                    }
                    State::Trial { opened, pause, .. } => Some(self.reopen(now, opened, pause, settings)),
                    State::Closed | State::Open { .. } => None,
                }
            }
        }
    }

    /// Kafka has acknowledged a record, which may have been settled before.
    pub(super) fn acknowledge(&mut self, now: Instant) -> Option<Change> {
        self.acknowledged = Some(now);
        self.close()
    }

    /// Opens if records have waited for too long.
    pub(super) fn check(&mut self, now: Instant, settings: &Settings) -> Option<Change> {
        if now.saturating_duration_since(self.stuck_since()?) < settings.stall {
            return None;
        }
        match self.state {
            State::Closed => Some(self.open(now, Cause::Stalled, settings)),
            State::Trial { opened, pause, .. } => Some(self.reopen(now, opened, pause, settings)),
            State::Open { .. } => None,
        }
    }

    /// Closes if a record could have been tried for a long time, and none has come: a topic that nobody writes any more
    /// would be open for ever. To be called often. `answered` is when the cluster last answered anything.
    pub(super) fn forget(
        &mut self,
        now: Instant,
        answered: Option<Instant>,
        settings: &Settings,
    ) -> Option<Change> {
        let takes_trial = self.takes_trial(now, answered);
        let (opened, since) = match &mut self.state {
            State::Open { opened, due, .. } => {
                *due = takes_trial.then(|| due.unwrap_or(now));
                (*opened, (*due)?)
            }
            State::Trial { opened, since, .. } if self.waiting.is_empty() => (*opened, *since),
            State::Trial { .. } | State::Closed => return None,
        };
        if now.saturating_duration_since(since) <= settings.longest_pause {
            return None;
        }
        self.close().map(|_| Change::Forgotten { opened })
    }

    fn close(&mut self) -> Option<Change> {
        self.failures = 0;
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Closed => None,
            State::Open { opened, .. } | State::Trial { opened, .. } => Some(Change::Closed { opened }),
        }
    }

    fn open(&mut self, now: Instant, cause: Cause, settings: &Settings) -> Change {
        self.state = State::Open { opened: now, since: now, pause: settings.first_pause, due: None };
        Change::Opened(cause)
    }

    fn reopen(&mut self, now: Instant, opened: Instant, pause: Duration, settings: &Settings) -> Change {
        let pause = (pause * 2).min(settings.longest_pause);
        self.state = State::Open { opened, since: now, pause, due: None };
        Change::TrialFailed { pause }
    }

    /// Whether records are let through without limit.
    pub(super) fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// Whether a record that came now would be let through, or one is being tried.
    pub(super) fn is_open(&self, now: Instant, answered: Option<Instant>) -> bool {
        matches!(self.state, State::Open { .. }) && !self.takes_trial(now, answered)
    }

    /// Whether forgetting it would change nothing.
    pub(super) fn is_idle(&self) -> bool {
        self.is_closed() && self.waiting.is_empty()
    }

    /// When Kafka last acknowledged a record of the topic.
    pub(super) fn acknowledged(&self) -> Option<Instant> {
        self.acknowledged
    }

    #[cfg(test)]
    fn is_trial(&self) -> bool {
        matches!(self.state, State::Trial { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SETTINGS: Settings = Settings {
        stall: Duration::from_secs(2),
        failures: 3,
        first_pause: Duration::from_secs(1),
        longest_pause: Duration::from_secs(4),
    };

    struct Run {
        lane: Lane,
        start: Instant,
        /// What was let through and is not settled.
        admitted: VecDeque<Instant>,
    }

    impl Run {
        fn new() -> Self {
            Self { lane: Lane::new(), start: Instant::now(), admitted: VecDeque::new() }
        }

        fn at(&self, millis: u64) -> Instant {
            self.start + Duration::from_millis(millis)
        }

        fn admit(&mut self, millis: u64, answered: Option<u64>) -> bool {
            let answered = answered.map(|answered| self.at(answered));
            let admitted = self.lane.admit(self.at(millis), answered);
            self.admitted.extend(admitted);
            admitted.is_some()
        }

        fn wait(&self, millis: u64) -> Duration {
            self.lane.wait(self.at(millis), &SETTINGS)
        }

        /// The first that waits.
        fn settle(&mut self, millis: u64, settlement: Settlement) -> Option<Change> {
            let admitted = self.admitted.pop_front().unwrap();
            self.lane.settle(self.at(millis), admitted, settlement, &SETTINGS)
        }

        fn settle_last(&mut self, millis: u64, settlement: Settlement) -> Option<Change> {
            let admitted = self.admitted.pop_back().unwrap();
            self.lane.settle(self.at(millis), admitted, settlement, &SETTINGS)
        }

        fn check(&mut self, millis: u64) -> Option<Change> {
            self.lane.check(self.at(millis), &SETTINGS)
        }
    }

    use Settlement::{Acknowledged, Failed, Refused, Withdrawn};

    #[test]
    fn it_opens_when_records_wait_and_none_is_acknowledged() {
        let mut run = Run::new();
        // Nothing waits: however long that lasts, it is not a stall.
        assert_eq!(run.check(60_000), None);
        assert!(run.admit(60_000, None));
        assert!(run.admit(61_000, None));
        assert_eq!(run.check(61_999), None);
        // Progress, although one still waits.
        assert_eq!(run.settle(61_999, Acknowledged), None);
        assert_eq!(run.check(63_998), None);
        assert_eq!(run.check(63_999), Some(Change::Opened(Cause::Stalled)));
        assert_eq!(run.check(64_100), None, "told once");
        assert!(!run.admit(64_100, None));
        assert_eq!(run.wait(64_100), Duration::from_millis(899));
        // What was still waiting is acknowledged, which closes it at once.
        assert_eq!(run.settle(64_200, Acknowledged), Some(Change::Closed { opened: run.at(63_999) }));
        assert!(run.admit(64_200, None));
    }

    #[test]
    fn one_record_is_tried_after_the_pause_and_an_answer_of_the_cluster() {
        let mut run = Run::new();
        assert!(run.admit(0, None));
        run.check(2_000).unwrap();
        assert_eq!(run.settle(5_000, Failed), None);
        // The cluster has not answered since.
        assert!(!run.admit(6_000, Some(1_999)));
        assert!(run.lane.is_open(run.at(6_000), Some(run.at(1_999))));
        assert!(!run.lane.is_open(run.at(6_000), Some(run.at(5_999))));
        assert!(run.admit(6_000, Some(5_999)));
        assert!(!run.admit(6_001, Some(5_999)));
        assert_eq!(run.wait(6_001), Duration::from_millis(1_999));
        assert_eq!(run.settle(6_010, Acknowledged), Some(Change::Closed { opened: run.at(2_000) }));
        assert!(run.admit(6_010, None));
        assert!(run.admit(6_010, None));
    }

    #[test]
    fn records_that_still_wait_are_trial_enough() {
        let mut run = Run::new();
        assert!(run.admit(0, None));
        run.check(2_000).unwrap();
        assert!(!run.admit(4_000, Some(3_999)));
        assert!(run.lane.is_open(run.at(4_000), Some(run.at(3_999))));
    }

    #[test]
    fn failed_trials_lengthen_the_pause_to_a_bound_and_success_resets_it() {
        let mut run = Run::new();
        assert!(run.admit(0, None));
        run.check(2_000).unwrap();
        run.settle(5_000, Failed);
        let mut now = 5_000;
        for pause in [2, 4, 4] {
            assert!(run.admit(now, Some(now)));
            // Hung, and then failed, which is told once.
            let pause = Duration::from_secs(pause);
            assert_eq!(run.check(now + 2_000), Some(Change::TrialFailed { pause }));
            assert_eq!(run.settle(now + 2_500, Failed), None);
            assert!(!run.admit(now + 3_900, Some(now + 3_899)));
            now += 6_000;
        }
        assert!(run.admit(now, Some(now)));
        assert!(matches!(run.settle(now, Acknowledged), Some(Change::Closed { .. })));
        assert!(run.admit(now, None));
        run.check(now + 2_000).unwrap();
        run.settle(now + 2_100, Failed);
        assert!(run.admit(now + 3_000, Some(now + 2_999)), "the first pause again");
    }

    #[test]
    fn failures_in_a_row_open_it_unless_others_are_just_being_acknowledged() {
        let mut run = Run::new();
        for _ in 0..5 {
            assert!(run.admit(0, None));
        }
        assert_eq!(run.settle(10, Failed), None);
        assert_eq!(run.settle(10, Acknowledged), None);
        assert_eq!(run.settle(520, Failed), None);
        assert_eq!(run.settle(520, Failed), None);
        assert_eq!(run.settle(520, Failed), Some(Change::Opened(Cause::Failing)));

        let mut run = Run::new();
        for _ in 0..9 {
            assert!(run.admit(0, None));
        }
        assert_eq!(run.settle(100, Acknowledged), None);
        for _ in 0..7 {
            assert_eq!(run.settle(599, Failed), None, "a partition, while another goes on");
        }
        assert_eq!(run.settle(600, Failed), Some(Change::Opened(Cause::Failing)));
    }

    #[test]
    fn what_is_refused_does_not_hide_that_others_wait_or_fail() {
        let mut run = Run::new();
        assert!(run.admit(0, None));
        for now in (100..2_000).step_by(300) {
            assert!(run.admit(now, None));
            assert_eq!(run.settle_last(now + 10, Refused), None);
        }
        assert_eq!(run.check(1_999), None);
        assert_eq!(run.check(2_000), Some(Change::Opened(Cause::Stalled)));

        // Nor does it close what has opened.
        let mut run = Run::new();
        assert!(run.admit(0, None));
        assert!(run.admit(0, None));
        run.check(2_000).unwrap();
        assert_eq!(run.settle(2_010, Refused), None);
        assert!(!run.admit(2_020, Some(2_010)));

        let mut run = Run::new();
        for now in [0, 10] {
            assert!(run.admit(now, None));
            assert_eq!(run.settle(now, Failed), None);
            assert!(run.admit(now, None));
            assert_eq!(run.settle(now, Refused), None);
        }
        assert!(run.admit(20, None));
        assert_eq!(run.settle(20, Failed), Some(Change::Opened(Cause::Failing)));
    }

    #[test]
    fn a_refusal_ends_a_trial() {
        let mut run = Run::new();
        assert!(run.admit(0, None));
        run.check(2_000).unwrap();
        run.settle(5_000, Failed);
        assert!(run.admit(5_000, Some(5_000)));
        assert_eq!(run.settle(5_010, Refused), Some(Change::Closed { opened: run.at(2_000) }));
    }

    #[test]
    fn records_that_are_all_refused_in_time_are_no_stall() {
        let mut run = Run::new();
        assert!(run.admit(0, None));
        for now in (100..20_000).step_by(100) {
            assert!(run.admit(now, None));
            assert_eq!(run.settle(now, Refused), None);
            assert_eq!(run.check(now), None, "one waits all the time, and none for long");
        }
    }

    #[test]
    fn it_is_forgotten_once_nobody_has_come_to_be_tried_for_longer_than_the_longest_pause() {
        let mut run = Run::new();
        let forget = |run: &mut Run, millis: u64, answered: u64| {
            let (now, answered) = (run.at(millis), run.at(answered));
            run.lane.forget(now, Some(answered), &SETTINGS)
        };
        assert!(run.admit(0, None));
        assert_eq!(forget(&mut run, 60_000, 60_000), None, "closed");
        run.check(60_000).unwrap();
        assert_eq!(forget(&mut run, 120_000, 120_000), None, "a record waits");
        run.settle(120_000, Failed);
        // While the cluster has not answered, nothing could have been tried.
        assert_eq!(forget(&mut run, 180_000, 59_999), None);
        assert_eq!(forget(&mut run, 180_000, 180_000), None);
        assert_eq!(forget(&mut run, 184_000, 180_000), None);
        let opened = run.at(60_000);
        assert_eq!(forget(&mut run, 184_001, 180_000), Some(Change::Forgotten { opened }));
        assert!(run.lane.is_idle());
        assert_eq!(forget(&mut run, 190_000, 190_000), None, "told once");
        // It opens as before.
        for _ in 0..2 {
            assert!(run.admit(190_000, None));
        }
        assert_eq!(run.check(192_000), Some(Change::Opened(Cause::Stalled)));
    }

    #[test]
    fn so_is_one_whose_trial_was_withdrawn() {
        let mut run = Run::new();
        assert!(run.admit(0, None));
        run.check(2_000).unwrap();
        run.settle(2_000, Failed);
        assert!(run.admit(3_000, Some(3_000)));
        assert_eq!(run.lane.forget(run.at(60_000), None, &SETTINGS), None, "it waits");
        run.settle(60_000, Withdrawn);
        let opened = run.at(2_000);
        assert_eq!(run.lane.forget(run.at(60_000), None, &SETTINGS), Some(Change::Forgotten { opened }));
    }

    #[test]
    fn a_record_that_was_never_handed_over_says_nothing() {
        let mut run = Run::new();
        assert!(run.admit(0, None));
        assert_eq!(run.settle(1, Withdrawn), None);
        assert_eq!(run.check(60_000), None);
        assert!(run.admit(60_000, None));
        run.check(62_000).unwrap();
        run.settle(65_000, Failed);
        assert!(run.admit(65_000, Some(65_000)));
        assert_eq!(run.settle(65_000, Withdrawn), None);
        assert!(run.admit(65_001, Some(65_000)), "there is no other on trial");
        assert!(!run.admit(65_001, Some(65_000)));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Admit,
        Settle(Settlement),
        Check,
        Answer,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => Just(Step::Admit),
            1 => Just(Step::Settle(Acknowledged)),
            1 => Just(Step::Settle(Refused)),
            3 => Just(Step::Settle(Failed)),
            1 => Just(Step::Settle(Withdrawn)),
            3 => Just(Step::Check),
            1 => Just(Step::Answer),
        ]
    }

    proptest! {
        #[test]
        fn whatever_happens_its_promises_hold(steps in prop::collection::vec((step(), 0u64..3_000), 1..200)) {
            let mut run = Run::new();
            let (mut now, mut waiting, mut answered) = (0, 0, None);
            let mut opened_at = None;
            for (step, passed) in steps {
                now += passed;
                let (was_closed, was_trial) = (run.lane.is_closed(), run.lane.is_trial());
                match step {
                    Step::Admit => {
                        let admitted = run.admit(now, answered);
                        if admitted {
                            waiting += 1;
                        }
                        if was_closed {
                            prop_assert!(admitted, "closed, and not let through");
                        } else if admitted {
                            prop_assert_eq!(waiting, 1, "one on trial at a time");
                            prop_assert!(run.lane.is_trial());
                            prop_assert!(answered > opened_at, "the cluster has answered since");
                        } else {
                            prop_assert!(run.wait(now) <= SETTINGS.longest_pause);
                        }
                    }
                    Step::Settle(settlement) if waiting > 0 => {
                        waiting -= 1;
                        let change = run.settle(now, settlement);
                        if settlement == Acknowledged || (settlement == Refused && was_trial) {
                            prop_assert!(run.lane.is_closed(), "an answer closes it");
                            prop_assert_eq!(change.is_some(), !was_closed, "told once");
                        } else if settlement == Refused {
                            prop_assert_eq!(run.lane.is_closed(), was_closed, "it is about that record alone");
                        }
                    }
                    Step::Settle(_) => {}
                    Step::Check => {
                        run.check(now);
                        if waiting == 0 {
                            prop_assert_eq!(run.lane.is_closed(), was_closed, "nothing waits: no stall");
                        }
                    }
                    Step::Answer => answered = Some(now),
                }
                if (was_closed || was_trial) && run.lane.is_open(run.at(now), None) {
                    opened_at = Some(now);
                }
                prop_assert_eq!(run.lane.waiting.records, waiting);
                prop_assert_eq!(run.lane.waiting.oldest(), run.admitted.front().copied());
            }
            // Whatever state that left: records that wait get an answer, and with it all is well.
            while waiting > 0 {
                waiting -= 1;
                run.settle(now, Failed);
            }
            let later = now + 10_000;
            prop_assert!(run.admit(later, Some(later)), "it lets itself be closed again");
            run.settle(later, Acknowledged);
            prop_assert!(run.lane.is_idle());
        }
    }
}
