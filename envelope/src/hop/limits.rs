//! Limits that gateways share: what a call asks of them, and what they say.

use serde::{Deserialize, Serialize};

/// The most limits of one request.
pub const MAX_LIMITS: usize = 8;

/// What one request of a call asks. Either all of its limits let it through, or nothing of it is written and none of
/// them counts it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitedRequest {
    /// The place of its first record among those of the call.
    pub first: usize,
    /// How many records it has.
    pub count: usize,
    /// Its limits: at least one, and at most [`MAX_LIMITS`].
    pub limits: Vec<SharedLimit>,
}

/// A limit that gateways share, and what a request costs of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SharedLimit {
    /// Its name.
    pub name: String,
    /// Whom it counts: the same text for the same caller, whichever gateway asks.
    pub key: String,
    /// Units in a period.
    pub limit: u64,
    /// The period, in seconds.
    pub period: u64,
    /// Units at once.
    pub burst: u64,
    /// Units of this request.
    pub cost: u64,
    /// Whether it only says what it would do.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// Whether the request goes on if it cannot be counted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_uncounted: bool,
}

/// What a limit has said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitState {
    /// Its name.
    pub name: String,
    /// Whether it lets the request through; `None` if it could not be counted.
    pub allowed: Option<bool>,
    /// Units that are left.
    #[serde(default)]
    pub remaining: u64,
    /// Milliseconds until there is one more; 0 if none is missing.
    #[serde(default)]
    pub next: u64,
    /// Milliseconds until the request would be let through, if it is not and ever would be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
}
