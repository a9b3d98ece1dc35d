//! Keeps a cluster's [`Health`](crate::health::Health) and breaker informed, also while there is no traffic.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::clusters::Cluster;
use crate::health::Readiness;

/// How often it is looked whether records have waited for too long.
const TICK: Duration = Duration::from_millis(50);
/// From one probe to the next while something is wrong.
const DISTURBED_PAUSE: Duration = Duration::from_millis(500);
/// How long the cluster may say nothing of itself before it is asked.
const SILENCE: Duration = Duration::from_secs(1);
/// Asking for all topics takes no more than this part of the time.
const SHARE_OF_ALL_TOPICS: u32 = 50;
/// But is not put off for longer than this.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// When the last probe ended, and how long the cluster took for an answer about all topics, if that is known.
#[derive(Clone, Copy, Debug)]
struct Last {
    ended: Instant,
    all_topics: Option<Duration>,
}

/// A probe that is under way.
struct Probe {
    began: Instant,
    task: JoinHandle<Last>,
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
        if let Some(ended) = probe.take_if(|probe: &mut Probe| probe.task.is_finished()) {
            last = ended.task.await.ok();
        }
        match &probe {
            Some(probe) if cluster.producer.probe_finds_nobody() => health.probed(false, probe.began),
            Some(_) => {}
            None if is_due(&cluster, last, now) => {
                let cluster = Arc::clone(&cluster);
                // Asking blocks, so it gets a thread for it.
                let task = tokio::task::spawn_blocking(move || ask(&cluster, now));
                probe = Some(Probe { began: now, task });
            }
            None => {}
        }
        let obstacle = cluster.obstacle();
        if before.as_ref() != Some(&obstacle) {
            tracing::info!(cluster = cluster.name, "{}", obstacle.as_deref().unwrap_or("ready"));
            before = Some(obstacle);
        }
    }
}

fn ask(cluster: &Cluster, began: Instant) -> Last {
    let Cluster { producer, health, .. } = cluster;
    let known = health.breaker().known_topic();
    let topic = known.as_deref().or(producer.named_topic());
    let answered = producer.probe(topic);
    health.probed(answered.is_some(), began);
    if answered.is_some() && !health.broker_up() {
        producer.connect();
    }
    let took = answered.and_then(|answered| answered.took);
    Last { ended: Instant::now(), all_topics: took.filter(|_| topic.is_none()) }
}

fn is_due(cluster: &Cluster, last: Option<Last>, now: Instant) -> bool {
    let health = &cluster.health;
    let Some(last) = last else { return true };
    let since_last = now.saturating_duration_since(last.ended);
    let starting = health.readiness() == Readiness::Starting;
    if starting || !health.broker_up() || health.breaker().is_disturbed() {
        return since_last >= DISTURBED_PAUSE;
    }
    let silent =
        health.breaker().last_answer().is_none_or(|answer| now.saturating_duration_since(answer) >= SILENCE);
    if !silent || since_last < SILENCE {
        return false;
    }
    // By now there may be a topic to ask about.
    last.all_topics.is_none_or(|took| {
        since_last >= (took * SHARE_OF_ALL_TOPICS).min(LONGEST_PAUSE)
            || health.breaker().known_topic().is_some()
    })
}
