//! What stands in a template for a part of the request.

use std::borrow::Cow;
use std::fmt;

use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use super::unit::Unit;
use super::{Facts, Reason, Unfillable, is_disallowed};
use crate::claims::ClaimPath;
use crate::head::Repeated;
use crate::host::HostError;
use crate::json_pointer::{self, Pointer};
use crate::redact::{Redaction, Treatment};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hole {
    pub(super) source: Source,
    pub(super) filters: Vec<Filter>,
    /// Whether what the template is for is left out where nothing is found.
    pub(super) optional: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Path {
        /// Index into the path parameters of the route.
        index: usize,
        name: String,
    },
    Query(String),
    /// In lower case.
    Header(String),
    Claim(ClaimPath),
    Consumer,
    Method,
    Pointer(Pointer),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Filter {
    Lower,
    Upper,
    Sha256,
    Unit(Unit),
    Or(Source),
    Default(String),
}

/// What became of one part of the request.
type Found<'a> = Result<Cow<'a, str>, Reason>;

impl Hole {
    /// `None` if it is optional and nothing is there for it.
    pub(super) fn fill<'a>(
        &'a self,
        facts: &Facts<'a>,
        room: &mut usize,
        check: impl Fn(&str) -> Result<(), Reason>,
    ) -> Result<Option<Cow<'a, str>>, Unfillable> {
        let (asked, found) = self.filtered(|source| source.value(facts));
        if self.optional && is_absent(&found) {
            return Ok(None);
        }
        let checked = found.and_then(|value| {
            check(&value)?;
            *room = room.checked_sub(value.len()).ok_or(Reason::TooLong)?;
            if value.chars().any(is_disallowed) { Err(Reason::Character) } else { Ok(value) }
        });
        checked.map(Some).map_err(|reason| match reason {
            Reason::Missing | Reason::NotRead | Reason::Null if self.sources().nth(1).is_some() => {
                let asked: Vec<String> = self.sources().map(ToString::to_string).collect();
                let reason = if reason == Reason::NotRead { reason } else { Reason::Missing };
                Unfillable { part: asked.join(" or "), reason }
            }
            reason => Unfillable { part: asked.to_string(), reason },
        })
    }

    /// What the filters make of it, and where it was found, or looked for last.
    fn filtered<'a>(&'a self, value: impl Fn(&'a Source) -> Found<'a>) -> (&'a Source, Found<'a>) {
        let mut asked = &self.source;
        let mut found = value(asked);
        for filter in &self.filters {
            found = match filter {
                Filter::Or(source) if is_absent(&found) => {
                    asked = source;
                    value(source)
                }
                filter => filter.apply(found),
            };
        }
        (asked, found)
    }

    /// The claim that is not there for it, where these are all that there are, and it stands for claims alone.
    pub(super) fn lacking_claim(&self, claims: Option<&RawValue>) -> Option<&ClaimPath> {
        if self.optional || !self.sources().all(|source| matches!(source, Source::Claim(_))) {
            return None;
        }
        let (_, found) = self.filtered(|source| source.claim_value(claims));
        match &self.source {
            Source::Claim(path) => found.is_err().then_some(path),
            _ => None,
        }
    }

    /// The one of these claims that it stands for, and what it makes of it.
    pub(super) fn claim_text<'a>(
        &'a self,
        claims: Option<&'a RawValue>,
    ) -> Option<(&'a ClaimPath, Cow<'a, str>)> {
        match self.filtered(|source| source.claim_value(claims)) {
            (Source::Claim(path), Ok(text)) => Some((path, text)),
            _ => None,
        }
    }

    /// Where it looks, in order.
    pub(super) fn sources(&self) -> impl Iterator<Item = &Source> {
        let alternatives = self.filters.iter().filter_map(|filter| match filter {
            Filter::Or(source) => Some(source),
            _ => None,
        });
        std::iter::once(&self.source).chain(alternatives)
    }

    /// Whether whatever is found passes through a unit.
    pub(super) fn states_unit(&self) -> bool {
        let last = |wanted: fn(&Filter) -> bool| self.filters.iter().rposition(wanted);
        let unit = last(|filter| matches!(filter, Filter::Unit(_)));
        unit.is_some() && unit > last(|filter| matches!(filter, Filter::Or(_)))
    }

    /// The text that stands in for what is not there.
    pub(super) fn default(&self) -> Option<&str> {
        self.filters.iter().find_map(|filter| match filter {
            Filter::Default(text) => Some(text.as_str()),
            _ => None,
        })
    }
}

fn is_absent(found: &Found<'_>) -> bool {
    match found {
        Ok(value) => value.is_empty(),
        Err(reason) => matches!(reason, Reason::Missing | Reason::NotRead | Reason::Null),
    }
}

impl Source {
    /// Whether it stands for what is known of the caller, which nothing in a request changes.
    pub(super) fn is_known(&self) -> bool {
        matches!(self, Self::Claim(_) | Self::Consumer)
    }

    /// What redaction does to it before it gets here.
    pub(super) fn treatment(&self, redaction: &Redaction) -> Option<Treatment> {
        match self {
            Self::Query(name) => redaction.of_query_parameter(name),
            Self::Header(name) => redaction.of_header(name),
            Self::Pointer(pointer) => redaction.of_body(pointer),
            Self::Path { .. } | Self::Claim(_) | Self::Consumer | Self::Method => None,
        }
    }

    fn value<'a>(&'a self, facts: &Facts<'a>) -> Found<'a> {
        match self {
            Self::Path { index, .. } => {
                facts.path_parameters.get(*index).map(|value| Cow::Borrowed(*value)).ok_or(Reason::Missing)
            }
            Self::Query(name) => {
                let query = facts.query.ok_or(Reason::Missing)?;
                let value = query.single(name).map_err(|Repeated| Reason::Repeated)?;
                value.map(Cow::Borrowed).ok_or(Reason::Missing)
            }
            Self::Header(name) if name == "host" => {
                let host = facts.head.host().map_err(|error| match error {
                    HostError::Repeated | HostError::Contradiction => Reason::Repeated,
                    HostError::Illegal => Reason::Character,
                })?;
                Ok(lower_ascii(host.ok_or(Reason::Missing)?))
            }
            Self::Header(name) => {
                let value = facts.head.single(name).map_err(|Repeated| Reason::Repeated)?;
                text(value.ok_or(Reason::Missing)?)
            }
            Self::Claim(_) => self.claim_value(facts.claims),
            Self::Consumer => facts.consumer.map(Cow::Borrowed).ok_or(Reason::Missing),
            Self::Method => text(facts.head.method()),
            Self::Pointer(pointer) => {
                let json = facts.json.ok_or(Reason::NotRead)?;
                let found = json_pointer::find(json, pointer).map_err(|_| Reason::Repeated)?;
                scalar(found.ok_or(Reason::Missing)?.get())
            }
        }
    }

    /// Its value if only claims are known.
    fn claim_value<'a>(&'a self, claims: Option<&'a RawValue>) -> Found<'a> {
        let (Self::Claim(path), Some(claims)) = (self, claims) else { return Err(Reason::Missing) };
        let found = path.find(claims).map_err(|_| Reason::Repeated)?;
        scalar(found.ok_or(Reason::Missing)?.get())
    }
}

impl Filter {
    fn apply<'a>(&'a self, value: Found<'a>) -> Found<'a> {
        match self {
            Self::Default(text) if is_absent(&value) => Ok(Cow::Borrowed(text)),
            // What has been found already needs neither.
            Self::Default(_) | Self::Or(_) => value,
            Self::Lower => value.map(|value| Cow::Owned(value.to_lowercase())),
            Self::Upper => value.map(|value| Cow::Owned(value.to_uppercase())),
            // The hash of nothing would be something.
            Self::Sha256 | Self::Unit(_) if value.as_ref().is_ok_and(|value| value.is_empty()) => value,
            Self::Sha256 => value.map(|value| Cow::Owned(hex(&Sha256::digest(value.as_bytes())))),
            Self::Unit(unit) => value.and_then(|value| unit.to_rfc3339(value)),
        }
    }
}

fn text(bytes: &[u8]) -> Found<'_> {
    std::str::from_utf8(bytes).map(Cow::Borrowed).map_err(|_| Reason::NotUtf8)
}

fn lower_ascii(text: &str) -> Cow<'_, str> {
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(text.to_ascii_lowercase())
    } else {
        Cow::Borrowed(text)
    }
}

/// The text of a JSON value, given as it is written.
fn scalar(json: &str) -> Found<'_> {
    match json.as_bytes().first() {
        Some(b'"') => match serde_json::from_str::<&str>(json) {
            Ok(text) => Ok(Cow::Borrowed(text)),
            // It has escapes, and cannot be borrowed.
            Err(_) => serde_json::from_str(json).map(Cow::Owned).map_err(|_| Reason::NotUtf8),
        },
        Some(b'[' | b'{') => Err(Reason::NotScalar),
        Some(b'n') => Err(Reason::Null),
        _ => Ok(Cow::Borrowed(json)),
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or_default();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path { name, .. } => write!(f, "path parameter {name}"),
            Self::Query(name) => write!(f, "query parameter {name}"),
            Self::Header(name) => write!(f, "header {name}"),
            Self::Claim(path) => write!(f, "claim {path}"),
            Self::Consumer => f.write_str("consumer"),
            Self::Method => f.write_str("method"),
            Self::Pointer(pointer) => write!(f, "JSON pointer {:?}", pointer.to_string()),
        }
    }
}
