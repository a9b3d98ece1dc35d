//! The query of a request target, as `application/x-www-form-urlencoded` pairs (URL Standard, section 5.1).
//!
//! The standard's own parser repairs what is broken; this one refuses it, because a service behind the gateway may
//! repair it another way.

use std::fmt;

use percent_encoding::percent_decode;

use crate::head::Repeated;

/// The most parameters that a query may have.
pub const MAX_PARAMETERS: usize = 256;

/// A parsed query. Names and values are decoded once: `+` is a space, then the percent-encoding.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    pairs: Vec<(String, String)>,
}

/// Why a query was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryError {
    /// More than [`MAX_PARAMETERS`].
    TooMany,
    /// A control character, a space, a `#` or a byte above ASCII, unencoded.
    Character,
    /// A `%` that two hexadecimal digits don't follow.
    PercentEncoding,
    /// Percent-encoded bytes that are not UTF-8.
    Utf8,
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany => write!(f, "it has more than {MAX_PARAMETERS} parameters"),
            Self::Character => f.write_str("it has a character that must not stand in a query"),
            Self::PercentEncoding => f.write_str("its percent-encoding is broken"),
            Self::Utf8 => f.write_str("it is not UTF-8"),
        }
    }
}

impl Query {
    /// Parses what stands behind the first `?` of a request target. A parameter without `=` has an empty value, and
    /// nothing between two `&` is no parameter.
    ///
    /// # Errors
    /// [`QueryError`] names what is wrong.
    pub fn parse(raw: &[u8]) -> Result<Self, QueryError> {
        let mut pairs = Vec::new();
        for pair in raw.split(|&byte| byte == b'&').filter(|pair| !pair.is_empty()) {
            if pairs.len() == MAX_PARAMETERS {
                return Err(QueryError::TooMany);
            }
            let mut parts = pair.splitn(2, |&byte| byte == b'=');
            let mut part = || decode(parts.next().unwrap_or_default());
            pairs.push((part()?, part()?));
        }
        Ok(Self { pairs })
    }

    /// The value of a parameter that may occur once.
    ///
    /// # Errors
    /// [`Repeated`] when it occurs more often, because services disagree about which one counts.
    pub fn single(&self, name: &str) -> Result<Option<&str>, Repeated> {
        let mut values =
            self.pairs.iter().filter(|(other, _)| other == name).map(|(_, value)| value.as_str());
        let first = values.next();
        if values.next().is_some() { Err(Repeated) } else { Ok(first) }
    }
}

fn decode(raw: &[u8]) -> Result<String, QueryError> {
    let mut rest = raw;
    while let Some((&byte, after)) = rest.split_first() {
        rest = match (byte, after) {
            (b'%', [high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => after,
            (b'%', _) => return Err(QueryError::PercentEncoding),
            (b'#', _) => return Err(QueryError::Character),
            (byte, _) if !byte.is_ascii_graphic() => return Err(QueryError::Character),
            _ => after,
        };
    }
    let spaced: Vec<u8> = raw.iter().map(|&byte| if byte == b'+' { b' ' } else { byte }).collect();
    percent_decode(&spaced).decode_utf8().map(String::from).map_err(|_| QueryError::Utf8)
}

#[cfg(test)]
mod tests {
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn pairs(raw: &str) -> Result<Vec<(String, String)>, QueryError> {
        Query::parse(raw.as_bytes()).map(|query| query.pairs)
    }

    #[test]
    fn names_and_values_are_decoded_once() {
        for (raw, wanted) in [
            ("", &[][..]),
            ("&&", &[]),
            ("a=1&b=2", &[("a", "1"), ("b", "2")]),
            ("a&b=&=c&=", &[("a", ""), ("b", ""), ("", "c"), ("", "")]),
            ("a=b=c", &[("a", "b=c")]),
            ("a+b=c+d%2Be", &[("a b", "c d+e")]),
            ("%61=%2541&gr%C3%BCn=%00", &[("a", "%41"), ("grün", "\0")]),
            ("a=1;b=2", &[("a", "1;b=2")]),
            ("a%26b=c%3Dd", &[("a&b", "c=d")]),
            ("a=/?:@", &[("a", "/?:@")]),
        ] {
            let wanted: Vec<_> = wanted.iter().map(|&(n, v)| (n.to_owned(), v.to_owned())).collect();
            assert_eq!(pairs(raw), Ok(wanted), "{raw}");
        }
    }

    #[test]
    fn what_could_be_read_two_ways_is_refused() {
        for (raw, error) in [
            ("a=%", QueryError::PercentEncoding),
            ("a=%2", QueryError::PercentEncoding),
            ("%zz=1", QueryError::PercentEncoding),
            ("a=1&%+1", QueryError::PercentEncoding),
            ("a=%ff", QueryError::Utf8),
            ("a=%c0%af", QueryError::Utf8),
            ("%ed%a0%80", QueryError::Utf8),
            ("a=b c", QueryError::Character),
            ("a=b#c", QueryError::Character),
            ("a=grün", QueryError::Character),
            ("a=\u{7f}", QueryError::Character),
        ] {
            assert_eq!(pairs(raw), Err(error), "{raw}");
        }
    }

    #[test]
    fn one_is_one() {
        let query = Query::parse(b"a=1&b=2&%61=1&B=3").unwrap();
        assert_eq!(query.single("a"), Err(Repeated));
        assert_eq!(query.single("b"), Ok(Some("2")));
        assert_eq!(query.single("c"), Ok(None));
    }

    #[test]
    fn their_number_is_bounded() {
        assert_eq!(pairs(&"a&".repeat(MAX_PARAMETERS)).unwrap().len(), MAX_PARAMETERS);
        assert_eq!(pairs(&"a&".repeat(MAX_PARAMETERS + 1)), Err(QueryError::TooMany));
    }

    #[cfg(not(target_family = "wasm"))]
    mod properties {
        use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
        use proptest::prelude::*;

        use super::*;

        proptest! {
            #[test]
            fn what_is_encoded_comes_back(wanted in proptest::collection::vec((".*", ".*"), 0..8)) {
                let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
                let raw: Vec<String> = wanted.iter().map(|(n, v)| format!("{}={}", encode(n), encode(v))).collect();
                prop_assert_eq!(pairs(&raw.join("&")), Ok(wanted));
            }

            #[test]
            fn any_bytes_are_read_or_refused(raw in proptest::collection::vec(any::<u8>(), 0..64)) {
                if let Ok(query) = Query::parse(&raw) {
                    prop_assert!(raw.iter().all(u8::is_ascii_graphic));
                    prop_assert!(query.pairs.len() <= raw.split(|&byte| byte == b'&').count());
                }
            }
        }
    }
}
