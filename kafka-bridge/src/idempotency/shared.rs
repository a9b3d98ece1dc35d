//! Which events other bridges have written lately, or are writing: claims in a Redis that all of them use.
//!
//! A key is the hash of an event's name. Its value says what the event is (a hash too) and whether a bridge is at it
//! (`p <content> <owner>`, for somewhat longer than Kafka has) or where it is (`w <content> <ack> <partition> <offset>
//! <milliseconds>`, for the window). All events of a call are claimed in one round trip. While Redis is gone nobody waits
//! for it: one attempt a second looks whether it is back.

use std::fmt;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, ConnectionAddr, FromRedisValue, IntoConnectionInfo as _, Pipeline};
use sha2::{Digest as _, Sha256};
use tokio::sync::{mpsc, oneshot};
use wicketgate_envelope::hop::Ack;
use wicketgate_envelope::timestamp::Timestamp;

use super::identity::Digest;
use super::{Identity, Then};
use crate::config::{Config, OnSharedError};
use crate::metrics::Metrics;
use crate::producer::{Delivery, Outcome, Place};

/// What keys start with: whose they are, and the version of their values.
const PREFIX: &str = "wicketgate:idempotency:1:";

/// How much longer than Kafka's answer may take a claim lasts.
const PENDING_GRACE: Duration = Duration::from_secs(2);

/// How often it is asked what became of an event that another bridge is at.
const POLL: Duration = Duration::from_millis(50);

/// How long Redis is left alone after it has failed.
const RETRY: Duration = Duration::from_secs(1);

/// The most claims that are settled in one round trip.
const BATCH: usize = 512;

/// Gives a claim up that is still this bridge's own.
const RELEASE: &str =
    "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0";

/// What Redis says of an event.
#[derive(Debug)]
pub enum Verdict {
    /// No other bridge is at it.
    Ours,
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
    settled: mpsc::UnboundedSender<Settled>,
}

struct Inner {
    connection: ConnectionManager,
    /// Tells the claims of this process from others.
    owner: String,
    pending: Duration,
    window: Duration,
    timeout: Duration,
    answer_timeout: Duration,
    on_error: OnSharedError,
    outage: Outage,
    metrics: Arc<Metrics>,
}

/// What became of an event, and what to do once others can know.
struct Settled {
    identity: Identity,
    outcome: Outcome,
    then: Then,
}

/// Where Redis is, and the password that it asks for.
///
/// # Errors
/// What is wrong with the settings, each with the next step and without secrets.
pub fn client(config: &Config) -> Result<Option<Client>, String> {
    let Some(url) = &config.idempotency_redis else {
        return match config.idempotency_redis_password_file {
            Some(_) => {
                Err("--idempotency-redis-password-file: wanted --idempotency-redis with it".to_owned())
            }
            None => Ok(None),
        };
    };
    let wanted = |what: &str| format!("--idempotency-redis: wanted {what}");
    // The library's own error could show the password.
    let info = url
        .as_str()
        .into_connection_info()
        .map_err(|_| wanted("redis://HOST:PORT, with /NUMBER behind it for another database than 0"))?;
    if matches!(info.addr(), ConnectionAddr::TcpTls { .. }) {
        return Err(wanted("redis://, because this bridge is built without TLS for Redis"));
    }
    if info.redis_settings().password().is_some() {
        return Err(wanted("no password in it; --idempotency-redis-password-file names a file that has it"));
    }
    let mut settings = info.redis_settings().clone();
    if let Some(path) = &config.idempotency_redis_password_file {
        let text = fs::read_to_string(path)
            .map_err(|error| format!("--idempotency-redis-password-file {}: {error}", path.display()))?;
        settings = settings.set_password(text.trim_end_matches(['\r', '\n']));
    }
    Client::open(info.set_redis_settings(settings)).map(Some).map_err(|_| wanted("redis://HOST:PORT"))
}

impl Shared {
    /// Connects when it is first asked. Must be called within a runtime.
    ///
    /// # Errors
    /// As [`client`].
    pub(super) fn new(config: &Config, metrics: Arc<Metrics>) -> Result<Option<Self>, String> {
        let Some(client) = client(config)? else { return Ok(None) };
        let timeout = config.idempotency_redis_timeout;
        let settings = ConnectionManagerConfig::new()
            .set_number_of_retries(0)
            .set_connection_timeout(Some(timeout))
            .set_response_timeout(Some(timeout));
        let connection = ConnectionManager::new_lazy_with_config(client, settings)
            .map_err(|error| format!("--idempotency-redis: {error}"))?;
        let answer_timeout = config.answer_timeout();
        let inner = Arc::new(Inner {
            connection,
            owner: owner(),
            pending: answer_timeout + PENDING_GRACE,
            window: config.idempotency_window,
            timeout,
            answer_timeout,
            on_error: config.idempotency_on_error,
            outage: Outage::default(),
            metrics,
        });
        let (settled, received) = mpsc::unbounded_channel();
        tokio::spawn(publish(Arc::clone(&inner), received));
        Ok(Some(Self { inner, settled }))
    }

    /// Claims events, all in one round trip, and says what is known of each.
    pub(super) async fn claim(&self, identities: &[Identity]) -> Vec<Verdict> {
        let inner = &self.inner;
        let mut pipeline = redis::pipe();
        for identity in identities {
            let (key, pending) = (key(&identity.name), inner.pending_value(identity));
            let millis = millis(inner.pending);
            pipeline.cmd("SET").arg(&key).arg(pending).arg("NX").arg("PX").arg(millis).ignore();
            pipeline.cmd("GET").arg(&key);
        }
        match inner.ask::<Vec<Option<String>>>(&pipeline).await {
            Some(values) if values.len() == identities.len() => {
                let values = identities.iter().zip(values);
                values.map(|(identity, value)| inner.verdict(identity, value.as_deref())).collect()
            }
            _ => {
                inner.metrics.idempotency_unshared(identities.len());
                let verdict = || match inner.on_error {
                    OnSharedError::Allow => Verdict::Ours,
                    OnSharedError::Deny => Verdict::Unavailable,
                };
                identities.iter().map(|_| verdict()).collect()
            }
        }
    }

    /// Lets others know what became of an event, or that it may be tried again, and does `then` when they can, or when
    /// it is known that they can't. Never blocks.
    pub(super) fn settle(&self, identity: Identity, outcome: Outcome, then: Then) {
        if let Err(mpsc::error::SendError(lost)) = self.settled.send(Settled { identity, outcome, then }) {
            (lost.then)();
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

/// Writes to Redis what became of events, until nobody can tell any more.
async fn publish(inner: Arc<Inner>, mut received: mpsc::UnboundedReceiver<Settled>) {
    let mut batch = Vec::with_capacity(BATCH);
    while received.recv_many(&mut batch, BATCH).await > 0 {
        let mut pipeline = redis::pipe();
        for Settled { identity, outcome, .. } in &batch {
            let key = key(&identity.name);
            match written_value(identity, *outcome) {
                Some(value) => {
                    pipeline.cmd("SET").arg(key).arg(value).arg("PX").arg(millis(inner.window)).ignore()
                }
                None => {
                    let own = inner.pending_value(identity);
                    pipeline.cmd("EVAL").arg(RELEASE).arg(1).arg(key).arg(own).ignore()
                }
            };
        }
        // Where that fails, the claims expire by themselves.
        let _: Option<()> = inner.ask(&pipeline).await;
        batch.drain(..).for_each(|settled| (settled.then)());
    }
}

impl Inner {
    /// Asks Redis; `None` if it does not answer in time, or did not a moment ago.
    async fn ask<T: FromRedisValue>(&self, pipeline: &Pipeline) -> Option<T> {
        if !self.outage.may_ask() {
            return None;
        }
        let mut connection = self.connection.clone();
        let error = match tokio::time::timeout(self.timeout, pipeline.query_async(&mut connection)).await {
            Ok(Ok(answer)) => {
                if self.outage.ends() {
                    tracing::info!("Redis answers again; events are shared with other bridges");
                }
                self.metrics.idempotency_redis_up(true);
                return Some(answer);
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {:?}", self.timeout),
        };
        if self.outage.begins() {
            tracing::error!(error, on_error = ?self.on_error, "Redis does not answer; events are not shared with other bridges");
        }
        self.metrics.idempotency_redis_up(false);
        None
    }

    fn verdict(self: &Arc<Self>, identity: &Identity, value: Option<&str>) -> Verdict {
        match value.and_then(Entry::parse) {
            Some(entry) if entry.content != hex(&identity.content) => Verdict::Conflict,
            Some(Entry { state: State::Written(outcome), .. }) => Verdict::Written(outcome),
            Some(Entry { state: State::Pending(owner), .. }) if owner == self.owner => Verdict::Ours,
            Some(Entry { state: State::Pending(_), .. }) => Verdict::Elsewhere(self.follow(identity)),
            // Expired just now, or written by a version that this one does not know.
            None => Verdict::Unavailable,
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
                let answer: Option<Vec<Option<String>>> = inner.ask(&pipeline).await;
                let value = answer.and_then(|values| values.into_iter().next()).flatten();
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
        format!("p {} {}", hex(&identity.content), self.owner)
    }
}

/// What a value says.
struct Entry<'v> {
    content: &'v str,
    state: State<'v>,
}

enum State<'v> {
    /// A bridge is at it: this one.
    Pending(&'v str),
    Written(Outcome),
}

impl<'v> Entry<'v> {
    fn parse(value: &'v str) -> Option<Self> {
        let mut parts = value.split(' ');
        let (kind, content, third) = (parts.next()?, parts.next()?, parts.next()?);
        let state = match kind {
            "p" => State::Pending(third),
            "w" => {
                let ack = match third {
                    "all" => Ack::All,
                    "leader" => Ack::Leader,
                    "none" => Ack::None,
                    "spooled" => Ack::Spooled,
                    _ => return None,
                };
                let place = match parts.next() {
                    None => None,
                    Some(partition) => Some(Place {
                        partition: partition.parse().ok()?,
                        offset: parts.next()?.parse().ok()?,
                        timestamp: Timestamp::from_millis(parts.next()?.parse().ok()?),
                    }),
                };
                State::Written(Outcome::Acknowledged { ack, place })
            }
            _ => return None,
        };
        parts.next().is_none().then_some(Self { content, state })
    }
}

/// `None` for what was not written, or may not have been, and may be tried again.
fn written_value(identity: &Identity, outcome: Outcome) -> Option<String> {
    let Outcome::Acknowledged { ack, place } = outcome else { return None };
    let ack = match ack {
        Ack::All => "all",
        Ack::Leader => "leader",
        Ack::None => "none",
        Ack::Spooled => "spooled",
    };
    let content = hex(&identity.content);
    Some(match place {
        Some(Place { partition, offset, timestamp }) => {
            format!("w {content} {ack} {partition} {offset} {}", timestamp.as_millis())
        }
        None => format!("w {content} {ack}"),
    })
}

fn key(name: &Digest) -> String {
    format!("{PREFIX}{}", hex(name))
}

fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(value.into(), 16).unwrap_or_default();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
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

/// Whether Redis is gone, and when it is worth asking again.
#[derive(Debug)]
struct Outage {
    start: Instant,
    /// In milliseconds since `start`; 0 while there is no outage.
    not_before: AtomicU64,
    /// Whether the log has it.
    known: AtomicBool,
}

impl Default for Outage {
    fn default() -> Self {
        Self { start: Instant::now(), not_before: AtomicU64::new(0), known: AtomicBool::new(false) }
    }
}

impl Outage {
    /// Whether to ask: always while there is no outage, and during one a single caller each [`RETRY`].
    fn may_ask(&self) -> bool {
        let not_before = self.not_before.load(Ordering::Relaxed);
        let now = millis(self.start.elapsed());
        not_before == 0
            || now >= not_before
                && self
                    .not_before
                    .compare_exchange(not_before, now + millis(RETRY), Ordering::Relaxed, Ordering::Relaxed)
                    .is_ok()
    }

    /// It has failed. Whether that is news.
    fn begins(&self) -> bool {
        self.not_before.store(millis(self.start.elapsed()) + millis(RETRY), Ordering::Relaxed);
        !self.known.swap(true, Ordering::Relaxed)
    }

    /// It has answered. Whether that is news.
    fn ends(&self) -> bool {
        self.not_before.store(0, Ordering::Relaxed);
        self.known.swap(false, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_they_were_written() {
        let identity = Identity::from_bytes([0xa5; 32]);
        let place = Place { partition: 7, offset: -1, timestamp: Timestamp::from_millis(1_795_353_386_123) };
        for ack in [Ack::All, Ack::Leader, Ack::None, Ack::Spooled] {
            for place in [None, Some(place)] {
                let outcome = Outcome::Acknowledged { ack, place };
                let value = written_value(&identity, outcome).unwrap();
                let entry = Entry::parse(&value).unwrap();
                assert_eq!(entry.content, "a5".repeat(16));
                assert!(matches!(entry.state, State::Written(read) if read == outcome), "{value}");
            }
        }
        for outcome in [Outcome::Unknown, Outcome::Refused, Outcome::Unavailable, Outcome::TooLarge] {
            assert_eq!(written_value(&identity, outcome), None);
        }
        assert!(matches!(Entry::parse("p c o").unwrap().state, State::Pending("o")));
        for other in [
            "",
            "p",
            "p c",
            "p c o x",
            "w c",
            "w c some",
            "w c all 1",
            "w c all 1 2",
            "w c all 1 2 3 4",
            "x c all",
        ] {
            assert!(Entry::parse(other).is_none(), "{other}");
        }
        assert_ne!(owner(), owner());
    }

    #[test]
    fn during_an_outage_one_asks_and_the_others_do_not_wait() {
        let outage = Outage::default();
        assert!(outage.may_ask() && outage.may_ask());
        assert!(outage.begins() && !outage.begins());
        assert!(!outage.may_ask());
        outage.not_before.store(1, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(2));
        assert!(outage.may_ask() && !outage.may_ask());
        assert!(outage.ends() && !outage.ends() && outage.may_ask());
    }
}
