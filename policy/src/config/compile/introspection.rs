//! Tokens that somebody else has checked: an authorisation server, or Envoy.

use std::rc::Rc;
use std::time::Duration;

use super::super::document::{self, IntrospectionClient, Secret};
use super::super::error::{Mistakes, quoted};
use super::authentication::{Consumers, compile_place};
use super::jwt::duration;
use crate::auth::{Bearer, EnvoyJwt, Introspection, IntrospectionServer, TokenIdentity};
use crate::claims::ClaimPath;
use crate::introspection::Client;
use crate::jose::Discovery;

/// Compiles a method; `None` where something is wrong without which nothing can be made of it.
pub(super) fn compile(
    fields: &document::Introspection,
    path: &str,
    consumers: &Consumers,
    mistakes: &mut Mistakes,
) -> Option<Introspection> {
    let second = Duration::from_secs(1);
    let timeout_bounds = Duration::from_millis(100)..=second * 30;
    let timeout =
        duration(fields.timeout.as_deref(), &format!("{path}.timeout"), second * 5, timeout_bounds, mistakes);
    let cache_bounds = Duration::ZERO..=second * 600;
    let cache =
        duration(fields.cache.as_deref(), &format!("{path}.cache"), second * 30, cache_bounds, mistakes);
    let identity = compile_identity(&fields.consumer_claim, &fields.groups_claim, path, consumers, mistakes);
    let places = [("header", &fields.header), ("query", &fields.query), ("cookie", &fields.cookie)];
    let bearer = if places.iter().all(|(_, name)| name.is_none()) {
        Some(Bearer::default())
    } else {
        compile_place(&places, path, mistakes).map(|place| Bearer { place })
    };
    if fields.upstream.is_empty() {
        mistakes.add(format!("{path}.upstream"), "the name of a cluster", "nothing");
    }
    let client = compile_client(&fields.client, &format!("{path}.client"), mistakes);
    let Some(Discovery { authority, path: target }) = Discovery::at(&fields.endpoint) else {
        mistakes.add(format!("{path}.endpoint"), "an https address", quoted(&fields.endpoint));
        return None;
    };
    let server =
        IntrospectionServer { upstream: fields.upstream.clone(), authority, path: target, client, timeout };
    Some(Introspection {
        bearer: bearer?,
        server,
        issuer: fields.issuer.clone(),
        audiences: fields.audiences.clone(),
        cache,
        identity,
        forward: fields.forward,
    })
}

fn compile_client(client: &IntrospectionClient, path: &str, mistakes: &mut Mistakes) -> Client {
    let mut check = |field: &str, text: &str, wanted: &str, legal: &dyn Fn(char) -> bool| {
        if text.is_empty() || !text.chars().all(legal) {
            mistakes.add(format!("{path}.{field}"), wanted, format!("{} bytes (not shown)", text.len()));
        }
    };
    let plain = "text without control characters";
    let is_plain = |character: char| !character.is_control();
    match client {
        IntrospectionClient::Basic { id, secret: Secret(secret) } => {
            check("id", id, plain, &is_plain);
            check("secret", secret, plain, &is_plain);
            Client::Basic { id: id.clone(), secret: secret.clone() }
        }
        IntrospectionClient::Body { id, secret: Secret(secret) } => {
            check("id", id, plain, &is_plain);
            check("secret", secret, plain, &is_plain);
            Client::Body { id: id.clone(), secret: secret.clone() }
        }
        IntrospectionClient::Bearer { token: Secret(token) } => {
            let legal = |character: char| character.is_ascii_alphanumeric() || "-._~+/=".contains(character);
            check("token", token, "letters, digits and -._~+/= (RFC 6750, section 2.1)", &legal);
            Client::Bearer { token: token.clone() }
        }
    }
}

/// Compiles a method that trusts Envoy.
pub(super) fn compile_envoy_jwt(
    fields: &document::EnvoyJwtAuthn,
    path: &str,
    consumers: &Consumers,
    mistakes: &mut Mistakes,
) -> EnvoyJwt {
    if fields.payload_in_metadata.is_empty() {
        mistakes.add(format!("{path}.payload_in_metadata"), "what the provider has there", "nothing");
    }
    let identity = compile_identity(&fields.consumer_claim, &fields.groups_claim, path, consumers, mistakes);
    EnvoyJwt { payload_in_metadata: fields.payload_in_metadata.clone(), identity }
}

fn compile_identity(
    consumer: &Option<String>,
    groups: &Option<String>,
    path: &str,
    consumers: &Consumers,
    mistakes: &mut Mistakes,
) -> TokenIdentity {
    let mut claim = |text: &Option<String>, field: &str| {
        let text = text.as_ref()?;
        let parsed = ClaimPath::parse(text);
        parsed.map_err(|wanted| mistakes.add(format!("{path}.{field}"), wanted, quoted(text))).ok()
    };
    TokenIdentity {
        consumer_claim: claim(consumer, "consumer_claim"),
        groups_claim: claim(groups, "groups_claim"),
        consumers: Rc::clone(&consumers.named),
    }
}
