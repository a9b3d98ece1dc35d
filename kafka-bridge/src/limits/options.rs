//! Settings of limits that gateways share.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use crate::redis_link::{Flags, Target};
use crate::values::{address, positive_duration};

/// The Redis in which they are counted.
#[derive(Clone, Debug, PartialEq, Args, Serialize)]
#[group(skip)]
pub struct Options {
    /// The Redis in which limits are counted that gateways share, as redis://HOST:PORT, or rediss://HOST:PORT for TLS; user and
    /// database as for the other one. It may be the same. Without it such a limit goes as its on_error says.
    #[arg(long, env = "BRIDGE_LIMITS_REDIS", value_name = "URL")]
    pub limits_redis: Option<String>,

    /// The Sentinels that know where this Redis is, as HOST:PORT separated by commas. The host of --limits-redis is then
    /// the name that they know it by, such as redis://mymaster.
    #[arg(long, env = "BRIDGE_LIMITS_REDIS_SENTINELS", value_name = "ADDRESSES", value_delimiter = ',', value_parser = address)]
    pub limits_redis_sentinels: Vec<String>,

    /// A file with the password that this Redis asks for.
    #[arg(long, env = "BRIDGE_LIMITS_REDIS_PASSWORD_FILE", value_name = "FILE")]
    pub limits_redis_password_file: Option<PathBuf>,

    /// CA certificates (PEM) for this Redis over TLS; those of the operating system by default.
    #[arg(long, env = "BRIDGE_LIMITS_REDIS_CA_FILE", value_name = "FILE")]
    pub limits_redis_ca_file: Option<PathBuf>,

    /// The bridge's client certificate (PEM) for this Redis over TLS.
    #[arg(long, env = "BRIDGE_LIMITS_REDIS_CERTIFICATE_FILE", value_name = "FILE")]
    pub limits_redis_certificate_file: Option<PathBuf>,

    /// The private key of that certificate (PEM).
    #[arg(long, env = "BRIDGE_LIMITS_REDIS_KEY_FILE", value_name = "FILE")]
    pub limits_redis_key_file: Option<PathBuf>,

    /// How long this Redis has to answer, for all limits of a call together.
    #[arg(long, env = "BRIDGE_LIMITS_REDIS_TIMEOUT", default_value = "100ms", value_name = "DURATION", value_parser = positive_duration)]
    pub limits_redis_timeout: Duration,
}

impl Options {
    /// Checks what no single value can be blamed for.
    pub(crate) fn check(&self, errors: &mut Vec<String>) {
        if let Err(wrong) = Target::of(&self.redis()) {
            errors.extend(wrong);
        }
    }

    pub(super) fn redis(&self) -> Flags<'_> {
        Flags {
            flag: "--limits-redis",
            url: self.limits_redis.as_deref(),
            sentinels: &self.limits_redis_sentinels,
            password_file: self.limits_redis_password_file.as_deref(),
            ca_file: self.limits_redis_ca_file.as_deref(),
            certificate_file: self.limits_redis_certificate_file.as_deref(),
            key_file: self.limits_redis_key_file.as_deref(),
        }
    }
}
