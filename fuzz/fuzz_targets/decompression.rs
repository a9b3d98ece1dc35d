//! No body decodes to more than it may, and none that is cut short or goes on decodes at all.
//!
//! The first line is `<content-encoding> <most bytes>`; then comes the body.
#![no_main]

use std::io::Write;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use libfuzzer_sys::fuzz_target;
use wicketgate_fuzz::message::line;
use wicketgate_policy::content_encoding::{Coding, DecodeError, MAX_CODINGS, codings, decode};

/// More is not needed to see that a bound holds.
const MAX: usize = 1 << 20;

fuzz_target!(|input: &[u8]| {
    let (first, body) = line(input);
    let (names, max) = match first.iter().rposition(|&byte| byte == b' ') {
        Some(at) => (&first[..at], &first[at + 1..]),
        None => (first, &b""[..]),
    };
    let max = std::str::from_utf8(max).ok().and_then(|text| text.parse().ok()).unwrap_or(MAX).min(MAX);
    if let Ok(codings) = codings([names].into_iter()) {
        assert!(codings.len() <= MAX_CODINGS);
        check_bound(&codings, body, max);
    }
    check_round_trip(Coding::Gzip, body, &gzip(body));
    check_round_trip(Coding::Deflate, body, &deflate(body));
});

fn check_bound(codings: &[Coding], body: &[u8], max: usize) {
    match decode(codings, body, max) {
        Ok(decoded) => {
            assert!(decoded.len() <= max && decoded.capacity() <= max.max(decoded.len()));
            assert_eq!(decode(codings, body, max + 1).as_ref(), Ok(&decoded));
            if let Some(less) = decoded.len().checked_sub(1) {
                assert_eq!(decode(codings, body, less), Err(DecodeError::TooLarge(less)));
            }
        }
        Err(DecodeError::TooLarge(told)) => assert_eq!(told, max),
        Err(DecodeError::Corrupt(coding)) => assert!(codings.contains(&coding)),
    }
}

fn check_round_trip(coding: Coding, body: &[u8], encoded: &[u8]) {
    let codings = [coding];
    assert_eq!(decode(&codings, encoded, body.len()).as_deref(), Ok(body));
    let short = &encoded[..encoded.len() - 1];
    assert_eq!(decode(&codings, short, body.len()), Err(DecodeError::Corrupt(coding)));
    let long = [encoded, b"x"].concat();
    assert_eq!(decode(&codings, &long, body.len()), Err(DecodeError::Corrupt(coding)));
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body).and_then(|()| encoder.finish()).expect("gzip")
}

fn deflate(body: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body).and_then(|()| encoder.finish()).expect("deflate")
}
