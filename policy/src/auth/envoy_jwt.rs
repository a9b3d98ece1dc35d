//! JSON Web Tokens that Envoy's own filter `envoy.filters.http.jwt_authn` has verified before this one, and whose claims
//! it has left in the request's metadata.

use std::rc::Rc;

use super::jwt::TokenIdentity;
use super::{Checked, Rejected};
use crate::claims::{ClaimPath, Claims};
use crate::env::Env;
use crate::envoy_metadata;
use crate::jose::claims;

const FILTER: &str = "envoy.filters.http.jwt_authn";

/// Tokens of one of that filter's providers.
#[derive(Debug)]
pub struct EnvoyJwt {
    /// The provider's `payload_in_metadata`.
    pub(crate) payload_in_metadata: String,
    pub(crate) identity: TokenIdentity,
}

impl EnvoyJwt {
    pub(super) fn check(&self, name: &Rc<str>, env: &dyn Env) -> Checked {
        let Some(metadata) = env.property(&["metadata"]) else { return Checked::Absent };
        let claims = match envoy_metadata::object(&metadata, FILTER, &self.payload_in_metadata) {
            Ok(Some(claims)) => Claims::new(claims),
            Ok(None) => return Checked::Absent,
            Err(_) => {
                return Checked::Rejected(Rejected::Invalid("what Envoy says of the token is malformed"));
            }
        };
        let subject = ClaimPath::parse("sub").ok().and_then(|path| claims::text(&claims, &path));
        match self.identity.principal(name, subject.as_deref(), &claims) {
            Ok(principal) => Checked::Known(principal),
            Err(rejected) => Checked::Rejected(rejected),
        }
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::env::testing::TestEnv;

    /// The metadata in which jwt_authn has left `{"scope":"a b","sub":"7"}` as `payload`.
    const METADATA: &[u8] =
        b"\x0a\x4b\x0a\x1cenvoy.filters.http.jwt_authn\x12\x2b\x0a\x29\x0a\x07payload\x12\x1e\x2a\x1c\
                              \x0a\x0e\x0a\x05scope\x12\x05\x1a\x03a b\x0a\x0a\x0a\x03sub\x12\x03\x1a\x017x";

    fn said(metadata: Option<&[u8]>, payload: &str) -> Checked {
        let mut env = TestEnv::default();
        if let Some(metadata) = metadata {
            env.properties.insert("metadata".to_owned(), metadata.to_vec());
        }
        let method = EnvoyJwt { payload_in_metadata: payload.to_owned(), identity: TokenIdentity::default() };
        method.check(&Rc::from("envoy"), &env)
    }

    #[test]
    fn the_claims_that_envoy_has_verified_say_who_calls() {
        let metadata = METADATA.strip_suffix(b"x").unwrap();
        let checked = said(Some(metadata), "payload");
        let Checked::Known(principal) = checked else { panic!("{checked:?}") };
        assert_eq!(principal.auth_id(), Some("7"));
        assert!(principal.has_scope("b") && !principal.has_scope("c"));
    }

    #[test]
    fn a_token_that_envoy_has_not_verified_is_none() {
        let metadata = METADATA.strip_suffix(b"x").unwrap();
        assert!(matches!(said(None, "payload"), Checked::Absent));
        assert!(matches!(said(Some(b""), "payload"), Checked::Absent));
        assert!(matches!(said(Some(metadata), "other"), Checked::Absent));
        assert!(matches!(said(Some(METADATA), "payload"), Checked::Rejected(_)));
    }
}
