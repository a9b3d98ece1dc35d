//! HTTP Basic (RFC 7617): how credentials are written in a request, and how passwords are stored.
//!
//! Passwords are stored as PBKDF2-HMAC-SHA256 (RFC 8018), in the PHC string format. It needs no memory, which every
//! worker of a gateway would have to find for itself, and its cost is one number. That number is bounded on both sides:
//! a hash is made on the worker's own thread, where it keeps every other request waiting. What a slow hash is for, to
//! make guessing from a stolen document costly, a machine-made password does better (`wicketgate password` makes one);
//! that guessing through the gateway is costly is what [`Budget`] is for.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use pbkdf2::pbkdf2_hmac;
use sha2::Sha256;
use subtle::ConstantTimeEq as _;
use wicketgate_envelope::timestamp::Timestamp;

/// The fewest iterations of a stored password.
pub const MIN_ITERATIONS: u32 = 10_000;

/// The most iterations of a stored password.
pub const MAX_ITERATIONS: u32 = 100_000;

/// The most bytes of a user name and of a password, each.
pub const MAX_BYTES: usize = 256;

const ALGORITHM: &str = "pbkdf2-sha256";
const SALT_BYTES: std::ops::RangeInclusive<usize> = 16..=64;

/// A user name and a password, as a request has them. They never show.
#[derive(PartialEq, Eq)]
pub struct Credentials {
    text: String,
    /// Where the colon is.
    colon: usize,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(not shown)")
    }
}

/// Credentials that can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl Credentials {
    /// Reads the value of `Authorization`; `None` if it is of another scheme. The user name ends at the first colon
    /// (RFC 7617, section 2), so the password may have more of them. Both are UTF-8.
    ///
    /// # Errors
    /// [`Malformed`] for anything but canonical base64 of text without control characters, in which there is a colon.
    pub fn parse(authorization: &[u8]) -> Result<Option<Self>, Malformed> {
        const SCHEME: &[u8] = b"basic";
        let Some((scheme, rest)) = authorization.split_at_checked(SCHEME.len()) else { return Ok(None) };
        if !scheme.eq_ignore_ascii_case(SCHEME) {
            return Ok(None);
        }
        let encoded = match rest.first() {
            Some(b' ') => rest.trim_ascii(),
            None => rest,
            Some(_) => return Ok(None),
        };
        // Twice as much as fits, and never worth decoding.
        if encoded.is_empty() || encoded.len() > 4 * MAX_BYTES {
            return Err(Malformed);
        }
        let bytes = STANDARD.decode(encoded).map_err(|_| Malformed)?;
        let text = String::from_utf8(bytes).map_err(|_| Malformed)?;
        let colon = text.find(':').ok_or(Malformed)?;
        let credentials = Self { text, colon };
        let legal = |text: &str| text.len() <= MAX_BYTES && !text.chars().any(char::is_control);
        if legal(credentials.user()) && legal(credentials.password()) {
            Ok(Some(credentials))
        } else {
            Err(Malformed)
        }
    }

    /// The user name.
    pub fn user(&self) -> &str {
        self.text.get(..self.colon).unwrap_or_default()
    }

    /// The password.
    pub fn password(&self) -> &str {
        self.text.get(self.colon + 1..).unwrap_or_default()
    }

    /// Both, in a form that no two different ones share.
    pub fn as_bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

/// A password as it is stored. It never shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Stored {
    iterations: u32,
    salt: Vec<u8>,
    hash: [u8; 32],
}

impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stored(not shown)")
    }
}

impl Stored {
    /// Hashes a password.
    pub fn derive(password: &str, salt: &[u8], iterations: u32) -> Self {
        let mut hash = [0; 32];
        pbkdf2_hmac::<Sha256>(password.as_bytes(), salt, iterations, &mut hash);
        Self { iterations, salt: salt.to_vec(), hash }
    }

    /// Reads a PHC string: `$pbkdf2-sha256$i=20000$<salt>$<hash>`, both in base64 without padding.
    ///
    /// # Errors
    /// What was wanted, in words. Nothing of the text is in it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let fields: Vec<&str> = text.split('$').collect();
        let ["", ALGORITHM, parameters, salt, hash] = fields.as_slice() else {
            return Err(format!("${ALGORITHM}$i=ITERATIONS$SALT$HASH, as `wicketgate password` prints it"));
        };
        let parameters = parameters.strip_suffix(",l=32").unwrap_or(parameters);
        let iterations = parameters.strip_prefix("i=").filter(|digits| !digits.starts_with(['0', '+']));
        let iterations = iterations
            .and_then(|digits| digits.parse().ok())
            .filter(|iterations| (MIN_ITERATIONS..=MAX_ITERATIONS).contains(iterations))
            .ok_or_else(|| format!("i={MIN_ITERATIONS} to i={MAX_ITERATIONS}"))?;
        let salt = STANDARD_NO_PAD.decode(salt).ok().filter(|salt| SALT_BYTES.contains(&salt.len()));
        let salt = salt.ok_or("a salt of 16 to 64 bytes, in base64 without padding")?;
        let hash = STANDARD_NO_PAD.decode(hash).ok().and_then(|hash| hash.try_into().ok());
        let hash = hash.ok_or("a hash of 32 bytes, in base64 without padding")?;
        Ok(Self { iterations, salt, hash })
    }

    /// Whether it is this password.
    pub fn verify(&self, password: &str) -> bool {
        Self::derive(password, &self.salt, self.iterations).hash.ct_eq(&self.hash).into()
    }

    /// What it costs to verify a password.
    pub fn iterations(&self) -> u32 {
        self.iterations
    }
}

impl fmt::Display for Stored {
    /// The PHC string.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (salt, hash) = (STANDARD_NO_PAD.encode(&self.salt), STANDARD_NO_PAD.encode(self.hash));
        write!(f, "${ALGORITHM}$i={}${salt}${hash}", self.iterations)
    }
}

/// How much a worker may hash. Whoever guesses gets slower answers for those who have not been seen yet, and for nobody
/// else: the worker has most of its time for other requests, however many guesses come.
#[derive(Debug, Default)]
pub struct Budget {
    /// When all that has been spent is paid for, in nanoseconds since 1970.
    paid: u64,
}

impl Budget {
    /// What an iteration is charged. It takes 0.28 microseconds in V8 (measured), so a worker hashes for at most a
    /// seventh of its time.
    const CHARGE: Duration = Duration::from_nanos(2_000);

    /// How much may be charged at once.
    const BURST: Duration = Duration::from_secs(1);

    /// Spends what this many iterations cost. Returns false, and spends nothing, if there is not as much left.
    pub fn spend(&mut self, iterations: u32, now: Timestamp) -> bool {
        let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let now = now.as_nanos();
        // A clock that was set back does not close the door for longer than a burst.
        self.paid = self.paid.clamp(now, now.saturating_add(nanos(Self::BURST)));
        let paid = self.paid.saturating_add(nanos(Self::CHARGE.saturating_mul(iterations)));
        let enough = paid - now <= nanos(Self::BURST);
        if enough {
            self.paid = paid;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn parsed(authorization: &str) -> Result<Option<(String, String)>, Malformed> {
        Credentials::parse(authorization.as_bytes()).map(|credentials| {
            credentials.map(|credentials| (credentials.user().to_owned(), credentials.password().to_owned()))
        })
    }

    /// The examples of RFC 7617, sections 2 and 2.1, among others.
    #[test]
    fn credentials_are_a_user_and_a_password_in_base64() {
        for (authorization, user, password) in [
            ("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "Aladdin", "open sesame"),
            ("Basic dGVzdDoxMjPCow==", "test", "123£"),
            ("bASIC   dGVzdDoxMjPCow==", "test", "123£"),
            ("Basic YTpiOmM=", "a", "b:c"),
            ("Basic YTo=", "a", ""),
            ("Basic Og==", "", ""),
        ] {
            assert_eq!(
                parsed(authorization),
                Ok(Some((user.to_owned(), password.to_owned()))),
                "{authorization}"
            );
        }
        for other in ["", "Basi", "Bearer x", "Basically dGVzdDoxMjPCow==", "basicdGVzdDoxMjPCow=="] {
            assert_eq!(parsed(other), Ok(None), "{other}");
        }
    }

    #[test]
    fn anything_else_behind_the_scheme_is_malformed() {
        let encoded = |bytes: &[u8]| format!("Basic {}", STANDARD.encode(bytes));
        for authorization in [
            "Basic".to_owned(),
            "Basic ".to_owned(),
            "Basic dGVzdDoxMjPCow".to_owned(),
            "Basic dGVzdDoxMjPCow=".to_owned(),
            "Basic dGVzdDoxMjPCox==".to_owned(),
            "Basic dGVz dDoxMjPCow==".to_owned(),
            "Basic YTpi_w==".to_owned(),
            "Basic YTpi, Basic YTpi".to_owned(),
            encoded(b"no colon"),
            encoded(b"a:\xff"),
            encoded(b"a:b\n"),
            encoded(b"a\0:b"),
            encoded("a:\u{85}".as_bytes()),
            encoded(&[b"a:".as_slice(), &[b'x'; MAX_BYTES + 1]].concat()),
            encoded(&[[b'x'; MAX_BYTES + 1].as_slice(), b":a"].concat()),
            format!("Basic {}", "A".repeat(8 * MAX_BYTES)),
        ] {
            assert_eq!(parsed(&authorization), Err(Malformed), "{authorization}");
        }
        let longest = [[b'x'; MAX_BYTES].as_slice(), b":", &[b'x'; MAX_BYTES]].concat();
        assert!(matches!(parsed(&encoded(&longest)), Ok(Some(_))));
    }

    /// RFC 7914, section 11, has this vector of PBKDF2-HMAC-SHA256, of which the first 32 bytes are compared.
    #[test]
    fn hashes_are_pbkdf2() {
        let wanted =
            [0x4d, 0xdc, 0xd8, 0xf6, 0x0b, 0x98, 0xbe, 0x21, 0x83, 0x0c, 0xee, 0x5e, 0xf2, 0x27, 0x01, 0xf9];
        assert_eq!(Stored::derive("Password", b"NaCl", 80_000).hash[..16], wanted);
    }

    #[test]
    fn a_stored_password_is_read_as_it_is_written() {
        let stored = Stored::derive("open sesame", b"0123456789abcdef", MIN_ITERATIONS);
        assert_eq!(Stored::parse(&stored.to_string()), Ok(stored.clone()));
        assert_eq!(Stored::parse(&stored.to_string().replace("i=10000", "i=10000,l=32")), Ok(stored.clone()));
        assert!(stored.verify("open sesame"));
        for wrong in ["open sesame ", "Open sesame", "", "open sesam"] {
            assert!(!stored.verify(wrong), "{wrong}");
        }
        assert_eq!(format!("{stored:?}"), "Stored(not shown)");
    }

    #[test]
    fn a_stored_password_has_to_be_one() {
        let good = Stored::derive("x", b"0123456789abcdef", MIN_ITERATIONS).to_string();
        for (from, to) in [
            ("pbkdf2-sha256", "pbkdf2-sha1"),
            ("pbkdf2-sha256", "argon2id"),
            ("$pbkdf2", "pbkdf2"),
            ("i=10000", "i=9999"),
            ("i=10000", "i=100001"),
            ("i=10000", "i=010000"),
            ("i=10000", "i=+10000"),
            ("i=10000", "i=99999999999"),
            ("i=10000", "i=10000,l=64"),
            ("i=10000", "l=32"),
            ("MDEyMzQ1Njc4OWFiY2RlZg", "MDEyMzQ1Njc4OWFiY2RlZg=="),
            ("MDEyMzQ1Njc4OWFiY2RlZg", "MDEyMzQ1Njc4OWFiY2RlZh"),
            ("MDEyMzQ1Njc4OWFiY2RlZg", "MDEy"),
            ("MDEyMzQ1Njc4OWFiY2RlZg", ""),
        ] {
            let bad = good.replace(from, to);
            assert_ne!(bad, good);
            let error = Stored::parse(&bad).unwrap_err();
            assert!(!error.contains("MDEy"), "{error}");
        }
        for bad in ["", "secret", &good[..good.len() - 1], &format!("{good}$"), &format!("{good}A")] {
            assert!(Stored::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn hashing_is_bounded_and_comes_back() {
        let mut budget = Budget::default();
        let at = |millis: i64| Timestamp::from_millis(1_795_353_386_123 + millis);
        let spent = (0..1_000).filter(|_| budget.spend(MIN_ITERATIONS, at(0))).count();
        assert_eq!(spent, 50);
        assert!(!budget.spend(MIN_ITERATIONS, at(19)));
        assert!(budget.spend(MIN_ITERATIONS, at(20)));
        assert!(!budget.spend(MIN_ITERATIONS, at(20)));
        // A clock that is set back closes the door for a burst at most.
        assert!(!budget.spend(MIN_ITERATIONS, at(-3_600_000)));
        assert!(budget.spend(MIN_ITERATIONS, at(-3_600_000 + 20)));
        assert!(budget.spend(MAX_ITERATIONS, at(60_000)));
    }
}
