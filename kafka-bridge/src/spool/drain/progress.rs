//! Remembering up to which record all are done with, and letting go of segments that are.

use std::time::{Duration, Instant};

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
        self.checkpoint_wanted = self.reader.done_up_to(done);
        let mut state = self.shared.lock();
        state.done_up_to(done);
        self.counts.state(&mut state, &self.shared.log.lock());
        drop(state);
        if now || (self.checkpoint_wanted && Instant::now() >= self.checkpoint_due) {
            self.write_checkpoint();
        }
    }

    /// Writes a checkpoint, and removes what it says is done with.
    fn write_checkpoint(&mut self) {
        self.checkpoint_due = Instant::now() + CHECKPOINT_PAUSE;
        match self.reader.write_checkpoint() {
            Ok(()) => (self.checkpoint_wanted, self.checkpoint_failed) = (false, false),
            Err(error) => {
                if !std::mem::replace(&mut self.checkpoint_failed, true) {
                    tracing::error!(%error, "the spool's checkpoint cannot be written; trying again");
                }
            }
        }
    }
}
