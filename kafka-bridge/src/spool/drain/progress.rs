//! Remembering up to which record all are done with, and letting go of segments that are.

use std::fs::File;
use std::time::{Duration, Instant};

use super::super::format::SEGMENT_HEADER;
use super::Drainer;

/// How often the checkpoint is written while records are drained. After a crash, what was drained since is drained once
/// more.
pub(super) const CHECKPOINT_PAUSE: Duration = Duration::from_millis(200);

impl Drainer {
    /// Forgets records all of whose predecessors are done with, as they are, and has the disk forget them.
    pub(super) fn advance(&mut self, now: bool) {
        while self.window.pop_front_if(|slot| slot.done).is_some() {
            self.base += 1;
        }
        let done = self.base - 1;
        let mut state = self.shared.lock();
        state.done_up_to(done);
        while let Some(oldest) = state.segments.front()
            && oldest.next <= done + 1
            && state.open != Some(oldest.first)
        {
            self.gone.extend(state.segments.pop_front());
        }
        self.counts.state(&mut state);
        drop(state);
        let wanted = done > self.checkpointed || !self.gone.is_empty();
        if now || (wanted && Instant::now() >= self.checkpoint_due) {
            self.write_checkpoint(done);
        }
    }

    /// Writes a checkpoint, and removes what it says is done with.
    pub(super) fn write_checkpoint(&mut self, done: u64) {
        self.checkpoint_due = Instant::now() + CHECKPOINT_PAUSE;
        let mut written = self.checkpoint.write(&self.shared);
        if written.is_err() && self.make_room() {
            written = self.checkpoint.write(&self.shared);
        }
        match written {
            Ok(()) => {
                self.checkpointed = done;
                self.checkpoint_failed = false;
                for segment in self.gone.drain(..) {
                    if let Err(error) = self.disk.remove(&segment.path) {
                        tracing::error!(path = %segment.path.display(), %error, "a segment that is done with cannot be removed");
                    }
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut self.checkpoint_failed, true) {
                    tracing::error!(%error, "the spool's checkpoint cannot be written; trying again");
                }
            }
        }
    }

    /// A disk that is full may have no room for a checkpoint. Segments that are done with are cut down to their headers,
    /// by which a start knows what they were; returns whether that was done to any. The newest is not: its records tell
    /// the number of the next.
    pub(super) fn make_room(&mut self) -> bool {
        let newest = self.shared.lock().segments.is_empty();
        let mut made = false;
        let count = self.gone.len().saturating_sub(usize::from(newest));
        for segment in self.gone.iter_mut().take(count).filter(|segment| segment.len > SEGMENT_HEADER as u64)
        {
            let cut = File::options().write(true).open(&segment.path);
            if cut.and_then(|file| self.disk.truncate(&file, SEGMENT_HEADER as u64)).is_ok() {
                segment.len = SEGMENT_HEADER as u64;
                made = true;
            }
        }
        made
    }
}
