//! A broker inside the process, for demos and tests: librdkafka's mock cluster.

use std::mem::ManuallyDrop;

use rdkafka::error::KafkaError;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

/// A Kafka broker that lives as long as the process. It keeps records in memory, drops the oldest once a partition
/// has 5 MiB, creates each topic that is asked for with four partitions, and listens on 127.0.0.1 only.
#[allow(missing_debug_implementations, reason = "the mock cluster has nothing to show")]
pub struct EmbeddedBroker {
    /// Never destroyed: librdkafka's mock cluster may wait for itself for ever if that happens while clients connect,
    /// and a bridge that has stopped in order would not end.
    cluster: ManuallyDrop<MockCluster<'static, DefaultProducerContext>>,
}

impl EmbeddedBroker {
    /// Starts a broker on a free port.
    ///
    /// # Errors
    /// When librdkafka cannot, for instance for lack of a port.
    pub fn start() -> Result<Self, KafkaError> {
        Ok(Self { cluster: ManuallyDrop::new(MockCluster::new(1)?) })
    }

    /// Where it is, as `127.0.0.1:PORT`.
    pub fn bootstrap_servers(&self) -> String {
        self.cluster.bootstrap_servers()
    }
}
