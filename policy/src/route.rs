//! Which route a request takes.
//!
//! The more specific wins: first by host (an exact one, then the longer wildcard, then any), then by path (from the
//! left, a literal segment before a parameter), then by conditions on headers (more before fewer, a value before mere
//! presence). The order in which routes are written says nothing.
//!
//! What goes on to an upstream is held against more than the route that takes it: the upstream may read the path in
//! another way, so every route counts that the request could be meant for ([`Obstacle`]).

mod guard;
mod tree;

use std::collections::BTreeSet;
use std::rc::Rc;

use self::guard::Entry;
pub(crate) use self::guard::Overlap;
pub use self::guard::{Guard, Obstacle};
use self::tree::Tree;

use crate::answer::Success;
use crate::auth::{Authorization, CredentialPlaces, Requirement};
use crate::conditions::Conditions;
use crate::config::document::{OnError, Streams};
use crate::cors::{self, Cors, Denial, Preflight};
use crate::head::RequestHead;
use crate::host::HostPattern;
use crate::limit::RouteLimit;
use crate::path::CanonicalPath;
use crate::path_pattern::PathPattern;
use crate::plan::Plan;
use crate::webhook_handshake::{self, Handshake};

/// A compiled route.
#[derive(Debug)]
pub struct Route {
    /// Its name.
    pub name: String,
    pub(crate) matcher: Matcher,
    /// Which pages in browsers may call it, if any of other origins may.
    pub(crate) cors: Option<Cors>,
    /// Which senders may ask whether they may send events (CloudEvents' handshake), if any may.
    pub(crate) handshake: Option<Handshake>,
    /// How often it may be called.
    pub(crate) limits: Vec<RouteLimit>,
    /// From whom it takes requests.
    pub(crate) requirement: Requirement,
    /// What those may do; `None` where every one of them may send every request.
    pub(crate) authorization: Option<Authorization>,
    /// What it asks of them, to be held against other routes.
    pub(crate) guard: Guard,
    /// Where credentials stand that an upstream does not get.
    pub(crate) credentials: Rc<CredentialPlaces>,
    pub(crate) action: Action,
}

/// What is done with the requests of a route.
#[derive(Debug)]
pub enum Action {
    /// They go on to their upstream.
    Pass,
    /// They become records, and the caller gets the receipts.
    Produce {
        /// How they become records.
        plan: Plan,
        /// What the caller gets.
        success: Success,
    },
    /// A copy of them becomes records, and they go on to their upstream.
    Tee {
        /// How the copy becomes records.
        plan: Plan,
        /// What happens when it does not.
        on_error: OnError,
        /// What happens to those that need not end.
        streams: Streams,
    },
}

impl Action {
    /// Whether a request goes on even if it can't become records.
    pub(crate) fn goes_on_without_a_copy(&self) -> bool {
        matches!(self, Self::Tee { on_error: OnError::Continue, .. })
    }
}

impl Route {
    /// What the route is for: `produce`, `tee` or `pass`.
    pub fn action_name(&self) -> &'static str {
        match self.action {
            Action::Pass => "pass",
            Action::Produce { .. } => "produce",
            Action::Tee { .. } => "tee",
        }
    }

    /// How requests become records, if they do.
    pub fn plan(&self) -> Option<&Plan> {
        match &self.action {
            Action::Pass => None,
            Action::Produce { plan, .. } | Action::Tee { plan, .. } => Some(plan),
        }
    }
}

/// Which requests a route takes.
#[derive(Clone, Debug)]
pub struct Matcher {
    /// Hosts, of which one must match. Never empty; [`HostPattern::Any`] for all.
    pub hosts: Vec<HostPattern>,
    /// Methods, in upper case.
    pub methods: Vec<String>,
    /// Paths.
    pub pattern: PathPattern,
    /// What headers must say.
    pub conditions: Conditions,
}

impl Matcher {
    /// Whether some request meets both, and neither is the more specific.
    pub fn conflicts_with(&self, other: &Self) -> bool {
        self.hosts.iter().any(|host| other.hosts.contains(host))
            && self.pattern.steps().eq(other.pattern.steps())
            && self.methods.iter().any(|method| other.methods.contains(method))
            && self.conditions.conflict_with(&other.conditions)
    }

    fn has_method(&self, method: &[u8]) -> bool {
        self.methods.iter().any(|known| known.as_bytes() == method)
    }
}

/// All routes. What it costs to find those for a request depends on its path, not on their number.
#[derive(Debug, Default)]
pub struct Routes {
    /// As paths are matched; in each place, those with more conditions first.
    exact: Tree<Entry>,
    /// As the most generous of services would match them.
    spelled: Tree<Entry>,
    /// What they ask of their callers, each kind once.
    guards: Vec<Guard>,
}

/// Routes as they come, to find those that cannot be told apart.
#[derive(Debug, Default)]
pub(crate) struct Earlier(Tree<(usize, Rc<Route>)>);

impl Earlier {
    /// Adds the route with this index. Says which earlier one it cannot be told from, if there is one.
    pub(crate) fn insert(&mut self, index: usize, route: &Rc<Route>) -> Option<usize> {
        let mut conflict: Option<usize> = None;
        for host in &route.matcher.hosts {
            let there = self.0.at(host, route.matcher.pattern.steps());
            let conflicting =
                there.iter().find(|(_, earlier)| earlier.matcher.conflicts_with(&route.matcher));
            conflict = conflict.into_iter().chain(conflicting.map(|(index, _)| *index)).min();
            there.push((index, Rc::clone(route)));
        }
        conflict
    }
}

/// What the routes say to a request.
#[derive(Debug)]
pub enum Matched<'p> {
    /// This route takes it, with these path parameters.
    Route(Rc<Route>, Vec<&'p str>),
    /// It would be taken, but only with these methods.
    MethodNotAllowed(Vec<String>),
    /// A route would take it and let it go on, and its path may lead to another that asks for more.
    Unclear,
    /// No route is for its host, its path and its headers.
    NotFound,
}

impl Routes {
    pub(crate) fn new(routes: &[Rc<Route>]) -> Self {
        let mut all = Self::default();
        let mut routes = routes.to_vec();
        routes.sort_by_cached_key(|route| route.matcher.conditions.specificity());
        for route in &routes {
            for pattern in &route.matcher.hosts {
                let entry = Entry { host: pattern.specificity(), route: Rc::clone(route) };
                let path = &route.matcher.pattern;
                all.spelled.at(pattern, path.spelled_steps()).push(entry.clone());
                all.exact.at(pattern, path.steps()).push(entry);
            }
        }
        let guards: BTreeSet<Guard> = routes.iter().map(|route| route.guard.clone()).collect();
        all.guards = guards.into_iter().collect();
        all
    }

    /// All of them, each once for each of its hosts.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Rc<Route>> {
        self.exact.iter().map(|entry| &entry.route)
    }

    /// Finds the route for a request. `host` is what [`RequestHead::host`] says.
    pub fn find<'p>(&self, head: &RequestHead, host: Option<&str>, path: &'p CanonicalPath) -> Matched<'p> {
        let mut entries = self.exact.matching(host, path.segments());
        entries.retain(|entry| entry.route.matcher.conditions.hold(head));
        let taken = entries.iter().find(|entry| entry.route.matcher.has_method(head.method()));
        if let Some(taken) = taken {
            match self.obstacle_to(taken, host, path) {
                None => {
                    let values = taken.route.matcher.pattern.values(path);
                    return Matched::Route(Rc::clone(&taken.route), values);
                }
                Some(Obstacle::Path) => return Matched::Unclear,
                Some(Obstacle::Route) => {}
            }
            let taken = Entry::clone(taken);
            entries.retain(|entry| entry.is_in_the_way_of(&taken));
        }
        let mut allowed: Vec<String> = Vec::new();
        for method in entries.iter().flat_map(|entry| &entry.route.matcher.methods) {
            if !allowed.contains(method) {
                allowed.push(method.clone());
            }
        }
        if allowed.is_empty() { Matched::NotFound } else { Matched::MethodNotAllowed(allowed) }
    }

    /// Whether some route does not let everybody in.
    pub(crate) fn are_guarded(&self) -> bool {
        self.guards.iter().any(|guard| !guard.is_open())
    }

    /// The permission for a sender of events that asks for one (CloudEvents' handshake), by the first route that gives it;
    /// `None` for every other request. Events are sent with `POST`.
    pub fn permission(
        &self,
        head: &RequestHead,
        host: Option<&str>,
        path: &CanonicalPath,
    ) -> Option<webhook_handshake::Fields> {
        webhook_handshake::origin(head)?;
        let mut entries = self.exact.matching(host, path.segments()).into_iter();
        entries.find_map(|entry| {
            let takes_events = entry.route.matcher.has_method(b"POST");
            entry.route.handshake.as_ref().filter(|_| takes_events)?.permit(head)
        })
    }

    /// The answer to a CORS preflight; `None` for every other request, and where no route that the preflight asks
    /// about says anything about CORS.
    ///
    /// A preflight doesn't carry the headers that it asks about, so it is granted only if every route allows it that
    /// the request itself could then take.
    pub fn preflight(
        &self,
        head: &RequestHead,
        host: Option<&str>,
        path: &CanonicalPath,
    ) -> Option<Preflight> {
        let method = cors::requested_method(head)?;
        let (mut granted, mut silent) = (None, false);
        let entries = self.exact.matching(host, path.segments());
        for Entry { route, .. } in entries.into_iter().filter(|entry| entry.route.matcher.has_method(method))
        {
            match route.cors.as_ref().and_then(|cors| cors.preflight(head)) {
                Some(denied @ Preflight::Denied(..)) => return Some(denied),
                Some(answer) => granted = granted.or(Some(answer)),
                None => silent = true,
            }
            if route.matcher.conditions.is_empty() {
                break;
            }
        }
        match granted {
            Some(_) if silent => Some(Preflight::Denied(Denial::Origin, Vec::new())),
            granted => granted,
        }
    }
}

#[cfg(test)]
mod tests;
