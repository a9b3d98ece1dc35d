//! Looks at topics before anybody writes them: whether they are there, whether the bridge may see them, and whether
//! they take records as large as the bridge does.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::ClientContext;
use rdkafka::admin::{AdminClient, AdminOptions, ConfigResource, OwnedResourceSpecifier, ResourceSpecifier};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};

use super::settings;
use crate::health::{Health, Readiness};
use crate::producer::{ClusterOptions, Options};

/// How long a question may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long after one look there is another.
const PAUSE: Duration = Duration::from_secs(2);

/// The topics of one cluster that are looked at.
#[derive(Debug)]
pub struct TopicCheck {
    cluster: String,
    settings: ClientConfig,
    /// Without them the cluster is not ready.
    required: Vec<String>,
    /// Others that are named; without them it is.
    named: Vec<String>,
    max_record_bytes: u32,
    state: RwLock<State>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// Nobody has looked yet.
    Unchecked,
    /// This is wrong with topics that are required.
    Wrong(String),
    /// All that are required can be seen.
    Good,
}

/// What is wrong with a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Missing,
    Unauthorised,
    /// It is there and cannot be written yet, for this reason.
    NotYet(RDKafkaErrorCode),
}

impl Fault {
    fn of(code: RDKafkaErrorCode) -> Self {
        match code {
            RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic => Self::Missing,
            RDKafkaErrorCode::TopicAuthorizationFailed => Self::Unauthorised,
            other => Self::NotYet(other),
        }
    }

    /// For `/readyz`.
    fn text(self, topic: &str) -> String {
        match self {
            Self::Missing => format!("topic {topic} does not exist"),
            Self::Unauthorised => format!("topic {topic} may not be described"),
            Self::NotYet(_) => format!("topic {topic} cannot be written yet"),
        }
    }

    /// What to do about it, for the log.
    fn next_step(self) -> String {
        match self {
            Self::Missing => "create it, or take its name out of the configuration".to_owned(),
            Self::Unauthorised => {
                "give the bridge's principal an ACL for DESCRIBE, and for WRITE, on it".to_owned()
            }
            Self::NotYet(code) => format!("Kafka says: {code}"),
        }
    }
}

/// A client that only asks.
type Asker = AdminClient<Quiet>;

struct Quiet(String);

impl ClientContext for Quiet {
    fn log(&self, _level: RDKafkaLogLevel, facility: &str, text: &str) {
        // The producer tells what there is to tell of the cluster.
        tracing::debug!(cluster = self.0, facility, "librdkafka, looking at topics: {text}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(cluster = self.0, %error, reason, "librdkafka, looking at topics");
    }
}

impl TopicCheck {
    /// The topics that the configuration names; `None` if it names none.
    pub fn new(options: &Options, cluster: &ClusterOptions) -> Option<Arc<Self>> {
        let required = cluster.topics.clone();
        let named: Vec<String> = cluster
            .allowed_topics
            .iter()
            .filter_map(|pattern| pattern.exact().map(str::to_owned))
            .filter(|topic| !required.contains(topic))
            .collect();
        let state = if required.is_empty() { State::Good } else { State::Unchecked };
        (!required.is_empty() || !named.is_empty()).then(|| {
            Arc::new(Self {
                cluster: cluster.name.clone(),
                settings: settings::asker(options, cluster),
                required,
                named,
                max_record_bytes: options.max_record_bytes,
                state: RwLock::new(state),
            })
        })
    }

    /// What is wrong with topics that are required; `None` if nothing is.
    pub fn not_ready_reason(&self) -> Option<String> {
        match &*self.state.read().unwrap_or_else(PoisonError::into_inner) {
            State::Good => None,
            State::Unchecked => Some("starting: the required topics have not been looked at yet".to_owned()),
            State::Wrong(text) => Some(text.clone()),
        }
    }

    /// Looks at the topics once the cluster answers, and again until those that are required can be seen.
    pub async fn run(self: Arc<Self>, health: Arc<Health>) {
        while health.readiness() == Readiness::Starting {
            tokio::time::sleep(PAUSE / 10).await;
        }
        // It is dropped with the last look, and its connections with it.
        let client = loop {
            match settings::make::<_, Asker>(&self.settings, Quiet(self.cluster.clone())) {
                Ok(client) => break Arc::new(client),
                Err(error) => {
                    tracing::error!(cluster = self.cluster, %error, "no client could be made to look at topics");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        };
        let mut first = true;
        let mut to_measure = BTreeSet::new();
        loop {
            let topics: Vec<String> = if first {
                self.required.iter().chain(&self.named).cloned().collect()
            } else {
                self.required.clone()
            };
            let looked = tokio::task::spawn_blocking({
                let client = Arc::clone(&client);
                move || look(&client, topics)
            });
            match looked.await {
                Ok(Ok(seen)) => {
                    self.take(&seen, first, &mut to_measure);
                    first = false;
                    if self.not_ready_reason().is_none() {
                        break;
                    }
                }
                Ok(Err(error)) => {
                    tracing::debug!(cluster = self.cluster, %error, "the cluster does not tell about topics");
                }
                Err(error) => {
                    tracing::error!(cluster = self.cluster, %error, "looking at topics was cut short")
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
        self.measure(&client, &to_measure).await;
        // The last to have it waits for its threads.
        let _ = tokio::task::spawn_blocking(move || drop(client)).await;
    }

    /// Takes over what was seen; `there` gets the topics that are there.
    fn take(&self, seen: &[(String, Option<Fault>)], first: bool, there: &mut BTreeSet<String>) {
        let faults = |of: &[String]| -> Vec<(String, Fault)> {
            seen.iter()
                .filter(|(topic, _)| of.contains(topic))
                .filter_map(|(topic, fault)| fault.map(|fault| (topic.clone(), fault)))
                .collect()
        };
        let required = faults(&self.required);
        let texts: Vec<String> = required.iter().map(|(topic, fault)| fault.text(topic)).collect();
        let next = if texts.is_empty() { State::Good } else { State::Wrong(texts.join("; ")) };
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *state, next.clone());
        drop(state);
        if next != before {
            for (topic, fault) in &required {
                tracing::error!(
                    cluster = self.cluster,
                    topic,
                    "a required topic cannot be written, and the bridge is not ready: {}; {}",
                    fault.text(topic),
                    fault.next_step()
                );
            }
            if matches!(before, State::Wrong(_)) && next == State::Good {
                tracing::info!(cluster = self.cluster, "the required topics are there");
            }
        }
        if first {
            for (topic, fault) in faults(&self.named) {
                tracing::warn!(
                    cluster = self.cluster,
                    topic,
                    "a topic of allowed_topics cannot be written: {}; {}",
                    fault.text(&topic),
                    fault.next_step()
                );
            }
        }
        there.extend(seen.iter().filter(|(_, fault)| fault.is_none()).map(|(topic, _)| topic.clone()));
    }

    /// Tells which of these topics take no records as large as the bridge does.
    async fn measure(&self, client: &Asker, topics: &BTreeSet<String>) {
        if topics.is_empty() {
            return;
        }
        let resources: Vec<_> = topics.iter().map(|topic| ResourceSpecifier::Topic(topic)).collect();
        let options = AdminOptions::new().request_timeout(Some(TIMEOUT));
        let results = match client.describe_configs(&resources, &options).await {
            Ok(results) => results,
            Err(error) => {
                tracing::info!(cluster = self.cluster, %error, "max.message.bytes of topics is not known");
                return;
            }
        };
        // The client passes over the error of a single topic, and leaves its settings empty.
        let told = results.into_iter().flatten().filter(|resource| self.compare(resource)).count();
        let untold = topics.len().saturating_sub(told);
        if untold > 0 {
            tracing::info!(
                cluster = self.cluster,
                topics = untold,
                "Kafka does not tell max.message.bytes of some topics, which may be because the bridge's principal has no ACL \
                 for DESCRIBE_CONFIGS on them; records that are too large for them are answered 413 all the same"
            );
        }
    }

    /// Warns if the topic takes less than the bridge; returns whether its limit is known.
    fn compare(&self, resource: &ConfigResource) -> bool {
        let OwnedResourceSpecifier::Topic(topic) = &resource.specifier else { return false };
        let limit =
            resource.get("max.message.bytes").and_then(|entry| entry.value.as_ref()?.parse::<u64>().ok());
        let Some(limit) = limit else { return false };
        if limit < u64::from(self.max_record_bytes) {
            tracing::warn!(
                cluster = self.cluster,
                topic,
                "the topic's max.message.bytes is {limit}, less than the bridge's max_record_bytes {}: larger records \
                 are answered 413 only after Kafka has refused them; raise the one or lower the other",
                self.max_record_bytes
            );
        }
        true
    }
}

/// Asks for each topic by its name, which alone tells one that is missing from one that may not be seen. Blocks.
fn look(client: &Asker, topics: Vec<String>) -> KafkaResult<Vec<(String, Option<Fault>)>> {
    topics
        .into_iter()
        .map(|topic| {
            let metadata = client.inner().fetch_metadata(Some(&topic), TIMEOUT)?;
            let found = metadata.topics().iter().find(|found| found.name() == topic);
            let fault = match found.map(|found| found.error()) {
                None => Some(Fault::Missing),
                Some(error) => error.map(|error| Fault::of(error.into())),
            };
            Ok((topic, fault))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_kept_once_however_long_another_topic_is_missing() {
        let options = Options::example();
        let mut cluster = options.default_cluster("127.0.0.1:1");
        cluster.topics = vec!["there".to_owned(), "missing".to_owned()];
        let check = TopicCheck::new(&options, &cluster).unwrap();
        let seen = [("there".to_owned(), None), ("missing".to_owned(), Some(Fault::Missing))];
        let mut there = BTreeSet::new();
        for look in 0..100 {
            check.take(&seen, look == 0, &mut there);
        }
        assert_eq!(there.len(), 1);
        assert_eq!(check.not_ready_reason().as_deref(), Some("topic missing does not exist"));
        check.take(&[("there".to_owned(), None), ("missing".to_owned(), None)], false, &mut there);
        assert_eq!(there.len(), 2);
        assert_eq!(check.not_ready_reason(), None);
    }
}
