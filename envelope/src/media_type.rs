//! Just enough of media types (RFC 9110, section 8.3.1) to decide how a body is carried.

/// The part of a media type before its parameters, trimmed: `text/plain` of `text/plain; charset=utf-8`.
pub fn essence(media_type: &str) -> &str {
    media_type.split_once(';').map_or(media_type, |(essence, _)| essence).trim()
}

/// Whether the media type is JSON: `*/json` or `*/*+json` (CloudEvents JSON Format 1.0.2, section 3.1).
pub fn is_json(media_type: &str) -> bool {
    let essence = essence(media_type);
    subtype(essence)
        .is_some_and(|subtype| subtype.eq_ignore_ascii_case("json") || has_suffix(subtype, "+json"))
}

/// Whether a body of this media type is text that a reader expects to see as text: `text/*`, XML in any of its
/// spellings, and HTML forms; and whether its charset, if it names one, is UTF-8 or a subset of it.
pub fn is_utf8_text(media_type: &str) -> bool {
    let essence = essence(media_type);
    let textual = essence.get(..5).is_some_and(|kind| kind.eq_ignore_ascii_case("text/"))
        || subtype(essence).is_some_and(|subtype| {
            subtype.eq_ignore_ascii_case("xml")
                || has_suffix(subtype, "+xml")
                || subtype.eq_ignore_ascii_case("x-www-form-urlencoded")
        });
    textual && is_utf8(media_type)
}

/// Whether the charset, if the media type names one, is UTF-8 or a subset of it.
pub fn is_utf8(media_type: &str) -> bool {
    charset(media_type).is_none_or(|charset| {
        charset.eq_ignore_ascii_case("utf-8") || charset.eq_ignore_ascii_case("us-ascii")
    })
}

/// Whether this is a media type at all: two tokens with a slash between them, then parameters in visible ASCII,
/// which are not looked into.
pub fn is_media_type(text: &str) -> bool {
    text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
        && essence(text).split_once('/').is_some_and(|(kind, subtype)| is_token(kind) && is_token(subtype))
}

/// Whether this is a token (RFC 9110, section 5.6.2).
pub fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

fn subtype(essence: &str) -> Option<&str> {
    essence.split_once('/').map(|(_, subtype)| subtype)
}

fn has_suffix(subtype: &str, suffix: &str) -> bool {
    subtype
        .len()
        .checked_sub(suffix.len())
        .and_then(|start| subtype.get(start..))
        .is_some_and(|end| end.eq_ignore_ascii_case(suffix))
}

fn charset(media_type: &str) -> Option<&str> {
    media_type.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"'))
    })
}

#[cfg(test)]
mod tests {
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn json_is_told_by_its_subtype_or_suffix() {
        for yes in [
            "application/json",
            "Application/JSON; charset=utf-8",
            "application/cloudevents+json",
            "text/json",
        ] {
            assert!(is_json(yes), "{yes}");
        }
        for no in ["application/jsonp", "application/ndjson", "json", "text/plain", "application/x+jsonx", ""]
        {
            assert!(!is_json(no), "{no}");
        }
    }

    #[test]
    fn text_must_be_utf8_to_be_carried_as_text() {
        for yes in [
            "text/plain",
            "TEXT/html; charset=UTF-8",
            "application/xml",
            "image/svg+xml",
            "text/csv;charset=\"utf-8\"",
            "application/x-www-form-urlencoded",
        ] {
            assert!(is_utf8_text(yes), "{yes}");
        }
        for no in ["text/plain; charset=iso-8859-1", "application/octet-stream", "image/png", "text", "é/x"]
        {
            assert!(!is_utf8_text(no), "{no}");
        }
    }

    #[test]
    fn a_media_type_is_two_tokens() {
        for yes in ["a/b", "text/plain; charset=\"utf-8\"", "application/vnd.x+json;v=1", " a/b "] {
            assert!(is_media_type(yes), "{yes}");
        }
        for no in ["", "json", "a/", "/b", "a/b/c", "a b/c", "a/b; x=\u{e9}", "a/b\n", "\u{e9}/b"] {
            assert!(!is_media_type(no), "{no}");
        }
    }
}
