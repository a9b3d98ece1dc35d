//! The topics that librdkafka has been told of. It keeps each of them, and asks Kafka about it, until the client ends, so
//! how many there may be is bounded; and so the clients are replaced when there are that many, and some of no use any more.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use crate::producer::{ClusterOptions, Options};

/// How long nobody has written a topic that is forgotten when others need its place.
const REST: Duration = Duration::from_secs(600);

/// The topics of one cluster's producers, by name.
#[derive(Debug)]
pub(super) struct Names {
    /// Those that the configuration names, which are as many as it names.
    named: HashSet<Box<str>>,
    /// And when each of the others was last taken, in milliseconds since `start`.
    others: RwLock<HashMap<Box<str>, AtomicU64>>,
    /// How many others there may be.
    most: usize,
    start: Instant,
    pub(super) rest: Duration,
}

impl Names {
    /// None yet.
    pub(super) fn new(options: &Options, cluster: &ClusterOptions) -> Self {
        let allowed = cluster.allowed_topics.iter().filter_map(|pattern| pattern.exact());
        let named = cluster.topics.iter().map(String::as_str).chain(allowed).map(Box::from).collect();
        let most = usize::try_from(options.max_topics).unwrap_or(usize::MAX);
        Self { named, others: RwLock::default(), most, start: Instant::now(), rest: REST }
    }

    /// Whether records of this topic may be handed over. If so, it is one of those that are there from now on.
    pub(super) fn take(&self, topic: &str, now: Instant) -> bool {
        if self.named.contains(topic) {
            return true;
        }
        let now = self.millis(now);
        let others = self.others.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(taken) = others.get(topic) {
            taken.store(now, Ordering::Relaxed);
            return true;
        }
        if others.len() >= self.most {
            return false;
        }
        drop(others);
        let mut others = self.others.write().unwrap_or_else(PoisonError::into_inner);
        if others.len() < self.most {
            others.insert(topic.into(), AtomicU64::new(now));
        }
        others.contains_key(topic)
    }

    /// Whether there is no more room, and there would be some without those that nobody has written for a while.
    pub(super) fn can_forget(&self, now: Instant) -> bool {
        let others = self.others.read().unwrap_or_else(PoisonError::into_inner);
        others.len() >= self.most && others.values().any(|taken| self.rests(taken, now))
    }

    /// Forgets those. The clients that were told of them are to be gone by then.
    pub(super) fn forget(&self, now: Instant) -> usize {
        let mut others = self.others.write().unwrap_or_else(PoisonError::into_inner);
        let before = others.len();
        others.retain(|_, taken| !self.rests(taken, now));
        before - others.len()
    }

    fn rests(&self, taken: &AtomicU64, now: Instant) -> bool {
        let rested = self.millis(now).saturating_sub(taken.load(Ordering::Relaxed));
        u128::from(rested) >= self.rest.as_millis()
    }

    fn millis(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.start).as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let mut options = Options { max_topics: 2, ..Options::example() };
        options.reloadable.allowed_topics = ["a", "b.*"].map(|pattern| pattern.parse().unwrap()).into();
        Names::new(&options, &options.default_cluster("x"))
    }

    #[test]
    fn those_that_are_named_do_not_count_and_those_that_were_taken_stay() {
        let (names, now) = (names(), Instant::now());
        for (topic, taken) in
            [("b.1", true), ("b.2", true), ("b.3", false), ("b.1", true), ("a", true), ("b.3", false)]
        {
            assert_eq!(names.take(topic, now), taken, "{topic}");
        }
    }

    #[test]
    fn those_that_rest_make_room_when_there_is_none_and_others_stay() {
        let (names, start) = (names(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(names.take("b.1", at(0)));
        assert!(!names.can_forget(at(1_000)), "there is room");
        assert!(names.take("b.2", at(10)));
        assert!(names.take("b.1", at(500)), "written again");
        assert!(!names.can_forget(at(600)) && !names.take("b.3", at(600)));
        assert!(names.can_forget(at(611)));
        assert_eq!(names.forget(at(611)), 1);
        for (topic, taken) in [("b.3", true), ("b.1", true), ("b.2", false)] {
            assert_eq!(names.take(topic, at(611)), taken, "{topic}");
        }
    }
}
