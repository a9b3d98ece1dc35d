//! Limits on how often, and on what is in flight.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use super::super::document::{
    self, ConcurrencyLimit, Document, LimitCost, LimitCounts, LimitScope, RateLimit, RateOverride,
};
use super::super::error::{Mistakes, quoted};
use super::ANONYMOUS;
use super::route::Surroundings;
use crate::claims::ClaimPath;
use crate::head::is_field_name;
use crate::limit::address::ClientAddress;
use crate::limit::gcra::{Rate, RateError};
use crate::limit::in_flight::InFlight;
use crate::limit::key::Part;
use crate::limit::table::Table;
use crate::limit::{Kind, Override, Policy, RatePolicy, RouteLimit};
use crate::plan::Plan;

/// The most limits of a route: each costs two calls to the host.
const MAX_LIMITS: usize = 8;

/// A limit, before a route uses it.
pub(super) struct Named {
    policy: Rc<Policy>,
    /// `None` where a part is wrong.
    key: Vec<Option<NamedPart>>,
}

/// A part of a key.
enum NamedPart {
    /// One that is the same for all routes.
    Part(Part),
    /// A parameter of the path, by its name.
    Parameter(String),
}

pub(super) fn compile_client_address(address: &document::ClientAddress) -> ClientAddress {
    ClientAddress { trusted_hops: address.trusted_hops.into(), ipv6_prefix: address.ipv6_prefix }
}

/// All limits by their names. Those without which nothing can be made of them are `None`.
pub(super) fn compile_all(
    document: &Document,
    credential_headers: &[String],
    mistakes: &mut Mistakes,
) -> BTreeMap<String, Option<Named>> {
    let mut compiled = BTreeMap::new();
    for (name, limit) in &document.rate_limits {
        let path = format!("rate_limits.{name}");
        check_name(name, &path, mistakes);
        let rates = compile_rates(limit, document, &path, mistakes);
        let key = compile_key(&limit.key, credential_headers, &path, mistakes);
        check_counts(limit, &key, &path, mistakes);
        let policy = rates.map(|(rate, overrides)| Policy {
            name: Rc::from(name.as_str()),
            kind: Kind::Rate(RatePolicy {
                rate,
                overrides,
                cost: limit.cost,
                counts: limit.counts,
                global: limit.scope == LimitScope::Global,
                table: Table::new(name, limit.slots),
            }),
            dry_run: limit.dry_run,
            on_error: limit.on_error,
        });
        compiled.insert(name.clone(), policy.map(|policy| Named { policy: Rc::new(policy), key }));
    }
    for (name, limit) in &document.concurrency_limits {
        let path = format!("concurrency_limits.{name}");
        check_name(name, &path, mistakes);
        let key = compile_key(&limit.key, credential_headers, &path, mistakes);
        let named = compile_in_flight(name, limit, &path, mistakes)
            .map(|policy| Named { policy: Rc::new(policy), key });
        if compiled.insert(name.clone(), named).is_some() {
            mistakes.add(path, "a name of its own", "one that a rate limit has");
        }
    }
    compiled
}

/// Names stand in header fields, metrics and keys of shared data.
fn check_name(name: &str, path: &str, mistakes: &mut Mistakes) {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if !(1..=64).contains(&name.len()) || !name.bytes().all(plain) {
        mistakes.add(path, "a name of 1 to 64 of the characters a-z A-Z 0-9 . _ -", quoted(name));
    }
}

fn compile_rates(
    limit: &RateLimit,
    document: &Document,
    path: &str,
    mistakes: &mut Mistakes,
) -> Option<(Rate, Vec<Override>)> {
    let Ok(period) = humantime::parse_duration(&limit.period) else {
        mistakes.add(format!("{path}.period"), RateError::Period.to_string(), quoted(&limit.period));
        return None;
    };
    let mut rate = |path: &str, limit: u64, burst: Option<u64>, period_text: &str| {
        let burst = burst.unwrap_or(limit);
        let (field, got) = match Rate::new(limit, period, burst) {
            Ok(rate) => return Some(rate),
            Err(error @ RateError::Period) => ((format!("{path}.period"), error), quoted(period_text)),
            Err(error @ RateError::Burst) => ((format!("{path}.burst"), error), burst.to_string()),
            Err(error) => ((format!("{path}.limit"), error), limit.to_string()),
        };
        mistakes.add(field.0, field.1.to_string(), got);
        None
    };
    let base = rate(path, limit.limit, limit.burst, &limit.period)?;
    let mut overrides = Vec::with_capacity(limit.overrides.len());
    for (index, special) in limit.overrides.iter().enumerate() {
        let path = format!("{path}.overrides[{index}]");
        overrides.extend(rate(&path, special.limit, special.burst, &limit.period).map(|rate| Override {
            consumers: special.consumers.clone(),
            groups: special.groups.clone(),
            rate,
        }));
    }
    for (index, special) in limit.overrides.iter().enumerate() {
        check_override(special, document, &format!("{path}.overrides[{index}]"), mistakes);
    }
    if !limit.overrides.is_empty() && !limit.key.iter().any(|part| part == "consumer") {
        let got = "a key without it";
        mistakes.add(format!("{path}.overrides"), "them only where the key has consumer", got);
    }
    Some((base, overrides))
}

fn check_override(special: &RateOverride, document: &Document, path: &str, mistakes: &mut Mistakes) {
    if special.consumers.is_empty() && special.groups.is_empty() {
        mistakes.add(path, "consumers or groups", "neither");
    }
    for (index, name) in special.consumers.iter().enumerate() {
        if !document.consumers.iter().any(|consumer| consumer.name == *name) {
            mistakes.add(format!("{path}.consumers[{index}]"), "the name of a consumer", quoted(name));
        }
    }
}

fn check_counts(limit: &RateLimit, key: &[Option<NamedPart>], path: &str, mistakes: &mut Mistakes) {
    if limit.counts != LimitCounts::FailedAuthentications {
        return;
    }
    let needs_principal = |part: &NamedPart| matches!(part, NamedPart::Part(part) if part.needs_principal());
    if key.iter().flatten().any(needs_principal) {
        let wanted = "parts that are known of a caller whose credential is wrong, such as address";
        mistakes.add(format!("{path}.key"), wanted, "consumer or a claim");
    }
    if limit.scope == LimitScope::Global {
        mistakes.add(format!("{path}.scope"), "local, where failed authentications are counted", "global");
    }
    if limit.cost != LimitCost::Request {
        mistakes.add(format!("{path}.cost"), "request, where failed authentications are counted", "another");
    }
}

fn compile_in_flight(
    name: &str,
    limit: &ConcurrencyLimit,
    path: &str,
    mistakes: &mut Mistakes,
) -> Option<Policy> {
    let lease = humantime::parse_duration(&limit.lease).ok();
    let bounds = Duration::from_secs(1)..=Duration::from_secs(86_400);
    let Some(lease) = lease.filter(|lease| bounds.contains(lease)) else {
        mistakes.add(format!("{path}.lease"), "a duration from 1s to 1day, such as 5m", quoted(&limit.lease));
        return None;
    };
    Some(Policy {
        name: Rc::from(name),
        kind: Kind::InFlight(InFlight::new(name, limit.limit, lease)),
        dry_run: limit.dry_run,
        on_error: limit.on_error,
    })
}

fn compile_key(
    parts: &[String],
    credential_headers: &[String],
    path: &str,
    mistakes: &mut Mistakes,
) -> Vec<Option<NamedPart>> {
    let mut compiled = Vec::with_capacity(parts.len());
    for (index, part) in parts.iter().enumerate() {
        let path = format!("{path}.key[{index}]");
        if parts.iter().take(index).any(|earlier| earlier == part) {
            mistakes.add(path, "each part once", quoted(part));
            continue;
        }
        let parsed = parse_part(part, credential_headers);
        compiled.push(parsed.map_err(|wanted| mistakes.add(path, wanted, quoted(part))).ok());
    }
    compiled
}

fn parse_part(text: &str, credential_headers: &[String]) -> Result<NamedPart, String> {
    Ok(NamedPart::Part(match text.split_once(':') {
        None if text == "consumer" => Part::Consumer,
        None if text == "address" => Part::Address,
        None if text == "route" => Part::Route,
        Some(("header", name)) if is_field_name(name) => {
            let name = name.to_ascii_lowercase();
            if credential_headers.contains(&name) {
                return Err("a header that carries no credential (consumer is who has one)".to_owned());
            }
            Part::Header(name)
        }
        Some(("claim", claim)) => Part::Claim(ClaimPath::parse(claim)?),
        Some(("path", name)) if !name.is_empty() => return Ok(NamedPart::Parameter(name.to_owned())),
        _ => {
            return Err("consumer, address, route, header:<name>, claim:<name> or path:<name>".to_owned());
        }
    }))
}

/// The limits of a route.
pub(super) fn compile_route(
    route: &document::Route,
    path: &str,
    parameters: &[String],
    plan: Option<&Plan>,
    surroundings: &Surroundings<'_>,
    mistakes: &mut Mistakes,
) -> Vec<RouteLimit> {
    if route.limits.len() > MAX_LIMITS {
        let got = route.limits.len().to_string();
        mistakes.add(format!("{path}.limits"), format!("at most {MAX_LIMITS} limits"), got);
    }
    let mut compiled = Vec::with_capacity(route.limits.len());
    for (index, name) in route.limits.iter().enumerate() {
        let path = format!("{path}.limits[{index}]");
        if route.limits.iter().take(index).any(|earlier| earlier == name) {
            mistakes.add(path, "each name once", quoted(name));
            continue;
        }
        match surroundings.limits.get(name) {
            None => {
                let known: Vec<&str> = surroundings.limits.keys().map(String::as_str).collect();
                let wanted = match known.as_slice() {
                    [] => "the name of a limit, of which rate_limits and concurrency_limits have none"
                        .to_owned(),
                    known => format!("one of {}", known.join(", ")),
                };
                mistakes.add(path, wanted, quoted(name));
            }
            Some(None) => {}
            Some(Some(limit)) => {
                check_cost(&limit.policy, route, plan, surroundings, &path, mistakes);
                compiled.push(RouteLimit {
                    policy: Rc::clone(&limit.policy),
                    key: resolve(&limit.key, parameters, &path, mistakes),
                });
            }
        }
    }
    compiled
}

fn resolve(
    key: &[Option<NamedPart>],
    parameters: &[String],
    path: &str,
    mistakes: &mut Mistakes,
) -> Vec<Part> {
    let mut parts = Vec::with_capacity(key.len());
    for part in key.iter().flatten() {
        match part {
            NamedPart::Part(part) => parts.push(part.clone()),
            NamedPart::Parameter(name) => match parameters.iter().position(|known| known == name) {
                Some(index) => parts.push(Part::Parameter(index)),
                None => {
                    let wanted = format!("a limit whose key the path of this route has (path:{name})");
                    mistakes.add(path, wanted, "a path without it");
                }
            },
        }
    }
    parts
}

/// What a request of this route may cost must fit into the burst: it would be refused for ever.
fn check_cost(
    policy: &Policy,
    route: &document::Route,
    plan: Option<&Plan>,
    surroundings: &Surroundings<'_>,
    path: &str,
    mistakes: &mut Mistakes,
) {
    let Kind::Rate(rate) = &policy.kind else { return };
    if rate.counts == LimitCounts::FailedAuthentications
        && route.authentication.names().all(|name| name == ANONYMOUS)
    {
        let got = "it where nobody is";
        mistakes.add(path, "a limit on failed authentications only where callers are authenticated", got);
    }
    if rate.global && route.action == document::Action::Pass {
        let wanted = "a global limit only where requests go to kafka-bridge: produce or tee";
        mistakes.add(path, wanted, "it where the action is pass");
    }
    let goes_on = route.on_error == Some(document::OnError::Continue);
    if goes_on && (rate.global || rate.cost != LimitCost::Request) {
        // What such a limit counts is known once there are records, and a request without any goes on all the same.
        let wanted = "a local limit by request where on_error is continue, or on_error: deny";
        let got = if rate.global { "a global limit" } else { "a limit by what the body is" };
        mistakes.add(path, wanted, got);
    }
    let (cost, what, at_most) = match rate.cost {
        LimitCost::Request => return,
        LimitCost::BodyBytes => {
            ("body_bytes", "limits.body_bytes", u64::from(surroundings.document.limits.body_bytes))
        }
        LimitCost::Events => {
            ("events", "accept.batch_events", plan.map_or(0, |plan| plan.max_events() as u64))
        }
    };
    if route.action == document::Action::Pass {
        let wanted = format!("a limit by {cost} only where the gateway reads the body: produce or tee");
        mistakes.add(path, wanted, "it where the action is pass");
    }
    let rates = rate.overrides.iter().map(|special| special.rate).chain([rate.rate]);
    if let Some(least) = rates.map(|rate| rate.burst()).min().filter(|burst| *burst < at_most) {
        let wanted =
            format!("a limit with a burst of {at_most} or more, which one request may cost ({what})");
        mistakes.add(path, wanted, format!("one of {least}"));
    }
}
