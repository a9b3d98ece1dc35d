//! Limits that gateways share, counted in a Redis that bridges share.
//!
//! All that the requests of a call ask goes to Redis in one script, so in one round trip and one atomic step: a limit is never
//! exceeded, however many bridges ask at a time. What Redis does not answer in time is decided by each limit's own
//! word, and for a second after that nobody waits for it again but one request, which finds out whether it is back.

mod options;
mod rate;

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use redis::{RedisError, Value};
use wicketgate_envelope::hop::{LimitState, LimitedRequest, MAX_LIMITS, SharedLimit};

use crate::metrics::register;
use crate::redis_link::{Link, Outage, Target};
pub use options::Options;
use rate::Rate;

const SCRIPT: &str = include_str!("script.lua");
/// Before every key.
const PREFIX: &str = "wicketgate:limit:";
/// Keys that are in every command and never touched. A Redis Cluster keeps them in different slots, so it refuses every
/// command, and not just those whose limits happen to be in several.
const NOT_IN_A_CLUSTER: [&str; 2] = ["one", "another"];

/// What is counted of limits. By name they are counted in the gateways, which know the names.
#[derive(Debug)]
pub struct Metrics {
    allowed: Counter,
    denied: Counter,
    uncounted: Counter,
    redis_up: Gauge,
}

impl Metrics {
    /// Creates them in `registry`.
    pub fn register(registry: &mut Registry) -> Self {
        Self {
            allowed: register(
                registry,
                "limits_allowed",
                "Requests that shared limits let through",
                Counter::default(),
            ),
            denied: register(
                registry,
                "limits_denied",
                "Requests that shared limits refused",
                Counter::default(),
            ),
            uncounted: register(
                registry,
                "limits_uncounted",
                "Requests that shared limits could not count, let through or refused as each limit says",
                Counter::default(),
            ),
            redis_up: register(
                registry,
                "limits_redis_up",
                "Whether the Redis of shared limits answered the last time that it was asked",
                Gauge::default(),
            ),
        }
    }
}

/// The limits that gateways share.
#[allow(missing_debug_implementations, reason = "a connection has nothing to show")]
pub struct SharedLimits {
    redis: Option<Redis>,
    metrics: Metrics,
}

struct Redis {
    link: Link,
    timeout: Duration,
    outage: Outage,
}

/// What is said to one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Whether it is let through.
    pub through: bool,
    /// What each limit has said.
    pub states: Vec<LimitState>,
}

impl SharedLimits {
    /// Connects when it is first asked. Must be called within a runtime.
    ///
    /// # Errors
    /// What is wrong with the settings, each with the next step and without secrets.
    pub fn new(options: &Options, metrics: Metrics) -> Result<Self, Vec<String>> {
        let Some(target) = Target::of(&options.redis())? else {
            return Ok(Self { redis: None, metrics });
        };
        let timeout = options.limits_redis_timeout;
        let link = target.link(timeout).map_err(|error| vec![format!("--limits-redis: {error}")])?;
        Ok(Self { redis: Some(Redis { link, timeout, outage: Outage::default() }), metrics })
    }

    /// Asks Redis for nothing once, so that the log of a start has what is wrong with it.
    pub async fn check(&self) {
        let Some(redis) = &self.redis else { return };
        if let Err(error) = redis.send(&command(&[], &[])).await {
            tracing::error!(error, "the Redis of shared limits does not do its part at the start");
        }
    }

    /// Asks for each request, in one round trip for all of them.
    pub async fn ask(&self, requests: &[LimitedRequest]) -> Vec<Said> {
        if requests.is_empty() {
            return Vec::new();
        }
        let metrics = &self.metrics;
        let said = match &self.redis {
            Some(redis) => redis.ask(requests, metrics).await,
            None => None,
        };
        let said = said.unwrap_or_else(|| requests.iter().map(uncounted).collect());
        for said in &said {
            let counted = said.states.iter().all(|state| state.allowed.is_some());
            match (counted, said.through) {
                (false, _) => metrics.uncounted.inc(),
                (true, true) => metrics.allowed.inc(),
                (true, false) => metrics.denied.inc(),
            };
        }
        said
    }
}

/// What each limit's own word is where it cannot be counted.
fn uncounted(request: &LimitedRequest) -> Said {
    let state = |limit: &SharedLimit| LimitState {
        name: limit.name.clone(),
        allowed: None,
        remaining: 0,
        next: 0,
        retry_after: None,
    };
    Said {
        through: request.limits.iter().all(|limit| limit.allow_uncounted || limit.dry_run),
        states: request.limits.iter().map(state).collect(),
    }
}

impl Redis {
    async fn ask(&self, requests: &[LimitedRequest], metrics: &Metrics) -> Option<Vec<Said>> {
        let rates = requests.iter().flat_map(|request| &request.limits).map(Rate::of);
        // What no filter asks is not counted.
        let rates = rates.collect::<Option<Vec<_>>>()?;
        if !self.outage.may_ask() {
            return None;
        }
        let error = match self.send(&command(requests, &rates)).await {
            Ok(reply) => match read(&reply, requests, &rates) {
                Some(said) => {
                    metrics.redis_up.set(1);
                    if self.outage.ends() {
                        tracing::info!("the Redis of shared limits answers again");
                    }
                    return Some(said);
                }
                None => "it answers something else than what it was asked".to_owned(),
            },
            Err(error) => error,
        };
        self.link.failed();
        metrics.redis_up.set(0);
        if self.outage.begins() {
            tracing::error!(
                error,
                "the Redis of shared limits does not do its part; requests go as each limit's on_error says"
            );
        }
        None
    }

    /// Its reply, or what went wrong in words.
    async fn send(&self, command: &redis::Cmd) -> Result<Value, String> {
        let asked = async {
            let mut connection = self.link.connection().await?;
            command.query_async(&mut connection).await
        };
        match tokio::time::timeout(self.timeout, asked).await {
            Ok(reply) => reply.map_err(|error| describe(&error)),
            Err(_) => Err(format!("no answer within {:?}", self.timeout)),
        }
    }
}

fn describe(error: &RedisError) -> String {
    match error.code() {
        Some("NOPERM") => format!("{error}; allow this user +eval +get +set +time on ~{PREFIX}*"),
        Some("CROSSSLOT" | "CLUSTERDOWN" | "MOVED" | "ASK") => format!(
            "it is a node of a Redis Cluster, in which the limits of a call cannot be counted in one atomic step; \
             wanted a Redis of its own, or one behind Sentinels ({error})"
        ),
        _ => error.to_string(),
    }
}

fn command(requests: &[LimitedRequest], rates: &[Rate]) -> redis::Cmd {
    let mut command = redis::cmd("EVAL");
    command.arg(SCRIPT).arg(rates.len() + NOT_IN_A_CLUSTER.len());
    for limit in requests.iter().flat_map(|request| &request.limits) {
        command.arg(format!("{PREFIX}{}:{}", limit.name, limit.key));
    }
    for key in NOT_IN_A_CLUSTER {
        command.arg(format!("{PREFIX}{key}"));
    }
    command.arg(requests.len());
    let mut rates = rates.iter();
    for request in requests {
        command.arg(request.limits.len());
        for (limit, rate) in request.limits.iter().zip(&mut rates) {
            command.arg(rate.interval.to_string()).arg(rate.capacity.to_string());
            // What costs more than a burst is refused all the same, and stays exact.
            command.arg(limit.cost.min(limit.burst.saturating_add(1)));
            command.arg(rate.scale.to_string()).arg(u8::from(limit.dry_run));
        }
    }
    command
}

/// Reads the script's reply.
fn read(reply: &Value, requests: &[LimitedRequest], rates: &[Rate]) -> Option<Vec<Said>> {
    let Value::Array(items) = reply else { return None };
    let mut items = items.iter();
    let mut rates = rates.iter();
    let flag = |items: &mut std::slice::Iter<'_, Value>| match items.next()? {
        Value::Int(number) => Some(*number == 1),
        _ => None,
    };
    let mut all = Vec::with_capacity(requests.len());
    for request in requests {
        let through = flag(&mut items)?;
        let mut states = Vec::with_capacity(request.limits.len());
        for limit in &request.limits {
            let allowed = flag(&mut items)?;
            let used: String = redis::from_redis_value(items.next()?.clone()).ok()?;
            states.push(rates.next()?.state(limit, allowed, used.parse().ok()?));
        }
        all.push(Said { through, states });
    }
    Some(all)
}

/// What is wrong with what a call asks, if something is.
pub fn mistake(requests: &[LimitedRequest], records: usize) -> Option<&'static str> {
    let mut end = 0;
    for request in requests {
        if request.first < end || request.count == 0 {
            return Some("limits: wanted each request's records after those of the one before");
        }
        end = request.first.saturating_add(request.count);
        if request.limits.is_empty() || request.limits.len() > MAX_LIMITS {
            return Some("limits: wanted 1 to 8 limits of a request");
        }
        let plain = |limit: &SharedLimit| {
            let text = |text: &str, most: usize| {
                (1..=most).contains(&text.len())
                    && text
                        .bytes()
                        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
            };
            text(&limit.name, 64) && text(&limit.key, 64)
        };
        if request.limits.iter().any(|limit| limit.limit == 0 || limit.period == 0 || limit.burst == 0) {
            return Some("limits: wanted a limit, a period and a burst of 1 or more");
        }
        if !request.limits.iter().all(plain) {
            return Some("limits: wanted names and keys of 1 to 64 of the characters a-z A-Z 0-9 . _ -");
        }
    }
    (end > records).then_some("limits: wanted no more records than the call has")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(first: usize, count: usize, names: &[&str]) -> LimitedRequest {
        let limit = |name: &&str| SharedLimit {
            name: (*name).to_owned(),
            key: "k".to_owned(),
            limit: 1,
            period: 1,
            burst: 1,
            cost: 1,
            dry_run: false,
            allow_uncounted: *name == "allow",
        };
        LimitedRequest { first, count, limits: names.iter().map(limit).collect() }
    }

    #[test]
    fn calls_that_no_filter_makes_are_refused() {
        assert_eq!(mistake(&[], 1), None);
        assert_eq!(mistake(&[request(0, 2, &["a"]), request(3, 1, &["a"])], 4), None);
        for (requests, records) in [
            (vec![request(0, 2, &["a"])], 1),
            (vec![request(0, 0, &["a"])], 1),
            (vec![request(0, 1, &[])], 1),
            (vec![request(0, 1, &["a"; 9])], 1),
            (vec![request(0, 1, &["a b"])], 1),
            (vec![request(0, 1, &["a:b"])], 1),
            (vec![request(1, 1, &["a"]), request(0, 1, &["a"])], 2),
            (vec![request(0, 2, &["a"]), request(1, 1, &["a"])], 2),
            (vec![request(usize::MAX, usize::MAX, &["a"])], 2),
        ] {
            assert!(mistake(&requests, records).is_some(), "{requests:?}");
        }
    }

    #[test]
    fn without_redis_each_limit_says_for_itself() {
        assert!(uncounted(&request(0, 1, &["allow", "allow"])).through);
        assert!(!uncounted(&request(0, 1, &["allow", "deny"])).through);
    }

    #[test]
    fn replies_that_are_none_are_not_believed() {
        let requests = [request(0, 1, &["a"])];
        let rates: Vec<Rate> = requests[0].limits.iter().filter_map(Rate::of).collect();
        let array = |items: &[Value]| Value::Array(items.to_vec());
        let number = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let good = array(&[Value::Int(1), Value::Int(1), number("1000000000000")]);
        assert!(read(&good, &requests, &rates).is_some());
        for bad in [
            Value::Nil,
            array(&[]),
            array(&[Value::Int(1), Value::Int(1)]),
            array(&[Value::Int(1), Value::Int(1), number("-1")]),
            array(&[Value::Int(1), number("1"), number("1")]),
        ] {
            assert_eq!(read(&bad, &requests, &rates), None, "{bad:?}");
        }
    }
}
