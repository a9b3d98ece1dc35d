//! Settings of the spool.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use crate::producer::ClusterOptions;
use crate::values::{positive_duration, within};

/// Where records are spooled, and how many.
#[derive(Clone, Debug, PartialEq, Args, Serialize)]
#[group(skip)]
pub struct Options {
    /// A directory of this bridge's own, on a disk that survives it, for records that are to be acknowledged once they are
    /// there (ack=spooled). Without it they are refused.
    #[arg(long, env = "BRIDGE_SPOOL_DIR", value_name = "DIRECTORY")]
    pub spool_dir: Option<PathBuf>,

    /// The most that the spool takes on disk, in bytes; further records are answered 503.
    #[arg(long, env = "BRIDGE_SPOOL_MAX_BYTES", default_value_t = 1 << 30, value_name = "BYTES", value_parser = within::<u64>(1 << 20..=1 << 50))]
    pub spool_max_bytes: u64,

    /// How old the oldest record in the spool may be while more are taken; further ones are answered 503.
    #[arg(long, env = "BRIDGE_SPOOL_MAX_AGE", default_value = "24h", value_name = "DURATION", value_parser = positive_duration)]
    pub spool_max_age: Duration,

    /// After how many bytes the spool begins another file. A file goes when all of it is in Kafka.
    #[arg(long, env = "BRIDGE_SPOOL_SEGMENT_BYTES", default_value_t = 64 << 20, value_name = "BYTES", value_parser = within::<u64>(64 << 10..=1 << 30))]
    pub spool_segment_bytes: u64,
}

impl Options {
    /// Checks what no single value can be blamed for.
    pub(crate) fn check(&self, clusters: &[ClusterOptions], max_record_bytes: u32, errors: &mut Vec<String>) {
        if self.spool_dir.is_none() {
            return;
        }
        self.check_size("--spool-max-bytes", self.spool_max_bytes, max_record_bytes, errors);
        for ClusterOptions { name, spool_max_bytes, .. } in clusters {
            if let Some(bytes) = spool_max_bytes {
                let setting = format!("clusters.{name}.spool_max_bytes");
                self.check_size(&setting, *bytes, max_record_bytes, errors);
            }
        }
    }

    /// What is wrong with the size of a spool, which `setting` says.
    fn check_size(&self, setting: &str, bytes: u64, max_record_bytes: u32, errors: &mut Vec<String>) {
        if self.spool_segment_bytes > bytes / 4 {
            errors.push(format!(
                "--spool-segment-bytes {}: wanted at most a quarter of {setting} {bytes}, because space comes free a segment \
                 at a time",
                self.spool_segment_bytes
            ));
        }
        if bytes < 4 * u64::from(max_record_bytes) {
            errors.push(format!(
                "{setting} {bytes}: wanted room for four records of --max-record-bytes {max_record_bytes}"
            ));
        }
    }
}
