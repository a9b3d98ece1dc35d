//! TLS for the listeners that have it.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::server::TlsStream;

use super::{Options, Reloadable};
use crate::hop::{self, Presented};

/// How long a handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// The bridge's certificate, and what it asks of callers. TLS 1.2 and 1.3, for HTTP/2 and HTTP/1.1.
#[derive(Clone)]
pub struct Tls(TlsAcceptor);

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the files that the configuration names, authorities of callers among them; `None` without a certificate and
    /// its key.
    ///
    /// # Errors
    /// What is wrong with each of them, without anything of what they hold.
    pub fn load(options: &Options, client_ca_file: Option<&Path>) -> Result<Option<Self>, Vec<String>> {
        let Reloadable { tls_certificate_file, tls_key_file, .. } = &options.reloadable;
        let (Some(certificate_file), Some(key_file)) = (tls_certificate_file, tls_key_file) else {
            return Ok(None);
        };
        let chain = chain(certificate_file);
        let key = key(key_file);
        let authorities = client_ca_file.map(hop::authorities).transpose();
        let (chain, key, authorities) = match (chain, key, authorities) {
            (Ok(chain), Ok(key), Ok(authorities)) => (chain, key, authorities),
            (chain, key, authorities) => {
                return Err([chain.err(), key.err(), authorities.err()].into_iter().flatten().collect());
            }
        };
        let failed = |error| {
            vec![format!(
                "--tls-certificate-file {} and --tls-key-file {}: {error}",
                certificate_file.display(),
                key_file.display()
            )]
        };
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(failed)?;
        let builder = match authorities {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let mut server = builder.with_single_cert(chain, key).map_err(failed)?;
        server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Some(Self(TlsAcceptor::from(Arc::new(server)))))
    }

    /// Shakes hands on a connection, within a time limit.
    ///
    /// # Errors
    /// When it does not come to that.
    pub(super) async fn accept(
        &self,
        stream: TcpStream,
    ) -> io::Result<(TlsStream<TcpStream>, Option<Arc<Presented>>)> {
        let stream = tokio::time::timeout(HANDSHAKE_TIMEOUT, self.0.accept(stream)).await??;
        let (_, session) = stream.get_ref();
        let chain = session.peer_certificates().map(|chain| {
            Arc::new(Presented::new(
                chain.iter().map(|certificate| certificate.clone().into_owned()).collect(),
            ))
        });
        Ok((stream, chain))
    }
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let failed = |error: &dyn fmt::Display| format!("--tls-certificate-file {}: {error}", path.display());
    let text = std::fs::read(path).map_err(|error| failed(&error))?;
    let chain = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| failed(&error))?;
    if chain.is_empty() { Err(failed(&"wanted certificates in PEM, got none")) } else { Ok(chain) }
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let failed = |error: &dyn fmt::Display| format!("--tls-key-file {}: {error}", path.display());
    let text = std::fs::read(path).map_err(|error| failed(&error))?;
    // The error's own text could show the line that it cannot read.
    PrivateKeyDer::from_pem_slice(&text).map_err(|_| failed(&"wanted a private key in PEM"))
}
