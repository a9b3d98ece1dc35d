//! What the gateway would do with a request: the same decisions by the same code, without a gateway.

pub mod envoy;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde_json::value::RawValue;
use wicketgate_envelope::hop::{self, Ack, ValueMode};
use wicketgate_envelope::octets::Octets;
use wicketgate_envelope::timestamp::Timestamp;
use wicketgate_policy::auth::{Memory, Tried};
use wicketgate_policy::config::Config;
use wicketgate_policy::env::{Env, LocalStore, SharedStore, fresh_id};
use wicketgate_policy::exchange::{Effect, Event, Exchange};
use wicketgate_policy::fetch::{FetchSubject, Response};
use wicketgate_policy::limit::Report;
use wicketgate_policy::reply::LocalReply;
use wicketgate_policy::reshape::Record;

use self::envoy::{Envoy, Refused};
use crate::message::Message;

/// Where time and event ids come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The time of the request. Default: now.
    pub at: Option<SystemTime>,
    /// Makes event ids the same each time. Default: random.
    pub seed: Option<u8>,
    /// The gateway in front of the filter.
    pub envoy: Envoy,
    /// Units that whoever sends the request has just used, by the names of limits.
    pub used: BTreeMap<String, u64>,
    /// A key set (RFC 7517), in place of those that the gateway would fetch.
    pub jwks: Option<Vec<u8>>,
    /// What an authorisation server answers when it is asked about a token (RFC 7662), in place of the network.
    pub introspection: Option<Vec<u8>>,
}

/// What the gateway would do.
#[derive(Debug, Serialize)]
pub struct Explanation {
    /// `produce`, `tee`, `pass`, or `reply` where the gateway answers by itself at once; `ask` where it would ask an
    /// authority first and nothing was given in place of the answer; `envoy` where that is not the filter's answer, but
    /// Envoy's own, in its own words.
    pub decision: &'static str,
    /// Why Envoy answers by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub envoy: Option<&'static str>,
    /// The route that takes the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// Who the caller is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caller: Option<Caller>,
    /// The authority that would be asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asks: Option<String>,
    /// What the request may cost.
    pub limits: Limits,
    /// What the limits of the route say.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub quotas: Vec<ExplainedLimit>,
    /// What goes to Kafka.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub records: Vec<ExplainedRecord>,
    /// What the caller is answered at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply: Option<ExplainedReply>,
    /// What each method of authentication said of the request, up to the one that decided.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub authentication: Vec<ExplainedMethod>,
    /// Request headers that do not reach the upstream.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stripped_headers: Vec<String>,
    /// Request headers, and `:path`, that reach the upstream without the credentials in them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rewritten_headers: Vec<String>,
}

/// What a method of authentication said of a request.
#[derive(Debug, Serialize)]
pub struct ExplainedMethod {
    /// Its name in the document.
    pub method: String,
    /// What it said. Nothing of a credential is in it.
    pub said: String,
}

impl From<&Tried> for ExplainedMethod {
    fn from(tried: &Tried) -> Self {
        Self { method: tried.method.to_string(), said: tried.said.clone() }
    }
}

/// Who a caller is.
#[derive(Debug, Serialize)]
pub struct Caller {
    /// The method of authentication that decided, by its name in the document.
    pub method: String,
    /// How the caller is known: the `authtype` attribute.
    pub authtype: &'static str,
    /// The consumer: the `authid` attribute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authid: Option<String>,
    /// What templates can use of the caller.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claims: Option<Box<RawValue>>,
}

/// What a request may cost.
#[derive(Debug, Serialize)]
pub struct Limits {
    /// The largest body as it is sent, in bytes.
    pub body_bytes: usize,
    /// The largest body once it is decoded and redacted, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decoded_bytes: Option<usize>,
    /// The most events that the body may bring.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events: Option<usize>,
}

/// What a limit says to the request.
#[derive(Debug, Serialize)]
pub struct ExplainedLimit {
    /// Its name.
    pub name: String,
    /// `allowed`, `denied`, `would_deny` if it is on trial, `allowed_uncounted` or `denied_uncounted` if it cannot count.
    pub verdict: &'static str,
    /// Units that are left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remaining: Option<u64>,
    /// Units at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst: Option<u64>,
    /// In how many seconds there is one unit more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<f64>,
}

/// A record, as kafka-bridge is asked to produce it.
#[derive(Debug, Serialize)]
pub struct ExplainedRecord {
    /// The topic.
    pub topic: String,
    /// The key, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Octets<'static>>,
    /// The partition, where the key does not decide it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition: Option<i32>,
    /// The timestamp, in milliseconds, where it is not the time of producing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<i64>,
    /// Headers beside those that the value mode brings.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, Octets<'static>)>,
    /// What the value is made of.
    pub value: &'static str,
    /// Whether the record has no value.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub tombstone: bool,
    /// How far the record has to get before the caller gets a receipt: `all`, `leader`, `none` or `spooled`.
    pub ack: Ack,
    /// The cluster, where it is not the bridge's default one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// The envelope, byte for byte.
    pub event: Box<RawValue>,
}

/// An answer of the gateway's own.
#[derive(Debug, Serialize)]
pub struct ExplainedReply {
    /// The HTTP status.
    pub status: u16,
    /// Header fields.
    pub headers: Vec<(String, String)>,
    /// The content: JSON, or nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<Box<RawValue>>,
}

/// Gives the exchange what it asks authorities for, as far as it is there. The network is not asked.
fn answer_fetches(
    exchange: &mut Exchange,
    mut effect: Effect,
    env: &mut FixedEnv,
    options: &Options,
) -> Effect {
    while let Effect::Fetch(fetch) = &effect {
        let now = env.now();
        let key = &fetch.key;
        match (key.subject.clone(), &options.jwks, &options.introspection) {
            // What is wrong with the keys was told when they were read.
            (FetchSubject::Discovery | FetchSubject::KeySet, Some(jwks), _) => {
                drop(env.memory.put_keys(&key.method, jwks, now));
            }
            (FetchSubject::Token(_), _, Some(answer)) => {
                env.memory.fetched(key, Some(Response { status: 200, body: answer }), now);
            }
            _ => return effect,
        }
        effect = exchange.step(Event::Fetched, env);
    }
    effect
}

/// Puts a request to a configuration.
pub fn explain(config: Config, mut message: Message, options: &Options) -> Explanation {
    let mut env = FixedEnv::new(options);
    let max_body_bytes = config.max_body_bytes;
    let request_id = fresh_id(&mut env);
    let handed_over =
        options.envoy.hand_over(&mut message, &request_id, config.trusts_forwarded_certificates());
    let mut exchange = Exchange::traced(Rc::new(config)).with_used(options.used.clone());
    let mut head = message.head();
    head.set_client_address(options.envoy.client.to_string());
    let body = message.body;
    let effect = match handed_over {
        Ok(()) => exchange.step(Event::Head { head, end_of_stream: body.is_empty() }, &mut env),
        Err(_) => Effect::Nothing,
    };
    let mut effect = answer_fetches(&mut exchange, effect, &mut env, options);
    if effect == Effect::Wait {
        effect = exchange.step(Event::BodyBuffered { len: body.len(), end_of_stream: true }, &mut env);
    }
    if let Effect::ReadBody { .. } = effect {
        effect = exchange.step(Event::Body(&body), &mut env);
        effect = answer_fetches(&mut exchange, effect, &mut env, options);
    }
    let asks = match &effect {
        Effect::Fetch(fetch) => Some(format!("{} {}{}", fetch.upstream, fetch.authority, fetch.path)),
        _ => None,
    };
    let route = exchange.route();
    let (mut records, mut reply) = (Vec::new(), None);
    let mut refused = None;
    let decision = match effect {
        Effect::Dispatch { records: sent, .. } => {
            records = sent.iter().filter_map(explained_record).collect();
            route.map_or("produce", |route| route.action_name())
        }
        Effect::Reply(answer) => {
            reply = Some(explained_reply(&answer));
            "reply"
        }
        Effect::Fetch(_) => "ask",
        _ => match handed_over {
            Ok(()) => "pass",
            Err(Refused { status, because }) => {
                refused = Some(because);
                reply = Some(ExplainedReply { status, headers: Vec::new(), body: None });
                "envoy"
            }
        },
    };
    let plan = route.and_then(|route| route.plan());
    Explanation {
        decision,
        envoy: refused,
        route: route.map(|route| route.name.clone()),
        caller: exchange.principal().map(|principal| Caller {
            method: principal.method.to_string(),
            authtype: principal.auth_type,
            authid: principal.auth_id().map(str::to_owned),
            claims: principal.claims().map(|claims| claims.json().to_owned()),
        }),
        asks,
        limits: Limits {
            body_bytes: max_body_bytes,
            decoded_bytes: plan.map(|plan| plan.max_bytes()),
            events: plan.map(|plan| plan.max_events()),
        },
        quotas: exchange.limits().iter().map(explained_limit).collect(),
        records,
        reply,
        authentication: exchange.tried().iter().map(ExplainedMethod::from).collect(),
        stripped_headers: exchange.head_changes().remove.clone(),
        rewritten_headers: exchange.head_changes().set.iter().map(|(name, _)| name.clone()).collect(),
    }
}

fn explained_record(record: &Record) -> Option<ExplainedRecord> {
    let text = std::str::from_utf8(&record.bytes).ok()?;
    // It was written by the other half of the same crate.
    let record: hop::Record<'_> = serde_json::from_str(text).ok()?;
    let owned = |octets: Octets<'_>| Octets(Cow::Owned(octets.0.into_owned()));
    Some(ExplainedRecord {
        topic: record.topic.into_owned(),
        key: record.key.map(owned),
        partition: record.partition,
        timestamp: record.timestamp,
        headers: record.headers.into_iter().map(|(name, value)| (name.into_owned(), owned(value))).collect(),
        value: match record.mode {
            ValueMode::Structured => "structured",
            ValueMode::Binary => "binary",
            ValueMode::Raw => "raw",
        },
        tombstone: record.tombstone,
        ack: record.ack,
        cluster: record.cluster.map(Cow::into_owned),
        event: record.event.to_owned(),
    })
}

fn explained_limit(report: &Report) -> ExplainedLimit {
    ExplainedLimit {
        name: report.policy.name.to_string(),
        verdict: report.verdict.as_str(),
        remaining: report.quota.map(|quota| quota.remaining),
        burst: report.quota.map(|quota| quota.burst),
        next: report.quota.and_then(|quota| quota.next).map(|next| next.as_secs_f64()),
    }
}

fn explained_reply(reply: &LocalReply) -> ExplainedReply {
    ExplainedReply {
        status: reply.status,
        headers: reply.headers.iter().map(|(name, value)| (name.to_string(), value.clone())).collect(),
        body: serde_json::from_slice(&reply.body).ok(),
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "decision   {}", self.decision)?;
        if let Some(because) = self.envoy {
            writeln!(f, "because    {because}")?;
        }
        writeln!(f, "route      {}", self.route.as_deref().unwrap_or("none"))?;
        if let Some(Caller { authtype, authid, claims, .. }) = &self.caller {
            writeln!(f, "caller     {} ({authtype})", authid.as_deref().unwrap_or("anonymous"))?;
            if let Some(claims) = claims {
                writeln!(f, "claims     {claims}")?;
            }
        }
        let Limits { body_bytes, decoded_bytes, events } = &self.limits;
        write!(f, "limits     body {body_bytes} bytes")?;
        if let (Some(bytes), Some(events)) = (decoded_bytes, events) {
            write!(f, ", {bytes} decoded, {events} event(s)")?;
        }
        writeln!(f)?;
        if let Some(asks) = &self.asks {
            writeln!(f, "asks       {asks} (give its answer with --jwks or --introspection)")?;
        }
        for ExplainedMethod { method, said } in &self.authentication {
            writeln!(f, "method     {method}: {said}")?;
        }
        for limit in &self.quotas {
            write!(f, "limit      {}: {}", limit.name, limit.verdict)?;
            if let (Some(remaining), Some(burst)) = (limit.remaining, limit.burst) {
                write!(f, ", {remaining} of {burst} left")?;
            }
            if let Some(next) = limit.next.filter(|next| *next > 0.0) {
                write!(f, ", one more in {next} s")?;
            }
            writeln!(f)?;
        }
        for name in &self.stripped_headers {
            writeln!(f, "stripped   {name}")?;
        }
        for name in &self.rewritten_headers {
            writeln!(f, "rewritten  {name}")?;
        }
        for (index, record) in self.records.iter().enumerate() {
            writeln!(f, "\nrecord {} of {}", index + 1, self.records.len())?;
            record.fmt(f)?;
        }
        if let Some(reply) = &self.reply {
            writeln!(f, "\nreply      {}", reply.status)?;
            for (name, value) in &reply.headers {
                writeln!(f, "           {name}: {value}")?;
            }
            if let Some(body) = &reply.body {
                writeln!(f, "           {body}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for ExplainedRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "topic      {}", self.topic)?;
        match &self.key {
            Some(key) => writeln!(f, "key        {}", shown(key))?,
            None => writeln!(f, "key        none")?,
        }
        if let Some(partition) = self.partition {
            writeln!(f, "partition  {partition}")?;
        }
        if let Some(timestamp) = self.timestamp {
            writeln!(f, "timestamp  {timestamp}")?;
        }
        for (name, value) in &self.headers {
            writeln!(f, "header     {name}: {}", shown(value))?;
        }
        writeln!(f, "value      {}", if self.tombstone { "none (a tombstone)" } else { self.value })?;
        if let Some(cluster) = &self.cluster {
            writeln!(f, "cluster    {cluster}")?;
        }
        if self.ack != Ack::default() {
            writeln!(f, "ack        {}", self.ack)?;
        }
        writeln!(f, "envelope   {}", self.event)
    }
}

fn shown(octets: &Octets<'_>) -> String {
    // Bytes, as a string or as {"base64": …}: this cannot fail to serialise.
    serde_json::to_string(octets).unwrap_or_default()
}

/// Time and randomness that stand still where they are asked to.
struct FixedEnv {
    at: Timestamp,
    seed: Option<u8>,
    memory: Memory,
    shared: LocalStore,
}

impl FixedEnv {
    fn new(options: &Options) -> Self {
        let at = options.at.unwrap_or_else(SystemTime::now);
        let nanos = at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        Self {
            at: Timestamp::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)),
            seed: options.seed,
            memory: Memory::default(),
            shared: LocalStore::default(),
        }
    }
}

impl Env for FixedEnv {
    fn now(&self) -> Timestamp {
        self.at
    }

    fn fill_random(&mut self, buffer: &mut [u8]) {
        match &mut self.seed {
            // Each id is another, and the same in each run.
            Some(seed) => {
                buffer.fill(*seed);
                *seed = seed.wrapping_add(1);
            }
            // Without randomness ids are zeros and a time, which is good enough to look at.
            None => drop(getrandom::fill(buffer)),
        }
    }

    fn memory(&mut self) -> &mut Memory {
        &mut self.memory
    }

    fn property(&self, _path: &[&str]) -> Option<Vec<u8>> {
        None
    }

    fn shared(&mut self) -> &mut dyn SharedStore {
        &mut self.shared
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(request: &str) -> Explanation {
        let demo = include_bytes!("../../envoy/demo.json");
        let options = Options { at: Some(UNIX_EPOCH), seed: Some(0), ..Options::default() };
        explain(Config::from_json(demo).unwrap(), Message::parse(request.as_bytes()).unwrap(), &options)
    }

    #[test]
    fn a_record_is_shown_as_it_would_be() {
        let explanation = explained(
            "POST /v1/orders/42 HTTP/1.1\nHost: h\nX-Api-Key: demo-key\nX-Device: a\u{e9}\nContent-Type: application/json\n\n{\"n\": 1.0}",
        );
        let event = explanation.records[0].event.get();
        assert!(
            event.starts_with(r#"{"specversion":"1.0","id":"00000000-0000-7101-8101-010101010101","#),
            "{event}"
        );
        assert!(event.ends_with(r#""data":{"n": 1.0}}"#), "{event}");
        let text = explanation.to_string();
        for line in
            ["decision   produce", "route      orders", "caller     demo (api_key)", "key        \"42\""]
        {
            assert!(text.lines().any(|shown| shown == line), "{line}\n{text}");
        }
        assert!(!text.contains("demo-key"));
    }

    #[test]
    fn what_limits_say_is_shown_from_where_they_are_told_to_start() {
        let document = include_bytes!("../../envoy/examples/multi-tenant.json");
        let request = include_bytes!("../../envoy/examples/multi-tenant.http");
        let shown = |used: &[(&str, u64)]| {
            let used = used.iter().map(|(name, units)| ((*name).to_owned(), *units)).collect();
            let options = Options { at: Some(UNIX_EPOCH), seed: Some(0), used, ..Options::default() };
            explain(Config::from_json(document).unwrap(), Message::parse(request).unwrap(), &options)
        };
        let text = shown(&[("daily", 998)]).to_string();
        for line in [
            "limit      daily: allowed, 1 of 1000 left, one more in 8.64 s",
            "limit      in-flight: allowed, 49 of 50 left",
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line}\n{text}");
        }
        let refused = shown(&[("daily", 1_000), ("in-flight", 50)]);
        assert_eq!(refused.reply.as_ref().map(|reply| reply.status), Some(429), "{refused}");
        assert!(refused.to_string().contains("limit      daily: denied, 0 of 1000 left"), "{refused}");
        assert_eq!(shown(&[("in-flight", 50)]).reply.map(|reply| reply.status), Some(429));
    }

    #[test]
    fn a_denial_is_shown_as_it_would_be() {
        let explanation = explained("POST /v1/orders/42 HTTP/1.1\nHost: h\n\n");
        let reply = explanation.reply.unwrap();
        assert_eq!(
            (explanation.decision, explanation.route.as_deref(), reply.status),
            ("reply", Some("orders"), 401)
        );
        assert!(reply.body.unwrap().get().contains("urn:wicketgate:problem:unauthenticated"));
        assert!(explanation.records.is_empty());
    }
}
