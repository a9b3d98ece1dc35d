//! What librdkafka calls back: delivery reports, statistics, errors, log lines. All of it on librdkafka's threads,
//! so none of it may block.

use std::sync::{Arc, LazyLock};
use std::time::Instant;

use rdkafka::ClientContext;
use rdkafka::Message as _;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::producer::{DeliveryResult, ProducerContext};
use wicketgate_envelope::hop::Ack;
use wicketgate_envelope::timestamp::Timestamp;

use crate::delivery::{Outcome, RecordMetadata};
use crate::producer::client::Common;
use crate::producer::isolation::Isolation;
use crate::producer::outcome;
use crate::producer::persistence;
use crate::producer::ticket::Ticket;
use crate::sparse::Sparse;
use crate::stats::Stats;

/// Of the lines about records that come back with an error, by cluster, topic and outcome.
static NOT_ACKNOWLEDGED: LazyLock<Sparse> = LazyLock::new(Sparse::default);

/// The callbacks of one producer.
pub(super) struct Context {
    pub(super) generation: u64,
    /// What its delivery reports say of a record.
    pub(super) ack: Ack,
    pub(super) common: Common,
    /// Where records that were refused together with others go; `None` if they are produced alone already.
    pub(super) isolation: Option<Arc<Isolation>>,
}

impl Context {
    /// Whether this is the producer that tells what there is to tell of the cluster.
    fn is_main(&self) -> bool {
        self.isolation.is_some() && self.ack == Ack::All
    }

    /// The outcome of a record that came back with an error, and its ticket; `None` if it is produced once more.
    fn not_delivered(
        &self,
        error: &KafkaError,
        message: &BorrowedMessage<'_>,
        ticket: Arc<Ticket>,
    ) -> Option<(Outcome, Arc<Ticket>)> {
        // What Kafka says of an attempt does not hold for those before it.
        let code = error.rdkafka_error_code().filter(|_| !persistence::may_be_written(message));
        let isolation = self.isolation.as_ref().filter(|_| code.is_some_and(outcome::is_of_batch));
        let (outcome, ticket) = match isolation {
            Some(isolation) => isolation.produce(message, ticket).err()?,
            None => (code.map_or(Outcome::Unknown, outcome::not_delivered), ticket),
        };
        let (cluster, topic, outcome_label) =
            (self.common.metrics.cluster(), message.topic(), outcome.label());
        if let Some(left_out) = NOT_ACKNOWLEDGED.take((cluster, topic, outcome_label), Instant::now()) {
            tracing::warn!(
                cluster,
                topic,
                request_id = ticket.request_id.as_deref(),
                outcome = outcome_label,
                left_out,
                %error,
                "record not acknowledged"
            );
        }
        Some((outcome, ticket))
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = Arc<Ticket>;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: Arc<Ticket>) {
        let (outcome, ticket) = match result {
            Ok(message) => {
                let metadata = RecordMetadata {
                    partition: message.partition(),
                    // Negative when the broker recognised a repeated request and no longer knew where the first one
                    // went. As in Java's client, that is -1.
                    offset: message.offset().max(-1),
                    timestamp: match message.timestamp() {
                        rdkafka::Timestamp::LogAppendTime(millis) if self.common.broker_tells_time => {
                            Timestamp::from_millis(millis)
                        }
                        _ => ticket.created,
                    },
                };
                (Outcome::Acknowledged { ack: self.ack, metadata: Some(metadata) }, ticket)
            }
            Err((error, message)) => match self.not_delivered(error, message, ticket) {
                Some(settled) => settled,
                None => return,
            },
        };
        ticket.settle(outcome, &self.common.metrics);
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        let level = if self.is_main() { level } else { RDKafkaLogLevel::Debug };
        log(self.common.metrics.cluster(), level, facility, text);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        if !self.common.health.follows(self.generation) {
            return;
        }
        match serde_json::from_slice::<Stats>(statistics) {
            Ok(stats) => {
                self.common.health.statistics(&stats);
                self.common.metrics.statistics(&stats);
                if let Some(isolation) = self.isolation.as_ref().filter(|_| stats.producer_id_assigned()) {
                    isolation.want();
                }
            }
            Err(error) => {
                tracing::error!(cluster = self.common.metrics.cluster(), %error, "librdkafka's statistics cannot be read")
            }
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let cluster = self.common.metrics.cluster();
        if !self.is_main() {
            tracing::debug!(cluster, %error, reason, "librdkafka, a further producer");
            self.common.suspect.notify_one();
            return;
        }
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
            if self.common.health.follows(self.generation) && self.common.health.all_brokers_down() {
                tracing::error!(cluster, reason, "no broker is connected");
            }
            return;
        }
        tracing::warn!(cluster, %error, reason, "librdkafka");
        // A fatal error comes under the code of its cause, so the producer has to be asked.
        self.common.suspect.notify_one();
    }
}

/// Hands a log line of librdkafka on.
fn log(cluster: &str, level: RDKafkaLogLevel, facility: &str, text: &str) {
    match level {
        RDKafkaLogLevel::Emerg
        | RDKafkaLogLevel::Alert
        | RDKafkaLogLevel::Critical
        | RDKafkaLogLevel::Error => tracing::error!(cluster, facility, "librdkafka: {text}"),
        RDKafkaLogLevel::Warning => tracing::warn!(cluster, facility, "librdkafka: {text}"),
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
            tracing::info!(cluster, facility, "librdkafka: {text}")
        }
        RDKafkaLogLevel::Debug => tracing::debug!(cluster, facility, "librdkafka: {text}"),
    }
}
