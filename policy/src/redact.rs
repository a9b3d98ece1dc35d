//! Redaction: what must not leave the gateway is dropped, masked or hashed before anything is sent.
//!
//! What is not redacted keeps every byte. Where two readers could disagree about what is meant, all readings are
//! redacted: every occurrence of a repeated name and every spelling of it, and in queries also what only those see who
//! split at `;`, and names that some take for the same (`redact/parameter.rs`). A body can only be redacted as JSON: when [`Redaction::touches_body`] and the body isn't JSON, the
//! caller has to refuse the request, because what can't be read can't be redacted.

mod attribute;
mod parameter;
mod treatment;

use std::borrow::Cow;
use std::fmt;
use std::rc::Rc;

use hmac::{Hmac, KeyInit as _, Mac as _};
use percent_encoding::percent_decode;
use serde_json::value::RawValue;
use sha2::Sha256;
use wicketgate_envelope::http_header;

use self::parameter::Parameter;
use crate::json_pointer::{self, Pattern, Target};

/// What stands in for a value that is masked.
pub const MASK: &str = "[redacted]";
/// [`MASK`] where brackets must be percent-encoded (RFC 3986, section 3.4).
const MASK_IN_QUERY: &str = "%5Bredacted%5D";
/// [`MASK`] as JSON.
const MASK_IN_JSON: &str = "\"[redacted]\"";

/// What becomes of a value. Where several apply, the first in this order is the one that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Treatment {
    /// The value goes, and its name with it.
    Drop,
    /// [`MASK`] takes the place of the value.
    Mask,
    /// `hmac-sha256:` and 64 hexadecimal digits take the place of the value: equal values stay recognisable as equal,
    /// and only who has the key can tell what they were.
    Hash,
}

/// The key of keyed hashes. It never shows itself.
#[derive(Clone)]
pub struct HashKey(Hmac<Sha256>);

impl HashKey {
    /// The least length of a key, in bytes: that of the hash (RFC 2104, section 3).
    pub const MIN_BYTES: usize = 32;

    /// Takes a key.
    ///
    /// # Errors
    /// What was wanted, in words.
    pub fn new(key: &[u8]) -> Result<Self, String> {
        let wanted = || format!("a key of at least {} bytes", Self::MIN_BYTES);
        if key.len() < Self::MIN_BYTES {
            return Err(wanted());
        }
        Hmac::new_from_slice(key).map(Self).map_err(|_| wanted())
    }

    /// For other uses of the key.
    pub(crate) fn mac(&self) -> Hmac<Sha256> {
        self.0.clone()
    }

    fn hash(&self, value: &[u8]) -> String {
        let code = self.0.clone().chain_update(value).finalize().into_bytes();
        let mut text = String::with_capacity(76);
        text.push_str("hmac-sha256:");
        for byte in code {
            let digit = |value: u8| char::from_digit(value.into(), 16).unwrap_or_default();
            text.extend([digit(byte >> 4), digit(byte & 15)]);
        }
        text
    }
}

impl fmt::Debug for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashKey(not shown)")
    }
}

/// A treatment with all that it takes.
#[derive(Clone, Debug)]
enum Action {
    Drop,
    Mask,
    Hash(Rc<HashKey>),
}

impl Action {
    fn treatment(&self) -> Treatment {
        match self {
            Self::Drop => Treatment::Drop,
            Self::Mask => Treatment::Mask,
            Self::Hash(_) => Treatment::Hash,
        }
    }
}

/// What to redact, and how.
#[derive(Clone, Debug, Default)]
pub struct Redaction {
    key: Option<Rc<HashKey>>,
    /// By lower-case name.
    headers: Vec<(String, Action)>,
    query: Vec<(Parameter, Action)>,
    /// The treatment that counts first.
    body: Vec<(Pattern, Action)>,
}

impl Redaction {
    /// Redacts nothing yet. Without a key, nothing can be hashed.
    pub fn new(key: Option<HashKey>) -> Self {
        Self { key: key.map(Rc::new), ..Self::default() }
    }

    /// Adds a header, in whatever case. One that stands for an attribute of a CloudEvent (`ce-<name>`) stands for it in
    /// every mode, see [`Redaction::attributes`].
    ///
    /// # Errors
    /// What was wanted, in words.
    pub fn add_header(&mut self, name: &str, treatment: Treatment) -> Result<(), String> {
        let name = name.to_ascii_lowercase();
        if let Some(attribute) = attribute::of_header(&name) {
            attribute::check(attribute, treatment)?;
        }
        if name == "idempotency-key" && treatment == Treatment::Mask {
            return Err("hash or drop for this header, because events with one key for all of them are taken for one event"
                .to_owned());
        }
        let action = self.action(treatment)?;
        add(&mut self.headers, name, action)
    }

    /// Adds a query parameter, by its decoded name. It stands for all names that some reader takes for the same.
    ///
    /// # Errors
    /// What was wanted, in words.
    pub fn add_query_parameter(&mut self, name: &str, treatment: Treatment) -> Result<(), String> {
        let action = self.action(treatment)?;
        let parameter = Parameter::new(name);
        if self.query.iter().any(|(present, _)| *present == parameter) {
            return Err(repeated(name));
        }
        self.query.push((parameter, action));
        Ok(())
    }

    /// Adds what `pattern` names in a JSON body.
    ///
    /// # Errors
    /// What was wanted, in words.
    pub fn add_body(&mut self, pattern: Pattern, treatment: Treatment) -> Result<(), String> {
        if treatment == Treatment::Drop && pattern.is_whole_document() {
            return Err(
                "a pointer to something inside the document, for no JSON is left without it".to_owned()
            );
        }
        let action = self.action(treatment)?;
        if self.body.iter().any(|(present, _)| *present == pattern) {
            return Err(format!("each pointer once ({pattern} is repeated)"));
        }
        let place = self.body.partition_point(|(_, present)| present.treatment() <= treatment);
        self.body.insert(place, (pattern, action));
        Ok(())
    }

    fn action(&self, treatment: Treatment) -> Result<Action, String> {
        match (treatment, &self.key) {
            (Treatment::Drop, _) => Ok(Action::Drop),
            (Treatment::Mask, _) => Ok(Action::Mask),
            (Treatment::Hash, Some(key)) => Ok(Action::Hash(Rc::clone(key))),
            (Treatment::Hash, None) => Err("a key to hash with".to_owned()),
        }
    }

    /// Whether bodies have to be JSON, because something in them is to be redacted.
    pub fn touches_body(&self) -> bool {
        !self.body.is_empty()
    }

    /// The names of headers that are redacted, in lower case.
    pub(crate) fn header_names(&self) -> impl Iterator<Item = &str> {
        self.headers.iter().map(|(name, _)| name.as_str())
    }

    /// The value of a header, redacted; `None` if the header is dropped. What is hashed is the value as it is; that of
    /// an attribute, decoded, as it is in all modes of CloudEvents.
    pub fn header<'v>(&self, name: &str, value: &'v [u8]) -> Option<Cow<'v, [u8]>> {
        let action = self.headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name));
        match action.map(|(_, action)| action) {
            None => Some(Cow::Borrowed(value)),
            Some(Action::Drop) => None,
            Some(Action::Mask) => Some(Cow::Borrowed(MASK.as_bytes())),
            Some(Action::Hash(key)) => {
                let decoded = attribute::of_header(&name.to_ascii_lowercase())
                    .and_then(|_| http_header::decode(value).ok());
                let hash = key.hash(decoded.as_deref().map_or(value, str::as_bytes));
                Some(Cow::Owned(hash.into_bytes()))
            }
        }
    }

    /// A query (without its `?`), redacted. What is hashed is the value, percent-decoded; a `+` stays a `+`. Some
    /// services split at `;` as others do at `&`: a parameter that begins after a `;` is redacted up to the next `&`.
    pub fn query(&self, query: &[u8]) -> Vec<u8> {
        if self.query.is_empty() {
            return query.to_vec();
        }
        let pairs: Vec<_> = query.split(|&byte| byte == b'&').filter_map(|pair| self.pair(pair)).collect();
        pairs.join(&b'&')
    }

    fn pair<'q>(&self, pair: &'q [u8]) -> Option<Cow<'q, [u8]>> {
        let mut rest = pair;
        // How much of `rest` there is before a `=`; kept, so that many a `;` doesn't cost many a search.
        let mut name_len = length_before(rest, b'=');
        loop {
            let (name, value) = rest.split_at_checked(name_len).unwrap_or((rest, b""));
            let value = value.strip_prefix(b"=");
            let before = pair.len() - rest.len();
            let raw = parameter::Raw::new(name);
            if let Some((_, action)) = self.query.iter().find(|(parameter, _)| raw.is(parameter)) {
                let redacted = match (action, value) {
                    (Action::Drop, _) if before == 0 => return None,
                    (Action::Drop, _) => return pair.get(..before - 1).map(Cow::Borrowed),
                    // A name alone has nothing to hide.
                    (_, None) => return Some(Cow::Borrowed(pair)),
                    (Action::Mask, Some(_)) => MASK_IN_QUERY.to_owned(),
                    (Action::Hash(key), Some(value)) => key.hash(&Cow::from(percent_decode(value))),
                };
                let kept = pair.get(..=before + name.len()).unwrap_or_default();
                return Some(Cow::Owned([kept, redacted.as_bytes()].concat()));
            }
            let skipped = length_before(rest, b';') + 1;
            let Some(next) = rest.get(skipped..) else { return Some(Cow::Borrowed(pair)) };
            rest = next;
            name_len = match name_len.checked_sub(skipped) {
                Some(left) => left,
                None => length_before(rest, b'='),
            };
        }
    }

    /// A JSON body, redacted; `None` if there is nothing to change. All that is not redacted is kept byte for byte.
    /// What is hashed is the content of a string, without quotes and escapes, and of other values their spelling.
    /// Masks and hashes can be longer than what they stand for: the result is at most `max` bytes.
    ///
    /// # Errors
    /// [`BodyError`], and then nothing of the body may be sent.
    pub fn body(&self, json: &RawValue, max: usize) -> Result<Option<Box<RawValue>>, BodyError> {
        let patterns: Vec<&Pattern> = self.body.iter().map(|(pattern, _)| pattern).collect();
        let mut rewrite = Rewrite { json: json.get(), out: String::new(), done: 0, max, result: Ok(false) };
        json_pointer::visit_targets(json, &patterns, &mut |target| {
            if let Some((_, action)) = self.body.get(target.pattern) {
                rewrite.redact(&target, action);
            }
        })
        .map_err(BodyError::NotJson)?;
        rewrite.finish()
    }
}

fn add(actions: &mut Vec<(String, Action)>, name: String, action: Action) -> Result<(), String> {
    if actions.iter().any(|(present, _)| *present == name) {
        return Err(repeated(&name));
    }
    actions.push((name, action));
    Ok(())
}

fn repeated(name: &str) -> String {
    format!("each name once ({name} is repeated)")
}

fn length_before(bytes: &[u8], end: u8) -> usize {
    bytes.iter().position(|&byte| byte == end).unwrap_or(bytes.len())
}

/// Why a body could not be redacted.
#[derive(Debug)]
pub enum BodyError {
    /// The redacted body would be larger than this many bytes.
    TooLarge(usize),
    /// The body is not JSON after all.
    NotJson(serde_json::Error),
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge(max) => write!(f, "wanted at most {max} bytes once redacted, got more"),
            Self::NotJson(error) => write!(f, "wanted JSON to redact, but {error}"),
        }
    }
}

impl std::error::Error for BodyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::TooLarge(_) => None,
            Self::NotJson(error) => Some(error),
        }
    }
}

/// A document on its way from what it was to what it becomes.
struct Rewrite<'a> {
    json: &'a str,
    out: String,
    /// How much of `json` has been dealt with, in bytes.
    done: usize,
    max: usize,
    /// Whether anything has changed.
    result: Result<bool, BodyError>,
}

impl Rewrite<'_> {
    fn redact(&mut self, target: &Target, action: &Action) {
        if self.result.is_err() {
            return;
        }
        let end = target.value.end;
        match action {
            Action::Drop => {
                self.keep(target.start);
                self.done = target.next.unwrap_or(end);
                if target.next.is_none() {
                    self.take_comma_back();
                }
            }
            Action::Mask => {
                self.keep(target.value.start);
                self.out.push_str(MASK_IN_JSON);
                self.done = end;
            }
            Action::Hash(key) => {
                self.keep(target.value.start);
                let value = self.json.get(target.value.clone()).unwrap_or_default();
                match json_pointer::string_bytes(value) {
                    Ok(content) => {
                        let hash = key.hash(content.as_deref().unwrap_or(value.as_bytes()));
                        self.out.extend(["\"", &hash, "\""]);
                        self.done = end;
                    }
                    Err(error) => return self.result = Err(BodyError::NotJson(error)),
                }
            }
        }
        self.result = if self.out.len() > self.max { Err(BodyError::TooLarge(self.max)) } else { Ok(true) };
    }

    /// Copies what is before `position`.
    fn keep(&mut self, position: usize) {
        self.out.push_str(self.json.get(self.done..position).unwrap_or_default());
    }

    /// The last of several is gone, so what comes before has no comma behind it any more.
    fn take_comma_back(&mut self) {
        if let Some(before) = self.out.trim_end_matches([' ', '\t', '\r', '\n']).strip_suffix(',') {
            self.out.truncate(before.len());
        }
    }

    fn finish(mut self) -> Result<Option<Box<RawValue>>, BodyError> {
        if !self.result? {
            return Ok(None);
        }
        self.out.push_str(self.json.get(self.done..).unwrap_or_default());
        if self.out.len() > self.max {
            return Err(BodyError::TooLarge(self.max));
        }
        RawValue::from_string(self.out).map(Some).map_err(BodyError::NotJson)
    }
}

#[cfg(test)]
mod tests;
