//! The timestamps of records, as far as requests tell them.
//!
//! A number alone does not tell its unit, and what is taken in the wrong one lies decades away: seconds taken for
//! milliseconds are in 1970, where Kafka's retention deletes them at once. So does a device's clock that is not set. A
//! time that is not plausible is therefore refused, while whoever sent it can still mend it.

use wicketgate_envelope::timestamp::{Timestamp, parse_millis};

use crate::template::{Template, Unit};

/// 2000-01-01T00:00:00Z, before which no time is believed unless the route says otherwise.
pub(crate) const EARLIEST_MILLIS: i64 = 946_684_800_000;

/// An hour: what Kafka takes (`message.timestamp.after.max.ms`). It refuses what is further ahead, and with it whatever
/// travels in the same batch.
pub(crate) const AHEAD_MILLIS: u64 = 60 * 60 * 1000;

/// How a route tells the timestamps of its records.
#[derive(Debug)]
pub(crate) struct RecordTime {
    pub(crate) template: Template,
    /// The earliest that is believed, in milliseconds since 1970-01-01T00:00:00Z.
    pub(crate) earliest: i64,
    /// How far ahead of the gateway's clock a time may be, in milliseconds.
    pub(crate) ahead: u64,
}

impl RecordTime {
    /// What `text` tells, in milliseconds since 1970-01-01T00:00:00Z. A number is in milliseconds.
    ///
    /// # Errors
    /// What was wanted, and what came.
    pub(crate) fn millis(&self, text: &str, now: Timestamp) -> Result<i64, String> {
        let told = parse_millis(text).map(i128::from);
        let millis = told.or_else(|| Unit::Millis.nanos(text).map(|nanos| nanos.div_euclid(1_000_000)));
        let Some(millis) = millis else {
            return Err("wanted an RFC 3339 time or a number of milliseconds since 1970, got something else"
                .to_owned());
        };
        let earliest = i128::from(self.earliest.max(1));
        let latest = i128::from(now.as_millis()) + i128::from(self.ahead);
        let plausible = |millis: i128| (earliest..=latest).contains(&millis);
        if let Some(millis) = i64::try_from(millis).ok().filter(|_| plausible(millis)) {
            return Ok(millis);
        }
        let in_unit =
            |unit: &Unit| unit.nanos(text).is_some_and(|nanos| plausible(nanos.div_euclid(1_000_000)));
        let hint = match [Unit::Seconds, Unit::Micros, Unit::Nanos].into_iter().find(in_unit) {
            Some(unit) => {
                format!("a number counts milliseconds here, and this one tells a time if it counts {unit}")
            }
            None => "is it in another unit, or told by a clock that is not set?".to_owned(),
        };
        Err(if millis < earliest {
            let earliest = Timestamp::from_millis(self.earliest);
            format!("wanted a time from {earliest} on, got an earlier one ({hint})")
        } else {
            let ahead = humantime::format_duration(std::time::Duration::from_millis(self.ahead));
            format!("wanted a time no more than {ahead} ahead, got a later one ({hint})")
        })
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::template::Scope;

    /// 2025-11-27T04:40:00Z.
    const NOW: i64 = 1_764_218_400_000;

    fn told(text: &str, earliest: i64, ahead: u64) -> Result<i64, String> {
        let template = Template::parse("t", &Scope::default()).unwrap();
        RecordTime { template, earliest, ahead }.millis(text, Timestamp::from_millis(NOW))
    }

    #[test]
    fn a_plausible_time_is_taken() {
        for (text, wanted) in [
            ("1764218400000", NOW),
            ("1764218400000.75", NOW),
            ("1.7642184e12", NOW),
            ("2025-11-27T04:40:00.250Z", NOW + 250),
            ("2025-11-27T05:40:00+01:00", NOW),
            ("2000-01-01T00:00:00Z", EARLIEST_MILLIS),
            ("1764222000000", NOW + 3_600_000),
        ] {
            assert_eq!(told(text, EARLIEST_MILLIS, AHEAD_MILLIS), Ok(wanted), "{text}");
        }
        assert_eq!(told("0.5e3", 0, AHEAD_MILLIS), Ok(500));
        assert_eq!(told("1764304800000", EARLIEST_MILLIS, 86_400_000), Ok(NOW + 86_400_000));
    }

    #[test]
    fn an_implausible_time_is_refused_with_a_hint_at_its_unit() {
        let early = "wanted a time from 2000-01-01T00:00:00.000Z on, got an earlier one";
        let late = "wanted a time no more than 1h ahead, got a later one";
        let counts = |unit: &str| format!("this one tells a time if it counts {unit})");
        let clock = || "is it in another unit, or told by a clock that is not set?)".to_owned();
        for (text, start, hint) in [
            ("1764218400", early, counts("seconds")),
            ("1764218400.250", early, counts("seconds")),
            ("1764218400000000", late, counts("microseconds")),
            ("1764218400000000000", late, counts("nanoseconds")),
            ("0", early, clock()),
            ("-1", early, clock()),
            ("12.5", early, clock()),
            ("315532800000", early, clock()),
            ("1970-01-01T00:00:12Z", early, clock()),
            ("1980-01-06T00:00:00Z", early, clock()),
            ("0001-01-01T00:00:00Z", early, clock()),
            ("1764222000001", late, clock()),
            ("2025-11-27T05:40:00.001Z", late, clock()),
            ("9999-12-31T23:59:59Z", late, clock()),
            ("1e30", late, clock()),
        ] {
            let error = told(text, EARLIEST_MILLIS, AHEAD_MILLIS).unwrap_err();
            assert!(error.starts_with(start) && error.ends_with(&hint), "{text}: {error}");
        }
        for text in ["", "soon", "2025-11-27", "tomorrow", "0x10", "1_000"] {
            let error = told(text, EARLIEST_MILLIS, AHEAD_MILLIS).unwrap_err();
            assert!(
                error.starts_with("wanted an RFC 3339 time or a number of milliseconds"),
                "{text}: {error}"
            );
        }
    }
}
