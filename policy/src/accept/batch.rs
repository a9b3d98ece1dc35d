//! Many JSON values in one body.

use std::fmt;

use serde::Deserializer as _;
use serde::de::{self, SeqAccess, Visitor};
use serde_json::value::RawValue;
use wicketgate_envelope::json_fault;

use super::Refused;

/// Whether a JSON text, if it is one, is an array.
pub(super) fn is_array(body: &[u8]) -> bool {
    body.trim_ascii_start().first() == Some(&b'[')
}

/// The elements of a JSON array, at most `max`.
pub(super) fn array(body: &[u8], max: usize) -> Result<Vec<&RawValue>, Refused> {
    if !is_array(body) {
        let fault = json_fault::by_its_start(body);
        let got = fault.map_or_else(|| ", got something else".to_owned(), |fault| format!(", but {fault}"));
        return Err(Refused::BadRequest(format!("body: wanted a JSON array{got}")));
    }
    let mut too_many = false;
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let elements = deserializer
        .deserialize_seq(Elements { max, too_many: &mut too_many })
        .and_then(|elements| deserializer.end().map(|()| elements));
    match elements {
        _ if too_many => Err(Refused::TooManyEvents { max }),
        Ok(elements) => Ok(elements),
        Err(error) => Err(Refused::BadRequest(format!("body: wanted a JSON array, got {error}"))),
    }
}

/// The lines that are not blank, each a JSON value, 1 to `max`.
pub(super) fn lines(body: &[u8], max: usize) -> Result<Vec<&RawValue>, Refused> {
    let mut values = Vec::new();
    for (index, line) in body.split(|byte| *byte == b'\n').enumerate() {
        if line.trim_ascii().is_empty() {
            continue;
        }
        if values.len() == max {
            return Err(Refused::TooManyEvents { max });
        }
        values.push(serde_json::from_slice(line).map_err(|error| {
            // Its line is the number of lines within this one.
            let (number, column) = (index + 1, error.column());
            if let Some(fault) = json_fault::by_its_start(line) {
                return Refused::BadRequest(format!("body, line {number}: wanted a JSON value, but {fault}"));
            }
            let text = error.to_string();
            let reason = text.rsplit_once(" at line ").map_or(text.as_str(), |(reason, _)| reason);
            Refused::BadRequest(format!(
                "body, line {number}: wanted a JSON value, got {reason} at column {column}"
            ))
        })?);
    }
    not_empty(values)
}

/// Elements, of which there has to be one.
pub(super) fn not_empty(values: Vec<&RawValue>) -> Result<Vec<&RawValue>, Refused> {
    if values.is_empty() {
        Err(Refused::BadRequest("body: wanted at least one event, got an empty batch".to_owned()))
    } else {
        Ok(values)
    }
}

/// Collects elements, and stops at the first that is too many.
struct Elements<'m> {
    max: usize,
    too_many: &'m mut bool,
}

impl<'de> Visitor<'de> for Elements<'_> {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = seq.next_element()? {
            if elements.len() == self.max {
                *self.too_many = true;
                return Err(de::Error::custom("too many elements"));
            }
            elements.push(element);
        }
        Ok(elements)
    }
}
