//! JSON Web Tokens (RFC 7519) of an issuer, verified here: [`crate::jose`] has the cryptography and the rules of tokens,
//! this file has where the token stands, which keys verify it, and what it makes of its bearer.

use std::collections::BTreeMap;
use std::rc::Rc;

use sha2::{Digest as _, Sha256};

use super::bearer::Bearer;
use super::cache::Cache;
use super::key_sets::{Keys, Source};
use super::{Checked, Consumer, Principal, Rejected, Request};
use crate::claims::{ClaimPath, Claims};
use crate::env::{Count, Env};
use crate::jose::{self, KeySet, Malformed, VerifiedToken, Verifier, claims};

/// The tokens of one issuer.
#[derive(Debug)]
pub struct Jwt {
    pub(crate) bearer: Bearer,
    pub(crate) verifier: Verifier,
    pub(crate) keys: KeySource,
    pub(crate) identity: TokenIdentity,
    /// Whether an upstream gets the token.
    pub(crate) forward: bool,
}

/// Where keys are.
#[derive(Debug)]
pub(crate) enum KeySource {
    /// In the document.
    Inline(Rc<KeySet>),
    /// With the issuer.
    Remote(Source),
}

/// What the claims of a token make of its bearer.
#[derive(Debug, Default)]
pub(crate) struct TokenIdentity {
    /// The claim that names the consumer. A token whose claim names none is rejected.
    pub(crate) consumer_claim: Option<ClaimPath>,
    /// The claim that lists groups.
    pub(crate) groups_claim: Option<ClaimPath>,
    pub(crate) consumers: Rc<BTreeMap<String, Rc<Consumer>>>,
}

/// The most verified tokens that one VM remembers.
const MAX_CACHED: usize = 2_000;

/// Tokens that were verified. Only valid ones are remembered, so nobody can fill this without an issuer's help.
#[derive(Debug)]
pub(crate) struct Tokens(Cache<[u8; 32], Cached>);

#[derive(Debug)]
struct Cached {
    token: VerifiedToken,
    principal: Principal,
    /// The keys that verified it. When they are replaced, it has to be verified again.
    keys: Rc<KeySet>,
}

impl Default for Tokens {
    fn default() -> Self {
        Self(Cache::new(MAX_CACHED))
    }
}

impl Jwt {
    pub(super) fn check(&self, name: &Rc<str>, request: &Request<'_>, env: &mut dyn Env) -> Checked {
        let token = match self.bearer.read(request.head) {
            Ok(Some(token)) => token,
            Ok(None) => return Checked::Absent,
            Err(rejected) => return Checked::Rejected(rejected),
        };
        let now = env.now();
        let keys = match &self.keys {
            KeySource::Inline(keys) => Rc::clone(keys),
            KeySource::Remote(source) => {
                // Tokens of others are not asked about.
                if let Some(foreign) = self.foreign(&token) {
                    return Checked::Foreign(Rejected::Invalid(foreign));
                }
                match env.memory().keys(name, source, now) {
                    Keys::Ready(keys) => keys,
                    Keys::Fetch(fetch) => return Checked::Fetch(fetch),
                    Keys::Unavailable => return Checked::Rejected(Rejected::Unavailable),
                }
            }
        };
        let digest = digest(name, &token);
        let known = env.memory().tokens.0.get(&digest).filter(|cached| {
            Rc::ptr_eq(&cached.keys, &keys) && self.verifier.still_valid(&cached.token, now).is_ok()
        });
        let known = known.map(|cached| cached.principal.clone());
        env.count(Count::Cache { cache: "tokens", hit: known.is_some() });
        if let Some(principal) = known {
            return Checked::Known(principal);
        }
        match self.verifier.verify(&token, &keys, now) {
            Ok(token) => match self.identity.principal(name, token.subject.as_deref(), &token.claims) {
                Ok(principal) => {
                    let cached = Cached { token, principal: principal.clone(), keys };
                    env.memory().tokens.0.insert(digest, cached);
                    Checked::Known(principal)
                }
                Err(rejected) => Checked::Rejected(rejected),
            },
            Err(rejected) => self.rejected(name, &token, &rejected, env),
        }
    }

    /// What becomes of a token that was not verified.
    fn rejected(
        &self,
        name: &Rc<str>,
        token: &[u8],
        rejected: &jose::Rejected,
        env: &mut dyn Env,
    ) -> Checked {
        env.memory().tokens.0.remove(&digest(name, token));
        let now = env.now();
        match (rejected, &self.keys) {
            (jose::Rejected::UnknownKey { .. }, KeySource::Remote(source)) => {
                if let Keys::Fetch(fetch) = env.memory().newer_keys(name, source, now) {
                    return Checked::Fetch(fetch);
                }
            }
            (_, KeySource::Inline(_)) => {
                if let Some(foreign) = self.foreign(token) {
                    return Checked::Foreign(Rejected::Invalid(foreign));
                }
            }
            _ => {}
        }
        Checked::Rejected(Rejected::Invalid(rejected.code()))
    }

    /// Why the token is none of this issuer's, if it says so itself or is no token of this kind at all.
    fn foreign(&self, token: &[u8]) -> Option<&'static str> {
        match jose::claimed_issuer(token, self.verifier.max_bytes) {
            Ok(issuer) if self.verifier.issuer.is_none() || issuer == self.verifier.issuer => None,
            Ok(_) => Some(jose::Rejected::WrongIssuer.code()),
            Err(jose::Rejected::Malformed(Malformed::Parts)) => Some("not_a_jwt"),
            Err(rejected) => Some(rejected.code()),
        }
    }
}

impl TokenIdentity {
    pub(super) fn principal(
        &self,
        name: &Rc<str>,
        subject: Option<&str>,
        token: &Claims,
    ) -> Result<Principal, Rejected> {
        let mut principal = Principal::new(Rc::clone(name), "app_user");
        if let Some(claim) = &self.consumer_claim {
            let consumer = claims::text(token, claim).and_then(|name| self.consumers.get(&name));
            let consumer = consumer.ok_or(Rejected::Invalid("the token names no consumer"))?;
            principal.consumer = Some(Rc::clone(consumer));
        }
        principal.subject = subject.map(Rc::from);
        if let Some(claim) = &self.groups_claim {
            principal.groups = claims::texts(token, claim).into();
        }
        principal.scopes = Some(claims::scopes(token).into());
        principal.claims = Some(token.clone());
        Ok(principal)
    }
}

/// A token is remembered for one method only: another may have other rules.
fn digest(name: &str, token: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(name.as_bytes()).chain_update([0]).chain_update(token).finalize().into()
}

#[cfg(test)]
mod tests;
