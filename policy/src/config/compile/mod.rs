//! From the document to what requests are decided by. Every mistake that the structure alone does not show is found
//! here, and all of them are found.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

mod plan;
mod route;

use wicketgate_envelope::event::is_uri_reference;

use self::route::Surroundings;
use super::document::{ApiKey, AuthenticationMethod, ClaimValue, Consumer, Document, Secret};
use super::error::{Mistakes, quoted};
use super::{Bridge, Config};
use crate::auth::{self, ApiKeys, KeyDigest, Method};
use crate::claims::Claims;
use crate::head::is_field_name;
use crate::redact::HashKey;
use crate::route::Routes;
use crate::signing::SigningKey;

/// The built-in way to authenticate that asks nothing.
pub(super) const ANONYMOUS: &str = "anonymous";

/// Compiles the document. The result is of use only if no mistake was found.
pub(super) fn compile(document: &Document, mistakes: &mut Mistakes) -> Config {
    if !is_uri_reference(&document.source) {
        mistakes.add("source", "a URI reference, such as https://api.example.com", quoted(&document.source));
    }
    let bridge = compile_bridge(&document.bridge, mistakes);
    let keys = Rc::new(compile_consumers(&document.consumers, mistakes));
    let methods = compile_methods(&document.authentication, &keys, mistakes);
    let surroundings = Surroundings {
        document,
        redaction_key: compile_redaction_key(document.redaction_key.as_ref(), mistakes),
        credential_headers: crate::auth::credential_headers(methods.values()),
        source: Rc::from(document.source.as_str()),
        methods,
    };
    let routes = route::compile_all(&document.routes, &surroundings, mistakes);
    Config {
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
    let signing_key = bridge.secret.as_ref().and_then(|Secret(secret)| {
        let key = SigningKey::new(secret);
        if key.is_none() {
            let wanted = format!("{} or more visible ASCII characters", SigningKey::MIN_LENGTH);
            mistakes.add("bridge.secret", wanted, format!("{} bytes (not shown)", secret.len()));
        }
        key
    });
    Bridge { upstream: bridge.upstream.clone(), authority: authority.clone(), timeout, signing_key }
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
        let claims = compile_claims(&consumer.claims, &path, mistakes);
        let named = Rc::new(auth::Consumer { name: consumer.name.clone(), claims });
        for (index, ApiKey { sha256 }) in consumer.api_keys.iter().enumerate() {
            let path = format!("{path}.api_keys[{index}].sha256");
            let Some(digest) = KeyDigest::from_hex(sha256) else {
                mistakes.add(path, "64 hexadecimal digits", format!("{} bytes (not shown)", sha256.len()));
                continue;
            };
            if digest == KeyDigest::of(b"") {
                mistakes.add(
                    path,
                    "the hash of a key",
                    "that of nothing, which every empty header would match",
                );
                continue;
            }
            if let Some(owner) = keys.insert(digest, Rc::clone(&named)) {
                mistakes.add(
                    path,
                    "a key of its own",
                    format!("one that consumer {} has", quoted(&owner.name)),
                );
            }
        }
    }
    keys
}

/// The most claims of a consumer: each is looked for among all, for each record.
const MAX_CLAIMS: usize = 64;

/// What is wrong with a claim is told without its value, which is about somebody.
fn compile_claims(
    claims: &BTreeMap<String, ClaimValue>,
    path: &str,
    mistakes: &mut Mistakes,
) -> Option<Claims> {
    if claims.len() > MAX_CLAIMS {
        let wanted = format!("at most {MAX_CLAIMS} claims");
        mistakes.add(format!("{path}.claims"), wanted, claims.len().to_string());
    }
    for (name, value) in claims {
        let path = format!("{path}.claims.{name}");
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
fn has_another_use(header: &str) -> bool {
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

fn compile_redaction_key(key: Option<&Secret>, mistakes: &mut Mistakes) -> Option<HashKey> {
    let Secret(text) = key?;
    let bytes: Option<Vec<u8>> = text
        .as_bytes()
        .chunks(2)
        .map(|pair| {
            let pair =
                std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2 && !pair.starts_with('+'))?;
            u8::from_str_radix(pair, 16).ok()
        })
        .collect();
    match bytes.map(|bytes| HashKey::new(&bytes)) {
        Some(Ok(key)) => Some(key),
        _ => {
            let wanted = format!("{} or more hexadecimal digits, an even number", 2 * HashKey::MIN_BYTES);
            mistakes.add("redaction_key", wanted, format!("{} bytes (not shown)", text.len()));
            None
        }
    }
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
                let wanted = "the name of a header that has no other use, such as x-api-key";
                let given = quoted(header);
                let header = header.to_ascii_lowercase();
                if !is_field_name(&header) || has_another_use(&header) {
                    mistakes.add(format!("{path}.header"), wanted, given);
                }
                compiled.insert(name.clone(), Method::ApiKey { header, keys: Rc::clone(keys) });
            }
        }
    }
    compiled
}

/// What a CloudEvents string may be made of (CloudEvents 1.0.2, section 3.2).
fn is_plain_text(text: &str) -> bool {
    !text.chars().any(crate::template::is_disallowed)
}
