//! `kafka-bridge` takes CloudEvents over HTTP and answers once Kafka has them, or says truthfully that it does not
//! know. `docs/bridge.md` describes it to those who use it.

pub mod config;
pub mod embedded;
pub mod health;
pub mod hop;
pub mod http;
pub mod idempotency;
pub mod metrics;
pub mod problem;
pub mod producer;
pub mod server;
pub mod shutdown;
pub mod stats;
pub mod topics;

use std::sync::Arc;
use std::time::Duration;

use rdkafka::error::KafkaError;
use tokio::time::{Instant, MissedTickBehavior};

use config::Config;
use health::{Health, Readiness};
use hop::Guard;
use http::{Limits, Shared};
use idempotency::Memory;
use metrics::Metrics;
use producer::Producer;
use server::Listener;
use topics::Allowed;

/// How often it is checked that a broker is connected.
const PROBE_INTERVAL: Duration = Duration::from_millis(500);

/// What was left undone when the bridge ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leftover {
    /// Whether requests were cut off.
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

/// Runs the bridge on `listeners` until `stop` is done, and then until all requests and records in flight are
/// answered or the shutdown timeout is over. `guard` decides who may call.
///
/// # Errors
/// When librdkafka refuses the configuration.
pub async fn run(
    config: &Config,
    bootstrap_servers: &str,
    guard: Guard,
    listeners: Vec<Listener>,
    stop: impl Future<Output = ()>,
) -> Result<Leftover, KafkaError> {
    let health = Arc::new(Health::default());
    let metrics = Arc::new(Metrics::default());
    let producer =
        Arc::new(Producer::new(config, bootstrap_servers, Arc::clone(&health), Arc::clone(&metrics))?);
    let background = [
        tokio::spawn(Arc::clone(&producer).supervise()),
        tokio::spawn(watch_cluster(Arc::clone(&producer), Arc::clone(&health))),
    ];
    let router = http::router(Arc::new(Shared {
        producer: Arc::clone(&producer),
        health: Arc::clone(&health),
        idempotency: Memory::new(config, Arc::clone(&metrics)),
        metrics,
        limits: Limits::new(config),
        guard,
        topics: Allowed::new(config.allowed_topics.clone()),
    }));

    let stop = async {
        stop.await;
        health.stop();
    };
    let draining = server::serve(listeners, router, server::Settings::new(config), stop).await;
    let deadline = Instant::now() + config.shutdown_timeout;
    let requests = tokio::time::timeout_at(deadline, draining.finish()).await.is_err();
    let remaining = deadline.saturating_duration_since(Instant::now());
    let records = tokio::task::spawn_blocking({
        let producer = Arc::clone(&producer);
        move || producer.flush(remaining)
    })
    .await
    .unwrap_or(usize::MAX);
    for task in background {
        task.abort();
    }
    Ok(Leftover { requests, records })
}

/// Keeps [`Health`] informed: fetches metadata at the start and whenever no broker is connected, which also makes
/// librdkafka connect. Never returns.
async fn watch_cluster(producer: Arc<Producer>, health: Arc<Health>) {
    let mut ticks = tokio::time::interval(PROBE_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut before = None;
    loop {
        ticks.tick().await;
        if !health.broker_up() || health.readiness() == Readiness::Starting {
            let producer = Arc::clone(&producer);
            // Asking blocks, so it gets a thread for it.
            let reached = tokio::task::spawn_blocking(move || producer.probe()).await.unwrap_or(false);
            health.probed(reached);
        }
        let now = health.readiness();
        if before.replace(now) != Some(now) {
            tracing::info!("{}", now.text());
        }
    }
}
