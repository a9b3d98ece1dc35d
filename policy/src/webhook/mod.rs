//! Signatures of webhooks: a message code or a digital signature over the body, as it was sent.
//!
//! Providers differ in where they put signatures, what else they sign and how they write it down; a [`Layout`] says
//! that, and one [`Engine`] checks them all. It works in two steps, because a body is only there later:
//! [`Engine::check_head`] refuses whatever can be refused without the body, [`Engine::check_body`] decides.
//!
//! A delivery that is not signed for by one of the keys says nothing of itself that could be believed, its id included.

mod key;
mod layout;

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::Signature;
use serde::Deserialize;
use serde_json::value::RawValue;
use wicketgate_envelope::timestamp::Timestamp;

pub use self::key::{Key, KeyForm, MAX_KEYS, MIN_SECRET_BYTES};
pub use self::layout::{Encoding, Generic, Layout, Mistake, Preset};

use self::key::{Candidates, Signed};
use self::layout::{IdSource, Piece, TimestampSource};
use crate::head::RequestHead;
use crate::json_pointer;

/// The most signatures that are looked at in a delivery. Providers send one for each live secret.
pub const MAX_SIGNATURES: usize = 8;

/// The most bytes of the header with the signatures.
pub const MAX_HEADER_BYTES: usize = 4096;

/// The most bytes of a delivery's id.
pub const MAX_ID_BYTES: usize = 255;

/// How far a signed time may be from the clock unless a document says otherwise, in both directions. It is what
/// Stripe, Slack and Standard Webhooks recommend.
pub const DEFAULT_TOLERANCE: Duration = Duration::from_secs(300);

/// The largest body in which a challenge is looked for. Slack's has some 150 bytes.
const MAX_CHALLENGE_BODY: usize = 4096;

/// Checks the signatures of one kind of webhook.
#[derive(Clone, Debug)]
pub struct Engine {
    layout: Layout,
    keys: Vec<Key>,
    tolerance: Duration,
}

/// A delivery whose head is in order.
#[derive(Debug)]
pub struct Pending {
    candidates: Candidates,
    /// What is signed before the body.
    signed: Vec<u8>,
    id: Option<String>,
}

/// A delivery that one of the keys has signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Its id, which names it whenever it is sent again. GitHub's and Shopify's come in a header that is not signed.
    pub delivery_id: Option<String>,
    /// What has to be answered instead of anything else, as text: the delivery only asks whether the endpoint is there.
    pub challenge: Option<String>,
}

/// Why a delivery is refused. Callers are never told which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejected {
    /// A header that counts came more than once.
    Repeated(String),
    /// A header that counts is missing.
    Missing(String),
    /// A header that counts can't be read.
    Malformed(String),
    /// More than [`MAX_SIGNATURES`].
    TooManySignatures,
    /// There are signatures, and none is of a kind that is checked.
    NoSignature,
    /// The signed time is too long ago.
    TooOld,
    /// The signed time is too far in the future.
    InTheFuture,
    /// No signature is right.
    Mismatch,
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Repeated(header) => write!(f, "{header}: wanted once, got it repeated"),
            Self::Missing(header) => write!(f, "{header}: wanted, not there"),
            Self::Malformed(header) => write!(f, "{header}: not in the form that is wanted"),
            Self::TooManySignatures => write!(f, "more than {MAX_SIGNATURES} signatures"),
            Self::NoSignature => f.write_str("no signature of a kind that is checked"),
            Self::TooOld => f.write_str("signed too long ago"),
            Self::InTheFuture => f.write_str("signed too far in the future"),
            Self::Mismatch => f.write_str("no signature by one of the secrets over this body"),
        }
    }
}

impl Engine {
    /// Checks signatures in this layout, by these keys; a right signature by any of them will do. Where the layout has
    /// a signed time, it may be as far from the clock as `tolerance` says.
    ///
    /// # Errors
    /// What was wanted of the keys, in words.
    pub fn new(layout: Layout, keys: Vec<Key>, tolerance: Duration) -> Result<Self, String> {
        if keys.is_empty() || keys.len() > MAX_KEYS {
            return Err(format!("1 to {MAX_KEYS} secrets"));
        }
        Ok(Self { layout, keys, tolerance })
    }

    /// The headers that carry a credential: they prove who sent the request and are of no use to anybody else.
    pub fn credential_headers(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.layout.header.as_str())
    }

    /// The header in which signatures are looked for, in lower case.
    pub fn header(&self) -> &str {
        &self.layout.header
    }

    /// Checks what can be checked before the body is there. `None`: the request has no signature.
    ///
    /// # Errors
    /// [`Rejected`] whatever the body will be.
    pub fn check_head(&self, head: &RequestHead, now: Timestamp) -> Result<Option<Pending>, Rejected> {
        let Some(value) = single(head, &self.layout.header)? else { return Ok(None) };
        if value.len() > MAX_HEADER_BYTES {
            return Err(Rejected::Malformed(self.layout.header.clone()));
        }
        let items = self.items(value)?;
        let timestamp = self.timestamp(head, items.timestamp)?;
        if let Some(timestamp) = timestamp {
            self.check_time(timestamp, now)?;
        }
        let id = match &self.layout.id {
            IdSource::Header(name) => single(head, name)?.map(|id| self.id(name, id)).transpose()?,
            IdSource::None | IdSource::Body(_) => None,
        };
        let signed = self.signed(timestamp, id.as_deref())?;
        Ok(Some(Pending { candidates: items.candidates, signed, id }))
    }

    /// Checks the body as it was sent, before any content coding is undone.
    ///
    /// # Errors
    /// [`Rejected::Mismatch`] when no signature is right.
    pub fn check_body(&self, pending: &Pending, body: &[u8]) -> Result<Verified, Rejected> {
        let signed = Signed { before: &pending.signed, body };
        // All of them are tried, whichever is right.
        let right =
            self.keys.iter().fold(false, |right, key| key.signed(&signed, &pending.candidates) | right);
        if !right {
            return Err(Rejected::Mismatch);
        }
        let delivery_id = match &self.layout.id {
            IdSource::Body(pointer) => id_in_body(body, pointer),
            IdSource::None | IdSource::Header(_) => pending.id.clone(),
        };
        let challenge = if self.layout.challenge { challenge(body) } else { None };
        Ok(Verified { delivery_id, challenge })
    }

    fn items<'v>(&self, value: &'v [u8]) -> Result<Items<'v>, Rejected> {
        let layout = &self.layout;
        let malformed = || Rejected::Malformed(layout.header.clone());
        let mut items = Items::default();
        match layout.separator {
            None => {
                let candidate = value.strip_prefix(layout.prefix.as_bytes()).ok_or_else(malformed)?;
                items.candidates.hmac.push(layout.encoding.decode(candidate).ok_or_else(malformed)?);
            }
            Some(separator) => {
                for item in value.split(|&byte| byte == separator).map(<[u8]>::trim_ascii) {
                    self.item(item, &mut items)?;
                }
            }
        }
        if items.candidates.is_empty() { Err(Rejected::NoSignature) } else { Ok(items) }
    }

    /// Takes in an item of a list. What is of no kind that is known, or can't be a signature, is passed over: a
    /// provider may add another kind, and it takes a right signature to be let in.
    fn item<'v>(&self, item: &'v [u8], items: &mut Items<'v>) -> Result<(), Rejected> {
        let layout = &self.layout;
        if let TimestampSource::Item(prefix) = &layout.timestamp
            && let Some(timestamp) = item.strip_prefix(prefix.as_bytes())
        {
            return match items.timestamp.replace(timestamp) {
                None => Ok(()),
                Some(_) => Err(Rejected::Repeated(layout.header.clone())),
            };
        }
        let ed25519 = layout.ed25519_prefix.as_ref().and_then(|prefix| item.strip_prefix(prefix.as_bytes()));
        if let Some(bytes) = ed25519 {
            items
                .candidates
                .ed25519
                .extend(layout.encoding.decode(bytes).map(|bytes| Signature::from_bytes(&bytes)));
        } else if let Some(bytes) = item.strip_prefix(layout.prefix.as_bytes()) {
            items.candidates.hmac.extend(layout.encoding.decode(bytes));
        }
        if items.candidates.len() > MAX_SIGNATURES { Err(Rejected::TooManySignatures) } else { Ok(()) }
    }

    /// The signed time, as it was written.
    fn timestamp<'v>(
        &self,
        head: &'v RequestHead,
        in_list: Option<&'v [u8]>,
    ) -> Result<Option<&'v str>, Rejected> {
        let (name, value) = match &self.layout.timestamp {
            TimestampSource::None => return Ok(None),
            TimestampSource::Header(name) => (name, single(head, name)?),
            TimestampSource::Item(_) => (&self.layout.header, in_list),
        };
        let value = value.ok_or_else(|| Rejected::Missing(name.clone()))?;
        // Enough for the year 5138, and never too much for a number.
        let plain = (1..=11).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
        let text = std::str::from_utf8(value).ok().filter(|_| plain);
        text.map(Some).ok_or_else(|| Rejected::Malformed(name.clone()))
    }

    fn check_time(&self, timestamp: &str, now: Timestamp) -> Result<(), Rejected> {
        let signed = timestamp.parse::<u64>().map_err(|_| Rejected::Malformed(self.layout.header.clone()))?;
        let (now, tolerance) = (now.as_millis() / 1000, self.tolerance.as_secs());
        if now.saturating_sub(signed) > tolerance {
            Err(Rejected::TooOld)
        } else if signed.saturating_sub(now) > tolerance {
            Err(Rejected::InTheFuture)
        } else {
            Ok(())
        }
    }

    /// An id without what follows it in the signed text, so that no other delivery has the same signed text.
    fn id(&self, name: &str, id: &[u8]) -> Result<String, Rejected> {
        let ends = self.layout.after_id();
        let plain = is_id(id) && ends.is_none_or(|end| !id.contains(&end));
        let text = std::str::from_utf8(id).ok().filter(|_| plain);
        text.map(str::to_owned).ok_or_else(|| Rejected::Malformed(name.to_owned()))
    }

    fn signed(&self, timestamp: Option<&str>, id: Option<&str>) -> Result<Vec<u8>, Rejected> {
        let mut signed = Vec::new();
        for piece in &self.layout.signed {
            let part = match piece {
                Piece::Literal(text) => text,
                Piece::Timestamp => timestamp.unwrap_or_default(),
                Piece::Id => match (&self.layout.id, id) {
                    (_, Some(id)) => id,
                    (IdSource::Header(name), None) => return Err(Rejected::Missing(name.clone())),
                    (IdSource::None | IdSource::Body(_), None) => "",
                },
            };
            signed.extend_from_slice(part.as_bytes());
        }
        Ok(signed)
    }
}

#[derive(Default)]
struct Items<'v> {
    candidates: Candidates,
    timestamp: Option<&'v [u8]>,
}

impl Encoding {
    fn decode<const N: usize>(self, text: &[u8]) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        match self {
            Self::Hex => {
                let pairs = text.chunks_exact(2);
                if text.len() != 2 * N {
                    return None;
                }
                for (byte, pair) in bytes.iter_mut().zip(pairs) {
                    let [high, low] = pair else { return None };
                    let nibble =
                        |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
                    *byte = (nibble(*high)? << 4) | nibble(*low)?;
                }
                Some(bytes)
            }
            Self::Base64 => {
                // Longer than what is wanted is not decoded at all.
                let fits = text.len() == N.div_ceil(3) * 4;
                STANDARD.decode(text).ok().filter(|_| fits)?.try_into().ok()
            }
        }
    }
}

fn single<'h>(head: &'h RequestHead, name: &str) -> Result<Option<&'h [u8]>, Rejected> {
    // `RequestHead::single` ties the value to the name as well.
    let mut values = head.fields().filter(|(field, _)| *field == name.as_bytes()).map(|(_, value)| value);
    match (values.next(), values.next()) {
        (_, Some(_)) => Err(Rejected::Repeated(name.to_owned())),
        (value, None) => Ok(value),
    }
}

fn is_id(id: &[u8]) -> bool {
    (1..=MAX_ID_BYTES).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
}

/// The id that a signed body gives itself; none if it has none, or more than one.
fn id_in_body(body: &[u8], pointer: &json_pointer::Pointer) -> Option<String> {
    let json: &RawValue = serde_json::from_slice(body).ok()?;
    let id = json_pointer::find(json, pointer).ok()??;
    let id: String = serde_json::from_str(id.get()).ok()?;
    is_id(id.as_bytes()).then_some(id)
}

/// The challenge of Slack's `url_verification`.
fn challenge(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct UrlVerification<'a> {
        #[serde(rename = "type", borrow)]
        kind: Cow<'a, str>,
        challenge: String,
    }
    if body.len() > MAX_CHALLENGE_BODY {
        return None;
    }
    let asked: UrlVerification<'_> = serde_json::from_slice(body).ok()?;
    (asked.kind == "url_verification" && is_id(asked.challenge.as_bytes())).then_some(asked.challenge)
}

#[cfg(test)]
mod tests;
