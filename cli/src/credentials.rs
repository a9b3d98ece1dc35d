//! New credentials: API keys, and passwords for HTTP Basic.

use std::fmt::Write as _;

use wicketgate_policy::auth::api_key::KeyDigest;
use wicketgate_policy::password::{MAX_BYTES, Stored};

/// Characters that stand in any header, URL, shell and spreadsheet as they are.
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// 62 to the power of this is more than 2 to the power of 256.
const CHARACTERS: usize = 43;

/// The fewest characters of a password that a person has chosen.
const MIN_CHOSEN: usize = 12;

/// An API key and what a document knows it by.
#[derive(Debug, PartialEq, Eq)]
pub struct NewKey {
    /// The key: a prefix for people and for scanners of leaked secrets, and 256 random bits.
    pub key: String,
    /// Its SHA-256, in hexadecimal digits.
    pub sha256: String,
}

/// A password and what a document knows it by.
#[derive(Debug, PartialEq, Eq)]
pub struct NewPassword {
    /// The password, if it was made here.
    pub password: Option<String>,
    /// The PHC string.
    pub hash: String,
}

/// Makes a key.
///
/// # Errors
/// When the prefix will not do, or when there is no randomness.
pub fn new_key(
    prefix: &str,
    mut fill_random: impl FnMut(&mut [u8]) -> Result<(), String>,
) -> Result<NewKey, String> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if !(1..=32).contains(&prefix.len()) || !prefix.bytes().all(legal) {
        return Err(format!("--prefix: wanted 1 to 32 letters, digits and _, got {prefix:?}"));
    }
    let key = format!("{prefix}_{}", random_text(&mut fill_random)?);
    let mut sha256 = String::with_capacity(64);
    for byte in KeyDigest::of(key.as_bytes()).as_bytes() {
        write!(sha256, "{byte:02x}").map_err(|error| error.to_string())?;
    }
    Ok(NewKey { key, sha256 })
}

/// Hashes a password, or one of 256 random bits if none is given.
///
/// # Errors
/// When the password or the number of iterations will not do, or when there is no randomness.
pub fn new_password(
    chosen: Option<&str>,
    iterations: u32,
    mut fill_random: impl FnMut(&mut [u8]) -> Result<(), String>,
) -> Result<NewPassword, String> {
    let made = match chosen {
        Some(_) => None,
        None => Some(random_text(&mut fill_random)?),
    };
    if let Some(chosen) = chosen {
        let characters = chosen.chars().count();
        if characters < MIN_CHOSEN || chosen.len() > MAX_BYTES || chosen.chars().any(char::is_control) {
            return Err(format!(
                "the password: wanted {MIN_CHOSEN} characters to {MAX_BYTES} bytes without control characters, got \
                 another of {characters} characters (not shown)"
            ));
        }
    }
    let mut salt = [0; 16];
    fill_random(&mut salt)?;
    let password = made.as_deref().or(chosen).unwrap_or_default();
    let hash = Stored::derive(password, &salt, iterations).to_string();
    Stored::parse(&hash).map_err(|wanted| format!("--iterations: wanted {wanted}, got {iterations}"))?;
    Ok(NewPassword { password: made, hash })
}

/// Random characters, each as likely as every other.
fn random_text(fill_random: &mut impl FnMut(&mut [u8]) -> Result<(), String>) -> Result<String, String> {
    let mut text = String::with_capacity(CHARACTERS);
    while text.len() < CHARACTERS {
        let mut bytes = [0; 64];
        fill_random(&mut bytes)?;
        // The last 8 of 256 would make the first 8 characters likelier.
        let characters = bytes.iter().filter_map(|byte| {
            let index = usize::from(*byte);
            (index < 248).then(|| ALPHABET.get(index % 62).copied()).flatten()
        });
        text.extend(characters.take(CHARACTERS - text.len()).map(char::from));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn counting() -> impl FnMut(&mut [u8]) -> Result<(), String> {
        let mut next = 0_u8;
        move |buffer| {
            for byte in buffer {
                *byte = next;
                next = next.wrapping_add(1);
            }
            Ok(())
        }
    }

    fn random(buffer: &mut [u8]) -> Result<(), String> {
        getrandom::fill(buffer).map_err(|error| error.to_string())
    }

    #[test]
    fn a_key_is_a_prefix_and_random_characters_and_its_hash_is_what_sha256sum_says() {
        let NewKey { key, sha256 } = new_key("wk_live", counting()).unwrap();
        assert_eq!(key, "wk_live_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg");
        assert_eq!(KeyDigest::from_hex(&sha256), Some(KeyDigest::of(key.as_bytes())));
        // printf %s wk_live_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg | sha256sum
        assert_eq!(sha256, "71f4147959557654f2460bee87567acabecd048183b2c8812272b6e9d1ef961c");
        for prefix in ["", "a b", "ü", "a-b", &"x".repeat(33)] {
            assert!(new_key(prefix, counting()).is_err(), "{prefix}");
        }
        assert!(new_key("wk", |_| Err("none".to_owned())).is_err());
    }

    #[test]
    fn no_two_keys_are_the_same_and_every_character_occurs() {
        let keys: BTreeSet<String> = (0..100).map(|_| new_key("wk", random).unwrap().key).collect();
        assert_eq!(keys.len(), 100);
        assert!(keys.iter().all(|key| key.len() == "wk_".len() + CHARACTERS));
        let characters: BTreeSet<char> = keys.iter().flat_map(|key| key[3..].chars()).collect();
        assert_eq!(characters.len(), ALPHABET.len());
    }

    #[test]
    fn bytes_that_would_make_some_characters_likelier_are_not_taken() {
        let mut first = true;
        let text = random_text(&mut |buffer: &mut [u8]| {
            buffer.fill(if first { 255 } else { 247 });
            first = false;
            Ok(())
        });
        assert_eq!(text, Ok("z".repeat(CHARACTERS)));
    }

    #[test]
    fn a_password_is_made_or_taken_and_hashed_with_a_salt_of_its_own() {
        let made = new_password(None, 10_000, random).unwrap();
        assert!(Stored::parse(&made.hash).unwrap().verify(&made.password.unwrap()));
        let taken = new_password(Some("correct horse battery"), 10_000, random).unwrap();
        assert_eq!(taken.password, None);
        assert!(Stored::parse(&taken.hash).unwrap().verify("correct horse battery"));
        assert_ne!(new_password(Some("correct horse battery"), 10_000, random), Ok(taken));
        for (password, iterations) in [
            (Some("short"), 10_000),
            (Some("a long one\nof two lines"), 10_000),
            (None, 9_999),
            (None, 100_001),
        ] {
            let error = new_password(password, iterations, random).unwrap_err();
            assert!(password.is_none_or(|password| !error.contains(password)), "{error}");
        }
    }
}
