//! JSON Web Tokens: signatures (RFC 7515), keys (RFC 7517), algorithms (RFC 7518, 8037) and claims (RFC 7519).
//!
//! Pure: bytes and the time in, a verdict out. Fetching keys, caching tokens and finding the credential in a request
//! belong to the caller. The primitives are RustCrypto's and dalek's; parsing and policy are here.
//!
//! ```
//! use std::time::Duration;
//! use wicketgate_envelope::timestamp::Timestamp;
//! use wicketgate_policy::jose::{Algorithm, Algorithms, KeySet, Rejected, Verifier};
//!
//! // Once per provider, when the document is compiled.
//! let verifier = Verifier {
//!     algorithms: Algorithms::from_iter([Algorithm::Es256, Algorithm::Rs256]),
//!     issuer: Some("https://idp.example/".to_owned()),
//!     audiences: vec!["orders".to_owned()],
//!     token_type: Some("at+jwt".to_owned()),
//!     leeway: Duration::from_secs(30),
//!     max_lifetime: Some(Duration::from_secs(3600)),
//!     ..Verifier::default()
//! };
//!
//! // Once per answer of the JWKS endpoint, or for keys that stand in the document.
//! let keys = KeySet::from_jwks(
//!     br#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "a",
//!                    "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#,
//! )?;
//!
//! // Once per request.
//! match verifier.verify(b"eyJhbGciOiJub25lIn0.e30.", &keys, Timestamp::from_millis(0)) {
//!     Ok(token) => println!("{:?} until {:?}", token.subject, token.expires),
//!     // The one rejection that newer keys can mend: fetch the set again, not more often than the floor allows.
//!     Err(Rejected::UnknownKey { .. }) => {}
//!     Err(rejected) => println!("{}: {rejected}", rejected.code()),
//! }
//! # Ok::<(), wicketgate_policy::jose::KeySetError>(())
//! ```
//!
//! * **Several providers in one `any_of`**: [`claimed_issuer`] reads `iss` without believing it, to find the provider
//!   that has to verify the token.
//! * **Cache of verified tokens**: [`VerifiedToken`] is cheap to clone; an entry ends at [`VerifiedToken::expires`]
//!   (which the leeway has to be added to), and when the provider's [`KeySet`] is no longer equal to the one that
//!   verified it. A token that is taken from a cache passes [`Verifier::still_valid`] again.
//! * **Shared secrets**: [`Key::secret`] makes a key for HS256, HS384 or HS512, [`KeySet::new`] a set of them.
//! * **OpenID discovery**: [`Discovery::parse`] checks the issuer and yields the address of the key set.
//! * **Authorisation**: [`claims::scopes`], [`claims::texts`] (groups) and [`claims::text`] (the consumer) read the
//!   verified claims.

mod algorithm;
pub mod claims;
mod discovery;
mod json;
mod jwk;
mod jws;
mod jwt;
mod key;
mod rejected;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use tests::mint as testing;

pub use algorithm::{Algorithm, Algorithms};
pub use discovery::{Discovery, DiscoveryError};
pub use json::Flaw;
pub use jwk::{KeySet, KeySetError, MAX_KEY_SET_BYTES, MAX_KEYS, Skipped, Unusable};
pub use jws::{MAX_KEY_ID_BYTES, MAX_KEYS_TRIED};
pub use jwt::{DEFAULT_MAX_TOKEN_BYTES, VerifiedToken, Verifier, claimed_issuer};
pub use key::{Key, ShortSecret};
pub use rejected::{Malformed, Rejected};

use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Base64url as RFC 7515 has it: no padding, no bits left over, no other characters; so each byte string has one
/// spelling.
const BASE64URL: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(false),
);

/// Decodes base64url without padding. `None` where the text is not the one spelling of its bytes.
pub fn decode_base64url(text: impl AsRef<[u8]>) -> Option<Vec<u8>> {
    base64::Engine::decode(&BASE64URL, text).ok()
}
