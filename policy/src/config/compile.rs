//! From the document to what requests are decided by. Every mistake that the structure alone does not show is found
//! here, and all of them are found.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use super::document::{
    ApiKey, Authentication, AuthenticationMethod, Consumer, Document, Kafka, Route as RouteDocument,
};
use super::error::{Mistakes, quoted};
use super::{Bridge, Config};
use crate::auth::{self, ApiKeys, KeyDigest, Method};
use crate::conditions::Conditions;
use crate::head::is_field_name;
use crate::host::HostPattern;
use crate::path_pattern::PathPattern;
use crate::route::{Matcher, Route, Routes};
use crate::template::{Scope, Template};
use crate::topic;

/// The built-in way to authenticate that asks nothing.
const ANONYMOUS: &str = "anonymous";

/// Headers that carry credentials, belong to the connection, or would contradict the record's own (`content-type` is
/// the envelope's; the body's is the event's `datacontenttype`).
const NEVER_FORWARDED: [&str; 10] = [
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "host",
    "keep-alive",
    "proxy-authorization",
    "te",
    "transfer-encoding",
];

/// Compiles the document. The result is of use only if no mistake was found.
pub(super) fn compile(document: &Document, mistakes: &mut Mistakes) -> Config {
    if !is_uri_reference(&document.source) {
        mistakes.add("source", "a URI reference, such as https://api.example.com", quoted(&document.source));
    }
    let bridge = compile_bridge(&document.bridge, mistakes);
    let keys = Rc::new(compile_consumers(&document.consumers, mistakes));
    let methods = compile_methods(&document.authentication, &keys, mistakes);
    let routes = compile_routes(&document.routes, &methods, mistakes);
    Config {
        source: document.source.clone(),
        bridge,
        max_body_bytes: document.limits.body_bytes as usize,
        unmatched: document.unmatched,
        routes: Routes::new(routes),
    }
}

fn compile_bridge(bridge: &super::document::Bridge, mistakes: &mut Mistakes) -> Bridge {
    let authority = bridge.authority.as_ref().unwrap_or(&bridge.upstream);
    let texts =
        [("bridge.upstream", Some(&bridge.upstream)), ("bridge.authority", bridge.authority.as_ref())];
    for (path, text) in texts.into_iter().filter_map(|(path, text)| Some((path, text?))) {
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            mistakes.add(path, "a name without white space", quoted(text));
        }
    }
    let timeout = match humantime::parse_duration(&bridge.timeout) {
        Ok(timeout) if (Duration::from_millis(100)..=Duration::from_secs(300)).contains(&timeout) => timeout,
        _ => {
            mistakes.add(
                "bridge.timeout",
                "a duration from 100ms to 5min, such as 10s",
                quoted(&bridge.timeout),
            );
            Duration::ZERO
        }
    };
    Bridge { upstream: bridge.upstream.clone(), authority: authority.clone(), timeout }
}

fn compile_consumers(consumers: &[Consumer], mistakes: &mut Mistakes) -> ApiKeys {
    let mut keys = ApiKeys::default();
    for (index, consumer) in consumers.iter().enumerate() {
        let path = format!("consumers[{index}]");
        if consumers.iter().take(index).any(|earlier| earlier.name == consumer.name) {
            mistakes.add(format!("{path}.name"), "a name of its own", quoted(&consumer.name));
        }
        if !is_plain_text(&consumer.name) {
            mistakes.add(format!("{path}.name"), "text without control characters", quoted(&consumer.name));
        }
        let name: Rc<str> = Rc::from(consumer.name.as_str());
        for (index, ApiKey { sha256 }) in consumer.api_keys.iter().enumerate() {
            let path = format!("{path}.api_keys[{index}].sha256");
            let Some(digest) = KeyDigest::from_hex(sha256) else {
                mistakes.add(path, "64 hexadecimal digits", format!("{} bytes (not shown)", sha256.len()));
                continue;
            };
            if let Some(owner) = keys.insert(digest, Rc::clone(&name)) {
                mistakes.add(path, "a key of its own", format!("one that consumer {} has", quoted(&owner)));
            }
        }
    }
    keys
}

fn compile_methods(
    methods: &BTreeMap<String, AuthenticationMethod>,
    keys: &Rc<ApiKeys>,
    mistakes: &mut Mistakes,
) -> BTreeMap<String, Method> {
    let mut compiled = BTreeMap::from([(ANONYMOUS.to_owned(), Method::Anonymous)]);
    for (name, method) in methods {
        let path = format!("authentication.{name}");
        if name == ANONYMOUS {
            mistakes.add(path, "another name", "\"anonymous\", which is built in");
            continue;
        }
        match method {
            AuthenticationMethod::ApiKey { header } => {
                if !is_field_name(header) {
                    mistakes.add(format!("{path}.header"), "the name of a header", quoted(header));
                }
                let header = header.to_ascii_lowercase();
                compiled.insert(name.clone(), Method::ApiKey { header, keys: Rc::clone(keys) });
            }
        }
    }
    compiled
}

fn compile_routes(
    routes: &[RouteDocument],
    methods: &BTreeMap<String, Method>,
    mistakes: &mut Mistakes,
) -> Vec<Rc<Route>> {
    let credential_headers: Vec<&str> = methods
        .values()
        .filter_map(|method| match method {
            Method::ApiKey { header, .. } => Some(header.as_str()),
            Method::Anonymous => None,
        })
        .collect();
    let mut compiled: Vec<(usize, Rc<Route>)> = Vec::new();
    for (index, route) in routes.iter().enumerate() {
        let path = format!("routes[{index}]");
        if routes.iter().take(index).any(|earlier| earlier.name == route.name) {
            mistakes.add(format!("{path}.name"), "a name of its own", quoted(&route.name));
        }
        if !is_plain_text(&route.name) {
            mistakes.add(format!("{path}.name"), "text without control characters", quoted(&route.name));
        }
        let Some(route) = compile_route(route, &path, methods, &credential_headers, mistakes) else {
            continue;
        };
        let taken = compiled.iter().find(|(_, earlier)| earlier.matcher.conflicts_with(&route.matcher));
        if let Some((earlier, _)) = taken {
            mistakes.add(
                format!("{path}.match"),
                "methods and paths that no other route has",
                format!("those of routes[{earlier}]"),
            );
        }
        compiled.push((index, Rc::new(route)));
    }
    compiled.into_iter().map(|(_, route)| route).collect()
}

/// `None` where the path is wrong, because nothing else of the route can be checked without it.
fn compile_route(
    route: &RouteDocument,
    path: &str,
    methods: &BTreeMap<String, Method>,
    credential_headers: &[&str],
    mistakes: &mut Mistakes,
) -> Option<Route> {
    for (index, method) in route.matches.methods.iter().enumerate() {
        let path = format!("{path}.match.methods[{index}]");
        if method.is_empty() || !method.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-') {
            mistakes.add(path, "a method in upper case, such as POST", quoted(method));
        } else if route.matches.methods.iter().take(index).any(|earlier| earlier == method) {
            mistakes.add(path, "each method once", quoted(method));
        }
    }
    if !is_plain_text(&route.event.type_) {
        mistakes.add(
            format!("{path}.event.type"),
            "text without control characters",
            quoted(&route.event.type_),
        );
    }
    let authentication = compile_authentication(&route.authentication, path, methods, mistakes);
    check_kafka(&route.kafka, path, credential_headers, mistakes);
    let pattern = match PathPattern::parse(&route.matches.path) {
        Ok(pattern) => pattern,
        Err(wanted) => {
            mistakes.add(format!("{path}.match.path"), wanted, quoted(&route.matches.path));
            return None;
        }
    };
    let parameters = pattern.parameters();
    let mut template = |field: &str, text: &Option<String>| {
        let text = text.as_ref()?;
        let path = format!("{path}.{field}");
        if text.is_empty() {
            mistakes.add(path, "a template that is not empty (leave the field out for none)", quoted(text));
            return None;
        }
        if !is_plain_text(text) {
            mistakes.add(path, "text without control characters", quoted(text));
            return None;
        }
        // The body comes after the key and the subject have been made.
        match Template::parse(text, &Scope { path_parameters: &parameters, json: false }) {
            Ok(template) => {
                if let Some(name) =
                    template.header_names().find(|name| carries_credential(name, credential_headers))
                {
                    mistakes.add(path, "headers that carry no credential", quoted(name));
                    return None;
                }
                Some(template)
            }
            Err(wanted) => {
                mistakes.add(path, wanted, quoted(text));
                None
            }
        }
    };
    let subject = template("event.subject", &route.event.subject);
    let key = template("kafka.key", &route.kafka.key);
    Some(Route {
        name: route.name.clone(),
        matcher: Matcher {
            hosts: vec![HostPattern::Any],
            methods: route.matches.methods.clone(),
            pattern,
            conditions: Conditions::default(),
        },
        cors: None,
        challenge: auth::challenge(&authentication),
        authentication,
        event_type: route.event.type_.clone(),
        subject,
        topic: route.kafka.topic.clone(),
        key,
        forward_headers: route.kafka.forward_headers.iter().map(|name| name.to_ascii_lowercase()).collect(),
    })
}

fn compile_authentication(
    authentication: &Authentication,
    path: &str,
    methods: &BTreeMap<String, Method>,
    mistakes: &mut Mistakes,
) -> Vec<Method> {
    let names = &authentication.any_of;
    let mut compiled = Vec::with_capacity(names.len());
    for (index, name) in names.iter().enumerate() {
        let path = format!("{path}.authentication.any_of[{index}]");
        match methods.get(name) {
            None => {
                let known: Vec<&str> = methods.keys().map(String::as_str).collect();
                mistakes.add(path, format!("one of {}", known.join(", ")), quoted(name));
            }
            Some(_) if names.iter().take(index).any(|earlier| earlier == name) => {
                mistakes.add(path, "each name once", quoted(name));
            }
            Some(Method::Anonymous) if index + 1 < names.len() => {
                mistakes.add(path, "anonymous last, because nothing after it is tried", quoted(name));
            }
            Some(method) => compiled.push(method.clone()),
        }
    }
    compiled
}

fn check_kafka(kafka: &Kafka, path: &str, credential_headers: &[&str], mistakes: &mut Mistakes) {
    if !topic::is_legal(&kafka.topic) {
        mistakes.add(format!("{path}.kafka.topic"), topic::WANTED, quoted(&kafka.topic));
    }
    for (index, name) in kafka.forward_headers.iter().enumerate() {
        let path = format!("{path}.kafka.forward_headers[{index}]");
        let lower = name.to_ascii_lowercase();
        if !is_field_name(name) {
            mistakes.add(path, "the name of a header", quoted(name));
        } else if credential_headers.contains(&lower.as_str()) || NEVER_FORWARDED.contains(&lower.as_str()) {
            mistakes.add(
                path,
                "a header that carries no credential and is neither the connection's nor the record's own",
                quoted(name),
            );
        } else if kafka.forward_headers.iter().take(index).any(|earlier| earlier.eq_ignore_ascii_case(name)) {
            mistakes.add(path, "each header once", quoted(name));
        }
    }
}

/// Whether a header, in lower case, must not get out of the gateway.
fn carries_credential(name: &str, credential_headers: &[&str]) -> bool {
    credential_headers.contains(&name) || matches!(name, "authorization" | "cookie" | "proxy-authorization")
}

/// What a CloudEvents string may be made of (CloudEvents 1.0.2, section 3.2).
fn is_plain_text(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

/// The characters of RFC 3986; its grammar is left to those who read the attribute.
fn is_uri_reference(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&byte))
}
