//! Where credentials stand in a request, how they are read there, and how they are taken out of what an upstream gets.

use std::borrow::Cow;
use std::fmt;

use percent_encoding::percent_decode;

use super::Rejected;
use crate::head::RequestHead;
use crate::path;

/// A place in the head of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A header, in lower case.
    Header(String),
    /// A query parameter.
    Query(String),
    /// A cookie.
    Cookie(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(f, "header {name}"),
            Self::Query(name) => write!(f, "query parameter {name}"),
            Self::Cookie(name) => write!(f, "cookie {name}"),
        }
    }
}

impl Place {
    /// What stands in this place, if anything does.
    ///
    /// # Errors
    /// [`Rejected::Repeated`] when the place is there more than once: proxies and services disagree about which one
    /// counts.
    pub(crate) fn read<'h>(&self, head: &'h RequestHead) -> Result<Option<Cow<'h, [u8]>>, Rejected> {
        let mut found: Box<dyn Iterator<Item = Cow<'h, [u8]>> + '_> = match self {
            Self::Header(name) => Box::new(
                head.fields()
                    .filter(move |(field, _)| *field == name.as_bytes())
                    .map(|(_, value)| Cow::Borrowed(value)),
            ),
            Self::Query(name) => Box::new(
                query_pairs(head)
                    .filter(move |pair| is_named(pair, name))
                    .map(|pair| decoded(value_of(pair))),
            ),
            Self::Cookie(name) => Box::new(
                head.fields()
                    .filter(|(field, _)| *field == b"cookie")
                    .flat_map(|(_, value)| cookies(value))
                    .filter(move |cookie| name_of(cookie) == name.as_bytes())
                    .map(|cookie| Cow::Borrowed(unquoted(value_of(cookie)))),
            ),
        };
        let first = found.next();
        if found.next().is_some() { Err(Rejected::Repeated(self.to_string())) } else { Ok(first) }
    }
}

/// All places where the document looks for credentials.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CredentialPlaces {
    /// Headers, in lower case.
    pub headers: Vec<String>,
    /// Query parameters.
    pub query: Vec<String>,
    /// Cookies.
    pub cookies: Vec<String>,
}

/// What is changed in a request's head before it goes on to its upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeadChanges {
    /// Fields to take out, in lower case.
    pub remove: Vec<String>,
    /// Fields, or `:path`, to give this one value.
    pub set: Vec<(String, Vec<u8>)>,
}

impl CredentialPlaces {
    pub(crate) fn add(&mut self, place: Place) {
        let (names, name) = match place {
            Place::Header(name) => (&mut self.headers, name),
            Place::Query(name) => (&mut self.query, name),
            Place::Cookie(name) => (&mut self.cookies, name),
        };
        if !names.contains(&name) {
            names.push(name);
        }
    }

    /// The changes that take all credentials out of this head.
    pub fn taken_out_of(&self, head: &RequestHead) -> HeadChanges {
        let mut changes = HeadChanges::default();
        let is_there = |name: &&String| head.fields().any(|(field, _)| field == name.as_bytes());
        changes.remove.extend(self.headers.iter().filter(is_there).cloned());
        if let Some(target) = self.target_without(head) {
            changes.set.push((":path".to_owned(), target));
        }
        match self.cookies_without(head) {
            Some(kept) if kept.is_empty() => changes.remove.push("cookie".to_owned()),
            Some(kept) => changes.set.push(("cookie".to_owned(), kept)),
            None => {}
        }
        changes
    }

    /// `None` where the query has no credential.
    fn target_without(&self, head: &RequestHead) -> Option<Vec<u8>> {
        let is_credential = |pair: &&[u8]| self.query.iter().any(|name| is_named(pair, name));
        if self.query.is_empty() || !query_pairs(head).any(|pair| is_credential(&pair)) {
            return None;
        }
        // Separators stay as they are: a parameter that was none before must not become one.
        let kept: Vec<Vec<u8>> = (path::query(head.target()).unwrap_or_default().split(|byte| *byte == b'&'))
            .filter_map(|part| {
                let left: Vec<&[u8]> =
                    part.split(|byte| *byte == b';').filter(|pair| !is_credential(pair)).collect();
                (!left.is_empty()).then(|| left.join(&b';'))
            })
            .collect();
        let mut target = path::without_query(head.target()).to_vec();
        if !kept.is_empty() {
            target.push(b'?');
            target.extend(kept.join(&b'&'));
        }
        Some(target)
    }

    /// `None` where no cookie is a credential.
    fn cookies_without(&self, head: &RequestHead) -> Option<Vec<u8>> {
        let all =
            || head.fields().filter(|(field, _)| *field == b"cookie").flat_map(|(_, value)| cookies(value));
        let is_credential =
            |cookie: &&[u8]| self.cookies.iter().any(|name| name_of(cookie) == name.as_bytes());
        if self.cookies.is_empty() || !all().any(|cookie| is_credential(&cookie)) {
            return None;
        }
        let kept: Vec<&[u8]> = all().filter(|cookie| !is_credential(cookie)).collect();
        Some(kept.join(&b"; "[..]))
    }
}

/// The parameters of the query, still encoded. Some services split at `;` as well, so a parameter behind one is seen,
/// too.
fn query_pairs(head: &RequestHead) -> impl Iterator<Item = &[u8]> {
    path::query(head.target()).unwrap_or_default().split(|byte| matches!(byte, b'&' | b';'))
}

fn is_named(pair: &[u8], name: &str) -> bool {
    decoded(name_of(pair)) == name.as_bytes()
}

fn name_of(pair: &[u8]) -> &[u8] {
    pair.split(|byte| *byte == b'=').next().unwrap_or_default()
}

fn value_of(pair: &[u8]) -> &[u8] {
    pair.splitn(2, |byte| *byte == b'=').nth(1).unwrap_or_default()
}

fn decoded(text: &[u8]) -> Cow<'_, [u8]> {
    if text.contains(&b'+') {
        let spaced: Vec<u8> = text.iter().map(|&byte| if byte == b'+' { b' ' } else { byte }).collect();
        Cow::Owned(percent_decode(&spaced).collect())
    } else {
        percent_decode(text).into()
    }
}

/// The cookies of a `Cookie` header (RFC 6265, section 5.4).
fn cookies(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b';').map(<[u8]>::trim_ascii).filter(|cookie| !cookie.is_empty())
}

fn unquoted(value: &[u8]) -> &[u8] {
    value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn head(target: &str, cookies: &[&str]) -> RequestHead {
        let mut head = RequestHead::default();
        head.push(b":path", target.as_bytes());
        cookies.iter().for_each(|cookie| head.push(b"Cookie", cookie.as_bytes()));
        head
    }

    #[test]
    fn a_credential_is_read_where_it_stands() {
        let query = Place::Query("key".to_owned());
        let cookie = Place::Cookie("key".to_owned());
        for (target, cookies, place, wanted) in [
            ("/a?key=s%20e&b=1", &[][..], &query, Ok(Some(&b"s e"[..]))),
            ("/a?k%65y=s", &[], &query, Ok(Some(b"s"))),
            ("/a?Key=s", &[], &query, Ok(None)),
            ("/a?key=s&key=s", &[], &query, Err(())),
            ("/a?b=1;key=s&key=s", &[], &query, Err(())),
            ("/a", &["a=1; key=s=x; b=2"], &cookie, Ok(Some(b"s=x"))),
            ("/a", &["a=1", "key=\"s\""], &cookie, Ok(Some(b"s"))),
            ("/a", &["key=s; key=t"], &cookie, Err(())),
            ("/a", &["key=s", "key=s"], &cookie, Err(())),
            ("/a", &["KEY=s"], &cookie, Ok(None)),
        ] {
            let head = head(target, cookies);
            let got = place.read(&head).map_err(drop);
            assert_eq!(got.as_ref().map(Option::as_deref), wanted.as_ref().map(|value| *value), "{target}");
        }
    }

    #[test]
    fn credentials_are_taken_out_and_the_rest_stays() {
        let places = CredentialPlaces {
            headers: vec!["x-api-key".to_owned()],
            query: vec!["key".to_owned()],
            cookies: vec!["sid".to_owned()],
        };
        let set = |name: &str, value: &str| (name.to_owned(), value.as_bytes().to_vec());
        for (target, cookies, remove, changed) in [
            ("/a?b=1", &["c=2"][..], &[][..], vec![]),
            ("/a?key=s", &[], &[], vec![set(":path", "/a")]),
            ("/a?b=1&k%65y=s&c=%20", &[], &[], vec![set(":path", "/a?b=1&c=%20")]),
            ("/a?q=a;b&key=s", &[], &[], vec![set(":path", "/a?q=a;b")]),
            ("/a?q=a;key=s;b&c", &[], &[], vec![set(":path", "/a?q=a;b&c")]),
            ("/a", &["sid=s"], &["cookie"], vec![]),
            ("/a", &["a=1; sid=s", "b=2"], &[], vec![set("cookie", "a=1; b=2")]),
        ] {
            let changes = places.taken_out_of(&head(target, cookies));
            assert_eq!(
                (changes.remove, changes.set),
                (remove.iter().map(|name| (*name).to_owned()).collect(), changed)
            );
        }
        let mut with_key = head("/a", &[]);
        with_key.push(b"X-Api-Key", b"s");
        assert_eq!(places.taken_out_of(&with_key).remove, ["x-api-key"]);
    }
}
