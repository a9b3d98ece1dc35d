//! Connections to the collector, with TLS if its URL is `https://`.

use std::path::Path;
use std::sync::Arc;

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Makes connections to this endpoint: TLS 1.2 and 1.3, with a collector that has a certificate of one of the
/// authorities in `ca_file`, or of one of the operating system's without it.
///
/// # Errors
/// When the authorities cannot be read, or there are none.
pub(super) fn connector(
    endpoint: &str,
    ca_file: Option<&Path>,
) -> Result<HttpsConnector<HttpConnector>, String> {
    let roots = match ca_file {
        _ if !is_https(endpoint) => RootCertStore::empty(),
        Some(path) => from_file(path)?,
        None => of_the_system()?,
    };
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("--otlp-endpoint: {error}"))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_http1().build())
}

fn is_https(endpoint: &str) -> bool {
    endpoint.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https:"))
}

fn from_file(path: &Path) -> Result<RootCertStore, String> {
    let failed = |error: &dyn std::fmt::Display| format!("--otlp-ca-file {}: {error}", path.display());
    let text = std::fs::read(path).map_err(|error| failed(&error))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let certificate = certificate.map_err(|error| failed(&error))?;
        roots.add(certificate).map_err(|error| failed(&error))?;
    }
    if roots.is_empty() { Err(failed(&"wanted certificates in PEM, got none")) } else { Ok(roots) }
}

fn of_the_system() -> Result<RootCertStore, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // Systems have some that nobody can use.
    roots.add_parsable_certificates(found.certs);
    if !roots.is_empty() {
        return Ok(roots);
    }
    let why = found.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
    Err(format!(
        "--otlp-endpoint: the operating system has no authorities for https://{why}; install them (Debian, Ubuntu: \
         ca-certificates), or name a file with --otlp-ca-file"
    ))
}
