//! The Redis that bridges share: whether it answers, and what its answers mean.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use redis::{Pipeline, RedisError, RedisResult, Value};

use super::value::PREFIX;
use crate::idempotency::Metrics;
use crate::idempotency::{OnSharedError, Options};
use crate::redis_link::{Link, Outage, RETRY, Target};

/// How often the log says that Redis refuses commands.
const REFUSED_LOG_PAUSE: Duration = Duration::from_secs(60);

/// Gives a claim up that is still this bridge's own.
pub(super) const RELEASE: &str =
    "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0";

/// Claims an event anew that nobody else has claimed, for the whole time of a claim.
pub(super) const RENEW: &str = "local value = redis.call('get', KEYS[1]) \
    if value == false or value == ARGV[1] then \
    redis.call('set', KEYS[1], ARGV[1], 'PX', ARGV[2]) return 1 end return 0";

/// Puts another value in the place of this one, for as long as this one would have stayed.
pub(super) const REPLACE: &str = "if redis.call('get', KEYS[1]) == ARGV[1] then \
    redis.call('set', KEYS[1], ARGV[2], 'KEEPTTL') return 1 end return 0";

/// The Redis, over one connection for all.
pub(super) struct Server {
    link: Link,
    timeout: Duration,
    on_error: OnSharedError,
    outage: Outage,
    refused_logged: Mutex<Option<Instant>>,
    metrics: Arc<Metrics>,
}

/// Why Redis has said nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Silence {
    /// It did not answer a moment ago, and was not asked again.
    NotAsked,
    /// It did not answer, or is in no state to; it may have done what it was asked to do.
    NoAnswer,
}

impl Server {
    /// Connects when it is first asked. Must be called within a runtime.
    ///
    /// # Errors
    /// As [`Target::of`].
    pub(super) fn new(options: &Options, metrics: Arc<Metrics>) -> Result<Option<Self>, Vec<String>> {
        let Some(target) = Target::of(&options.redis())? else { return Ok(None) };
        let timeout = options.idempotency_redis_timeout;
        let link = target.link(timeout).map_err(|error| vec![format!("--idempotency-redis: {error}")])?;
        Ok(Some(Self {
            link,
            timeout,
            on_error: options.idempotency_on_error,
            outage: Outage::default(),
            refused_logged: Mutex::default(),
            metrics,
        }))
    }

    /// Asks Redis, and returns its reply to each command. That one command is refused says nothing of the others.
    ///
    /// # Errors
    /// When it does not answer in time, did not a moment ago, or is in no state to do its work.
    pub(super) async fn ask(&self, mut pipeline: Pipeline) -> Result<Vec<RedisResult<Value>>, Silence> {
        if pipeline.is_empty() {
            return Ok(Vec::new());
        }
        if !self.outage.may_ask() {
            return Err(Silence::NotAsked);
        }
        pipeline.ignore_errors();
        let asked = async {
            let mut connection = self.link.connection().await?;
            pipeline.query_async::<Vec<RedisResult<Value>>>(&mut connection).await
        };
        let error = match tokio::time::timeout(self.timeout, asked).await {
            Ok(Ok(replies)) => match replies.iter().filter_map(error).find(|error| is_outage(error)) {
                Some(error) => error.to_string(),
                None => {
                    if self.outage.ends() {
                        tracing::info!("Redis answers again; events are shared with other bridges");
                    }
                    self.metrics.redis_up(true);
                    return Ok(replies);
                }
            },
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {:?}", self.timeout),
        };
        self.link.failed();
        if self.outage.begins() {
            tracing::error!(error, on_error = ?self.on_error, "Redis does not answer; events are not shared with other bridges");
        }
        self.metrics.redis_up(false);
        Err(Silence::NoAnswer)
    }

    /// Tries each command that is ever sent, as soon as Redis answers, and says in the log which of them it refuses.
    pub(super) async fn check(&self, owner: &str) {
        let key = format!("{PREFIX}check:{owner}");
        let replies = loop {
            let mut pipeline = redis::pipe();
            pipeline.cmd("SET").arg(&key).arg(owner).arg("NX").arg("PX").arg(1000);
            pipeline.cmd("GET").arg(&key);
            pipeline.cmd("EVAL").arg(RELEASE).arg(1).arg(&key).arg(owner);
            match self.ask(pipeline).await {
                Ok(replies) => break replies,
                Err(_) => tokio::time::sleep(RETRY).await,
            }
        };
        let consequences = [
            ("SET", "no event can be claimed"),
            ("GET", "no event can be looked up"),
            ("EVAL", "what a caller leaves behind stays claimed until that expires, for this bridge too"),
        ];
        for ((command, consequence), reply) in consequences.into_iter().zip(&replies) {
            if let Some(error) = error(reply) {
                tracing::error!(
                    %error,
                    "Redis refuses {command}, so {consequence}; allow this user +set +get +eval +del on ~{PREFIX}*"
                );
            }
        }
    }

    /// Redis has refused a command, or has something else than an event where one should be.
    pub(super) fn refused(&self, error: &dyn std::fmt::Display) {
        let mut logged = self.refused_logged.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.is_none_or(|logged| logged.elapsed() >= REFUSED_LOG_PAUSE) {
            *logged = Some(Instant::now());
            tracing::error!(%error, on_error = ?self.on_error, "Redis answers, and not what can be used; this event is not shared with other bridges");
        }
    }

    /// What happens to events that Redis cannot be asked about.
    pub(super) fn on_error(&self) -> OnSharedError {
        self.on_error
    }
}

fn error(reply: &RedisResult<Value>) -> Option<&RedisError> {
    reply.as_ref().err()
}

/// Whether Redis says that it cannot do its work at all just now, whatever it is asked.
fn is_outage(error: &RedisError) -> bool {
    const CODES: [&str; 11] = [
        "LOADING",
        "READONLY",
        "CLUSTERDOWN",
        "MASTERDOWN",
        "TRYAGAIN",
        "MISCONF",
        "OOM",
        "NOREPLICAS",
        "BUSY",
        "NOAUTH",
        "WRONGPASS",
    ];
    error.code().is_some_and(|code| CODES.contains(&code))
}
