//! JSON as a tree that keeps repeated members and their order: an independent reading of what the core must not
//! misread.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// More of them could nest deeper than the stack is.
const MAX_CONTAINERS: usize = 256;

/// A JSON value. Numbers and literals are kept as they are spelled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Json {
    /// A number, `true`, `false` or `null`.
    Other(String),
    /// A string, decoded.
    Text(String),
    /// An array.
    Array(Vec<Json>),
    /// An object.
    Object(Vec<(String, Json)>),
}

impl Json {
    /// Reads a document; `None` where it is no JSON, could nest deeper than a tree should, or has half a surrogate
    /// pair.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let open = text.iter().filter(|byte| matches!(byte, b'[' | b'{')).count();
        if open > MAX_CONTAINERS { None } else { serde_json::from_slice(text).ok() }
    }

    /// Writes the document. `quirk` says for each name, in order, whether it is written with an escape where it needs
    /// none; and spaces come and go with it.
    pub fn write(&self, quirk: &mut dyn FnMut() -> bool, out: &mut String) {
        match self {
            Self::Other(text) => out.push_str(text),
            Self::Text(text) => out.push_str(&quoted(text)),
            Self::Array(elements) => {
                out.push('[');
                for (index, element) in elements.iter().enumerate() {
                    separate(index, quirk(), out);
                    element.write(quirk, out);
                }
                out.push(']');
            }
            Self::Object(members) => {
                out.push('{');
                for (index, (name, value)) in members.iter().enumerate() {
                    let quirky = quirk();
                    separate(index, quirky, out);
                    out.push_str(&if quirky { escaped(name) } else { quoted(name) });
                    out.push_str(if quirky { " :\t" } else { ":" });
                    value.write(quirk, out);
                }
                out.push('}');
            }
        }
    }
}

fn separate(index: usize, quirky: bool, out: &mut String) {
    out.push_str(if quirky { "\n " } else { "" });
    out.push_str(if index > 0 { "," } else { "" });
    out.push_str(if quirky { " \r" } else { "" });
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a string")
}

/// Every UTF-16 code unit as an escape.
fn escaped(text: &str) -> String {
    let units: String = text.encode_utf16().map(|unit| format!("\\u{unit:04X}")).collect();
    format!("\"{units}\"")
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Only the raw text still has a number as it was spelled.
        let raw = <&RawValue>::deserialize(deserializer)?;
        let mut deserializer = serde_json::Deserializer::from_str(raw.get());
        match raw.get().as_bytes().first() {
            Some(b'{' | b'[' | b'"') => deserializer.deserialize_any(Tree).map_err(D::Error::custom),
            _ => Ok(Self::Other(raw.get().to_owned())),
        }
    }
}

struct Tree;

impl<'de> Visitor<'de> for Tree {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, an array or an object")
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Json, A::Error> {
        let mut array = Vec::new();
        while let Some(element) = elements.next_element()? {
            array.push(element);
        }
        Ok(Json::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Json, A::Error> {
        let mut object = Vec::new();
        while let Some(member) = members.next_entry()? {
            object.push(member);
        }
        Ok(Json::Object(object))
    }
}
