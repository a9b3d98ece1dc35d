//! Parked topics: their records wait while those of others go on, because Kafka does not have the topic, or because it gave
//! up on one of its records with an error that may pass or not. A state machine whose every input comes with its time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::producer::Patience;

/// How often a record is sent by itself, at most, while Kafka gives up on it.
const ATTEMPTS: u32 = 5;

/// The longest pause between two attempts, as a multiple of the first.
const PAUSE_FACTOR: u32 = 8;

/// How long nobody is asked for a topic after Kafka did not say whether it has one.
const UNKNOWN_PAUSE: Duration = Duration::from_secs(5);

/// A record that waits.
#[derive(Clone, Copy, Debug, Default)]
struct Wait {
    /// Whether it has to be sent by itself.
    alone: bool,
    /// How often that failed.
    attempts: u32,
}

/// A topic that is parked.
#[derive(Debug)]
struct Topic {
    waiting: BTreeMap<u64, Wait>,
    /// The one of them that is being sent by itself.
    in_flight: Option<u64>,
    /// Since when Kafka does not have the topic, and in which words it says so.
    missing: Option<(Instant, String)>,
    /// Whether to ask for it before anything is sent.
    ask: bool,
    pause: Duration,
    not_before: Instant,
    /// When it was last waited for in vain.
    spent: Option<Instant>,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Ask whether Kafka has this topic.
    Ask(Arc<str>),
    /// Send this record of the topic by itself.
    Send(Arc<str>, u64),
}

/// What becomes of records that waited.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// They go to Kafka, with others, in this order.
    pub(super) released: Vec<u64>,
    /// They become dead letters, for this reason.
    pub(super) dead: Vec<(u64, String)>,
}

/// All topics that are parked.
#[derive(Debug)]
pub(super) struct ParkedTopics {
    topics: BTreeMap<Arc<str>, Topic>,
    patience: Patience,
    ask_not_before: Instant,
}

impl ParkedTopics {
    pub(super) fn new(patience: Patience, now: Instant) -> Self {
        Self { topics: BTreeMap::new(), patience, ask_not_before: now }
    }

    /// Whether further records of the topic have to wait too.
    pub(super) fn is_parked(&self, topic: &str) -> bool {
        self.topics.get(topic).is_some_and(|topic| !topic.waiting.is_empty())
    }

    /// Whether this record of the topic waits.
    #[cfg(test)]
    pub(super) fn has(&self, topic: &str, sequence: u64) -> bool {
        self.topics.get(topic).is_some_and(|topic| topic.waiting.contains_key(&sequence))
    }

    /// A record waits behind others of its topic. `alone`: to be sent by itself.
    pub(super) fn park(&mut self, topic: &Arc<str>, sequence: u64, alone: bool, now: Instant) {
        self.topic(topic, now).waiting.entry(sequence).or_default().alone |= alone;
    }

    /// Kafka does not have the topic of a record.
    pub(super) fn missing(&mut self, topic: &Arc<str>, sequence: u64, reason: String, now: Instant) {
        let pause = self.patience.pause;
        let topic = self.topic(topic, now);
        topic.waiting.entry(sequence).or_default();
        topic.landed(sequence);
        if !std::mem::replace(&mut topic.ask, true) && topic.missing.is_some() {
            // It had been said to be there.
            topic.not_before = now + pause;
        }
        topic.missing.get_or_insert((now, reason));
    }

    /// Kafka gave up on a record. `alone`: sent by itself.
    pub(super) fn failed(
        &mut self,
        topic: &Arc<str>,
        sequence: u64,
        alone: bool,
        reason: String,
        now: Instant,
    ) -> Verdict {
        let patience = self.patience;
        let topic = self.topic(topic, now);
        topic.landed(sequence);
        let wait = topic.waiting.entry(sequence).or_default();
        wait.alone = true;
        if !alone {
            return Verdict::default();
        }
        wait.attempts += 1;
        let over = wait.attempts >= ATTEMPTS;
        if over || topic.is_spent(patience, now) {
            if over {
                topic.spent = Some(now);
            }
            topic.waiting.remove(&sequence);
            topic.resume(patience, now);
            return Verdict { dead: vec![(sequence, reason)], released: topic.release() };
        }
        topic.delay(patience, now);
        Verdict::default()
    }

    /// A record that was sent by itself came back because Kafka is out of reach, or out of order: that does not count.
    pub(super) fn unanswered(&mut self, topic: &Arc<str>, sequence: u64, now: Instant) {
        let patience = self.patience;
        let topic = self.topic(topic, now);
        topic.landed(sequence);
        topic.waiting.entry(sequence).or_default().alone = true;
        topic.delay(patience, now);
    }

    /// A record is done with: it is in Kafka, or refused for good, so Kafka has its topic. Returns those that need not wait
    /// any more.
    pub(super) fn settled(&mut self, topic: &str, sequence: u64, now: Instant) -> Vec<u64> {
        let patience = self.patience;
        let Some(topic) = self.topics.get_mut(topic) else { return Vec::new() };
        topic.landed(sequence);
        topic.missing = None;
        if topic.waiting.remove(&sequence).is_none() {
            return Vec::new();
        }
        topic.resume(patience, now);
        topic.release()
    }

    /// Kafka has the topic. Returns those of its records that need not wait any more.
    pub(super) fn there(&mut self, topic: &str, now: Instant) -> Vec<u64> {
        let patience = self.patience;
        let Some(topic) = self.topics.get_mut(topic) else { return Vec::new() };
        topic.ask = false;
        topic.resume(patience, now);
        topic.release()
    }

    /// Kafka still does not have the topic. Returns what becomes dead letters.
    pub(super) fn absent(&mut self, topic: &str, now: Instant) -> Vec<(u64, String)> {
        let patience = self.patience;
        let Some(topic) = self.topics.get_mut(topic) else { return Vec::new() };
        topic.not_before = now + patience.pause;
        let Some((since, reason)) = &topic.missing else { return Vec::new() };
        let over = now.saturating_duration_since(*since) >= patience.missing;
        if !over && !topic.is_spent(patience, now) {
            return Vec::new();
        }
        let dead = topic.waiting.keys().map(|sequence| (*sequence, reason.clone())).collect::<Vec<_>>();
        topic.waiting.clear();
        if over {
            topic.spent = Some(now);
        }
        (topic.missing, topic.ask) = (None, false);
        dead
    }

    /// Kafka does not say whether it has a topic.
    pub(super) fn unknown(&mut self, now: Instant) {
        self.ask_not_before = now + UNKNOWN_PAUSE.min(self.patience.missing / 2);
    }

    /// The next that is to be done now: for the topic that has been due for longest, so that each has its turn, however many
    /// there are.
    pub(super) fn next(&self, now: Instant) -> Option<Step> {
        let due = self.topics.iter().filter_map(|(name, topic)| {
            let first = topic.waiting.first_key_value()?;
            if now < topic.not_before || topic.in_flight.is_some() {
                return None;
            }
            match topic.ask {
                true if now < self.ask_not_before => None,
                true => Some((topic.not_before, Step::Ask(Arc::clone(name)))),
                false => Some((topic.not_before, Step::Send(Arc::clone(name), *first.0))),
            }
        });
        due.min_by_key(|(since, _)| *since).map(|(_, step)| step)
    }

    /// A record is on its way by itself.
    pub(super) fn sent(&mut self, topic: &str, sequence: u64) {
        if let Some(topic) = self.topics.get_mut(topic) {
            topic.in_flight = Some(sequence);
        }
    }

    /// Nothing is on its way any more.
    pub(super) fn all_came_back(&mut self) {
        for topic in self.topics.values_mut() {
            topic.in_flight = None;
        }
    }

    /// Forgets topics of which there is nothing to remember.
    pub(super) fn forget(&mut self, now: Instant) {
        let patience = self.patience;
        self.topics.retain(|_, topic| {
            !topic.waiting.is_empty() || topic.missing.is_some() || topic.is_spent(patience, now)
        });
    }

    /// Whether no record waits.
    pub(super) fn is_empty(&self) -> bool {
        self.topics.values().all(|topic| topic.waiting.is_empty())
    }

    fn topic(&mut self, name: &Arc<str>, now: Instant) -> &mut Topic {
        let pause = self.patience.pause;
        self.topics.entry(Arc::clone(name)).or_insert_with(|| Topic {
            waiting: BTreeMap::new(),
            in_flight: None,
            missing: None,
            ask: false,
            pause,
            not_before: now,
            spent: None,
        })
    }
}

impl Topic {
    fn landed(&mut self, sequence: u64) {
        if self.in_flight == Some(sequence) {
            self.in_flight = None;
        }
    }

    fn is_spent(&self, patience: Patience, now: Instant) -> bool {
        self.spent.is_some_and(|at| now.saturating_duration_since(at) < patience.spent)
    }

    fn delay(&mut self, patience: Patience, now: Instant) {
        self.not_before = now + self.pause;
        self.pause = (self.pause * 2).min(patience.pause * PAUSE_FACTOR);
    }

    fn resume(&mut self, patience: Patience, now: Instant) {
        (self.pause, self.not_before) = (patience.pause, now);
    }

    /// Once none has to be sent by itself, none has to wait.
    fn release(&mut self) -> Vec<u64> {
        if self.ask || self.waiting.values().any(|wait| wait.alone) {
            return Vec::new();
        }
        std::mem::take(&mut self.waiting).into_keys().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience {
        stall: Duration::from_secs(30),
        proof: Duration::from_secs(10),
        missing: Duration::from_secs(30),
        pause: Duration::from_secs(1),
        spent: Duration::from_secs(300),
    };

    fn seconds(number: u64) -> Duration {
        Duration::from_secs(number)
    }

    #[test]
    fn what_kafka_gives_up_on_is_tried_by_itself_with_growing_pauses_and_then_dead() {
        let start = Instant::now();
        let (mut parked, topic): (_, Arc<str>) = (ParkedTopics::new(PATIENCE, start), "t".into());
        for sequence in [3, 4] {
            assert_eq!(parked.failed(&topic, sequence, false, "why".into(), start), Verdict::default());
        }
        parked.park(&topic, 7, false, start);
        assert!(parked.is_parked("t") && !parked.is_parked("u"));
        let mut now = start;
        for pause in [1, 2, 4, 8] {
            assert_eq!(parked.next(now), Some(Step::Send(Arc::clone(&topic), 3)));
            parked.sent(&topic, 3);
            assert_eq!(parked.next(now), None);
            assert_eq!(parked.failed(&topic, 3, true, "why".into(), now), Verdict::default());
            assert_eq!(parked.next(now + seconds(pause) - Duration::from_millis(1)), None);
            now += seconds(pause);
        }
        parked.sent(&topic, 3);
        let verdict = parked.failed(&topic, 3, true, "why".into(), now);
        assert_eq!((verdict.dead, verdict.released), (vec![(3, "why".to_owned())], vec![]));
        // The next is tried by itself too, at once, and the one that had only waited for it goes with others.
        assert_eq!(parked.next(now), Some(Step::Send(Arc::clone(&topic), 4)));
        parked.sent(&topic, 4);
        assert_eq!(parked.settled("t", 4, now), [7]);
        assert!(!parked.is_parked("t") && parked.is_empty());
        // The topic is not waited for as long again.
        let _ = parked.failed(&topic, 9, false, "why".into(), now);
        parked.sent(&topic, 9);
        assert_eq!(parked.failed(&topic, 9, true, "why".into(), now).dead.len(), 1);
        parked.forget(now + seconds(299));
        let _ = parked.failed(&topic, 10, false, "why".into(), now + seconds(300));
        let verdict = parked.failed(&topic, 10, true, "why".into(), now + seconds(300));
        assert_eq!(verdict, Verdict::default());
    }

    #[test]
    fn an_outage_counts_for_nothing() {
        let start = Instant::now();
        let (mut parked, topic): (_, Arc<str>) = (ParkedTopics::new(PATIENCE, start), "t".into());
        let _ = parked.failed(&topic, 1, false, "why".into(), start);
        let mut now = start;
        for _ in 0..100 {
            assert_eq!(parked.next(now), Some(Step::Send(Arc::clone(&topic), 1)));
            parked.sent(&topic, 1);
            parked.unanswered(&topic, 1, now);
            now += seconds(8);
        }
        parked.sent(&topic, 1);
        assert_eq!(parked.settled("t", 1, now), Vec::<u64>::new());
        assert!(parked.is_empty());
    }

    #[test]
    fn a_topic_that_is_missing_has_its_time_to_come_back_and_then_goes_out_in_order() {
        let start = Instant::now();
        let (mut parked, topic): (_, Arc<str>) = (ParkedTopics::new(PATIENCE, start), "t".into());
        parked.missing(&topic, 2, "gone".into(), start);
        parked.park(&topic, 5, false, start);
        parked.missing(&topic, 1, "gone".into(), start);
        let mut now = start;
        while now < start + seconds(29) {
            assert_eq!(parked.next(now), Some(Step::Ask(Arc::clone(&topic))));
            assert_eq!(parked.absent("t", now), []);
            assert_eq!(parked.next(now), None);
            now += seconds(1);
        }
        assert_eq!(parked.there("t", now), [1, 2, 5]);
        // It was not, for the producer: its time is not over again, and it is not asked at once.
        parked.missing(&topic, 1, "gone".into(), now);
        assert_eq!(parked.next(now), None);
        assert_eq!(parked.absent("t", now + seconds(1)), [(1, "gone".to_owned())]);
        // Later ones have no time.
        parked.missing(&topic, 8, "gone".into(), now + seconds(2));
        assert_eq!(parked.absent("t", now + seconds(2)).len(), 1);
        // Nobody knows.
        parked.missing(&topic, 9, "gone".into(), now + seconds(3));
        parked.unknown(now + seconds(3));
        assert_eq!(parked.next(now + seconds(7)), None);
        assert_eq!(parked.next(now + seconds(8)), Some(Step::Ask(Arc::clone(&topic))));
    }

    #[test]
    fn a_topic_that_has_a_record_settled_has_all_its_time_once_more() {
        let start = Instant::now();
        let (mut parked, topic): (_, Arc<str>) = (ParkedTopics::new(PATIENCE, start), "t".into());
        parked.missing(&topic, 1, "gone".into(), start);
        assert_eq!(parked.there("t", start + seconds(1)), [1]);
        let _ = parked.settled("t", 1, start + seconds(2));
        parked.missing(&topic, 2, "gone".into(), start + seconds(40));
        assert_eq!(parked.absent("t", start + seconds(60)), []);
        assert_eq!(parked.absent("t", start + seconds(70)).len(), 1);
    }

    #[test]
    fn each_of_many_topics_has_its_turn() {
        let start = Instant::now();
        let mut parked = ParkedTopics::new(PATIENCE, start);
        let topics: [Arc<str>; 3] = ["a", "b", "c"].map(Arc::from);
        for (sequence, topic) in (1..).zip(&topics) {
            parked.missing(topic, sequence, "gone".into(), start);
        }
        // Each answer takes so long that the first topic is due again before the last has been asked for.
        let mut now = start;
        for topic in topics.iter().cycle().take(9) {
            assert_eq!(parked.next(now), Some(Step::Ask(Arc::clone(topic))));
            now += seconds(1);
            assert_eq!(parked.absent(topic, now), []);
            now += seconds(1);
        }
    }
}
