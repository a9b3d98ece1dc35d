//! Ways to authenticate, consumers and their credentials, and what routes ask of callers.

use std::collections::{BTreeMap, HashSet};
use std::rc::Rc;

use wicketgate_envelope::timestamp::{Timestamp, parse_millis};

use super::super::document::{self, AuthenticationMethod, ClaimValue, Consumer};
use super::super::error::{Mistakes, quoted};
use super::credentials::{compile_certificates, compile_passwords};
use super::{ANONYMOUS, introspection, is_plain_text, jwt, webhook};
use crate::auth::api_key::{ApiKey, ApiKeys, Key, KeyDigest};
use crate::auth::{
    self, Authorization, Basic, CertificateSource, Certificates, ClaimRule, ClaimTest, CredentialPlaces,
    Method, Mtls, NamedMethod, Place, RequestRule, Requirement, Users,
};
use crate::claims::{ClaimPath, Claims};
use crate::head::is_field_name;
use crate::template::{Piece, Scope, Template};

/// Consumers, by each of the credentials that they can have.
pub(super) struct Consumers {
    api_keys: Rc<ApiKeys>,
    users: Rc<Users>,
    certificates: Rc<Certificates>,
    /// By name.
    pub(super) named: Rc<BTreeMap<String, Rc<auth::Consumer>>>,
}

pub(super) fn compile_consumers(consumers: &[Consumer], mistakes: &mut Mistakes) -> Consumers {
    let mut keys = ApiKeys::with_capacity(consumers.iter().map(|consumer| consumer.api_keys.len()).sum());
    let (mut users, mut certificates) = (Users::default(), Certificates::default());
    let mut named = BTreeMap::new();
    for (index, consumer) in consumers.iter().enumerate() {
        let path = || format!("consumers[{index}]");
        if !is_plain_text(&consumer.name) {
            mistakes.add(
                format!("{}.name", path()),
                "text without control characters",
                quoted(&consumer.name),
            );
        }
        for (field, names) in [("groups", &consumer.groups), ("scopes", &consumer.scopes)] {
            check_names(names, field, &path(), mistakes);
        }
        let compiled = Rc::new(auth::Consumer {
            name: consumer.name.clone(),
            groups: consumer.groups.clone(),
            scopes: consumer.scopes.clone(),
            claims: compile_claims(&consumer.claims, &path, mistakes),
        });
        compile_api_keys(consumer, &compiled, &path, &mut keys, mistakes);
        compile_passwords(consumer, &compiled, &path, &mut users, mistakes);
        compile_certificates(consumer, &compiled, &path, &mut certificates, mistakes);
        if named.insert(consumer.name.clone(), compiled).is_some() {
            mistakes.add(format!("{}.name", path()), "a name of its own", quoted(&consumer.name));
        }
    }
    Consumers {
        api_keys: Rc::new(keys),
        users: Rc::new(users),
        certificates: Rc::new(certificates),
        named: Rc::new(named),
    }
}

fn compile_api_keys(
    consumer: &Consumer,
    compiled: &Rc<auth::Consumer>,
    path: &impl Fn() -> String,
    keys: &mut ApiKeys,
    mistakes: &mut Mistakes,
) {
    for (index, document::ApiKey { sha256, expires }) in consumer.api_keys.iter().enumerate() {
        let at = |field: &str| format!("{}.api_keys[{index}].{field}", path());
        let expiry = expires.as_ref().map(|text| parse_millis(text).map(Timestamp::from_millis));
        if expiry == Some(None) {
            let got = quoted(expires.as_deref().unwrap_or_default());
            mistakes.add(at("expires"), "a time such as 2027-01-31T00:00:00Z (RFC 3339)", got);
        }
        let Some(digest) = KeyDigest::from_hex(sha256) else {
            let got = format!("{} bytes (not shown)", sha256.len());
            mistakes.add(at("sha256"), "64 hexadecimal digits", got);
            continue;
        };
        if digest == KeyDigest::of(b"") {
            let got = "that of nothing, which every empty header would match";
            mistakes.add(at("sha256"), "the hash of a key", got);
            continue;
        }
        let key = Key { consumer: Rc::clone(compiled), expires: expiry.flatten() };
        if let Some(owner) = keys.insert(digest, key) {
            let got = format!("one that consumer {} has", quoted(&owner.name));
            mistakes.add(at("sha256"), "a key of its own", got);
        }
    }
}

/// Names of groups and scopes: what a scope may be (RFC 6749, section 3.3).
fn check_names(names: &[String], field: &str, path: &str, mistakes: &mut Mistakes) {
    for (index, name) in names.iter().enumerate() {
        let token = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
        if name.is_empty() || !name.bytes().all(token) {
            let wanted = "visible ASCII characters without quotes and backslashes";
            mistakes.add(format!("{path}.{field}[{index}]"), wanted, quoted(name));
        } else if names.iter().take(index).any(|earlier| earlier == name) {
            mistakes.add(format!("{path}.{field}[{index}]"), "each name once", quoted(name));
        }
    }
}

/// The most claims of a consumer: each is looked for among all, for each record.
const MAX_CLAIMS: usize = 64;

/// What is wrong with a claim is told without its value, which is about somebody.
fn compile_claims(
    claims: &BTreeMap<String, ClaimValue>,
    path: &impl Fn() -> String,
    mistakes: &mut Mistakes,
) -> Option<Claims> {
    if claims.len() > MAX_CLAIMS {
        let wanted = format!("at most {MAX_CLAIMS} claims");
        mistakes.add(format!("{}.claims", path()), wanted, claims.len().to_string());
    }
    for (name, value) in claims {
        let path = format!("{}.claims.{name}", path());
        if name.is_empty() || name.starts_with('/') || name.contains(['{', '}', '|']) || !is_plain_text(name)
        {
            let wanted = "a name that a template can have: not empty, no slash at the start, no braces, no | and no \
                          control characters";
            mistakes.add(path.clone(), wanted, quoted(name));
        }
        let texts = match value {
            ClaimValue::Text(text) => std::slice::from_ref(text),
            ClaimValue::Texts(texts) => texts.as_slice(),
            ClaimValue::Number(_) | ClaimValue::Boolean(_) => &[],
        };
        if texts.iter().any(|text| text.is_empty() || !is_plain_text(text)) {
            let wanted = "text that is not empty and has no control characters";
            mistakes.add(path, wanted, "another (not shown)");
        }
    }
    let object = (!claims.is_empty()).then(|| serde_json::value::to_raw_value(claims).ok()).flatten();
    object.map(Claims::new)
}

/// Whether a header, in lower case, is read for something else than who is calling. Its value would get to where that
/// goes: into events, answers and logs.
pub(super) fn has_another_use(header: &str) -> bool {
    const PREFIXES: [&str; 6] = ["access-control-", "ce-", "content-", "sec-", "wicketgate-", "x-envoy-"];
    const NAMES: [&str; 20] = [
        "accept",
        "accept-encoding",
        "connection",
        "date",
        "expect",
        "forwarded",
        "host",
        "idempotency-key",
        "keep-alive",
        "origin",
        "proxy-connection",
        "te",
        "traceparent",
        "tracestate",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
        "x-forwarded-for",
        "x-request-id",
    ];
    PREFIXES.iter().any(|prefix| header.starts_with(prefix)) || NAMES.contains(&header)
}

/// Where these methods look for credentials. With `stripped` set, only what an upstream does not get.
pub(super) fn places<'m>(methods: impl Iterator<Item = &'m Method>, stripped: bool) -> CredentialPlaces {
    let mut places = CredentialPlaces::default();
    for method in methods {
        if !(stripped && method.is_forwarded()) {
            method.place().into_iter().for_each(|place| places.add(place));
        }
    }
    places
}

/// The upstreams that these methods ask, each once.
pub(super) fn authorities<'m>(methods: impl Iterator<Item = &'m Method>) -> Vec<String> {
    let mut names: Vec<String> = methods.filter_map(Method::authority).map(str::to_owned).collect();
    names.sort_unstable();
    names.dedup();
    names
}

pub(super) fn compile_methods(
    methods: &BTreeMap<String, AuthenticationMethod>,
    consumers: &Consumers,
    mistakes: &mut Mistakes,
) -> BTreeMap<String, Method> {
    let mut compiled = BTreeMap::from([(ANONYMOUS.to_owned(), Method::Anonymous)]);
    for (name, method) in methods {
        let path = format!("authentication.{name}");
        if name == ANONYMOUS {
            mistakes.add(path, "another name", "\"anonymous\", which is built in");
            continue;
        }
        let method = match method {
            AuthenticationMethod::ApiKey { header, query, cookie, forward } => {
                let places = [("header", header), ("query", query), ("cookie", cookie)];
                compile_place(&places, &path, mistakes).map(|place| {
                    Method::ApiKey(ApiKey { place, keys: Rc::clone(&consumers.api_keys), forward: *forward })
                })
            }
            AuthenticationMethod::Basic { forward } => {
                Some(Method::Basic(Basic { users: Rc::clone(&consumers.users), forward: *forward }))
            }
            AuthenticationMethod::Mtls(document::Mtls { trust_forwarded_header }) => {
                let source = if *trust_forwarded_header {
                    CertificateSource::Forwarded
                } else {
                    CertificateSource::Connection
                };
                Some(Method::Mtls(Mtls { certificates: Rc::clone(&consumers.certificates), source }))
            }
            AuthenticationMethod::Introspection(fields) => {
                introspection::compile(fields, &path, consumers, mistakes)
                    .map(|method| Method::Introspection(Rc::new(method)))
            }
            AuthenticationMethod::EnvoyJwtAuthn(fields) => {
                let method = introspection::compile_envoy_jwt(fields, &path, consumers, mistakes);
                Some(Method::EnvoyJwt(Rc::new(method)))
            }
            AuthenticationMethod::Webhook(fields) => webhook::compile(fields, &path, consumers, mistakes)
                .map(|webhook| Method::Webhook(Rc::new(webhook))),
            AuthenticationMethod::Jwt(fields) => {
                jwt::compile(fields, &path, consumers, mistakes).map(|jwt| Method::Jwt(Rc::new(jwt)))
            }
        };
        // A placeholder keeps routes that name the method from being blamed for what is wrong with it.
        compiled.insert(name.clone(), method.unwrap_or(Method::Anonymous));
    }
    compiled
}

/// The one place of a credential among the three that there can be.
pub(super) fn compile_place(
    fields: &[(&str, &Option<String>); 3],
    path: &str,
    mistakes: &mut Mistakes,
) -> Option<Place> {
    let given: Vec<_> = fields.iter().filter_map(|(field, name)| Some((*field, name.as_ref()?))).collect();
    let [(field, name)] = given.as_slice() else {
        let got = if given.is_empty() { "none of them" } else { "several of them" };
        mistakes.add(path, "exactly one of header, query and cookie", got);
        return None;
    };
    let path = format!("{path}.{field}");
    match *field {
        "header" => {
            let header = name.to_ascii_lowercase();
            if !is_field_name(&header) || has_another_use(&header) {
                let wanted = "the name of a header that has no other use, such as x-api-key";
                mistakes.add(path, wanted, quoted(name));
            }
            Some(Place::Header(header))
        }
        "query" => {
            if name.is_empty()
                || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
            {
                let wanted = "the name of a query parameter: letters, digits, -, ., _ and ~";
                mistakes.add(path, wanted, quoted(name));
            }
            Some(Place::Query((*name).clone()))
        }
        _ => {
            if !is_field_name(name) {
                mistakes.add(path, "the name of a cookie (RFC 6265, section 4.1.1)", quoted(name));
            }
            Some(Place::Cookie((*name).clone()))
        }
    }
}

/// What a route asks of its callers.
pub(super) fn compile_requirement(
    authentication: &document::Authentication,
    path: &str,
    methods: &BTreeMap<String, Method>,
    mistakes: &mut Mistakes,
) -> Requirement {
    let document::Authentication { any_of, all_of } = authentication;
    if any_of.is_empty() == all_of.is_empty() {
        let got = if any_of.is_empty() { "neither" } else { "both" };
        mistakes.add(format!("{path}.authentication"), "either any_of or all_of", got);
    }
    if all_of.is_empty() {
        Requirement::AnyOf(compile_names(any_of, "any_of", path, methods, mistakes))
    } else {
        Requirement::AllOf(compile_names(all_of, "all_of", path, methods, mistakes))
    }
}

fn compile_names(
    names: &[String],
    field: &str,
    path: &str,
    methods: &BTreeMap<String, Method>,
    mistakes: &mut Mistakes,
) -> Vec<NamedMethod> {
    let mut compiled = Vec::with_capacity(names.len());
    for (index, name) in names.iter().enumerate() {
        let path = format!("{path}.authentication.{field}[{index}]");
        match methods.get(name) {
            None => {
                let known: Vec<&str> = methods.keys().map(String::as_str).collect();
                mistakes.add(path, format!("one of {}", known.join(", ")), quoted(name));
            }
            Some(_) if names.iter().take(index).any(|earlier| earlier == name) => {
                mistakes.add(path, "each name once", quoted(name));
            }
            Some(_) if name == ANONYMOUS && field == "all_of" => {
                mistakes.add(path, "a method that asks for a credential", quoted(name));
            }
            Some(_) if name == ANONYMOUS && index + 1 < names.len() => {
                mistakes.add(path, "anonymous last, because nothing after it is tried", quoted(name));
            }
            Some(method) => {
                compiled.push(NamedMethod { name: Rc::from(name.as_str()), method: method.clone() })
            }
        }
    }
    compiled
}

/// What callers of a route may do.
pub(super) fn compile_authorization(
    route: &document::Route,
    path: &str,
    parameters: &[String],
    consumers: &BTreeMap<String, Rc<auth::Consumer>>,
    mistakes: &mut Mistakes,
) -> Option<Authorization> {
    let rules = route.authorization.as_ref()?;
    let path = format!("{path}.authorization");
    let document::Authorization { authenticated, consumers: names, groups, scopes, claims, request } = rules;
    let empty =
        names.is_empty() && groups.is_empty() && scopes.is_empty() && claims.is_empty() && request.is_empty();
    if empty != *authenticated {
        let got = if empty { "nothing" } else { "authenticated beside other rules" };
        let wanted =
            "at least one rule, or \"authenticated\": true alone where every authenticated caller may";
        mistakes.add(path.as_str(), wanted, got);
    }
    if route.authentication.names().any(|name| name == ANONYMOUS) {
        let got = "it where anonymous callers are let in, of whom nothing is known";
        mistakes.add(path.as_str(), "it only where every caller is authenticated", got);
    }
    for (field, names) in [("groups", groups), ("scopes", scopes)] {
        check_names(names, field, &path, mistakes);
    }
    let known: HashSet<&str> = consumers.keys().map(String::as_str).collect();
    for (index, name) in names.iter().enumerate().filter(|(_, name)| !known.contains(name.as_str())) {
        mistakes.add(format!("{path}.consumers[{index}]"), "the name of a consumer", quoted(name));
    }
    let claims = claims.iter().enumerate();
    let claims = claims
        .filter_map(|(index, rule)| compile_claim_rule(rule, &format!("{path}.claims[{index}]"), mistakes));
    let claims = claims.collect();
    let scope = Scope { path_parameters: parameters, claims: true, json: false };
    let request = request.iter().enumerate();
    let request = request.filter_map(|(index, rule)| {
        compile_request_rule(rule, &scope, &format!("{path}.request[{index}]"), mistakes)
    });
    let request = request.collect();
    Some(Authorization {
        consumers: names.clone(),
        groups: groups.clone(),
        scopes: scopes.clone(),
        claims,
        request,
    })
}

fn compile_claim_path(claim: &str, path: &str, mistakes: &mut Mistakes) -> Option<ClaimPath> {
    let parsed = ClaimPath::parse(claim);
    parsed.map_err(|wanted| mistakes.add(format!("{path}.claim"), wanted, quoted(claim))).ok()
}

fn compile_claim_rule(rule: &document::ClaimRule, path: &str, mistakes: &mut Mistakes) -> Option<ClaimRule> {
    let claim = compile_claim_path(&rule.claim, path, mistakes);
    let test = match (&rule.equals, &rule.contains, &rule.one_of) {
        (Some(value), None, None) => Some(ClaimTest::Equals(value.clone())),
        (None, Some(value), None) => Some(ClaimTest::Contains(value.clone())),
        (None, None, Some(values)) => Some(ClaimTest::OneOf(values.clone())),
        (None, None, None) => {
            mistakes.add(path, "one of equals, contains and one_of", "none of them");
            None
        }
        _ => {
            mistakes.add(path, "one of equals, contains and one_of", "several of them");
            None
        }
    };
    Some(ClaimRule { claim: claim?, test: test? })
}

fn compile_request_rule(
    rule: &document::RequestRule,
    scope: &Scope<'_>,
    path: &str,
    mistakes: &mut Mistakes,
) -> Option<RequestRule> {
    let claim = compile_claim_path(&rule.claim, path, mistakes);
    match Template::parse(&rule.part, scope) {
        Ok(part) if !part.pieces().any(|piece| matches!(piece, Piece::Hole { known: false, .. })) => {
            let wanted = "a part of the request, such as {tenant} or {header:x-tenant}";
            mistakes.add(format!("{path}.part"), wanted, quoted(&rule.part));
            None
        }
        Ok(part) if part.is_optional() => {
            let wanted = "a part that has to be there, because nothing is no caller's own";
            mistakes.add(format!("{path}.part"), wanted, quoted(&rule.part));
            None
        }
        Ok(part) => Some(RequestRule { part, claim: claim? }),
        Err(wanted) => {
            mistakes.add(format!("{path}.part"), wanted, quoted(&rule.part));
            None
        }
    }
}
