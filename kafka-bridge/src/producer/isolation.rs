//! Records that Kafka refused together with others, each produced once more and alone. A broker takes a batch as a
//! whole or not at all, so what it says of a batch need not be true of each of its records.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::Message as _;
use rdkafka::error::{KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedHeaders, BorrowedMessage};
use rdkafka::producer::{BaseRecord, Producer as _};
use tokio::sync::Notify;
use wicketgate_envelope::hop::Ack;

use crate::delivery::Outcome;
use crate::health::Health;
use crate::producer::Client;
use crate::producer::context::Context;
use crate::producer::metrics::ClusterMetrics;
use crate::producer::outcome;
use crate::producer::settings;
use crate::producer::ticket::Ticket;

/// The producer whose batches have one record each. It is made once the main one can produce, so that it takes
/// nothing from a start and is there when it is needed.
pub(super) struct Isolation {
    pub(super) settings: ClientConfig,
    pub(super) broker_tells_time: bool,
    pub(super) health: Arc<Health>,
    pub(super) metrics: ClusterMetrics,
    /// Told when this producer may be beyond repair.
    pub(super) suspect: Arc<Notify>,
    /// How long after it was enqueued a record may still be produced once more.
    pub(super) delivery_timeout: Duration,
    pub(super) client: RwLock<Option<Arc<Client>>>,
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
        if let Err(error) = self.start() {
            tracing::error!(cluster = self.metrics.cluster(), %error, "no producer could be made for records that were refused with others");
            return Err((Outcome::Unavailable, ticket));
        }
        // Held while sending: the last to have hold of a client waits for its thread, which this one must not.
        let client = self.read();
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
        self.metrics.isolated_attempt();
        match client.send(record) {
            Ok(()) => Ok(()),
            Err((error, record)) => {
                if error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal) {
                    self.suspect.notify_one();
                }
                tracing::debug!(%error, "a record that was refused with others is not taken alone");
                Err((outcome::not_enqueued(&error), record.delivery_opaque))
            }
        }
    }

    /// The main producer can produce: whoever waits in [`Self::wanted`] should start this one too.
    pub(super) fn want(&self) {
        if self.read().is_none() {
            self.wanted.notify_one();
        }
    }

    /// Waits until this producer should be started.
    pub(super) async fn wanted(&self) {
        self.wanted.notified().await;
    }

    /// Makes the client if there is none. Takes milliseconds; connecting goes on in the background.
    pub(super) fn start(&self) -> KafkaResult<()> {
        if self.read().is_some() {
            return Ok(());
        }
        let mut client = self.write();
        if client.is_none() {
            *client = Some(self.make()?);
        }
        Ok(())
    }

    /// The code of the error after which the client is of no more use, if there was one.
    pub(super) fn fatal_error(&self) -> Option<RDKafkaErrorCode> {
        self.read().as_ref()?.client().fatal_error().map(|(code, _)| code)
    }

    /// Replaces the client; returns the previous one, which may still have records.
    pub(super) fn replace(&self) -> KafkaResult<Option<Arc<Client>>> {
        let next = self.make()?;
        Ok(self.write().replace(next))
    }

    /// Takes the client away; the next is made when it is wanted.
    pub(super) fn take(&self) -> Option<Arc<Client>> {
        self.write().take()
    }

    /// The client, if there is one. Not for librdkafka's threads, see [`Self::produce`].
    pub(super) fn current(&self) -> Option<Arc<Client>> {
        self.read().clone()
    }

    fn make(&self) -> KafkaResult<Arc<Client>> {
        let context = Context {
            // Nobody follows it: whether the bridge is ready depends on the main producer alone.
            generation: 0,
            ack: Ack::All,
            broker_tells_time: self.broker_tells_time,
            health: Arc::clone(&self.health),
            metrics: self.metrics.clone(),
            suspect: Arc::clone(&self.suspect),
            isolation: None,
        };
        Ok(Arc::new(settings::make(&self.settings, context)?))
    }

    fn read(&self) -> RwLockReadGuard<'_, Option<Arc<Client>>> {
        self.client.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Option<Arc<Client>>> {
        self.client.write().unwrap_or_else(PoisonError::into_inner)
    }
}
