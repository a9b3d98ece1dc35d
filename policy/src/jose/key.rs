//! Keys that verify signatures.

use std::fmt;

use hmac::Hmac;
use p256::ecdsa::signature::Verifier as _;
use sha2::{Sha256, Sha384, Sha512};
use subtle::ConstantTimeEq as _;

use super::Algorithm;

/// A key, and what it may be used for.
#[derive(Clone, PartialEq)]
pub struct Key {
    pub(super) kid: Option<String>,
    /// The only algorithm that it is for. `None`: any of its kind.
    pub(super) algorithm: Option<Algorithm>,
    pub(super) material: Material,
}

/// A secret is shorter than the hash of its algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShortSecret {
    /// The fewest bytes.
    pub min_bytes: usize,
}

impl fmt::Display for ShortSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "wanted a secret of at least {} bytes, got a shorter one", self.min_bytes)
    }
}

impl std::error::Error for ShortSecret {}

#[derive(Clone, PartialEq)]
pub(super) enum Material {
    Rsa(Box<rsa::PublicKey>),
    P256(Box<p256::ecdsa::VerifyingKey>),
    P384(Box<p384::ecdsa::VerifyingKey>),
    P521(Box<p521::ecdsa::VerifyingKey>),
    Ed25519(Box<ed25519_dalek::VerifyingKey>),
    Secret(Secret),
}

/// Bytes that both sides know. Compared in constant time, never shown.
#[derive(Clone)]
pub(super) struct Secret(Box<[u8]>);

impl Secret {
    pub(super) fn new(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Key {
    /// Makes a key from a secret for one algorithm, and under one name if tokens carry it as `kid`.
    ///
    /// # Errors
    /// [`ShortSecret`] where the secret is shorter than the hash (RFC 7518, section 3.2). An algorithm with public keys
    /// has no secret that would be long enough.
    pub fn secret(kid: Option<String>, secret: &[u8], algorithm: Algorithm) -> Result<Self, ShortSecret> {
        let min_bytes = algorithm.min_secret_bytes().unwrap_or(usize::MAX);
        if secret.len() < min_bytes {
            return Err(ShortSecret { min_bytes });
        }
        Ok(Self { kid, algorithm: Some(algorithm), material: Material::Secret(Secret::new(secret)) })
    }

    /// The name of the key.
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// Whether the key is for signatures of this algorithm.
    pub fn is_for(&self, algorithm: Algorithm) -> bool {
        self.algorithm.is_none_or(|only| only == algorithm) && self.material.suits(algorithm)
    }

    /// Whether the signature is of this message. Never where the key is for another algorithm.
    pub(super) fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        self.is_for(algorithm) && self.material.verifies(algorithm, message, signature)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.material {
            Material::Rsa(_) => "RSA",
            Material::P256(_) => "P-256",
            Material::P384(_) => "P-384",
            Material::P521(_) => "P-521",
            Material::Ed25519(_) => "Ed25519",
            Material::Secret(_) => "secret (not shown)",
        };
        f.debug_struct("Key")
            .field("kid", &self.kid)
            .field("algorithm", &self.algorithm)
            .field("kind", &kind)
            .finish()
    }
}

impl Material {
    fn suits(&self, algorithm: Algorithm) -> bool {
        use Algorithm::{EdDsa, Es256, Es384, Es512, Ps256, Ps384, Ps512, Rs256, Rs384, Rs512};
        match self {
            Self::Rsa(_) => matches!(algorithm, Rs256 | Rs384 | Rs512 | Ps256 | Ps384 | Ps512),
            Self::P256(_) => algorithm == Es256,
            Self::P384(_) => algorithm == Es384,
            Self::P521(_) => algorithm == Es512,
            Self::Ed25519(_) => algorithm == EdDsa,
            Self::Secret(secret) => algorithm.min_secret_bytes().is_some_and(|min| secret.len() >= min),
        }
    }

    fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        match (self, algorithm) {
            (Self::Rsa(key), Algorithm::Rs256) => key.pkcs1v15_verify::<Sha256>(message, signature).is_ok(),
            (Self::Rsa(key), Algorithm::Rs384) => key.pkcs1v15_verify::<Sha384>(message, signature).is_ok(),
            (Self::Rsa(key), Algorithm::Rs512) => key.pkcs1v15_verify::<Sha512>(message, signature).is_ok(),
            // The salt is as long as the hash (RFC 7518, section 3.5).
            (Self::Rsa(key), Algorithm::Ps256) => key.pss_verify::<Sha256>(message, signature).is_ok(),
            (Self::Rsa(key), Algorithm::Ps384) => key.pss_verify::<Sha384>(message, signature).is_ok(),
            (Self::Rsa(key), Algorithm::Ps512) => key.pss_verify::<Sha512>(message, signature).is_ok(),
            // r and s, each as long as the order of the curve, neither 0 nor as large as the order.
            (Self::P256(key), Algorithm::Es256) => p256::ecdsa::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify(message, &signature).is_ok()),
            (Self::P384(key), Algorithm::Es384) => p384::ecdsa::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify(message, &signature).is_ok()),
            (Self::P521(key), Algorithm::Es512) => p521::ecdsa::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify(message, &signature).is_ok()),
            // Strict: no key and no R of small order, nothing that is not canonical.
            (Self::Ed25519(key), Algorithm::EdDsa) => ed25519_dalek::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_strict(message, &signature).is_ok()),
            (Self::Secret(secret), Algorithm::Hs256) => hmac::<Hmac<Sha256>>(secret, message, signature),
            (Self::Secret(secret), Algorithm::Hs384) => hmac::<Hmac<Sha384>>(secret, message, signature),
            (Self::Secret(secret), Algorithm::Hs512) => hmac::<Hmac<Sha512>>(secret, message, signature),
            _ => false,
        }
    }
}

/// Compares in constant time, and only codes of full length.
fn hmac<M: hmac::Mac + hmac::KeyInit>(secret: &Secret, message: &[u8], code: &[u8]) -> bool {
    <M as hmac::KeyInit>::new_from_slice(&secret.0)
        .is_ok_and(|mac| mac.chain_update(message).verify_slice(code).is_ok())
}
