//! Bytes inside JSON: a string where they are UTF-8, `{"base64": "…"}` where they are not.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{self, MapAccess, Visitor};
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes that are usually text, such as a record key or a header value. Which of the two JSON forms is used is
/// decided by the bytes alone, so equal bytes always have equal JSON.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Octets<'a>(pub Cow<'a, [u8]>);

impl<'a> From<&'a [u8]> for Octets<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self(Cow::Borrowed(bytes))
    }
}

impl<'a> From<&'a str> for Octets<'a> {
    fn from(text: &'a str) -> Self {
        Self(Cow::Borrowed(text.as_bytes()))
    }
}

impl Serialize for Octets<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("base64", &STANDARD.encode(&self.0))?;
                map.end()
            }
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Octets<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OctetsVisitor;

        impl<'de> Visitor<'de> for OctetsVisitor {
            type Value = Octets<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, or an object {\"base64\": string}")
            }

            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(text.into())
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Octets(Cow::Owned(text.as_bytes().to_vec())))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let Some((name, encoded)) = map.next_entry::<Cow<'de, str>, Cow<'de, str>>()? else {
                    return Err(de::Error::missing_field("base64"));
                };
                if name != "base64" {
                    return Err(de::Error::unknown_field(&name, &["base64"]));
                }
                let bytes = STANDARD.decode(encoded.as_bytes()).map_err(de::Error::custom)?;
                if map.next_key::<Cow<'de, str>>()?.is_some() {
                    return Err(de::Error::custom("one member, base64, is all that is allowed here"));
                }
                Ok(Octets(Cow::Owned(bytes)))
            }
        }

        deserializer.deserialize_any(OctetsVisitor)
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn text_stays_text_and_other_bytes_become_base64() {
        for (bytes, json) in [
            (&b"plain"[..], r#""plain""#),
            ("grün\n\"".as_bytes(), r#""grün\n\"""#),
            (&[0xff, 0x00][..], r#"{"base64":"/wA="}"#),
            (b"", r#""""#),
        ] {
            let octets = Octets::from(bytes);
            assert_eq!(serde_json::to_string(&octets).unwrap(), json);
            assert_eq!(serde_json::from_str::<Octets<'_>>(json).unwrap(), octets);
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for json in
            ["1", "null", "[]", "{}", r#"{"base64":"!"}"#, r#"{"text":"x"}"#, r#"{"base64":"","x":""}"#]
        {
            assert!(serde_json::from_str::<Octets<'_>>(json).is_err(), "{json}");
        }
    }
}
