//! Records that are acknowledged by the leader of their partition alone, without waiting for its replicas.

use std::sync::{Arc, PoisonError, RwLock};

use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::producer::BaseRecord;
use tokio::sync::Notify;
use wicketgate_envelope::hop::Ack;

use crate::health::Health;
use crate::producer::Client;
use crate::producer::context::Context;
use crate::producer::isolation::Isolation;
use crate::producer::metrics::ClusterMetrics;
use crate::producer::settings;
use crate::producer::ticket::Ticket;

/// What librdkafka gives back with an error.
pub(super) type NotSent<'a> = (KafkaError, BaseRecord<'a, [u8], [u8], Arc<Ticket>>);

/// The producer with `acks=1`. An idempotent one takes `acks=all`, so it is one of its own, made when it is first
/// needed.
pub(super) struct Leader {
    pub(super) settings: ClientConfig,
    pub(super) broker_tells_time: bool,
    pub(super) health: Arc<Health>,
    pub(super) metrics: ClusterMetrics,
    pub(super) suspect: Arc<Notify>,
    /// Where records go that were refused together with others. They then wait for all replicas.
    pub(super) isolation: Arc<Isolation>,
    pub(super) client: RwLock<Option<Arc<Client>>>,
}

impl Leader {
    /// Hands over a record without waiting; for the first it takes milliseconds to make a producer.
    pub(super) fn send<'a>(
        &self,
        record: BaseRecord<'a, [u8], [u8], Arc<Ticket>>,
    ) -> Result<(), Box<NotSent<'a>>> {
        match self.client() {
            // librdkafka has its own copies, and there is no fatal error without idempotence: the client stays.
            Ok(client) => client.send(record).map_err(Box::new),
            Err(error) => {
                tracing::error!(cluster = self.metrics.cluster(), %error, "no producer could be made for ack=leader");
                Err(Box::new((error, record)))
            }
        }
    }

    /// The client, if there is one.
    pub(super) fn current(&self) -> Option<Arc<Client>> {
        self.client.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes the client away; the next is made when it is needed.
    pub(super) fn take(&self) -> Option<Arc<Client>> {
        self.client.write().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn client(&self) -> KafkaResult<Arc<Client>> {
        if let Some(client) = self.current() {
            return Ok(client);
        }
        let mut client = self.client.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = &*client {
            return Ok(Arc::clone(client));
        }
        let context = Context {
            // Nobody follows it: whether the bridge is ready depends on the main producer alone.
            generation: 0,
            ack: Ack::Leader,
            broker_tells_time: self.broker_tells_time,
            health: Arc::clone(&self.health),
            metrics: self.metrics.clone(),
            suspect: Arc::clone(&self.suspect),
            isolation: Some(Arc::clone(&self.isolation)),
        };
        let made = Arc::new(settings::make(&self.settings, context)?);
        *client = Some(Arc::clone(&made));
        Ok(made)
    }
}
