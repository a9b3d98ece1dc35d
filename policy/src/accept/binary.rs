//! CloudEvents in binary mode (CloudEvents HTTP Protocol Binding 1.0.2, section 3.1).

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use wicketgate_envelope::event::{ContextBuilder, Extension};

use super::{Incoming, Place, Refused, check_claims, payload};
use crate::head::RequestHead;

const PREFIX: &[u8] = b"ce-";

/// Reads the attributes from header fields, and the payload from the body.
pub(super) fn read<'a>(
    head: &'a RequestHead,
    content_type: Option<&'a str>,
    body: &'a [u8],
) -> Result<Incoming<'a>, Refused> {
    let refuse = |error| Place::Head.refuse(&error);
    let mut context = ContextBuilder::default();
    for (name, value) in head.fields() {
        let Some(name) = name.strip_prefix(PREFIX) else { continue };
        let name = String::from_utf8_lossy(name);
        if name == "datacontenttype" {
            let detail = "ce-datacontenttype: wanted none, as content-type says it, got one";
            return Err(Refused::BadRequest(detail.to_owned()));
        }
        let value = decode(value).map_err(|fault| {
            let field = Place::Head.name(name.get(..40).unwrap_or(&name));
            Refused::BadRequest(format!("{field}: {fault}"))
        })?;
        context.set(name, Extension::Text(value)).map_err(refuse)?;
    }
    if let Some(content_type) = content_type {
        context.set(Cow::Borrowed("datacontenttype"), content_type.into()).map_err(refuse)?;
    }
    let (context, data_content_type) = context.finish().map_err(refuse)?;
    check_claims(&context, Place::Head)?;
    let data = payload(content_type, body)?;
    Ok(Incoming { data, data_content_type, claimed: Some(Box::new(context)) })
}

/// Undoes quoting, then one round of percent-encoding (section 3.1.3.2). What is not encoded and ought to be is
/// refused where it could mean two things, and taken where earlier versions of the binding had it (space, quote).
fn decode(value: &[u8]) -> Result<Cow<'_, str>, &'static str> {
    let text = match std::str::from_utf8(value.trim_ascii()) {
        Ok(text) if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) => text,
        _ => return Err("wanted visible ASCII and all else percent-encoded, got other bytes"),
    };
    let unquoted = match text.strip_prefix('"') {
        None => Cow::Borrowed(text),
        Some(rest) => Cow::Owned(unquote(rest).ok_or("wanted a quoted string, got one that does not end")?),
    };
    if !unquoted.contains('%') {
        return Ok(unquoted);
    }
    let well_formed = unquoted.split('%').skip(1).all(|part| {
        matches!(part.as_bytes(), [high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit())
    });
    if !well_formed {
        return Err("wanted two hexadecimal digits after each %, got something else");
    }
    match percent_decode_str(&unquoted).decode_utf8() {
        Ok(decoded) => Ok(Cow::Owned(decoded.into_owned())),
        Err(_) => Err("wanted percent-encoded UTF-8, got other bytes"),
    }
}

/// What stands in a quoted string (RFC 9110, section 5.6.4), after its first quote. `None` if it does not end with
/// the value.
fn unquote(rest: &str) -> Option<String> {
    let mut text = String::with_capacity(rest.len());
    let mut chars = rest.chars();
    loop {
        match chars.next()? {
            '\\' => text.push(chars.next()?),
            '"' => return chars.as_str().is_empty().then_some(text),
            char => text.push(char),
        }
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn values_are_unquoted_then_decoded_once() {
        for (value, text) in [
            ("", ""),
            (" plain ", "plain"),
            ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
            ("%e2%82%ac%41", "€A"),
            ("%2520", "%20"),
            (r#""a \"b\" \\ %25""#, r#"a "b" \ %"#),
            (r#""""#, ""),
            (r#"with space and "quote""#, r#"with space and "quote""#),
        ] {
            assert_eq!(decode(value.as_bytes()).as_deref(), Ok(text), "{value}");
        }
    }

    #[test]
    fn what_can_not_be_decoded_is_refused() {
        for value in [
            &b"%"[..],
            b"100%",
            b"%2",
            b"%zz",
            b"%+1",
            b"%C0%A0",
            b"%FF",
            b"%ED%A0%80",
            b"\"",
            b"\"a",
            b"\"a\\\"",
            b"\"a\" b",
            b"\xe2\x82\xac",
            b"\xff",
            b"a\tb",
            b"a\x7f",
        ] {
            assert!(decode(value).is_err(), "{value:?}");
        }
    }
}
