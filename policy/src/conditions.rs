//! What a route asks of the headers of a request.

use std::cmp::Reverse;

use crate::head::{RequestHead, is_field_name};

/// Conditions that must all hold.
#[derive(Clone, Debug, Default)]
pub struct Conditions {
    conditions: Vec<Condition>,
}

#[derive(Clone, Debug)]
struct Condition {
    /// In lower case.
    name: String,
    /// `None`: the field is there, with whatever value, and however often.
    value: Option<String>,
}

impl Conditions {
    /// Adds the condition that a header has this value, or with `None` that it is there. A header that occurs more
    /// than once has no value.
    ///
    /// # Errors
    /// What was wanted, in words.
    pub fn add(&mut self, name: &str, value: Option<&str>) -> Result<(), String> {
        let name = name.to_ascii_lowercase();
        if !is_field_name(&name) {
            return Err("the name of a header".to_owned());
        }
        if name == "host" {
            return Err("a header other than host, which is matched as the route's host".to_owned());
        }
        if self.conditions.iter().any(|other| other.name == name) {
            return Err("each header once".to_owned());
        }
        if value.is_some_and(|value| value.trim() != value || value.chars().any(char::is_control)) {
            return Err("a value without white space around it and without control characters".to_owned());
        }
        self.conditions.push(Condition { name, value: value.map(str::to_owned) });
        Ok(())
    }

    /// Whether there are none, so that every request will do.
    pub fn is_empty(&self) -> bool {
        self.conditions.is_empty()
    }

    pub(crate) fn hold(&self, head: &RequestHead) -> bool {
        self.conditions.iter().all(|Condition { name, value }| match value {
            Some(value) => head.single(name) == Ok(Some(value.as_bytes())),
            None => head.all(name).next().is_some(),
        })
    }

    /// Whether some request meets both, and neither is the more specific.
    pub(crate) fn conflict_with(&self, other: &Self) -> bool {
        let exclusive = self.conditions.iter().any(|one| {
            other.conditions.iter().any(|other| {
                one.name == other.name
                    && one.value.is_some()
                    && other.value.is_some()
                    && one.value != other.value
            })
        });
        !exclusive && self.imply(other) == other.imply(self)
    }

    /// Whether every request that meets these meets those.
    fn imply(&self, those: &Self) -> bool {
        those.conditions.iter().all(|that| {
            self.conditions
                .iter()
                .any(|this| this.name == that.name && (that.value.is_none() || this.value == that.value))
        })
    }

    /// Sorts the more specific first, wherever one implies the other.
    pub(crate) fn specificity(&self) -> (Reverse<usize>, Reverse<usize>) {
        let exact = self.conditions.iter().filter(|condition| condition.value.is_some()).count();
        (Reverse(self.conditions.len()), Reverse(exact))
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn conditions(all: &[(&str, Option<&str>)]) -> Conditions {
        let mut conditions = Conditions::default();
        all.iter().for_each(|(name, value)| conditions.add(name, *value).unwrap());
        conditions
    }

    #[test]
    fn all_must_hold() {
        let conditions = conditions(&[("X-One", Some("a")), ("x-two", None)]);
        for (fields, wanted) in [
            (&[("x-one", "a"), ("x-two", "")][..], true),
            (&[("x-one", "a"), ("X-Two", "1"), ("x-two", "2")], true),
            (&[("x-one", "a")], false),
            (&[("x-one", "A"), ("x-two", "")], false),
            (&[("x-one", "a"), ("x-one", "a"), ("x-two", "")], false),
            (&[("x-two", "a")], false),
        ] {
            let mut head = RequestHead::default();
            fields.iter().for_each(|(name, value)| head.push(name.as_bytes(), value.as_bytes()));
            assert_eq!(conditions.hold(&head), wanted, "{fields:?}");
        }
    }

    #[test]
    fn conflicts_are_where_both_can_hold_and_neither_comes_first() {
        let (a, a1, a2, b) = (("a", None), ("a", Some("1")), ("a", Some("2")), ("b", None));
        for (one, other, wanted) in [
            (&[][..], &[][..], true),
            (&[a], &[a], true),
            (&[a], &[b], true),
            (&[a1], &[b], true),
            (&[a1, b], &[a1, b], true),
            (&[a1], &[a, b], true),
            (&[a], &[], false),
            (&[a1], &[a], false),
            (&[a1], &[a2], false),
            (&[a1, b], &[a], false),
            (&[a1, b], &[a2], false),
        ] {
            let (one, other) = (conditions(one), conditions(other));
            assert_eq!(one.conflict_with(&other), wanted, "{one:?} {other:?}");
            assert_eq!(other.conflict_with(&one), wanted, "{other:?} {one:?}");
        }
    }

    #[test]
    fn conditions_that_cannot_be_are_refused() {
        let mut conditions = Conditions::default();
        conditions.add("X-One", None).unwrap();
        for (name, value, wanted) in [
            ("", None, "name of a header"),
            (":path", None, "name of a header"),
            ("Host", None, "other than host"),
            ("x-one", Some("a"), "once"),
            ("x", Some(" a"), "white space"),
            ("x", Some("a\n"), "white space"),
            ("x", Some("a\u{1}b"), "control"),
        ] {
            assert!(conditions.add(name, value).unwrap_err().contains(wanted), "{name}");
        }
        assert!(!conditions.is_empty());
    }
}
