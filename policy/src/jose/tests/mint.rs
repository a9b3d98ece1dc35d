//! Tokens, made with keys that standards publish.

use base64::Engine as _;
use hmac::Hmac;
use p256::ecdsa::signature::Signer as _;
use sha2::{Digest as _, Sha256, Sha384, Sha512};

use super::super::{Algorithm, Key, KeySet, decode_base64url};

/// The RSA key of RFC 7520, section 3.4.
const RSA_N: &str = "n4EPtAOCc9AlkeQHPzHStgAbgs7bTZLwUBZdR8_KuKPEHLd4rHVTeT-O-XV2jRojdNhxJWTDvNd7nqQ0VEiZQHz_AJmSCpMaJMRBSFKrKb2wqVwGU_NsYOYL-QtiWN2lbzcEe6XC0dApr5ydQLrHqkHHig3RBordaZ6Aj-oBHqFEHYpPe7Tpe-OfVfHd1E6cS6M1FZcD1NNLYD5lFHpPI9bTwJlsde3uhGqC0ZCuEHg8lhzwOHrtIQbS0FVbb9k3-tVTU4fg_3L_vniUFAKwuCLqKnS2BYwdq_mzSnbLY7h_qixoR7jig3__kRhuaxwUkRz5iaiQkqgc5gHdrNP5zw";
const RSA_D: &str = "bWUC9B-EFRIo8kpGfh0ZuyGPvMNKvYWNtB_ikiH9k20eT-O1q_I78eiZkpXxXQ0UTEs2LsNRS-8uJbvQ-A1irkwMSMkK1J3XTGgdrhCku9gRldY7sNA_AKZGh-Q661_42rINLRCe8W-nZ34ui_qOfkLnK9QWDDqpaIsA-bMwWWSDFu2MUBYwkHTMEzLYGqOe04noqeq1hExBTHBOBdkMXiuFhUq1BU6l-DqEiWxqg82sXt2h-LMnT3046AOYJoRioz75tSUQfGCshWTBnP5uDjd18kKhyv07lhfSJdrPdM5Plyl21hsFf4L_mHCuoFau7gdsPfHPxxjVOcOpBrQzwQ";
const RSA_P: &str = "3Slxg_DwTXJcb6095RoXygQCAZ5RnAvZlno1yhHtnUex_fp7AZ_9nRaO7HX_-SFfGQeutao2TDjDAWU4Vupk8rw9JR0AzZ0N2fvuIAmr_WCsmGpeNqQnev1T7IyEsnh8UMt-n5CafhkikzhEsrmndH6LxOrvRJlsPp6Zv8bUq0k";
const RSA_Q: &str = "uKE2dh-cTf6ERF4k4e_jy78GfPYUIaUyoSSJuBzp3Cubk3OCqs6grT8bR_cu0Dm1MZwWmtdqDyI95HrUeq3MP15vMMON8lHTeZu2lmKvwqW7anV5UzhM1iZ7z4yMkuUwFWoBvyY898EXvRD-hdqRxHlSqAZ192zB3pVFJ0s7pFc";
/// The key of RFC 8037, appendix A.1.
const ED25519_D: &str = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";

pub(super) const SECRET: &[u8; 64] = b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

pub(super) fn base64url(bytes: &[u8]) -> String {
    super::super::BASE64URL.encode(bytes)
}

/// A token with this header and these claims, as text, signed with this algorithm whatever the header says.
pub(crate) fn mint(algorithm: Algorithm, header: &str, claims: impl AsRef<[u8]>) -> String {
    let signed = format!("{}.{}", base64url(header.as_bytes()), base64url(claims.as_ref()));
    let signature = sign(algorithm, signed.as_bytes());
    format!("{signed}.{}", base64url(&signature))
}

/// A token of this algorithm with these claims.
pub(super) fn mint_claims(algorithm: Algorithm, claims: impl AsRef<[u8]>) -> String {
    mint(algorithm, &format!(r#"{{"alg":"{algorithm}"}}"#), claims)
}

/// Every key that [`mint`] signs with, without names.
pub(super) fn keys() -> KeySet {
    KeySet::new(Algorithm::ALL.into_iter().fold(Vec::new(), |mut keys: Vec<Key>, algorithm| {
        if !keys.iter().any(|key| key.is_for(algorithm)) {
            keys.push(key(algorithm));
        }
        keys
    }))
}

/// The key that [`mint`] signs with.
pub(super) fn key(algorithm: Algorithm) -> Key {
    if algorithm.is_symmetric() {
        return Key::secret(None, SECRET, algorithm).unwrap();
    }
    KeySet::from_jwks(format!(r#"{{"keys":[{}]}}"#, jwk(algorithm, "")).as_bytes()).unwrap().keys()[0].clone()
}

/// The public key that [`mint`] signs with, as a JWK with further members.
pub(crate) fn jwk(algorithm: Algorithm, further: &str) -> String {
    let comma = if further.is_empty() { "" } else { "," };
    let point = |crv: &str, point: &[u8]| {
        let (x, y) = point[1..].split_at(point.len() / 2);
        format!(
            r#"{{"kty":"EC","crv":"{crv}","x":"{}","y":"{}"{comma}{further}}}"#,
            base64url(x),
            base64url(y)
        )
    };
    match algorithm {
        Algorithm::Es256 => point("P-256", p256_key().verifying_key().to_sec1_point(false).as_bytes()),
        Algorithm::Es384 => point("P-384", p384_key().verifying_key().to_sec1_point(false).as_bytes()),
        Algorithm::Es512 => point("P-521", p521_key().verifying_key().to_sec1_point(false).as_bytes()),
        Algorithm::EdDsa => format!(
            r#"{{"kty":"OKP","crv":"Ed25519","x":"{}"{comma}{further}}}"#,
            base64url(ed25519_key().verifying_key().as_bytes())
        ),
        _ => format!(r#"{{"kty":"RSA","n":"{RSA_N}","e":"AQAB"{comma}{further}}}"#),
    }
}

fn number(text: &str) -> rsa::BoxedUint {
    rsa::BoxedUint::from_be_slice_vartime(&decode_base64url(text).unwrap())
}

/// Made once: the crate looks whether the primes are some.
fn rsa_key() -> &'static rsa::PrivateKey {
    static KEY: std::sync::OnceLock<rsa::PrivateKey> = std::sync::OnceLock::new();
    KEY.get_or_init(|| {
        let primes = vec![number(RSA_P), number(RSA_Q)];
        rsa::PrivateKey::from_components(number(RSA_N), number("AQAB"), number(RSA_D), primes).unwrap()
    })
}

pub(super) fn p256_key() -> p256::ecdsa::SigningKey {
    p256::ecdsa::SigningKey::from_slice(&[7; 32]).unwrap()
}

fn p384_key() -> p384::ecdsa::SigningKey {
    p384::ecdsa::SigningKey::from_slice(&[7; 48]).unwrap()
}

fn p521_key() -> p521::ecdsa::SigningKey {
    let mut scalar = [7; 66];
    scalar[0] = 0;
    p521::ecdsa::SigningKey::from_slice(&scalar).unwrap()
}

fn ed25519_key() -> ed25519_dalek::SigningKey {
    ed25519_dalek::SigningKey::from_bytes(&decode_base64url(ED25519_D).unwrap().try_into().unwrap())
}

/// As random as tests need it: the hashes of the numbers from 0 on.
struct Hashes(u64);

impl rsa::rand_core::TryRng for Hashes {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        rsa::rand_core::utils::next_word_via_fill(self)
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        rsa::rand_core::utils::next_word_via_fill(self)
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
        for chunk in bytes.chunks_mut(32) {
            self.0 += 1;
            chunk.copy_from_slice(&Sha256::digest(self.0.to_be_bytes())[..chunk.len()]);
        }
        Ok(())
    }
}

impl rsa::rand_core::TryCryptoRng for Hashes {}

pub(super) fn sign(algorithm: Algorithm, message: &[u8]) -> Vec<u8> {
    let random = &mut Hashes(0);
    match algorithm {
        Algorithm::Hs256 => mac::<Hmac<Sha256>>(SECRET, message),
        Algorithm::Hs384 => mac::<Hmac<Sha384>>(SECRET, message),
        Algorithm::Hs512 => mac::<Hmac<Sha512>>(SECRET, message),
        Algorithm::Rs256 => rsa_key().pkcs1v15_sign::<Sha256>(message).unwrap(),
        Algorithm::Rs384 => rsa_key().pkcs1v15_sign::<Sha384>(message).unwrap(),
        Algorithm::Rs512 => rsa_key().pkcs1v15_sign::<Sha512>(message).unwrap(),
        Algorithm::Ps256 => rsa_key().pss_sign_with_rng::<Sha256, _>(random, message).unwrap(),
        Algorithm::Ps384 => rsa_key().pss_sign_with_rng::<Sha384, _>(random, message).unwrap(),
        Algorithm::Ps512 => rsa_key().pss_sign_with_rng::<Sha512, _>(random, message).unwrap(),
        Algorithm::Es256 => {
            let signature: p256::ecdsa::Signature = p256_key().sign(message);
            signature.to_bytes().to_vec()
        }
        Algorithm::Es384 => {
            let signature: p384::ecdsa::Signature = p384_key().sign(message);
            signature.to_bytes().to_vec()
        }
        Algorithm::Es512 => {
            let signature: p521::ecdsa::Signature = p521_key().sign(message);
            signature.to_bytes().to_vec()
        }
        Algorithm::EdDsa => ed25519_key().sign(message).to_bytes().to_vec(),
    }
}

/// The code of a message under any secret.
pub(super) fn mac<M: hmac::Mac + hmac::KeyInit>(secret: &[u8], message: &[u8]) -> Vec<u8> {
    <M as hmac::KeyInit>::new_from_slice(secret)
        .unwrap()
        .chain_update(message)
        .finalize()
        .into_bytes()
        .to_vec()
}
