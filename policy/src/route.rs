//! Which route a request takes.
//!
//! The more specific wins: first by host (an exact one, then the longer wildcard, then any), then by path (from the
//! left, a literal segment before a parameter), then by conditions on headers (more before fewer, a value before mere
//! presence). The order in which routes are written says nothing.

use std::rc::Rc;

use crate::answer::Success;
use crate::auth::{Authorization, CredentialPlaces, Requirement};
use crate::conditions::Conditions;
use crate::config::document::OnError;
use crate::cors::{self, Cors, Denial, Preflight};
use crate::head::RequestHead;
use crate::host::HostPattern;
use crate::limit::RouteLimit;
use crate::path::CanonicalPath;
use crate::path_pattern::PathPattern;
use crate::plan::Plan;

/// A compiled route.
#[derive(Debug)]
pub struct Route {
    /// Its name.
    pub name: String,
    pub(crate) matcher: Matcher,
    /// Which pages in browsers may call it, if any of other origins may.
    pub(crate) cors: Option<Cors>,
    /// How often it may be called.
    pub(crate) limits: Vec<RouteLimit>,
    /// From whom it takes requests.
    pub(crate) requirement: Requirement,
    /// What those may do; `None` where every one of them may send every request.
    pub(crate) authorization: Option<Authorization>,
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
            && self.pattern.same_paths(&other.pattern)
            && self.methods.iter().any(|method| other.methods.contains(method))
            && self.conditions.conflict_with(&other.conditions)
    }

    fn has_method(&self, method: &[u8]) -> bool {
        self.methods.iter().any(|known| known.as_bytes() == method)
    }
}

/// All routes, the more specific first; a route stands here once for each of its hosts.
#[derive(Debug, Default)]
pub struct Routes {
    routes: Vec<(HostPattern, Rc<Route>)>,
}

/// What the routes say to a request.
#[derive(Debug)]
pub enum Matched<'p> {
    /// This route takes it, with these path parameters.
    Route(Rc<Route>, Vec<&'p str>),
    /// It would be taken, but only with these methods.
    MethodNotAllowed(Vec<String>),
    /// No route is for its host, its path and its headers.
    NotFound,
}

impl Routes {
    pub(crate) fn new(routes: Vec<Rc<Route>>) -> Self {
        let with_host = |route: Rc<Route>| {
            let hosts = route.matcher.hosts.clone();
            hosts.into_iter().map(move |host| (host, Rc::clone(&route)))
        };
        let mut routes: Vec<_> = routes.into_iter().flat_map(with_host).collect();
        routes.sort_by(|(one_host, one), (other_host, other)| {
            let (one, other) = (&one.matcher, &other.matcher);
            (one_host.specificity().cmp(&other_host.specificity()))
                .then_with(|| one.pattern.specificity().cmp(other.pattern.specificity()))
                .then_with(|| one.conditions.specificity().cmp(&other.conditions.specificity()))
        });
        Self { routes }
    }

    /// The route of this name.
    pub(crate) fn named(&self, name: &str) -> Option<&Route> {
        self.routes.iter().map(|(_, route)| &**route).find(|route| route.name == name)
    }

    /// Finds the route for a request. `host` is what [`RequestHead::host`] says.
    pub fn find<'p>(&self, head: &RequestHead, host: Option<&str>, path: &'p CanonicalPath) -> Matched<'p> {
        let any_method = || self.of_path(host, path).filter(|route| route.matcher.conditions.hold(head));
        if let Some(route) = any_method().find(|route| route.matcher.has_method(head.method())) {
            return Matched::Route(Rc::clone(route), route.matcher.pattern.values(path));
        }
        let mut allowed: Vec<String> = Vec::new();
        for method in any_method().flat_map(|route| &route.matcher.methods) {
            if !allowed.contains(method) {
                allowed.push(method.clone());
            }
        }
        if allowed.is_empty() { Matched::NotFound } else { Matched::MethodNotAllowed(allowed) }
    }

    /// Whether some route is for this path or for one that a service could take for the same, whatever its methods and
    /// its conditions on headers.
    pub fn claim(&self, host: Option<&str>, path: &CanonicalPath) -> bool {
        self.routes
            .iter()
            .any(|(pattern, route)| pattern.matches(host) && route.matcher.pattern.resembles(path))
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
        for route in self.of_path(host, path).filter(|route| route.matcher.has_method(method)) {
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

    /// The routes that have this host and this path, the more specific first.
    fn of_path(&self, host: Option<&str>, path: &CanonicalPath) -> impl Iterator<Item = &Rc<Route>> {
        self.routes
            .iter()
            .filter(move |(pattern, route)| pattern.matches(host) && route.matcher.pattern.matches(path))
            .map(|(_, route)| route)
    }
}

#[cfg(test)]
mod tests;
