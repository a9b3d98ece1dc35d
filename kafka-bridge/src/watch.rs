//! Keeps a cluster's [`Health`] and breaker informed, also while there is no traffic.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::health::{Health, Readiness};
use crate::producer::{Producer, TopicCheck};

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

/// Why records cannot be written now; `None` if they can.
pub fn not_ready_reason(health: &Health, topics: Option<&TopicCheck>) -> Option<String> {
    match health.readiness() {
        Readiness::Ready => topics?.not_ready_reason(),
        not => Some(not.text().to_owned()),
    }
}

/// Watches the cluster of this name. Never returns.
pub async fn watch(
    cluster: String,
    producer: Arc<Producer>,
    health: Arc<Health>,
    topics: Option<Arc<TopicCheck>>,
) {
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
            Some(probe) if producer.probe_finds_nobody() => health.probed(false, probe.began),
            Some(_) => {}
            None if is_due(&health, last, now) => {
                let (producer, health) = (Arc::clone(&producer), Arc::clone(&health));
                // Asking blocks, so it gets a thread for it.
                let task = tokio::task::spawn_blocking(move || ask(&producer, &health, now));
                probe = Some(Probe { began: now, task });
            }
            None => {}
        }
        let reason = not_ready_reason(&health, topics.as_deref());
        if before.as_ref() != Some(&reason) {
            tracing::info!(cluster, "{}", reason.as_deref().unwrap_or("ready"));
            before = Some(reason);
        }
    }
}

fn ask(producer: &Producer, health: &Health, began: Instant) -> Last {
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

fn is_due(health: &Health, last: Option<Last>, now: Instant) -> bool {
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
