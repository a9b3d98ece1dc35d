//! The thread that writes: all records that wait share one sync, and are acknowledged after it.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::mpsc::Sender;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use wicketgate_envelope::hop::Ack;

use super::checkpoint::Keeper;
use super::disk::Disk;
use super::drain::Event;
use super::format;
use super::metrics::Counts;
use super::segment::{AppendError, Open};
use super::state::{Pending, Segment, Shared};
use crate::delivery::Outcome;
use crate::producer::ClusterMetrics;

/// The most bytes that share a sync.
const GROUP_BYTES: usize = 8 << 20;

/// How long a disk that failed is left alone.
const MEND_PAUSE: Duration = Duration::from_secs(1);

/// What a record is answered with that is durable.
const SPOOLED: Outcome = Outcome::Acknowledged { ack: Ack::Spooled, metadata: None };

/// Appends to the newest segment.
pub(super) struct Writer {
    pub(super) directory: PathBuf,
    pub(super) segment_bytes: u64,
    pub(super) disk: Disk,
    pub(super) shared: Arc<Shared>,
    pub(super) checkpoint: Arc<Keeper>,
    pub(super) metrics: ClusterMetrics,
    pub(super) counts: Counts,
    /// Told when there is more to drain.
    pub(super) drainer: Sender<Event>,
    /// The segment that is appended to.
    pub(super) open: Option<Open>,
    /// What has to be done before anything is written again.
    pub(super) repair: Option<Repair>,
    /// Whether the last attempt failed, and the log has it.
    pub(super) failing: bool,
}

/// A segment that could not be written or synced.
#[derive(Debug)]
pub(super) struct Repair {
    path: PathBuf,
    file: File,
    /// Bytes that had been durable.
    len: u64,
    /// Whether what is behind them is gone.
    truncated: bool,
    /// Whether they have to be written anew, because a sync failed.
    rewrite: bool,
}

impl Writer {
    /// Writes until the spool is to stop and nothing waits.
    pub(super) fn run(mut self) {
        while let Some(group) = self.wait() {
            if !group.is_empty() {
                self.write(group);
            }
            if self.repair.is_some() {
                self.mend();
            }
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
            if self.repair.is_some() {
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
        if self.repair.is_some() && !self.mend() {
            return self.settle(group, Outcome::Unavailable);
        }
        match self.append(&group) {
            Ok(()) => {
                if std::mem::take(&mut self.failing) {
                    tracing::info!(directory = %self.directory.display(), "the spool is written again");
                }
                self.settle(group, SPOOLED);
            }
            Err(error) => {
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::error!(directory = %self.directory.display(), %error, "the spool cannot be written");
                }
                self.mend();
                // What is not cut off may be found at the next start, and then written to Kafka.
                let gone = self.repair.as_ref().is_none_or(|repair| repair.truncated);
                self.settle(group, if gone { Outcome::Unavailable } else { Outcome::Unknown });
            }
        }
    }

    fn append(&mut self, group: &[Pending]) -> io::Result<()> {
        let next = self.shared.lock().next;
        if self.open.as_ref().is_some_and(|open| open.len >= self.segment_bytes) {
            self.open = None;
            self.shared.lock().open = None;
        }
        let open = match &mut self.open {
            Some(open) => open,
            None => {
                let open = Open::create(&self.disk, &self.directory, next)?;
                let mut state = self.shared.lock();
                let segment = Segment { first: next, next, path: open.path.clone(), len: open.len };
                state.segments.push_back(segment);
                state.open = Some(next);
                drop(state);
                // Before any record in it is acknowledged, so that it cannot go missing without anybody noticing.
                if let Err(error) = self.checkpoint.write(&self.shared) {
                    let mut state = self.shared.lock();
                    state.segments.pop_back();
                    state.open = None;
                    return Err(error);
                }
                self.open.insert(open)
            }
        };
        let mut bytes = Vec::with_capacity(group.iter().map(|pending| pending.frame.len()).sum());
        for (sequence, pending) in (next..).zip(group) {
            let start = bytes.len();
            bytes.extend_from_slice(&pending.frame);
            if let Some(frame) = bytes.get_mut(start..) {
                format::seal(frame, open.marker, sequence, open.len);
            }
        }
        let started = Instant::now();
        if let Err(error) = open.append(&self.disk, &bytes) {
            if let Some(Open { path, file, len, .. }) = self.open.take() {
                let rewrite = matches!(error, AppendError::Sync(_));
                self.repair = Some(Repair { path, file, len, truncated: false, rewrite });
                self.shared.lock().broken = true;
            }
            let (AppendError::Write(error) | AppendError::Sync(error)) = error;
            return Err(error);
        }
        self.counts.synced(started.elapsed());
        let mut state = self.shared.lock();
        for (sequence, pending) in (next..).zip(group) {
            state.aged(sequence, pending.spooled_at);
        }
        state.next = next + group.len() as u64;
        let (next, len) = (state.next, open.len);
        if let Some(segment) = state.segments.back_mut() {
            (segment.next, segment.len) = (next, len);
        }
        self.counts.state(&mut state);
        drop(state);
        // The drainer ends after this thread does.
        let _ = self.drainer.send(Event::Durable);
        Ok(())
    }

    /// Tries to have a broken segment as it was before it broke; returns whether the disk can be written again.
    fn mend(&mut self) -> bool {
        let Some(repair) = &mut self.repair else { return true };
        let state = self.shared.lock();
        let of_this = state.segments.iter().find(|segment| segment.path == repair.path);
        // What Kafka has all of need not be kept.
        repair.rewrite &= of_this.is_some_and(|segment| segment.next > state.done + 1);
        drop(state);
        match Self::repair(&self.disk, repair) {
            Ok(()) => {
                let mut state = self.shared.lock();
                (state.broken, state.open) = (false, None);
                // One without a record has the name of the next.
                let path = &repair.path;
                state.segments.retain(|segment| segment.path != *path || segment.next > segment.first);
                drop(state);
                self.repair = None;
                true
            }
            Err(error) => {
                tracing::debug!(directory = %self.directory.display(), %error, "the spool cannot be mended yet");
                false
            }
        }
    }

    fn repair(disk: &Disk, repair: &mut Repair) -> io::Result<()> {
        if !repair.truncated {
            disk.truncate(&repair.file, repair.len)?;
            repair.truncated = true;
        }
        // One without a record stays, since a checkpoint may tell of it. The next takes its place.
        if repair.rewrite {
            // Memory has what the disk may not have. Another file gets it.
            let mut bytes = vec![0; usize::try_from(repair.len).map_err(io::Error::other)?];
            std::os::unix::fs::FileExt::read_exact_at(&repair.file, &mut bytes, 0)?;
            disk.replace(&repair.path, &bytes)?;
        }
        Ok(())
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
