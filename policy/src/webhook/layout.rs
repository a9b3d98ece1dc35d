//! Where a provider puts signatures, and what it signs.

use crate::head::is_field_name;
use crate::json_pointer::Pointer;

/// Where signatures are, and what they are over.
#[derive(Clone, Debug)]
pub struct Layout {
    pub(super) header: String,
    /// Between signatures, where there may be several.
    pub(super) separator: Option<u8>,
    /// Before a message code.
    pub(super) prefix: String,
    /// Before an Ed25519 signature, where there may be one.
    pub(super) ed25519_prefix: Option<String>,
    pub(super) encoding: Encoding,
    /// What is signed before the body.
    pub(super) signed: Vec<Piece>,
    pub(super) timestamp: TimestampSource,
    pub(super) id: IdSource,
    /// Whether a delivery may be a challenge (Slack's `url_verification`).
    pub(super) challenge: bool,
}

/// How a signature is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Hexadecimal digits, of either case.
    Hex,
    /// Base64 with padding (RFC 4648, section 4).
    Base64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Literal(String),
    Timestamp,
    Id,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TimestampSource {
    None,
    Header(String),
    /// Among the signatures, behind this prefix.
    Item(String),
}

#[derive(Clone, Debug)]
pub(super) enum IdSource {
    None,
    Header(String),
    Body(Pointer),
}

/// A provider whose layout is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// `X-Hub-Signature-256`, over the body alone.
    Github,
    /// `Stripe-Signature`, scheme `v1`.
    Stripe,
    /// `X-Slack-Signature`, version `v0`.
    Slack,
    /// `X-Shopify-Hmac-Sha256`, over the body alone.
    Shopify,
    /// `webhook-signature`, versions `v1` and `v1a` (Standard Webhooks).
    StandardWebhooks,
}

/// A layout that a document describes.
#[derive(Clone, Copy, Debug)]
pub struct Generic<'a> {
    /// The header with the signature.
    pub header: &'a str,
    /// What stands before a signature.
    pub prefix: &'a str,
    /// How a signature is written down.
    pub encoding: Encoding,
    /// What stands between signatures, if there may be several.
    pub separator: Option<&'a str>,
    /// What is signed: text with `{id}`, `{timestamp}`, and `{body}` at the end.
    pub signed: &'a str,
    /// The header with the time of signing, in seconds since 1970.
    pub timestamp_header: Option<&'a str>,
    /// What stands before the time of signing, where it is one of the items between the separators.
    pub timestamp_prefix: Option<&'a str>,
    /// The header with the delivery's id.
    pub id_header: Option<&'a str>,
}

/// What is wrong with a layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The member of [`Generic`].
    pub field: &'static str,
    /// What was wanted.
    pub wanted: String,
}

impl Layout {
    /// The layout of a provider.
    pub fn preset(preset: Preset) -> Self {
        let plain = Self {
            header: String::new(),
            separator: None,
            prefix: String::new(),
            ed25519_prefix: None,
            encoding: Encoding::Hex,
            signed: Vec::new(),
            timestamp: TimestampSource::None,
            id: IdSource::None,
            challenge: false,
        };
        let literal = |text: &str| Piece::Literal(text.to_owned());
        let header = |name: &str| IdSource::Header(name.to_owned());
        let body = |pointer: &str| Pointer::parse(pointer).map_or(IdSource::None, IdSource::Body);
        match preset {
            Preset::Github => Self {
                header: "x-hub-signature-256".to_owned(),
                prefix: "sha256=".to_owned(),
                id: header("x-github-delivery"),
                ..plain
            },
            Preset::Stripe => Self {
                header: "stripe-signature".to_owned(),
                separator: Some(b','),
                prefix: "v1=".to_owned(),
                signed: vec![Piece::Timestamp, literal(".")],
                timestamp: TimestampSource::Item("t=".to_owned()),
                id: body("/id"),
                ..plain
            },
            Preset::Slack => Self {
                header: "x-slack-signature".to_owned(),
                prefix: "v0=".to_owned(),
                signed: vec![literal("v0:"), Piece::Timestamp, literal(":")],
                timestamp: TimestampSource::Header("x-slack-request-timestamp".to_owned()),
                id: body("/event_id"),
                challenge: true,
                ..plain
            },
            Preset::Shopify => Self {
                header: "x-shopify-hmac-sha256".to_owned(),
                encoding: Encoding::Base64,
                id: header("x-shopify-webhook-id"),
                ..plain
            },
            Preset::StandardWebhooks => Self {
                header: "webhook-signature".to_owned(),
                separator: Some(b' '),
                prefix: "v1,".to_owned(),
                ed25519_prefix: Some("v1a,".to_owned()),
                encoding: Encoding::Base64,
                signed: vec![Piece::Id, literal("."), Piece::Timestamp, literal(".")],
                timestamp: TimestampSource::Header("webhook-timestamp".to_owned()),
                id: header("webhook-id"),
                ..plain
            },
        }
    }

    /// A layout that a document describes.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn generic(generic: &Generic<'_>) -> Result<Self, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        let separator = generic.separator.map(|separator| match *separator.as_bytes() {
            [byte] if byte.is_ascii() && !byte.is_ascii_alphanumeric() && !byte.is_ascii_control() => byte,
            _ => {
                let wanted = "one character that is neither a letter nor a digit, such as \",\" or \" \"";
                mistakes.push(Mistake::new("separator", wanted));
                b','
            }
        });
        let timestamp = match (generic.timestamp_header, generic.timestamp_prefix) {
            (None, None) => TimestampSource::None,
            (Some(name), None) => {
                TimestampSource::Header(field_name("timestamp_header", name, &mut mistakes))
            }
            (None, Some(prefix)) if !prefix.is_empty() && separator.is_some() => {
                TimestampSource::Item(prefix.to_owned())
            }
            (None, Some(_)) => {
                let wanted =
                    "text that stands before the time, with a separator that keeps it from the signatures";
                mistakes.push(Mistake::new("timestamp_prefix", wanted));
                TimestampSource::None
            }
            (Some(_), Some(_)) => {
                mistakes.push(Mistake::new("timestamp_prefix", "either this or timestamp_header"));
                TimestampSource::None
            }
        };
        let id = generic.id_header.map(|name| field_name("id_header", name, &mut mistakes));
        let layout = Self {
            header: field_name("header", generic.header, &mut mistakes),
            separator,
            prefix: generic.prefix.to_owned(),
            ed25519_prefix: None,
            encoding: generic.encoding,
            signed: pieces(generic.signed, &mut mistakes),
            timestamp,
            id: id.map_or(IdSource::None, IdSource::Header),
            challenge: false,
        };
        layout.check_signed(generic, &mut mistakes);
        if mistakes.is_empty() { Ok(layout) } else { Err(mistakes) }
    }

    /// Whether there is a signed time, so that an old delivery is told from a new one.
    pub fn has_timestamp(&self) -> bool {
        self.timestamp != TimestampSource::None
    }

    /// The byte behind the id in the signed text, if the id is signed.
    pub(super) fn after_id(&self) -> Option<u8> {
        let place = self.signed.iter().position(|piece| *piece == Piece::Id)?;
        match self.signed.get(place + 1) {
            Some(Piece::Literal(text)) => text.bytes().next(),
            _ => None,
        }
    }

    fn check_signed(&self, generic: &Generic<'_>, mistakes: &mut Vec<Mistake>) {
        let count = |wanted: &Piece| self.signed.iter().filter(|piece| *piece == wanted).count();
        let has_source = generic.timestamp_header.is_some() || generic.timestamp_prefix.is_some();
        if count(&Piece::Timestamp) != usize::from(has_source) {
            let wanted = "{timestamp} once if the document says where the time is, else not at all: a time that is \
                          not signed proves nothing";
            mistakes.push(Mistake::new("signed", wanted));
        }
        if count(&Piece::Id) > usize::from(generic.id_header.is_some()) {
            mistakes.push(Mistake::new("signed", "{id} at most once, and id_header with it"));
        }
        // Otherwise one signed text could be that of two deliveries.
        let apart = self.signed.iter().zip(self.signed.iter().skip(1).map(Some).chain([None])).all(
            |(piece, next)| match (piece, next) {
                (Piece::Literal(_), _) => true,
                (_, Some(Piece::Literal(text))) => !text.starts_with(|first: char| first.is_ascii_digit()),
                _ => false,
            },
        );
        if !apart {
            let wanted =
                "text that does not begin with a digit behind {id} and {timestamp}, to keep them apart";
            mistakes.push(Mistake::new("signed", wanted));
        }
    }
}

impl Mistake {
    fn new(field: &'static str, wanted: &str) -> Self {
        Self { field, wanted: wanted.to_owned() }
    }
}

fn field_name(field: &'static str, name: &str, mistakes: &mut Vec<Mistake>) -> String {
    if !is_field_name(name) {
        mistakes.push(Mistake::new(field, "the name of a header"));
    }
    name.to_ascii_lowercase()
}

/// The pieces before the body.
fn pieces(template: &str, mistakes: &mut Vec<Mistake>) -> Vec<Piece> {
    const WANTED: &str = "text with {id}, {timestamp}, and {body} at the end";
    let mut pieces = Vec::new();
    let Some(mut rest) = template.strip_suffix("{body}") else {
        mistakes.push(Mistake::new("signed", WANTED));
        return pieces;
    };
    while !rest.is_empty() {
        let literal = rest.find(['{', '}']).unwrap_or(rest.len());
        let (text, hole) = rest.split_at(literal);
        if !text.is_empty() {
            pieces.push(Piece::Literal(text.to_owned()));
        }
        rest = if let Some(after) = hole.strip_prefix("{timestamp}") {
            pieces.push(Piece::Timestamp);
            after
        } else if let Some(after) = hole.strip_prefix("{id}") {
            pieces.push(Piece::Id);
            after
        } else if hole.is_empty() {
            hole
        } else {
            mistakes.push(Mistake::new("signed", WANTED));
            ""
        };
    }
    pieces
}
