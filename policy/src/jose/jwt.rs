//! Tokens with claims (RFC 7519).

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;
use wicketgate_envelope::timestamp::Timestamp;

use super::json::Object;
use super::jws::Unverified;
use super::{Algorithm, Algorithms, KeySet, Malformed, Rejected};
use crate::claims::Claims;

/// The most bytes of a token, unless a verifier says otherwise.
pub const DEFAULT_MAX_TOKEN_BYTES: usize = 8 * 1024;

/// The last second that a claim can name: the end of the year 9999.
const MAX_NUMERIC_DATE: f64 = 253_402_300_799.0;

/// What a token has to be.
#[derive(Clone, Debug)]
pub struct Verifier {
    /// The algorithms that it may be signed with. The token only chooses among them.
    pub algorithms: Algorithms,
    /// What `iss` has to be, byte for byte. `None`: not checked.
    pub issuer: Option<String>,
    /// The values of which `aud` has to have one. Empty: not checked.
    pub audiences: Vec<String>,
    /// What `typ` has to be, as a media type: in any case, with or without `application/`. `None`: not checked.
    pub token_type: Option<String>,
    /// How far the clocks of issuer and gateway may be apart.
    pub leeway: Duration,
    /// The longest that it may live: from `iat` on, and from now on. It then needs `exp`.
    pub max_lifetime: Option<Duration>,
    /// Whether `exp` has to be there.
    pub require_expiry: bool,
    /// The most bytes of it.
    pub max_bytes: usize,
}

impl Default for Verifier {
    /// Takes no algorithm, and so no token.
    fn default() -> Self {
        Self {
            algorithms: Algorithms::default(),
            issuer: None,
            audiences: Vec::new(),
            token_type: None,
            leeway: Duration::ZERO,
            max_lifetime: None,
            require_expiry: true,
            max_bytes: DEFAULT_MAX_TOKEN_BYTES,
        }
    }
}

/// What a verified token says.
#[derive(Clone, PartialEq)]
pub struct VerifiedToken {
    /// The claims, as they were written.
    pub claims: Claims,
    /// `sub`.
    pub subject: Option<String>,
    /// `exp`. It is refused from then on, the leeway added.
    pub expires: Option<Timestamp>,
    /// `nbf`.
    pub not_before: Option<Timestamp>,
    /// `iat`.
    pub issued: Option<Timestamp>,
    /// The algorithm that it was signed with.
    pub algorithm: Algorithm,
    /// The key that the header names.
    pub kid: Option<String>,
}

impl fmt::Debug for VerifiedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifiedToken")
            .field("expires", &self.expires)
            .field("not_before", &self.not_before)
            .field("issued", &self.issued)
            .field("algorithm", &self.algorithm)
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}

impl Verifier {
    /// Verifies a token: its form, its signature, then its claims.
    ///
    /// # Errors
    /// [`Rejected`] says why. Nothing of the token is to be believed then, but that it was sent.
    pub fn verify(&self, token: &[u8], keys: &KeySet, now: Timestamp) -> Result<VerifiedToken, Rejected> {
        if token.len() > self.max_bytes {
            return Err(Rejected::TooLarge);
        }
        let unverified = Unverified::parse(token)?;
        let payload = unverified.verify(self.algorithms, keys)?;
        let header = unverified.header;
        self.check_type(header.token_type.as_deref())?;

        let claims = Object::parse(&payload).map_err(Malformed::Claims)?;
        self.check_issuer(&claims)?;
        self.check_audience(&claims)?;
        let verified = VerifiedToken {
            subject: text(&claims, "sub")?.map(Cow::into_owned),
            expires: time(&claims, "exp")?,
            not_before: time(&claims, "nbf")?,
            issued: time(&claims, "iat")?,
            claims: raw(&payload)?,
            algorithm: header.algorithm,
            kid: header.kid,
        };
        self.still_valid(&verified, now)?;
        Ok(verified)
    }

    /// Checks the times of a token that was verified before.
    ///
    /// # Errors
    /// [`Rejected`] where it has expired, is not valid yet, lives too long or should have an end.
    pub fn still_valid(&self, token: &VerifiedToken, now: Timestamp) -> Result<(), Rejected> {
        let later = |time: Timestamp, by: Duration| {
            let nanos = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
            Timestamp::from_nanos(time.as_nanos().saturating_add(nanos))
        };
        let latest_now = later(now, self.leeway);
        match token.expires {
            None if self.require_expiry || self.max_lifetime.is_some() => {
                return Err(Rejected::MissingClaim("exp"));
            }
            Some(expires) if now >= later(expires, self.leeway) => return Err(Rejected::Expired),
            _ => {}
        }
        if [token.not_before, token.issued].into_iter().flatten().any(|time| time > latest_now) {
            return Err(Rejected::NotYetValid);
        }
        if let (Some(max), Some(expires)) = (self.max_lifetime, token.expires) {
            let from_issue = token.issued.is_some_and(|issued| expires > later(issued, max));
            if from_issue || expires > later(latest_now, max) {
                return Err(Rejected::LivesTooLong);
            }
        }
        Ok(())
    }

    /// RFC 7515, section 4.1.9: a media type, of which `application/` may be left out.
    fn check_type(&self, token_type: Option<&str>) -> Result<(), Rejected> {
        let short = |text: &str| {
            let text = text.to_ascii_lowercase();
            text.strip_prefix("application/").map_or(text.clone(), str::to_owned)
        };
        match (&self.token_type, token_type) {
            (None, _) => Ok(()),
            (Some(wanted), Some(got)) if short(wanted) == short(got) => Ok(()),
            _ => Err(Rejected::WrongType),
        }
    }

    fn check_issuer(&self, claims: &Object<'_>) -> Result<(), Rejected> {
        let issuer = text(claims, "iss")?;
        match &self.issuer {
            None => Ok(()),
            Some(wanted) => match issuer {
                None => Err(Rejected::MissingClaim("iss")),
                Some(issuer) if issuer == wanted.as_str() => Ok(()),
                Some(_) => Err(Rejected::WrongIssuer),
            },
        }
    }

    /// RFC 7519, section 4.1.3: a text, or an array of texts.
    fn check_audience(&self, claims: &Object<'_>) -> Result<(), Rejected> {
        let audiences = match claims.get("aud") {
            None if self.audiences.is_empty() => return Ok(()),
            None => return Err(Rejected::MissingClaim("aud")),
            Some(audience) if audience.get().starts_with('"') => text(claims, "aud")?.into_iter().collect(),
            Some(audience) => {
                let audiences: Vec<Text<'_>> =
                    serde_json::from_str(audience.get()).map_err(|_| Rejected::InvalidClaim("aud"))?;
                audiences.into_iter().map(|Text(audience)| audience).collect::<Vec<_>>()
            }
        };
        let meant = |audience: &Cow<'_, str>| self.audiences.iter().any(|wanted| wanted == audience);
        if self.audiences.is_empty() || audiences.iter().any(meant) {
            Ok(())
        } else {
            Err(Rejected::WrongAudience)
        }
    }
}

/// `iss` of a token that nobody has verified: to choose who has to, and for nothing else.
///
/// # Errors
/// [`Rejected`] where it is longer than `max_bytes` or malformed.
pub fn claimed_issuer(token: &[u8], max_bytes: usize) -> Result<Option<String>, Rejected> {
    if token.len() > max_bytes {
        return Err(Rejected::TooLarge);
    }
    let payload = Unverified::parse(token)?.payload()?;
    let claims = Object::parse(&payload).map_err(Malformed::Claims)?;
    Ok(text(&claims, "iss")?.map(Cow::into_owned))
}

#[derive(Deserialize)]
struct Text<'j>(#[serde(borrow)] Cow<'j, str>);

fn text<'j>(claims: &Object<'j>, name: &'static str) -> Result<Option<Cow<'j, str>>, Rejected> {
    let text: Option<Text<'_>> = claims.read(name).map_err(|_| Rejected::InvalidClaim(name))?;
    Ok(text.map(|Text(text)| text))
}

/// A NumericDate (RFC 7519, section 2): seconds since the epoch, perhaps with a fraction.
fn time(claims: &Object<'_>, name: &'static str) -> Result<Option<Timestamp>, Rejected> {
    let seconds: Option<f64> = claims.read(name).map_err(|_| Rejected::InvalidClaim(name))?;
    let Some(seconds) = seconds else { return Ok(None) };
    let valid = Duration::try_from_secs_f64(seconds).ok().filter(|_| seconds <= MAX_NUMERIC_DATE);
    let nanos = valid.ok_or(Rejected::InvalidClaim(name))?.as_nanos();
    Ok(Some(Timestamp::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))))
}

fn raw(payload: &[u8]) -> Result<Claims, Rejected> {
    let object: Option<Box<RawValue>> = serde_json::from_slice(payload).ok();
    Ok(Claims::new(object.ok_or(Malformed::Claims(super::Flaw::NotAnObject))?))
}
