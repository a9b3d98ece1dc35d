//! The producer that the spool is drained with: it keeps trying for as long as it takes, so that librdkafka keeps the
//! order of records through every outage.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::delivery::RecordMetadata;
use crate::producer::{ClusterOptions, Options};
use crate::producer::{outcome, settings};
use rdkafka::ClientConfig;
use rdkafka::ClientContext;
use rdkafka::Message as _;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::producer::{
    BaseRecord, DeliveryResult, Producer as _, ProducerContext, PurgeConfig, ThreadedProducer,
};
use wicketgate_envelope::timestamp::Timestamp;

/// How long Kafka has to say whether it has a topic.
const PRESENCE_TIMEOUT: Duration = Duration::from_secs(1);

/// What became of a record that was handed to Kafka.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Drained {
    /// All in-sync replicas have it.
    Written,
    /// Kafka does not take it, for this reason, and would not if it came again.
    Refused(String),
    /// Kafka did not take the batch that it was in, which may be the fault of another.
    RefusedWithOthers,
    /// Kafka does not have its topic, and says so in these words.
    TopicMissing(String),
    /// Kafka gave up on it with this error, of which nobody knows whether it would come again.
    Failed(String),
    /// It was given up with this error, which comes from Kafka being out of reach or out of order, and not from the record.
    Unanswered(String),
    /// Nobody knows: the producer has failed for good, or was taken from it.
    Lost,
}

impl Drained {
    /// From the error that a record came back with, or was not taken with. `alone`: in a batch of its own. `placed`: for a
    /// partition of the record's own choice.
    fn of(error: &KafkaError, code: RDKafkaErrorCode, alone: bool, placed: bool) -> Self {
        use RDKafkaErrorCode as Code;
        let text = || error.to_string();
        match code {
            Code::PurgeQueue | Code::PurgeInflight | Code::Fatal | Code::BrokerDestroy => Self::Lost,
            code if outcome::is_of_batch(code) && !alone => Self::RefusedWithOthers,
            Code::UnknownTopic | Code::UnknownTopicOrPartition => Self::TopicMissing(text()),
            // Where the key decides, it is because the topic is about to go or has just come.
            Code::UnknownPartition if !placed => Self::TopicMissing(text()),
            code if outcome::is_permanent(code) => Self::Refused(text()),
            code if outcome::is_of_cluster(code) => Self::Unanswered(text()),
            _ => Self::Failed(text()),
        }
    }
}

/// An answer for a record, and which of the two clients it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The record's number.
    pub sequence: u64,
    /// Whether the record had been sent by itself.
    pub alone: bool,
    /// What became of it.
    pub drained: Drained,
    /// Where Kafka has it, if it does.
    pub metadata: Option<RecordMetadata>,
}

/// Told what became of a record. Called on a thread of librdkafka's, so it must not block.
pub type Report = Arc<dyn Fn(Answer) + Send + Sync>;

/// What Kafka says of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It can be written, or it is somebody else's to say why not.
    There,
    /// It is not there.
    Missing,
    /// Kafka does not say.
    Unknown,
}

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
    /// It is answered already.
    Answered(Drained),
}

/// How long the drainer waits for what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// How long a record that is next may be without an answer before it is asked about.
    pub(crate) stall: Duration,
    /// How long, after it has been written by itself, the other client has to show that it can write it too.
    pub(crate) proof: Duration,
    /// How long a topic that is not there has to come back.
    pub(crate) missing: Duration,
    /// How long until a record is tried again, after the first time; each pause is twice the one before.
    pub(crate) pause: Duration,
    /// How long a topic that was waited for in vain is not waited for again.
    pub(crate) spent: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            stall: Duration::from_secs(30),
            proof: Duration::from_secs(10),
            missing: Duration::from_secs(30),
            pause: Duration::from_secs(1),
            spent: Duration::from_secs(300),
        }
    }
}

/// What both producers are made of.
#[derive(Clone)]
#[allow(missing_debug_implementations, reason = "there are secrets in it")]
pub struct DrainSettings {
    many: ClientConfig,
    one: ClientConfig,
    broker_tells_time: bool,
    pub(crate) patience: Patience,
}

impl DrainSettings {
    /// As configured, but for what draining needs.
    pub fn new(options: &Options, cluster: &ClusterOptions) -> Self {
        let many = settings::drain(options, cluster);
        let one = settings::drain_alone(&many);
        Self { many, one, broker_tells_time: !cluster.embedded, patience: Patience::default() }
    }
}

/// A client for many records at a time, and one, made when it is needed, for those that have to be sent by themselves.
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
    /// Whether the time of the broker is one.
    broker_tells_time: bool,
}

/// Travels with a record through librdkafka.
struct Ticket {
    sequence: u64,
    placed: bool,
    /// The record's own timestamp.
    created: Timestamp,
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
    type DeliveryOpaque = Box<Ticket>;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: Box<Ticket>) {
        let Ticket { sequence, placed, created } = *ticket;
        let metadata = result.as_ref().ok().map(|message| RecordMetadata {
            partition: message.partition(),
            // Negative when the broker recognised a repeated request and no longer knew where the first one went.
            offset: message.offset().max(-1),
            timestamp: match message.timestamp() {
                rdkafka::Timestamp::LogAppendTime(millis) if self.broker_tells_time => {
                    Timestamp::from_millis(millis)
                }
                _ => created,
            },
        });
        let drained = match result {
            Ok(_) => Drained::Written,
            Err((error, _)) => match error.rdkafka_error_code() {
                Some(code) => Drained::of(error, code, self.alone, placed),
                None => Drained::Failed(error.to_string()),
            },
        };
        (self.report)(Answer { sequence, alone: self.alone, drained, metadata });
    }
}

impl DrainProducer {
    /// Makes a producer; connecting goes on in the background.
    ///
    /// # Errors
    /// When librdkafka does not accept the settings or cannot start its threads.
    pub fn new(clients: &DrainSettings, report: Report) -> KafkaResult<Self> {
        let broker_tells_time = clients.broker_tells_time;
        let context = Context { report: Arc::clone(&report), alone: false, broker_tells_time };
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

    /// Hands over a record, to be sent by itself. It comes back after a few attempts or half a minute at most, whatever is
    /// the matter.
    ///
    /// # Errors
    /// Why it was not taken.
    pub fn send_alone(&mut self, record: &Draining<'_>) -> Result<(), NotTaken> {
        // The other one is not disturbed by what this one meets.
        if self.one.as_ref().is_some_and(|client| client.client().fatal_error().is_some()) {
            self.one.take().into_iter().for_each(|client| flush(&client, Instant::now()));
        }
        let client = match &mut self.one {
            Some(client) => client,
            None => {
                let broker_tells_time = self.settings.broker_tells_time;
                let context = Context { report: Arc::clone(&self.report), alone: true, broker_tells_time };
                let made = settings::make(&self.settings.one, context);
                self.one.insert(made.map_err(|error| NotTaken::Failed(error.to_string()))?)
            }
        };
        hand_over(client, record)
    }

    /// Why the client for many has failed for good; `None` if it has not.
    pub fn fatal_error(&self) -> Option<String> {
        self.many.client().fatal_error().map(|(_, text)| text)
    }

    /// Asks whether a topic is there, so that the client for many knows it too. Blocks, for a second at most.
    pub fn presence(&self, topic: &str) -> Presence {
        let Ok(metadata) = self.many.client().fetch_metadata(Some(topic), PRESENCE_TIMEOUT) else {
            return Presence::Unknown;
        };
        match metadata.topics().iter().find(|found| found.name() == topic) {
            None => Presence::Missing,
            Some(found) => match found.error().map(RDKafkaErrorCode::from) {
                Some(RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownTopicOrPartition) => {
                    Presence::Missing
                }
                // It is being made.
                Some(RDKafkaErrorCode::LeaderNotAvailable) => Presence::Unknown,
                None if found.partitions().is_empty() => Presence::Unknown,
                Some(_) | None => Presence::There,
            },
        }
    }

    /// Waits until all that was handed over has its answer, until `deadline` at most, and then takes back what has none:
    /// it is reported as lost.
    pub fn close(self, deadline: Instant) {
        for client in std::iter::once(&self.many).chain(&self.one) {
            flush(client, deadline);
        }
    }
}

fn flush(client: &ThreadedProducer<Context>, deadline: Instant) {
    if client.flush(deadline.saturating_duration_since(Instant::now())).is_err() {
        client.purge(PurgeConfig::default().queue().inflight());
        // Reports of what was purged.
        let _ = client.flush(Duration::from_secs(1));
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
        delivery_opaque: Box::new(Ticket {
            sequence: record.sequence,
            placed: record.partition.is_some(),
            created: Timestamp::from_millis(record.timestamp),
        }),
    };
    client.send(message).map_err(|(error, _)| match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::QueueFull) => NotTaken::Full,
        // What is too large for librdkafka is so whatever it is sent with.
        Some(code) => match Drained::of(&error, code, true, record.partition.is_some()) {
            answered @ (Drained::Refused(_) | Drained::TopicMissing(_)) => NotTaken::Answered(answered),
            _ => NotTaken::Failed(error.to_string()),
        },
        // Without a code it cannot even be expressed to librdkafka.
        None => NotTaken::Answered(Drained::Refused(error.to_string())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_says_that_the_producer_has_failed_has_it_replaced() {
        use RDKafkaErrorCode as Code;
        let of = |code: Code, alone, placed| {
            Drained::of(&KafkaError::MessageProduction(code), code, alone, placed)
        };
        let text = |code: Code| KafkaError::MessageProduction(code).to_string();
        for code in [Code::PurgeQueue, Code::PurgeInflight, Code::Fatal] {
            assert_eq!(of(code, false, false), Drained::Lost, "{code:?}");
        }
        // Among them what a broker may say one day.
        for code in [
            Code::Unknown,
            Code::InvalidMessage,
            Code::InvalidProducerEpoch,
            Code::OutOfOrderSequenceNumber,
            Code::InvalidReplicationFactor,
            Code::SecurityDisabled,
        ] {
            assert_eq!(of(code, false, false), Drained::Failed(text(code)), "{code:?}");
            assert_eq!(of(code, true, false), Drained::Failed(text(code)), "{code:?}");
        }
        for code in [Code::NotEnoughReplicas, Code::MessageTimedOut, Code::BrokerTransportFailure] {
            assert_eq!(of(code, true, false), Drained::Unanswered(text(code)), "{code:?}");
        }
        for code in [Code::UnknownTopic, Code::UnknownTopicOrPartition] {
            assert_eq!(of(code, false, true), Drained::TopicMissing(text(code)), "{code:?}");
        }
        let partition = Code::UnknownPartition;
        assert_eq!(of(partition, false, false), Drained::TopicMissing(text(partition)));
        assert_eq!(of(partition, false, true), Drained::Refused(text(partition)));
        assert_eq!(of(Code::InvalidRecord, false, false), Drained::RefusedWithOthers);
        assert_eq!(of(Code::InvalidRecord, true, false), Drained::Refused(text(Code::InvalidRecord)));
    }

    #[test]
    fn both_clients_end_by_one_deadline() {
        let options = Options::example();
        let settings = DrainSettings::new(&options, &options.default_cluster("127.0.0.1:1"));
        let (sender, answers) = std::sync::mpsc::channel();
        let sender = std::sync::Mutex::new(sender);
        let report = move |answer| sender.lock().unwrap().send(answer).unwrap();
        let mut producer = DrainProducer::new(&settings, Arc::new(report)).unwrap();
        let record = |sequence| Draining {
            sequence,
            topic: "t",
            partition: None,
            timestamp: 1,
            key: None,
            headers: &[],
            value: None,
        };
        producer.send(&record(1)).unwrap();
        producer.send_alone(&record(2)).unwrap();
        let wait = Duration::from_secs(3);
        let started = Instant::now();
        producer.close(started + wait);
        assert!((wait..2 * wait).contains(&started.elapsed()), "{:?}", started.elapsed());
        let lost: Vec<_> = answers
            .iter()
            .map(|Answer { sequence, alone, drained, .. }| (sequence, alone, drained))
            .collect();
        assert_eq!(lost, [(1, false, Drained::Lost), (2, true, Drained::Lost)]);
    }
}
