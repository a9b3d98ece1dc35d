//! Text with holes that a request fills.
//!
//! | hole | what fills it |
//! |---|---|
//! | `{name}`, `{path:name}` | the path parameter of that name |
//! | `{query:name}` | the query parameter of that name |
//! | `{header:name}` | the header of that name; `host` is in lower case and without its port |
//! | `{claim:name}`, `{claim:/a/b}` | the claim of that name that the caller was authenticated with, or what this JSON pointer finds in all claims; as a pointer into the body |
//! | `{consumer}` | the name of the consumer |
//! | `{method}` | the method |
//! | `{pointer:/a/b}` | what this JSON pointer finds in the body: the text of a string, or a number, `true` or `false` exactly as written |
//!
//! Filters stand behind the source and work from left to right, as in `{header:x-tenant|lower|default:none}`: `lower`
//! and `upper` change the case, `sha256` makes 64 hexadecimal digits of the value, and `default:text` stands in for
//! what is missing, null or empty; not for what is repeated or cannot be read. `{{` and `}}` are braces; a hole itself
//! holds no braces, and `|` only before filters.

mod parse;
mod unfillable;

use std::borrow::Cow;
use std::fmt;

use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

pub use self::unfillable::{Reason, Unfillable};
use crate::claims::ClaimPath;
use crate::head::{Repeated, RequestHead};
use crate::host::HostError;
use crate::json_pointer::{self, Pointer};
use crate::query::Query;

/// The longest text that a template makes, in bytes.
pub const MAX_BYTES: usize = 4096;

/// A parsed template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Hole(Hole),
}

/// A part of a template, to those who ask what it is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Piece<'t> {
    /// Text that no request changes.
    Literal(&'t str),
    /// What a request fills.
    Hole {
        /// Whether it stands for what is known of the caller, so that nothing in a request changes what fills it.
        known: bool,
        /// The text that stands in for what is missing.
        default: Option<&'t str>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Hole {
    source: Source,
    filters: Vec<Filter>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
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
enum Filter {
    Lower,
    Upper,
    Sha256,
    Default(String),
}

/// What a template may refer to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scope<'a> {
    /// The names of the parameters of the route's path, in order.
    pub path_parameters: &'a [String],
    /// Whether there can be claims when the template is filled.
    pub claims: bool,
    /// Whether there can be a JSON body when the template is filled.
    pub json: bool,
}

/// What is known of a request.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The values of the path parameters, in the order of [`Scope::path_parameters`].
    pub path_parameters: &'a [&'a str],
    /// The head.
    pub head: &'a RequestHead,
    /// The query, if there is one. Not looked at unless [`Template::needs_query`].
    pub query: Option<&'a Query>,
    /// The name of the consumer, if it is known.
    pub consumer: Option<&'a str>,
    /// What was verified of the caller: a JSON object, if there is anything.
    pub claims: Option<&'a RawValue>,
    /// The body, if it is JSON. Not looked at unless [`Template::needs_body`].
    pub json: Option<&'a RawValue>,
}

impl Template {
    /// Parses `text`.
    ///
    /// # Errors
    /// What was wanted, in words.
    pub fn parse(text: &str, scope: &Scope<'_>) -> Result<Self, String> {
        parse::parts(text, scope).map(|parts| Self { parts })
    }

    /// Fills the holes. A template that is one literal, or one hole without filters, costs no allocation as a rule.
    ///
    /// # Errors
    /// [`Unfillable`] names the part of the request that will not do.
    pub fn fill<'a>(&'a self, facts: &Facts<'a>) -> Result<Cow<'a, str>, Unfillable> {
        self.fill_holes(facts, |_, _| Ok(()))
    }

    /// As [`Template::fill`], where no hole may be empty, or filled with what has its separator: that of the first hole
    /// is the first of `separators`.
    pub(crate) fn fill_apart<'a>(
        &'a self,
        facts: &Facts<'a>,
        separators: &[Option<char>],
    ) -> Result<Cow<'a, str>, Unfillable> {
        self.fill_holes(facts, |hole, value| match separators.get(hole) {
            _ if value.is_empty() => Err(Reason::Empty),
            Some(Some(separator)) if value.contains(*separator) => Err(Reason::Separator(*separator)),
            _ => Ok(()),
        })
    }

    /// `check` is given the number of each hole and what is to fill it.
    fn fill_holes<'a>(
        &'a self,
        facts: &Facts<'a>,
        check: impl Fn(usize, &str) -> Result<(), Reason>,
    ) -> Result<Cow<'a, str>, Unfillable> {
        let mut hole_number = 0;
        let mut room = MAX_BYTES.saturating_sub(self.literals().map(str::len).sum());
        let mut filled = Cow::Borrowed("");
        for part in &self.parts {
            let value = match part {
                Part::Literal(text) => Cow::Borrowed(text.as_str()),
                Part::Hole(hole) => {
                    let value = hole.fill(facts, &mut room);
                    let value = value.and_then(|value| check(hole_number, &value).map(|()| value));
                    hole_number += 1;
                    value.map_err(|reason| Unfillable { part: hole.source.to_string(), reason })?
                }
            };
            if filled.is_empty() {
                filled = value;
            } else {
                filled.to_mut().push_str(&value);
            }
        }
        Ok(filled)
    }

    fn holes(&self) -> impl Iterator<Item = &Hole> {
        self.parts.iter().filter_map(|part| match part {
            Part::Hole(hole) => Some(hole),
            Part::Literal(_) => None,
        })
    }

    /// All that it consists of, in order.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = Piece<'_>> {
        self.parts.iter().map(|part| match part {
            Part::Literal(text) => Piece::Literal(text),
            Part::Hole(hole) => Piece::Hole {
                known: matches!(hole.source, Source::Claim(_) | Source::Consumer),
                default: hole.filters.iter().find_map(|filter| match filter {
                    Filter::Default(text) => Some(text.as_str()),
                    _ => None,
                }),
            },
        })
    }

    /// The texts between holes.
    pub(crate) fn literals(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Literal(text) => Some(text.as_str()),
            Part::Hole(_) => None,
        })
    }

    /// The text before the first hole.
    pub fn literal_prefix(&self) -> &str {
        match self.parts.first() {
            Some(Part::Literal(text)) => text,
            _ => "",
        }
    }

    /// Whether there is no hole.
    pub fn is_literal(&self) -> bool {
        self.holes().next().is_none()
    }

    /// Whether the body is needed to fill it.
    pub fn needs_body(&self) -> bool {
        self.holes().any(|hole| matches!(hole.source, Source::Pointer(_)))
    }

    /// Whether the query is needed to fill it.
    pub fn needs_query(&self) -> bool {
        self.query_names().next().is_some()
    }

    /// The query parameters that it uses.
    pub fn query_names(&self) -> impl Iterator<Item = &str> {
        self.holes().filter_map(|hole| match &hole.source {
            Source::Query(name) => Some(name.as_str()),
            _ => None,
        })
    }

    /// The claims without which it cannot be filled, where these are all that there are.
    pub(crate) fn lacking_claims(&self, claims: Option<&RawValue>) -> impl Iterator<Item = &ClaimPath> {
        self.claims()
            .filter_map(move |(hole, path)| hole.filtered(claim(path, claims)).is_err().then_some(path))
    }

    /// Those of these claims that it uses, with the number of the hole that each is for, and what it makes of each.
    pub(crate) fn claim_texts<'a>(
        &'a self,
        claims: Option<&'a RawValue>,
    ) -> impl Iterator<Item = (usize, &'a ClaimPath, Cow<'a, str>)> {
        self.holes().enumerate().filter_map(move |(number, hole)| match &hole.source {
            Source::Claim(path) => Some((number, path, hole.filtered(claim(path, claims)).ok()?)),
            _ => None,
        })
    }

    fn claims(&self) -> impl Iterator<Item = (&Hole, &ClaimPath)> {
        self.holes().filter_map(|hole| match &hole.source {
            Source::Claim(path) => Some((hole, path)),
            _ => None,
        })
    }

    /// The headers that it uses, in lower case.
    pub fn header_names(&self) -> impl Iterator<Item = &str> {
        self.holes().filter_map(|hole| match &hole.source {
            Source::Header(name) => Some(name.as_str()),
            _ => None,
        })
    }
}

impl Hole {
    fn fill<'a>(&'a self, facts: &Facts<'a>, room: &mut usize) -> Result<Cow<'a, str>, Reason> {
        let value = self.filtered(self.source.value(facts))?;
        *room = room.checked_sub(value.len()).ok_or(Reason::TooLong)?;
        if value.chars().any(is_disallowed) { Err(Reason::Character) } else { Ok(value) }
    }

    fn filtered<'a>(&'a self, found: Result<Cow<'a, str>, Reason>) -> Result<Cow<'a, str>, Reason> {
        self.filters.iter().fold(found, |value, filter| filter.apply(value))
    }
}

impl Source {
    fn value<'a>(&'a self, facts: &Facts<'a>) -> Result<Cow<'a, str>, Reason> {
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
            Self::Claim(path) => claim(path, facts.claims),
            Self::Consumer => facts.consumer.map(Cow::Borrowed).ok_or(Reason::Missing),
            Self::Method => text(facts.head.method()),
            Self::Pointer(pointer) => {
                let json = facts.json.ok_or(Reason::Missing)?;
                let found = json_pointer::find(json, pointer).map_err(|_| Reason::Repeated)?;
                scalar(found.ok_or(Reason::Missing)?.get())
            }
        }
    }
}

impl Filter {
    fn apply<'a>(&'a self, value: Result<Cow<'a, str>, Reason>) -> Result<Cow<'a, str>, Reason> {
        let absent = match &value {
            Ok(value) => value.is_empty(),
            Err(reason) => matches!(reason, Reason::Missing | Reason::Null),
        };
        match self {
            Self::Default(text) if absent => Ok(Cow::Borrowed(text)),
            Self::Default(_) => value,
            Self::Lower => value.map(|value| Cow::Owned(value.to_lowercase())),
            Self::Upper => value.map(|value| Cow::Owned(value.to_uppercase())),
            Self::Sha256 => value.map(|value| Cow::Owned(hex(&Sha256::digest(value.as_bytes())))),
        }
    }
}

fn claim<'a>(path: &ClaimPath, claims: Option<&'a RawValue>) -> Result<Cow<'a, str>, Reason> {
    let found = path.find(claims.ok_or(Reason::Missing)?).map_err(|_| Reason::Repeated)?;
    scalar(found.ok_or(Reason::Missing)?.get())
}

fn text(bytes: &[u8]) -> Result<Cow<'_, str>, Reason> {
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
fn scalar(json: &str) -> Result<Cow<'_, str>, Reason> {
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

fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or_default();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// Control characters and noncharacters (CloudEvents 1.0.2, section 3.2).
pub(crate) fn is_disallowed(character: char) -> bool {
    let code = u32::from(character);
    character.is_control() || code & 0xfffe == 0xfffe || (0xfdd0..=0xfdef).contains(&code)
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

#[cfg(test)]
mod tests;
