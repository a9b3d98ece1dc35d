//! The thread that writes: all records that wait share one sync, and are acknowledged after it.

use std::sync::mpsc::Sender;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use segment_log::NotAppended;
use wicketgate_envelope::hop::Ack;

use super::drain::Event;
use super::metrics::Counts;
use super::state::{Pending, Shared};
use crate::delivery::Outcome;
use crate::producer::ClusterMetrics;

/// The most bytes that share a sync.
const GROUP_BYTES: usize = 8 << 20;

/// How long a disk that failed is left alone.
const MEND_PAUSE: Duration = Duration::from_secs(1);

/// What a record is answered with that is durable.
const SPOOLED: Outcome = Outcome::Acknowledged { ack: Ack::Spooled, metadata: None };

/// Appends what waits to the log.
pub(super) struct Writer {
    pub(super) log: segment_log::Writer,
    pub(super) shared: Arc<Shared>,
    pub(super) metrics: ClusterMetrics,
    pub(super) counts: Counts,
    /// Notified when there is more to drain.
    pub(super) drainer: Sender<Event>,
    /// Whether the last attempt failed, and the log has it.
    pub(super) failing: bool,
}

impl Writer {
    /// Writes until the spool is to stop and nothing waits.
    pub(super) fn run(mut self) {
        while let Some(group) = self.wait() {
            if !group.is_empty() {
                self.write(group);
            }
            // What fails is tried again after a pause, or before the next record.
            let _ = self.log.mend();
        }
    }

    /// The records that wait; none if it is time to look after a broken disk. `None` when it is time to end.
    fn wait(&self) -> Option<Vec<Pending>> {
        let mut state = self.shared.lock();
        loop {
            if !state.pending.is_empty() {
                let mut bytes = 0;
                let fits = |pending: &&Pending| {
                    bytes += pending.frame.len();
                    bytes <= GROUP_BYTES
                };
                let count = state.pending.iter().take_while(fits).count().max(1);
                let rest = state.pending.split_off(count);
                return Some(std::mem::replace(&mut state.pending, rest));
            }
            if state.stopping {
                return None;
            }
            if self.log.is_broken() {
                let waited = self.shared.to_write.wait_timeout(state, MEND_PAUSE);
                let (next, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
                if timeout.timed_out() {
                    return Some(Vec::new());
                }
                state = next;
            } else {
                state = self.shared.to_write.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    fn write(&mut self, group: Vec<Pending>) {
        let directory = self.shared.log.directory().display();
        match self.log.append(group.iter().map(|pending| &pending.frame)) {
            Ok(appended) => {
                if std::mem::take(&mut self.failing) {
                    tracing::info!(%directory, "the spool is written again");
                }
                self.counts.synced(appended.latency);
                let mut state = self.shared.lock();
                for (sequence, pending) in (appended.first..).zip(&group) {
                    state.aged(sequence, pending.spooled_at);
                }
                self.counts.state(&mut state, &self.shared.log.lock());
                drop(state);
                // The drainer ends after this thread does.
                let _ = self.drainer.send(Event::Durable);
                self.settle(group, SPOOLED);
            }
            Err(NotAppended { error, may_be_found }) => {
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::error!(%directory, %error, "the spool cannot be written");
                }
                // What may be found at the next start is then written to Kafka.
                self.settle(group, if may_be_found { Outcome::Unknown } else { Outcome::Unavailable });
            }
        }
    }

    fn settle(&self, group: Vec<Pending>, outcome: Outcome) {
        let mut state = self.shared.lock();
        for pending in &group {
            state.pending_bytes = state.pending_bytes.saturating_sub(pending.frame.len() as u64);
        }
        drop(state);
        for Pending { reply, claim, since, .. } in group {
            self.metrics.record(outcome.label());
            let metrics = self.metrics.clone();
            let latency = since.elapsed();
            let answer = move || {
                let answered = reply.send(outcome).is_ok();
                metrics.ack(if answered { outcome.label() } else { "abandoned" }, latency);
            };
            // First, so that whoever has the answer and asks again finds it remembered.
            match claim {
                Some(claim) => claim.settle_then(outcome, answer),
                None => answer(),
            }
        }
    }
}
