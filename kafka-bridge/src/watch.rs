//! Keeps a cluster's [`Health`] and breaker informed, also while there is no traffic.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::MissedTickBehavior;

use crate::clusters::Cluster;
use crate::health::{Health, Readiness};

/// How often it is looked whether records have waited for too long.
const TICK: Duration = Duration::from_millis(50);
/// From one probe to the next while something is wrong.
const DISTURBED_PAUSE: Duration = Duration::from_millis(500);
/// How long the cluster may say nothing of itself before it is asked.
const SILENCE: Duration = Duration::from_secs(1);
/// Asking for all topics takes no more than this part of the time.
const SHARE_OF_ALL_TOPICS: u32 = 50;

/// When the last probe ended, and how long it took.
#[derive(Clone, Copy, Debug)]
struct Last {
    ended: Instant,
    took: Duration,
    all_topics: bool,
}

/// Looks after the cluster. Never returns.
pub async fn watch(cluster: Arc<Cluster>) {
    let health = &cluster.health;
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut before, mut last, mut probe) = (None, None, None);
    loop {
        ticks.tick().await;
        let now = Instant::now();
        health.breaker().check(now);
        // One at a time.
        if let Some(ended) = probe.take_if(|probe: &mut tokio::task::JoinHandle<Last>| probe.is_finished()) {
            last = ended.await.ok();
        }
        if probe.is_none() && is_due(health, last, now) {
            let cluster = Arc::clone(&cluster);
            // Asking blocks, so it gets a thread for it.
            probe = Some(tokio::task::spawn_blocking(move || ask(&cluster)));
        }
        let obstacle = cluster.obstacle();
        if before.as_ref() != Some(&obstacle) {
            tracing::info!(cluster = cluster.name, "{}", obstacle.as_deref().unwrap_or("ready"));
            before = Some(obstacle);
        }
    }
}

fn ask(cluster: &Cluster) -> Last {
    let Cluster { producer, health, .. } = cluster;
    let began = Instant::now();
    let known = health.breaker().known_topic();
    let topic = known.as_deref().or(producer.named_topic());
    let reached = producer.probe(topic);
    let took = began.elapsed();
    health.probed(reached, began);
    if reached && !health.broker_up() {
        producer.connect();
    }
    Last { ended: Instant::now(), took, all_topics: topic.is_none() }
}

fn is_due(health: &Health, last: Option<Last>, now: Instant) -> bool {
    let Some(last) = last else { return true };
    let since_last = now.saturating_duration_since(last.ended);
    let starting = health.readiness() == Readiness::Starting;
    if starting || !health.broker_up() || health.breaker().is_disturbed() {
        return since_last >= DISTURBED_PAUSE;
    }
    let pause = if last.all_topics { SILENCE.max(last.took * SHARE_OF_ALL_TOPICS) } else { SILENCE };
    let silent =
        health.breaker().last_answer().is_none_or(|answer| now.saturating_duration_since(answer) >= SILENCE);
    silent && since_last >= pause
}
