//! Signs calls to kafka-bridge, so that it can tell the gateway's from anybody else's.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest as _, Sha256};
use wicketgate_envelope::signature::{Signature, Signed};

use crate::env::{Env, fresh_id};

/// A secret that the gateway shares with kafka-bridge.
#[derive(Clone)]
pub struct SigningKey(Hmac<Sha256>);

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningKey(not shown)")
    }
}

impl SigningKey {
    /// The fewest characters of a secret.
    pub const MIN_LENGTH: usize = 32;

    /// Takes a secret as both sides write it: visible ASCII, at least [`Self::MIN_LENGTH`] characters. `None` for
    /// anything else.
    pub fn new(secret: &str) -> Option<Self> {
        let legal = secret.len() >= Self::MIN_LENGTH && secret.bytes().all(|byte| byte.is_ascii_graphic());
        Hmac::new_from_slice(secret.as_bytes()).ok().filter(|_| legal).map(Self)
    }

    /// For other uses of the key.
    pub(crate) fn mac(&self) -> Hmac<Sha256> {
        self.0.clone()
    }

    /// The value of `wicketgate-signature` for a call. It is good once, and for a minute.
    pub fn sign(&self, method: &str, path: &str, body: &[u8], env: &mut dyn Env) -> String {
        let (timestamp, nonce) = (env.now().as_millis(), fresh_id(env));
        let body_sha256 = Sha256::digest(body).into();
        let signed = Signed { timestamp, nonce: &nonce, method, path, body_sha256 };
        let mac = self.0.clone().chain_update(signed.to_string()).finalize().into_bytes().into();
        Signature { timestamp, nonce: &nonce, mac }.to_string()
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::env::testing::TestEnv;

    /// Compared with `printf 'v1\n…' | openssl dgst -sha256 -hmac 0123456789abcdef0123456789abcdef`.
    #[test]
    fn a_signature_is_what_openssl_makes_of_the_same() {
        let key = SigningKey::new("0123456789abcdef0123456789abcdef").unwrap();
        assert_eq!(
            key.sign("POST", "/v1/records", b"{}", &mut TestEnv::default()),
            "t=1795353386123,n=01a20366-9c8b-7101-8101-010101010101,v1=a238a9830aa7aa8a252a181dd9eaaa66c54cd503022daaa5f719b1bcdee9ba0a"
        );
    }

    #[test]
    fn a_secret_has_to_be_one() {
        for secret in ["", "short", &"x".repeat(31), &format!("{} ", "x".repeat(32)), &"é".repeat(32)] {
            assert!(SigningKey::new(secret).is_none(), "{secret}");
        }
        assert!(!format!("{:?}", SigningKey::new(&"x".repeat(32))).contains("xxx"));
    }
}
