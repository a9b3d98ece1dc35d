//! Known-down: keeps records from waiting for a Kafka that is known not to take them. They are answered at once, with
//! nothing handed over, and the breaker finds out by itself when that is over.
//!
//! There are two parts, so that a topic which takes nothing (too few replicas, say) does no harm to the others:
//! `reach` knows whether the cluster answers at all, and a `lane` for each topic knows whether its records are
//! acknowledged. Records that only the leader acknowledges have a lane of their own: they may go on while those that
//! wait for the replicas do not.

mod lane;
mod metrics;
mod reach;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicIsize, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

pub use lane::Settlement;
use lane::{Cause, Lane};
pub use metrics::{ClusterMetrics, Metrics};
use reach::Reach;
use wicketgate_envelope::hop::Ack;

/// So many failures in a row, without an acknowledgement, open the breaker of a topic.
const FAILURES: u32 = 10;
/// How long an open breaker waits before it lets a record through as a trial, at first and at most.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(16));
/// Topics that are closed and without records in flight are forgotten beyond so many.
const TOPICS: usize = 1024;

/// When a breaker opens, and how it closes.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How long records may wait without one being acknowledged.
    pub stall: Duration,
    /// How many may fail in a row.
    pub failures: u32,
    /// How long nothing is let through at first.
    pub first_pause: Duration,
    /// And at most, after trials that failed.
    pub longest_pause: Duration,
}

/// The breaker of one cluster.
#[derive(Debug)]
pub struct Breaker {
    settings: Settings,
    metrics: ClusterMetrics,
    reach: Mutex<Reach>,
    /// A copy of what `reach` says, for each record to look at.
    lost: AtomicBool,
    topics: RwLock<Topics>,
    /// How many lanes are not closed. One may be told to have closed just before it is told to have opened.
    open_lanes: AtomicIsize,
}

#[derive(Debug)]
struct Topics {
    lanes: HashMap<Arc<str>, Arc<Lanes>>,
    /// At so many topics it is looked which of them may be forgotten. That is no less than twice of what was left the last
    /// time, so that a topic costs no more than a few looks.
    most: usize,
}

impl Default for Topics {
    fn default() -> Self {
        Self { lanes: HashMap::new(), most: TOPICS }
    }
}

impl Topics {
    fn get(&self, topic: &str) -> Option<(Arc<str>, Arc<Lanes>)> {
        self.lanes.get_key_value(topic).map(|(topic, lanes)| (Arc::clone(topic), Arc::clone(lanes)))
    }

    fn forget(&mut self) {
        // Lanes that somebody is about to use have another owner.
        self.lanes.retain(|_, lanes| {
            Arc::strong_count(lanes) > 1 || !lanes.both().iter().all(|(_, lane)| locked(lane).is_idle())
        });
        self.most = TOPICS.max(self.lanes.len() * 2);
    }
}

/// The records of one topic, by who acknowledges them.
#[derive(Debug)]
struct Lanes {
    /// All in-sync replicas, whether or not anybody waits for that.
    replicas: Mutex<Lane>,
    /// The leader alone.
    leader: Mutex<Lane>,
    /// How many have no answer, and were given up.
    overdue: AtomicUsize,
}

impl Lanes {
    fn of(&self, ack: Ack) -> &Mutex<Lane> {
        if ack == Ack::Leader { &self.leader } else { &self.replicas }
    }

    fn both(&self) -> [(Ack, &Mutex<Lane>); 2] {
        [Ack::All, Ack::Leader].map(|ack| (ack, self.of(ack)))
    }

    /// When Kafka last acknowledged a record of the topic.
    fn acknowledged(&self) -> Option<Instant> {
        self.both().into_iter().filter_map(|(_, lane)| locked(lane).acknowledged()).max()
    }
}

/// A record that was let through. Dropped without a word, it was never handed over.
#[derive(Debug)]
pub struct Permit {
    breaker: Arc<Breaker>,
    topic: Arc<str>,
    lanes: Arc<Lanes>,
    ack: Ack,
    /// What the lane knows it by.
    admitted: Instant,
    settlement: Settlement,
    /// Whether it was given up before it was settled.
    overdue: bool,
}

/// A record was not let through, because it is known that Kafka would not acknowledge it now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejected;

/// What stands in the way of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// The cluster does not answer.
    Unanswered,
    /// No topic's records are acknowledged.
    Stalled,
}

impl Breaker {
    /// Closed. It opens when records have waited for `stall` without one being acknowledged.
    pub fn new(stall: Duration, metrics: ClusterMetrics) -> Arc<Self> {
        let (first_pause, longest_pause) = PAUSES;
        Arc::new(Self::with(Settings { stall, failures: FAILURES, first_pause, longest_pause }, metrics))
    }

    /// Counts a record that is not let through because too many of its topic are overdue.
    pub fn rejected(&self) {
        self.metrics.rejected();
    }

    fn with(settings: Settings, metrics: ClusterMetrics) -> Self {
        Self {
            settings,
            metrics,
            reach: Mutex::default(),
            lost: AtomicBool::new(false),
            topics: RwLock::default(),
            open_lanes: AtomicIsize::new(0),
        }
    }

    /// Lets a record of this topic through, or not. `ack` is how far it has to get.
    ///
    /// # Errors
    /// When it is known that Kafka would not acknowledge it now.
    pub fn admit(self: &Arc<Self>, topic: &str, ack: Ack, now: Instant) -> Result<Permit, Rejected> {
        let trial = self.lost.load(Ordering::Acquire);
        if trial && !locked(&self.reach).take_trial(now) {
            self.metrics.rejected();
            return Err(Rejected);
        }
        let (topic, lanes) = self.topic(topic);
        let mut lane = locked(lanes.of(ack));
        let change = lane.check(now, &self.settings);
        let answered = match lane.is_closed() {
            // Only a lane that is not closed asks, and its answers are few.
            true => None,
            // What is tried for the cluster may be tried for the topic.
            false if trial => Some(now),
            false => self.last_answer(),
        };
        let admitted = lane.admit(now, answered);
        drop(lane);
        self.tell(&topic, ack, change, now);
        match admitted {
            Some(admitted) => {
                let settlement = Settlement::Withdrawn;
                let breaker = Arc::clone(self);
                Ok(Permit { breaker, topic, lanes, ack, admitted, settlement, overdue: false })
            }
            None => {
                if trial {
                    locked(&self.reach).give_trial_back(now);
                }
                self.metrics.rejected();
                Err(Rejected)
            }
        }
    }

    /// How long it takes at least until a record of this topic may be let through; zero if nothing is known to be in
    /// its way, or for how long.
    pub fn wait(&self, topic: &str, ack: Ack, now: Instant) -> Duration {
        let topics = self.topics.read().unwrap_or_else(PoisonError::into_inner);
        let lanes = topics.lanes.get(topic);
        lanes.map_or(Duration::ZERO, |lanes| locked(lanes.of(ack)).wait(now, &self.settings))
    }

    /// Opens where records have waited for too long, and closes where nobody has come to be tried for a long time. To be
    /// called often: requests that come in do the same, but there may be none.
    pub fn check(&self, now: Instant) {
        let answered = self.last_answer();
        for (topic, lanes) in self.topics() {
            for (ack, lane) in lanes.both() {
                let mut lane = locked(lane);
                let change = lane.check(now, &self.settings);
                let change = change.or_else(|| lane.forget(now, answered, &self.settings));
                drop(lane);
                self.tell(&topic, ack, change, now);
            }
        }
    }

    /// The cluster has answered a probe.
    pub fn probe_answered(&self, now: Instant) {
        self.answered(now);
    }

    /// A probe that began at `began` had no answer.
    pub fn probe_unanswered(&self, now: Instant, began: Instant) {
        let mut reach = locked(&self.reach);
        let change = reach.unanswered(now, began);
        self.lost.store(reach.is_lost(), Ordering::Release);
        drop(reach);
        if change.is_some() {
            self.metrics.opened("unanswered");
            self.metrics.cluster_open(true);
            tracing::error!(
                cluster = self.metrics.cluster(),
                "Kafka does not answer; records are answered 503 until it does"
            );
        }
    }

    /// When the cluster last answered a record or a probe.
    pub fn last_answer(&self) -> Option<Instant> {
        locked(&self.reach).last_answer()
    }

    /// Whether anything is open, so that probes are wanted more often.
    pub fn is_disturbed(&self) -> bool {
        self.lost.load(Ordering::Acquire) || self.open_lanes.load(Ordering::Acquire) > 0
    }

    /// What stands in the way of records in general, for readiness. A topic that takes none while others do is not in
    /// the way, and neither is one that never took any: it may not even exist.
    pub fn obstacle(&self, now: Instant) -> Option<Obstacle> {
        if self.lost.load(Ordering::Acquire) {
            return Some(Obstacle::Unanswered);
        }
        // Without traffic nobody else looks.
        self.check(now);
        if self.open_lanes.load(Ordering::Acquire) <= 0 {
            return None;
        }
        let answered = self.last_answer();
        let (mut open, mut open_and_known, mut acknowledged) = (false, false, None);
        let topics = self.topics();
        for (_, lane) in topics.iter().flat_map(|(_, lanes)| lanes.both()) {
            let lane = locked(lane);
            let is_open = lane.is_open(now, answered);
            open |= is_open;
            open_and_known |= is_open && lane.acknowledged().is_some();
            acknowledged = acknowledged.max(lane.acknowledged());
        }
        let goes_on =
            acknowledged.is_some_and(|last| now.saturating_duration_since(last) < self.settings.stall);
        let in_the_way = open_and_known || (open && acknowledged.is_none());
        (in_the_way && !goes_on).then_some(Obstacle::Stalled)
    }

    /// The topic whose records were acknowledged last, if there is one.
    pub fn known_topic(&self) -> Option<Arc<str>> {
        let topics = self.topics().into_iter();
        let known = topics.filter_map(|(topic, lanes)| Some((lanes.acknowledged()?, topic)));
        known.max().map(|(_, topic)| topic)
    }

    fn topic(&self, topic: &str) -> (Arc<str>, Arc<Lanes>) {
        if let Some(found) = self.topics.read().unwrap_or_else(PoisonError::into_inner).get(topic) {
            return found;
        }
        let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = topics.get(topic) {
            return found;
        }
        if topics.lanes.len() >= topics.most {
            topics.forget();
        }
        let topic = Arc::<str>::from(topic);
        let lanes = Arc::new(Lanes {
            replicas: Mutex::new(Lane::new()),
            leader: Mutex::new(Lane::new()),
            overdue: AtomicUsize::new(0),
        });
        topics.lanes.insert(Arc::clone(&topic), Arc::clone(&lanes));
        (topic, lanes)
    }

    fn topics(&self) -> Vec<(Arc<str>, Arc<Lanes>)> {
        let topics = self.topics.read().unwrap_or_else(PoisonError::into_inner);
        topics.lanes.iter().map(|(topic, lanes)| (Arc::clone(topic), Arc::clone(lanes))).collect()
    }

    fn answered(&self, now: Instant) {
        let mut reach = locked(&self.reach);
        let change = reach.answered(now);
        self.lost.store(reach.is_lost(), Ordering::Release);
        drop(reach);
        if let Some(reach::Change::Found { lost }) = change {
            self.metrics.cluster_open(false);
            let for_ms = now.saturating_duration_since(lost).as_millis();
            tracing::info!(cluster = self.metrics.cluster(), for_ms, "Kafka answers again");
        }
    }

    fn settle(&self, permit: &Permit, settlement: Settlement, now: Instant) {
        let lane = permit.lanes.of(permit.ack);
        let change = locked(lane).settle(now, permit.admitted, settlement, &self.settings);
        if settlement == Settlement::Acknowledged {
            self.answered(now);
        }
        self.tell(&permit.topic, permit.ack, change, now);
    }

    /// A record has been acknowledged that had been given up.
    fn acknowledged_late(&self, permit: &Permit, now: Instant) {
        let change = locked(permit.lanes.of(permit.ack)).acknowledge(now);
        self.answered(now);
        self.tell(&permit.topic, permit.ack, change, now);
    }

    fn tell(&self, topic: &str, ack: Ack, change: Option<lane::Change>, now: Instant) {
        let ack = if ack == Ack::Leader { "leader" } else { "all" };
        let cluster = self.metrics.cluster();
        match change {
            None => {}
            Some(lane::Change::Opened(cause)) => {
                self.open_lanes.fetch_add(1, Ordering::AcqRel);
                self.metrics.topics_open(1);
                match cause {
                    Cause::Stalled => {
                        self.metrics.opened("stalled");
                        let for_ms = self.settings.stall.as_millis();
                        tracing::warn!(
                            cluster,
                            topic,
                            ack,
                            for_ms,
                            "records wait for Kafka and none is acknowledged; further ones are answered 503"
                        );
                    }
                    Cause::Failing => {
                        self.metrics.opened("failing");
                        tracing::warn!(
                            cluster,
                            topic,
                            ack,
                            "records fail in a row; further ones are answered 503"
                        );
                    }
                }
            }
            Some(lane::Change::TrialFailed { pause }) => {
                let pause_ms = pause.as_millis();
                tracing::warn!(
                    cluster,
                    topic,
                    ack,
                    pause_ms,
                    "a record that was let through to try was not acknowledged"
                );
            }
            Some(lane::Change::Closed { opened }) => {
                self.open_lanes.fetch_sub(1, Ordering::AcqRel);
                self.metrics.topics_open(-1);
                let for_ms = now.saturating_duration_since(opened).as_millis();
                tracing::info!(cluster, topic, ack, for_ms, "records are acknowledged again");
            }
            Some(lane::Change::Forgotten { opened }) => {
                self.open_lanes.fetch_sub(1, Ordering::AcqRel);
                self.metrics.topics_open(-1);
                let for_ms = now.saturating_duration_since(opened).as_millis();
                tracing::info!(
                    cluster,
                    topic,
                    ack,
                    for_ms,
                    "no records have come any more; the next ones are let through"
                );
            }
        }
    }
}

impl Permit {
    /// This became of the record.
    pub fn settle(mut self, settlement: Settlement) {
        self.settlement = settlement;
    }

    /// It has taken too long: that counts as a failure. Should it be acknowledged after all, that counts too.
    pub fn overdue(&mut self) {
        if !std::mem::replace(&mut self.overdue, true) {
            self.lanes.overdue.fetch_add(1, Ordering::AcqRel);
            self.breaker.settle(self, Settlement::Failed, Instant::now());
        }
    }

    /// Whether there are records of its topic that were given up, and have no answer yet.
    pub fn has_overdue(&self) -> bool {
        self.lanes.overdue.load(Ordering::Acquire) > 0
    }

    /// The topic of the record.
    pub fn topic(&self) -> &Arc<str> {
        &self.topic
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.overdue {
            self.lanes.overdue.fetch_sub(1, Ordering::AcqRel);
            if self.settlement == Settlement::Acknowledged {
                self.breaker.acknowledged_late(self, Instant::now());
            }
            return;
        }
        self.breaker.settle(self, self.settlement, Instant::now());
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::registry::Registry;

    const SETTINGS: Settings = Settings {
        stall: Duration::from_secs(2),
        failures: 3,
        first_pause: Duration::from_secs(1),
        longest_pause: Duration::from_secs(4),
    };

    fn breaker() -> (Arc<Breaker>, impl Fn(u64) -> Instant) {
        let start = Instant::now();
        let breaker = Arc::new(Breaker::with(
            SETTINGS,
            Arc::new(Metrics::register(&mut Registry::default())).of_cluster("default"),
        ));
        (breaker, move |seconds| start + Duration::from_secs(seconds))
    }

    /// Settles it at a time of the test's choice.
    fn settle(permit: &Permit, settlement: Settlement, now: Instant) {
        permit.breaker.settle(permit, settlement, now);
    }

    #[test]
    fn a_cluster_that_does_not_answer_is_in_the_way_of_all_topics() {
        let (breaker, at) = breaker();
        assert_eq!(breaker.obstacle(at(0)), None);
        breaker.probe_unanswered(at(2), at(0));
        assert_eq!(breaker.obstacle(at(2)), Some(Obstacle::Unanswered));
        for topic in ["a", "b"] {
            breaker.admit(topic, Ack::All, at(2)).unwrap_err();
        }
        breaker.probe_answered(at(3));
        assert_eq!(breaker.obstacle(at(3)), None);
        breaker.admit("a", Ack::All, at(3)).unwrap();
    }

    #[test]
    fn a_topic_that_takes_nothing_is_in_the_way_of_none_but_itself() {
        let (breaker, at) = breaker();
        let before = breaker.admit("good", Ack::All, at(0)).unwrap();
        settle(&before, Settlement::Acknowledged, at(0));
        let waiting = breaker.admit("bad", Ack::All, at(0)).unwrap();
        assert_eq!(breaker.admit("bad", Ack::All, at(2)).unwrap_err(), Rejected);
        assert_eq!(breaker.wait("bad", Ack::All, at(2)), Duration::from_secs(1));
        assert_eq!(breaker.wait("good", Ack::All, at(2)), Duration::ZERO);
        assert!(breaker.is_disturbed());
        let good = breaker.admit("good", Ack::All, at(2)).unwrap();
        settle(&good, Settlement::Acknowledged, at(2));
        assert_eq!(breaker.obstacle(at(3)), None);
        // Even when nothing goes on elsewhere: "bad" may not exist at all.
        assert_eq!(breaker.obstacle(at(60)), None);
        settle(&waiting, Settlement::Failed, at(61));
        breaker.probe_answered(at(62));
        let trial = breaker.admit("bad", Ack::All, at(62)).unwrap();
        settle(&trial, Settlement::Refused, at(62));
        assert!(!breaker.is_disturbed());
        std::mem::forget((before, waiting, good, trial));
    }

    #[test]
    fn a_stall_of_what_used_to_work_is_in_the_way_until_it_can_be_tried_again() {
        let (breaker, at) = breaker();
        let before = breaker.admit("t", Ack::All, at(0)).unwrap();
        settle(&before, Settlement::Acknowledged, at(0));
        assert_eq!(breaker.known_topic().as_deref(), Some("t"));
        let waiting = breaker.admit("t", Ack::All, at(1)).unwrap();
        assert_eq!(breaker.obstacle(at(2)), None);
        assert_eq!(breaker.obstacle(at(3)), Some(Obstacle::Stalled));
        settle(&waiting, Settlement::Failed, at(6));
        assert_eq!(breaker.obstacle(at(6)), Some(Obstacle::Stalled));
        // The cluster answers: ready, and the first record is the trial.
        breaker.probe_answered(at(7));
        assert_eq!(breaker.obstacle(at(7)), None);
        let trial = breaker.admit("t", Ack::All, at(8)).unwrap();
        breaker.admit("t", Ack::All, at(8)).unwrap_err();
        settle(&trial, Settlement::Acknowledged, at(8));
        let after = breaker.admit("t", Ack::All, at(8)).unwrap();
        assert!(!breaker.is_disturbed());
        std::mem::forget((before, waiting, trial, after));
    }

    #[test]
    fn an_acknowledgement_is_an_answer_of_the_cluster() {
        let (breaker, at) = breaker();
        let waiting = breaker.admit("t", Ack::All, at(0)).unwrap();
        breaker.probe_unanswered(at(2), at(1));
        settle(&waiting, Settlement::Acknowledged, at(3));
        assert_eq!(breaker.obstacle(at(3)), None);
        breaker.admit("t", Ack::All, at(3)).unwrap();
        std::mem::forget(waiting);
    }

    #[test]
    fn a_cluster_that_answers_no_probe_is_found_by_a_record_that_is_tried() {
        let (breaker, at) = breaker();
        let failed = breaker.admit("stalled", Ack::All, at(0)).unwrap();
        breaker.probe_unanswered(at(2), at(0));
        breaker.check(at(2));
        settle(&failed, Settlement::Failed, at(5));
        for now in 2..12 {
            breaker.admit("t", Ack::All, at(now)).unwrap_err();
        }
        let unanswered = breaker.admit("t", Ack::All, at(12)).unwrap();
        for now in 12..22 {
            breaker.admit("t", Ack::All, at(now)).unwrap_err();
        }
        // The records of this topic still wait, which takes no trial from others.
        breaker.admit("t", Ack::All, at(22)).unwrap_err();
        // It is one for the topic as well, although the cluster has answered nothing.
        let trial = breaker.admit("stalled", Ack::All, at(22)).unwrap();
        breaker.admit("u", Ack::All, at(22)).unwrap_err();
        settle(&trial, Settlement::Acknowledged, at(23));
        assert_eq!(breaker.known_topic().as_deref(), Some("stalled"));
        for topic in ["stalled", "u"] {
            drop(breaker.admit(topic, Ack::All, at(23)).unwrap());
        }
        std::mem::forget((failed, unanswered, trial));
    }

    #[test]
    fn what_leaders_acknowledge_does_not_hide_that_replicas_do_not() {
        let (breaker, at) = breaker();
        let waiting = breaker.admit("t", Ack::All, at(0)).unwrap();
        for now in 0..2 {
            let by_leader = breaker.admit("t", Ack::Leader, at(now)).unwrap();
            settle(&by_leader, Settlement::Acknowledged, at(now));
            std::mem::forget(by_leader);
        }
        breaker.check(at(2));
        for ack in [Ack::All, Ack::None] {
            breaker.admit("t", ack, at(2)).unwrap_err();
        }
        assert_eq!(breaker.wait("t", Ack::All, at(2)), Duration::from_secs(1));
        assert_eq!(breaker.wait("t", Ack::Leader, at(2)), Duration::ZERO);
        drop(breaker.admit("t", Ack::Leader, at(2)).unwrap());
        assert_eq!(breaker.obstacle(at(2)), None, "some records are acknowledged");
        std::mem::forget(waiting);
    }

    #[test]
    fn a_permit_that_is_dropped_was_never_handed_over() {
        let (breaker, at) = breaker();
        drop(breaker.admit("t", Ack::All, at(0)).unwrap());
        breaker.check(at(60));
        assert!(!breaker.is_disturbed());
    }

    #[test]
    fn topics_are_forgotten_when_they_are_many_and_idle() {
        let (breaker, at) = breaker();
        let kept = breaker.admit("kept", Ack::All, at(0)).unwrap();
        for topic in 0..3 * TOPICS {
            drop(breaker.admit(&topic.to_string(), Ack::All, at(0)).unwrap());
        }
        let lanes = breaker.topics();
        assert!(lanes.len() <= TOPICS + 1, "{}", lanes.len());
        assert!(lanes.iter().any(|(topic, _)| &**topic == "kept"));
        drop(kept);
    }

    #[test]
    fn topics_that_are_not_written_again_do_not_stay_open() {
        let (breaker, at) = breaker();
        let waiting: Vec<_> = (0..2 * TOPICS)
            .map(|topic| breaker.admit(&topic.to_string(), Ack::All, at(0)).unwrap())
            .collect();
        breaker.check(at(2));
        for failed in waiting {
            settle(&failed, Settlement::Failed, at(5));
            std::mem::forget(failed);
        }
        assert!(breaker.is_disturbed());
        breaker.probe_answered(at(6));
        for now in [6, 10] {
            breaker.check(at(now));
            assert!(breaker.is_disturbed(), "somebody may yet come");
        }
        breaker.check(at(11));
        assert!(!breaker.is_disturbed());
        assert_eq!(breaker.open_lanes.load(Ordering::Acquire), 0);
    }
}
