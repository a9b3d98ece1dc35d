//! Ways to authenticate with tokens of an issuer.

use std::ops::RangeInclusive;
use std::rc::Rc;
use std::time::Duration;

use super::super::document::{self, Secret};
use super::super::error::{Mistakes, quoted};
use super::authentication::{Consumers, compile_place};
use crate::auth::{Bearer, Jwt, KeySource, Location, Source, TokenIdentity};
use crate::claims::ClaimPath;
use crate::jose::{Algorithm, Discovery, Key, KeySet, Verifier};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);

/// Compiles a method; `None` where something is wrong without which nothing can be made of it.
pub(super) fn compile(
    fields: &document::Jwt,
    path: &str,
    consumers: &Consumers,
    mistakes: &mut Mistakes,
) -> Option<Jwt> {
    Compiler { fields, path }.compile(consumers, mistakes)
}

struct Compiler<'d> {
    fields: &'d document::Jwt,
    path: &'d str,
}

impl Compiler<'_> {
    fn compile(&self, consumers: &Consumers, mistakes: &mut Mistakes) -> Option<Jwt> {
        let Self { fields, path } = *self;
        let name = |algorithm: &document::JwtAlgorithm| format!("{algorithm:?}");
        let algorithms: Vec<Algorithm> =
            fields.algorithms.iter().filter_map(|algorithm| Algorithm::from_name(&name(algorithm))).collect();
        if fields.issuer.is_empty() {
            mistakes.add(format!("{path}.issuer"), "what iss has to be", "nothing");
        }
        let verifier = Verifier {
            algorithms: algorithms.iter().copied().collect(),
            issuer: Some(fields.issuer.clone()),
            audiences: fields.audiences.clone(),
            token_type: fields.token_type.clone(),
            leeway: self.duration(
                &fields.leeway,
                "leeway",
                SECOND * 30,
                Duration::ZERO..=SECOND * 300,
                mistakes,
            ),
            max_lifetime: fields.max_lifetime.is_some().then(|| {
                self.duration(&fields.max_lifetime, "max_lifetime", HOUR, SECOND..=HOUR * 87_600, mistakes)
            }),
            ..Verifier::default()
        };
        let keys = self.keys(&algorithms, mistakes);
        let identity = TokenIdentity {
            consumer_claim: self.claim(&fields.consumer_claim, "consumer_claim", mistakes),
            groups_claim: self.claim(&fields.groups_claim, "groups_claim", mistakes),
            consumers: Rc::clone(&consumers.named),
        };
        let places = [("header", &fields.header), ("query", &fields.query), ("cookie", &fields.cookie)];
        let bearer = if places.iter().all(|(_, name)| name.is_none()) {
            Some(Bearer::default())
        } else {
            compile_place(&places, path, mistakes).map(|place| Bearer { place })
        };
        Some(Jwt { bearer: bearer?, verifier, keys: keys?, identity, forward: fields.forward })
    }

    fn keys(&self, algorithms: &[Algorithm], mistakes: &mut Mistakes) -> Option<KeySource> {
        let Self { fields, path } = *self;
        let remote = fields.jwks_uri.is_some() || fields.discovery;
        let given =
            [fields.jwks.is_some(), fields.jwks_uri.is_some(), fields.discovery, !fields.secrets.is_empty()];
        let count = given.iter().filter(|given| **given).count();
        if count != 1 {
            let got = if count == 0 { "none of them" } else { "several of them" };
            mistakes.add(path, "exactly one of jwks, jwks_uri, discovery and secrets", got);
            return None;
        }
        // A public key is known to everybody, and must never count as a secret.
        let symmetric = algorithms.iter().filter(|algorithm| algorithm.is_symmetric()).count();
        let wanted = if fields.secrets.is_empty() { 0 } else { algorithms.len() };
        if symmetric != wanted {
            let text = "HS256, HS384 and HS512 only with secrets, and all others only with public keys";
            let got = fields.algorithms.iter().map(|algorithm| format!("{algorithm:?}")).collect::<Vec<_>>();
            mistakes.add(format!("{path}.algorithms"), text, got.join(", "));
            return None;
        }
        self.check_remote(remote, mistakes);
        match &fields.jwks {
            _ if !fields.secrets.is_empty() => self.secret_keys(algorithms, mistakes),
            _ if remote => self.source(mistakes).map(KeySource::Remote),
            jwks => match KeySet::from_jwks(jwks.as_deref().unwrap_or_default().as_bytes()) {
                Ok(keys) => Some(KeySource::Inline(Rc::new(keys))),
                Err(error) => {
                    mistakes.add(format!("{path}.jwks"), "a JWK set with public keys", error.to_string());
                    None
                }
            },
        }
    }

    /// What is about fetching stands only where something is fetched.
    fn check_remote(&self, remote: bool, mistakes: &mut Mistakes) {
        let Self { fields, path } = *self;
        if remote && fields.upstream.is_none() {
            let wanted = "the name of the cluster that reaches the issuer";
            mistakes.add(format!("{path}.upstream"), wanted, "nothing (the field is missing)");
        }
        let fetching = [
            ("upstream", &fields.upstream),
            ("refresh", &fields.refresh),
            ("stale", &fields.stale),
            ("timeout", &fields.timeout),
        ];
        for (field, _) in fetching.iter().filter(|(_, value)| value.is_some() && !remote) {
            let got = "it where nothing is fetched";
            mistakes.add(format!("{path}.{field}"), "it only with jwks_uri or discovery", got);
        }
    }

    fn secret_keys(&self, algorithms: &[Algorithm], mistakes: &mut Mistakes) -> Option<KeySource> {
        let mut keys = Vec::new();
        for (index, Secret(secret)) in self.fields.secrets.iter().enumerate() {
            for algorithm in algorithms {
                match Key::secret(None, secret.as_bytes(), *algorithm) {
                    Ok(key) => keys.push(key),
                    Err(short) => {
                        let wanted = format!("{} bytes or more for {algorithm}", short.min_bytes);
                        let got = format!("{} bytes (not shown)", secret.len());
                        mistakes.add(format!("{}.secrets[{index}]", self.path), wanted, got);
                        return None;
                    }
                }
            }
        }
        Some(KeySource::Inline(Rc::new(KeySet::new(keys))))
    }

    fn source(&self, mistakes: &mut Mistakes) -> Option<Source> {
        let Self { fields, path } = *self;
        let (field, written, address) = match &fields.jwks_uri {
            Some(address) => ("jwks_uri", address, address.clone()),
            None => {
                let issuer = &fields.issuer;
                ("issuer", issuer, format!("{}{}", issuer.trim_end_matches('/'), Discovery::WELL_KNOWN))
            }
        };
        let Some(Discovery { authority, path: target }) = Discovery::at(&address) else {
            mistakes.add(format!("{path}.{field}"), "an https address", quoted(written));
            return None;
        };
        let location = if fields.discovery {
            Location::Discovery { issuer: fields.issuer.clone(), authority, path: target }
        } else {
            Location::KeySet { authority, path: target }
        };
        let (refresh, day) = (SECOND * 600, HOUR * 24);
        let least = Duration::from_millis(100);
        Some(Source {
            upstream: fields.upstream.clone()?,
            location,
            refresh: self.duration(&fields.refresh, "refresh", refresh, SECOND * 10..=day, mistakes),
            stale: self.duration(&fields.stale, "stale", HOUR, Duration::ZERO..=day * 7, mistakes),
            timeout: self.duration(&fields.timeout, "timeout", SECOND * 5, least..=SECOND * 30, mistakes),
        })
    }

    fn claim(&self, text: &Option<String>, field: &str, mistakes: &mut Mistakes) -> Option<ClaimPath> {
        let text = text.as_ref()?;
        let parsed = ClaimPath::parse(text);
        parsed.map_err(|wanted| mistakes.add(format!("{}.{field}", self.path), wanted, quoted(text))).ok()
    }

    fn duration(
        &self,
        text: &Option<String>,
        field: &str,
        default: Duration,
        bounds: RangeInclusive<Duration>,
        mistakes: &mut Mistakes,
    ) -> Duration {
        duration(text.as_deref(), &format!("{}.{field}", self.path), default, bounds, mistakes)
    }
}

/// A duration within bounds, or what stands in for one.
pub(super) fn duration(
    text: Option<&str>,
    path: &str,
    default: Duration,
    bounds: RangeInclusive<Duration>,
    mistakes: &mut Mistakes,
) -> Duration {
    let Some(text) = text else { return default };
    match humantime::parse_duration(text) {
        Ok(duration) if bounds.contains(&duration) => duration,
        _ => {
            let [from, to] = [bounds.start(), bounds.end()].map(|bound| humantime::format_duration(*bound));
            mistakes.add(path, format!("a duration from {from} to {to}"), quoted(text));
            default
        }
    }
}
