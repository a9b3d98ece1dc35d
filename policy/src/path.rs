//! One rule for paths, the same on every host.
//!
//! A path is matched by its segments, each percent-decoded exactly once. What could mean one thing to this rule
//! and another to a service behind the gateway is refused: dot segments, empty segments, encoded slashes,
//! backslashes, path parameters (`;`), control characters, broken percent-encoding, and bytes that are not
//! UTF-8. A trailing slash is part of the path: `/a/` is not `/a`.

use std::fmt;

use percent_encoding::percent_decode;

/// The longest request target, in bytes, that is looked at.
pub const MAX_TARGET_BYTES: usize = 8 * 1024;
/// The most segments that a path may have.
pub const MAX_SEGMENTS: usize = 128;

/// A path that passed the rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CanonicalPath {
    segments: Vec<String>,
}

/// Why a path was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathError {
    /// Not an absolute path, such as `*` or `http://…`.
    NotAbsolute,
    /// Longer than [`MAX_TARGET_BYTES`] or more than [`MAX_SEGMENTS`] segments.
    TooLong,
    /// `//`.
    EmptySegment,
    /// `.` or `..`, encoded or not.
    DotSegment,
    /// `%2F`, `\` or `%5C`.
    HiddenSeparator,
    /// `;`, which some services cut off.
    PathParameter,
    /// A control character, a space, a `#` or a byte above ASCII, unencoded; or a control character, encoded.
    Character,
    /// A `%` that two hexadecimal digits don't follow.
    PercentEncoding,
    /// Percent-encoded bytes that are not UTF-8.
    Utf8,
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAbsolute => "it does not begin with a slash",
            Self::TooLong => "it is too long or has too many segments",
            Self::EmptySegment => "it has an empty segment",
            Self::DotSegment => "it has a dot segment",
            Self::HiddenSeparator => "it has a backslash or an encoded slash",
            Self::PathParameter => "it has a path parameter (;)",
            Self::Character => "it has a character that must not stand in a path",
            Self::PercentEncoding => "its percent-encoding is broken",
            Self::Utf8 => "it is not UTF-8",
        })
    }
}

impl CanonicalPath {
    /// Applies the rule to a request target; what follows the first `?` is left out.
    ///
    /// # Errors
    /// [`PathError`] names the part of the rule that does not hold.
    pub fn from_target(target: &[u8]) -> Result<Self, PathError> {
        if target.len() > MAX_TARGET_BYTES {
            return Err(PathError::TooLong);
        }
        let path = without_query(target);
        let Some((b'/', path)) = path.split_first() else { return Err(PathError::NotAbsolute) };
        let mut segments = Vec::with_capacity(8);
        let mut raw_segments = path.split(|&byte| byte == b'/').peekable();
        while let Some(raw) = raw_segments.next() {
            if segments.len() == MAX_SEGMENTS {
                return Err(PathError::TooLong);
            }
            if raw.is_empty() && raw_segments.peek().is_some() {
                return Err(PathError::EmptySegment);
            }
            segments.push(decode_segment(raw)?);
        }
        Ok(Self { segments })
    }

    /// The decoded segments. `/` has one, the empty one; so `/a/` has two.
    pub fn segments(&self) -> &[String] {
        &self.segments
    }
}

/// The part of a request target before its query.
pub fn without_query(target: &[u8]) -> &[u8] {
    target.split(|&byte| byte == b'?').next().unwrap_or_default()
}

/// The part of a request target behind its first `?`, if there is one.
pub fn query(target: &[u8]) -> Option<&[u8]> {
    target.iter().position(|&byte| byte == b'?').and_then(|index| target.get(index + 1..))
}

fn decode_segment(raw: &[u8]) -> Result<String, PathError> {
    let mut rest = raw;
    while let Some((&byte, after)) = rest.split_first() {
        rest = match byte {
            b'%' => match after {
                [high, low, after @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => after,
                _ => return Err(PathError::PercentEncoding),
            },
            b'\\' => return Err(PathError::HiddenSeparator),
            b';' => return Err(PathError::PathParameter),
            b'#' => return Err(PathError::Character),
            byte if !byte.is_ascii_graphic() => return Err(PathError::Character),
            _ => after,
        };
    }
    let segment = percent_decode(raw).decode_utf8().map_err(|_| PathError::Utf8)?;
    if segment == "." || segment == ".." {
        return Err(PathError::DotSegment);
    }
    for character in segment.chars() {
        match character {
            '/' | '\\' => return Err(PathError::HiddenSeparator),
            character if character.is_control() => return Err(PathError::Character),
            _ => {}
        }
    }
    Ok(segment.into_owned())
}

#[cfg(test)]
mod tests {
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn segments(target: &str) -> Result<Vec<String>, PathError> {
        CanonicalPath::from_target(target.as_bytes()).map(|path| path.segments)
    }

    #[test]
    fn segments_are_decoded_once() {
        assert_eq!(segments("/v1/%6frders/4%202?x=/../y").unwrap(), ["v1", "orders", "4 2"]);
        assert_eq!(segments("/a/%252e%252e").unwrap(), ["a", "%2e%2e"]);
        assert_eq!(segments("/gr%C3%BCn/a%3Bb").unwrap(), ["grün", "a;b"]);
        assert_eq!(segments("/").unwrap(), [""]);
        assert_eq!(segments("/a/").unwrap(), ["a", ""]);
    }

    #[test]
    fn what_could_be_read_two_ways_is_refused() {
        for (target, error) in [
            ("", PathError::NotAbsolute),
            ("*", PathError::NotAbsolute),
            ("http://x/y", PathError::NotAbsolute),
            ("//v1", PathError::EmptySegment),
            ("/v1//orders", PathError::EmptySegment),
            ("/v1/orders//", PathError::EmptySegment),
            ("/v1/./orders", PathError::DotSegment),
            ("/v1/..", PathError::DotSegment),
            ("/v1/%2e%2E/x", PathError::DotSegment),
            ("/v1/.%2e", PathError::DotSegment),
            ("/v1%2Forders", PathError::HiddenSeparator),
            ("/v1\\orders", PathError::HiddenSeparator),
            ("/v1%5corders", PathError::HiddenSeparator),
            ("/v1/orders;x", PathError::PathParameter),
            ("/v1/orders/4 2", PathError::Character),
            ("/v1/orders/4\t2", PathError::Character),
            ("/v1/a#b", PathError::Character),
            ("/v1/grün", PathError::Character),
            ("/v1/%00", PathError::Character),
            ("/v1/%0a", PathError::Character),
            ("/v1/%C2%85", PathError::Character),
            ("/v1/%", PathError::PercentEncoding),
            ("/v1/%2", PathError::PercentEncoding),
            ("/v1/%zz", PathError::PercentEncoding),
            ("/v1/%ff", PathError::Utf8),
            ("/v1/%c0%af", PathError::Utf8),
        ] {
            assert_eq!(segments(target), Err(error), "{target}");
        }
    }

    #[test]
    fn the_query_begins_at_the_first_question_mark() {
        for (target, path, behind) in
            [("/a", "/a", None), ("/a?", "/a", Some("")), ("/a?b?c", "/a", Some("b?c"))]
        {
            assert_eq!(without_query(target.as_bytes()), path.as_bytes(), "{target}");
            assert_eq!(query(target.as_bytes()), behind.map(str::as_bytes), "{target}");
        }
    }

    #[test]
    fn size_is_bounded() {
        assert_eq!(segments(&"/a".repeat(1000)), Err(PathError::TooLong));
        assert_eq!(segments(&format!("/{}", "a".repeat(MAX_TARGET_BYTES))), Err(PathError::TooLong));
        assert_eq!(segments(&"/a".repeat(MAX_SEGMENTS)).unwrap().len(), MAX_SEGMENTS);
    }
}
