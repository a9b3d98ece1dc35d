//! Setting aside what Kafka does not take, many records at a time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use segment_log::UnsealedFrame;

use super::super::record::Entry;
use super::Drainer;

/// How much is set aside at a time, with one sync.
pub(super) const ASIDE_RECORDS: usize = 1_000;
const ASIDE_BYTES: usize = 4 << 20;

/// How often the log says that records were refused.
const REFUSED_LOG_PAUSE: Duration = Duration::from_secs(60);

impl Drainer {
    /// Sets aside some of what Kafka does not take; returns whether there is more that could be.
    pub(super) fn set_aside(&mut self) -> bool {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        let mut frames = Vec::new();
        while batch.len() < ASIDE_RECORDS
            && bytes < ASIDE_BYTES
            && let Some((sequence, reason)) = self.to_set_aside.pop_front()
        {
            if self.is_done(sequence) {
                continue;
            }
            let Some(record) = self.read(sequence) else {
                self.to_set_aside.push_front((sequence, reason));
                break;
            };
            // One of a later version perhaps stays as it is.
            let entry = Entry::decode(record.payload());
            let frame = entry.map_or_else(
                || UnsealedFrame::of(record.payload()),
                |entry| Entry { reason: Some(&reason), ..entry }.encode(),
            );
            bytes += frame.len();
            batch.push((reason, record));
            frames.push((sequence, frame));
        }
        if batch.is_empty() {
            return false;
        }
        let taken = match self.dead_letters.append(&frames) {
            Ok(taken) => taken,
            Err(error) => {
                if !std::mem::replace(&mut self.aside_failed, true) {
                    tracing::error!(%error, "records that Kafka refused cannot be set aside; trying again");
                }
                let back = batch.into_iter().map(|(reason, record)| (record.sequence, reason));
                back.rev().for_each(|refused| self.to_set_aside.push_front(refused));
                return false;
            }
        };
        self.aside_failed = false;
        self.shared.lock().dead_letters.bytes += taken;
        for (reason, record) in batch {
            let topic = self.slot(record.sequence).map(|slot| {
                slot.done = true;
                Arc::clone(&slot.topic)
            });
            self.shared.lock().dead_letters.add(topic.as_deref().unwrap_or_default());
            self.counts.refused();
            if let Some(entry) = Entry::decode(record.payload()) {
                self.log_refused(&entry, &reason);
            }
        }
        !self.to_set_aside.is_empty()
    }

    pub(super) fn log_refused(&mut self, entry: &Entry<'_>, reason: &str) {
        self.refused_since_log += 1;
        if self.refused_logged.is_none_or(|at| at.elapsed() >= REFUSED_LOG_PAUSE) {
            tracing::error!(
                topic = entry.topic,
                request_id = entry.request_id,
                reason,
                records = self.refused_since_log,
                "Kafka refuses spooled records; they are set aside, see kafka-bridge spool list"
            );
            (self.refused_logged, self.refused_since_log) = (Some(Instant::now()), 0);
        }
    }
}
