//! What is wrong with JSON, in the words of those who send it.

use std::fmt::Display;

/// The byte order mark in UTF-8, which JSON must not begin with (RFC 8259, section 8.1).
pub const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What a body is that is not JSON by its first bytes already: all that a parser has to say of it is that it expected a
/// value.
pub fn by_its_start(body: &[u8]) -> Option<&'static str> {
    const WIDE: [&[u8]; 3] = [b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff"];
    if body.starts_with(BYTE_ORDER_MARK) {
        Some("it begins with a byte order mark (U+FEFF), which JSON must not have")
    } else if WIDE.iter().any(|mark| body.starts_with(mark)) {
        Some("it is UTF-16 or UTF-32 by its byte order mark, and JSON is UTF-8")
    } else {
        None
    }
}

/// What is wrong with a body, of which a parser said this.
pub fn of_body(body: &[u8], error: &impl Display) -> String {
    by_its_start(body).map_or_else(|| in_words(error), str::to_owned)
}

/// What a parser says, without the names that types have in this program.
pub fn in_words(error: &impl Display) -> String {
    const TYPES: [(&str, &str); 11] = [
        ("i8", "an integer from -128 to 127"),
        ("i16", "an integer from -32768 to 32767"),
        ("i32", "an integer from -2147483648 to 2147483647"),
        ("i64", "an integer of 64 bits"),
        ("u8", "an integer from 0 to 255"),
        ("u16", "an integer from 0 to 65535"),
        ("u32", "an integer from 0 to 4294967295"),
        ("u64", "an integer of 64 bits that is not negative"),
        ("f64", "a number"),
        ("usize", "an integer that is not negative"),
        ("unit", "null"),
    ];
    let text = error.to_string();
    let Some((before, after)) = text.split_once("expected ") else { return text };
    let end = after.find([' ', ',']).unwrap_or(after.len());
    let (name, rest) = after.split_at_checked(end).unwrap_or((after, ""));
    match TYPES.iter().find(|(own, _)| *own == name) {
        Some((_, words)) => format!("{before}expected {words}{rest}"),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn marks_are_told_for_what_they_are() {
        for (body, wanted) in [
            (&b"\xef\xbb\xbf{}"[..], Some("a byte order mark (U+FEFF)")),
            (b"\xff\xfe{\0}\0", Some("UTF-16 or UTF-32")),
            (b"\xfe\xff\0{\0}", Some("UTF-16 or UTF-32")),
            (b"{\xef\xbb\xbf", None),
            (b"", None),
            (b"{}", None),
        ] {
            let told = by_its_start(body);
            assert_eq!(told.is_some(), wanted.is_some(), "{body:?}");
            assert!(told.is_none_or(|told| told.contains(wanted.unwrap_or_default())), "{body:?}");
        }
    }

    #[test]
    fn no_type_has_the_name_that_it_has_here() {
        let integer = serde_json::from_str::<i32>("\"1\"").unwrap_err();
        assert_eq!(
            in_words(&integer),
            "invalid type: string \"1\", expected an integer from -2147483648 to 2147483647 at line 1 column 3"
        );
        let large = serde_json::from_str::<u8>("300").unwrap_err();
        assert!(in_words(&large).contains("expected an integer from 0 to 255"), "{large}");
        let other = serde_json::from_str::<bool>("1").unwrap_err();
        assert_eq!(in_words(&other), other.to_string());
        let syntax = serde_json::from_str::<bool>("{").unwrap_err();
        assert_eq!(in_words(&syntax), syntax.to_string());
    }
}
