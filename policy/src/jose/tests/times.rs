//! The times of a token, at their edges.

use std::time::Duration;
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;
use wicketgate_envelope::timestamp::Timestamp;

use super::super::{Algorithm, Rejected, Verifier};
use super::{all_algorithms, mint};

const NOW: i64 = 1_800_000_000;

fn verdict(verifier: &Verifier, claims: &str) -> Option<Rejected> {
    verdict_at(verifier, claims, NOW * 1000)
}

fn verdict_at(verifier: &Verifier, claims: &str, millis: i64) -> Option<Rejected> {
    let token = mint::mint_claims(Algorithm::Hs256, claims);
    verifier.verify(token.as_bytes(), &mint::keys(), Timestamp::from_millis(millis)).err()
}

fn verifier() -> Verifier {
    Verifier { algorithms: all_algorithms(), ..Verifier::default() }
}

#[test]
fn a_token_ends_at_exp_and_not_a_millisecond_later() {
    let claims = format!(r#"{{"exp":{NOW}}}"#);
    for leeway in [0, 30] {
        let verifier = Verifier { leeway: Duration::from_secs(leeway), ..verifier() };
        let end = (NOW + i64::try_from(leeway).unwrap()) * 1000;
        assert_eq!(verdict_at(&verifier, &claims, end - 1), None, "{leeway}");
        assert_eq!(verdict_at(&verifier, &claims, end), Some(Rejected::Expired), "{leeway}");
        assert_eq!(verdict_at(&verifier, &claims, i64::MAX), Some(Rejected::Expired), "{leeway}");
    }
}

#[test]
fn a_token_begins_at_nbf_and_is_issued_in_the_past() {
    for claim in ["nbf", "iat"] {
        let claims = format!(r#"{{"exp":{},"{claim}":{NOW}}}"#, NOW + 60);
        for leeway in [0, 30] {
            let verifier = Verifier { leeway: Duration::from_secs(leeway), ..verifier() };
            let begin = (NOW - i64::try_from(leeway).unwrap()) * 1000;
            assert_eq!(verdict_at(&verifier, &claims, begin), None, "{claim} {leeway}");
            assert_eq!(
                verdict_at(&verifier, &claims, begin - 1),
                Some(Rejected::NotYetValid),
                "{claim} {leeway}"
            );
        }
    }
}

#[test]
fn a_time_is_a_number_of_seconds_up_to_the_year_9999() {
    for claim in ["exp", "nbf", "iat"] {
        for (value, valid) in [
            ("\"1900000000\"", false),
            ("null", false),
            ("true", false),
            ("[1900000000]", false),
            ("{}", false),
            ("-1", false),
            ("-1e-3", false),
            ("1e30", false),
            ("1e400", false),
            ("9223372036854775808", false),
            ("18446744073709551616", false),
            ("253402300800", false),
            ("253402300799", true),
            ("1.9e9", true),
            ("1900000000.5", true),
            ("1900000000", true),
            ("0", true),
            ("-0", true),
        ] {
            let claims = format!(r#"{{"{claim}":{value}}}"#);
            let verdict = verdict(&Verifier { require_expiry: false, ..verifier() }, &claims);
            let wrong = match verdict {
                // Too large a number for any reader of JSON.
                Some(Rejected::Malformed(_)) => value == "1e400",
                Some(Rejected::InvalidClaim(name)) => name == claim,
                _ => false,
            };
            assert_eq!(wrong, !valid, "{claims} {verdict:?}");
        }
    }
}

#[test]
fn fractions_count() {
    let claims = format!(r#"{{"exp":{NOW}.5}}"#);
    assert_eq!(verdict_at(&verifier(), &claims, NOW * 1000 + 499), None);
    assert_eq!(verdict_at(&verifier(), &claims, NOW * 1000 + 500), Some(Rejected::Expired));
}

#[test]
fn exp_is_there_unless_the_verifier_does_without() {
    assert_eq!(verdict(&verifier(), "{}"), Some(Rejected::MissingClaim("exp")));
    let lenient = Verifier { require_expiry: false, ..verifier() };
    assert_eq!(verdict(&lenient, "{}"), None);
    assert_eq!(verdict(&lenient, r#"{"exp":1}"#), Some(Rejected::Expired));
    let bounded = Verifier { max_lifetime: Some(Duration::from_secs(60)), ..lenient };
    assert_eq!(verdict(&bounded, "{}"), Some(Rejected::MissingClaim("exp")));
}

#[test]
fn a_token_that_lives_too_long_is_refused() {
    let hour = Verifier { max_lifetime: Some(Duration::from_secs(3600)), ..verifier() };
    for (expires, issued, verdict_wanted) in [
        (NOW + 3600, Some(NOW), None),
        (NOW + 3600, None, None),
        (NOW + 3601, Some(NOW), Some(Rejected::LivesTooLong)),
        (NOW + 3601, None, Some(Rejected::LivesTooLong)),
        // Little is left of it, but it was made to live long.
        (NOW + 10, Some(NOW - 3590), None),
        (NOW + 10, Some(NOW - 3591), Some(Rejected::LivesTooLong)),
        (NOW + 10, Some(0), Some(Rejected::LivesTooLong)),
        (253_402_300_799, None, Some(Rejected::LivesTooLong)),
        // The end comes first.
        (NOW - 10, Some(0), Some(Rejected::Expired)),
    ] {
        let issued = issued.map(|issued| format!(r#","iat":{issued}"#)).unwrap_or_default();
        let claims = format!(r#"{{"exp":{expires}{issued}}}"#);
        assert_eq!(verdict(&hour, &claims), verdict_wanted, "{claims}");
    }
    // An issuer whose clock is ahead.
    let lenient = Verifier { leeway: Duration::from_secs(30), ..hour };
    let ahead = format!(r#"{{"exp":{},"iat":{}}}"#, NOW + 3630, NOW + 30);
    assert_eq!(verdict(&lenient, &ahead), None);
    let further = format!(r#"{{"exp":{}}}"#, NOW + 3631);
    assert_eq!(verdict(&lenient, &further), Some(Rejected::LivesTooLong));
}

#[test]
fn a_token_that_was_verified_before_still_has_to_be_in_time() {
    let token = mint::mint_claims(Algorithm::Hs256, format!(r#"{{"exp":{},"nbf":{NOW}}}"#, NOW + 60));
    let verified =
        verifier().verify(token.as_bytes(), &mint::keys(), Timestamp::from_millis(NOW * 1000)).unwrap();
    for (seconds, verdict) in
        [(0, Ok(())), (59, Ok(())), (60, Err(Rejected::Expired)), (-1, Err(Rejected::NotYetValid))]
    {
        let now = Timestamp::from_millis((NOW + seconds) * 1000);
        assert_eq!(verifier().still_valid(&verified, now), verdict, "{seconds}");
    }
}

#[test]
fn no_time_and_no_leeway_overflows() {
    let extreme = Verifier { leeway: Duration::MAX, max_lifetime: Some(Duration::MAX), ..verifier() };
    for millis in [0, NOW * 1000, i64::MAX] {
        for claims in [r#"{"exp":253402300799,"iat":0,"nbf":0}"#, r#"{"exp":0,"iat":253402300799}"#] {
            verdict_at(&extreme, claims, millis);
        }
    }
}
