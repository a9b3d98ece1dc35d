//! What verified claims grant: scopes, groups, the consumer.
//!
//! A claim of another type than these take grants nothing.

use serde_json::value::RawValue;

use crate::claims::{ClaimPath, Claims};

/// The scopes: `scope`, with spaces between them (RFC 8693, section 4.2), or `scp` where that is missing. Either may be
/// an array of texts.
pub fn scopes(claims: &Claims) -> Vec<String> {
    let claim = |name: &str| find(claims, &ClaimPath::parse(name).ok()?);
    let Some(scope) = claim("scope").or_else(|| claim("scp")) else { return Vec::new() };
    match serde_json::from_str::<String>(scope.get()) {
        Ok(scopes) => scopes.split(' ').filter(|scope| !scope.is_empty()).map(str::to_owned).collect(),
        Err(_) => serde_json::from_str(scope.get()).unwrap_or_default(),
    }
}

/// The texts of a claim that is a text or an array of texts, such as groups.
pub fn texts(claims: &Claims, path: &ClaimPath) -> Vec<String> {
    let Some(claim) = find(claims, path) else { return Vec::new() };
    match serde_json::from_str(claim.get()) {
        Ok(text) => vec![text],
        Err(_) => serde_json::from_str(claim.get()).unwrap_or_default(),
    }
}

/// A claim that is a text, such as the one that names the consumer.
pub fn text(claims: &Claims, path: &ClaimPath) -> Option<String> {
    serde_json::from_str(find(claims, path)?.get()).ok()
}

fn find<'c>(claims: &'c Claims, path: &ClaimPath) -> Option<&'c RawValue> {
    path.find(claims.json()).ok().flatten()
}
