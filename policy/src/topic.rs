//! Topics that a request may choose within bounds.

mod separation;

use std::borrow::Cow;
use std::fmt;

use serde_json::value::RawValue;

use crate::claims::ClaimPath;
use crate::template::{Facts, Piece, Scope, Template, Unfillable};

/// What [`is_legal`] asks, in words.
pub const WANTED: &str = "the name of a topic: 1 to 249 letters, digits, '.', '_' and '-'";

/// Whether Kafka takes this as the name of a topic.
pub fn is_legal(name: &str) -> bool {
    (1..=249).contains(&name.len()) && is_part(name) && name != "." && name != ".."
}

fn is_part(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

/// A template for a topic. It is confined: it begins with a literal, which no request can change, or what it makes
/// must be on a list. If it is made of what is known of the caller and of what the request chooses, these are kept
/// apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicTemplate {
    template: Template,
    allowed: Option<Vec<String>>,
    /// For each hole, a character that must not be in what fills it.
    separators: Vec<Option<char>>,
}

/// Why a request has no topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopicError {
    /// A part of the request will not do.
    Unfillable(Unfillable),
    /// What it makes is not the name of a topic.
    Illegal,
    /// What it makes is not on the list, or is one of Kafka's own topics.
    NotAllowed,
}

impl fmt::Display for TopicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unfillable(unfillable) => unfillable.fmt(f),
            Self::Illegal => write!(f, "the request makes what cannot be {WANTED}"),
            Self::NotAllowed => {
                f.write_str("the request makes the name of a topic that it must not write to")
            }
        }
    }
}

impl std::error::Error for TopicError {}

impl TopicTemplate {
    /// Parses `text`. `allowed` are the topics that it may make, each [legal](is_legal).
    ///
    /// # Errors
    /// What was wanted, in words.
    pub fn parse(text: &str, allowed: Option<&[String]>, scope: &Scope<'_>) -> Result<Self, String> {
        let template = Template::parse(text, scope)?;
        if template.is_literal() {
            let name = template.literal_prefix();
            if !is_legal(name) {
                return Err(WANTED.to_owned());
            }
            if allowed.is_some_and(|allowed| !allowed.iter().any(|topic| topic == name)) {
                return Err("a topic that is on the route's own allow-list".to_owned());
            }
        } else if !template.literals().all(is_part) {
            return Err(
                "a template for a topic: letters, digits, '.', '_' and '-' around its holes".to_owned()
            );
        } else if allowed.is_none() && template.literal_prefix().is_empty() {
            return Err("a template that starts with a literal prefix, or an allow-list".to_owned());
        }
        check_holes(&template)?;
        let separators = separation::separators(&template)?;
        Ok(Self { template, allowed: allowed.map(<[_]>::to_vec), separators })
    }

    /// The template, to ask what it needs.
    pub fn template(&self) -> &Template {
        &self.template
    }

    /// Those of these claims whose text cannot be part of the name of a topic.
    pub(crate) fn unfit_claims<'a>(
        &'a self,
        claims: Option<&'a RawValue>,
    ) -> impl Iterator<Item = &'a ClaimPath> {
        let texts = self.template.claim_texts(claims);
        texts.filter_map(move |(hole, path, text)| {
            let separator = self.separators.get(hole).copied().flatten();
            let parted = separator.is_some_and(|separator| text.contains(separator));
            (text.is_empty() || !is_part(&text) || parted).then_some(path)
        })
    }

    /// The topic for a request. No hole may be empty, so that the prefix alone is never a topic; and what a request
    /// chooses does not reach into what is known of its caller.
    ///
    /// # Errors
    /// [`TopicError`], which never tells what the request held.
    pub fn fill<'a>(&'a self, facts: &Facts<'a>) -> Result<Cow<'a, str>, TopicError> {
        let topic = self.template.fill_apart(facts, &self.separators).map_err(TopicError::Unfillable)?;
        // None of its holes is optional, so there is always one.
        let topic = topic.filter(|topic| is_legal(topic)).ok_or(TopicError::Illegal)?;
        let allowed = match &self.allowed {
            Some(allowed) => allowed.iter().any(|name| *name == topic),
            // Kafka's own topics begin so; a prefix of one underscore must not be a way to them.
            None => !topic.starts_with("__") || self.template.literal_prefix().starts_with("__"),
        };
        if allowed { Ok(topic) } else { Err(TopicError::NotAllowed) }
    }
}

/// What a hole can be only in templates for other things.
fn check_holes(template: &Template) -> Result<(), String> {
    for piece in template.pieces() {
        match piece {
            Piece::Hole { optional: true, .. } => {
                return Err("no optional part, because every record has a topic (or: has alternatives, default: a text)"
                    .to_owned());
            }
            Piece::Hole { mixed: true, .. } => {
                return Err("alternatives that are all known of the caller (claim, consumer), or none of them, because \
                            callers would choose what is to be known of them"
                    .to_owned());
            }
            Piece::Hole { default: Some(""), .. } => {
                return Err("defaults that are not empty, because no part of a topic may be".to_owned());
            }
            Piece::Hole { .. } | Piece::Literal(_) => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use std::collections::HashMap;

    use super::*;
    use crate::head::RequestHead;

    fn parse(text: &str, allowed: Option<&[&str]>) -> Result<TopicTemplate, String> {
        let names = ["t".to_owned()];
        let allowed: Option<Vec<String>> =
            allowed.map(|allowed| allowed.iter().map(|&topic| topic.to_owned()).collect());
        TopicTemplate::parse(text, allowed.as_deref(), &Scope { path_parameters: &names, ..Scope::default() })
    }

    fn fill(text: &str, allowed: Option<&[&str]>, value: &str) -> Result<String, String> {
        let template = parse(text, allowed).unwrap();
        let head = RequestHead::default();
        let facts = Facts {
            path_parameters: &[value],
            head: &head,
            query: None,
            consumer: None,
            claims: None,
            json: None,
        };
        template.fill(&facts).map(Cow::into_owned).map_err(|error| error.to_string())
    }

    #[test]
    fn a_topic_is_a_literal_or_confined() {
        for (text, allowed) in [
            ("orders", None),
            ("orders", Some(&["a", "orders"][..])),
            ("o{t}", None),
            ("{t}", Some(&["a"])),
            ("{t}.a", Some(&["b.a"])),
            ("__own", None),
        ] {
            assert!(parse(text, allowed).is_ok(), "{text}");
        }
        for (text, allowed, wanted) in [
            ("{t}", None, "a literal prefix, or an allow-list"),
            ("{t}.orders", None, "a literal prefix, or an allow-list"),
            ("{header:x|default:a}", None, "a literal prefix, or an allow-list"),
            ("", None, "the name of a topic"),
            (".", None, "the name of a topic"),
            ("or/ders", None, "the name of a topic"),
            ("a{{", None, "the name of a topic"),
            ("or/{t}", None, "around its holes"),
            ("o.{t}/", None, "around its holes"),
            ("{t} ", Some(&["a"][..]), "around its holes"),
            ("orders", Some(&["a"]), "allow-list"),
            ("orders", Some(&[]), "allow-list"),
            ("o{nope}", None, "a parameter of the route's path (t)"),
            ("o.{t|optional}", None, "no optional part"),
            ("o.{header:x|default:}", None, "defaults that are not empty"),
            ("o.{consumer|or:t}", None, "alternatives that are all known of the caller"),
        ] {
            assert!(parse(text, allowed).unwrap_err().contains(wanted), "{text}");
        }
    }

    #[test]
    fn a_request_chooses_within_the_bounds_only() {
        let long = "a".repeat(248);
        let listed = Some(&["a", "b"][..]);
        for (text, allowed, value, wanted) in [
            ("o.{t}", None, "acme", Ok("o.acme")),
            ("o.{t}", None, "", Err("path parameter t is empty")),
            ("o.{t}", None, "a/b", Err("cannot be the name of a topic")),
            ("o.{t}", None, "grün", Err("cannot be the name of a topic")),
            ("o.{t}", None, "a b", Err("cannot be the name of a topic")),
            ("o.{t}", None, &long, Err("cannot be the name of a topic")),
            (".{t}", None, ".", Err("cannot be the name of a topic")),
            ("_{t}", None, "_consumer_offsets", Err("must not write to")),
            ("__own{t}", None, "x", Ok("__ownx")),
            ("{t}", listed, "b", Ok("b")),
            ("{t}", listed, "c", Err("must not write to")),
            ("{t}", listed, "A", Err("must not write to")),
            ("{t|lower}", listed, "A", Ok("a")),
            ("{header:x|or:t}", listed, "b", Ok("b")),
            ("{header:x|or:t|default:a}", listed, "", Ok("a")),
            ("o.{header:x|or:t}", None, "", Err("path parameter t is empty")),
            ("a{t}", listed, "", Err("path parameter t is empty")),
            ("{t}", Some(&["__a"]), "__a", Ok("__a")),
            ("{t}", Some(&[]), "a", Err("must not write to")),
        ] {
            match (fill(text, allowed, value), wanted) {
                (Ok(topic), Ok(wanted)) => assert_eq!(topic, wanted),
                (Err(error), Err(wanted)) => assert!(error.contains(wanted), "{text} {value}: {error}"),
                (got, wanted) => panic!("{text} {value}: wanted {wanted:?}, got {got:?}"),
            }
        }
    }

    /// The topic of a caller with these claims, whose request has these path parameters.
    fn fill_for(text: &str, claims: [&str; 2], values: [&str; 2]) -> Result<String, String> {
        let names = ["x".to_owned(), "y".to_owned()];
        let scope = Scope { path_parameters: &names, claims: true, ..Scope::default() };
        let template = TopicTemplate::parse(text, None, &scope)?;
        let head = RequestHead::default();
        let [a, b] = claims;
        let claims = serde_json::value::to_raw_value(&serde_json::json!({"a": a, "b": b})).unwrap();
        let facts = Facts {
            path_parameters: &values,
            head: &head,
            query: None,
            consumer: Some(a),
            claims: Some(&claims),
            json: None,
        };
        template.fill(&facts).map(Cow::into_owned).map_err(|error| error.to_string())
    }

    #[test]
    fn what_a_request_chooses_does_not_reach_into_what_is_known_of_its_caller() {
        let apart = |part: &str, separator: char| {
            Err(format!(
                "{part} has a '{separator}', which parts it from what is known of the caller; wanted none"
            ))
        };
        for (text, a, x, wanted) in [
            ("t.{claim:a}.{x}", "acme", "orders", Ok("t.acme.orders".to_owned())),
            ("t.{claim:a}.{x}", "acme", "eu.orders", apart("path parameter x", '.')),
            ("t.{consumer}.{x}", "acme", "eu.orders", apart("path parameter x", '.')),
            // Which is another tenant's own affair.
            ("t.{claim:a}.{x}", "acme.eu", "orders", Ok("t.acme.eu.orders".to_owned())),
            ("t.{claim:a}.{x}", "acme", "new-orders", Ok("t.acme.new-orders".to_owned())),
            ("t.{x}-{claim:a}", "acme", "x-eu", apart("path parameter x", '-')),
            ("t.{x}-{claim:a}", "acme", "x.eu", Ok("t.x.eu-acme".to_owned())),
            ("t.{claim:a}.orders_{x}", "acme", "v1.0", Ok("t.acme.orders_v1.0".to_owned())),
            ("t.{claim:a}.orders_{x}", "acme", "v_1", apart("path parameter x", '_')),
            ("t.{claim:a}.{x}.{claim:b}", "acme.eu", "orders", apart("claim a", '.')),
            // Where nothing is known, or nothing chosen, nothing has to be kept apart.
            ("t.{x}.{y}", "acme", "a.b", Ok("t.a.b.y".to_owned())),
            ("t.{claim:a}.{claim:b}", "a.b", "x", Ok("t.a.b.b".to_owned())),
        ] {
            assert_eq!(fill_for(text, [a, "b"], [x, "y"]), wanted, "{text} {a} {x}");
        }
        for (text, wanted) in [
            ("t.{claim:a}{x}", "text between a hole for what is known"),
            ("t.{x}{consumer}", "text between a hole for what is known"),
            ("t.{claim:a}.{x|default:a.b}", "defaults without '.'"),
        ] {
            let error = fill_for(text, ["a", "b"], ["x", "y"]).unwrap_err();
            assert!(error.starts_with(wanted), "{text}: {error}");
        }
        assert!(fill_for("t.{claim:a|default:a.b}.{x}{y}", ["a", "b"], ["x", "y"]).is_ok());
    }

    /// Callers of whom other things are known never get to one topic by what they choose.
    #[test]
    fn a_topic_tells_what_is_known_of_its_writer() {
        const PARTS: [&str; 7] = ["a", ".", "-", "a.a", "a-a", ".-a", "a-."];
        for (text, known) in [
            ("t.{claim:a}.{x}", "{claim:a}"),
            ("t.{x}.{claim:a}", "{claim:a}"),
            ("t.{x}.-{claim:a}-.{y}", "{claim:a}"),
            ("t.{claim:a}.{x}-{y}.z", "{claim:a}"),
            ("t.{x}{y}.{claim:a}", "{claim:a}"),
            ("t.{claim:a}.{claim:b}.{x}", "{claim:a}.{claim:b}"),
            ("t.{claim:a}{claim:b}.{x}{y}", "{claim:a}{claim:b}"),
            ("t.{claim:a}.{x}-{claim:b}", "{claim:a} {claim:b}"),
            ("t.{x}.{claim:a}.{y}-{claim:b}.z", "{claim:a} {claim:b}"),
        ] {
            let mut writers = HashMap::new();
            for number in 0..PARTS.len().pow(4) {
                let [a, b, x, y] =
                    [0, 1, 2, 3].map(|place| PARTS[number / PARTS.len().pow(place) % PARTS.len()]);
                let Ok(topic) = fill_for(text, [a, b], [x, y]) else { continue };
                let known = known.replace("{claim:a}", a).replace("{claim:b}", b);
                let other = writers.entry(topic.clone()).or_insert_with(|| known.clone());
                assert_eq!(*other, known, "{text} {topic}");
            }
            assert!(writers.len() > PARTS.len(), "{text}: nothing was compared");
        }
    }

    #[cfg(not(target_family = "wasm"))]
    mod properties {
        use proptest::prelude::*;

        use super::*;

        proptest! {
            #[test]
            fn nothing_escapes_its_prefix(value in ".{0,12}|[a-z._-]{0,260}") {
                if let Ok(topic) = fill("tenant.{t}.x", None, &value) {
                    prop_assert!(is_legal(&topic));
                    prop_assert_eq!(topic, format!("tenant.{value}.x"));
                    prop_assert!(!value.is_empty());
                }
            }
        }
    }
}
