//! What signs: a secret that both sides know, or the public half of a key pair.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, VerifyingKey};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq as _};

/// The most keys of a webhook: one secret and its successor, of each kind.
pub const MAX_KEYS: usize = 4;

/// The fewest bytes of a secret. Every provider's are longer.
pub const MIN_SECRET_BYTES: usize = 16;

/// How a secret is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyForm {
    /// The text is the secret.
    Text,
    /// Base64, with or without `whsec_` before it; behind `whpk_` it is an Ed25519 public key (Standard Webhooks).
    StandardWebhooks,
}

/// A key. It never shows what it holds.
#[derive(Clone)]
pub struct Key(Kind);

#[derive(Clone)]
enum Kind {
    Hmac(Box<Hmac<Sha256>>),
    Ed25519(Box<VerifyingKey>),
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(not shown)")
    }
}

/// What may be a right signature.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    pub(super) hmac: Vec<[u8; 32]>,
    pub(super) ed25519: Vec<Signature>,
}

impl Candidates {
    pub(super) fn len(&self) -> usize {
        self.hmac.len() + self.ed25519.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What is signed, in two parts, so that a body need not be copied.
pub(super) struct Signed<'a> {
    pub(super) before: &'a [u8],
    pub(super) body: &'a [u8],
}

impl Key {
    /// Reads a secret or a public key.
    ///
    /// # Errors
    /// What was wanted, in words. The secret is not in it.
    pub fn parse(text: &str, form: KeyForm) -> Result<Self, String> {
        match form {
            KeyForm::Text => Self::hmac(text.as_bytes()),
            KeyForm::StandardWebhooks => match text.strip_prefix("whpk_") {
                Some(key) => Self::ed25519(key),
                None => {
                    let secret = text.strip_prefix("whsec_").unwrap_or(text);
                    let wanted =
                        |_| "base64, with or without whsec_ before it, or whpk_ and base64".to_owned();
                    Self::hmac(&STANDARD.decode(secret).map_err(wanted)?)
                }
            },
        }
    }

    fn hmac(secret: &[u8]) -> Result<Self, String> {
        let mac = Hmac::new_from_slice(secret).ok().filter(|_| secret.len() >= MIN_SECRET_BYTES);
        let mac = mac.ok_or_else(|| format!("a secret of at least {MIN_SECRET_BYTES} bytes"))?;
        Ok(Self(Kind::Hmac(Box::new(mac))))
    }

    fn ed25519(base64: &str) -> Result<Self, String> {
        let bytes: Option<[u8; 32]> = STANDARD.decode(base64).ok().and_then(|bytes| bytes.try_into().ok());
        let key = bytes.and_then(|bytes| VerifyingKey::from_bytes(&bytes).ok());
        // Anybody can sign for a key of small order.
        let key = key.filter(|key| !key.is_weak());
        key.map(|key| Self(Kind::Ed25519(Box::new(key))))
            .ok_or_else(|| "the base64 of an Ed25519 public key behind whpk_".to_owned())
    }

    /// Whether one of the candidates is this key's. The message code is made once, however many candidates there are,
    /// and compared with each of them in constant time.
    pub(super) fn signed(&self, signed: &Signed<'_>, candidates: &Candidates) -> bool {
        match &self.0 {
            Kind::Hmac(_) if candidates.hmac.is_empty() => false,
            Kind::Hmac(mac) => {
                let mac = (**mac).clone().chain_update(signed.before).chain_update(signed.body);
                let mac = mac.finalize().into_bytes();
                let right = candidates.hmac.iter().map(|candidate| candidate.ct_eq(&mac));
                right.fold(Choice::from(0), |any, one| any | one).into()
            }
            Kind::Ed25519(key) => candidates.ed25519.iter().any(|candidate| {
                let Ok(mut verifier) = key.verify_stream(candidate) else { return false };
                verifier.update(signed.before);
                verifier.update(signed.body);
                verifier.finalize_and_verify().is_ok()
            }),
        }
    }
}
