//! Who may call: methods of authentication, consumers, and what a route asks of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

#[cfg(feature = "schema")]
use schemars::JsonSchema;

use super::{Certificate, EnvoyJwtAuthn, Introspection, Mtls, Password, Webhook};

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
