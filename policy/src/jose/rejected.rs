//! Why a token is rejected.

use std::fmt;

use super::json::Flaw;
use super::{MAX_KEY_ID_BYTES, MAX_KEYS_TRIED};

/// Why a token is rejected: for `explain`, metrics and logs. It holds nothing of the token but the identifier of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejected {
    /// Longer than the verifier takes; nothing of it was decoded.
    TooLarge,
    /// Not a JWT in compact serialisation.
    Malformed(Malformed),
    /// An `alg` that the verifier does not take, or that nobody here knows.
    UnsupportedAlgorithm,
    /// An extension that the header requires (`crit`) or that changes what is signed (`b64`).
    UnsupportedExtension,
    /// No key of the set can have signed it. A newer set may have one.
    UnknownKey {
        /// The key that the header names: at most [`MAX_KEY_ID_BYTES`] bytes, without control characters.
        kid: Option<String>,
    },
    /// The key that the header names is for another algorithm.
    WrongKey,
    /// More than [`MAX_KEYS_TRIED`] keys could have signed it, and the header names none.
    AmbiguousKey,
    /// The signature is not of this text by that key.
    BadSignature,
    /// A claim that has to be there is missing.
    MissingClaim(&'static str),
    /// A registered claim has a value that it must not have.
    InvalidClaim(&'static str),
    /// `typ` is not what the verifier takes.
    WrongType,
    /// `iss` is not the issuer.
    WrongIssuer,
    /// `aud` has none of the audiences.
    WrongAudience,
    /// `exp` has passed.
    Expired,
    /// `nbf` or `iat` is in the future.
    NotYetValid,
    /// It lives longer than the verifier takes.
    LivesTooLong,
}

/// What is wrong with the form of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// Not three parts with dots between them. An encrypted token (JWE) has five.
    Parts,
    /// The header is not base64url without padding.
    HeaderEncoding,
    /// The header is not an object that every reader reads the same.
    Header(Flaw),
    /// A header parameter that has a value it must not have.
    Parameter(&'static str),
    /// The signature is not base64url without padding.
    SignatureEncoding,
    /// The claims are not base64url without padding.
    ClaimsEncoding,
    /// The claims are not an object that every reader reads the same.
    Claims(Flaw),
}

impl Rejected {
    /// The reason as a word, for metrics.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLarge => "too_large",
            Self::Malformed(_) => "malformed",
            Self::UnsupportedAlgorithm => "unsupported_algorithm",
            Self::UnsupportedExtension => "unsupported_extension",
            Self::UnknownKey { .. } => "unknown_key",
            Self::WrongKey => "wrong_key",
            Self::AmbiguousKey => "ambiguous_key",
            Self::BadSignature => "bad_signature",
            Self::MissingClaim(_) => "missing_claim",
            Self::InvalidClaim(_) => "invalid_claim",
            Self::WrongType => "wrong_type",
            Self::WrongIssuer => "wrong_issuer",
            Self::WrongAudience => "wrong_audience",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::LivesTooLong => "lives_too_long",
        }
    }
}

impl From<Malformed> for Rejected {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge => f.write_str("the token is too long"),
            Self::Malformed(malformed) => malformed.fmt(f),
            Self::UnsupportedAlgorithm => {
                f.write_str("the algorithm (alg) is none of those that are allowed")
            }
            Self::UnsupportedExtension => {
                f.write_str("the header requires an extension that is not supported (crit, b64)")
            }
            Self::UnknownKey { kid: Some(kid) } => write!(f, "there is no key {kid:?}"),
            Self::UnknownKey { kid: None } => f.write_str("there is no key for the algorithm"),
            Self::WrongKey => f.write_str("the key (kid) is for another algorithm"),
            Self::AmbiguousKey => {
                write!(f, "the header names no key (kid), and more than {MAX_KEYS_TRIED} keys are possible")
            }
            Self::BadSignature => f.write_str("the signature is wrong"),
            Self::MissingClaim(claim) => write!(f, "the claim {claim} is missing"),
            Self::InvalidClaim(claim) => write!(f, "the claim {claim} has an invalid value"),
            Self::WrongType => f.write_str("the type (typ) is another one"),
            Self::WrongIssuer => f.write_str("the issuer (iss) is another one"),
            Self::WrongAudience => f.write_str("the audience (aud) is another one"),
            Self::Expired => f.write_str("the token has expired (exp)"),
            Self::NotYetValid => f.write_str("the token is not valid yet (nbf, iat)"),
            Self::LivesTooLong => f.write_str("the token lives longer than is allowed (exp, iat)"),
        }
    }
}

impl std::error::Error for Rejected {}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Parts => f.write_str("the token is not three parts with dots between them"),
            Self::HeaderEncoding => f.write_str("the header is not base64url without padding"),
            Self::Header(flaw) => write!(f, "the header is {flaw}"),
            Self::Parameter("kid") => {
                write!(f, "kid is not text of at most {MAX_KEY_ID_BYTES} bytes without control characters")
            }
            Self::Parameter(name) => write!(f, "{name} is missing in the header, or is not text"),
            Self::SignatureEncoding => f.write_str("the signature is not base64url without padding"),
            Self::ClaimsEncoding => f.write_str("the claims are not base64url without padding"),
            Self::Claims(flaw) => write!(f, "the claims are {flaw}"),
        }
    }
}
