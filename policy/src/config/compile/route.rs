//! Routes, as far as they say who may call and what is done; how requests become records is in [`super::plan`].

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use super::super::document::{self, Document, Reply};
use super::super::error::{Mistakes, quoted};
use super::authentication::{self, Consumers};
use super::limit;
use super::plan::Planner;
use super::{ANONYMOUS, is_plain_text};
use crate::answer::{self, OWN_HEADERS, Success};
use crate::auth::{CredentialPlaces, Method};
use crate::conditions::Conditions;
use crate::cors::{Cors, Rules};
use crate::head::is_field_name;
use crate::host::HostPattern;
use crate::identity::FingerprintKey;
use crate::limit::fields::{LimitFields, NAMES};
use crate::path_pattern::PathPattern;
use crate::redact::HashKey;
use crate::route::{Action, Earlier, Guard, Matcher, Route};
use crate::webhook_handshake::Handshake;

/// What routes refer to.
pub(super) struct Surroundings<'d> {
    pub(super) document: &'d Document,
    pub(super) redaction_key: Option<HashKey>,
    pub(super) fingerprint_key: FingerprintKey,
    pub(super) consumers: Consumers,
    pub(super) methods: BTreeMap<String, Method>,
    /// Limits; `None` for one that is wrong.
    pub(super) limits: BTreeMap<String, Option<limit::Named>>,
    /// Where all ways to authenticate look for credentials.
    pub(super) credentials: CredentialPlaces,
    /// Those of them that an upstream does not get.
    pub(super) stripped: Rc<CredentialPlaces>,
    pub(super) source: Rc<str>,
}

impl Surroundings<'_> {
    /// Headers, in lower case, that must not get out of the gateway: those of all ways to authenticate, and those that
    /// carry credentials by their definition.
    pub(super) fn withheld_headers(&self) -> Vec<String> {
        withheld_headers(&self.credentials)
    }

    /// Whether a header, in lower case, is one of them.
    pub(super) fn carries_credential(&self, name: &str) -> bool {
        self.withheld_headers().iter().any(|header| header == name)
    }
}

/// See [`Surroundings::withheld_headers`].
pub(super) fn withheld_headers(credentials: &CredentialPlaces) -> Vec<String> {
    const BY_DEFINITION: [&str; 3] = ["authorization", "cookie", "proxy-authorization"];
    let by_definition = BY_DEFINITION.into_iter().map(str::to_owned);
    credentials.headers.iter().cloned().chain(by_definition).collect()
}

pub(super) fn compile_all(
    routes: &[document::Route],
    surroundings: &Surroundings<'_>,
    mistakes: &mut Mistakes,
) -> Vec<Rc<Route>> {
    let (mut compiled, mut names, mut earlier) = (Vec::new(), BTreeSet::new(), Earlier::default());
    for (index, route) in routes.iter().enumerate() {
        let path = format!("routes[{index}]");
        if !names.insert(route.name.as_str()) {
            mistakes.add(format!("{path}.name"), "a name of its own", quoted(&route.name));
        }
        if !is_plain_text(&route.name) {
            mistakes.add(format!("{path}.name"), "text without control characters", quoted(&route.name));
        }
        let Some(route) = compile(route, &path, surroundings, mistakes) else { continue };
        let route = Rc::new(route);
        if let Some(earlier) = earlier.insert(index, &route) {
            mistakes.add(
                format!("{path}.match"),
                "what can be told from every other route",
                format!("requests that routes[{earlier}] takes as well, neither being more specific"),
            );
        }
        compiled.push(route);
    }
    compiled
}

/// `None` where something is wrong without which nothing can be made of the route.
fn compile(
    route: &document::Route,
    path: &str,
    surroundings: &Surroundings<'_>,
    mistakes: &mut Mistakes,
) -> Option<Route> {
    let requirement =
        authentication::compile_requirement(&route.authentication, path, &surroundings.methods, mistakes);
    let fields: &[&str] = match route.limits.as_slice() {
        [] => &[],
        _ => limit_fields(surroundings.document.limit_fields),
    };
    let cors = compile_cors(route.cors.as_ref(), &route.matches.methods, fields, path, mistakes);
    let handshake = compile_handshake(route, path, mistakes);
    let matcher = compile_match(&route.matches, path, mistakes);
    let success = compile_reply(&route.reply, path, mistakes);
    let parameters = matcher.as_ref().map(|matcher| matcher.pattern.parameters());
    let parameters = parameters.unwrap_or_default();
    let consumers = &surroundings.consumers.named;
    let authorization = authentication::compile_authorization(route, path, &parameters, consumers, mistakes);
    let plan = match route.action {
        document::Action::Pass => {
            refuse_for_pass(route, path, mistakes);
            None
        }
        document::Action::Produce | document::Action::Tee => {
            // Without the path it is not known which parameters there are.
            let path_known = matcher.is_some();
            let claims = route.authentication.names().any(|name| name != ANONYMOUS);
            let planner = Planner { surroundings, path, parameters: &parameters, path_known, claims };
            planner.compile(route, mistakes)
        }
    };
    if route.streams.is_some() && route.action != document::Action::Tee {
        mistakes.add(format!("{path}.streams"), "it only where the action is tee", "it where it is another");
    }
    if route.on_error.is_some() && route.action != document::Action::Tee {
        mistakes.add(format!("{path}.on_error"), "it only where the action is tee", "it where it is another");
    }
    if !route.reply.is_default() && route.action != document::Action::Produce {
        mistakes.add(
            format!("{path}.reply"),
            "it only where the action is produce",
            "it where it is another",
        );
    }
    let limits = limit::compile_route(route, path, &parameters, plan.as_ref(), surroundings, mistakes);
    let action = match (route.action, plan) {
        (document::Action::Pass, _) => Action::Pass,
        (document::Action::Produce, Some(plan)) => Action::Produce { plan, success },
        (document::Action::Tee, Some(plan)) => {
            let (on_error, streams) = (route.on_error.unwrap_or_default(), route.streams.unwrap_or_default());
            Action::Tee { plan, on_error, streams }
        }
        (_, None) => return None,
    };
    let guard = compile_guard(route);
    let credentials = Rc::clone(&surroundings.stripped);
    let name = route.name.clone();
    Some(Route {
        name,
        matcher: matcher?,
        requirement,
        authorization,
        guard,
        credentials,
        cors,
        handshake,
        limits,
        action,
    })
}

/// What a route asks of its callers, as text to compare.
fn compile_guard(route: &document::Route) -> Guard {
    let document::Authentication { any_of, all_of } = &route.authentication;
    let mut guard = match all_of.is_empty() {
        true => Guard::any_of(any_of.iter().map(String::as_str), ANONYMOUS),
        false => Guard::all_of(all_of.iter().map(String::as_str)),
    };
    let Some(authorization) = &route.authorization else { return guard };
    let document::Authorization { authenticated: _, consumers, groups, scopes, claims, request } =
        authorization;
    for (kind, names) in [("consumers", consumers), ("groups", groups)] {
        let mut names = names.clone();
        names.sort_unstable();
        if !names.is_empty() {
            guard.add_rule(format!("{kind} {names:?}"));
        }
    }
    scopes.iter().for_each(|scope| guard.add_rule(format!("scope {scope}")));
    claims.iter().for_each(|rule| guard.add_rule(format!("{rule:?}")));
    // Which part of a request is meant depends on the path.
    request.iter().for_each(|rule| guard.add_rule(format!("{rule:?} of {}", route.matches.path)));
    guard
}

fn refuse_for_pass(route: &document::Route, path: &str, mistakes: &mut Mistakes) {
    for (field, given) in [
        ("event", route.event.is_some()),
        ("kafka", route.kafka.is_some()),
        ("accept", !route.accept.is_default()),
        ("redact", !route.redact.is_default()),
    ] {
        if given {
            let got = "it where nothing goes to Kafka";
            mistakes.add(format!("{path}.{field}"), "it only where the action is produce or tee", got);
        }
    }
}

fn compile_match(matches: &document::Match, path: &str, mistakes: &mut Mistakes) -> Option<Matcher> {
    let mut complete = true;
    for (index, method) in matches.methods.iter().enumerate() {
        let path = format!("{path}.match.methods[{index}]");
        if method.is_empty() || !method.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-') {
            mistakes.add(path, "a method in upper case, such as POST", quoted(method));
        } else if matches.methods.iter().take(index).any(|earlier| earlier == method) {
            mistakes.add(path, "each method once", quoted(method));
        }
    }
    let mut hosts = Vec::with_capacity(matches.hosts.len().max(1));
    for (index, host) in matches.hosts.iter().enumerate() {
        let path = format!("{path}.match.hosts[{index}]");
        match HostPattern::parse(host) {
            Ok(pattern) if hosts.contains(&pattern) => mistakes.add(path, "each host once", quoted(host)),
            Ok(pattern) => hosts.push(pattern),
            Err(wanted) => {
                complete = false;
                mistakes.add(path, wanted, quoted(host));
            }
        }
    }
    if matches.hosts.is_empty() {
        hosts.push(HostPattern::Any);
    }
    let mut conditions = Conditions::default();
    for (name, value) in &matches.headers {
        if let Err(wanted) = conditions.add(name, value.as_deref()) {
            mistakes.add(
                format!("{path}.match.headers.{name}"),
                wanted,
                quoted(value.as_deref().unwrap_or(name)),
            );
        }
    }
    match PathPattern::parse(&matches.path) {
        Ok(pattern) if complete => {
            Some(Matcher { hosts, methods: matches.methods.clone(), pattern, conditions })
        }
        Ok(_) => None,
        Err(wanted) => {
            mistakes.add(format!("{path}.match.path"), wanted, quoted(&matches.path));
            None
        }
    }
}

fn compile_handshake(route: &document::Route, path: &str, mistakes: &mut Mistakes) -> Option<Handshake> {
    let handshake = route.webhook_handshake.as_ref()?;
    let path = format!("{path}.webhook_handshake");
    if !route.matches.methods.iter().any(|method| method == "POST") {
        mistakes.add(path.as_str(), "it only where the route takes POST", "it where it does not");
    }
    if handshake.rate == Some(0) {
        mistakes.add(format!("{path}.rate"), "1 or more", "0");
    }
    let compiled = Handshake::new(&handshake.origins, handshake.rate);
    let wanted = "names of hosts, such as eventemitter.example.com, or * alone";
    compiled.map_err(|got| mistakes.add(format!("{path}.origins"), wanted, quoted(&got))).ok()
}

fn compile_cors(
    cors: Option<&document::Cors>,
    methods: &[String],
    limit_fields: &[&str],
    path: &str,
    mistakes: &mut Mistakes,
) -> Option<Cors> {
    let cors = cors?;
    let path = format!("{path}.cors");
    let max_age = cors.max_age.as_ref().and_then(|text| {
        let age = humantime::parse_duration(text).ok().filter(|age| *age <= Duration::from_secs(86_400));
        if age.is_none() {
            mistakes.add(format!("{path}.max_age"), "a duration up to 24h, such as 10m", quoted(text));
        }
        age.and_then(|age| u32::try_from(age.as_secs()).ok())
    });
    let known = |field: &str| cors.expose_headers.iter().any(|name| name.eq_ignore_ascii_case(field));
    let limit_fields = limit_fields.iter().filter(|field| !known(field)).map(|field| (*field).to_owned());
    let rules = Rules {
        origins: cors.origins.clone(),
        methods: Vec::new(),
        headers: cors.headers.clone(),
        expose: cors.expose_headers.iter().cloned().chain(limit_fields).collect(),
        max_age,
        credentials: cors.credentials,
    };
    match Cors::compile(&rules, methods) {
        Ok(cors) => Some(cors),
        Err(found) => {
            for mistake in found {
                let field = mistake.path.replacen("expose[", "expose_headers[", 1);
                mistakes.add(format!("{path}.{field}"), mistake.wanted, quoted(&mistake.got));
            }
            None
        }
    }
}

/// The fields that tell of limits, which pages may read, too.
fn limit_fields(fields: LimitFields) -> &'static [&'static str] {
    match fields {
        LimitFields::None => &["retry-after"],
        LimitFields::Ietf => &["ratelimit", "ratelimit-policy", "retry-after"],
        LimitFields::X => &["retry-after", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"],
        LimitFields::Both => &NAMES,
    }
}

fn compile_reply(reply: &Reply, path: &str, mistakes: &mut Mistakes) -> Success {
    let mut success = Success::default();
    if let Some(status) = reply.status {
        success.status = status;
    }
    if !success.has_content() && reply.body.is_some() {
        let got = format!("it where the status is {}, which has no content", success.status);
        mistakes.add(format!("{path}.reply.body"), "it only where the answer has content", got);
    }
    if success.status == 207 {
        let wanted = "another status than that of a batch of which a part was taken";
        mistakes.add(format!("{path}.reply.status"), wanted, "207");
    }
    for (name, value) in &reply.headers {
        let path = format!("{path}.reply.headers.{name}");
        let lower = name.to_ascii_lowercase();
        if !is_field_name(name)
            || OWN_HEADERS.contains(&lower.as_str())
            || lower.starts_with("access-control-")
        {
            mistakes.add(path, "the name of a header that is not the gateway's own", quoted(name));
        } else if !value.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
            mistakes.add(path, "visible ASCII", quoted(value));
        } else if success.headers.iter().any(|(earlier, _)| *earlier == lower) {
            mistakes.add(path, "each header once, whatever the case of its letters", quoted(name));
        } else {
            success.headers.push(answer::header(name, value));
        }
    }
    if let Some(body) = &reply.body {
        success.fields = body.iter().map(|(name, field)| (name.clone(), *field)).collect();
    }
    success
}
