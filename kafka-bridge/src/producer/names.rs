//! The topics that librdkafka has been told of. It keeps each of them, and asks Kafka about it, until the client ends, so
//! how many there may be is bounded.

use std::collections::HashSet;
use std::sync::{PoisonError, RwLock};

use crate::config::{Cluster, Config};

/// The topics of one cluster's producers, by name.
#[derive(Debug)]
pub(super) struct Names {
    /// Those that the configuration names, which are as many as it names.
    named: HashSet<Box<str>>,
    others: RwLock<HashSet<Box<str>>>,
    /// How many others there may be.
    most: usize,
}

impl Names {
    /// None yet.
    pub(super) fn new(config: &Config, cluster: &Cluster) -> Self {
        let allowed = cluster.allowed_topics.iter().filter_map(|pattern| pattern.exact());
        let named = cluster.topics.iter().map(String::as_str).chain(allowed).map(Box::from).collect();
        let most = usize::try_from(config.max_topics).unwrap_or(usize::MAX);
        Self { named, others: RwLock::default(), most }
    }

    /// Whether records of this topic may be handed over. If so, it is one of those that are there from now on.
    pub(super) fn take(&self, topic: &str) -> bool {
        if self.named.contains(topic) {
            return true;
        }
        let others = self.others.read().unwrap_or_else(PoisonError::into_inner);
        if others.contains(topic) || others.len() >= self.most {
            return others.contains(topic);
        }
        drop(others);
        let mut others = self.others.write().unwrap_or_else(PoisonError::into_inner);
        if others.len() < self.most {
            others.insert(topic.into());
        }
        others.contains(topic)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[test]
    fn those_that_are_named_do_not_count_and_those_that_were_taken_stay() {
        let flags = ["kafka-bridge", "--embedded-broker", "--max-topics", "2", "--allowed-topics", "a,b.*"];
        let config = Config::try_parse_from(flags).unwrap();
        let names = Names::new(&config, &config.default_cluster("x"));
        for (topic, taken) in
            [("b.1", true), ("b.2", true), ("b.3", false), ("b.1", true), ("a", true), ("b.3", false)]
        {
            assert_eq!(names.take(topic), taken, "{topic}");
        }
    }
}
