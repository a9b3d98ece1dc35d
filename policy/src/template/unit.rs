//! Units in which a number tells a time.

use std::borrow::Cow;
use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

use wicketgate_envelope::timestamp::parse_millis;

use super::Reason;

/// What a number since 1970-01-01T00:00:00Z counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Millis,
    /// Microseconds.
    Micros,
    /// Nanoseconds.
    Nanos,
}

/// The most digits of a number that tells a time.
const MAX_DIGITS: usize = 36;

impl Unit {
    /// The unit of this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        [Self::Seconds, Self::Millis, Self::Micros, Self::Nanos].into_iter().find(|unit| unit.name() == name)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Seconds => "seconds",
            Self::Millis => "millis",
            Self::Micros => "micros",
            Self::Nanos => "nanos",
        }
    }

    /// The power of ten that makes nanoseconds of it.
    fn power(self) -> i32 {
        match self {
            Self::Seconds => 9,
            Self::Millis => 6,
            Self::Micros => 3,
            Self::Nanos => 0,
        }
    }

    /// The time that a number of these tells. A time that is told in RFC 3339 stays as it is.
    pub(super) fn to_rfc3339(self, text: Cow<'_, str>) -> Result<Cow<'_, str>, Reason> {
        if parse_millis(&text).is_some() {
            return Ok(text);
        }
        let nanos =
            self.nanos(&text).and_then(|nanos| u64::try_from(nanos).ok()).ok_or(Reason::Time(self))?;
        let time = UNIX_EPOCH + Duration::from_nanos(nanos);
        Ok(Cow::Owned(humantime::format_rfc3339(time).to_string()))
    }

    /// A number as JSON spells it, in nanoseconds; finer fractions are cut off.
    pub(crate) fn nanos(self, text: &str) -> Option<i128> {
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let (sign, whole) = whole.strip_prefix('-').map_or((1, whole), |whole| (-1, whole));
        let digits = [whole, fraction].concat();
        let is_number = !whole.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number || digits.len() > MAX_DIGITS || mantissa.ends_with('.') {
            return None;
        }
        let number = digits.parse::<i128>().ok()?.checked_mul(sign)?;
        let shift = exponent.parse::<i32>().ok()?.checked_add(self.power())?;
        let shift = shift.checked_sub(i32::try_from(fraction.len()).ok()?)?;
        match 10_i128.checked_pow(shift.unsigned_abs()) {
            Some(factor) if shift >= 0 => number.checked_mul(factor),
            Some(factor) => Some(number.div_euclid(factor)),
            // More than any number that has so few digits.
            None => (number == 0 || shift < 0).then_some(0),
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Seconds => "seconds",
            Self::Millis => "milliseconds",
            Self::Micros => "microseconds",
            Self::Nanos => "nanoseconds",
        })
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn a_number_is_a_time_in_its_unit() {
        let day = "2025-11-27T04:40:00";
        for (unit, number, wanted) in [
            (Unit::Seconds, "1764218400", format!("{day}Z")),
            (Unit::Seconds, "1764218400.0", format!("{day}Z")),
            (Unit::Seconds, "1764218400.25", format!("{day}.250000000Z")),
            (Unit::Seconds, "1.7642184e9", format!("{day}Z")),
            (Unit::Seconds, "17642184000E-1", format!("{day}Z")),
            (Unit::Millis, "1764218400250", format!("{day}.250000000Z")),
            (Unit::Millis, "1764218400250.125", format!("{day}.250125000Z")),
            (Unit::Micros, "1764218400250125", format!("{day}.250125000Z")),
            (Unit::Nanos, "1764218400250125001", format!("{day}.250125001Z")),
            (Unit::Nanos, "1764218400250125001.9", format!("{day}.250125001Z")),
            (Unit::Seconds, "0", "1970-01-01T00:00:00Z".to_owned()),
            (Unit::Seconds, "0e99", "1970-01-01T00:00:00Z".to_owned()),
            (Unit::Seconds, "1e-99", "1970-01-01T00:00:00Z".to_owned()),
            (Unit::Seconds, "2025-11-27T05:40:00+01:00", "2025-11-27T05:40:00+01:00".to_owned()),
        ] {
            assert_eq!(unit.to_rfc3339(number.into()).as_deref(), Ok(wanted.as_str()), "{number} {unit}");
        }
    }

    #[test]
    fn what_is_no_number_of_a_time_is_told_with_its_unit() {
        for text in [
            "",
            "-1",
            "-0.5",
            "1764218400000000000000",
            "1e30",
            "1e2147483647",
            "1e99999999999",
            "x",
            ".5",
            "5.",
            "+5",
            "1e",
            "0x10",
            "2025-11-27",
            "1.2.3",
            &"1".repeat(40),
        ] {
            assert_eq!(Unit::Seconds.to_rfc3339(text.into()), Err(Reason::Time(Unit::Seconds)), "{text}");
        }
        // Milliseconds that are said to be seconds are beyond what a time can be.
        assert_eq!(Unit::Seconds.to_rfc3339("1764218400000".into()), Err(Reason::Time(Unit::Seconds)));
    }
}
