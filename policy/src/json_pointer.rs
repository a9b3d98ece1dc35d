//! JSON pointers (RFC 6901) over JSON that stays as it was written.
//!
//! A [`Pointer`] names one value, a [`Pattern`] any number of them. Both are looked up in the text itself: nothing is
//! parsed into a tree, numbers keep their spelling, and what is not on the way is only skipped. The stack grows with
//! the pointer, never with the document, and a document is read at most once for each token of the longest pointer.

use std::fmt;
use std::ops::Range;

use serde::de::{Deserializer as _, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// The most reference tokens that a pointer may have.
pub const MAX_TOKENS: usize = 64;

/// A pointer to one value (RFC 6901).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointer {
    text: String,
    tokens: Vec<Token>,
}

/// A pointer in which a token that is `*` stands for every element of an array and every member of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    /// `None` is the `*`.
    tokens: Vec<Option<Token>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Token {
    name: String,
    /// The token as an index into an array, if it can be one.
    index: Option<usize>,
}

impl Token {
    fn parse(text: &str) -> Result<Self, String> {
        let mut name = String::with_capacity(text.len());
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            name.push(match character {
                '~' => match characters.next() {
                    Some('0') => '~',
                    Some('1') => '/',
                    _ => return Err("0 or 1 after each ~ (~0 is ~ itself, ~1 is /)".to_owned()),
                },
                character => character,
            });
        }
        // Digits without leading zeros, as section 4 has it; `-` is the element after the last, which isn't there.
        let is_index =
            name == "0" || !name.starts_with('0') && name.bytes().all(|byte| byte.is_ascii_digit());
        let index = if is_index { name.parse().ok() } else { None };
        Ok(Self { name, index })
    }

    /// Whether this is the name of a member. `name` is a JSON string as written, with its quotes: a name has many
    /// spellings, and all of them are it.
    fn names(&self, name: &RawValue) -> Result<bool, serde_json::Error> {
        let unquoted = name.get().strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        match unquoted {
            Some(text) if !text.contains('\\') => Ok(text == self.name),
            _ => Ok(string_bytes(name.get())?.is_some_and(|bytes| bytes == self.name.as_bytes())),
        }
    }
}

impl Pointer {
    /// Parses a pointer. `*` means nothing but itself.
    ///
    /// # Errors
    /// What was wanted, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let tokens = split(text)?.map(Token::parse).collect::<Result<_, _>>()?;
        Ok(Self { text: text.to_owned(), tokens })
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Pattern {
    /// Parses a pattern. There is no spelling for a member whose name is `*` alone; the pattern that covers it covers
    /// its siblings as well.
    ///
    /// # Errors
    /// What was wanted, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let token = |text| if text == "*" { Ok(None) } else { Token::parse(text).map(Some) };
        let tokens = split(text)?.map(token).collect::<Result<_, _>>()?;
        Ok(Self { text: text.to_owned(), tokens })
    }

    /// Whether it names what `pointer` names (`true`), or something around it (`false`).
    pub(crate) fn covers(&self, pointer: &Pointer) -> Option<bool> {
        let is = |(token, named): (&Option<Token>, &Token)| token.as_ref().is_none_or(|token| token == named);
        let inside = self.tokens.len() <= pointer.tokens.len();
        (inside && self.tokens.iter().zip(&pointer.tokens).all(is))
            .then_some(self.tokens.len() == pointer.tokens.len())
    }

    /// Whether this is the whole document, and not something inside it.
    pub fn is_whole_document(&self) -> bool {
        self.tokens.is_empty()
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn split(text: &str) -> Result<impl Iterator<Item = &str>, String> {
    if !text.is_empty() && !text.starts_with('/') {
        return Err("a JSON pointer: a slash before each token (/customer/name), or nothing for the whole \
                    document"
            .to_owned());
    }
    let tokens = text.split('/').skip(1);
    if tokens.clone().nth(MAX_TOKENS).is_some() {
        return Err(format!("a JSON pointer of at most {MAX_TOKENS} tokens"));
    }
    Ok(tokens)
}

/// A member on the way occurs more than once. Parsers disagree about which one counts, and that disagreement is a way
/// around a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ambiguous {
    /// The pointer to the member.
    pub pointer: String,
}

impl fmt::Display for Ambiguous {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: wanted this member at most once, got it repeated", self.pointer)
    }
}

impl std::error::Error for Ambiguous {}

/// Finds the value that `pointer` names, exactly as it is written.
///
/// # Errors
/// [`Ambiguous`] when a member on the way occurs more than once.
pub fn find<'a>(json: &'a RawValue, pointer: &Pointer) -> Result<Option<&'a RawValue>, Ambiguous> {
    let mut value = json;
    for (depth, token) in pointer.tokens.iter().enumerate() {
        let mut found = None;
        let mut repeated = false;
        let read = each_child(value, &mut |child| {
            if child.place.is(token)? {
                repeated |= found.replace(child.value).is_some();
            }
            Ok(())
        });
        // A `RawValue` is JSON, so reading it doesn't fail; if it did, its content would be as doubtful.
        if repeated || read.is_err() {
            let parents = pointer.text.split('/').take(depth + 2).collect::<Vec<_>>();
            return Err(Ambiguous { pointer: parents.join("/") });
        }
        match found {
            Some(child) => value = child,
            None => return Ok(None),
        }
    }
    Ok(Some(value))
}

/// The content of a JSON string (as written, without whitespace around it) as UTF-8, or `None` for another value. A surrogate without its other half, which JSON
/// allows (RFC 8259, section 8.2) and UTF-8 doesn't, comes out in the three bytes that UTF-8 would have for it.
///
/// # Errors
/// What is wrong with the string, if it isn't JSON after all.
pub fn string_bytes(json: &str) -> Result<Option<Vec<u8>>, serde_json::Error> {
    struct Bytes;

    impl Visitor<'_> for Bytes {
        type Value = Vec<u8>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string")
        }

        fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
            Ok(bytes.to_vec())
        }
    }

    if !json.starts_with('"') {
        return Ok(None);
    }
    serde_json::Deserializer::from_str(json).deserialize_bytes(Bytes).map(Some)
}

/// A value that a pattern names, by byte offsets into the document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Which pattern; the first one, if several name this value.
    pub pattern: usize,
    /// Where the member (its name) or the element begins.
    pub start: usize,
    /// The value. The member or the element ends with it.
    pub value: Range<usize>,
    /// Where the next member or element begins, unless this is the last. A comma is in between.
    pub next: Option<usize>,
}

/// Calls `visit` with each value in the document that one of the patterns names, from the front to the back: every
/// occurrence of a repeated member, and every spelling of a name. What lies inside a value that was visited is not
/// visited again.
///
/// # Errors
/// What is wrong with the document, if it isn't JSON after all.
pub fn visit_targets(
    json: &RawValue,
    patterns: &[&Pattern],
    visit: &mut dyn FnMut(Target),
) -> Result<(), serde_json::Error> {
    if let Some(pattern) = patterns.iter().position(|pattern| pattern.is_whole_document()) {
        visit(Target { pattern, start: 0, value: 0..json.get().len(), next: None });
        return Ok(());
    }
    let live: Vec<usize> = (0..patterns.len()).collect();
    Walk { document: json.get(), patterns, visit }.descend(json, 0, &live)
}

struct Walk<'w> {
    document: &'w str,
    patterns: &'w [&'w Pattern],
    visit: &'w mut dyn FnMut(Target),
}

impl Walk<'_> {
    /// Goes through a container at `depth`, to which the patterns in `live` lead.
    fn descend(
        &mut self,
        container: &RawValue,
        depth: usize,
        live: &[usize],
    ) -> Result<(), serde_json::Error> {
        // A target waits here until it is known what follows it.
        let mut waiting: Option<Target> = None;
        let mut inside = Vec::new();
        each_child(container, &mut |child| {
            let start = self.offset(child.place.name().unwrap_or(child.value));
            if let Some(mut target) = waiting.take() {
                target.next = Some(start);
                (self.visit)(target);
            }
            inside.clear();
            for &pattern in live {
                let tokens = self.patterns.get(pattern).map_or(&[][..], |pattern| pattern.tokens.as_slice());
                let matches = match tokens.get(depth) {
                    Some(Some(token)) => child.place.is(token)?,
                    Some(None) => true,
                    None => false,
                };
                if matches && tokens.len() == depth + 1 {
                    let value = self.offset(child.value);
                    let value = value..value + child.value.get().len();
                    waiting = Some(Target { pattern, start, value, next: None });
                    return Ok(());
                }
                if matches {
                    inside.push(pattern);
                }
            }
            if inside.is_empty() { Ok(()) } else { self.descend(child.value, depth + 1, &inside) }
        })?;
        if let Some(target) = waiting {
            (self.visit)(target);
        }
        Ok(())
    }

    /// Where in the document a part of it begins.
    fn offset(&self, part: &RawValue) -> usize {
        part.get().as_ptr().addr().wrapping_sub(self.document.as_ptr().addr())
    }
}

/// An element of an array or a member of an object.
struct Child<'a> {
    place: Place<'a>,
    value: &'a RawValue,
}

enum Place<'a> {
    Element(usize),
    /// The name as written.
    Member(&'a RawValue),
}

impl<'a> Place<'a> {
    fn is(&self, token: &Token) -> Result<bool, serde_json::Error> {
        match self {
            Self::Element(index) => Ok(token.index == Some(*index)),
            Self::Member(name) => token.names(name),
        }
    }

    fn name(&self) -> Option<&'a RawValue> {
        match self {
            Self::Element(_) => None,
            Self::Member(name) => Some(name),
        }
    }
}

/// Calls `visit` with each child of an array or an object; other values have none.
fn each_child<'a>(
    json: &'a RawValue,
    visit: &mut dyn FnMut(Child<'a>) -> Result<(), serde_json::Error>,
) -> Result<(), serde_json::Error> {
    struct Children<'v, 'a>(&'v mut dyn FnMut(Child<'a>) -> Result<(), serde_json::Error>);

    impl<'a> Visitor<'a> for Children<'_, 'a> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array or an object")
        }

        fn visit_seq<A: SeqAccess<'a>>(self, mut elements: A) -> Result<(), A::Error> {
            let mut index = 0;
            while let Some(value) = elements.next_element()? {
                (self.0)(Child { place: Place::Element(index), value }).map_err(A::Error::custom)?;
                index += 1;
            }
            Ok(())
        }

        fn visit_map<A: MapAccess<'a>>(self, mut members: A) -> Result<(), A::Error> {
            while let Some((name, value)) = members.next_entry()? {
                (self.0)(Child { place: Place::Member(name), value }).map_err(A::Error::custom)?;
            }
            Ok(())
        }
    }

    if !json.get().starts_with(['[', '{']) {
        return Ok(());
    }
    serde_json::Deserializer::from_str(json.get()).deserialize_any(Children(visit))
}

#[cfg(all(test, not(target_family = "wasm")))]
pub(crate) mod spelled;
#[cfg(test)]
mod tests;
