//! Which events have been written lately: an event that comes again is answered as it was the first time, and is not
//! written again.

mod identity;

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::config::Config;
use crate::metrics::Metrics;
use crate::producer::{Delivery, Outcome};
use identity::Digest;
pub use identity::{Content, Data, Identity, Name};

/// The events of a while, in memory, bounded by time and by number.
#[derive(Debug)]
pub struct Memory {
    state: Mutex<State>,
    window: Duration,
    limit: usize,
    metrics: Arc<Metrics>,
}

#[derive(Debug, Default)]
struct State {
    entries: HashMap<Digest, Entry>,
    /// Those of `entries` that are acknowledged, the oldest first, and since when they are.
    acknowledged: VecDeque<(Instant, Digest)>,
}

#[derive(Debug)]
struct Entry {
    content: Digest,
    progress: Progress,
}

#[derive(Debug)]
enum Progress {
    /// Kafka has not answered yet; these wait along.
    InFlight(Vec<oneshot::Sender<Outcome>>),
    /// Always [`Outcome::Acknowledged`]: what failed may be tried again, and is not remembered.
    Acknowledged(Outcome),
}

/// What [`Memory::admit`] says of an event.
#[derive(Debug)]
pub enum Admission {
    /// It is to be written, and the claim to be told what became of it.
    New(Claim),
    /// It is to be written, and cannot be remembered: all that there is room for is in flight.
    Unremembered,
    /// It has been written, with this outcome.
    Written(Outcome),
    /// It is being written, with this outcome once there is one.
    InFlight(Delivery),
    /// Another event has its name.
    Conflict,
}

impl Memory {
    /// As configured; `None` if nothing is to be remembered.
    pub fn new(config: &Config, metrics: Arc<Metrics>) -> Option<Arc<Self>> {
        let limit = usize::try_from(config.idempotency_entries).unwrap_or(usize::MAX);
        (limit > 0).then(|| Arc::new(Self::bounded(limit, config.idempotency_window, metrics)))
    }

    fn bounded(limit: usize, window: Duration, metrics: Arc<Metrics>) -> Self {
        Self { state: Mutex::default(), window, limit, metrics }
    }

    /// Looks up an event that is about to be written at `now`.
    pub fn admit(self: &Arc<Self>, identity: Identity, now: Instant) -> Admission {
        let mut state = self.state();
        state.forget(|since| now.saturating_duration_since(since) >= self.window);
        let admission = match state.entries.get_mut(&identity.name) {
            Some(entry) if entry.content != identity.content => Admission::Conflict,
            Some(Entry { progress: Progress::Acknowledged(outcome), .. }) => Admission::Written(*outcome),
            Some(Entry { progress: Progress::InFlight(waiting), .. }) => {
                let (reply, outcome) = oneshot::channel();
                waiting.push(reply);
                Admission::InFlight(outcome)
            }
            None => self.claim(&mut state, identity),
        };
        self.metrics.idempotency_entries(state.entries.len());
        drop(state);
        match admission {
            Admission::Conflict => self.metrics.idempotency_conflict(),
            Admission::Written(_) | Admission::InFlight(_) => self.metrics.idempotency_replay(),
            Admission::New(_) | Admission::Unremembered => {}
        }
        admission
    }

    fn claim(self: &Arc<Self>, state: &mut State, identity: Identity) -> Admission {
        let mut excess = (state.entries.len() + 1).saturating_sub(self.limit);
        state.forget(|_| {
            let goes = excess > 0;
            excess = excess.saturating_sub(1);
            goes
        });
        if state.entries.len() >= self.limit {
            return Admission::Unremembered;
        }
        let progress = Progress::InFlight(Vec::new());
        state.entries.insert(identity.name, Entry { content: identity.content, progress });
        Admission::New(Claim { memory: Arc::clone(self), name: identity.name, settled: false })
    }

    /// Ends a claim, and tells `outcome` to all that wait along.
    fn settle(&self, name: Digest, outcome: Outcome, now: Instant) {
        let mut state = self.state();
        let entry = if matches!(outcome, Outcome::Acknowledged { .. }) {
            state.acknowledged.push_back((now, name));
            state
                .entries
                .get_mut(&name)
                .map(|entry| std::mem::replace(&mut entry.progress, Progress::Acknowledged(outcome)))
        } else {
            state.entries.remove(&name).map(|entry| entry.progress)
        };
        self.metrics.idempotency_entries(state.entries.len());
        drop(state);
        if let Some(Progress::InFlight(waiting)) = entry {
            for reply in waiting {
                // Whoever waited may have gone.
                let _ = reply.send(outcome);
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Forgets acknowledged events, from the oldest on, as long as `goes` says so of the time since which they are.
    fn forget(&mut self, mut goes: impl FnMut(Instant) -> bool) {
        while let Some((_, name)) = self.acknowledged.pop_front_if(|(since, _)| goes(*since)) {
            self.entries.remove(&name);
        }
    }
}

/// The duty to say what became of an event that is being written. Dropped without a word, its outcome is unknown.
pub struct Claim {
    memory: Arc<Memory>,
    name: Digest,
    settled: bool,
}

impl Claim {
    /// This became of it.
    pub fn settle(mut self, outcome: Outcome) {
        self.settled = true;
        self.memory.settle(self.name, outcome, Instant::now());
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.settled {
            self.memory.settle(self.name, Outcome::Unknown, Instant::now());
        }
    }
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
