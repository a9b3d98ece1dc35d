//! Questions to authorities, such as an issuer's keys: calls that carry no records.

use std::rc::Rc;
use std::time::Duration;

/// A call that a request waits for. Requests that wait for the same [`FetchKey`] share one call.
#[derive(Clone, PartialEq, Eq)]
pub struct Fetch {
    /// What is asked for.
    pub key: FetchKey,
    /// What the host calls the authority by: on Envoy, the name of a cluster.
    pub upstream: String,
    /// The method, such as `GET`.
    pub method: &'static str,
    /// The `Host` of the call.
    pub authority: String,
    /// The path, with its query.
    pub path: String,
    /// Further header fields, in lower case. They may carry credentials.
    pub headers: Vec<(String, String)>,
    /// The content. It may carry a credential.
    pub body: Vec<u8>,
    /// How long to wait for the answer; never zero.
    pub timeout: Duration,
    /// The largest answer that is read, in bytes.
    pub max_bytes: usize,
}

impl std::fmt::Debug for Fetch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Headers and body can carry secrets.
        write!(f, "Fetch({} {}{})", self.method, self.upstream, self.path)
    }
}

/// What a [`Fetch`] is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FetchKey {
    /// The name of the method of authentication that asks.
    pub method: Rc<str>,
    /// What it asks for.
    pub subject: FetchSubject,
}

/// What a method of authentication asks an authority for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum FetchSubject {
    /// The issuer's OpenID configuration.
    Discovery,
    /// The issuer's keys.
    KeySet,
    /// Whether a token is active, by the SHA-256 of the token.
    Token([u8; 32]),
}

/// The answer to a [`Fetch`].
#[derive(Clone, Copy, Debug)]
pub struct Response<'a> {
    /// The HTTP status. Proxies answer in an authority's place with 503 and 504.
    pub status: u16,
    /// The content.
    pub body: &'a [u8],
}
