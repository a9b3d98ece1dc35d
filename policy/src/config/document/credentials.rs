//! Credentials other than keys: webhooks' signatures, passwords, client certificates.

use serde::Deserialize;

#[cfg(feature = "schema")]
use schemars::JsonSchema;

use super::Secret;

/// Deliveries of webhooks, which their provider signs. The signature is over the body as it was sent, so it is checked
/// once the body is whole. The delivery's id becomes the event's, unless the route makes another.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// Whose webhooks they are, which says where the signature is and what it is over.
    pub provider: Provider,
    /// The secrets that deliveries may be signed with, as the provider shows them; 1 to 4, of at least 16 bytes. Two let
    /// one be replaced. With `standard_webhooks`, one that begins with `whpk_` is an Ed25519 public key.
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = 4)))]
    pub secrets: Vec<Secret>,
    /// The consumer that deliveries come from. Default: none; events are from this method, by its name.
    #[serde(default)]
    pub consumer: Option<String>,
    /// How far the time of signing may be from the gateway's clock, in both directions: 1s to 1h. Default: 5m. GitHub and
    /// Shopify sign no time.
    #[serde(default)]
    pub tolerance: Option<String>,
    /// `other` only, and needed there: where the signature is and what it is over.
    #[serde(default)]
    pub signature: Option<WebhookSignature>,
    /// Whether an upstream gets the signature. Default: it is taken out.
    #[serde(default)]
    pub forward: bool,
}

/// A provider of webhooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Provider {
    /// GitHub: `X-Hub-Signature-256`. The delivery's id is `X-GitHub-Delivery`, which is not signed.
    Github,
    /// Stripe: `Stripe-Signature`, scheme `v1`. The delivery's id is the event's.
    Stripe,
    /// Slack: `X-Slack-Signature`, version `v0`. The delivery's id is `event_id`. `url_verification` is answered.
    Slack,
    /// Shopify: `X-Shopify-Hmac-Sha256`. The delivery's id is `X-Shopify-Webhook-Id`, which is not signed.
    Shopify,
    /// Whoever follows Standard Webhooks: `webhook-signature`, versions `v1` and `v1a`. The delivery's id is
    /// `webhook-id`.
    StandardWebhooks,
    /// Anybody else who signs with HMAC-SHA256; `signature` says how.
    Other,
}

/// Where a signature is and what it is over.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct WebhookSignature {
    /// The header with the signature.
    pub header: String,
    /// What stands before a signature, such as `sha256=`. Default: nothing.
    #[serde(default)]
    pub prefix: String,
    /// How a signature is written down. Default: `hex`.
    #[serde(default)]
    pub encoding: SignatureEncoding,
    /// The character between signatures, where there may be several. Items without the prefix are passed over.
    #[serde(default)]
    pub separator: Option<String>,
    /// What is signed: text with `{id}`, `{timestamp}`, and `{body}` at the end. Default: `{body}`.
    #[serde(default = "WebhookSignature::default_signed")]
    pub signed: String,
    /// The header with the time of signing, in seconds since 1970.
    #[serde(default)]
    pub timestamp_header: Option<String>,
    /// What stands before the time of signing, where it is one of the items between the separators, such as `t=`.
    #[serde(default)]
    pub timestamp_prefix: Option<String>,
    /// The header with the delivery's id.
    #[serde(default)]
    pub id_header: Option<String>,
    /// How the secrets are written down. Default: `text`.
    #[serde(default)]
    pub secret_encoding: SecretEncoding,
}

impl WebhookSignature {
    fn default_signed() -> String {
        "{body}".to_owned()
    }
}

/// How a signature is written down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum SignatureEncoding {
    /// Hexadecimal digits.
    #[default]
    Hex,
    /// Base64.
    Base64,
}

/// How a secret is written down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum SecretEncoding {
    /// The text is the secret.
    #[default]
    Text,
    /// Base64, with or without `whsec_` before it.
    Base64,
}

/// A client certificate.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Mtls {
    /// Whether `x-forwarded-client-cert` is believed instead of the connection's own certificate. Only a gateway that is
    /// reached through another proxy alone, which sets that header, may believe it. The last of several hops counts.
    #[serde(default)]
    pub trust_forwarded_header: bool,
}

/// A password, hashed.
#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[cfg_attr(feature = "schema", schemars(extend("writeOnly" = true)))]
#[serde(deny_unknown_fields)]
pub struct Password {
    /// PBKDF2-HMAC-SHA256 in the PHC string format, as `wicketgate password` makes it.
    pub hash: Secret,
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(not shown)")
    }
}

/// What a client certificate says of itself. Exactly one of these.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// A URI among the subject's alternative names, such as `spiffe://example.org/partners/acme`; or, with `/*` at the
    /// end, all SPIFFE IDs below. Of several URIs Envoy tells the first.
    #[serde(default)]
    pub uri: Option<String>,
    /// A DNS name among the subject's alternative names. Of several Envoy tells the first.
    #[serde(default)]
    pub dns: Option<String>,
    /// The subject, exactly as Envoy writes it (RFC 2253), such as `CN=client,O=Example`.
    #[serde(default)]
    pub subject: Option<String>,
    /// The SHA-256 of the certificate in DER, in hexadecimal digits: `openssl x509 -noout -fingerprint -sha256`.
    #[serde(default)]
    pub sha256: Option<String>,
}

/// A token that an authorisation server is asked about (OAuth 2.0 Token Introspection, RFC 7662).
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Introspection {
    /// The https address that is asked, such as `https://login.example.com/oauth2/introspect`.
    pub endpoint: String,
    /// Envoy: the name of the cluster that reaches it, with TLS.
    pub upstream: String,
    /// How the gateway shows the server who it is.
    pub client: IntrospectionClient,
    /// What the member `iss` of an answer has to be, byte for byte. Default: not checked.
    #[serde(default)]
    pub issuer: Option<String>,
    /// The values of which the member `aud` of an answer has to have one. Default: not checked.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    pub audiences: Vec<String>,
    /// How long an answer is good for, up to 10m, and never beyond the token's own `exp`. A token that is withdrawn gets
    /// through for that long. Default: 30s. That a token is not good is remembered for ten seconds.
    #[serde(default)]
    pub cache: Option<String>,
    /// How long to wait for the server's answer: 100ms to 30s. Default: 5s.
    #[serde(default)]
    pub timeout: Option<String>,
    /// The member that names the consumer: a name, or a JSON pointer. A token that names no consumer of this document is
    /// refused. Default: the caller is `sub`, else `username`, else `client_id`, and no consumer.
    #[serde(default)]
    pub consumer_claim: Option<String>,
    /// The member that lists the caller's groups: a name, or a JSON pointer, such as `/realm_access/roles`.
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

/// How the gateway shows an authorisation server who it is.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum IntrospectionClient {
    /// An id and a secret in `Authorization: Basic` (RFC 6749, section 2.3.1).
    Basic {
        /// The id.
        id: String,
        /// The secret.
        secret: Secret,
    },
    /// An id and a secret in the body.
    Body {
        /// The id.
        id: String,
        /// The secret.
        secret: Secret,
    },
    /// A token of the gateway's own.
    Bearer {
        /// The token.
        token: Secret,
    },
}

/// A JSON Web Token that Envoy's own filter `envoy.filters.http.jwt_authn` has verified before this one. It is as good as
/// that filter's rules: what they let pass without a token carries no credential here.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct EnvoyJwtAuthn {
    /// The provider's `payload_in_metadata`.
    pub payload_in_metadata: String,
    /// The claim that names the consumer: a name, or a JSON pointer into all claims. A token that names no consumer of this
    /// document is refused. Default: the caller is the token's `sub`, and no consumer.
    #[serde(default)]
    pub consumer_claim: Option<String>,
    /// The claim that lists the caller's groups: a name, or a JSON pointer, such as `/realm_access/roles`.
    #[serde(default)]
    pub groups_claim: Option<String>,
}

/// Which senders of events may ask whether they may send them (`OPTIONS` with `WebHook-Request-Origin`).
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct WebhookHandshake {
    /// What the senders call themselves, such as `eventemitter.example.com`; or `*` alone, for all.
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    pub origins: Vec<String>,
    /// How many events a minute they are told that they may send. It is not enforced; `limits` are. Default: any.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(range(min = 1)))]
    pub rate: Option<u32>,
}
