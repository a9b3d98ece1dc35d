//! Which events other bridges have written lately, or are writing: claims in a Redis that all of them use.
//!
//! A key is the hash of an event's name. Its value says what the event is (a hash too) and whether a bridge is at it
//! (`p <content> <owner>`, for somewhat longer than Kafka has) or where it is (`w <content> <ack> <partition> <offset>
//! <milliseconds>`, for the window). All events of a call are claimed in one round trip. While Redis is gone nobody waits
//! for it: one attempt a second looks whether it is back.
//!
//! A claim is held from before Redis is asked until it is known what became of the event, by whoever has it in hand: the
//! request, then the claim in the memory, then the record in a queue. If nobody has, it is given up.

mod holders;
mod server;
mod value;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::{RedisResult, Value, from_redis_value, from_redis_value_ref};
use sha2::{Digest as _, Sha256};
use tokio::sync::{mpsc, oneshot};

use super::{Identity, OnSharedError, Options, Then, Waits};
use crate::delivery::{Delivery, Outcome};
use crate::idempotency::Metrics;
pub use holders::Hold;
use holders::{Holders, Releasing};
use server::{RELEASE, RENEW, REPLACE, Server, Silence};
use value::{Entry, State, hex, key};

/// How much longer than Kafka's answer may take a claim lasts.
const PENDING_GRACE: Duration = Duration::from_secs(2);

/// How often it is asked what became of an event that another bridge is at.
const POLL: Duration = Duration::from_millis(50);

/// The most claims that are settled in one round trip.
const BATCH: usize = 512;

/// What Redis says of an event.
#[derive(Debug)]
pub enum Verdict {
    /// No other bridge is at it. While this is held, none will be, unless Redis could not be asked.
    Ours(Option<Hold>),
    /// It has been written, with this outcome.
    Written(Outcome),
    /// Another bridge is writing it, with this outcome once there is one.
    Elsewhere(Delivery),
    /// Another event has its name.
    Conflict,
    /// Nobody can say, and it is not to be written then.
    Unavailable,
}

/// The Redis that bridges share.
pub(super) struct Shared {
    inner: Arc<Inner>,
    holders: Arc<Holders>,
    tasks: mpsc::UnboundedSender<Task>,
}

struct Inner {
    server: Server,
    /// Tells the claims of this process from others.
    owner: String,
    pending: Duration,
    /// How long a claim lasts whose event may yet be written.
    kept: Duration,
    window: Duration,
    answer_timeout: Duration,
    metrics: Arc<Metrics>,
}

/// What is to be written to Redis.
enum Task {
    /// What became of an event, and what to do once others can know.
    Settle { identity: Identity, hold: Option<Hold>, outcome: Outcome, then: Then },
    /// A claim that nobody holds any more is given up.
    Release(Identity),
    /// A claim of this bridge is to last as long as its event may yet be written.
    Keep(Identity),
    /// More is known of an event than others were told.
    Replace { identity: Identity, told: Outcome, known: Outcome },
}

impl Shared {
    /// Connects at once, and goes on without Redis until that succeeds. Must be called within a runtime.
    ///
    /// # Errors
    /// As [`client`].
    pub(super) fn new(
        options: &Options,
        waits: Waits,
        metrics: Arc<Metrics>,
    ) -> Result<Option<Self>, Vec<String>> {
        let Some(server) = Server::new(options, Arc::clone(&metrics))? else { return Ok(None) };
        let inner = Arc::new(Inner {
            server,
            owner: owner(),
            pending: waits.answer + PENDING_GRACE,
            kept: waits.outcome + PENDING_GRACE,
            window: options.reloadable.idempotency_window,
            answer_timeout: waits.answer,
            metrics,
        });
        let (tasks, received) = mpsc::unbounded_channel();
        // Without a sender among the holders, which the publisher knows, so that it ends with the bridge.
        let holders = Arc::new(Holders::new(tasks.downgrade()));
        tokio::spawn(publish(Arc::clone(&inner), Arc::clone(&holders), received));
        tokio::spawn({
            let inner = Arc::clone(&inner);
            async move { inner.server.check(&inner.owner).await }
        });
        Ok(Some(Self { inner, holders, tasks }))
    }

    /// Claims events, all in one round trip, and says what is known of each. What is claimed for somebody who stops waiting
    /// is given up.
    pub(super) async fn claim(&self, identities: &[Identity]) -> Vec<Verdict> {
        let inner = &self.inner;
        let mut pipeline = redis::pipe();
        let mut holds = Vec::with_capacity(identities.len());
        for identity in identities {
            holds.push(self.holders.hold(*identity).await);
            let (key, pending) = (key(&identity.name), inner.pending_value(identity));
            let millis = millis(inner.pending);
            pipeline.cmd("SET").arg(&key).arg(pending).arg("NX").arg("PX").arg(millis);
            pipeline.cmd("GET").arg(&key);
        }
        let replies = match inner.server.ask(pipeline).await {
            Ok(replies) => replies,
            Err(silence) => {
                if silence == Silence::NotAsked {
                    holds.iter_mut().for_each(Hold::unclaimed);
                }
                Vec::new()
            }
        };
        let mut replies = replies.chunks_exact(2);
        let held = identities.iter().zip(holds);
        let mut verdicts = Vec::with_capacity(identities.len());
        for (identity, hold) in held {
            let replies = replies.next();
            let verdict = inner.verdict(identity, hold, replies);
            // Claimed by this bridge some time ago: what is left of that time need not be enough.
            let is_old = matches!(replies, Some([Ok(Value::Nil), Ok(Value::BulkString(value))])
                if *value == inner.pending_value(identity).into_bytes());
            verdicts.push(match verdict {
                Verdict::Ours(Some(hold)) if is_old => inner.renew(identity, hold).await,
                verdict => verdict,
            });
        }
        verdicts
    }

    /// Lets others know what became of an event, or that it may be tried again, and does `then` when they can, or when
    /// it is known that they can't. Never blocks.
    pub(super) fn settle(&self, identity: Identity, hold: Option<Hold>, outcome: Outcome, then: Then) {
        let task = Task::Settle { identity, hold, outcome, then };
        if let Err(mpsc::error::SendError(Task::Settle { then, .. })) = self.tasks.send(task) {
            then();
        }
    }
}

impl Shared {
    /// Asks what becomes of an event that is being written, by this bridge or another. Must be called within a runtime.
    pub(super) fn follow(&self, identity: &Identity) -> Delivery {
        self.inner.follow(identity)
    }

    /// Keeps others off an event that may yet be written, although its caller was told that nobody knows. Never blocks.
    pub(super) fn keep(&self, identity: Identity) {
        // Without Redis the claim expires.
        let _ = self.tasks.send(Task::Keep(identity));
    }

    /// Lets others know more of an event than they were told, unless something else is known of it by now. Never blocks.
    pub(super) fn replace(&self, identity: Identity, told: Outcome, known: Outcome) {
        // Without Redis they go on with what they were told.
        let _ = self.tasks.send(Task::Replace { identity, told, known });
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

/// Writes to Redis what became of events, until nobody can tell any more.
async fn publish(inner: Arc<Inner>, holders: Arc<Holders>, mut received: mpsc::UnboundedReceiver<Task>) {
    let mut batch = Vec::with_capacity(BATCH);
    while received.recv_many(&mut batch, BATCH).await > 0 {
        let mut pipeline = redis::pipe();
        let mut thens: Vec<Then> = Vec::new();
        let mut written: Vec<Hold> = Vec::new();
        let mut releasing: Vec<Releasing> = Vec::new();
        for task in batch.drain(..) {
            let to_release = match task {
                Task::Release(identity) => identity,
                Task::Keep(identity) => {
                    let (key, own) = (key(&identity.name), inner.pending_value(&identity));
                    pipeline.cmd("EVAL").arg(RENEW).arg(1).arg(key).arg(own).arg(millis(inner.kept));
                    continue;
                }
                Task::Replace { identity, told, known } => {
                    if let Some((told, known)) =
                        value::written(&identity, told).zip(value::written(&identity, known))
                    {
                        let key = key(&identity.name);
                        pipeline.cmd("EVAL").arg(REPLACE).arg(1).arg(key).arg(told).arg(known);
                    }
                    continue;
                }
                Task::Settle { identity, hold, outcome, then } => {
                    thens.push(then);
                    if let Some(value) = value::written(&identity, outcome) {
                        hold.iter().for_each(Hold::written);
                        written.extend(hold);
                        let key = key(&identity.name);
                        pipeline.cmd("SET").arg(key).arg(value).arg("PX").arg(millis(inner.window));
                        continue;
                    }
                    // Whoever else holds it gives it up later.
                    if !hold.is_some_and(Hold::end) {
                        continue;
                    }
                    identity
                }
            };
            if let Some(release) = holders.release(to_release) {
                let (key, own) = (key(&to_release.name), inner.pending_value(&to_release));
                pipeline.cmd("EVAL").arg(RELEASE).arg(1).arg(key).arg(own);
                releasing.push(release);
            }
        }
        // Where that fails, the claims expire by themselves.
        for reply in inner.server.ask(pipeline).await.unwrap_or_default() {
            if let Err(error) = reply {
                inner.server.refused(&error);
            }
        }
        drop((written, releasing));
        thens.into_iter().for_each(|then| then());
    }
}

impl Inner {
    /// What Redis says of an event, by its replies to SET and GET, if there are any.
    fn verdict(
        self: &Arc<Self>,
        identity: &Identity,
        mut hold: Hold,
        replies: Option<&[RedisResult<Value>]>,
    ) -> Verdict {
        let value = match replies {
            Some([Ok(_), Ok(value)]) => value,
            Some([Err(error), _] | [_, Err(error)]) => {
                self.server.refused(error);
                return self.unshared(hold);
            }
            _ => return self.unshared(hold),
        };
        // What was there has expired just now.
        if *value == Value::Nil {
            return self.unshared(hold);
        }
        let text: Option<String> = from_redis_value_ref(value).ok();
        let Some(entry) = text.as_deref().and_then(Entry::parse) else {
            self.server.refused(&"a key of the bridge has a value that this version cannot read");
            return self.unshared(hold);
        };
        let same = entry.content == hex(&identity.content);
        if let State::Pending(owner) = entry.state
            && same
            && owner == self.owner
        {
            return Verdict::Ours(Some(hold));
        }
        hold.unclaimed();
        match entry.state {
            _ if !same => Verdict::Conflict,
            State::Written(outcome) => Verdict::Written(outcome),
            State::Pending(_) => Verdict::Elsewhere(self.follow(identity)),
        }
    }

    /// Gives a claim of this bridge all its time again.
    async fn renew(self: &Arc<Self>, identity: &Identity, mut hold: Hold) -> Verdict {
        let (key, own) = (key(&identity.name), self.pending_value(identity));
        let mut pipeline = redis::pipe();
        pipeline.cmd("EVAL").arg(RENEW).arg(1).arg(key).arg(own).arg(millis(self.pending));
        match self.server.ask(pipeline).await.ok().and_then(|replies| replies.into_iter().next()) {
            Some(Ok(Value::Int(1))) => Verdict::Ours(Some(hold)),
            // It expired, or has come to its end, and what is there now is followed to its own.
            Some(Ok(_)) => {
                hold.unclaimed();
                Verdict::Elsewhere(self.follow(identity))
            }
            Some(Err(error)) => {
                self.server.refused(&error);
                self.unshared(hold)
            }
            None => self.unshared(hold),
        }
    }

    /// Of an event that Redis cannot be asked about.
    fn unshared(&self, hold: Hold) -> Verdict {
        self.metrics.unshared(1);
        match self.server.on_error() {
            OnSharedError::Allow => Verdict::Ours(Some(hold)),
            OnSharedError::Deny => Verdict::Unavailable,
        }
    }

    /// Asks again and again what became of an event, for as long as somebody waits. If it came to another end than to be
    /// written, nobody here can say to which.
    fn follow(self: &Arc<Self>, identity: &Identity) -> Delivery {
        let (mut reply, delivery) = oneshot::channel();
        let (inner, key, content) = (Arc::clone(self), key(&identity.name), hex(&identity.content));
        tokio::spawn(async move {
            let deadline = Instant::now() + inner.answer_timeout;
            let outcome = loop {
                tokio::select! {
                    () = reply.closed() => return,
                    () = tokio::time::sleep(POLL) => {}
                }
                let mut pipeline = redis::pipe();
                pipeline.cmd("GET").arg(&key);
                let reply =
                    inner.server.ask(pipeline).await.ok().and_then(|replies| replies.into_iter().next());
                let value: Option<String> = reply.and_then(|reply| from_redis_value(reply.ok()?).ok());
                // Another event may have taken the name since.
                let entry = value.as_deref().and_then(Entry::parse).filter(|entry| entry.content == content);
                match entry.map(|entry| entry.state) {
                    Some(State::Written(outcome)) => break outcome,
                    Some(State::Pending(_)) if Instant::now() < deadline => {}
                    _ => break Outcome::Unknown,
                }
            };
            // Whoever waited may have gone.
            let _ = reply.send(outcome);
        });
        delivery
    }

    fn pending_value(&self, identity: &Identity) -> String {
        value::pending(identity, &self.owner)
    }
}

/// Sixteen digits that no other process has. Not a secret.
fn owner() -> String {
    use std::hash::{BuildHasher as _, RandomState};
    let mut hash = Sha256::new();
    // The standard library's own randomness, twice 64 bits of it.
    for _ in 0..2 {
        hash.update(RandomState::new().hash_one(std::process::id()).to_be_bytes());
    }
    hex(hash.finalize().get(..8).unwrap_or_default())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_process_has_a_name_of_its_own() {
        assert_ne!(owner(), owner());
    }
}
