//! The Redis that bridges share: how it is reached, whether it answers, and what its answers mean.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{
    Client, ClientTlsConfig, ConnectionAddr, IntoConnectionInfo as _, Pipeline, RedisError, RedisResult,
    TlsCertificates, Value,
};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::millis;
use super::value::PREFIX;
use crate::idempotency::Metrics;
use crate::idempotency::{OnSharedError, Options};

/// How long Redis is left alone after it has failed.
const RETRY: Duration = Duration::from_secs(1);

/// How often the log says that Redis refuses commands.
const REFUSED_LOG_PAUSE: Duration = Duration::from_secs(60);

/// Gives a claim up that is still this bridge's own.
pub(super) const RELEASE: &str =
    "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0";

/// Claims an event anew that nobody else has claimed, for the whole time of a claim.
pub(super) const RENEW: &str = "local value = redis.call('get', KEYS[1]) \
    if value == false or value == ARGV[1] then \
    redis.call('set', KEYS[1], ARGV[1], 'PX', ARGV[2]) return 1 end return 0";

/// Puts another value in the place of this one, for as long as this one would have stayed.
pub(super) const REPLACE: &str = "if redis.call('get', KEYS[1]) == ARGV[1] then \
    redis.call('set', KEYS[1], ARGV[2], 'KEEPTTL') return 1 end return 0";

/// The Redis, over one connection for all.
pub(super) struct Server {
    connection: ConnectionManager,
    timeout: Duration,
    on_error: OnSharedError,
    outage: Outage,
    refused_logged: Mutex<Option<Instant>>,
    metrics: Arc<Metrics>,
}

/// Why Redis has said nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Silence {
    /// It did not answer a moment ago, and was not asked again.
    NotAsked,
    /// It did not answer, or is in no state to; it may have done what it was asked to do.
    NoAnswer,
}

/// Where a Redis is said to be, and how each side proves to the other who it is.
#[derive(Clone, Copy, Debug)]
pub struct RedisFlags<'c> {
    /// The flag that names the Redis; the others begin with it.
    pub flag: &'static str,
    /// `redis://` or `rediss://`; `None` if there is none.
    pub url: Option<&'c str>,
    /// Holds the password.
    pub password_file: Option<&'c Path>,
    /// Holds authorities.
    pub ca_file: Option<&'c Path>,
    /// Holds the bridge's own certificate.
    pub certificate_file: Option<&'c Path>,
    /// Holds the key to it.
    pub key_file: Option<&'c Path>,
}

impl<'c> RedisFlags<'c> {
    /// A flag of this Redis, with the file that it names.
    fn file(&self, name: &str, file: Option<&'c Path>) -> (String, Option<&'c Path>) {
        (format!("{}-{name}-file", self.flag), file)
    }
}

/// The Redis that remembers events, as [`client_of`].
///
/// # Errors
/// As there.
pub fn client(options: &Options) -> Result<Option<Client>, Vec<String>> {
    client_of(&options.redis())
}

/// The client of a Redis, which connects to nothing yet.
///
/// # Errors
/// What is wrong with the settings, each with the next step and without secrets.
pub fn client_of(flags: &RedisFlags<'_>) -> Result<Option<Client>, Vec<String>> {
    let flag = flags.flag;
    let Some(url) = flags.url else {
        let files = [
            flags.file("password", flags.password_file),
            flags.file("ca", flags.ca_file),
            flags.file("certificate", flags.certificate_file),
            flags.file("key", flags.key_file),
        ];
        let left_over = files.iter().filter(|(_, file)| file.is_some());
        let errors: Vec<_> = left_over.map(|(name, _)| format!("{name}: wanted {flag} with it")).collect();
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
        errors.extend(wanted(&format!("no password in it; {flag}-password-file names a file that has it")));
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
    if !errors.is_empty() {
        return Err(errors);
    }
    let info = info.set_redis_settings(settings);
    let client = match certificates {
        Some(certificates) => Client::build_with_tls(info, certificates),
        None => Client::open(info),
    };
    // What the files hold is in no error of the library, and each of them was read above.
    client.map(Some).map_err(|error| vec![format!("{flag}: {error}")])
}

/// What TLS takes; `None` without TLS. Adds what is wrong to `errors`.
fn certificates(
    flags: &RedisFlags<'_>,
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

impl Server {
    /// Connects when it is first asked. Must be called within a runtime.
    ///
    /// # Errors
    /// As [`client`].
    pub(super) fn new(options: &Options, metrics: Arc<Metrics>) -> Result<Option<Self>, Vec<String>> {
        let Some(client) = client(options)? else { return Ok(None) };
        let timeout = options.idempotency_redis_timeout;
        let settings = ConnectionManagerConfig::new()
            .set_number_of_retries(0)
            .set_connection_timeout(Some(timeout))
            .set_response_timeout(Some(timeout));
        let connection = ConnectionManager::new_lazy_with_config(client, settings)
            .map_err(|error| vec![format!("--idempotency-redis: {error}")])?;
        Ok(Some(Self {
            connection,
            timeout,
            on_error: options.idempotency_on_error,
            outage: Outage::default(),
            refused_logged: Mutex::default(),
            metrics,
        }))
    }

    /// Asks Redis, and returns its reply to each command. That one command is refused says nothing of the others.
    ///
    /// # Errors
    /// When it does not answer in time, did not a moment ago, or is in no state to do its work.
    pub(super) async fn ask(&self, mut pipeline: Pipeline) -> Result<Vec<RedisResult<Value>>, Silence> {
        if pipeline.is_empty() {
            return Ok(Vec::new());
        }
        if !self.outage.may_ask() {
            return Err(Silence::NotAsked);
        }
        pipeline.ignore_errors();
        let mut connection = self.connection.clone();
        let asked = pipeline.query_async::<Vec<RedisResult<Value>>>(&mut connection);
        let error = match tokio::time::timeout(self.timeout, asked).await {
            Ok(Ok(replies)) => match replies.iter().filter_map(error).find(|error| is_outage(error)) {
                Some(error) => error.to_string(),
                None => {
                    if self.outage.ends() {
                        tracing::info!("Redis answers again; events are shared with other bridges");
                    }
                    self.metrics.redis_up(true);
                    return Ok(replies);
                }
            },
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {:?}", self.timeout),
        };
        if self.outage.begins() {
            tracing::error!(error, on_error = ?self.on_error, "Redis does not answer; events are not shared with other bridges");
        }
        self.metrics.redis_up(false);
        Err(Silence::NoAnswer)
    }

    /// Tries each command that is ever sent, as soon as Redis answers, and says in the log which of them it refuses.
    pub(super) async fn check(&self, owner: &str) {
        let key = format!("{PREFIX}check:{owner}");
        let replies = loop {
            let mut pipeline = redis::pipe();
            pipeline.cmd("SET").arg(&key).arg(owner).arg("NX").arg("PX").arg(1000);
            pipeline.cmd("GET").arg(&key);
            pipeline.cmd("EVAL").arg(RELEASE).arg(1).arg(&key).arg(owner);
            match self.ask(pipeline).await {
                Ok(replies) => break replies,
                Err(_) => tokio::time::sleep(RETRY).await,
            }
        };
        let consequences = [
            ("SET", "no event can be claimed"),
            ("GET", "no event can be looked up"),
            ("EVAL", "what a caller leaves behind stays claimed until that expires, for this bridge too"),
        ];
        for ((command, consequence), reply) in consequences.into_iter().zip(&replies) {
            if let Some(error) = error(reply) {
                tracing::error!(
                    %error,
                    "Redis refuses {command}, so {consequence}; allow this user +set +get +eval +del on ~{PREFIX}*"
                );
            }
        }
    }

    /// Redis has refused a command, or has something else than an event where one should be.
    pub(super) fn refused(&self, error: &dyn std::fmt::Display) {
        let mut logged = self.refused_logged.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.is_none_or(|logged| logged.elapsed() >= REFUSED_LOG_PAUSE) {
            *logged = Some(Instant::now());
            tracing::error!(%error, on_error = ?self.on_error, "Redis answers, and not what can be used; this event is not shared with other bridges");
        }
    }

    /// What happens to events that Redis cannot be asked about.
    pub(super) fn on_error(&self) -> OnSharedError {
        self.on_error
    }
}

fn error(reply: &RedisResult<Value>) -> Option<&RedisError> {
    reply.as_ref().err()
}

/// Whether Redis says that it cannot do its work at all just now, whatever it is asked.
fn is_outage(error: &RedisError) -> bool {
    const CODES: [&str; 11] = [
        "LOADING",
        "READONLY",
        "CLUSTERDOWN",
        "MASTERDOWN",
        "TRYAGAIN",
        "MISCONF",
        "OOM",
        "NOREPLICAS",
        "BUSY",
        "NOAUTH",
        "WRONGPASS",
    ];
    error.code().is_some_and(|code| CODES.contains(&code))
}

/// Whether Redis is gone, and when it is worth asking again.
#[derive(Debug)]
struct Outage {
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
    fn may_ask(&self) -> bool {
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
    fn begins(&self) -> bool {
        self.not_before.store(millis(self.start.elapsed()) + millis(RETRY), Ordering::Relaxed);
        !self.known.swap(true, Ordering::Relaxed)
    }

    /// It has answered. Whether that is news.
    fn ends(&self) -> bool {
        self.not_before.store(0, Ordering::Relaxed);
        self.known.swap(false, Ordering::Relaxed)
    }
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
