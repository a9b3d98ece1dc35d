//! Topics: which names there can be, and which of them the bridge writes.

use std::collections::BTreeMap;

use serde::Serialize;

/// A topic, or all topics whose names start alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pattern {
    start: String,
    open: bool,
}

impl std::str::FromStr for Pattern {
    type Err = String;

    /// Reads `orders`, or `orders.*` for all that start with `orders.`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (start, open) = text.strip_suffix('*').map_or((text, false), |start| (start, true));
        // The start of a name need not be one itself.
        if is_name(start)
            || open && (start.is_empty() || start.len() < MAX_NAME && start.bytes().all(is_legal))
        {
            Ok(Self { start: start.to_owned(), open })
        } else {
            Err(format!("wanted the name of a topic, or the start of one and then *, got {text:?}"))
        }
    }
}

impl Pattern {
    /// The topic, if it is a single one.
    pub fn exact(&self) -> Option<&str> {
        (!self.open).then_some(&*self.start)
    }

    fn matches(&self, topic: &str) -> bool {
        if self.open { topic.starts_with(&self.start) } else { topic == self.start }
    }
}

/// The topics that may be written; none listed means all.
#[derive(Clone, Debug, Default)]
pub struct Allowed(Vec<Pattern>);

impl Allowed {
    /// These, or all if there are none.
    pub fn new(patterns: Vec<Pattern>) -> Self {
        Self(patterns)
    }

    /// Whether `topic` may be written.
    pub fn allows(&self, topic: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|pattern| pattern.matches(topic))
    }
}

/// The topics that may be written, by cluster.
#[derive(Clone, Debug)]
pub struct Topics(BTreeMap<String, Allowed>);

impl Topics {
    /// Of these clusters.
    pub fn new(clusters: impl IntoIterator<Item = (String, Vec<Pattern>)>) -> Self {
        Self(clusters.into_iter().map(|(name, patterns)| (name, Allowed::new(patterns))).collect())
    }

    /// Whether `topic` of the cluster with this name may be written; none of a cluster that there is not.
    pub fn allows(&self, cluster: &str, topic: &str) -> bool {
        self.0.get(cluster).is_some_and(|allowed| allowed.allows(topic))
    }
}

const MAX_NAME: usize = 249;

fn is_legal(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

/// Reads the name of a topic.
///
/// # Errors
/// What was wanted.
pub fn name(text: &str) -> Result<String, String> {
    if is_name(text) { Ok(text.to_owned()) } else { Err(format!("wanted the name of a topic, got {text:?}")) }
}

/// Whether Kafka would take `name` as a topic (`org.apache.kafka.common.internals.Topic`).
pub fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len()) && !matches!(name, "." | "..") && name.bytes().all(is_legal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topic_names_are_kafkas() {
        for good in ["a", "orders", "A.b_c-9", "...", &"t".repeat(249)] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", ".", "..", "a b", "a/b", "a\0", "größe", "a:b", &"t".repeat(250)] {
            assert!(!is_name(bad), "{bad:?}");
        }
    }

    #[test]
    fn a_star_stands_for_any_end_and_nothing_else() {
        let allowed =
            |patterns: &[&str]| Allowed::new(patterns.iter().map(|text| text.parse().unwrap()).collect());
        let some = allowed(&["orders", "shop.*"]);
        for yes in ["orders", "shop.", "shop.a", "shop.a.b"] {
            assert!(some.allows(yes), "{yes}");
        }
        for no in ["order", "orders2", "shop", "xshop.a", "Orders", ""] {
            assert!(!some.allows(no), "{no}");
        }
        assert!(allowed(&["*"]).allows("any") && Allowed::default().allows("any"));
        assert!(allowed(&[".*"]).allows(".x") && !allowed(&[".*"]).allows("x"));
        for bad in ["", "a*b", "**", "a b", "a b*", "ü*", ".", ".."] {
            assert!(bad.parse::<Pattern>().is_err(), "{bad}");
        }
    }
}
