//! Signed texts in compact serialisation (RFC 7515).

use super::json::Object;
use super::{Algorithm, Algorithms, Key, KeySet, Malformed, Rejected, decode_base64url};

/// The most bytes of a key's name.
pub const MAX_KEY_ID_BYTES: usize = 256;

/// The most keys that a signature is tried with.
pub const MAX_KEYS_TRIED: usize = 4;

/// A token taken apart, and not believed yet.
#[derive(Debug)]
pub(super) struct Unverified<'t> {
    pub(super) header: Header,
    /// What the signature is of.
    signed: &'t [u8],
    payload: &'t [u8],
    signature: Vec<u8>,
}

/// What counts of a header. `jku`, `jwk`, `x5u` and `x5c` say where to find a key; no key is ever taken from a token.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) algorithm: Algorithm,
    pub(super) kid: Option<String>,
    pub(super) token_type: Option<String>,
}

impl<'t> Unverified<'t> {
    /// Takes a token apart.
    pub(super) fn parse(token: &'t [u8]) -> Result<Self, Rejected> {
        let mut parts = token.split(|&byte| byte == b'.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Malformed::Parts.into());
        };
        let signed = token.get(..header.len() + 1 + payload.len()).unwrap_or_default();
        let header = Header::parse(&decode_base64url(header).ok_or(Malformed::HeaderEncoding)?)?;
        let signature = decode_base64url(signature).ok_or(Malformed::SignatureEncoding)?;
        Ok(Self { header, signed, payload, signature })
    }

    /// What the token says, if a key of the set has signed it with one of these algorithms.
    pub(super) fn verify(&self, algorithms: Algorithms, keys: &KeySet) -> Result<Vec<u8>, Rejected> {
        let algorithm = self.header.algorithm;
        if !algorithms.contains(algorithm) {
            return Err(Rejected::UnsupportedAlgorithm);
        }
        let candidates = candidates(keys.keys(), algorithm, self.header.kid.as_deref())?;
        if !candidates.iter().any(|key| key.verifies(algorithm, self.signed, &self.signature)) {
            return Err(Rejected::BadSignature);
        }
        self.payload()
    }

    /// What the token says, whoever has signed it.
    pub(super) fn payload(&self) -> Result<Vec<u8>, Rejected> {
        decode_base64url(self.payload).ok_or_else(|| Malformed::ClaimsEncoding.into())
    }
}

/// The keys that can have made the signature: the one that is named, or else those without a name; all for a token
/// that names none.
fn candidates<'k>(
    keys: &'k [Key],
    algorithm: Algorithm,
    kid: Option<&str>,
) -> Result<Vec<&'k Key>, Rejected> {
    let named = |key: &&Key| kid.is_some() && key.kid() == kid;
    let mut possible: Vec<&Key> = keys.iter().filter(|key| key.is_for(algorithm)).collect();
    if kid.is_some() {
        if possible.iter().any(named) {
            possible.retain(named);
        } else if keys.iter().any(|key| named(&key)) {
            return Err(Rejected::WrongKey);
        } else {
            possible.retain(|key| key.kid().is_none());
        }
    }
    match possible.len() {
        0 => Err(Rejected::UnknownKey { kid: kid.map(str::to_owned) }),
        1..=MAX_KEYS_TRIED => Ok(possible),
        _ => Err(Rejected::AmbiguousKey),
    }
}

impl Header {
    fn parse(json: &[u8]) -> Result<Self, Rejected> {
        let header = Object::parse(json).map_err(Malformed::Header)?;
        let text = |name: &'static str| header.read::<String>(name).map_err(|_| Malformed::Parameter(name));
        // Whoever sets `crit` wants it obeyed or the token refused (RFC 7515, section 4.1.11). `b64` has no place in a
        // JWT (RFC 7797, section 7).
        if header.get("crit").is_some() || header.get("b64").is_some() {
            return Err(Rejected::UnsupportedExtension);
        }
        let algorithm = text("alg")?.ok_or(Malformed::Parameter("alg"))?;
        let kid = text("kid")?;
        if kid.as_deref().is_some_and(|kid| !is_key_id(kid)) {
            return Err(Malformed::Parameter("kid").into());
        }
        let token_type = text("typ")?;
        let algorithm = Algorithm::from_name(&algorithm).ok_or(Rejected::UnsupportedAlgorithm)?;
        Ok(Self { algorithm, kid, token_type })
    }
}

/// Whether a text can be the name of a key.
pub(super) fn is_key_id(kid: &str) -> bool {
    (1..=MAX_KEY_ID_BYTES).contains(&kid.len()) && !kid.contains(char::is_control)
}
