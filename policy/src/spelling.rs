//! What a service behind the gateway could take for the same path.
//!
//! Routes match one spelling, decoded once ([`crate::path`]). Services are more generous, each in its own way: they decode
//! again, fold the case of letters, of which Unicode has several kinds, cut off what follows a semicolon, and leave out dots
//! and spaces at the end of a segment. [`Spelling`] is the same for all that one of them could take for the same; a
//! request that goes on is held against routes by it, so that no spelling is a way around one.

use percent_encoding::percent_decode_str;
/// How often a segment is decoded again. What is encoded more often still is nobody's name for anything.
const MAX_ROUNDS: usize = 4;

/// A path as the most generous of services would read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spelling {
    segments: Vec<String>,
}

/// A path that falls into other segments once it is decoded again, so that nobody can tell where it leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Manifold;

impl Spelling {
    /// Reads the segments of a path that have been decoded once. A slash at the end is left out.
    ///
    /// # Errors
    /// [`Manifold`].
    pub(crate) fn of(segments: &[String]) -> Result<Self, Manifold> {
        let segments = match segments.split_last() {
            Some((last, others)) if last.is_empty() => others,
            _ => segments,
        };
        segments
            .iter()
            .map(|segment| fold(segment))
            .collect::<Result<_, _>>()
            .map(|segments| Self { segments })
    }

    pub(crate) fn segments(&self) -> &[String] {
        &self.segments
    }
}

/// A segment as the most generous of services would read it. Never empty.
///
/// # Errors
/// [`Manifold`] for what would be no segment or more than one.
pub(crate) fn fold(segment: &str) -> Result<String, Manifold> {
    let folded = decode_again(segment)?;
    if folded.contains(['/', '\\']) {
        return Err(Manifold);
    }
    // Path parameters, and what would be a query or a fragment; and NTFS's name for the content of a file.
    let name = folded.split([';', '?', '#']).next().unwrap_or_default();
    let name = name.strip_suffix("::$data").unwrap_or(name);
    let name = name.trim_start().trim_end_matches(|last: char| last == '.' || last.is_whitespace());
    if name.is_empty() { Err(Manifold) } else { Ok(name.to_owned()) }
}

fn decode_again(segment: &str) -> Result<String, Manifold> {
    let mut text = normal(segment);
    for _ in 0..=MAX_ROUNDS {
        if has_unicode_escape(&text) || text.chars().any(char::is_control) {
            return Err(Manifold);
        }
        let decoded = normal(&percent_decode_str(&text).decode_utf8().map_err(|_| Manifold)?);
        if decoded == text {
            return Ok(text);
        }
        text = decoded;
    }
    Err(Manifold)
}

/// Without the differences that are in how letters are written.
pub(crate) fn normal(text: &str) -> String {
    text.chars()
        .filter(|&character| !is_ignorable(character))
        .map(compatible)
        // Some letters are told apart in lower case only, others in upper case only: ſ and s, K and k. Ligatures come
        // apart.
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase)
        .filter(|&character| !is_ignorable(character))
        .map(without_accent)
        .collect()
}

/// Forms of ASCII characters that are there for other writing systems and for mathematics. What Unicode's tables add to
/// these would double the size of the routing in the filter.
fn compatible(character: char) -> char {
    let code = u32::from(character);
    let from = |first: char, offset: u32| char::from_u32(u32::from(first) + offset).unwrap_or(character);
    match code {
        0xff01..=0xff5e => from('!', code - 0xff01),
        0x1d400..=0x1d6a3 => from('a', (code - 0x1d400) % 26),
        0x1d7ce..=0x1d7ff => from('0', (code - 0x1d7ce) % 10),
        0x24b6..=0x24e9 => from('a', (code - 0x24b6) % 26),
        0x1f130..=0x1f149 => from('a', code - 0x1f130),
        0x1f150..=0x1f169 => from('a', code - 0x1f150),
        0x1f170..=0x1f189 => from('a', code - 0x1f170),
        0x2460..=0x2468 => from('1', code - 0x2460),
        0x2074..=0x2079 => from('4', code - 0x2074),
        0x2080..=0x2089 => from('0', code - 0x2080),
        0x2070 => '0',
        0xb9 => '1',
        0xb2 | 0xb3 => from('2', code - 0xb2),
        0xaa => 'a',
        0xba => 'o',
        // Leaders, an ellipsis, and small forms.
        0x2024..=0x2026 | 0xfe52 => '.',
        0xfe54 => ';',
        0xfe56 => '?',
        0x2044 | 0x2215 | 0x29f8 | 0x2100 | 0x2101 | 0x2105 | 0x2106 => '/',
        0x2216 | 0x29f5 | 0xfe68 => '\\',
        _ => character,
    }
}

/// Letters without their accents, which some collations do not tell apart.
fn without_accent(character: char) -> char {
    const ACCENTED: [(&str, char); 19] = [
        ("àáâãäåāăąǎ", 'a'),
        ("çćĉċč", 'c'),
        ("ďđ", 'd'),
        ("èéêëēĕėęě", 'e'),
        ("ĝğġģ", 'g'),
        ("ĥħ", 'h'),
        ("ìíîïĩīĭįı", 'i'),
        ("ĵ", 'j'),
        ("ķ", 'k'),
        ("ĺļľŀł", 'l'),
        ("ñńņňŉ", 'n'),
        ("òóôõöøōŏőǒ", 'o'),
        ("ŕŗř", 'r'),
        ("śŝşšș", 's'),
        ("ţťŧț", 't'),
        ("ùúûüũūŭůűųǔ", 'u'),
        ("ŵ", 'w'),
        ("ýÿŷ", 'y'),
        ("źżž", 'z'),
    ];
    if character.is_ascii() {
        return character;
    }
    ACCENTED.iter().find(|(letters, _)| letters.contains(character)).map_or(character, |(_, plain)| *plain)
}

/// `%u002f`, which is no percent-encoding, and which some servers decode all the same.
fn has_unicode_escape(text: &str) -> bool {
    text.match_indices(['u', 'U']).any(|(place, _)| {
        text.get(..place).is_some_and(|before| before.ends_with('%'))
            && text
                .get(place + 1..place + 5)
                .is_some_and(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
    })
}

/// What is not seen, or only above another letter: accents, soft hyphens, joiners, marks of direction, variation selectors,
/// tags.
fn is_ignorable(character: char) -> bool {
    matches!(character,
        '\u{300}'..='\u{36f}' | '\u{ad}' | '\u{61c}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
        | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn what_one_service_could_take_for_the_same_is_the_same() {
        for segment in [
            "admin",
            "ADMIN",
            "aDmIn",
            "%61dmin",
            "%2561dmin",
            "%252561dmin",
            "admin;",
            "admin;a=b",
            "admin%3b",
            "admin%253Bx",
            "admin.",
            "admin..",
            "admin ",
            "admin%20",
            "admin%2e",
            "admin.%20.",
            " admin",
            "admin?x",
            "admin%3fx",
            "admin#x",
            "\u{ff41}\u{ff24}min",
            "adm\u{131}n",
            "adm\u{130}n",
            "\u{e1}dmin",
            "a\u{301}dmin",
            "admin\u{200b}",
            "ad\u{ad}min",
            "admin\u{a0}",
            "\u{1d41a}dmin",
            "\u{24d0}dmin",
            "admin::$DATA",
            "admin\u{ff1b}x",
            "admin\u{2026}",
            "\u{feff}admin",
        ] {
            assert_eq!(fold(segment).as_deref(), Ok("admin"), "{segment:?}");
        }
        for (segment, wanted) in [
            ("\u{17f}ecret", "secret"),
            ("\u{212a}eys", "keys"),
            ("\u{fb01}les", "files"),
            ("stra\u{df}e", "strasse"),
            ("100%", "100%"),
            ("100%25", "100%"),
            ("日本", "日本"),
            ("a.b", "a.b"),
            ("v1:batch", "v1:batch"),
            ("a%20b", "a b"),
            ("-", "-"),
            ("a%zz", "a%zz"),
        ] {
            assert_eq!(fold(segment).as_deref(), Ok(wanted), "{segment:?}");
        }
    }

    #[test]
    fn what_could_be_no_segment_or_several_is_told() {
        for segment in [
            "%2e%2e",
            "%252e%252e",
            "..;",
            "..%3b",
            ".;x",
            "...",
            ". .",
            "a%2fb",
            "a%252fb",
            "a%5cb",
            "a%25255cb",
            "%00",
            "a%250ab",
            "%c0%af",
            "a%ff",
            "%u002f",
            "a%25u005c",
            ";x",
            "%20",
            " ",
            "\u{2026}",
            "a\u{ff0f}b",
            "a\u{ff3c}b",
            "\u{2100}",
            "\u{200b}",
            "%2525252525252561",
        ] {
            assert_eq!(fold(segment), Err(Manifold), "{segment:?}");
        }
    }

    #[cfg(not(target_family = "wasm"))]
    mod properties {
        use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
        use proptest::prelude::*;

        use super::*;

        proptest! {
            /// So that a literal of a route and a segment of a request can be held against each other.
            #[test]
            fn folding_what_is_folded_changes_nothing(segment in "\\PC{0,12}|[a.;%25 ſK\u{130}]{0,8}") {
                if let Ok(folded) = fold(&segment) {
                    prop_assert!(!folded.is_empty());
                    prop_assert_eq!(fold(&folded), Ok(folded));
                }
            }

            #[test]
            fn neither_case_nor_encoding_nor_what_is_cut_off_makes_another(name in "[a-zà-ö]{1,6}", behind in "(\\.| |;[a-z.]{0,3}){0,3}") {
                let spelled = utf8_percent_encode(&(name.to_uppercase() + &behind), NON_ALPHANUMERIC).to_string();
                prop_assert_eq!(fold(&spelled), fold(&name));
            }
        }
    }
}
