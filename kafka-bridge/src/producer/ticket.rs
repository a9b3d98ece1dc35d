//! What travels with a record through librdkafka, and is settled twice at most: for its caller when the delivery timeout is
//! over, and for the memory of events when Kafka has answered.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::oneshot;
use wicketgate_envelope::timestamp::Timestamp;

use crate::breaker::{Permit, Settlement};
use crate::delivery::{Observers, Outcome};
use crate::producer::metrics::ClusterMetrics;
use crate::producer::overdue::Counted;

/// Travels with a record. Because the delivery report settles it whether or not anybody waits any more, every record is
/// counted exactly once.
#[derive(Debug)]
pub(super) struct Ticket {
    pub(super) enqueued: Instant,
    /// What the record says of itself, unless the topic has the broker say it (`LogAppendTime`).
    pub(super) created: Timestamp,
    pub(super) request_id: Option<Arc<str>>,
    open: Mutex<Option<Open>>,
}

/// What there is to tell, and to whom.
#[derive(Debug)]
pub(super) struct Open {
    /// Who waits; `None` if nobody does, because that was not asked for, or because the answer was given.
    pub(super) reply: Option<oneshot::Sender<Outcome>>,
    /// Told the outcome too, so that it is known whether or not anybody waits.
    pub(super) observers: Observers,
    /// What the breaker let through.
    pub(super) permit: Permit,
    pub(super) counted: Counted,
}

impl Ticket {
    pub(super) fn new(created: Timestamp, request_id: Option<Arc<str>>, open: Open) -> Arc<Self> {
        Arc::new(Self { enqueued: Instant::now(), created, request_id, open: Mutex::new(Some(open)) })
    }

    /// Whether all is told.
    pub(super) fn is_settled(&self) -> bool {
        self.open().is_none()
    }

    /// The record was not enqueued; nothing is told by this.
    pub(super) fn take_back(&self) -> Option<Observers> {
        Some(self.open().take()?.observers)
    }

    /// This became of the record.
    pub(super) fn settle(&self, outcome: Outcome, metrics: &ClusterMetrics) {
        let Some(open) = self.open().take() else { return };
        let Open { reply, observers, permit, counted } = open;
        let latency = self.enqueued.elapsed();
        permit.settle(settlement(outcome));
        if counted.is_overdue() {
            metrics.late(outcome.label());
        } else {
            metrics.record(outcome.label());
        }
        let told = counted.is_overdue();
        let metrics = metrics.clone();
        let answer = move || {
            if told {
                return;
            }
            let answered = reply.is_none_or(|reply| reply.send(outcome).is_ok());
            metrics.ack(if answered { outcome.label() } else { "abandoned" }, latency);
        };
        // Not before, so that whoever has the answer and asks again finds it remembered.
        observers.settled(outcome, Box::new(answer));
    }

    /// The delivery timeout is over: whoever waits is told that nobody knows. What Kafka says later is still for the memory of
    /// events. Returns the topic, unless all is told already.
    pub(super) fn give_up(&self, metrics: &ClusterMetrics) -> Option<Arc<str>> {
        let mut guard = self.open();
        let open = guard.as_mut()?;
        open.counted.overdue();
        open.permit.overdue();
        let outcome = Outcome::Unknown;
        metrics.record(outcome.label());
        open.observers.overdue();
        let answered = open.reply.take().is_none_or(|reply| reply.send(outcome).is_ok());
        metrics.ack(if answered { outcome.label() } else { "abandoned" }, self.enqueued.elapsed());
        Some(Arc::clone(open.permit.topic()))
    }

    fn open(&self) -> MutexGuard<'_, Option<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an outcome says of Kafka.
const fn settlement(outcome: Outcome) -> Settlement {
    match outcome {
        Outcome::Acknowledged { .. } => Settlement::Acknowledged,
        // Unavailable: refused together with others, and too late to be tried alone.
        Outcome::TooLarge | Outcome::Refused | Outcome::Unavailable => Settlement::Refused,
        Outcome::Unknown => Settlement::Failed,
    }
}
