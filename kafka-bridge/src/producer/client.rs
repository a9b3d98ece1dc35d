//! The clients of librdkafka that write records. All of a cluster's clients, and why each is one of its own:
//!
//! | client | its reason | there |
//! |---|---|---|
//! | main | idempotent, `acks=all`: the order of records, each written once | always |
//! | leader | `acks=1`, which an idempotent client cannot have | from the first record with `ack=leader` |
//! | isolated | batches of one record, so that a refusal is of that record | once the main one can produce |
//! | observer, quick | asks whether the cluster answers, and gives up on a broker soon (`socket.timeout.ms` is of a client) | always |
//! | observer, patient | asks the same of a cluster that takes long | always |
//! | topic check | an admin client, which has the settings of topics | while named topics are looked at |
//! | drain | never gives a record up, as the spool has it on disk | with a spool |
//! | drain, one by one | gives up soon, to learn what is the matter with a record | once a spooled record is stuck |

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, Producer as _, ThreadedProducer};
use tokio::sync::Notify;
use wicketgate_envelope::hop::Ack;

use crate::health::Health;
use crate::producer::context::Context;
use crate::producer::isolation::Isolation;
use crate::producer::metrics::ClusterMetrics;
use crate::producer::settings;
use crate::producer::ticket::Ticket;

pub(super) type Client = ThreadedProducer<Context>;

/// What librdkafka gives back with an error.
pub(super) type NotSent<'a> = (KafkaError, BaseRecord<'a, [u8], [u8], Arc<Ticket>>);

/// What all clients of a cluster have in common.
#[derive(Clone)]
pub(super) struct Common {
    /// Whether the timestamp in a broker's answer is that of the record. librdkafka's mock cluster always answers
    /// with the same one, whatever it keeps.
    pub(super) broker_tells_time: bool,
    pub(super) health: Arc<Health>,
    pub(super) metrics: ClusterMetrics,
    /// Notified when a client may be beyond repair.
    pub(super) suspect: Arc<Notify>,
}

/// A client that is made when it is first needed, and can be replaced.
pub(super) struct LazyClient {
    settings: ClientConfig,
    /// What its delivery reports say of a record.
    ack: Ack,
    common: Common,
    /// Where records that were refused together with others go; `None` for the client that produces them alone.
    isolation: Option<Arc<Isolation>>,
    client: RwLock<Option<Arc<Client>>>,
}

impl LazyClient {
    pub(super) fn new(
        settings: ClientConfig,
        ack: Ack,
        common: Common,
        isolation: Option<Arc<Isolation>>,
    ) -> Self {
        Self { settings, ack, common, isolation, client: RwLock::default() }
    }

    /// The client, for as long as nobody replaces it. The last to have hold of a client waits for its thread, so
    /// librdkafka's own threads must not clone it.
    pub(super) fn read(&self) -> RwLockReadGuard<'_, Option<Arc<Client>>> {
        self.client.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Option<Arc<Client>>> {
        self.client.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The client, if there is one. Not for librdkafka's threads, see [`Self::read`].
    pub(super) fn current(&self) -> Option<Arc<Client>> {
        self.read().clone()
    }

    /// Makes the client if there is none. Takes milliseconds; connecting goes on in the background.
    pub(super) fn start(&self) -> KafkaResult<()> {
        if self.read().is_some() {
            return Ok(());
        }
        let mut client = self.write();
        if client.is_none() {
            // Nobody follows it: whether the bridge is ready depends on the main client alone.
            *client = Some(self.make(0)?);
        }
        Ok(())
    }

    /// Sends a record without waiting, by a client that is made for the first one.
    pub(super) fn send<'a>(
        &self,
        record: BaseRecord<'a, [u8], [u8], Arc<Ticket>>,
    ) -> Result<(), Box<NotSent<'a>>> {
        if let Err(error) = self.start() {
            let (cluster, ack) = (self.common.metrics.cluster(), self.ack);
            tracing::error!(cluster, ?ack, %error, "no producer could be made");
            return Err(Box::new((error, record)));
        }
        match &*self.read() {
            Some(client) => client.send(record).map_err(Box::new),
            // It has been taken away in this moment.
            None => Err(Box::new((KafkaError::Canceled, record))),
        }
    }

    /// The code of the error after which the client is of no more use, if there was one.
    pub(super) fn fatal_error(&self) -> Option<RDKafkaErrorCode> {
        self.read().as_ref()?.client().fatal_error().map(|(code, _)| code)
    }

    /// Makes a client.
    pub(super) fn make(&self, generation: u64) -> KafkaResult<Arc<Client>> {
        let context = Context {
            generation,
            ack: self.ack,
            common: self.common.clone(),
            isolation: self.isolation.clone(),
        };
        Ok(Arc::new(settings::make(&self.settings, context)?))
    }

    /// Puts a client in the place of the one that there is; returns that, which may still have records.
    pub(super) fn replace(&self, next: Arc<Client>) -> Option<Arc<Client>> {
        self.write().replace(next)
    }

    /// Takes the client away; the next is made when it is needed.
    pub(super) fn take(&self) -> Option<Arc<Client>> {
        self.write().take()
    }
}
