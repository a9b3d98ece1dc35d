//! From the document to what requests are decided by. Every mistake that the structure alone does not show is found
//! here, and all of them are found.

use std::rc::Rc;
use std::time::Duration;

mod authentication;
mod credentials;
mod introspection;
mod jwt;
mod limit;
mod plan;
mod redacted;
mod route;
mod webhook;

use wicketgate_envelope::event::is_uri_reference;

use self::route::Surroundings;
use super::document::{Document, Secret};
use super::error::{Mistakes, quoted};
use super::{Bridge, Config};
use crate::identity::FingerprintKey;
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
    let consumers = authentication::compile_consumers(&document.consumers, mistakes);
    let methods = authentication::compile_methods(&document.authentication, &consumers, mistakes);
    let credentials = authentication::places(methods.values(), false);
    let redaction_key = compile_redaction_key(document.redaction_key.as_ref(), mistakes);
    // Any secret will do that all gateways have.
    let secret = redaction_key.as_ref().map(HashKey::mac);
    let secret = secret.or_else(|| bridge.signing_key.as_ref().map(SigningKey::mac));
    let surroundings = Surroundings {
        limits: limit::compile_all(document, &route::withheld_headers(&credentials), mistakes),
        document,
        credentials,
        redaction_key,
        fingerprint_key: FingerprintKey::new(secret),
        stripped: Rc::new(authentication::places(methods.values(), true)),
        source: Rc::from(document.source.as_str()),
        consumers,
        methods,
    };
    let routes = route::compile_all(&document.routes, &surroundings, mistakes);
    Config {
        bridge,
        max_body_bytes: document.limits.body_bytes as usize,
        unmatched: document.unmatched,
        client_address: limit::compile_client_address(&document.client_address),
        limit_fields: document.limit_fields,
        stripped: Rc::clone(&surroundings.stripped),
        authorities: authentication::authorities(surroundings.methods.values()),
        limit_names: surroundings.limits.keys().cloned().collect(),
        routes: Routes::new(&routes),
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

/// What a CloudEvents string may be made of (CloudEvents 1.0.2, section 3.2).
fn is_plain_text(text: &str) -> bool {
    !text.chars().any(crate::template::is_disallowed)
}
