//! Batches whose events have ids made of one key: the key is good for one batch.

use std::sync::Arc;
use std::time::Instant;

use super::{Admission, Identity, Memory, QUEUED, Verdict};

impl Memory {
    /// Whether the key of each batch has come before with another batch. From now on it stands for this one, whatever
    /// becomes of its events: for the window, on disk and for other bridges as what is acknowledged.
    pub async fn claim_batches(self: &Arc<Self>, batches: &[Identity]) -> Vec<bool> {
        let (now, window) = (Instant::now(), self.window());
        let unknown: Vec<Identity> = {
            let mut state = self.state();
            state.forget(|since| now.saturating_duration_since(since) >= window);
            batches.iter().filter(|batch| !state.entries.contains_key(&batch.name)).copied().collect()
        };
        let verdicts = match &self.shared {
            Some(shared) if !unknown.is_empty() => shared.claim(&unknown).await,
            _ => Vec::new(),
        };
        let mut answers = unknown.iter().zip(verdicts).peekable();
        let mut claim = |batch: &Identity| {
            let answer = answers.next_if(|(asked, _)| *asked == batch).map(|(_, verdict)| verdict);
            self.claim_batch(*batch, answer)
        };
        batches.iter().map(&mut claim).collect()
    }

    fn claim_batch(self: &Arc<Self>, batch: Identity, elsewhere: Option<Verdict>) -> bool {
        let mut state = self.state();
        let hold = match (state.entries.get(&batch.name), elsewhere) {
            (Some(entry), _) => {
                let conflict = entry.content != batch.content;
                drop(state);
                if conflict {
                    self.metrics.conflict();
                }
                return conflict;
            }
            (None, Some(Verdict::Conflict)) => {
                drop(state);
                self.metrics.conflict();
                return true;
            }
            // Its events are asked about too, and are not written if nobody can say.
            (None, Some(Verdict::Written(_) | Verdict::Elsewhere(_) | Verdict::Unavailable)) => return false,
            (None, Some(Verdict::Ours(hold))) => hold,
            (None, None) => None,
        };
        let admission = self.claim(&mut state, batch, hold);
        drop(state);
        if let Admission::New(claim) = admission {
            claim.settle(QUEUED);
        }
        false
    }
}
