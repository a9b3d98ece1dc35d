//! How a call to the bridge is signed, without the cryptography: what is signed, and the header that says so.
//!
//! ```text
//! wicketgate-signature: t=1795353386123,n=5f0c7d2be3a94d61a5f0c7d2be3a94d6,v1=<64 hexadecimal digits>
//! ```
//!
//! `v1` is the HMAC-SHA256, under a secret that both sides have, of
//!
//! ```text
//! v1
//! 1795353386123
//! 5f0c7d2be3a94d61a5f0c7d2be3a94d6
//! POST
//! /v1/records
//! <SHA-256 of the body, 64 hexadecimal digits>
//! ```
//!
//! with line feeds between the lines and none at the end. Headers are not signed.

use std::fmt;
use std::time::Duration;

/// The request header that carries a [`Signature`].
pub const SIGNATURE_HEADER: &str = "wicketgate-signature";

/// How far the signer's clock and the verifier's may be apart, either way.
pub const TOLERANCE: Duration = Duration::from_secs(60);

/// Bytes of an HMAC-SHA256, and of a SHA-256.
pub const DIGEST_BYTES: usize = 32;

/// What is signed.
#[derive(Clone, Copy, Debug)]
pub struct Signed<'a> {
    /// When, in milliseconds since 1970-01-01T00:00:00Z.
    pub timestamp: u64,
    /// Different for each call; [`is_nonce`] holds.
    pub nonce: &'a str,
    /// The method, in capitals.
    pub method: &'a str,
    /// The path as it is sent, with the query if there is one.
    pub path: &'a str,
    /// SHA-256 of the body as it is sent.
    pub body_sha256: [u8; DIGEST_BYTES],
}

impl fmt::Display for Signed<'_> {
    /// The text whose bytes are signed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { timestamp, nonce, method, path, body_sha256 } = self;
        write!(f, "v1\n{timestamp}\n{nonce}\n{method}\n{path}\n{}", Hex(body_sha256))
    }
}

/// The value of [`SIGNATURE_HEADER`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signature<'a> {
    /// As in [`Signed`].
    pub timestamp: u64,
    /// As in [`Signed`].
    pub nonce: &'a str,
    /// The HMAC.
    pub mac: [u8; DIGEST_BYTES],
}

impl fmt::Display for Signature<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { timestamp, nonce, mac } = self;
        write!(f, "t={timestamp},n={nonce},v1={}", Hex(mac))
    }
}

impl<'a> Signature<'a> {
    /// Reads the header. There is one spelling for each signature, and `None` for every other.
    pub fn parse(header: &'a str) -> Option<Self> {
        let mut parts = header.split(',');
        let timestamp = parts.next()?.strip_prefix("t=")?;
        let nonce = parts.next()?.strip_prefix("n=")?;
        let mac = parts.next()?.strip_prefix("v1=")?;
        if parts.next().is_some() || !is_nonce(nonce) {
            return None;
        }
        let canonical = |number: &u64| number.to_string() == timestamp;
        Some(Self { timestamp: timestamp.parse().ok().filter(canonical)?, nonce, mac: digest(mac)? })
    }
}

/// Whether this may tell one call from another: 16 to 64 of the characters a-z A-Z 0-9 - and _.
pub fn is_nonce(text: &str) -> bool {
    (16..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// Bytes as lower-case hexadecimal digits.
struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

fn digest(hex: &str) -> Option<[u8; DIGEST_BYTES]> {
    let nibble = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
    if pairs.len() != DIGEST_BYTES || !rest.is_empty() {
        return None;
    }
    let mut bytes = [0; DIGEST_BYTES];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = nibble(*high)? << 4 | nibble(*low)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    const NONCE: &str = "5f0c7d2be3a94d61a5f0c7d2be3a94d6";

    #[test]
    fn what_is_signed_has_one_line_for_each_part() {
        let mut body_sha256 = [0; DIGEST_BYTES];
        body_sha256[0] = 0xaf;
        let signed =
            Signed { timestamp: 7, nonce: NONCE, method: "POST", path: "/v1/records?x", body_sha256 };
        let hash = format!("af{}", "00".repeat(31));
        assert_eq!(signed.to_string(), format!("v1\n7\n{NONCE}\nPOST\n/v1/records?x\n{hash}"));
    }

    #[test]
    fn what_is_written_is_read() {
        let mut mac = [0xf0; DIGEST_BYTES];
        mac[31] = 0x09;
        for timestamp in [0, 1_795_353_386_123, u64::MAX] {
            let signature = Signature { timestamp, nonce: NONCE, mac };
            assert_eq!(Signature::parse(&signature.to_string()), Some(signature));
        }
    }

    #[test]
    fn every_other_spelling_is_refused() {
        let mac = "0a".repeat(32);
        assert!(Signature::parse(&format!("t=1,n={NONCE},v1={mac}")).is_some());
        for bad in [
            String::new(),
            format!("t=1,n={NONCE}"),
            format!("n={NONCE},t=1,v1={mac}"),
            format!("t=1, n={NONCE},v1={mac}"),
            format!("t=1,n={NONCE},v1={mac},v2=1"),
            format!("t=01,n={NONCE},v1={mac}"),
            format!("t=+1,n={NONCE},v1={mac}"),
            format!("t=-1,n={NONCE},v1={mac}"),
            format!("t=18446744073709551616,n={NONCE},v1={mac}"),
            format!("t=1,n=short,v1={mac}"),
            format!("t=1,n={},v1={mac}", "x".repeat(65)),
            format!("t=1,n={NONCE}\n,v1={mac}"),
            format!("t=1,n={NONCE},v1={}", mac.to_uppercase()),
            format!("t=1,n={NONCE},v1={}", "0a".repeat(31)),
            format!("t=1,n={NONCE},v1={mac}0"),
            format!("t=1,n={NONCE},v1=é{}", "a".repeat(62)),
        ] {
            assert_eq!(Signature::parse(&bad), None, "{bad:?}");
        }
    }
}
