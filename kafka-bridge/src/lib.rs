//! `kafka-bridge` takes CloudEvents over HTTP and answers once Kafka has them, or says truthfully that it does not
//! know. `docs/bridge.md` describes it to those who use it.

mod body_memory;
pub mod breaker;
pub mod clusters;
pub mod config;
pub mod delivery;
pub mod embedded;
pub mod health;
pub mod hop;
pub mod http;
pub mod idempotency;
pub mod limits;
pub mod metrics;
pub mod problem;
pub mod producer;
mod redis_link;
pub mod reload;
pub mod server;
pub mod shutdown;
pub mod sparse;
pub mod spool;
pub mod stats;
pub mod telemetry;
pub mod topics;
mod values;
pub mod watch;

use std::sync::Arc;

use prometheus_client::registry::Registry;
use thiserror::Error;
use tokio::time::Instant;

use clusters::{Clusters, StartError};
use config::{Config, Loaded};
use http::{Limits, Shared};
use idempotency::{Memory, MemoryError, Waits};
use limits::SharedLimits;
use metrics::Exposition;
use reload::{Reloads, Running};
use server::{Connections, Listener, TooManyConnections};
use spool::{DirectoryLock, FoundSpools, SpoolError};
use telemetry::{Telemetry, TelemetryError};

/// Why the bridge does not run.
#[derive(Debug, Error)]
pub enum RunError {
    /// A cluster has settings that librdkafka does not take.
    #[error(transparent)]
    Kafka(#[from] StartError),
    /// Events cannot be remembered as they should be.
    #[error(transparent)]
    Idempotency(#[from] MemoryError),
    /// The spool cannot be used as it is.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// More connections are to be served than the process may have.
    #[error(transparent)]
    Connections(#[from] TooManyConnections),
    /// The Redis of shared limits cannot be used as configured.
    #[error("{}", .0.join("\n"))]
    SharedLimits(Vec<String>),
    /// Spans cannot be sent as configured.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    /// A panic while the disk was read, which has been told.
    #[error("the start was cut short")]
    Cut,
}

/// What was left undone when the bridge ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leftover {
    /// Whether requests were cut off, of those that had been let in.
    pub requests: bool,
    /// Records without an answer from Kafka.
    pub records: usize,
}

impl Leftover {
    /// Whether there was none.
    pub fn is_none(self) -> bool {
        !self.requests && self.records == 0
    }
}

/// What is there before anything is served.
struct Opened {
    clusters: Arc<Clusters>,
    records: Arc<producer::Metrics>,
    memory: Option<Arc<Memory>>,
    spools: Option<FoundSpools>,
}

impl Opened {
    /// Makes the producers, and reads what is on disk. Blocks.
    fn new(config: &Config, bootstrap_servers: &str, registry: &mut Registry) -> Result<Self, RunError> {
        let breakers = Arc::new(breaker::Metrics::register(registry));
        let records = Arc::new(producer::Metrics::register(registry));
        let default = config.default_cluster(bootstrap_servers);
        let clusters = Clusters::new(
            &config.readiness,
            &config.kafka,
            &default,
            &config.clusters,
            clusters::Metrics::register(registry),
            (&breakers, &records),
        )?;
        // What is remembered may be in there too.
        let lock = config.spool.spool_dir.as_deref().map(DirectoryLock::take).transpose()?;
        let waits = Waits { answer: config.kafka.answer_timeout(), outcome: producer::kept(&config.kafka) };
        let journal_dir = config.journal_dir();
        let memory = Memory::new(
            &config.idempotency,
            journal_dir.as_deref(),
            waits,
            Arc::new(idempotency::Metrics::register(registry)),
        )?;
        let all: Vec<_> = std::iter::once(default).chain(config.clusters.iter().cloned()).collect();
        let spools = FoundSpools::look(
            &config.spool,
            &config.kafka,
            &all,
            lock,
            memory.as_ref(),
            &spool::Metrics::register(registry),
            &records,
        )?;
        Ok(Self { clusters: Arc::new(clusters), records, memory, spools })
    }
}

/// Runs the bridge on `listeners` until `stop` is done, and then until all requests and records in flight are
/// answered or the shutdown timeout is over. Each configuration of `reloads` replaces the one before.
///
/// # Errors
/// When librdkafka refuses the configuration of a cluster, the process may not have as many connections as it asks for, what should outlive the process has no place on disk or
/// cannot be used as it is, or spans cannot be sent as configured.
pub async fn run(
    loaded: Loaded,
    bootstrap_servers: &str,
    listeners: Vec<Listener>,
    reloads: Reloads,
    stop: impl Future<Output = ()>,
) -> Result<Leftover, RunError> {
    let Loaded { config, guard, tls } = loaded;
    let mut registry = metrics::registry();
    let most = server::most_connections(config.server.max_connections, 1 + config.clusters.len())?;
    let connections = Connections::new(most, Arc::new(server::Metrics::register(&mut registry)));
    let mut stop = std::pin::pin!(stop);
    // What is on disk may take long to read, and a stop is heard meanwhile. It is as after a crash then, which is what that is
    // read for.
    let opening = tokio::task::spawn_blocking({
        let (config, servers) = (config.clone(), bootstrap_servers.to_owned());
        move || Opened::new(&config, &servers, &mut registry).map(|opened| (opened, registry))
    });
    let (Opened { clusters, records, memory, spools }, mut registry) = tokio::select! {
        biased;
        () = &mut stop => return Ok(Leftover { requests: false, records: 0 }),
        opened = opening => opened.map_err(|_| RunError::Cut)??,
    };
    let telemetry = Telemetry::new(&config.telemetry, Arc::new(telemetry::Metrics::register(&mut registry)))?
        .map(Arc::new);
    let shared_limits = Arc::new(
        SharedLimits::new(&config.limits, limits::Metrics::register(&mut registry))
            .map_err(RunError::SharedLimits)?,
    );
    let checked = Arc::clone(&shared_limits);
    tokio::spawn(async move { checked.check().await });
    // Last, so that nothing is drained by a bridge that does not come to run.
    let spools = spools.map(FoundSpools::start).transpose()?.map(Arc::new);
    let background = clusters.supervise();
    let (metrics, reloads_counted) =
        (Arc::new(http::Metrics::register(&mut registry)), reload::Metrics::register(&mut registry));
    let shared = Shared {
        clusters: Arc::clone(&clusters),
        idempotency: memory.clone(),
        spools: spools.clone(),
        metrics,
        records,
        exposition: Arc::new(Exposition::new(registry)),
        shared_limits,
        limits: Limits::new(&config.http, &config.server.reloadable, &config.kafka, None),
        guard,
        telemetry: telemetry.clone(),
        topics: reload::topics(&config),
    };
    let (mut running, served) = Running::new(config, shared, reloads_counted, tls);

    let stop = async {
        stop.await;
        clusters.stop();
    };
    let draining = tokio::select! {
        draining = server::serve(listeners, served, connections, stop) => draining,
        never = running.follow(reloads) => match never {},
    };
    let deadline = Instant::now() + running.config().reloadable.shutdown_timeout;
    let unfinished = tokio::time::timeout_at(deadline, draining.finish()).await.is_err();
    let requests = unfinished && draining.has_requests();
    let records = clusters.flush(deadline).await;
    let remember = async || {
        let Some(memory) = memory.clone() else { return };
        let remaining = deadline.saturating_duration_since(Instant::now());
        let _ = tokio::task::spawn_blocking(move || memory.flush(remaining)).await;
    };
    remember().await;
    for task in background {
        task.abort();
    }
    if let Some(spools) = spools {
        let _ = tokio::task::spawn_blocking(move || spools.stop(deadline.into_std())).await;
        // Kafka may have taken some of it.
        remember().await;
    }
    if let Some(telemetry) = telemetry {
        let remaining = deadline.saturating_duration_since(Instant::now());
        // By now each record has ended its span. That some were not sent is told in the log, and changes nothing.
        let _ = tokio::task::spawn_blocking(move || telemetry.stop(remaining)).await;
    }
    Ok(Leftover { requests, records })
}
