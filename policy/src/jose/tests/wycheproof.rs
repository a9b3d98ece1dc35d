//! The JSON Web Signature, Key and Crypto vectors of Project Wycheproof.

use serde_json::Value;
use wycheproof_ng_kdf_jose::json_web::TestName;

use super::super::KeySet;
use super::{payload, secret_of};

/// Where our verdict is not the vector's, and why.
const DIFFERENT: &[(TestName, usize, &str)] = &[
    (TestName::JsonWebSignature, 346, "signed with PS384, but the alg of the key is PS256"),
    (TestName::JsonWebSignature, 347, "the alg of the key is ES521, which there is not"),
    (TestName::JsonWebSignature, 350, "signed with PS384, but the alg of the key is PS256"),
    (TestName::JsonWebSignature, 351, "the alg of the key is ES521, which there is not"),
    (TestName::JsonWebSignature, 367, "called invalid, but byte for byte the valid 357"),
    (TestName::JsonWebSignature, 370, "called invalid, but byte for byte the valid 357"),
    (TestName::JsonWebSignature, 372, "called valid, but ? is no character of base64url"),
    (TestName::JsonWebKey, 4, "the k of the second key has bits left over, so there is only one key"),
    (TestName::JsonWebSignature, 373, "called valid, but ? is no character of base64url"),
];

/// A set, or a single key. Secrets are for documents, and a document does not mix them with public keys.
fn key_set(keys: &Value) -> Option<KeySet> {
    let single = [keys.clone()];
    let all = keys["keys"].as_array().map_or(&single[..], Vec::as_slice);
    if all.iter().all(|key| key["kty"] == "oct") {
        return Some(KeySet::new(all.iter().filter_map(secret_of).collect()));
    }
    KeySet::from_jwks(serde_json::json!({ "keys": all }).to_string().as_bytes()).ok()
}

/// Runs a set of vectors. How many of them are valid and how many are not.
fn run(name: TestName) -> (usize, usize) {
    let (mut valid, mut invalid) = (0, 0);
    let vectors: Value = serde_json::from_str(name.json_data()).unwrap();
    for group in vectors["testGroups"].as_array().unwrap() {
        let keys = group.get("public").or(group.get("private")).unwrap();
        let keys = key_set(keys);
        for test in group["tests"].as_array().unwrap().iter().filter(|test| test.get("jws").is_some()) {
            // What is no string is in JSON serialisation.
            let token = test["jws"].as_str().map_or_else(|| test["jws"].to_string(), str::to_owned);
            let accepted = keys.as_ref().is_some_and(|keys| payload(&token, keys).is_ok());
            let wanted = test["result"] == "valid";
            let differs = DIFFERENT.iter().any(|(set, id, _)| *set == name && test["tcId"] == *id);
            assert_eq!(accepted, wanted != differs, "{name:?} {test}");
            *(if wanted { &mut valid } else { &mut invalid }) += 1;
        }
    }
    (valid, invalid)
}

#[test]
fn json_web_signatures() {
    assert_eq!(run(TestName::JsonWebSignature), (46, 355));
}

#[test]
fn json_web_keys() {
    assert_eq!(run(TestName::JsonWebKey), (5, 21));
}

#[test]
fn json_web_crypto() {
    assert_eq!(run(TestName::JsonWebCrypto), (4, 45));
}
