//! Settings of what is remembered of events.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::redis_link::{Flags, Target};
use crate::values::{positive_duration, within};

/// Where events are remembered.
#[derive(Clone, Debug, PartialEq, Args, Serialize)]
#[group(skip)]
pub struct Options {
    /// The most events that are remembered; beyond that the oldest are forgotten. 0 remembers none.
    #[arg(long, env = "BRIDGE_IDEMPOTENCY_ENTRIES", default_value_t = 100_000, value_name = "COUNT", value_parser = within::<u32>(0..=100_000_000))]
    pub idempotency_entries: u32,

    /// A directory, for this bridge alone, in which the events that are remembered outlive the process. With a spool
    /// they do in any case, beside it.
    #[arg(long, env = "BRIDGE_IDEMPOTENCY_DIR", value_name = "DIRECTORY")]
    pub idempotency_dir: Option<PathBuf>,

    /// A Redis, redis://HOST:PORT, in which several bridges share what they remember of events; rediss://HOST:PORT with
    /// TLS. redis://USER@HOST:PORT/NUMBER is for another user than the default one, and another database than 0.
    #[arg(long, env = "BRIDGE_IDEMPOTENCY_REDIS", value_name = "URL")]
    pub idempotency_redis: Option<String>,

    /// A file with the password that Redis asks for.
    #[arg(long, env = "BRIDGE_IDEMPOTENCY_REDIS_PASSWORD_FILE", value_name = "FILE")]
    pub idempotency_redis_password_file: Option<PathBuf>,

    /// CA certificates (PEM) for Redis over TLS; those of the operating system by default.
    #[arg(long, env = "BRIDGE_IDEMPOTENCY_REDIS_CA_FILE", value_name = "FILE")]
    pub idempotency_redis_ca_file: Option<PathBuf>,

    /// The bridge's client certificate (PEM) for Redis over TLS, followed by intermediate certificates.
    #[arg(long, env = "BRIDGE_IDEMPOTENCY_REDIS_CERTIFICATE_FILE", value_name = "FILE")]
    pub idempotency_redis_certificate_file: Option<PathBuf>,

    /// The private key of that certificate (PEM).
    #[arg(long, env = "BRIDGE_IDEMPOTENCY_REDIS_KEY_FILE", value_name = "FILE")]
    pub idempotency_redis_key_file: Option<PathBuf>,

    /// How long Redis has to answer.
    #[arg(long, env = "BRIDGE_IDEMPOTENCY_REDIS_TIMEOUT", default_value = "250ms", value_name = "DURATION", value_parser = positive_duration)]
    pub idempotency_redis_timeout: Duration,

    /// What happens to events while Redis does not answer.
    #[arg(long, env = "BRIDGE_IDEMPOTENCY_ON_ERROR", default_value = "deny", value_name = "WHAT")]
    pub idempotency_on_error: OnSharedError,

    /// What can change while the bridge runs.
    #[command(flatten)]
    #[serde(flatten)]
    pub reloadable: Reloadable,
}

/// How long events are remembered.
#[derive(Clone, Debug, PartialEq, Args, Serialize)]
#[group(skip)]
pub struct Reloadable {
    /// How long an event is remembered after it was acknowledged: one that comes again by then is answered with the
    /// first receipt, and not written again.
    #[arg(long, env = "BRIDGE_IDEMPOTENCY_WINDOW", default_value = "10m", value_name = "DURATION", value_parser = positive_duration)]
    pub idempotency_window: Duration,
}

/// What happens to events while what bridges share cannot be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
pub enum OnSharedError {
    /// They are written by what this bridge alone knows.
    Allow,
    /// They are answered 503.
    Deny,
}

impl Options {
    /// Checks what no single value can be blamed for.
    pub(crate) fn check(&self, errors: &mut Vec<String>) {
        if let Err(wrong) = Target::of(&self.redis()) {
            errors.extend(wrong);
        } else if self.idempotency_entries == 0
            && (self.idempotency_redis.is_some() || self.idempotency_dir.is_some())
        {
            errors.push(
                "--idempotency-entries 0: nothing is remembered, so leave out --idempotency-redis and --idempotency-dir"
                    .to_owned(),
            );
        }
    }

    pub(super) fn redis(&self) -> Flags<'_> {
        Flags {
            flag: "--idempotency-redis",
            url: self.idempotency_redis.as_deref(),
            sentinels: &[],
            password_file: self.idempotency_redis_password_file.as_deref(),
            ca_file: self.idempotency_redis_ca_file.as_deref(),
            certificate_file: self.idempotency_redis_certificate_file.as_deref(),
            key_file: self.idempotency_redis_key_file.as_deref(),
        }
    }
}
