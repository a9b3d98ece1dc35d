//! What Envoy's filters before this one have left in a request's dynamic metadata.
//!
//! Envoy hands a value of it over without its type: a text of eight bytes is what a number is, and a list is what an
//! object is. Its metadata as a whole it hands over as the Protocol Buffers message that it is
//! (`envoy.config.core.v3.Metadata`), with every type; so that is what is read.

use std::collections::BTreeMap;

use prost::Message;
use serde_json::value::RawValue;

/// The most bytes of metadata that are read.
pub const MAX_BYTES: usize = 256 << 10;

#[derive(Clone, PartialEq, Message)]
struct Metadata {
    #[prost(btree_map = "string, message", tag = "1")]
    filter_metadata: BTreeMap<String, Struct>,
}

/// `google.protobuf.Struct`.
#[derive(Clone, PartialEq, Message)]
struct Struct {
    #[prost(btree_map = "string, message", tag = "1")]
    fields: BTreeMap<String, Value>,
}

/// `google.protobuf.Value`.
#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(oneof = "Kind", tags = "1, 2, 3, 4, 5, 6")]
    kind: Option<Kind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Kind {
    #[prost(int32, tag = "1")]
    Null(i32),
    #[prost(double, tag = "2")]
    Number(f64),
    #[prost(string, tag = "3")]
    String(String),
    #[prost(bool, tag = "4")]
    Bool(bool),
    #[prost(message, tag = "5")]
    Struct(Struct),
    #[prost(message, tag = "6")]
    List(List),
}

/// `google.protobuf.ListValue`.
#[derive(Clone, PartialEq, Message)]
struct List {
    #[prost(message, repeated, tag = "1")]
    values: Vec<Value>,
}

/// The metadata can't be read, or what is there is no object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// The object of this name that a filter has left, as JSON; `None` if it has left none.
///
/// # Errors
/// [`Malformed`] when it has left something else.
pub fn object(metadata: &[u8], filter: &str, name: &str) -> Result<Option<Box<RawValue>>, Malformed> {
    if metadata.len() > MAX_BYTES {
        return Err(Malformed);
    }
    let mut metadata = Metadata::decode(metadata).map_err(|_| Malformed)?;
    let Some(mut left) = metadata.filter_metadata.remove(filter) else { return Ok(None) };
    match left.fields.remove(name).map(|value| value.kind) {
        None => Ok(None),
        Some(Some(Kind::Struct(object))) => {
            serde_json::value::to_raw_value(&json(Kind::Struct(object))?).map(Some).map_err(|_| Malformed)
        }
        Some(_) => Err(Malformed),
    }
}

/// Numbers are what Protocol Buffers make of them, 64-bit floating point; those that are whole are written as such.
fn json(kind: Kind) -> Result<serde_json::Value, Malformed> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let of = |value: Value| json(value.kind.ok_or(Malformed)?);
    Ok(match kind {
        Kind::Null(_) => serde_json::Value::Null,
        Kind::Bool(value) => value.into(),
        Kind::String(text) => text.into(),
        Kind::Number(number) if number.fract() == 0.0 && number.abs() <= EXACT => {
            #[expect(clippy::cast_possible_truncation, reason = "it is whole and fits")]
            let whole = number as i64;
            whole.into()
        }
        Kind::Number(number) => serde_json::Number::from_f64(number).ok_or(Malformed)?.into(),
        Kind::Struct(object) => {
            let members = object.fields.into_iter().map(|(name, value)| Ok((name, of(value)?)));
            serde_json::Value::Object(members.collect::<Result<_, _>>()?)
        }
        Kind::List(list) => {
            serde_json::Value::Array(list.values.into_iter().map(of).collect::<Result<_, _>>()?)
        }
    })
}

#[cfg(test)]
mod tests {
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    const FILTER: &str = "envoy.filters.http.jwt_authn";

    fn value(kind: Kind) -> Value {
        Value { kind: Some(kind) }
    }

    fn text(text: &str) -> Value {
        value(Kind::String(text.to_owned()))
    }

    fn object_of(fields: Vec<(&str, Value)>) -> Value {
        let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        value(Kind::Struct(Struct { fields }))
    }

    fn metadata(claims: Value) -> Vec<u8> {
        let left = Struct { fields: BTreeMap::from([("payload".to_owned(), claims)]) };
        let other = Struct { fields: BTreeMap::from([("payload".to_owned(), text("other"))]) };
        let filter_metadata = BTreeMap::from([(FILTER.to_owned(), left), ("other".to_owned(), other)]);
        Metadata { filter_metadata }.encode_to_vec()
    }

    fn read(metadata: &[u8], filter: &str, name: &str) -> Result<Option<String>, Malformed> {
        object(metadata, filter, name).map(|json| json.map(|json| json.get().to_owned()))
    }

    #[test]
    fn claims_keep_their_types() {
        let list = value(Kind::List(List { values: vec![text("a"), value(Kind::Number(1.5))] }));
        let claims = object_of(vec![
            ("sub", text("alice")),
            ("exp", value(Kind::Number(1_795_353_386.0))),
            ("eight", text("12345678")),
            ("admin", value(Kind::Bool(true))),
            ("one", text("\u{1}")),
            ("none", value(Kind::Null(0))),
            ("aud", list),
            ("org", object_of(vec![("id", text("7"))])),
            ("large", value(Kind::Number(1e300))),
        ]);
        let wanted = "{\"admin\":true,\"aud\":[\"a\",1.5],\"eight\":\"12345678\",\"exp\":1795353386,\"large\":1e+300,\
                      \"none\":null,\"one\":\"\\u0001\",\"org\":{\"id\":\"7\"},\"sub\":\"alice\"}";
        let got = read(&metadata(claims), FILTER, "payload").unwrap().unwrap();
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&got).unwrap(),
            serde_json::from_str::<serde_json::Value>(wanted).unwrap()
        );
    }

    /// What `protoc --encode=google.protobuf.Struct` makes of the same.
    #[test]
    fn the_bytes_are_those_of_protocol_buffers() {
        let bytes = b"\x0a\x3a\x0a\x1cenvoy.filters.http.jwt_authn\x12\x1a\x0a\x18\x0a\x07payload\x12\x0d\x2a\x0b\x0a\x09\
                      \x0a\x01a\x12\x04\x1a\x02bc\x0a";
        let bytes = &bytes[..bytes.len() - 1];
        assert_eq!(read(bytes, FILTER, "payload"), Ok(Some(r#"{"a":"bc"}"#.to_owned())));
    }

    #[test]
    fn what_is_not_there_is_none_and_what_is_no_object_is_malformed() {
        let there = metadata(object_of(vec![]));
        assert_eq!(read(&there, FILTER, "payload"), Ok(Some("{}".to_owned())));
        assert_eq!(read(&there, FILTER, "other"), Ok(None));
        assert_eq!(read(&there, "another", "payload"), Ok(None));
        assert_eq!(read(b"", FILTER, "payload"), Ok(None));
        for claims in [
            text("alice"),
            value(Kind::Null(0)),
            Value { kind: None },
            object_of(vec![("x", Value { kind: None })]),
            object_of(vec![("x", value(Kind::Number(f64::NAN)))]),
        ] {
            assert_eq!(read(&metadata(claims), FILTER, "payload"), Err(Malformed));
        }
        let mut cut = there.clone();
        cut.pop();
        for malformed in [&cut[..], b"\xff", &vec![0; MAX_BYTES + 1]] {
            assert_eq!(read(malformed, FILTER, "payload"), Err(Malformed));
        }
        let mut deep = text("x");
        for _ in 0..200 {
            deep = object_of(vec![("a", deep)]);
        }
        assert_eq!(read(&metadata(deep), FILTER, "payload"), Err(Malformed));
    }
}
