//! Which route stands in the way of another.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::tree::HostRank;
use super::{Action, Route, Routes};
use crate::path::CanonicalPath;
use crate::spelling::Spelling;

/// What a route asks of its callers, as far as routes are held against each other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Guard {
    methods: Methods,
    /// What callers may do, each rule as text. All of them have to hold.
    rules: BTreeSet<String>,
}

/// Ways to authenticate, by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Methods {
    /// No credential is asked for.
    Open,
    AnyOf(BTreeSet<String>),
    AllOf(BTreeSet<String>),
}

impl Guard {
    /// Any one of these ways to authenticate will do; for who comes by the one called `anonymous`, none has to.
    pub(crate) fn any_of<'n>(names: impl IntoIterator<Item = &'n str>, anonymous: &str) -> Self {
        let names: BTreeSet<String> = names.into_iter().map(str::to_owned).collect();
        let methods = if names.contains(anonymous) { Methods::Open } else { Methods::AnyOf(names) };
        Self { methods, rules: BTreeSet::new() }
    }

    /// All of these ways to authenticate have to be passed.
    pub(crate) fn all_of<'n>(names: impl IntoIterator<Item = &'n str>) -> Self {
        let names = names.into_iter().map(str::to_owned).collect();
        Self { methods: Methods::AllOf(names), rules: BTreeSet::new() }
    }

    /// Adds a rule of what callers may do.
    pub(crate) fn add_rule(&mut self, rule: String) {
        self.rules.insert(rule);
    }

    /// Whether everybody whom this one lets in is let in by the other.
    pub(crate) fn is_as_strict_as(&self, other: &Self) -> bool {
        let methods = match (&self.methods, &other.methods) {
            (_, Methods::Open) => true,
            (Methods::Open, _) => false,
            (Methods::AnyOf(own), Methods::AnyOf(others)) => own.is_subset(others),
            (Methods::AllOf(own), Methods::AllOf(others)) => own.is_superset(others),
            (Methods::AllOf(own), Methods::AnyOf(others)) => !own.is_disjoint(others),
            (Methods::AnyOf(own), Methods::AllOf(others)) => own.len() == 1 && own == others,
        };
        methods && other.rules.is_subset(&self.rules)
    }

    /// Whether it lets everybody in.
    pub(crate) fn is_open(&self) -> bool {
        self.methods == Methods::Open && self.rules.is_empty()
    }
}

/// A route for one of its hosts.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) host: HostRank,
    pub(super) route: Rc<Route>,
}

impl Entry {
    /// Whether a request that both match is this one's, by its host and the shape of its path.
    fn is_as_specific_as(&self, other: &Self) -> bool {
        match self.host.cmp(&other.host) {
            std::cmp::Ordering::Equal => {
                self.route.matcher.pattern.is_as_specific_as(&other.route.matcher.pattern)
            }
            order => order.is_lt(),
        }
    }

    /// Whether it asks for more than the one that takes a request, and comes before it.
    pub(super) fn is_in_the_way_of(&self, taken: &Self) -> bool {
        !taken.route.guard.is_as_strict_as(&self.route.guard) && !taken.is_as_specific_as(self)
    }
}

/// How a less strict route comes to share requests with a stricter one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overlap {
    /// The stricter is the more specific, and keeps all that could be meant for it.
    Hidden,
    /// The same, and at other hosts the less strict has those paths for itself.
    OtherHosts,
    /// They are told apart by headers alone, and these are the caller's to send or to leave out.
    Headers,
}

/// What stands in the way of a request that would go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// A route that asks for more is for this path, or for one that a service could take for the same.
    Route,
    /// It cannot be told where the path leads, and there are routes that ask for more.
    Path,
}

impl Routes {
    /// What keeps a request from going on that `taken` takes: a route that the request could be meant for as some
    /// service reads its path, with whatever method and headers, that comes before `taken` and asks for more.
    pub(super) fn obstacle_to(
        &self,
        taken: &Entry,
        host: Option<&str>,
        path: &CanonicalPath,
    ) -> Option<Obstacle> {
        if let Action::Produce { .. } = taken.route.action {
            // It goes nowhere but to Kafka, under the name of this route.
            return None;
        }
        // Most documents have few kinds of guards.
        if self.guards.iter().all(|guard| taken.route.guard.is_as_strict_as(guard)) {
            return None;
        }
        let Ok(spelling) = Spelling::of(path.segments()) else { return Some(Obstacle::Path) };
        let meant = self.spelled.matching(host, spelling.segments());
        meant.into_iter().any(|other| other.is_in_the_way_of(taken)).then_some(Obstacle::Route)
    }

    /// The stricter routes, by name, that `route` shares requests with, and how the two come to that.
    pub(crate) fn stricter_than(&self, route: &Route) -> BTreeMap<&str, Overlap> {
        let mut found = BTreeMap::new();
        let goes_nowhere = matches!(route.action, Action::Produce { .. });
        if goes_nowhere || self.guards.iter().all(|guard| route.guard.is_as_strict_as(guard)) {
            return found;
        }
        let steps: Vec<_> = route.matcher.pattern.spelled_steps().collect();
        for host in &route.matcher.hosts {
            let own_rank = host.specificity();
            self.spelled.for_each_meeting(host, &steps, &mut |other| {
                if route.guard.is_as_strict_as(&other.route.guard) {
                    return;
                }
                let (own, others) = (&route.matcher, &other.route.matcher);
                let same_request = own.pattern.steps().eq(others.pattern.steps())
                    && own.methods.iter().any(|method| others.methods.contains(method));
                let overlap = match own_rank.cmp(&other.host) {
                    std::cmp::Ordering::Greater => Overlap::OtherHosts,
                    std::cmp::Ordering::Equal if !own.pattern.is_as_specific_as(&others.pattern) => {
                        Overlap::Hidden
                    }
                    std::cmp::Ordering::Equal if same_request => Overlap::Headers,
                    _ => return,
                };
                found.insert(other.route.name.as_str(), overlap);
            });
        }
        found
    }

    /// What keeps a request from going on that no route takes.
    pub fn obstacle(&self, host: Option<&str>, path: &CanonicalPath) -> Option<Obstacle> {
        match Spelling::of(path.segments()) {
            Ok(spelling) => {
                (!self.spelled.matching(host, spelling.segments()).is_empty()).then_some(Obstacle::Route)
            }
            Err(_) => self.are_guarded().then_some(Obstacle::Path),
        }
    }
}

#[cfg(test)]
mod tests;
