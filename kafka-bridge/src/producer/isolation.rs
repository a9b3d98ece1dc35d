//! Records that Kafka refused together with others, each produced once more and alone. A broker takes a batch as a
//! whole or not at all, so what it says of a batch need not be true of each of its records.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::Message as _;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::{BorrowedHeaders, BorrowedMessage};
use rdkafka::producer::BaseRecord;
use tokio::sync::Notify;

use crate::delivery::Outcome;
use crate::producer::client::{Common, LazyClient};
use crate::producer::outcome;
use crate::producer::ticket::Ticket;

/// The producer whose batches have one record each. It is made once the main one can produce, so that it takes
/// nothing from a start and is there when it is needed.
pub(super) struct Isolation {
    pub(super) client: LazyClient,
    pub(super) common: Common,
    /// How long after it was enqueued a record may still be produced once more.
    pub(super) delivery_timeout: Duration,
    pub(super) wanted: Notify,
}

impl Isolation {
    /// Produces a record once more, without waiting; its ticket goes with it.
    ///
    /// # Errors
    /// The ticket, and the outcome of a record that is not produced once more: it was not written.
    pub(super) fn produce(
        &self,
        message: &BorrowedMessage<'_>,
        ticket: Arc<Ticket>,
    ) -> Result<(), (Outcome, Arc<Ticket>)> {
        if ticket.enqueued.elapsed() >= self.delivery_timeout {
            return Err((Outcome::Unavailable, ticket));
        }
        if let Err(error) = self.client.start() {
            tracing::error!(cluster = self.common.metrics.cluster(), %error, "no producer could be made for records that were refused with others");
            return Err((Outcome::Unavailable, ticket));
        }
        // Held while sending: the last to have hold of a client waits for its thread, which this one must not.
        let client = self.client.read();
        let Some(client) = &*client else { return Err((Outcome::Unavailable, ticket)) };
        let record = BaseRecord {
            topic: message.topic(),
            // Where it was to go the first time, so that whatever it has in common with others stays in one place.
            partition: Some(message.partition()),
            payload: message.payload(),
            key: message.key(),
            // The message's own may have been replaced by what the broker answered.
            timestamp: i64::try_from(ticket.created.as_millis()).ok(),
            headers: message.headers().map(BorrowedHeaders::detach),
            delivery_opaque: ticket,
        };
        // First, so that whoever has the answer finds it counted.
        self.common.metrics.isolated_attempt();
        match client.send(record) {
            Ok(()) => Ok(()),
            Err((error, record)) => {
                if error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal) {
                    self.common.suspect.notify_one();
                }
                tracing::debug!(%error, "a record that was refused with others is not taken alone");
                Err((outcome::not_enqueued(&error), record.delivery_opaque))
            }
        }
    }

    /// The main producer can produce: whoever waits in [`Self::wanted`] should start this one too.
    pub(super) fn want(&self) {
        if self.client.read().is_none() {
            self.wanted.notify_one();
        }
    }

    /// Waits until this producer should be started.
    pub(super) async fn wanted(&self) {
        self.wanted.notified().await;
    }
}
