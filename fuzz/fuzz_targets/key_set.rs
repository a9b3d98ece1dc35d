//! Any bytes are a set of keys, or none; and whatever keys there are can be asked about a signature.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wicketgate_envelope::timestamp::Timestamp;
use wicketgate_fuzz::json::Json;
use wicketgate_policy::jose::{Algorithm, Discovery, KeySet, MAX_KEYS, Verifier};

/// `{"alg":"…"}`, without claims, with a signature of the right length that is nobody's.
fn forged(algorithm: Algorithm) -> Option<String> {
    let (header, length) = match algorithm {
        Algorithm::Rs256 => ("eyJhbGciOiJSUzI1NiJ9", 342),
        Algorithm::Ps384 => ("eyJhbGciOiJQUzM4NCJ9", 342),
        Algorithm::Es256 => ("eyJhbGciOiJFUzI1NiJ9", 86),
        Algorithm::Es384 => ("eyJhbGciOiJFUzM4NCJ9", 128),
        Algorithm::Es512 => ("eyJhbGciOiJFUzUxMiJ9", 176),
        Algorithm::EdDsa => ("eyJhbGciOiJFZERTQSJ9", 86),
        _ => return None,
    };
    Some(format!("{header}.e30.{}Q", "A".repeat(length - 1)))
}

fuzz_target!(|json: &[u8]| {
    let _ = Discovery::parse(json, "https://idp.example");
    match KeySet::from_jwks(json) {
        Ok(set) => {
            assert!(!set.keys().is_empty() && set.keys().len() + set.skipped().len() <= MAX_KEYS);
            assert_eq!(KeySet::from_jwks(json).as_ref(), Ok(&set));
            if let Some(Json::Object(members)) = Json::parse(json) {
                let keys = members.iter().find(|(name, _)| name == "keys").map(|(_, keys)| keys);
                let Some(Json::Array(keys)) = keys else { panic!("keys: {keys:?}") };
                assert_eq!(keys.len(), set.keys().len() + set.skipped().len());
            }
            for algorithm in Algorithm::ALL {
                check(&set, algorithm);
            }
        }
        Err(error) => {
            let text = error.to_string();
            assert!((1..3000).contains(&text.len()) && !text.contains(char::is_control), "{text}");
        }
    }
});

fn check(set: &KeySet, algorithm: Algorithm) {
    let mut named: Vec<&str> =
        set.keys().iter().filter(|key| key.is_for(algorithm)).filter_map(|key| key.kid()).collect();
    assert!(!algorithm.is_symmetric() || !set.keys().iter().any(|key| key.is_for(algorithm)));
    named.sort_unstable();
    assert!(named.windows(2).all(|pair| pair[0] != pair[1]));
    let Some(token) = forged(algorithm) else { return };
    let verifier = Verifier {
        algorithms: [algorithm].into_iter().collect(),
        require_expiry: false,
        ..Verifier::default()
    };
    assert!(verifier.verify(token.as_bytes(), set, Timestamp::from_millis(0)).is_err());
}
