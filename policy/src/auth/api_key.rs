//! API keys: random text that a consumer was given, kept here as its SHA-256 only.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::rc::Rc;

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use wicketgate_envelope::timestamp::Timestamp;

use super::{Checked, Consumer, Place, Principal, REALM, Rejected, Request};

/// The SHA-256 of an API key. Compared in constant time.
#[derive(Clone, Copy)]
pub struct KeyDigest([u8; 32]);

impl KeyDigest {
    /// The digest of a key.
    pub fn of(key: &[u8]) -> Self {
        Self(Sha256::digest(key).into())
    }

    /// The digest itself.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads 64 hexadecimal digits.
    pub fn from_hex(hex: &str) -> Option<Self> {
        let mut digest = [0; 32];
        if hex.len() != 64 || !hex.is_ascii() {
            return None;
        }
        for (byte, pair) in digest.iter_mut().zip(hex.as_bytes().chunks(2)) {
            let [high, low] = pair else { return None };
            let nibble = |digit: u8| (digit as char).to_digit(16).and_then(|value| u8::try_from(value).ok());
            *byte = (nibble(*high)? << 4) | nibble(*low)?;
        }
        Some(Self(digest))
    }
}

impl std::fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyDigest(not shown)")
    }
}

impl PartialEq for KeyDigest {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for KeyDigest {}

impl Hash for KeyDigest {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

/// API keys and whose they are. The map is keyed by a hash with a secret of its own (the standard library's, random
/// per process), and digests that meet in it are compared in constant time: the time of a look-up says nothing about
/// the digests of real keys.
#[derive(Debug, Default)]
pub struct ApiKeys {
    keys: HashMap<KeyDigest, Key>,
}

/// A key, by what is known of it.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    /// Whose it is.
    pub(crate) consumer: Rc<Consumer>,
    /// From when on it is no longer good.
    pub(crate) expires: Option<Timestamp>,
}

impl ApiKeys {
    /// Adds a key. Says whose it is already, if it is somebody's.
    pub(crate) fn insert(&mut self, digest: KeyDigest, key: Key) -> Option<Rc<Consumer>> {
        self.keys.insert(digest, key).map(|key| key.consumer)
    }

    /// Makes room for this many keys.
    pub(crate) fn with_capacity(keys: usize) -> Self {
        Self { keys: HashMap::with_capacity(keys) }
    }
}

/// A key in one place of the request.
#[derive(Clone, Debug)]
pub struct ApiKey {
    pub(crate) place: Place,
    pub(crate) keys: Rc<ApiKeys>,
    /// Whether an upstream gets the key.
    pub(crate) forward: bool,
}

impl ApiKey {
    pub(super) fn check(&self, name: &Rc<str>, request: &Request<'_>, now: Timestamp) -> Checked {
        let key = match self.place.read(request.head) {
            Ok(Some(key)) => key,
            Ok(None) => return Checked::Absent,
            Err(repeated) => return Checked::Rejected(repeated),
        };
        match self.keys.keys.get(&KeyDigest::of(&key)) {
            None => Checked::Rejected(Rejected::Invalid("the key is not known")),
            Some(Key { expires: Some(expires), .. }) if *expires <= now => {
                Checked::Rejected(Rejected::Invalid("the key has expired"))
            }
            Some(Key { consumer, .. }) => {
                Checked::Known(Principal::consumer(Rc::clone(name), "api_key", Rc::clone(consumer)))
            }
        }
    }

    /// The `ApiKey` scheme is not registered; it tells a reader what is asked for.
    pub(super) fn challenge(&self) -> String {
        let (kind, name) = match &self.place {
            Place::Header(name) => ("header", name),
            Place::Query(name) => ("query", name),
            Place::Cookie(name) => ("cookie", name),
        };
        format!("ApiKey realm=\"{REALM}\", {kind}=\"{name}\"")
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn digests_are_read_from_hex() {
        let hex = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
        assert_eq!(KeyDigest::from_hex(hex), Some(KeyDigest::of(b"secret")));
        assert_eq!(KeyDigest::from_hex(&hex.to_uppercase()), Some(KeyDigest::of(b"secret")));
        for wrong in ["", "2b", &hex[1..], &format!("{hex}00"), &hex.replace('2', "g"), &"é".repeat(32)] {
            assert_eq!(KeyDigest::from_hex(wrong), None, "{wrong}");
        }
    }
}
