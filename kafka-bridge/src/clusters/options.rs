//! Settings of readiness.

use clap::{ArgAction, Args, ValueEnum};
use serde::Serialize;

use crate::producer::ClusterOptions;

/// What makes the bridge as a whole ready.
#[derive(Clone, Debug, PartialEq, Args, Serialize)]
#[group(skip)]
pub struct Options {
    /// Whether the bridge as a whole is ready only if the default cluster can be written. It always is the one that counts
    /// where there is no other.
    #[arg(long, env = "BRIDGE_REQUIRED", default_value_t = true, action = ArgAction::Set, value_name = "BOOL")]
    pub required: bool,

    /// What makes a cluster ready, for /readyz: that it can be written, or that its spool takes records.
    #[arg(long, env = "BRIDGE_READY_WHEN", default_value = "kafka", value_name = "WHAT")]
    pub ready_when: ReadyWhen,
}

/// What makes a cluster ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
pub enum ReadyWhen {
    /// Kafka takes records.
    Kafka,
    /// Kafka takes records, or the spool does in its place.
    Spooling,
}

impl Options {
    /// Checks what no single value can be blamed for.
    pub(crate) fn check(&self, clusters: &[ClusterOptions], errors: &mut Vec<String>) {
        if !self.required && !clusters.iter().any(|cluster| cluster.required) {
            errors.push(
                "--required false: no cluster is required then, and /readyz would be 200 whatever becomes of them; \
                 require the default cluster or another"
                    .to_owned(),
            );
        }
    }
}
