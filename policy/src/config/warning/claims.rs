//! Callers who cannot be served, because a template needs a claim that they don't have, or that will not do.

use std::collections::BTreeMap;

use crate::claims::Claims;
use crate::config::document::{Authentication, AuthenticationMethod, Document};
use crate::plan::Plan;

/// The most callers that a warning names.
const MOST_NAMED: usize = 5;

/// Somebody who may call, in words, and what is known of them.
struct Caller {
    name: String,
    claims: Option<Claims>,
}

/// Callers, by the claim that is at fault.
type Found<'n> = BTreeMap<String, Vec<&'n str>>;

/// Looks for what keeps callers of a route from being served.
pub(super) fn of_route(
    document: &Document,
    authentication: &Authentication,
    plan: &Plan,
    path: &str,
    warn: &mut impl FnMut(String, &str),
) {
    let callers = callers(document, authentication);
    let (mut lacking, mut unfit) = (Found::new(), Found::new());
    for Caller { name, claims } in &callers {
        let claims = claims.as_ref().map(Claims::json);
        for claim in plan.templates().flat_map(|template| template.lacking_claims(claims)) {
            add(&mut lacking, claim.to_string(), name);
        }
        for claim in plan.kafka.topic.unfit_claims(claims) {
            add(&mut unfit, claim.to_string(), name);
        }
    }
    for (claim, names) in lacking {
        if names.len() == callers.len() {
            let text = format!(
                "a template needs the claim {claim}, which nobody has who may call; all are answered 400"
            );
            warn(path.to_owned(), &text);
        } else {
            let text = format!(
                "a template needs the claim {claim}, and {} has none that will do and is answered 400; give it one, or \
                 the template a default",
                listed(&names)
            );
            warn(path.to_owned(), &text);
        }
    }
    for (claim, names) in unfit {
        let text = format!(
            "the claim {claim} of {} cannot be part of the name of a topic, so it is answered 400",
            listed(&names)
        );
        warn(format!("{path}.kafka.topic"), &text);
    }
}

fn callers(document: &Document, authentication: &Authentication) -> Vec<Caller> {
    // Of whom tokens speak is known to their issuers only.
    let by_key = authentication
        .names()
        .any(|name| matches!(document.authentication.get(name), Some(AuthenticationMethod::ApiKey { .. })));
    let consumers = document.consumers.iter().filter(|consumer| by_key && !consumer.api_keys.is_empty());
    let mut callers: Vec<Caller> = consumers
        .map(|consumer| Caller {
            name: format!("consumer {}", consumer.name),
            claims: serde_json::value::to_raw_value(&consumer.claims).ok().map(Claims::new),
        })
        .collect();
    if authentication.names().any(|name| name == super::ANONYMOUS) {
        callers.push(Caller { name: "an anonymous caller".to_owned(), claims: None });
    }
    callers
}

fn add<'n>(found: &mut Found<'n>, claim: String, name: &'n str) {
    let names = found.entry(claim).or_default();
    // Several templates can need the same claim.
    if !names.contains(&name) {
        names.push(name);
    }
}

fn listed(names: &[&str]) -> String {
    let named = names.get(..MOST_NAMED).unwrap_or(names).join(", ");
    match names.len().saturating_sub(MOST_NAMED) {
        0 => named,
        more => format!("{named} (and {more} more)"),
    }
}
