//! Sets of keys (RFC 7517).

use std::fmt;

use rsa::BoxedUint;
use serde_json::value::RawValue;

use super::json::{Flaw, Object};
use super::jws::is_key_id;
use super::key::Material;
use super::{Algorithm, Key, decode_base64url};

/// The most bytes of a set of keys. Chains of certificates (`x5c`) make sets long.
pub const MAX_KEY_SET_BYTES: usize = 256 * 1024;

/// The most keys of a set.
pub const MAX_KEYS: usize = 100;

/// The most reasons that an error tells.
const MAX_REASONS: usize = 3;

/// The fewest and the most bits of an RSA modulus. RFC 7518, section 3.3, has the lower bound; above the upper, a
/// signature costs too much to check.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=4096;

/// Keys that tokens are verified with.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KeySet {
    keys: Vec<Key>,
    skipped: Vec<Skipped>,
}

/// A key of a set that is not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Where it stands in the set, from 0.
    pub index: usize,
    /// Its name, if it has one.
    pub kid: Option<String>,
    /// Why it is not used.
    pub why: Unusable,
}

/// Why a key is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// A member is missing or has a value that it must not have.
    Malformed(&'static str),
    /// `kty` or `crv` is none of those that tokens are verified with here.
    KeyType,
    /// `alg` is not one for signatures that are verified here, or is not one for such a key.
    Algorithm,
    /// `use` or `key_ops` reserve the key for something else.
    Use,
    /// The key can also sign (`d`, or `kty` is `oct`), and so can everybody who has read the set.
    Secret,
    /// RSA with a modulus below 2048 or above 4096 bits, or an exponent that is even, 1, or above 2^33.
    Size,
    /// Not a point of the curve, or one of small order.
    Point,
    /// RSA, made by a library of which it is known that its private keys can be computed (ROCA).
    Weak,
    /// Another key has the same name and can be for the same algorithm. Neither is used.
    DuplicateKeyId,
}

/// Why a text is no set of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySetError {
    /// More than [`MAX_KEY_SET_BYTES`].
    TooLarge,
    /// Not an object that every reader reads the same.
    Json(Flaw),
    /// `keys` is missing or not an array of objects.
    NoKeys,
    /// More than [`MAX_KEYS`].
    TooMany,
    /// None of the keys can be used. Why, key by key.
    NoUsableKey(Vec<Skipped>),
}

impl KeySet {
    /// A set of these keys. Keys with the same name that can be for the same algorithm are all left out.
    pub fn new(keys: Vec<Key>) -> Self {
        Self::of(keys.into_iter().enumerate().collect(), Vec::new())
    }

    /// Reads a set of public keys. Keys that cannot be used are left out; [`Self::skipped`] has them.
    ///
    /// # Errors
    /// [`KeySetError`] where the text is no set, or has no key that can be used.
    pub fn from_jwks(json: &[u8]) -> Result<Self, KeySetError> {
        if json.len() > MAX_KEY_SET_BYTES {
            return Err(KeySetError::TooLarge);
        }
        let set = Object::parse(json).map_err(KeySetError::Json)?;
        let entries: Vec<&RawValue> = set.read("keys").ok().flatten().ok_or(KeySetError::NoKeys)?;
        if entries.len() > MAX_KEYS {
            return Err(KeySetError::TooMany);
        }
        let (mut keys, mut skipped) = (Vec::new(), Vec::new());
        for (index, entry) in entries.into_iter().enumerate() {
            let jwk = Object::of_checked(entry).ok_or(KeySetError::NoKeys)?;
            match key(&jwk) {
                Ok(key) => keys.push((index, key)),
                Err((kid, why)) => skipped.push(Skipped { index, kid, why }),
            }
        }
        let set = Self::of(keys, skipped);
        if set.keys.is_empty() { Err(KeySetError::NoUsableKey(set.skipped)) } else { Ok(set) }
    }

    fn of(keys: Vec<(usize, Key)>, mut skipped: Vec<Skipped>) -> Self {
        let clashes = |left: &Key, right: &Key| {
            let shared = |algorithm: &Algorithm| left.is_for(*algorithm) && right.is_for(*algorithm);
            left.kid.is_some() && left.kid == right.kid && Algorithm::ALL.iter().any(shared)
        };
        let ambiguous: Vec<bool> = keys
            .iter()
            .map(|(index, key)| keys.iter().any(|(other, twin)| other != index && clashes(key, twin)))
            .collect();
        let mut used = Vec::with_capacity(keys.len());
        for ((index, key), ambiguous) in keys.into_iter().zip(ambiguous) {
            if ambiguous {
                skipped.push(Skipped { index, kid: key.kid, why: Unusable::DuplicateKeyId });
            } else {
                used.push(key);
            }
        }
        skipped.sort_unstable_by_key(|skipped| skipped.index);
        Self { keys: used, skipped }
    }

    /// The keys.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// The keys that are left out, in the order of the set.
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }
}

fn key(jwk: &Object<'_>) -> Result<Key, (Option<String>, Unusable)> {
    let kid = match jwk.read::<String>("kid") {
        Ok(kid) if kid.as_deref().is_none_or(is_key_id) => kid,
        _ => return Err((None, Unusable::Malformed("kid"))),
    };
    let usable = || {
        check_use(jwk)?;
        let algorithm = match text(jwk, "alg")? {
            None => None,
            Some(name) => Some(Algorithm::from_name(&name).ok_or(Unusable::Algorithm)?),
        };
        Ok((algorithm, public_key(jwk)?))
    };
    let (algorithm, material) = usable().map_err(|why| (kid.clone(), why))?;
    let key = Key { kid, algorithm, material };
    if Algorithm::ALL.into_iter().any(|algorithm| key.is_for(algorithm)) {
        return Ok(key);
    }
    Err((key.kid, Unusable::Algorithm))
}

/// RFC 7517, sections 4.2 and 4.3.
fn check_use(jwk: &Object<'_>) -> Result<(), Unusable> {
    if text(jwk, "use")?.is_some_and(|usage| usage != "sig") {
        return Err(Unusable::Use);
    }
    let operations: Option<Vec<String>> = jwk.read("key_ops").map_err(|_| Unusable::Malformed("key_ops"))?;
    match operations {
        Some(operations) if !operations.iter().any(|operation| operation == "verify") => Err(Unusable::Use),
        _ => Ok(()),
    }
}

fn public_key(jwk: &Object<'_>) -> Result<Material, Unusable> {
    let kty = text(jwk, "kty")?.ok_or(Unusable::Malformed("kty"))?;
    if kty == "oct" || jwk.get("d").is_some() {
        return Err(Unusable::Secret);
    }
    match (kty.as_str(), text(jwk, "crv")?.as_deref()) {
        ("RSA", _) => rsa_key(jwk),
        ("EC", Some("P-256")) => p256::ecdsa::VerifyingKey::from_sec1_bytes(&point(jwk, 32)?)
            .map(|key| Material::P256(Box::new(key)))
            .map_err(|_| Unusable::Point),
        ("EC", Some("P-384")) => p384::ecdsa::VerifyingKey::from_sec1_bytes(&point(jwk, 48)?)
            .map(|key| Material::P384(Box::new(key)))
            .map_err(|_| Unusable::Point),
        ("EC", Some("P-521")) => p521::ecdsa::VerifyingKey::from_sec1_bytes(&point(jwk, 66)?)
            .map(|key| Material::P521(Box::new(key)))
            .map_err(|_| Unusable::Point),
        ("OKP", Some("Ed25519")) => ed25519_key(jwk),
        _ => Err(Unusable::KeyType),
    }
}

fn rsa_key(jwk: &Object<'_>) -> Result<Material, Unusable> {
    let (modulus, exponent) = (bytes(jwk, "n")?, bytes(jwk, "e")?);
    // Before anything is computed with them; the exact bounds are checked below.
    if modulus.len() > RSA_BITS.end() / 8 + 1 || exponent.len() > 8 {
        return Err(Unusable::Size);
    }
    if has_roca_fingerprint(&modulus) {
        return Err(Unusable::Weak);
    }
    let (modulus, exponent) =
        (BoxedUint::from_be_slice_vartime(&modulus), BoxedUint::from_be_slice_vartime(&exponent));
    // Even moduli and exponents, an exponent of 1 and one above 2^33 are refused by the crate.
    rsa::PublicKey::new_with_size_limits(modulus, exponent, RSA_BITS)
        .map(|key| Material::Rsa(Box::new(key)))
        .map_err(|_| Unusable::Size)
}

/// Whether a modulus looks as if made by the library of CVE-2017-15361, whose private keys can be computed: modulo each
/// of these primes it is a power of 65537. One other modulus in some hundred million does as well.
fn has_roca_fingerprint(modulus: &[u8]) -> bool {
    const PRIMES: [u32; 17] = [11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157];
    PRIMES.iter().all(|prime| {
        let residue = modulus.iter().fold(0, |residue, byte| (residue * 256 + u32::from(*byte)) % prime);
        let next = |power: &u32| Some(power * 65537 % prime);
        std::iter::successors(Some(1), next).take(*prime as usize).any(|power| power == residue)
    })
}

fn ed25519_key(jwk: &Object<'_>) -> Result<Material, Unusable> {
    let x: [u8; 32] = bytes(jwk, "x")?.try_into().map_err(|_| Unusable::Malformed("x"))?;
    match ed25519_dalek::VerifyingKey::from_bytes(&x) {
        Ok(key) if !key.is_weak() => Ok(Material::Ed25519(Box::new(key))),
        _ => Err(Unusable::Point),
    }
}

/// A point of a curve, uncompressed (SEC 1, section 2.3.3). Coordinates have their full length (RFC 7518, section
/// 6.2.1.2).
fn point(jwk: &Object<'_>, length: usize) -> Result<Vec<u8>, Unusable> {
    let mut point = vec![4];
    for name in ["x", "y"] {
        let coordinate = bytes(jwk, name)?;
        if coordinate.len() != length {
            return Err(Unusable::Malformed(name));
        }
        point.extend_from_slice(&coordinate);
    }
    Ok(point)
}

fn text(jwk: &Object<'_>, name: &'static str) -> Result<Option<String>, Unusable> {
    jwk.read(name).map_err(|_| Unusable::Malformed(name))
}

fn bytes(jwk: &Object<'_>, name: &'static str) -> Result<Vec<u8>, Unusable> {
    text(jwk, name)?.and_then(decode_base64url).ok_or(Unusable::Malformed(name))
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(member) => write!(f, "{member} is missing or malformed"),
            Self::KeyType => f.write_str("keys of this type (kty, crv) are not supported"),
            Self::Algorithm => f.write_str("alg is not supported, or does not fit the key"),
            Self::Use => f.write_str("use or key_ops reserve it for something else than verifying"),
            Self::Secret => f.write_str("it can also sign, which a published key must not"),
            Self::Size => f.write_str(
                "it has less than 2048 or more than 4096 bits, or its exponent is even or 1 or too large",
            ),
            Self::Point => f.write_str("it is not a point of the curve, or one of small order"),
            Self::Weak => f.write_str("its private key can be computed (ROCA, CVE-2017-15361)"),
            Self::DuplicateKeyId => f.write_str("another key of the set has the same kid"),
        }
    }
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "keys[{}]", self.index)?;
        if let Some(kid) = &self.kid {
            write!(f, " ({kid:?})")?;
        }
        write!(f, ": {}", self.why)
    }
}

impl fmt::Display for KeySetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge => write!(f, "the key set has more than {MAX_KEY_SET_BYTES} bytes"),
            Self::Json(flaw) => write!(f, "the key set is {flaw}"),
            Self::NoKeys => f.write_str("the key set has no array of keys"),
            Self::TooMany => write!(f, "the key set has more than {MAX_KEYS} keys"),
            Self::NoUsableKey(skipped) => {
                f.write_str("the key set has no key that can be used")?;
                for (index, skipped) in skipped.iter().take(MAX_REASONS).enumerate() {
                    write!(f, "{} {skipped}", if index == 0 { ":" } else { ";" })?;
                }
                match skipped.len().saturating_sub(MAX_REASONS) {
                    0 => Ok(()),
                    more => write!(f, "; and {more} more"),
                }
            }
        }
    }
}

impl std::error::Error for KeySetError {}
