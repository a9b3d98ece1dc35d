//! The Kafka clusters that the bridge writes, by their names.

mod metrics;
mod options;

use std::collections::BTreeMap;
use std::sync::Arc;

use rdkafka::error::KafkaError;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use crate::breaker::{self, Breaker};
use crate::health::{Health, Readiness};
use crate::producer::{self, ClusterMetrics, ClusterOptions, DEFAULT_CLUSTER, Producer, TopicCheck};
use crate::spool::{Spool, Spools};
use crate::watch::{not_ready_reason, watch};
pub use metrics::Metrics;
pub use options::{Options, ReadyWhen};

/// One cluster: its producer, and what is known of it.
#[allow(missing_debug_implementations, reason = "librdkafka's client has nothing to show")]
pub struct Cluster {
    /// Its name in the configuration.
    pub name: String,
    /// Where records go.
    pub producer: Arc<Producer>,
    /// Whether they can.
    pub health: Arc<Health>,
    /// What is counted of it.
    pub metrics: ClusterMetrics,
    /// Whether the bridge is ready only if this cluster is.
    required: bool,
    /// Whether its topics are as they have to be, if any are named.
    check: Option<Arc<TopicCheck>>,
}

/// All clusters: the default one, and those with a name of their own.
#[allow(missing_debug_implementations, reason = "librdkafka's client has nothing to show")]
pub struct Clusters {
    default: Arc<Cluster>,
    named: BTreeMap<String, Arc<Cluster>>,
    ready_when: ReadyWhen,
    metrics: Metrics,
}

/// librdkafka does not take the settings of a cluster.
#[derive(Debug, thiserror::Error)]
#[error("cluster {cluster}: {error}")]
pub struct StartError {
    cluster: String,
    error: KafkaError,
}

/// Whether the bridge as a whole can produce, for those who run it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadinessReport {
    /// Whether all clusters that are required can be written.
    pub ready: bool,
    /// Why not, and which other clusters cannot. Without addresses.
    pub text: String,
}

impl Cluster {
    fn new(
        kafka: &producer::Options,
        cluster: &ClusterOptions,
        (breakers, records): (&Arc<breaker::Metrics>, &Arc<producer::Metrics>),
    ) -> Result<Arc<Self>, StartError> {
        let metrics = records.of_cluster(&cluster.name);
        let breaker = Breaker::new(kafka.breaker_stall(), breakers.of_cluster(&cluster.name));
        let health = Arc::new(Health::new(breaker));
        let producer = Producer::new(kafka, cluster, Arc::clone(&health), metrics.clone())
            .map_err(|error| StartError { cluster: cluster.name.clone(), error })?;
        Ok(Arc::new(Self {
            name: cluster.name.clone(),
            producer: Arc::new(producer),
            health,
            metrics,
            required: cluster.required,
            check: TopicCheck::new(kafka, cluster),
        }))
    }

    /// Why records cannot be written now; `None` if they can.
    pub fn not_ready_reason(&self) -> Option<String> {
        not_ready_reason(&self.health, self.check.as_deref())
    }
}

impl Clusters {
    /// Makes the producers of all clusters, the default one first; connecting goes on in the background.
    ///
    /// # Errors
    /// When librdkafka does not accept the settings of one of them or cannot start its threads.
    pub fn new(
        options: &Options,
        kafka: &producer::Options,
        default: &ClusterOptions,
        named: &[ClusterOptions],
        metrics: Metrics,
        counted: (&Arc<breaker::Metrics>, &Arc<producer::Metrics>),
    ) -> Result<Self, StartError> {
        let named = named
            .iter()
            .map(|cluster| Ok((cluster.name.clone(), Cluster::new(kafka, cluster, counted)?)))
            .collect::<Result<_, StartError>>()?;
        let default = Cluster::new(kafka, default, counted)?;
        Ok(Self { default, named, ready_when: options.ready_when, metrics })
    }

    /// The cluster with this name, or the default one; `None` if there is none of that name.
    pub fn get(&self, name: Option<&str>) -> Option<&Arc<Cluster>> {
        match name {
            None | Some(DEFAULT_CLUSTER) => Some(&self.default),
            Some(name) => self.named.get(name),
        }
    }

    /// Each of them, the default one first.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Cluster>> {
        std::iter::once(&self.default).chain(self.named.values())
    }

    /// Whether the bridge as a whole can produce, or spool where that is enough.
    pub fn readiness(&self, spools: Option<&Spools>) -> ReadinessReport {
        if self.default.health.readiness() == Readiness::Stopping {
            self.metrics.ready(false);
            return ReadinessReport { ready: false, text: Readiness::Stopping.text().to_owned() };
        }
        let (mut ready, mut texts) = (true, Vec::new());
        for cluster in self.all() {
            let reason = cluster.not_ready_reason();
            self.metrics.cluster_ready(&cluster.name, reason.is_none());
            let Some(mut reason) = reason else { continue };
            let spool = spools.filter(|_| self.ready_when == ReadyWhen::Spooling);
            let spool = spool.and_then(|spools| spools.of(&cluster.name));
            // A topic that has to be there has to be there for spooled records too.
            let spools =
                cluster.health.readiness() != Readiness::Ready && spool.is_some_and(Spool::takes_records);
            if spools {
                reason.push_str(", and records are spooled");
            }
            ready &= spools || !cluster.required;
            texts.push(match (self.named.is_empty(), cluster.required) {
                (true, _) => reason,
                (false, true) => format!("cluster {}: {reason}", cluster.name),
                (false, false) => format!("cluster {}, which is not required: {reason}", cluster.name),
            });
        }
        self.metrics.ready(ready);
        if ready {
            texts.insert(0, "ready".to_owned());
        }
        ReadinessReport { ready, text: texts.join("; ") }
    }

    /// Watches over all clusters and their producers until the tasks are aborted.
    pub fn supervise(&self) -> Vec<JoinHandle<()>> {
        self.all()
            .flat_map(|cluster| {
                let producer = Arc::clone(&cluster.producer);
                let check = cluster.check.clone();
                let check = check.map(|check| tokio::spawn(check.run(Arc::clone(&cluster.health))));
                let watched = watch(
                    cluster.name.clone(),
                    Arc::clone(&producer),
                    Arc::clone(&cluster.health),
                    cluster.check.clone(),
                );
                [tokio::spawn(producer.supervise()), tokio::spawn(watched)].into_iter().chain(check)
            })
            .collect()
    }

    /// The process is ending.
    pub fn stop(&self) {
        self.all().for_each(|cluster| cluster.health.stop());
    }

    /// Waits until all that was enqueued has its answer, but not beyond `deadline`; returns how many records have none.
    pub async fn flush(&self, deadline: Instant) -> usize {
        let mut flushing = JoinSet::new();
        for cluster in self.all() {
            let producer = Arc::clone(&cluster.producer);
            let remaining = deadline.saturating_duration_since(Instant::now());
            flushing.spawn_blocking(move || producer.flush(remaining));
        }
        let mut left: usize = 0;
        while let Some(records) = flushing.join_next().await {
            left = left.saturating_add(records.unwrap_or(usize::MAX));
        }
        left
    }
}
