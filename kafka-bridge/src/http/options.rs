//! Settings of requests.

use std::time::Duration;

use clap::Args;
use serde::Serialize;
use wicketgate_envelope::hop::MAX_CALL_BYTES;

use crate::values::{positive_duration, within};

/// What requests may ask for. All of it can change while the bridge runs.
#[derive(Clone, Debug, PartialEq, Args, Serialize)]
#[group(skip)]
pub struct Reloadable {
    /// How long a body may pause: before its first byte, and between any of its bytes and the next.
    #[arg(long, env = "BRIDGE_BODY_IDLE_TIMEOUT", default_value = "5s", value_name = "DURATION", value_parser = positive_duration)]
    pub body_idle_timeout: Duration,

    /// The largest body of a request, in bytes.
    #[arg(long, env = "BRIDGE_MAX_BODY_BYTES", default_value_t = MAX_CALL_BYTES, value_name = "BYTES", value_parser = within::<u32>(1..=1 << 30))]
    pub max_body_bytes: u32,

    /// The most records in one request.
    #[arg(long, env = "BRIDGE_MAX_RECORDS", default_value_t = 1024, value_name = "COUNT", value_parser = within::<u32>(1..=100_000))]
    pub max_records: u32,
}
