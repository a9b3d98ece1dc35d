//! The configuration document as users write it. The JSON Schema is generated from these types, and the doc
//! comments become its descriptions: they are written for the reader of an editor's tooltip.

use std::collections::BTreeMap;

mod credentials;

use serde::{Deserialize, Serialize};

#[cfg(feature = "schema")]
use schemars::JsonSchema;

pub use self::credentials::*;

/// Configuration of the Wicketgate filter.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// Where the JSON Schema of this document is, for editors. The filter ignores it.
    #[serde(default, rename = "$schema")]
    pub schema: Option<String>,
    /// The `source` attribute of every event, a URI reference that names this gateway, such as
    /// `https://api.example.com`.
    pub source: String,
    /// Where kafka-bridge is.
    pub bridge: Bridge,
    /// What a request may cost.
    #[serde(default)]
    pub limits: Limits,
    /// Ways to authenticate, by name. Routes refer to these names. `anonymous` is built in.
    #[serde(default)]
    pub authentication: BTreeMap<String, AuthenticationMethod>,
    /// Who may call.
    #[serde(default)]
    pub consumers: Vec<Consumer>,
    /// Limits on how often, by name. Routes refer to these names.
    #[serde(default)]
    pub rate_limits: BTreeMap<String, RateLimit>,
    /// Limits on how many requests are in flight, by name. Routes refer to these names.
    #[serde(default)]
    pub concurrency_limits: BTreeMap<String, ConcurrencyLimit>,
    /// Which fields tell callers of their limits. Default: `ietf`.
    #[serde(default)]
    pub limit_fields: LimitFields,
    /// Whose address counts where a limit counts by `address`.
    #[serde(default)]
    pub client_address: ClientAddress,
    /// The key of keyed hashes in redaction: 32 to 256 hexadecimal digits. A secret.
    #[serde(default)]
    pub redaction_key: Option<Secret>,
    /// What happens to a request that no route matches: `reject` answers 404 or 405, `pass` lets it go on to
    /// its upstream, unauthenticated.
    pub unmatched: Unmatched,
    /// What requests are taken, from whom, and where they go. For a path that several routes match, the one with
    /// the earlier literal segment wins, whatever their order here.
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    pub routes: Vec<Route>,
}

/// Where kafka-bridge is and how long to wait for it.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Bridge {
    /// Envoy: the name of the cluster that reaches kafka-bridge.
    pub upstream: String,
    /// The `Host` that kafka-bridge is called by. Default: the upstream.
    #[serde(default)]
    pub authority: Option<String>,
    /// How long to wait for kafka-bridge's answer, such as `10s` or `1500ms`; from 100ms to 5min. It must be longer
    /// than kafka-bridge's own delivery timeout, so that the outcome is known whenever it can be.
    #[serde(default = "Bridge::default_timeout")]
    pub timeout: String,
    /// The secret that calls to kafka-bridge are signed with: 32 or more visible ASCII characters, one of those in its
    /// `--hop-secret-file`. Without it calls are not signed, and only a kafka-bridge that is open to all takes them.
    #[serde(default)]
    pub secret: Option<Secret>,
}

impl Bridge {
    fn default_timeout() -> String {
        "10s".to_owned()
    }
}

/// What a request may cost.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// The largest body, in bytes. The gateway's own buffer limit (Envoy: `per_connection_buffer_limit_bytes` of
    /// the listener) must be larger.
    #[serde(default = "Limits::default_body_bytes")]
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 67_108_864)))]
    pub body_bytes: u32,
    /// The most that the records of one request may have together, in bytes, on their way to kafka-bridge: events with
    /// their attributes, keys and headers. What the head gives to each event of a batch counts for each. Default: twice the
    /// route's largest body (`accept.decoded_bytes`), and 4 MiB, but no more than kafka-bridge takes in a call if it is not told
    /// otherwise, 16 MiB. More than that takes a larger `--max-body-bytes` there.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 268_435_456)))]
    pub record_bytes: Option<u32>,
}

impl Limits {
    const fn default_body_bytes() -> u32 {
        1_048_576
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { body_bytes: Self::default_body_bytes(), record_bytes: None }
    }
}

/// How often.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// How many in a period. Quota comes back evenly, not at the end of the period: after `period / limit` there is one
    /// more.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 1_000_000_000_000_i64)))]
    pub limit: u64,
    /// The period, in whole seconds from `1s` to `366days`, such as `1m` or `1day`.
    pub period: String,
    /// How many at once, from a caller that has used nothing for a while. In any period there are at most `limit` and
    /// `burst` together. Default: `limit`.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 1_000_000_000_000_i64)))]
    pub burst: Option<u64>,
    /// What is counted apart: `consumer`, `address`, `route`, `header:<name>`, `claim:<name>`, `path:<name>` (a parameter of
    /// the path), or several of them together. Without any, all requests are counted together. A limit that counts by
    /// neither consumer nor claim is asked before authentication.
    #[serde(default)]
    pub key: Vec<String>,
    /// How many a request counts for. Default: `request`.
    #[serde(default)]
    pub cost: LimitCost,
    /// Which requests are counted. Default: `requests`.
    #[serde(default)]
    pub counts: LimitCounts,
    /// Other limits for some consumers; the first that is for a caller counts. Only for keys with `consumer`.
    #[serde(default)]
    pub overrides: Vec<RateOverride>,
    /// Who shares the counts. Default: `local`.
    #[serde(default)]
    pub scope: LimitScope,
    /// Whether it refuses nothing and only says in metrics what it would do.
    #[serde(default)]
    pub dry_run: bool,
    /// What happens to a request that cannot be counted. Default: `deny`.
    #[serde(default)]
    pub on_error: LimitOnError,
    /// How many keys can be counted at a time. A key takes a slot until all its quota is back. Default: 65536, which take
    /// 3 MB of the host's memory at most.
    #[serde(default = "RateLimit::default_slots")]
    #[cfg_attr(feature = "schema", schemars(range(min = 16, max = 16_777_216)))]
    pub slots: u32,
}

impl RateLimit {
    const fn default_slots() -> u32 {
        65_536
    }
}

/// How many a request counts for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum LimitCost {
    /// One.
    #[default]
    Request,
    /// As many as its body has bytes, as it was sent.
    BodyBytes,
    /// As many as it brings events.
    Events,
}

/// Which requests are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum LimitCounts {
    /// All that no limit refuses.
    #[default]
    Requests,
    /// Those with a wrong credential. Once there are too many, right ones are refused as well.
    FailedAuthentications,
}

/// Who shares the counts of a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum LimitScope {
    /// All workers of this gateway.
    #[default]
    Local,
    /// All gateways whose kafka-bridge has the same Redis (`--limits-redis`). Asked with the request's records, after all local
    /// limits; only where the action is produce or tee.
    Global,
}

/// What happens to a request that a limit cannot count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum LimitOnError {
    /// It goes on.
    Allow,
    /// It is answered with 503.
    #[default]
    Deny,
}

/// Another limit for some consumers.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RateOverride {
    /// Names of consumers.
    #[serde(default)]
    pub consumers: Vec<String>,
    /// Names of groups.
    #[serde(default)]
    pub groups: Vec<String>,
    /// How many in the period.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 1_000_000_000_000_i64)))]
    pub limit: u64,
    /// How many at once. Default: its `limit`.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 1_000_000_000_000_i64)))]
    pub burst: Option<u64>,
}

/// How many requests are in flight.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ConcurrencyLimit {
    /// How many at a time.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 1_000_000)))]
    pub limit: u32,
    /// What is counted apart; as in `rate_limits`.
    #[serde(default)]
    pub key: Vec<String>,
    /// How long what a worker has in flight is counted after the worker has said so last. It says so whenever a request of
    /// the same key comes or goes; a worker that has died does not. From `1s` to `1day`; longer than requests
    /// take. Default: `5m`.
    #[serde(default = "ConcurrencyLimit::default_lease")]
    pub lease: String,
    /// Whether it refuses nothing and only says in metrics what it would do.
    #[serde(default)]
    pub dry_run: bool,
    /// What happens to a request that cannot be counted. Default: `deny`.
    #[serde(default)]
    pub on_error: LimitOnError,
}

impl ConcurrencyLimit {
    fn default_lease() -> String {
        "5m".to_owned()
    }
}

/// Which fields tell callers of their limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum LimitFields {
    /// `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10), of all limits.
    #[default]
    Ietf,
    /// `X-RateLimit-Limit`, `-Remaining` and `-Reset`, of the limit of which the least is left.
    X,
    /// All of these.
    Both,
    /// None of these.
    None,
}

/// Whose address counts.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ClientAddress {
    /// How many of the last entries of `X-Forwarded-For` are believed: the one that far from the right is the caller's
    /// address. Default: 0, the address that the host has for the connection. Envoy with `use_remote_address` adds
    /// an entry of its own; there, `xff_num_trusted_hops` of Envoy's does the same, and this stays 0.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 16)))]
    pub trusted_hops: u8,
    /// How many leading bits of an IPv6 address make one caller. Default: 64, because that is the least that one gets.
    #[serde(default = "ClientAddress::default_ipv6_prefix")]
    #[cfg_attr(feature = "schema", schemars(range(min = 16, max = 128)))]
    pub ipv6_prefix: u8,
}

impl ClientAddress {
    const fn default_ipv6_prefix() -> u8 {
        64
    }
}

impl Default for ClientAddress {
    fn default() -> Self {
        Self { trusted_hops: 0, ipv6_prefix: Self::default_ipv6_prefix() }
    }
}

/// A way to authenticate.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum AuthenticationMethod {
    /// A key that the consumer sends in a header, a query parameter or a cookie of its own. Exactly one of the three is
    /// named.
    ApiKey {
        /// The name of the header, such as `x-api-key`.
        #[serde(default)]
        header: Option<String>,
        /// The name of the query parameter, such as `key`. Queries are often logged on the way; a header is safer.
        #[serde(default)]
        query: Option<String>,
        /// The name of the cookie.
        #[serde(default)]
        cookie: Option<String>,
        /// Whether an upstream gets the key. Default: it is taken out.
        #[serde(default)]
        forward: bool,
    },
    /// A user name, which is a consumer's, and a password (HTTP Basic, RFC 7617).
    Basic {
        /// Whether an upstream gets the password. Default: it is taken out.
        #[serde(default)]
        forward: bool,
    },
    /// A token that an authorisation server is asked about (OAuth 2.0 Token Introspection, RFC 7662).
    Introspection(Box<Introspection>),
    /// A JSON Web Token that Envoy's own filter `envoy.filters.http.jwt_authn` has verified before this one.
    EnvoyJwtAuthn(EnvoyJwtAuthn),
    /// A client certificate that the gateway has verified.
    Mtls(Mtls),
    /// Deliveries of webhooks, which their provider signs.
    Webhook(Box<Webhook>),
    /// A JSON Web Token (RFC 7519) of one issuer. Exactly one of `jwks`, `jwks_uri`, `discovery` and `secrets` says what
    /// verifies it.
    Jwt(Box<Jwt>),
}

/// A JSON Web Token (RFC 7519) of one issuer. Exactly one of `jwks`, `jwks_uri`, `discovery` and `secrets` says what
/// verifies it.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Jwt {
    /// What the claim `iss` has to be, byte for byte.
    pub issuer: String,
    /// The values of which the claim `aud` has to have one. Without any, tokens for every service of the issuer are
    /// taken, and `lint` warns.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    pub audiences: Vec<String>,
    /// The algorithms that tokens may be signed with, such as `RS256`.
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    pub algorithms: Vec<JwtAlgorithm>,
    /// The issuer's public keys, a JWK set (RFC 7517) as JSON text; `${file:keys.json}` stands for a file's content.
    #[serde(default)]
    pub jwks: Option<String>,
    /// The https address of the issuer's key set. It is fetched through `upstream`.
    #[serde(default)]
    pub jwks_uri: Option<String>,
    /// Whether the issuer's OpenID discovery document says where its keys are. It is fetched through `upstream`.
    #[serde(default)]
    pub discovery: bool,
    /// Secrets shared with the issuer, for HS256, HS384 and HS512. Two let one be replaced.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    pub secrets: Vec<Secret>,
    /// Envoy: the name of the cluster that reaches the issuer, with TLS where the issuer has it.
    #[serde(default)]
    pub upstream: Option<String>,
    /// How old fetched keys get before newer ones are asked for, in the background: 10s to 24h. A token that names
    /// a key which is not known asks at once, at most every ten seconds. Default: 10m.
    #[serde(default)]
    pub refresh: Option<String>,
    /// How much older keys may get while the issuer does not answer, up to 7d. Default: 1h.
    #[serde(default)]
    pub stale: Option<String>,
    /// How long to wait for the issuer's answer: 100ms to 30s. Default: 5s.
    #[serde(default)]
    pub timeout: Option<String>,
    /// How far the clocks of issuer and gateway may be apart, up to 5m. Default: 30s.
    #[serde(default)]
    pub leeway: Option<String>,
    /// The longest that a token may live, from `iat` on and from now on. Default: as long as `exp` says.
    #[serde(default)]
    pub max_lifetime: Option<String>,
    /// What `typ` in the token's header has to be, such as `at+jwt` (RFC 9068). Default: not checked.
    #[serde(default)]
    pub token_type: Option<String>,
    /// The claim that names the consumer: a name, or a JSON pointer into all claims. A token that names no consumer
    /// of this document is refused. Default: the caller is the token's `sub`, and no consumer.
    #[serde(default)]
    pub consumer_claim: Option<String>,
    /// The claim that lists the caller's groups: a name, or a JSON pointer, such as `/realm_access/roles`.
    #[serde(default)]
    pub groups_claim: Option<String>,
    /// The header that has the token and nothing else. Default: `Authorization`, behind the scheme `Bearer`.
    #[serde(default)]
    pub header: Option<String>,
    /// The query parameter that has the token. Queries are often logged on the way; a header is safer.
    #[serde(default)]
    pub query: Option<String>,
    /// The cookie that has the token.
    #[serde(default)]
    pub cookie: Option<String>,
    /// Whether an upstream gets the token. Default: it is taken out.
    #[serde(default)]
    pub forward: bool,
}

/// An algorithm that tokens are signed with (RFC 7518, section 3.1, and RFC 8037).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[allow(missing_docs, reason = "the names are those of the standard")]
pub enum JwtAlgorithm {
    HS256,
    HS384,
    HS512,
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    ES512,
    EdDSA,
}

/// Somebody who may call.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Consumer {
    /// The name under which the consumer's events are known: the `authid` attribute.
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    pub name: String,
    /// The consumer's keys. Several let a key be replaced without an interruption.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(extend("writeOnly" = true)))]
    pub api_keys: Vec<ApiKey>,
    /// The consumer's passwords, for `basic`; the user's name is the consumer's. At most two, so that one can be replaced.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(extend("writeOnly" = true)))]
    pub passwords: Vec<Password>,
    /// The consumer's client certificates, for `mtls`.
    #[serde(default)]
    pub certificates: Vec<Certificate>,
    /// The groups that the consumer belongs to, for the authorization of routes.
    #[serde(default)]
    pub groups: Vec<String>,
    /// What the consumer may do with a credential that has no scopes of its own, such as an API key.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// What is known of the consumer, for templates: `{claim:tenant}` is the claim `tenant` of whoever calls. Callers
    /// cannot change it.
    #[serde(default)]
    pub claims: BTreeMap<String, ClaimValue>,
}

/// A claim: a string, an integer, true or false, or an array of strings.
#[derive(Deserialize, Serialize)]
#[serde(untagged)]
pub enum ClaimValue {
    /// A string.
    Text(String),
    /// An integer.
    Number(serde_json::Number),
    /// True or false.
    Boolean(bool),
    /// Strings, of which a template can have one, by its place: `{claim:/groups/0}`.
    Texts(Vec<String>),
}

impl std::fmt::Debug for ClaimValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClaimValue(not shown)")
    }
}

/// By hand, because the alternatives of an untagged enum would come without what they have in common.
#[cfg(feature = "schema")]
impl JsonSchema for ClaimValue {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ClaimValue".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "A claim: a string, an integer, true or false, or an array of strings.",
            "type": ["string", "integer", "boolean", "array"],
            "items": {"type": "string", "writeOnly": true},
            "writeOnly": true,
        })
    }
}

/// An API key, by its hash.
#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[cfg_attr(feature = "schema", schemars(extend("writeOnly" = true)))]
#[serde(deny_unknown_fields)]
pub struct ApiKey {
    /// The SHA-256 of the key, in 64 hexadecimal digits: `printf %s "$KEY" | sha256sum`. Keys should have 128 bits of
    /// entropy or more, because a fast hash does not protect a weak one.
    #[cfg_attr(feature = "schema", schemars(extend("writeOnly" = true)))]
    pub sha256: String,
    /// From when on the key is no longer good, such as `2027-01-31T00:00:00Z` (RFC 3339). Default: never.
    #[serde(default)]
    pub expires: Option<String>,
}

impl std::fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ApiKey(not shown)")
    }
}

/// Text that is never shown.
#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[cfg_attr(feature = "schema", schemars(extend("writeOnly" = true)))]
#[serde(transparent)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(not shown)")
    }
}

/// What happens to a request that no route matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Unmatched {
    /// 404, or 405 where a route has the path but not the method.
    Reject,
    /// On to the upstream, unauthenticated.
    Pass,
}

/// What requests are taken, from whom, and where they go.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// The name of the route, in events and metrics. Unique.
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    pub name: String,
    /// Which requests.
    #[serde(rename = "match")]
    pub matches: Match,
    /// From whom.
    pub authentication: Authentication,
    /// What those may do. Without it every valid credential opens the route, and `lint` warns.
    #[serde(default)]
    pub authorization: Option<Authorization>,
    /// How often, and how many at once: names of limits. All of them are asked; a request that one refuses is counted by
    /// none.
    #[serde(default)]
    pub limits: Vec<String>,
    /// What is done with them.
    pub action: Action,
    /// `tee` only: what happens to a request whose copy does not get into Kafka. Default: `deny`.
    #[serde(default)]
    pub on_error: Option<OnError>,
    /// `tee` only: what happens to a request whose body need not end, such as one for a WebSocket. Default: `head`. Other
    /// actions than `tee` never wait for one: `produce` refuses it with 400, and `pass` lets it go on.
    #[serde(default)]
    pub streams: Option<Streams>,
    /// Which web pages of other origins may call (CORS). Without it, none.
    #[serde(default)]
    pub cors: Option<Cors>,
    /// Which senders of events may ask whether they may send them here (CloudEvents, HTTP 1.1 Web Hooks, section 4).
    /// Without it, none. It lets nobody in: events have to be authenticated as `authentication` says.
    #[serde(default)]
    pub webhook_handshake: Option<WebhookHandshake>,
    /// Which bodies are taken, and how they are read.
    #[serde(default)]
    pub accept: Accept,
    /// The event that a request becomes. Needed unless the action is `pass`.
    #[serde(default)]
    pub event: Option<EventAttributes>,
    /// Where the event goes. Needed unless the action is `pass`.
    #[serde(default)]
    pub kafka: Option<Kafka>,
    /// What is taken out of the request before it leaves the gateway for Kafka. An upstream gets the request as it is.
    #[serde(default)]
    pub redact: Redact,
    /// `produce` only: what the caller gets for an event that Kafka has.
    #[serde(default)]
    pub reply: Reply,
}

/// Which requests a route takes.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Match {
    /// Hosts, such as `api.example.com` or `*.example.com`; the star stands for one label or more. Default: any.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    pub hosts: Vec<String>,
    /// Methods, in upper case, such as `POST`.
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    pub methods: Vec<String>,
    /// A path, such as `/v1/orders/{order_id}`. A segment in braces matches any one segment that is not empty, and
    /// its value can be used by that name.
    pub path: String,
    /// Headers that must be there: with this value, or, where the value is `null`, with any.
    #[serde(default)]
    pub headers: BTreeMap<String, Option<String>>,
}

/// From whom a route takes requests: `any_of` or `all_of`.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Authentication {
    /// Names of ways to authenticate, tried in order; `anonymous` lets requests without any credential in. The first
    /// credential that is present decides: one that is wrong is refused, whatever comes after it.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    pub any_of: Vec<String>,
    /// Names of ways to authenticate, each of which has to be passed. The first says who the caller is; a credential of
    /// another consumer is refused.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    pub all_of: Vec<String>,
}

impl Authentication {
    /// The names, of whichever kind.
    pub(crate) fn names(&self) -> impl Iterator<Item = &String> {
        self.any_of.iter().chain(&self.all_of)
    }
}

/// What callers may do. Every field that is there has to hold; a caller for whom one does not is answered 403.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Authorization {
    /// Every authenticated caller may, and nothing else is said here. It is how a route says that this is meant.
    #[serde(default)]
    pub authenticated: bool,
    /// The consumers that may.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    pub consumers: Vec<String>,
    /// The groups of which the caller is in at least one.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    pub groups: Vec<String>,
    /// The scopes that the caller has, all of them.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    pub scopes: Vec<String>,
    /// What claims of the caller have to be.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    pub claims: Vec<ClaimRule>,
    /// Parts of the request that have to be what a claim of the caller says, such as the tenant in its path.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    pub request: Vec<RequestRule>,
}

/// What a claim has to be. Exactly one of `equals`, `contains` and `one_of` is given. Values are compared as the text of a
/// string, or as a number, `true` or `false` is written.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ClaimRule {
    /// The name of the claim, or a JSON pointer into all claims, such as `/realm_access/roles`.
    pub claim: String,
    /// The claim is this value.
    #[serde(default)]
    pub equals: Option<String>,
    /// The claim is an array that has this value, or text that has it as one of its words.
    #[serde(default)]
    pub contains: Option<String>,
    /// The claim is one of these values.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    pub one_of: Option<Vec<String>>,
}

/// A part of the request that has to be what a claim of the caller says.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RequestRule {
    /// The part of the request: a template without parts of the body, such as `{tenant}` or `{header:x-tenant}`.
    pub part: String,
    /// The name of the claim, or a JSON pointer into all claims.
    pub claim: String,
}

/// What is done with the requests of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// The request becomes a record in Kafka, and the caller gets its receipt.
    Produce,
    /// A copy of the request becomes a record in Kafka, then the request goes on to its upstream, and the caller gets
    /// the upstream's answer.
    Tee,
    /// The request goes on to its upstream once it is authenticated. Nothing goes to Kafka.
    Pass,
}

/// What happens to a request whose body need not end: an upgrade (WebSocket), CONNECT, or a gRPC call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Streams {
    /// Its head alone is copied, and it goes on as soon as Kafka has that. The event says so in `wgstream`.
    #[default]
    Head,
    /// It is answered with 400.
    Refuse,
}

/// What happens to a request whose copy does not get into Kafka.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum OnError {
    /// It goes on to its upstream without a copy.
    Continue,
    /// It is answered with the error.
    #[default]
    Deny,
}

/// Which web pages of other origins may call (the Fetch standard's CORS protocol).
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Cors {
    /// Origins, such as `https://shop.example.com`; or `*` alone, for all.
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    pub origins: Vec<String>,
    /// Request headers that pages may set, beside those that need no permission.
    #[serde(default)]
    pub headers: Vec<String>,
    /// Response headers that pages may read, beside those that need no permission.
    #[serde(default)]
    pub expose_headers: Vec<String>,
    /// How long a browser may remember the answer to a preflight, such as `10m`; at most 24h. Default: the browser's
    /// own.
    #[serde(default)]
    pub max_age: Option<String>,
    /// Whether pages may send cookies and other credentials of the browser's own.
    #[serde(default)]
    pub credentials: bool,
}

/// Which bodies are taken, and how they are read.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Accept {
    /// How a body may be read. A body that is none of these is answered with 415.
    #[serde(default = "Accept::default_formats")]
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    pub formats: Vec<Format>,
    /// Media types that are taken, such as `application/json` or `image/*`. Default: any.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    pub media_types: Vec<String>,
    /// How bodies that are no CloudEvents are read, by media type, where the type itself does not say it:
    /// `{ "text/plain": "json", "application/x-log": "ndjson", "*/*": "binary" }`. The narrowest range counts; `*/*` also
    /// stands for no media type at all. `formats` has to have what it leads to.
    #[serde(default)]
    pub read_as: BTreeMap<String, ReadAs>,
    /// What happens to a byte order mark before JSON, which JSON must not have and some senders put there. Default:
    /// `refuse`.
    #[serde(default)]
    pub byte_order_mark: ByteOrderMark,
    /// What happens to a body with a `Content-Encoding`. Default: `decode`.
    #[serde(default)]
    pub content_encoding: ContentEncoding,
    /// The largest body after decoding, in bytes. Default: `limits.body_bytes`.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 67_108_864)))]
    pub decoded_bytes: Option<u32>,
    /// The most events in a batch.
    #[serde(default = "Accept::default_batch_events")]
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 1_000)))]
    pub batch_events: u32,
}

impl Accept {
    fn default_formats() -> Vec<Format> {
        vec![Format::Raw, Format::Cloudevent]
    }

    const fn default_batch_events() -> u32 {
        100
    }
}

impl Accept {
    /// Whether it says nothing.
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Redact {
    /// Whether it says nothing.
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Reply {
    /// Whether it says nothing.
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for Accept {
    fn default() -> Self {
        Self {
            formats: Self::default_formats(),
            media_types: Vec::new(),
            read_as: BTreeMap::new(),
            byte_order_mark: ByteOrderMark::default(),
            content_encoding: ContentEncoding::default(),
            decoded_bytes: None,
            batch_events: Self::default_batch_events(),
        }
    }
}

/// A way to read a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Any body, JSON included, as the data of one event.
    Raw,
    /// A CloudEvent, in binary or structured mode.
    Cloudevent,
    /// Several CloudEvents, in batched mode.
    CloudeventsBatch,
    /// Several events, a JSON value a line.
    Ndjson,
    /// Several events, each an element of a JSON array.
    JsonArray,
}

/// How a body is read, whatever its media type says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ReadAs {
    /// As JSON. The event's `datacontenttype` is then `application/json`, unless the media type is one of JSON itself.
    Json,
    /// As several events, a JSON value a line.
    Ndjson,
    /// Not at all: as bytes.
    Binary,
}

/// What happens to a byte order mark before JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ByteOrderMark {
    /// The body is answered with 400.
    #[default]
    Refuse,
    /// It is passed over, and is not in the event.
    Strip,
}

/// What happens to a body with a `Content-Encoding`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ContentEncoding {
    /// It is decoded (gzip, deflate, br, zstd).
    #[default]
    Decode,
    /// It is carried as it is, whatever its encoding, and the event says so in `wgencoding`. Only raw bodies are: what has to be read (a
    /// CloudEvent, a batch, a body with redacted parts) is answered with 415.
    Carry,
    /// It is answered with 415.
    Refuse,
}

/// Attributes of the event that a request becomes (CloudEvents 1.0.2, section 3.1). Those that an incoming CloudEvent
/// has are kept.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct EventAttributes {
    /// The `type` attribute, such as `com.example.order.submitted`.
    #[serde(rename = "type")]
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    pub type_: String,
    /// The `source` attribute. Default: the document's.
    #[serde(default)]
    pub source: Option<String>,
    /// The `subject` attribute; a template, such as `{order_id}`.
    #[serde(default)]
    pub subject: Option<String>,
    /// The `id` attribute; a template, such as `{header:x-github-delivery}`. Default: the value of `Idempotency-Key` if
    /// there is one, else a fresh UUID, version 7.
    #[serde(default)]
    pub id: Option<String>,
    /// What tells an event from one that came before with the same id. Default: `content`.
    #[serde(default)]
    pub identity: Identity,
    /// Further attributes by name; templates.
    #[serde(default)]
    pub extensions: BTreeMap<String, String>,
    /// Whether the query of the request is carried, redacted, as `wgquery`.
    #[serde(default)]
    pub query: bool,
}

/// What tells an event from one that came before with the same id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Identity {
    /// What it says, what is redacted of it included, and the method, path and query of its request: one that says the
    /// same is answered with the first receipt, and another is refused with 422.
    #[default]
    Content,
    /// Nothing: it is answered with the first receipt whatever it says. For senders whose retries differ, such as Stripe.
    Id,
}

/// Where the event goes. Templates take `{name}` for a path parameter, `{query:name}`, `{header:name}`, `{claim:name}`,
/// `{consumer}`, `{method}` and `{pointer:/json/pointer}`, with filters: `{header:x-tenant|lower|default:none}`. With
/// `|or:` behind it another source is looked at where nothing is found; with `|optional` the field is left out.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Kafka {
    /// The topic; a template. One that is not a constant needs a literal prefix or `allowed_topics`, because callers
    /// must not choose freely where they write.
    pub topic: String,
    /// The topics that the template may make.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    pub allowed_topics: Vec<String>,
    /// The key of the record; a template. Without it the key is the event's `partitionkey`, if it came with one, and
    /// otherwise there is none.
    #[serde(default)]
    pub key: Option<String>,
    /// The partition; a template that makes a number. Default: by the key, as Java clients do it (murmur2).
    #[serde(default)]
    pub partition: Option<String>,
    /// The timestamp of the record; a template that makes an RFC 3339 time, or a number of milliseconds since 1970. Numbers
    /// in other units have a filter that says so: `{pointer:/at|seconds}`, `|micros`, `|nanos`. Default: when the record
    /// is produced.
    #[serde(default)]
    pub timestamp: Option<String>,
    /// The earliest timestamp that is taken, such as `1990-01-01T00:00:00Z`. What is earlier was told in another unit, or by
    /// a clock that is not set, and is answered with 400. Default: `2000-01-01T00:00:00Z`.
    #[serde(default)]
    pub timestamp_earliest: Option<String>,
    /// How far ahead of the gateway's clock a timestamp may be, such as `1h`; at most 3650d. Kafka refuses what is
    /// further ahead than the topic's `message.timestamp.after.max.ms`, which is an hour. Default: `1h`.
    #[serde(default)]
    pub timestamp_ahead: Option<String>,
    /// Record headers by name; templates.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Request headers that become record headers, byte for byte.
    #[serde(default)]
    pub forward_headers: Vec<ForwardHeader>,
    /// What the value of the record is. Default: `structured`.
    #[serde(default)]
    pub value: Value,
    /// Whether an empty body is a tombstone, a record without a value, which deletes the key from a compacted topic. Needs
    /// a `key`, and a `value` that is not `structured`.
    #[serde(default)]
    pub tombstone: bool,
    /// How far a record has to get before the caller gets a receipt. Default: `all`.
    #[serde(default)]
    pub ack: Ack,
    /// The name of the cluster, as the bridge's configuration has it: 1 to 64 of the characters `a-z A-Z 0-9 . _ -`.
    /// Default: the bridge's default cluster.
    #[serde(default)]
    pub cluster: Option<String>,
}

/// A request header that becomes a record header.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ForwardHeader {
    /// The name of the request header.
    pub name: String,
    /// The name of the record header. Default: the same, in lower case.
    #[serde(default, rename = "as")]
    pub rename: Option<String>,
    /// What is done with a header that is repeated. Default: `all`.
    #[serde(default)]
    pub repeated: RepeatedHeader,
}

/// What is done with a header that is repeated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum RepeatedHeader {
    /// As many record headers, in order.
    #[default]
    All,
    /// The first counts.
    First,
    /// The last counts.
    Last,
    /// The request is answered with 400.
    Refuse,
}

/// How far a record has to get before the caller gets a receipt, which says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Ack {
    /// All in-sync replicas have it.
    #[default]
    All,
    /// The leader of its partition has it, and may lose it with its disk or its place.
    Leader,
    /// The bridge has it in memory. It may be lost without anybody being told.
    None,
    /// The bridge has it on its disk, and writes it to Kafka when that takes it. Takes a bridge with a spool.
    Spooled,
}

/// What the value of a record is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Value {
    /// The event, in JSON.
    #[default]
    Structured,
    /// The data of the event; its attributes are record headers, `ce_id` and so on.
    Binary,
    /// The data of the event, and nothing else of it.
    Raw,
}

/// What is taken out of the request before it leaves the gateway for Kafka.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Redact {
    /// Header values, by the name of the header. `ce-<name>` is the attribute of that name of an incoming CloudEvent, in
    /// whichever mode it comes.
    #[serde(default)]
    pub headers: BTreeMap<String, Treatment>,
    /// Values of query parameters, by name.
    #[serde(default)]
    pub query: BTreeMap<String, Treatment>,
    /// Parts of a JSON body, by JSON pointer; the token `*` stands for every element of an array and every member of an
    /// object. A body that is not JSON is refused.
    #[serde(default)]
    pub body: BTreeMap<String, Treatment>,
}

/// How something is taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Treatment {
    /// As if it had not been there.
    Drop,
    /// Its value becomes `[redacted]`.
    Mask,
    /// Its value becomes a keyed hash (HMAC-SHA256), the same for the same value. Needs `redaction_key`.
    Hash,
}

/// What the caller gets for an event that Kafka has.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Reply {
    /// The status, 200 to 299. The answer has no content where it is 204 or 205. Default: 202.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(range(min = 200, max = 299)))]
    pub status: Option<u16>,
    /// Further headers, by name.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The fields of the content and what is in them; `{}` is content without fields. Default: all of the receipt, each
    /// by its own name.
    #[serde(default)]
    pub body: Option<BTreeMap<String, ReceiptField>>,
}

/// A part of a receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ReceiptField {
    /// The `id` of the event.
    Id,
    /// The topic.
    Topic,
    /// The partition.
    Partition,
    /// The offset.
    Offset,
    /// The timestamp of the record.
    Timestamp,
    /// Who had the record when the receipt was made.
    Ack,
}
