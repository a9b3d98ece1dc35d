//! How a Redis is reached: at an address, or at the one that Sentinels name.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{
    Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, RedisResult,
    TlsCertificates, TlsMode,
};
use tokio::sync::watch;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::values::host_and_port;

/// How long a Redis is left alone after it has failed, and Sentinels that could not name one.
pub(crate) const RETRY: Duration = Duration::from_secs(1);

/// Where a Redis is said to be, and how each side proves to the other who it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flags<'c> {
    /// The flag that names the Redis; the others begin with it.
    pub(crate) flag: &'static str,
    /// `redis://` or `rediss://`; `None` if there is none.
    pub(crate) url: Option<&'c str>,
    /// `HOST:PORT` of Sentinels that know where the Redis is. The host of `url` is then the name that they know it by.
    pub(crate) sentinels: &'c [String],
    /// Holds the password.
    pub(crate) password_file: Option<&'c Path>,
    /// Holds authorities.
    pub(crate) ca_file: Option<&'c Path>,
    /// Holds the bridge's own certificate.
    pub(crate) certificate_file: Option<&'c Path>,
    /// Holds the key to it.
    pub(crate) key_file: Option<&'c Path>,
}

impl<'c> Flags<'c> {
    /// A flag of this Redis, with the file that it names.
    fn file(&self, name: &str, file: Option<&'c Path>) -> (String, Option<&'c Path>) {
        (format!("{}-{name}-file", self.flag), file)
    }
}

/// Where a Redis is, with what it takes to prove who is who. Nothing is connected to yet.
#[allow(missing_debug_implementations, reason = "it holds a password")]
pub(crate) enum Target {
    /// At an address.
    Address(Box<Client>),
    /// Where these Sentinels say.
    Sentinels(Box<SentinelClient>),
}

impl Target {
    /// What the settings say; `None` if there is no Redis.
    ///
    /// # Errors
    /// What is wrong with the settings, each with the next step and without secrets.
    pub(crate) fn of(flags: &Flags<'_>) -> Result<Option<Self>, Vec<String>> {
        let flag = flags.flag;
        let Some(url) = flags.url else {
            let files = [
                flags.file("password", flags.password_file),
                flags.file("ca", flags.ca_file),
                flags.file("certificate", flags.certificate_file),
                flags.file("key", flags.key_file),
            ];
            let left_over = files.into_iter().filter(|(_, file)| file.is_some()).map(|(name, _)| name);
            let sentinels = (!flags.sentinels.is_empty()).then(|| format!("{flag}-sentinels"));
            let errors: Vec<_> =
                left_over.chain(sentinels).map(|name| format!("{name}: wanted {flag} with it")).collect();
            return if errors.is_empty() { Ok(None) } else { Err(errors) };
        };
        let wanted = |what: &str| vec![format!("{flag}: wanted {what}")];
        let mut errors = Vec::new();
        // The library's own error could show the password.
        let Ok(info) = url.into_connection_info() else {
            return Err(wanted(
                "redis://HOST:PORT, or rediss://HOST:PORT for TLS, with USER@ before the host for another user than the \
                 default one, and /NUMBER behind the port for another database than 0",
            ));
        };
        if info.redis_settings().password().is_some() {
            errors
                .extend(wanted(&format!("no password in it; {flag}-password-file names a file that has it")));
        }
        let mut settings = info.redis_settings().clone();
        if let Some(path) = flags.password_file {
            match fs::read_to_string(path) {
                Ok(text) => settings = settings.set_password(text.trim_end_matches(['\r', '\n'])),
                Err(error) => errors.push(format!("{flag}-password-file {}: {error}", path.display())),
            }
        } else if settings.username().is_some() {
            errors.extend(wanted(&format!("{flag}-password-file with it, as it names a user")));
        }
        let certificates = certificates(flags, info.addr(), &mut errors);
        let sentinels = sentinels(flags, info.addr(), &mut errors);
        if !errors.is_empty() {
            return Err(errors);
        }
        let info = info.set_redis_settings(settings);
        let address = |client| Self::Address(Box::new(client));
        let target = match (sentinels.is_empty(), certificates) {
            (true, Some(certificates)) => Client::build_with_tls(info, certificates).map(address),
            (true, None) => Client::open(info).map(address),
            (false, certificates) => {
                behind(sentinels, &info, certificates).map(|client| Self::Sentinels(Box::new(client)))
            }
        };
        // What the files hold is in no error of the library, and each of them was read above.
        target.map(Some).map_err(|error| vec![format!("{flag}: {error}")])
    }

    /// Connects when it is first asked; Sentinels are asked at once. Must be called within a runtime.
    ///
    /// # Errors
    /// When the library refuses the settings.
    pub(crate) fn link(self, timeout: Duration) -> RedisResult<Link> {
        let settings = ConnectionManagerConfig::new()
            .set_number_of_retries(0)
            .set_connection_timeout(Some(timeout))
            .set_response_timeout(Some(timeout));
        Ok(match self {
            Self::Address(client) => {
                Link::Address(ConnectionManager::new_lazy_with_config(*client, settings)?)
            }
            Self::Sentinels(sentinels) => {
                let named = Arc::new(watch::Sender::new(None));
                tokio::spawn(follow(*sentinels, settings, Arc::downgrade(&named)));
                Link::Named(named)
            }
        })
    }
}

/// One connection for all to a Redis.
#[allow(missing_debug_implementations, reason = "a connection has nothing to show")]
pub(crate) enum Link {
    /// At an address; it is made anew there when it is lost.
    Address(ConnectionManager),
    /// To the Redis that Sentinels have named, while there is one.
    Named(Arc<watch::Sender<Option<ConnectionManager>>>),
}

impl Link {
    /// The connection. Waits while Sentinels name none, for as long as the caller wants to.
    ///
    /// # Errors
    /// When there will be none any more.
    pub(crate) async fn connection(&self) -> RedisResult<ConnectionManager> {
        let connection = match self {
            Self::Address(connection) => Some(connection.clone()),
            Self::Named(named) => match named.subscribe().wait_for(Option::is_some).await {
                Ok(connection) => connection.clone(),
                Err(_) => None,
            },
        };
        connection.ok_or_else(|| (redis::ErrorKind::Io, "no connection").into())
    }

    /// It did not do its part. Sentinels are asked again, as another Redis may have taken its place.
    pub(crate) fn failed(&self) {
        if let Self::Named(named) = self {
            named.send_replace(None);
        }
    }
}

/// Asks Sentinels for the Redis whenever none is known, until nobody wants it any more.
async fn follow(
    mut sentinels: SentinelClient,
    settings: ConnectionManagerConfig,
    named: Weak<watch::Sender<Option<ConnectionManager>>>,
) {
    let mut told = false;
    loop {
        let found = sentinels.async_get_client().await;
        let found =
            found.and_then(|client| ConnectionManager::new_lazy_with_config(client, settings.clone()));
        let Some(named) = named.upgrade() else { return };
        match found {
            Ok(connection) => {
                told = false;
                let mut lost = named.subscribe();
                named.send_replace(Some(connection));
                drop(named);
                if lost.wait_for(Option::is_none).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                drop(named);
                if !std::mem::replace(&mut told, true) {
                    tracing::warn!(%error, "no Sentinel names a Redis that says of itself that it is the one to write to");
                }
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

/// A client that asks Sentinels, and speaks to them as to the Redis, but for user and password.
fn behind(
    sentinels: Vec<ConnectionAddr>,
    info: &ConnectionInfo,
    certificates: Option<TlsCertificates>,
) -> RedisResult<SentinelClient> {
    let (ConnectionAddr::Tcp(name, _) | ConnectionAddr::TcpTls { host: name, .. }) = info.addr() else {
        return Err((redis::ErrorKind::InvalidClientConfig, "no name").into());
    };
    let mut builder = SentinelClientBuilder::new(sentinels, name, SentinelServerType::Master)?;
    let settings = info.redis_settings();
    builder = builder.set_client_to_redis_db(settings.db());
    if let Some(user) = settings.username() {
        builder = builder.set_client_to_redis_username(user);
    }
    if let Some(password) = settings.password() {
        builder = builder.set_client_to_redis_password(password);
    }
    if let Some(certificates) = certificates {
        builder = builder
            .set_client_to_redis_tls_mode(TlsMode::Secure)
            .set_client_to_redis_certificates(certificates.clone())
            .set_client_to_sentinel_certificates(certificates);
    }
    builder.build()
}

/// Where Sentinels are. Adds what is wrong to `errors`.
fn sentinels(flags: &Flags<'_>, named: &ConnectionAddr, errors: &mut Vec<String>) -> Vec<ConnectionAddr> {
    /// The library's, where an address has none. Sentinels know the port.
    const DEFAULT_PORT: u16 = 6379;
    let flag = flags.flag;
    let (tls, port) = match named {
        ConnectionAddr::TcpTls { port, .. } => (true, *port),
        ConnectionAddr::Tcp(_, port) => (false, *port),
        _ => (false, DEFAULT_PORT),
    };
    if !flags.sentinels.is_empty() && port != DEFAULT_PORT {
        errors.push(format!(
            "{flag}: wanted no port with {flag}-sentinels, and for the host the name that they know the Redis by, got port {port}"
        ));
    }
    let address = |text: &String| {
        let (host, port) = host_and_port(text)?;
        let host = host.to_owned();
        Some(match tls {
            true => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
            false => ConnectionAddr::Tcp(host, port),
        })
    };
    let mut addresses = Vec::with_capacity(flags.sentinels.len());
    for text in flags.sentinels {
        match address(text) {
            Some(address) => addresses.push(address),
            None => errors.push(format!("{flag}-sentinels: wanted HOST:PORT, got {text:?}")),
        }
    }
    addresses
}

/// What TLS takes; `None` without TLS. Adds what is wrong to `errors`.
fn certificates(
    flags: &Flags<'_>,
    address: &ConnectionAddr,
    errors: &mut Vec<String>,
) -> Option<TlsCertificates> {
    let flag = flags.flag;
    let ca = flags.file("ca", flags.ca_file);
    let certificate = flags.file("certificate", flags.certificate_file);
    let key = flags.file("key", flags.key_file);
    let ConnectionAddr::TcpTls { insecure, .. } = address else {
        let files = [ca, certificate, key].into_iter().filter(|(_, file)| file.is_some());
        errors.extend(files.map(|(name, _)| format!("{name}: no {flag} rediss://HOST:PORT uses it")));
        return None;
    };
    if *insecure {
        errors.push(format!("{flag}: wanted no #insecure, which takes any certificate; {flag}-ca-file names the authority of the one that Redis has"));
    }
    let both = [&certificate, &key];
    for ((name, file), (other, missing)) in both.iter().zip(both.iter().rev()) {
        if file.is_some() && missing.is_none() {
            errors.push(format!("{name}: wanted {other} with it"));
        }
    }
    let mut read = |(name, file): &(String, Option<&Path>), holds: fn(&[u8]) -> bool, what: &str| {
        let path = (*file)?;
        match fs::read(path) {
            Ok(text) if holds(&text) => Some(text),
            Ok(_) => {
                errors.push(format!("{name} {}: wanted {what} in PEM", path.display()));
                None
            }
            Err(error) => {
                errors.push(format!("{name} {}: {error}", path.display()));
                None
            }
        }
    };
    let root_cert = read(&ca, has_certificates, "certificates");
    let client_cert = read(&certificate, has_certificates, "certificates");
    let client_key = read(&key, |text| PrivateKeyDer::from_pem_slice(text).is_ok(), "a private key");
    let client_tls = client_cert
        .zip(client_key)
        .map(|(client_cert, client_key)| ClientTlsConfig { client_cert, client_key });
    Some(TlsCertificates { client_tls, root_cert })
}

fn has_certificates(text: &[u8]) -> bool {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    all.is_ok_and(|all| !all.is_empty())
}

/// Whether Redis is gone, and when it is worth asking again.
#[derive(Debug)]
pub(crate) struct Outage {
    start: Instant,
    /// In milliseconds since `start`; 0 while there is no outage.
    not_before: AtomicU64,
    /// Whether the log has it.
    known: AtomicBool,
}

impl Default for Outage {
    fn default() -> Self {
        Self { start: Instant::now(), not_before: AtomicU64::new(0), known: AtomicBool::new(false) }
    }
}

impl Outage {
    /// Whether to ask: always while there is no outage, and during one a single caller each [`RETRY`].
    pub(crate) fn may_ask(&self) -> bool {
        let not_before = self.not_before.load(Ordering::Relaxed);
        let now = millis(self.start.elapsed());
        not_before == 0
            || now >= not_before
                && self
                    .not_before
                    .compare_exchange(not_before, now + millis(RETRY), Ordering::Relaxed, Ordering::Relaxed)
                    .is_ok()
    }

    /// It has failed. Whether that is news.
    pub(crate) fn begins(&self) -> bool {
        self.not_before.store(millis(self.start.elapsed()) + millis(RETRY), Ordering::Relaxed);
        !self.known.swap(true, Ordering::Relaxed)
    }

    /// It has answered. Whether that is news.
    pub(crate) fn ends(&self) -> bool {
        self.not_before.store(0, Ordering::Relaxed);
        self.known.swap(false, Ordering::Relaxed)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn during_an_outage_one_asks_and_the_others_do_not_wait() {
        let outage = Outage::default();
        assert!(outage.may_ask() && outage.may_ask());
        assert!(outage.begins() && !outage.begins());
        assert!(!outage.may_ask());
        outage.not_before.store(1, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(2));
        assert!(outage.may_ask() && !outage.may_ask());
        assert!(outage.ends() && !outage.ends() && outage.may_ask());
    }
}
