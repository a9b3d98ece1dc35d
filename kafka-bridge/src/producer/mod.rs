//! The Kafka producer: enqueues in the order in which it is called, and tells what became of each record.

mod client;
mod conflicts;
mod context;
mod drain;
mod isolation;
mod librdkafka;
mod metrics;
mod names;
mod observer;
mod options;
mod outcome;
mod overdue;
mod persistence;
mod settings;
mod size;
mod supervision;
mod ticket;
mod topic_check;

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _};
use tokio::sync::{Notify, oneshot};

use wicketgate_envelope::hop::Ack;
use wicketgate_envelope::timestamp::Timestamp;

use crate::delivery::{Delivery, Observers, Outcome};
use crate::health::Health;
use crate::sparse::Sparse;
use client::{Client, Common, LazyClient, NotSent};
pub(crate) use conflicts::{check as check_together, warnings};
pub(crate) use drain::Patience;
pub use drain::{Answer, DrainProducer, DrainSettings, Drained, Draining, NotTaken, Presence, Report};
use isolation::Isolation;
pub use librdkafka::Property;
pub(crate) use librdkafka::check as check_properties;
pub use metrics::{ClusterMetrics, Metrics};
use names::Names;
pub use observer::Answered;
use observer::Observer;
pub use options::{ANSWER_GRACE, ClusterOptions, DEFAULT_CLUSTER, Options, Reloadable};
use overdue::{Clock, Overdue};
pub(crate) use settings::kept;
pub use size::wire_size;
use ticket::{Open, Ticket};
pub use topic_check::TopicCheck;

/// How long the producer has to connect when it is asked to.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a stop looks at one client before it looks at the next.
const FLUSH_STEP: Duration = Duration::from_millis(50);

/// Of the lines about records that are not taken, by cluster, topic and outcome.
static NOT_TAKEN: LazyLock<Sparse> = LazyLock::new(Sparse::default);

/// One record, ready to be enqueued.
#[derive(Debug)]
pub struct Outgoing<'a> {
    /// The topic; a valid name.
    pub topic: &'a str,
    /// The key; `None` is no key, which differs from an empty one.
    pub key: Option<&'a [u8]>,
    /// The partition, not negative; `None` leaves the choice to the key, or to librdkafka where there is none.
    pub partition: Option<i32>,
    /// The record's timestamp in milliseconds since 1970-01-01T00:00:00Z, positive; `None` is the present.
    pub timestamp: Option<i64>,
    /// The record's headers in order. Names hold no NUL byte.
    pub headers: &'a [(&'a str, &'a [u8])],
    /// The value; `None` is a null value, which differs from an empty one.
    pub value: Option<&'a [u8]>,
    /// How far it has to get before it is acknowledged: `all`, `leader` or `none`.
    pub ack: Ack,
    /// The request that brought the record, for the log.
    pub request_id: Option<&'a Arc<str>>,
}

/// The producer of one cluster. Should librdkafka fail for good, it is replaced by a new one.
#[allow(missing_debug_implementations, reason = "librdkafka's client has nothing to show")]
pub struct Producer {
    common: Common,
    /// Gives up what takes too long.
    clock: Clock,
    main: LazyClient,
    leader: LazyClient,
    /// For records that are refused together with others.
    isolation: Arc<Isolation>,
    observer: Observer,
    names: Names,
    /// One that the configuration names, if it names any.
    named_topic: Option<String>,
    /// Told when there is no room for topics, and would be in new clients.
    renewal: Notify,
    /// Clients that have been replaced, and may still have records.
    retiring: Mutex<Vec<Weak<Client>>>,
    generation: AtomicU64,
    flush_timeout: Duration,
    /// How long a client that has not failed may have records.
    kept: Duration,
}

/// Whether librdkafka takes the settings of a cluster, which it tells only when all are there. Nothing is connected to.
///
/// # Errors
/// When it does not.
pub fn try_settings(options: &Options, cluster: &ClusterOptions) -> KafkaResult<()> {
    settings::try_out(&settings::producer(options, cluster))
}

impl Producer {
    /// Makes a producer; connecting goes on in the background.
    ///
    /// # Errors
    /// When librdkafka does not accept the settings or cannot start its threads.
    pub fn new(
        options: &Options,
        cluster: &ClusterOptions,
        health: Arc<Health>,
        metrics: ClusterMetrics,
    ) -> KafkaResult<Self> {
        let suspect = Arc::new(Notify::new());
        let common = Common { broker_tells_time: !cluster.embedded, health, metrics, suspect };
        let isolation = Arc::new(Isolation {
            client: LazyClient::new(settings::isolated(options, cluster), Ack::All, common.clone(), None),
            common: common.clone(),
            delivery_timeout: options.delivery_timeout,
            wanted: Notify::new(),
        });
        let client =
            |settings, ack| LazyClient::new(settings, ack, common.clone(), Some(Arc::clone(&isolation)));
        let (records, bytes) = settings::room(options, cluster);
        let clock = Overdue::start(options.delivery_timeout, common.metrics.clone(), records, bytes)
            .map_err(|error| KafkaError::ClientCreation(error.to_string()))?;
        let producer = Self {
            main: client(settings::producer(options, cluster), Ack::All),
            leader: client(settings::leader(options, cluster), Ack::Leader),
            observer: Observer::new(&settings::producer(options, cluster))?,
            names: Names::new(options, cluster),
            named_topic: named_topic(cluster),
            renewal: Notify::new(),
            retiring: Mutex::default(),
            generation: AtomicU64::new(0),
            flush_timeout: options.answer_timeout(),
            kept: kept(options),
            clock,
            isolation,
            common,
        };
        producer.replace_main()?;
        Ok(producer)
    }

    /// Enqueues a record, without waiting. Records go out in the order of these calls. `observers` are notified of what
    /// becomes of it, also if it is not enqueued.
    ///
    /// # Errors
    /// The outcome of a record that was not enqueued, and therefore not written.
    pub fn enqueue(&self, record: &Outgoing<'_>, observers: Observers) -> Result<Delivery, Outcome> {
        let refused = |outcome: Outcome, observers: Observers| {
            self.common.metrics.record(outcome.label());
            observers.settled(outcome, Box::new(|| {}));
            outcome
        };
        let Ok(permit) = self.common.health.breaker().admit(record.topic, record.ack, Instant::now()) else {
            return Err(refused(Outcome::Unavailable, observers));
        };
        // Of these topics Kafka has taken too much too late.
        if permit.has_overdue() && self.clock.is_full() {
            self.common.health.breaker().rejected();
            return Err(refused(Outcome::Unavailable, observers));
        }
        if !self.names.take(record.topic, Instant::now()) {
            if self.names.can_forget(Instant::now()) {
                self.renewal.notify_one();
            }
            if self.common.metrics.beyond_max_topics() {
                tracing::error!(
                    cluster = self.cluster(),
                    topic = record.topic,
                    "records for this and further topics are answered 503: there are as many as --max-topics, and each was written \
                     lately; those that --topics or --allowed-topics name do not count"
                );
            }
            return Err(refused(Outcome::Unavailable, observers));
        }
        let (reply, delivery) = oneshot::channel();
        let mut reply = Some(reply);
        let created = record.timestamp.unwrap_or_else(|| rdkafka::Timestamp::now().to_millis().unwrap_or(0));
        let open = Open {
            // Who asks for no more than to have it enqueued is answered below.
            reply: reply.take_if(|_| record.ack != Ack::None),
            observers,
            permit,
            counted: self.clock.count(wire_size(record.key, record.value, record.headers)),
        };
        let ticket = Ticket::new(Timestamp::from_millis(created), record.request_id.cloned(), open);
        let message = BaseRecord {
            topic: record.topic,
            partition: record.partition,
            payload: record.value,
            key: record.key,
            timestamp: Some(created),
            headers: Some(headers(record.headers)),
            delivery_opaque: Arc::clone(&ticket),
        };
        match self.send(record.ack, message) {
            Ok(()) => {
                self.clock.watch(ticket);
                self.common.metrics.record_enqueued(record.value.map_or(0, <[u8]>::len));
                if let Some(reply) = reply {
                    // Nobody has gone yet: the other end is here.
                    let _ = reply.send(Outcome::Acknowledged { ack: Ack::None, metadata: None });
                }
                Ok(delivery)
            }
            Err(not_sent) => {
                let (error, _) = *not_sent;
                Err(refused(self.not_enqueued(record, &error), ticket.take_back().unwrap_or_default()))
            }
        }
    }

    fn send<'a>(
        &self,
        ack: Ack,
        message: BaseRecord<'a, [u8], [u8], Arc<Ticket>>,
    ) -> Result<(), Box<NotSent<'a>>> {
        if ack == Ack::Leader { self.leader.send(message) } else { self.main.send(message) }
    }

    fn not_enqueued(&self, record: &Outgoing<'_>, error: &KafkaError) -> Outcome {
        let code = error.rdkafka_error_code();
        let outcome = outcome::not_enqueued(error);
        let (cluster, topic, request_id) = (self.cluster(), record.topic, record.request_id.map(|id| &**id));
        if code == Some(RDKafkaErrorCode::QueueFull) {
            tracing::debug!(cluster, topic, request_id, "queue full");
        } else if let Some(left_out) = NOT_TAKEN.take((cluster, topic, outcome.label()), Instant::now()) {
            let outcome = outcome.label();
            tracing::warn!(cluster, topic, request_id, outcome, left_out, %error, "record not taken");
        }
        if code == Some(RDKafkaErrorCode::Fatal) {
            self.common.suspect.notify_one();
        }
        outcome
    }

    fn cluster(&self) -> &str {
        self.common.metrics.cluster()
    }

    /// A topic that the configuration names, if it names any: known before any record is written.
    pub fn named_topic(&self) -> Option<&str> {
        self.named_topic.as_deref()
    }

    /// Whether the cluster answers a question about `topic`, or all topics. Blocks for up to ten seconds. One question at
    /// a time.
    pub fn probe(&self, topic: Option<&str>) -> Option<Answered> {
        self.observer.ask(topic)
    }

    /// Whether it is known already that the question which is being asked reaches no broker.
    pub fn probe_finds_nobody(&self) -> bool {
        self.observer.finds_nobody()
    }

    /// Has the producer connect to some broker, as it does by itself only when it has something to do. Blocks for up
    /// to a second.
    pub fn connect(&self) {
        let Some(client) = self.main.current() else { return };
        if let Err(error) = client.client().fetch_metadata(None, CONNECT_TIMEOUT) {
            tracing::debug!(cluster = self.cluster(), %error, "the producer has not connected");
        }
    }

    /// Waits until all that was enqueued has its answer, for at most `timeout`; returns how many records have none. What
    /// is overdue has had its own, and is not waited for. Blocks.
    pub fn flush(&self, timeout: Duration) -> usize {
        let started = Instant::now();
        loop {
            let rest = timeout.saturating_sub(started.elapsed());
            if self.clock.waiting() == 0 || rest.is_zero() {
                return self.clock.waiting();
            }
            let retiring: Vec<_> = self.retiring().iter().filter_map(Weak::upgrade).collect();
            let clients = retiring.into_iter().chain(self.main.current()).chain(self.leader.current());
            for client in clients.chain(self.isolation.client.current()) {
                // Has it send what it has without delay; what is overdue may keep it from being done for minutes.
                let _ = client.flush(rest.min(FLUSH_STEP));
            }
        }
    }

    fn retiring(&self) -> MutexGuard<'_, Vec<Weak<Client>>> {
        self.retiring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn named_topic(cluster: &ClusterOptions) -> Option<String> {
    let allowed = cluster.allowed_topics.iter().filter_map(|pattern| pattern.exact());
    cluster.topics.iter().map(String::as_str).chain(allowed).next().map(str::to_owned)
}

/// Headers as librdkafka has them.
fn headers(headers: &[(&str, &[u8])]) -> OwnedHeaders {
    let empty = OwnedHeaders::new_with_capacity(headers.len());
    headers.iter().fold(empty, |all, &(key, value)| all.insert(Header { key, value: Some(value) }))
}
