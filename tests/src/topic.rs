//! Topics of one test, and what is in them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::cloudevents;
use crate::kafka::{Kafka, MAX_RECORD_BYTES};

const LIMIT: Duration = Duration::from_secs(30);

/// A topic that one test owns. On a cluster that is not ours it is deleted when dropped.
#[derive(Debug)]
pub struct Topic<'k> {
    kafka: &'k Kafka,
    name: String,
    partitions: i32,
}

/// A record as Kafka has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The partition it is in.
    pub partition: i32,
    /// Its place in the partition.
    pub offset: i64,
    /// Milliseconds since 1970.
    pub timestamp: i64,
    /// Its key; `None` is not an empty one.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub value: Option<Vec<u8>>,
    /// Its headers, in order.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl<'k> Topic<'k> {
    /// Makes a topic named after `label`, in a name that no other topic of the cluster has.
    pub async fn create(kafka: &'k Kafka, label: &str, partitions: i32) -> Self {
        let [topic] = Self::create_all(kafka, [(label, partitions, MAX_RECORD_BYTES)]).await;
        topic
    }

    /// Makes several in one request, each from its label, its number of partitions and the size in bytes of the
    /// largest batch that it takes.
    pub async fn create_all<const N: usize>(kafka: &'k Kafka, plans: [(&str, i32, usize); N]) -> [Self; N] {
        let plans = plans
            .map(|(label, partitions, bytes)| (format!("{}{label}", unique_prefix()), partitions, bytes));
        let topics = Self::create_named(kafka, &plans).await;
        topics.try_into().expect("as many topics as plans")
    }

    /// The same, with names as they are to be in Kafka; see [`unique_prefix`].
    pub async fn create_named(kafka: &'k Kafka, plans: &[(String, i32, usize)]) -> Vec<Self> {
        let sizes: Vec<String> = plans.iter().map(|(_, _, bytes)| bytes.to_string()).collect();
        let new: Vec<NewTopic<'_>> = plans
            .iter()
            .zip(&sizes)
            .map(|((name, partitions, _), size)| {
                NewTopic::new(name, *partitions, TopicReplication::Fixed(kafka.replicas()))
                    .set("max.message.bytes", size)
            })
            .collect();
        let options = AdminOptions::new().operation_timeout(Some(LIMIT));
        let results = admin(kafka).create_topics(&new, &options).await.expect("Kafka creates topics");
        for result in results {
            result.unwrap_or_else(|(name, code)| panic!("Kafka refused to create {name}: {code}"));
        }
        let topic = |(name, partitions, _): &(String, i32, usize)| Self {
            kafka,
            name: name.clone(),
            partitions: *partitions,
        };
        plans.iter().map(topic).collect()
    }

    /// Deletes it in Kafka, with all that is in it.
    pub async fn delete(&self) {
        let options = AdminOptions::new().operation_timeout(Some(LIMIT));
        let results = admin(self.kafka).delete_topics(&[&self.name], &options).await;
        for result in results.expect("Kafka deletes topics") {
            result.unwrap_or_else(|(name, code)| panic!("Kafka refused to delete {name}: {code}"));
        }
    }

    /// Its name in Kafka.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The cluster it is in.
    pub fn kafka(&self) -> &Kafka {
        self.kafka
    }

    /// Every record in it now, ordered by partition and offset.
    pub async fn records(&self) -> Vec<Record> {
        let config = self.kafka.client_config();
        let (name, partitions) = (self.name.clone(), self.partitions);
        let reading = tokio::task::spawn_blocking(move || {
            let consumer: BaseConsumer = consumer_config(config).create().expect("a consumer can be made");
            read(&consumer, &name, partitions)
        });
        reading
            .await
            .expect("reading does not panic")
            .unwrap_or_else(|error| panic!("reading {}: {error}", self.name))
    }

    /// The one record in it; panics when there is none or are several.
    pub async fn record(&self) -> Record {
        let mut records = self.records().await;
        assert_eq!(records.len(), 1, "wanted one record in {}, got {records:?}", self.name);
        records.remove(0)
    }

    /// Panics when there is a record in it.
    pub async fn assert_empty(&self) {
        let records = self.records().await;
        assert!(records.is_empty(), "wanted no record in {}, got {records:?}", self.name);
    }
}

impl Record {
    /// The values of a header, in order.
    pub fn header<'r>(&'r self, name: &str) -> Vec<&'r [u8]> {
        let named = self.headers.iter().filter(|(header, _)| header == name);
        named.map(|(_, value)| value.as_deref().unwrap_or_default()).collect()
    }

    /// The value as an event in JSON. Panics unless it is one by CloudEvents' own schema. A member that JSON allows and
    /// [`Value`] cannot hold, such as `1e400`, is there as its text.
    pub fn event(&self) -> Value {
        let members: BTreeMap<String, Box<RawValue>> =
            serde_json::from_slice(self.bytes()).expect("the value is a JSON object");
        let read =
            |raw: Box<RawValue>| serde_json::from_str(raw.get()).unwrap_or_else(|_| Value::from(raw.get()));
        let event = members.into_iter().map(|(name, raw)| (name, read(raw))).collect();
        cloudevents::assert_valid(&event);
        event
    }

    /// The value.
    pub fn bytes(&self) -> &[u8] {
        self.value.as_deref().expect("the record has a value")
    }
}

impl Drop for Topic<'_> {
    fn drop(&mut self) {
        if !self.kafka.is_foreign() {
            return;
        }
        let (admin, name) = (admin(self.kafka), self.name.clone());
        let deletion = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let options = AdminOptions::new().operation_timeout(Some(LIMIT));
            runtime.block_on(admin.delete_topics(&[&name], &options)).map_err(std::io::Error::other)
        });
        if !matches!(deletion.join(), Ok(Ok(_))) {
            eprintln!("topic {} could not be deleted; delete it by hand", self.name);
        }
    }
}

/// The start of a name that no other topic of any cluster has.
pub fn unique_prefix() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let started = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    format!("wicketgate-e2e-{}-{}-{number}-", std::process::id(), started.as_millis())
}

fn admin(kafka: &Kafka) -> AdminClient<DefaultClientContext> {
    kafka.client_config().create().expect("an admin client can be made")
}

fn consumer_config(mut config: rdkafka::ClientConfig) -> rdkafka::ClientConfig {
    config
        // Required by librdkafka, and without a use: partitions are assigned by hand and nothing is committed.
        .set("group.id", "wicketgate-e2e")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("check.crcs", "true")
        .set("fetch.wait.max.ms", "10")
        .set("fetch.message.max.bytes", (2 * MAX_RECORD_BYTES).to_string())
        .set("auto.offset.reset", "error");
    config
}

/// Reads up to the end offsets that hold when it is called.
fn read(consumer: &BaseConsumer, topic: &str, partitions: i32) -> Result<Vec<Record>, KafkaError> {
    let mut assignment = TopicPartitionList::new();
    let mut unfinished = BTreeSet::new();
    for partition in 0..partitions {
        let (start, end) = watermarks(consumer, topic, partition)?;
        if end > start {
            assignment.add_partition_offset(topic, partition, Offset::Beginning)?;
            unfinished.insert((partition, end));
        }
    }
    consumer.assign(&assignment)?;
    let mut records = Vec::new();
    let deadline = Instant::now() + LIMIT;
    while !unfinished.is_empty() {
        assert!(
            Instant::now() < deadline,
            "{topic} was not read to its end within {LIMIT:?}: {unfinished:?} left"
        );
        match consumer.poll(Duration::from_millis(100)) {
            // A partition's end is a control record after an aborted transaction; the end of the log tells.
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                unfinished.retain(|&(other, _)| other != partition)
            }
            Some(Err(error)) => return Err(error),
            Some(Ok(message)) => records.push(Record {
                partition: message.partition(),
                offset: message.offset(),
                timestamp: message.timestamp().to_millis().unwrap_or(-1),
                key: message.key().map(<[u8]>::to_vec),
                value: message.payload().map(<[u8]>::to_vec),
                headers: message.headers().map(headers).unwrap_or_default(),
            }),
            None => {}
        }
    }
    records.sort_by_key(|record| (record.partition, record.offset));
    Ok(records)
}

/// A new topic's leader may not be known everywhere yet.
fn watermarks(consumer: &BaseConsumer, topic: &str, partition: i32) -> Result<(i64, i64), KafkaError> {
    let deadline = Instant::now() + LIMIT;
    loop {
        match consumer.fetch_watermarks(topic, partition, Duration::from_secs(5)) {
            Err(error) if Instant::now() < deadline && is_transient(&error) => {}
            result => return result,
        }
    }
}

fn is_transient(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::UnknownPartition
                | RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::LeaderNotAvailable
                | RDKafkaErrorCode::NotLeaderForPartition
                | RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::OperationTimedOut
        )
    )
}

fn headers(headers: &rdkafka::message::BorrowedHeaders) -> Vec<(String, Option<Vec<u8>>)> {
    headers.iter().map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec))).collect()
}
