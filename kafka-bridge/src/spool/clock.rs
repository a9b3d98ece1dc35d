//! The time that is written into files.

use std::time::{SystemTime, UNIX_EPOCH};

/// The present in milliseconds since 1970-01-01T00:00:00Z.
pub(super) fn now_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
