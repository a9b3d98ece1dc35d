//! Tests of the whole: published vectors, attacks, and Wycheproof's.

mod attacks;
mod key_sets;
pub(crate) mod mint;
mod times;
mod vectors;
#[cfg(not(target_family = "wasm"))]
mod wycheproof;

use super::jws::Unverified;
use super::{Algorithm, Algorithms, Key, KeySet, Rejected, decode_base64url};

fn all_algorithms() -> Algorithms {
    Algorithm::ALL.into_iter().collect()
}

/// What a signed text says; any text, not only claims.
fn payload(token: &str, keys: &KeySet) -> Result<Vec<u8>, Rejected> {
    Unverified::parse(token.as_bytes())?.verify(all_algorithms(), keys)
}

/// A set of one key. A secret (`kty` is `oct`) is one for HS256 if it does not say otherwise.
fn set_of(jwk: &str) -> KeySet {
    let value: serde_json::Value = serde_json::from_str(jwk).unwrap();
    if value["kty"] == "oct" {
        return KeySet::new(vec![secret_of(&value).unwrap()]);
    }
    KeySet::from_jwks(format!(r#"{{"keys": [{jwk}]}}"#).as_bytes()).unwrap()
}

/// A secret that is written as a JWK, as documents do not write it.
fn secret_of(jwk: &serde_json::Value) -> Option<Key> {
    let text = |name: &str| jwk[name].as_str();
    let algorithm = Algorithm::from_name(text("alg").unwrap_or("HS256"))?;
    Key::secret(text("kid").map(str::to_owned), &decode_base64url(text("k")?)?, algorithm).ok()
}
