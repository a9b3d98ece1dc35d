//! The producer that the spool is drained with: it keeps trying for as long as it takes, so that librdkafka keeps the
//! order of records through every outage.

use std::sync::Arc;

use rdkafka::ClientConfig;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::producer::{
    BaseRecord, DeliveryResult, Producer as _, ProducerContext, PurgeConfig, ThreadedProducer,
};
use std::time::Duration;

use crate::config::{Cluster, Config};
use crate::producer::{outcome, settings};

/// What became of a record that was handed to Kafka.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Drained {
    /// All in-sync replicas have it.
    Written,
    /// Kafka does not take it, for this reason, and would not if it came again.
    Refused(String),
    /// Kafka did not take the batch that it was in, which may be the fault of another.
    RefusedWithOthers,
    /// Nobody knows: the producer has failed for good, or was taken from it.
    Lost,
}

/// Told what became of a record, by its number. Called on a thread of librdkafka's, so it must not block.
pub type Report = Arc<dyn Fn(u64, Drained) + Send + Sync>;

/// A record, ready to be handed over.
#[derive(Clone, Copy, Debug)]
pub struct Draining<'a> {
    /// Its number.
    pub sequence: u64,
    /// The topic; a valid name.
    pub topic: &'a str,
    /// The partition, unless its key decides.
    pub partition: Option<i32>,
    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub timestamp: i64,
    /// The key, or none.
    pub key: Option<&'a [u8]>,
    /// Headers in order.
    pub headers: &'a [(&'a str, &'a [u8])],
    /// The value, or a null value.
    pub value: Option<&'a [u8]>,
}

/// Why a record was not handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotTaken {
    /// The queue is full: it will be taken once others have their answers.
    Full,
    /// The producer has failed for good.
    Failed(String),
    /// It cannot be handed over at all, for this reason.
    Refused(String),
}

/// What both producers are made of.
#[derive(Clone)]
#[allow(missing_debug_implementations, reason = "there are secrets in it")]
pub struct DrainSettings {
    many: ClientConfig,
    one: ClientConfig,
}

impl DrainSettings {
    /// As configured, but for what draining needs.
    pub fn new(config: &Config, cluster: &Cluster) -> Self {
        let many = settings::drain(config, cluster);
        let mut one = many.clone();
        one.set("batch.num.messages", "1");
        Self { many, one }
    }
}

/// A client for many records at a time, and one, made when it is needed, for those that were refused with others.
#[allow(missing_debug_implementations, reason = "librdkafka's client has nothing to show")]
pub struct DrainProducer {
    settings: DrainSettings,
    report: Report,
    many: ThreadedProducer<Context>,
    one: Option<ThreadedProducer<Context>>,
}

struct Context {
    report: Report,
    alone: bool,
}

impl ClientContext for Context {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, text: &str) {
        // The main producer tells what there is to tell of the cluster.
        tracing::debug!(facility, "librdkafka, draining the spool: {text}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "librdkafka, draining the spool");
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = Box<u64>;

    fn delivery(&self, result: &DeliveryResult<'_>, sequence: Box<u64>) {
        let drained = match result {
            Ok(_) => Drained::Written,
            Err((error, _)) => match error.rdkafka_error_code() {
                Some(code) if outcome::is_of_batch(code) && !self.alone => Drained::RefusedWithOthers,
                Some(code) if outcome::is_permanent(code) => Drained::Refused(error.to_string()),
                _ => Drained::Lost,
            },
        };
        (self.report)(*sequence, drained);
    }
}

impl DrainProducer {
    /// Makes a producer; connecting goes on in the background.
    ///
    /// # Errors
    /// When librdkafka does not accept the settings or cannot start its threads.
    pub fn new(clients: &DrainSettings, report: Report) -> KafkaResult<Self> {
        let context = Context { report: Arc::clone(&report), alone: false };
        let many = settings::make(&clients.many, context)?;
        Ok(Self { settings: clients.clone(), report, many, one: None })
    }

    /// Hands over a record, without waiting. Records go out in the order of these calls.
    ///
    /// # Errors
    /// Why it was not taken.
    pub fn send(&self, record: &Draining<'_>) -> Result<(), NotTaken> {
        hand_over(&self.many, record)
    }

    /// Hands over a record that was refused with others, to be sent by itself.
    ///
    /// # Errors
    /// Why it was not taken.
    pub fn send_alone(&mut self, record: &Draining<'_>) -> Result<(), NotTaken> {
        let client = match &mut self.one {
            Some(client) => client,
            None => {
                let context = Context { report: Arc::clone(&self.report), alone: true };
                let made = settings::make(&self.settings.one, context);
                self.one.insert(made.map_err(|error| NotTaken::Failed(error.to_string()))?)
            }
        };
        hand_over(client, record)
    }

    /// Waits until all that was handed over has its answer, for at most `timeout`, and then takes back what has none:
    /// it is reported as lost.
    pub fn close(self, timeout: Duration) {
        for client in std::iter::once(&self.many).chain(&self.one) {
            if client.flush(timeout).is_err() {
                client.purge(PurgeConfig::default().queue().inflight());
                // Reports of what was purged.
                let _ = client.flush(Duration::from_secs(1));
            }
        }
    }
}

fn hand_over(client: &ThreadedProducer<Context>, record: &Draining<'_>) -> Result<(), NotTaken> {
    let message = BaseRecord {
        topic: record.topic,
        partition: record.partition,
        payload: record.value,
        key: record.key,
        timestamp: Some(record.timestamp),
        headers: Some(super::headers(record.headers)),
        delivery_opaque: Box::new(record.sequence),
    };
    client.send(message).map_err(|(error, _)| match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::QueueFull) => NotTaken::Full,
        Some(code) if !outcome::is_permanent(code) => NotTaken::Failed(error.to_string()),
        // Without a code it cannot even be expressed to librdkafka.
        _ => NotTaken::Refused(error.to_string()),
    })
}
