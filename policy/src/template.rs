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
//! Filters stand behind the source and work from left to right, as in `{header:x-tenant|lower|default:none}`:
//!
//! | filter | what it does |
//! |---|---|
//! | `lower`, `upper` | changes the case |
//! | `sha256` | makes 64 hexadecimal digits of the value |
//! | `seconds`, `millis`, `micros`, `nanos` | makes RFC 3339 of a number of these since 1970, fractions included; what is RFC 3339 already stays |
//! | `or:source` | looks there if nothing has been found |
//! | `default:text` | stands in if nothing has been found; comes after every `or` |
//! | `optional` | leaves out what the template is for if nothing has been found; comes last |
//!
//! Nothing has been found where a value is missing, null or empty; not where it is repeated or cannot be read. `{{` and
//! `}}` are braces; a hole itself holds no braces, and `|` only before filters.

mod hole;
mod parse;
mod unfillable;
mod unit;

use std::borrow::Cow;

use serde_json::value::RawValue;

use self::hole::{Filter, Hole, Source};
pub use self::unfillable::{Reason, Unfillable};
pub use self::unit::Unit;
use crate::claims::ClaimPath;
use crate::head::RequestHead;
use crate::query::Query;
use crate::redact::{Redaction, Treatment};

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
        /// Whether it can stand for either.
        mixed: bool,
        /// Whether what the template is for is left out without it.
        optional: bool,
        /// The text that stands in for what is missing.
        default: Option<&'t str>,
    },
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

    /// Fills the holes; `None` if an optional one cannot be, because nothing is there for it. A template that is one
    /// literal, or one hole without filters, costs no allocation as a rule.
    ///
    /// # Errors
    /// [`Unfillable`] names the part of the request that will not do.
    pub fn fill<'a>(&'a self, facts: &Facts<'a>) -> Result<Option<Cow<'a, str>>, Unfillable> {
        self.fill_holes(facts, |_, _| Ok(()))
    }

    /// As [`Template::fill`], where no hole may be empty, or filled with what has its separator: that of the first hole
    /// is the first of `separators`.
    pub(crate) fn fill_apart<'a>(
        &'a self,
        facts: &Facts<'a>,
        separators: &[Option<char>],
    ) -> Result<Option<Cow<'a, str>>, Unfillable> {
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
    ) -> Result<Option<Cow<'a, str>>, Unfillable> {
        let mut hole_number = 0;
        let mut room = MAX_BYTES.saturating_sub(self.literals().map(str::len).sum());
        let mut filled = Cow::Borrowed("");
        for part in &self.parts {
            let value = match part {
                Part::Literal(text) => Cow::Borrowed(text.as_str()),
                Part::Hole(hole) => {
                    let Some(value) = hole.fill(facts, &mut room, |value| check(hole_number, value))? else {
                        return Ok(None);
                    };
                    hole_number += 1;
                    value
                }
            };
            if filled.is_empty() {
                filled = value;
            } else {
                filled.to_mut().push_str(&value);
            }
        }
        Ok(Some(filled))
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
            Part::Hole(hole) => {
                let known = hole.sources().all(Source::is_known);
                Piece::Hole {
                    known,
                    mixed: !known && hole.sources().any(Source::is_known),
                    optional: hole.optional,
                    default: hole.default(),
                }
            }
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
        self.sources().any(|source| matches!(source, Source::Pointer(_)))
    }

    /// Whether the query is needed to fill it.
    pub fn needs_query(&self) -> bool {
        self.query_names().next().is_some()
    }

    /// The query parameters that it uses.
    pub fn query_names(&self) -> impl Iterator<Item = &str> {
        self.sources().filter_map(|source| match source {
            Source::Query(name) => Some(name.as_str()),
            _ => None,
        })
    }

    /// The claims without which it cannot be filled, where these are all that there are.
    pub(crate) fn lacking_claims(&self, claims: Option<&RawValue>) -> impl Iterator<Item = &ClaimPath> {
        self.holes().filter_map(move |hole| hole.lacking_claim(claims))
    }

    /// Those of these claims that it uses, with the number of the hole that each is for, and what it makes of each.
    pub(crate) fn claim_texts<'a>(
        &'a self,
        claims: Option<&'a RawValue>,
    ) -> impl Iterator<Item = (usize, &'a ClaimPath, Cow<'a, str>)> {
        self.holes().enumerate().filter_map(move |(number, hole)| {
            let (path, text) = hole.claim_text(claims)?;
            Some((number, path, text))
        })
    }

    /// Whether it is empty where nothing of what it asks for is there.
    pub(crate) fn may_be_empty(&self) -> bool {
        let blank = |part: &Part| matches!(part, Part::Hole(hole) if hole.default() == Some(""));
        self.parts.iter().all(blank)
    }

    /// Whether what it is for is left out if something is not there.
    pub(crate) fn is_optional(&self) -> bool {
        self.holes().any(|hole| hole.optional)
    }

    /// The parts of the request that it is made of and that are redacted, and how.
    pub(crate) fn redacted(&self, redaction: &Redaction) -> impl Iterator<Item = (String, Treatment)> {
        self.sources().filter_map(|source| Some((source.to_string(), source.treatment(redaction)?)))
    }

    /// A part of the request that is never there, because redaction drops it, and without which nothing can be made.
    /// Where `strict` is set, neither a default nor leaving it out makes up for that.
    pub(crate) fn never_there(&self, redaction: &Redaction, strict: bool) -> Option<String> {
        let dead = |hole: &&Hole| {
            let dropped = |source: &Source| source.treatment(redaction) == Some(Treatment::Drop);
            hole.sources().all(dropped) && (strict || !hole.optional && hole.default().is_none())
        };
        self.holes().find(dead).map(|hole| hole.source.to_string())
    }

    /// Whether requests make different texts of it: by a part that they choose, and that nothing else stands in for.
    pub(crate) fn tells_requests_apart(&self) -> bool {
        let varies = |hole: &Hole| {
            hole.default().is_none()
                && hole.sources().all(|source| !source.is_known() && *source != Source::Method)
        };
        self.holes().any(varies)
    }

    /// Whether every number in it has a unit that tells which time it is.
    pub(crate) fn states_units(&self) -> bool {
        self.holes().all(Hole::states_unit)
    }

    fn sources(&self) -> impl Iterator<Item = &Source> {
        self.holes().flat_map(Hole::sources)
    }

    /// The headers that it uses, in lower case.
    pub fn header_names(&self) -> impl Iterator<Item = &str> {
        self.sources().filter_map(|source| match source {
            Source::Header(name) => Some(name.as_str()),
            _ => None,
        })
    }
}

/// Control characters and noncharacters (CloudEvents 1.0.2, section 3.2).
pub(crate) fn is_disallowed(character: char) -> bool {
    let code = u32::from(character);
    character.is_control() || code & 0xfffe == 0xfffe || (0xfdd0..=0xfdef).contains(&code)
}

#[cfg(test)]
mod tests;
