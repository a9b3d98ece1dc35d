//! Ways to authenticate that let in more than is meant, and consumers whom nobody can be.

use std::time::Duration;

use crate::config::document::{AuthenticationMethod, Consumer, Document, Jwt, JwtAlgorithm};

/// Tokens that live longer than this are hardly ever meant to.
const LONG_LIFETIME: Duration = Duration::from_secs(90 * 86_400);

pub(super) fn of_document(document: &Document, warn: &mut impl FnMut(String, &str)) {
    let (mut symmetric, mut public) = (None, None);
    for (name, method) in &document.authentication {
        let path = format!("authentication.{name}");
        if let AuthenticationMethod::Jwt(jwt) = method {
            of_jwt(jwt, &path, warn);
            let kind = if jwt.algorithms.iter().any(is_symmetric) { &mut symmetric } else { &mut public };
            kind.get_or_insert((path, &jwt.issuer));
        }
    }
    if let (Some((path, one)), Some((_, other))) = (&symmetric, &public)
        && one == other
    {
        let text = "the same issuer signs with a shared secret here and with a private key elsewhere; whoever has the \
                    secret can make tokens for both";
        warn(format!("{path}.algorithms"), text);
    }
}

/// Whether there is a credential that makes a caller this consumer.
pub(super) fn can_be_called_by(consumer: &Consumer, document: &Document) -> bool {
    let own =
        !(consumer.api_keys.is_empty() && consumer.passwords.is_empty() && consumer.certificates.is_empty());
    let named = |method: &AuthenticationMethod| match method {
        AuthenticationMethod::Webhook(webhook) => webhook.consumer.as_ref() == Some(&consumer.name),
        AuthenticationMethod::Jwt(jwt) => jwt.consumer_claim.is_some(),
        AuthenticationMethod::Introspection(method) => method.consumer_claim.is_some(),
        AuthenticationMethod::EnvoyJwtAuthn(method) => method.consumer_claim.is_some(),
        AuthenticationMethod::ApiKey { .. }
        | AuthenticationMethod::Basic { .. }
        | AuthenticationMethod::Mtls(_) => false,
    };
    own || document.authentication.values().any(named)
}

fn of_jwt(jwt: &Jwt, path: &str, warn: &mut impl FnMut(String, &str)) {
    if jwt.audiences.is_empty() {
        let text =
            "tokens that the issuer made for other services are taken, too; name the audiences of this one";
        warn(format!("{path}.audiences"), text);
    }
    let lifetime = jwt.max_lifetime.as_deref().and_then(|text| humantime::parse_duration(text).ok());
    if lifetime.is_some_and(|lifetime| lifetime > LONG_LIFETIME) {
        warn(
            format!("{path}.max_lifetime"),
            "a stolen token is of use for that long; minutes or hours are usual",
        );
    }
    if jwt.query.is_some() {
        warn(
            format!("{path}.query"),
            "queries are often logged on the way, and tokens with them; a header is safer",
        );
    }
}

fn is_symmetric(algorithm: &JwtAlgorithm) -> bool {
    matches!(algorithm, JwtAlgorithm::HS256 | JwtAlgorithm::HS384 | JwtAlgorithm::HS512)
}
