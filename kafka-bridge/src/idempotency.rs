//! Which events have been written lately: an event that comes again is answered as it was the first time, and is not
//! written again.

mod batches;
mod identity;
mod journal;
mod metrics;
mod options;
mod shared;

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use wicketgate_envelope::hop::Ack;

use crate::delivery::{Delivery, Observer, Outcome, RecordMetadata, Then};
use identity::Digest;
pub use identity::{Batch, Content, Data, Identity, Name};
pub use journal::JournalError;
use journal::{Bounds, Journal};
pub use metrics::Metrics;
pub use options::{OnSharedError, Options, Reloadable};
use shared::Shared;
pub use shared::{Hold, Verdict};

/// The events of a while, in memory, bounded by time and by number.
#[derive(Debug)]
pub struct Memory {
    state: Mutex<State>,
    /// In nanoseconds; it may change while the bridge runs.
    window: AtomicU64,
    limit: usize,
    metrics: Arc<Metrics>,
    /// Where what is acknowledged outlives the process, if it does.
    journal: Option<Journal>,
    /// Where other bridges learn of it, if they do.
    shared: Option<Shared>,
}

/// How long records may be on their way.
#[derive(Clone, Copy, Debug)]
pub struct Waits {
    /// How long a caller waits for an outcome.
    pub answer: Duration,
    /// How long an outcome may take to be known.
    pub outcome: Duration,
}

/// Why events cannot be remembered as they should be.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// They have no place on disk.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The settings of what bridges share are wrong.
    #[error("{}", .0.join("; "))]
    Shared(Vec<String>),
}

#[derive(Debug, Default)]
struct State {
    entries: HashMap<Digest, Entry>,
    /// Those of `entries` that are acknowledged, the oldest first, and since when they are.
    acknowledged: BTreeSet<(Instant, Digest)>,
    /// How many claims there have been.
    claims: u64,
}

#[derive(Debug)]
struct Entry {
    content: Digest,
    progress: Progress,
}

#[derive(Debug)]
enum Progress {
    /// Kafka has not answered yet.
    InFlight(InFlight),
    /// `outcome` is always [`Outcome::Acknowledged`]: what failed may be tried again, and is not remembered.
    Acknowledged {
        outcome: Outcome,
        since: Instant,
        /// Of an event that is spooled: who wants it to be in Kafka.
        waiting: Vec<Waiting>,
    },
}

/// An event that is claimed, and those that wait along.
#[derive(Debug)]
struct InFlight {
    /// The number of the claim.
    claim: u64,
    /// Whether a queue has taken it. Until then it may yet be turned away at once.
    queued: bool,
    /// Until there is an outcome.
    waiting: Vec<Waiting>,
    /// Until a queue has taken it, or there is an outcome.
    waiting_for_queue: Vec<Waiting>,
    /// Where Kafka has it, if it was spooled and written from there before the one who spooled it could say so.
    drained: Option<Outcome>,
}

/// Somebody who waits for an outcome.
#[derive(Debug)]
struct Waiting {
    wanted: Ack,
    reply: oneshot::Sender<Outcome>,
}

/// What there is to say of an event that is on disk, and of one that is in a queue.
const SPOOLED: Outcome = Outcome::Acknowledged { ack: Ack::Spooled, metadata: None };
const QUEUED: Outcome = Outcome::Acknowledged { ack: Ack::None, metadata: None };

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// What [`Memory::admit`] says of an event.
#[derive(Debug)]
pub enum Admission {
    /// It is to be written, and the claim to be told what became of it.
    New(Claim),
    /// It is to be written, and cannot be remembered: all that there is room for is in flight.
    Unremembered,
    /// It has been written, with this outcome; or it is in a queue, and no more was asked for.
    Written(Outcome),
    /// It is being written, or is spooled and somebody wants it to be in Kafka, with this outcome once there is one that is good for what was asked for.
    InFlight(Delivery),
    /// Another event has its name.
    Conflict,
}

impl Memory {
    /// As configured, with what an earlier process has left in `journal_dir`; `None` if nothing is to be remembered.
    ///
    /// # Errors
    /// [`MemoryError`], when something should be on disk and cannot be, or the settings are wrong.
    pub fn new(
        options: &Options,
        journal_dir: Option<&Path>,
        waits: Waits,
        metrics: Arc<Metrics>,
    ) -> Result<Option<Arc<Self>>, MemoryError> {
        let window = options.reloadable.idempotency_window;
        let limit = usize::try_from(options.idempotency_entries).unwrap_or(usize::MAX);
        if limit == 0 {
            return Ok(None);
        }
        let mut memory = Self::bounded(limit, window, metrics);
        if let Some(directory) = journal_dir {
            let bounds = Bounds { window, entries: limit };
            let (journal, known) = Journal::open(directory, bounds, Arc::clone(&memory.metrics))?;
            for known in &known {
                memory.restore(known.identity, known.outcome, known.age);
            }
            tracing::info!(events = known.len(), "read the idempotency journal");
            memory.journal = Some(journal);
        }
        memory.shared =
            Shared::new(options, waits, Arc::clone(&memory.metrics)).map_err(MemoryError::Shared)?;
        Ok(Some(Arc::new(memory)))
    }

    fn bounded(limit: usize, window: Duration, metrics: Arc<Metrics>) -> Self {
        Self {
            state: Mutex::default(),
            window: AtomicU64::new(nanos(window)),
            limit,
            metrics,
            journal: None,
            shared: None,
        }
    }

    /// Waits until what was acknowledged so far is on disk, if it is to be, but no longer than this. Blocks.
    pub fn flush(&self, within: Duration) {
        if let Some(journal) = &self.journal {
            journal.flush(within);
        }
    }

    /// Whether other bridges have to be asked about events.
    pub fn is_shared(&self) -> bool {
        self.shared.is_some()
    }

    /// Asks other bridges about events that are about to be written, about all of them in one go, and claims those that
    /// nobody is at. What is known here is not asked for.
    pub async fn ask(&self, identities: &[Identity]) -> Vec<Verdict> {
        let unknown: Vec<Identity> = {
            let state = self.state();
            identities
                .iter()
                .filter(|identity| !state.entries.contains_key(&identity.name))
                .copied()
                .collect()
        };
        let verdicts = match &self.shared {
            Some(shared) if !unknown.is_empty() => shared.claim(&unknown).await,
            _ => Vec::new(),
        };
        for verdict in &verdicts {
            match verdict {
                Verdict::Conflict => self.metrics.conflict(),
                Verdict::Written(_) | Verdict::Elsewhere(_) => self.metrics.replay(),
                Verdict::Ours(_) | Verdict::Unavailable => {}
            }
        }
        // In the order of those that were asked about; each of the others is this bridge's own to decide.
        let mut answers = unknown.iter().zip(verdicts).peekable();
        let answer = |identity| {
            let asked = answers.next_if(|(asked, _)| **asked == identity);
            asked.map_or(Verdict::Ours(None), |(_, verdict)| verdict)
        };
        identities.iter().copied().map(answer).collect()
    }

    /// Remembers events for so long from now on, those that are remembered already too. What journal and Redis keep goes
    /// by the window at the start.
    pub fn set_window(&self, window: Duration) {
        self.window.store(nanos(window), Ordering::Relaxed);
    }

    fn window(&self) -> Duration {
        Duration::from_nanos(self.window.load(Ordering::Relaxed))
    }

    /// Looks up an event that is about to be written at `now`, for somebody who wants it to get as far as `wanted`, and
    /// who holds it if other bridges were asked.
    pub fn admit(
        self: &Arc<Self>,
        identity: Identity,
        wanted: Ack,
        hold: Option<Hold>,
        now: Instant,
    ) -> Admission {
        let mut state = self.state();
        let window = self.window();
        state.forget(|since| now.saturating_duration_since(since) >= window);
        let admission = match state.entries.get_mut(&identity.name) {
            Some(entry) if entry.content != identity.content => Admission::Conflict,
            Some(Entry { progress: Progress::Acknowledged { outcome, waiting, .. }, .. }) => {
                if *outcome == SPOOLED && !Ack::Spooled.satisfies(wanted) {
                    // While Kafka is out of reach many may come, and go.
                    waiting.retain(|waiting| !waiting.reply.is_closed());
                    Admission::InFlight(wait(waiting, wanted))
                } else {
                    Admission::Written(*outcome)
                }
            }
            Some(Entry { progress: Progress::InFlight(event), .. }) => match wanted {
                Ack::None if event.queued => Admission::Written(QUEUED),
                Ack::None => Admission::InFlight(wait(&mut event.waiting_for_queue, wanted)),
                Ack::All | Ack::Leader | Ack::Spooled => {
                    // It may be in flight for minutes, while its caller tries again and again.
                    event.waiting.retain(|waiting| !waiting.reply.is_closed());
                    Admission::InFlight(wait(&mut event.waiting, wanted))
                }
            },
            None => self.claim(&mut state, identity, hold),
        };
        self.metrics.entries(state.entries.len());
        drop(state);
        match admission {
            Admission::Conflict => self.metrics.conflict(),
            Admission::Written(_) | Admission::InFlight(_) => self.metrics.replay(),
            Admission::New(_) | Admission::Unremembered => {}
        }
        admission
    }

    fn claim(self: &Arc<Self>, state: &mut State, identity: Identity, hold: Option<Hold>) -> Admission {
        if let (Some(shared), Some(hold)) = (&self.shared, &hold)
            && hold.is_unremembered()
        {
            return Admission::InFlight(shared.follow(&identity));
        }
        let mut excess = (state.entries.len() + 1).saturating_sub(self.limit);
        state.forget(|_| {
            let goes = excess > 0;
            excess = excess.saturating_sub(1);
            goes
        });
        let claim = |number, hold| {
            Admission::New(Claim { memory: Arc::clone(self), identity, number, hold, settled: false })
        };
        if state.entries.len() >= self.limit {
            // Other bridges have room for it.
            return match &hold {
                Some(held) => {
                    held.unremembered();
                    claim(None, hold)
                }
                None => Admission::Unremembered,
            };
        }
        state.claims += 1;
        let number = state.claims;
        let progress = Progress::InFlight(InFlight {
            claim: number,
            queued: false,
            waiting: Vec::new(),
            waiting_for_queue: Vec::new(),
            drained: None,
        });
        state.entries.insert(identity.name, Entry { content: identity.content, progress });
        claim(Some(number), hold)
    }

    /// Remembers an event that was written `age` ago, before the bridge was started. Of two with one name
    /// the later one stays, since by its time the other had been forgotten; but one that Kafka has is not said to be on its
    /// way there, and keeps its place. Of more than there is room for the youngest
    /// stay, in whatever order they come.
    pub fn restore(&self, identity: Identity, outcome: Outcome, age: Duration) {
        let Some(since) = Instant::now().checked_sub(age).filter(|_| age < self.window()) else { return };
        let mut state = self.state();
        let known = state.entries.get(&identity.name);
        let same = known.is_some_and(|entry| entry.content == identity.content);
        match known.map(|entry| &entry.progress) {
            None => {}
            Some(Progress::Acknowledged { outcome: Outcome::Acknowledged { ack: Ack::All, .. }, .. })
                if same && outcome == SPOOLED =>
            {
                return;
            }
            Some(&Progress::Acknowledged { since: known, .. }) if known < since => {
                state.acknowledged.remove(&(known, identity.name));
                state.entries.remove(&identity.name);
            }
            Some(_) => return,
        }
        if state.entries.len() >= self.limit {
            if state.acknowledged.first().is_none_or(|(oldest, _)| *oldest > since) {
                return;
            }
            let mut first = true;
            state.forget(|_| std::mem::take(&mut first));
        }
        let progress = Progress::Acknowledged { outcome, since, waiting: Vec::new() };
        let entry = Entry { content: identity.content, progress };
        state.entries.insert(identity.name, entry);
        state.acknowledged.insert((since, identity.name));
        self.metrics.entries(state.entries.len());
    }

    /// Ends a claim once other bridges know, if they are to, and does `then`.
    fn share(self: Arc<Self>, claimed: Claimed, outcome: Outcome, then: impl FnOnce() + Send + 'static) {
        let Claimed { identity, here, hold } = claimed;
        let memory = Arc::clone(&self);
        let settle = move || {
            if here {
                memory.settle(identity, outcome, Instant::now());
            }
            then();
        };
        match &self.shared {
            Some(shared) => shared.settle(identity, hold, outcome, Box::new(settle)),
            None => settle(),
        }
    }

    /// Ends a claim, and tells all that wait along what its outcome means to them, but for those who want a spooled event to
    /// be in Kafka.
    fn settle(&self, identity: Identity, outcome: Outcome, now: Instant) {
        let name = identity.name;
        let mut state = self.state();
        let progress = state.entries.remove(&name).map(|entry| entry.progress);
        let (mut to_tell, mut drained) = (Vec::new(), None);
        if let Some(Progress::InFlight(event)) = progress {
            (to_tell, drained) = (event.waiting, event.drained.filter(|_| outcome == SPOOLED));
            to_tell.extend(event.waiting_for_queue);
        }
        let outcome = drained.unwrap_or(outcome);
        if matches!(outcome, Outcome::Acknowledged { .. }) {
            let stays = |waiting: &mut Waiting| outcome == SPOOLED && !Ack::Spooled.satisfies(waiting.wanted);
            let waiting = to_tell.extract_if(.., stays).collect();
            let progress = Progress::Acknowledged { outcome, since: now, waiting };
            state.entries.insert(name, Entry { content: identity.content, progress });
            state.acknowledged.insert((now, name));
        }
        self.metrics.entries(state.entries.len());
        drop(state);
        tell(to_tell, of_copies(outcome));
        if drained.is_some() {
            self.note_drained(identity, outcome, now);
        }
    }

    /// Kafka has an event that was spooled: all in-sync replicas do, in this place. Whoever wants no more than that is told,
    /// and so is who comes later, also to other bridges and after a restart. Never blocks.
    pub fn drained(&self, identity: Identity, metadata: Option<RecordMetadata>) {
        let drained = Outcome::Acknowledged { ack: Ack::All, metadata };
        let mut state = self.state();
        let entry = state.entries.get_mut(&identity.name).filter(|entry| entry.content == identity.content);
        let (waiting, since) = match entry.map(|entry| &mut entry.progress) {
            Some(Progress::InFlight(event)) => {
                event.drained = Some(drained);
                return;
            }
            Some(Progress::Acknowledged { outcome, since, waiting }) if *outcome == SPOOLED => {
                *outcome = drained;
                (std::mem::take(waiting), *since)
            }
            // It is forgotten, or known.
            _ => return,
        };
        drop(state);
        tell(waiting, drained);
        self.note_drained(identity, drained, since);
    }

    fn note_drained(&self, identity: Identity, drained: Outcome, since: Instant) {
        if let (Some(journal), Outcome::Acknowledged { ack, metadata }) = (&self.journal, drained) {
            journal.append_more(identity, ack, metadata, since.elapsed());
        }
        if let Some(shared) = &self.shared {
            shared.replace(identity, SPOOLED, drained);
        }
    }

    /// A queue has taken what this claim is for, unless it has come to its end meanwhile.
    fn queued(&self, name: &Digest, claim: Option<u64>) {
        let mut state = self.state();
        let waiting = match state.entries.get_mut(name).map(|entry| &mut entry.progress) {
            Some(Progress::InFlight(event)) if Some(event.claim) == claim => {
                event.queued = true;
                std::mem::take(&mut event.waiting_for_queue)
            }
            _ => return,
        };
        drop(state);
        tell(waiting, QUEUED);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the outcome of an event's first record says of those that wait along. They may differ from it in what is not
/// compared, such as the partition, the timestamp and the headers, and Kafka may take what it did not take of the first.
const fn of_copies(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Refused | Outcome::TooLarge => Outcome::Unavailable,
        Outcome::Acknowledged { .. } | Outcome::Unavailable | Outcome::Unknown => outcome,
    }
}

fn wait(waiting: &mut Vec<Waiting>, wanted: Ack) -> Delivery {
    let (reply, outcome) = oneshot::channel();
    waiting.push(Waiting { wanted, reply });
    outcome
}

fn tell(waiting: Vec<Waiting>, outcome: Outcome) {
    for Waiting { reply, .. } in waiting {
        // Whoever waited may have gone.
        let _ = reply.send(outcome);
    }
}

impl State {
    /// Forgets acknowledged events, from the oldest on, as long as `goes` says so of the time since which they are.
    fn forget(&mut self, mut goes: impl FnMut(Instant) -> bool) {
        while let Some(&(since, name)) = self.acknowledged.first()
            && goes(since)
        {
            self.acknowledged.pop_first();
            self.entries.remove(&name);
        }
    }
}

/// The duty to say what became of an event that is being written. Dropped without a word, its outcome is unknown.
pub struct Claim {
    memory: Arc<Memory>,
    identity: Identity,
    /// Its number in the memory; none if there was no room, and only other bridges know it.
    number: Option<u64>,
    /// What other bridges are kept off by.
    hold: Option<Hold>,
    settled: bool,
}

/// What a claim leaves behind that has come to its end.
struct Claimed {
    identity: Identity,
    /// Whether the memory has it.
    here: bool,
    hold: Option<Hold>,
}

/// The way to say of an event that it is in a queue, after its claim has gone along with it.
#[derive(Debug)]
pub struct Queueing {
    memory: Arc<Memory>,
    name: Digest,
    claim: Option<u64>,
}

impl Queueing {
    /// It is in a queue, which answers all who asked for no more than that. Does nothing once it is known what became of
    /// the event.
    pub fn done(self) {
        self.memory.queued(&self.name, self.claim);
    }
}

impl Claim {
    /// To be told when the event is in the producer's queue. As long as it isn't, nobody hears of it.
    pub fn queueing(&self) -> Queueing {
        Queueing { memory: Arc::clone(&self.memory), name: self.identity.name, claim: self.number }
    }

    /// Its caller has been told that nobody knows, and what becomes of it is still to come: other bridges are kept off it as
    /// long as that may take. Never blocks.
    pub fn overdue(&self) {
        if let (Some(shared), Some(_)) = (&self.memory.shared, &self.hold) {
            shared.keep(self.identity);
        }
    }

    /// This became of it.
    pub fn settle(self, outcome: Outcome) {
        self.settle_then(outcome, || {});
    }

    /// This became of it. `then` is done once that is remembered, and on disk if it is to be: nobody may be answered
    /// before. Never blocks.
    pub fn settle_then(mut self, outcome: Outcome, then: impl FnOnce() + Send + 'static) {
        self.settled = true;
        let (memory, claimed) = (Arc::clone(&self.memory), self.claimed());
        let (identity, here) = (claimed.identity, claimed.here);
        let share = move || memory.share(claimed, outcome, then);
        match (&self.memory.journal, outcome) {
            (Some(journal), Outcome::Acknowledged { ack, metadata }) if here => {
                journal.append(identity, ack, metadata, Box::new(share));
            }
            _ => share(),
        }
    }

    fn claimed(&mut self) -> Claimed {
        Claimed { identity: self.identity, here: self.number.is_some(), hold: self.hold.take() }
    }
}

impl Observer for Claim {
    fn overdue(&mut self) {
        Self::overdue(self);
    }

    fn settled(self: Box<Self>, outcome: Outcome, then: Then) {
        self.settle_then(outcome, then);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.settled {
            let claimed = self.claimed();
            Arc::clone(&self.memory).share(claimed, Outcome::Unknown, || {});
        }
    }
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim").field("name", &self.identity.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
