//! Routes by host and path, so that what a look-up costs does not grow with their number.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::host::HostPattern;
use crate::path_pattern::Step;

/// How specific a host is, the more specific first.
pub(super) type HostRank = (u8, Reverse<usize>);

/// What stands under a pattern of hosts and a pattern of paths.
#[derive(Debug)]
pub(super) struct Tree<T> {
    /// By name, in lower case.
    exact: BTreeMap<Box<str>, Node<T>>,
    /// By the end of names, in lower case, with its first dot.
    suffixes: BTreeMap<Box<str>, Node<T>>,
    /// The length of the longest of them.
    longest_suffix: usize,
    any: Node<T>,
}

/// A place in a path: what ends here, and what goes on.
#[derive(Debug)]
struct Node<T> {
    here: Vec<T>,
    literals: BTreeMap<Box<str>, Node<T>>,
    parameter: Option<Box<Node<T>>>,
}

impl<T> Default for Tree<T> {
    fn default() -> Self {
        let (exact, suffixes) = (BTreeMap::new(), BTreeMap::new());
        Self { exact, suffixes, longest_suffix: 0, any: Node::default() }
    }
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self { here: Vec::new(), literals: BTreeMap::new(), parameter: None }
    }
}

impl<T> Tree<T> {
    /// All that stands under these patterns, to add to.
    pub(super) fn at<'s>(&mut self, host: &HostPattern, path: impl Iterator<Item = Step<'s>>) -> &mut Vec<T> {
        let mut node = match host {
            HostPattern::Exact(name) => self.exact.entry(name.as_str().into()).or_default(),
            HostPattern::Suffix(suffix) => {
                self.longest_suffix = self.longest_suffix.max(suffix.len());
                self.suffixes.entry(suffix.as_str().into()).or_default()
            }
            HostPattern::Any => &mut self.any,
        };
        for step in path {
            node = match step {
                Step::Literal(text) => node.literals.entry(text.as_ref().into()).or_default(),
                Step::Parameter => node.parameter.get_or_insert_default(),
            };
        }
        &mut node.here
    }

    /// All whose patterns match, the more specific host first, then from the left of the path a literal before a
    /// parameter.
    pub(super) fn matching(&self, host: Option<&str>, segments: &[impl AsRef<str>]) -> Vec<&T> {
        let mut found = Vec::new();
        let host = host.map(str::to_ascii_lowercase).unwrap_or_default();
        if let Some(node) = self.exact.get(host.as_str()) {
            node.collect(segments, &mut found);
        }
        // A wildcard stands for one label or more, so there is something before the dot.
        for (dot, _) in host.match_indices('.').filter(|&(dot, _)| dot > 0) {
            let suffix = host.get(dot..).filter(|suffix| suffix.len() <= self.longest_suffix);
            if let Some(node) = suffix.and_then(|suffix| self.suffixes.get(suffix)) {
                node.collect(segments, &mut found);
            }
        }
        self.any.collect(segments, &mut found);
        found
    }
}

impl<T> Tree<T> {
    /// All.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        let mut nodes: Vec<&Node<T>> =
            self.exact.values().chain(self.suffixes.values()).chain([&self.any]).collect();
        std::iter::from_fn(move || {
            let node = nodes.pop()?;
            nodes.extend(node.literals.values().chain(node.parameter.as_deref()));
            Some(&node.here)
        })
        .flatten()
    }
}

impl<T> Tree<T> {
    /// Visits all whose patterns some request matches that matches these as well.
    pub(super) fn for_each_meeting<'t>(
        &'t self,
        host: &HostPattern,
        path: &[Step<'_>],
        visit: &mut impl FnMut(&'t T),
    ) {
        let ends_with = |name: &str, suffix: &str| name.len() > suffix.len() && name.ends_with(suffix);
        match host {
            HostPattern::Exact(name) => {
                self.exact.get(name.as_str()).into_iter().for_each(|node| node.meet(path, visit));
                for (suffix, node) in &self.suffixes {
                    if ends_with(name, suffix) {
                        node.meet(path, visit);
                    }
                }
            }
            HostPattern::Suffix(own) => {
                let exact = self.exact.iter().filter(|(name, _)| ends_with(name, own));
                let suffixes = self
                    .suffixes
                    .iter()
                    .filter(|(other, _)| other.ends_with(own) || own.ends_with(&***other));
                exact.chain(suffixes).for_each(|(_, node)| node.meet(path, visit));
            }
            HostPattern::Any => {
                self.exact.values().chain(self.suffixes.values()).for_each(|node| node.meet(path, visit));
            }
        }
        self.any.meet(path, visit);
    }
}

impl<T> Node<T> {
    fn meet<'t>(&'t self, path: &[Step<'_>], visit: &mut impl FnMut(&'t T)) {
        let Some((step, rest)) = path.split_first() else {
            self.here.iter().for_each(visit);
            return;
        };
        match step {
            Step::Literal(text) => {
                if let Some(node) = self.literals.get(&**text) {
                    node.meet(rest, visit);
                }
            }
            Step::Parameter => {
                self.literals
                    .iter()
                    .filter(|(text, _)| !text.is_empty())
                    .for_each(|(_, node)| node.meet(rest, visit));
            }
        }
        if let Some(node) = self.parameter.as_ref().filter(|_| *step != Step::Literal("".into())) {
            node.meet(rest, visit);
        }
    }

    fn collect<'t>(&'t self, segments: &[impl AsRef<str>], found: &mut Vec<&'t T>) {
        let Some((segment, rest)) = segments.split_first() else {
            found.extend(&self.here);
            return;
        };
        let segment = segment.as_ref();
        if let Some(node) = self.literals.get(segment) {
            node.collect(rest, found);
        }
        // A parameter never matches an empty segment.
        if let Some(node) = self.parameter.as_ref().filter(|_| !segment.is_empty()) {
            node.collect(rest, found);
        }
    }
}

#[cfg(test)]
mod tests {
    #[cfg(not(target_family = "wasm"))]
    mod properties {
        use proptest::prelude::*;

        use super::super::*;
        use crate::path::CanonicalPath;
        use crate::path_pattern::PathPattern;

        fn any_pattern() -> impl Strategy<Value = (HostPattern, PathPattern)> {
            let host = prop::sample::select(vec!["", "a.b", "*.b", "*.a.b", "*.c", "c.a.b"]);
            let path = prop::sample::select(vec![
                "/",
                "/x",
                "/y",
                "/{p}",
                "/x/",
                "/{p}/",
                "/x/{p}",
                "/{p}/x",
                "/{p}/{q}",
                "/x/y",
                "/x/y/{p}",
                "/{p}/y/x",
                "/{p}/{q}/x",
            ]);
            (host, path).prop_map(|(host, path)| {
                let host = if host.is_empty() { HostPattern::Any } else { HostPattern::parse(host).unwrap() };
                (host, PathPattern::parse(path).unwrap())
            })
        }

        fn tree(patterns: &[(HostPattern, PathPattern)]) -> Tree<usize> {
            let mut tree = Tree::default();
            for (index, (host, path)) in patterns.iter().enumerate() {
                tree.at(host, path.steps()).push(index);
            }
            tree
        }

        /// One after the other, as a document is read.
        fn matches(
            (host, path): &(HostPattern, PathPattern),
            asked: Option<&str>,
            segments: &[String],
        ) -> bool {
            host.matches(asked)
                && path.steps().count() == segments.len()
                && path.steps().zip(segments).all(|(step, segment)| match step {
                    Step::Literal(text) => text == *segment,
                    Step::Parameter => !segment.is_empty(),
                })
        }

        const HOSTS: [Option<&str>; 7] =
            [None, Some("a.b"), Some("A.B"), Some("c.a.b"), Some("d.c.a.b"), Some("b"), Some("x.c")];
        const PATHS: [&str; 9] = ["/", "/x", "/x/", "/y", "/x/x", "/x/y", "/y/y/x", "/x/y/x", "/x/y/"];

        proptest! {
            #[test]
            fn what_is_found_is_what_a_search_one_by_one_finds_in_that_order(
                patterns in prop::collection::vec(any_pattern(), 0..24),
                host in prop::sample::select(HOSTS.to_vec()),
                path in prop::sample::select(PATHS.to_vec()),
            ) {
                let path = CanonicalPath::from_target(path.as_bytes()).unwrap();
                let mut wanted: Vec<usize> =
                    (0..patterns.len()).filter(|&index| matches(&patterns[index], host, path.segments())).collect();
                let rank = |index: &usize| {
                    let (host, path) = &patterns[*index];
                    (host.specificity(), path.steps().map(|step| step == Step::Parameter).collect::<Vec<_>>())
                };
                wanted.sort_by_key(rank);
                let tree = tree(&patterns);
                let found: Vec<usize> = tree.matching(host, path.segments()).into_iter().copied().collect();
                prop_assert_eq!(found, wanted);
                prop_assert_eq!(tree.iter().count(), patterns.len());
            }

            #[test]
            fn patterns_that_meet_in_a_request_are_found(patterns in prop::collection::vec(any_pattern(), 1..12)) {
                let tree = tree(&patterns);
                let steps: Vec<_> = patterns[0].1.steps().collect();
                let mut met = Vec::new();
                tree.for_each_meeting(&patterns[0].0, &steps, &mut |index| met.push(*index));
                for (host, path) in HOSTS.iter().flat_map(|host| PATHS.map(|path| (*host, path))) {
                    let path = CanonicalPath::from_target(path.as_bytes()).unwrap();
                    let here = |index: &usize| matches(&patterns[*index], host, path.segments());
                    for index in (0..patterns.len()).filter(|index| here(&0) && here(index)) {
                        prop_assert!(met.contains(&index), "{:?} and {:?}", patterns[0], patterns[index]);
                    }
                }
            }
        }
    }
}
