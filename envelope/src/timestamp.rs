//! Points in time as RFC 3339 text.

use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

use serde::{Serialize, Serializer};

/// The last nanosecond that RFC 3339 can write, 9999-12-31T23:59:59.999999999Z, is far beyond what a `u64` of
/// nanoseconds can hold, so every value of this type has a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    nanos_since_epoch: u64,
}

impl Timestamp {
    /// A point in time, in nanoseconds since 1970-01-01T00:00:00Z.
    pub const fn from_nanos(nanos_since_epoch: u64) -> Self {
        Self { nanos_since_epoch }
    }

    /// A point in time, in milliseconds since 1970-01-01T00:00:00Z (Kafka's unit). Negative values, which Kafka
    /// uses for "none", become the epoch.
    pub fn from_millis(millis_since_epoch: i64) -> Self {
        Self::from_nanos(u64::try_from(millis_since_epoch).unwrap_or(0).saturating_mul(1_000_000))
    }

    /// Nanoseconds since 1970-01-01T00:00:00Z.
    pub const fn as_nanos(self) -> u64 {
        self.nanos_since_epoch
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub const fn as_millis(self) -> u64 {
        self.nanos_since_epoch / 1_000_000
    }
}

/// Reads an RFC 3339 time as milliseconds since 1970-01-01T00:00:00Z, Kafka's unit; finer fractions are cut off.
pub fn parse_millis(text: &str) -> Option<i64> {
    let time = time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).ok()?;
    i64::try_from(time.unix_timestamp_nanos().div_euclid(1_000_000)).ok()
}

impl fmt::Display for Timestamp {
    /// RFC 3339, UTC, milliseconds: `2026-11-22T13:16:26.123Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = UNIX_EPOCH + Duration::from_nanos(self.nanos_since_epoch);
        humantime::format_rfc3339_millis(time).fmt(f)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn is_written_in_utc_with_milliseconds() {
        assert_eq!(Timestamp::from_millis(1_795_353_386_123).to_string(), "2026-11-22T13:16:26.123Z");
        assert_eq!(Timestamp::from_millis(-1).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(Timestamp::from_nanos(u64::MAX).to_string(), "2554-07-21T23:34:33.709Z");
    }
}
