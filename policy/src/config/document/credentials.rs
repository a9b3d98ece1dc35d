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
