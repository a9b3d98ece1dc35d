//! Certificates of those who call over TLS, as a proof of who they are.

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, UnixTime};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use webpki::EndEntityCert;

use super::Reloadable;
use crate::hop::Refusal;

/// How long a certificate is good without another look at its validity.
const VERDICT_HOLDS: Duration = Duration::from_secs(60);

/// A subject alternative name that a certificate may have.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub enum ClientName {
    /// A DNS name (RFC 5280, `dNSName`), compared without regard to case.
    Dns(String),
    /// A URI (RFC 5280, `uniformResourceIdentifier`), such as a SPIFFE id, compared as it is spelled.
    Uri(String),
}

impl FromStr for ClientName {
    type Err = String;

    /// Reads `gateway.example.com` or `spiffe://example.com/gateway`.
    fn from_str(text: &str) -> Result<Self, String> {
        let is_uri = text.split_once("://").is_some_and(|(scheme, rest)| {
            !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) && !rest.is_empty()
        });
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        if is_uri && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Self::Uri(text.to_owned()))
        } else if !text.is_empty() && text.bytes().all(legal) {
            Ok(Self::Dns(text.to_owned()))
        } else {
            Err(format!("wanted the name of a host or a URI, got {text:?}"))
        }
    }
}

/// The certificates that are let in.
pub(super) struct Certificates {
    verifier: Arc<dyn ClientCertVerifier>,
    names: Vec<ClientName>,
    /// Tells it from all others, so that what another one said of a certificate is not taken for its own.
    number: u64,
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").field("names", &self.names).finish_non_exhaustive()
    }
}

/// The certificates that a caller has presented on its connection, its own first.
#[derive(Debug)]
pub struct Presented {
    chain: Vec<CertificateDer<'static>>,
    verdict: Mutex<Option<Verdict>>,
}

#[derive(Clone, Copy, Debug)]
struct Verdict {
    by: u64,
    at: SystemTime,
    result: Result<(), Refusal>,
}

impl Presented {
    /// A chain whose key the caller has shown to have.
    pub fn new(chain: Vec<CertificateDer<'static>>) -> Self {
        Self { chain, verdict: Mutex::default() }
    }
}

impl Certificates {
    /// As configured; `None` if certificates are no proof.
    pub(super) fn load(options: &Reloadable) -> Result<Option<Self>, String> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let Some(path) = &options.tls_client_ca_file else { return Ok(None) };
        Ok(Some(Self {
            verifier: authorities(path)?,
            names: options.tls_client_names.clone(),
            number: NUMBER.fetch_add(1, Ordering::Relaxed),
        }))
    }

    /// Whether the certificate is one of those let in. A connection outlives much: the certificate on it may expire,
    /// and authorities and names may be others after a reload, so what was found holds for a minute at most.
    pub(super) fn check(&self, presented: &Presented, now: SystemTime) -> Result<(), Refusal> {
        let mut verdict = presented.verdict.lock().unwrap_or_else(PoisonError::into_inner);
        let holds = |verdict: &&Verdict| {
            verdict.by == self.number && now.duration_since(verdict.at).is_ok_and(|age| age < VERDICT_HOLDS)
        };
        if let Some(verdict) = verdict.as_ref().filter(holds) {
            return verdict.result;
        }
        let result = if self.verify(&presented.chain, now) { Ok(()) } else { Err(Refusal::Certificate) };
        *verdict = Some(Verdict { by: self.number, at: now, result });
        result
    }

    fn verify(&self, chain: &[CertificateDer<'static>], now: SystemTime) -> bool {
        let Some((own, between)) = chain.split_first() else { return false };
        let now = UnixTime::since_unix_epoch(now.duration_since(UNIX_EPOCH).unwrap_or_default());
        self.verifier.verify_client_cert(own, between, now).is_ok() && self.is_named(own)
    }

    fn is_named(&self, certificate: &CertificateDer<'_>) -> bool {
        let Ok(certificate) = EndEntityCert::try_from(certificate) else { return false };
        self.names.is_empty()
            || self.names.iter().any(|wanted| match wanted {
                ClientName::Dns(name) => {
                    certificate.valid_dns_names().any(|found| found.eq_ignore_ascii_case(name))
                }
                ClientName::Uri(uri) => certificate.valid_uri_names().any(|found| found == uri),
            })
    }
}

/// What checks certificates against the authorities in a file. Callers without one get through: they may have another
/// proof, or ask for what takes none.
///
/// # Errors
/// What is wrong with the file.
pub(crate) fn authorities(path: &Path) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let failed = |error: &dyn fmt::Display| format!("--tls-client-ca-file {}: {error}", path.display());
    let text = std::fs::read(path).map_err(|error| failed(&error))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let certificate = certificate.map_err(|error| failed(&error))?;
        roots.add(certificate).map_err(|error| failed(&error))?;
    }
    if roots.is_empty() {
        return Err(failed(&"wanted certificates in PEM, got none"));
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::new(ring::default_provider()))
        .allow_unauthenticated()
        .build()
        .map(|verifier| verifier as Arc<dyn ClientCertVerifier>)
        .map_err(|error| failed(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_hosts_or_a_uri() {
        for (text, wanted) in [
            ("gateway.example.com", ClientName::Dns("gateway.example.com".to_owned())),
            ("spiffe://example.com/ns/edge", ClientName::Uri("spiffe://example.com/ns/edge".to_owned())),
        ] {
            assert_eq!(text.parse(), Ok(wanted));
        }
        for text in ["", "*.example.com", "a b", "://x", "spiffe://", "spiffe://a b", "CN=x"] {
            assert!(text.parse::<ClientName>().is_err(), "{text}");
        }
    }
}
