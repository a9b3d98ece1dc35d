//! What a limit counts by.

use std::borrow::Cow;

use super::address::ClientAddress;
use crate::auth::Principal;
use crate::claims::ClaimPath;
use crate::head::RequestHead;

/// A part of a request that a limit counts by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Who calls. All anonymous callers are one.
    Consumer,
    /// The address of the caller.
    Address,
    /// The route.
    Route,
    /// A header, by its name in lower case.
    Header(String),
    /// A claim of the caller.
    Claim(ClaimPath),
    /// A parameter of the path, by its place.
    Parameter(usize),
}

impl Part {
    /// Whether it is known only of callers that are authenticated.
    pub(crate) fn needs_principal(&self) -> bool {
        matches!(self, Self::Consumer | Self::Claim(_))
    }
}

/// What the parts are taken from.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The head of the request.
    pub head: &'a RequestHead,
    /// How its address is found.
    pub client_address: &'a ClientAddress,
    /// The name of the route.
    pub route: &'a str,
    /// The parameters of the path, decoded.
    pub parameters: &'a [&'a str],
    /// Who calls; `None` before that is known.
    pub principal: Option<&'a Principal>,
}

/// The key of a request. Requests have the same one exactly if all parts are the same, a part that is absent being the same as
/// another that is.
pub fn key(parts: &[Part], facts: &Facts<'_>) -> Vec<u8> {
    let mut key = Vec::with_capacity(64);
    for part in parts {
        match value(part, facts) {
            None => key.push(0),
            Some((kind, value)) => {
                key.push(kind);
                // Shorter than the head of a request, so it fits.
                key.extend_from_slice(&u32::try_from(value.len()).unwrap_or(u32::MAX).to_le_bytes());
                key.extend_from_slice(&value);
            }
        }
    }
    key
}

/// What kind of value a part has, and the value.
fn value<'a>(part: &Part, facts: &Facts<'a>) -> Option<(u8, Cow<'a, [u8]>)> {
    const PLAIN: u8 = 1;
    const CONSUMER: u8 = 2;
    const SUBJECT: u8 = 3;
    let plain = |value: Cow<'a, [u8]>| Some((PLAIN, value));
    match part {
        Part::Route => plain(Cow::Borrowed(facts.route.as_bytes())),
        Part::Parameter(index) => plain(Cow::Borrowed(facts.parameters.get(*index)?.as_bytes())),
        Part::Header(name) => plain(Cow::Owned(header(facts.head, name)?)),
        Part::Address => {
            let address = facts.client_address.of(facts.head)?;
            plain(Cow::Owned(match address {
                std::net::IpAddr::V4(address) => address.octets().to_vec(),
                std::net::IpAddr::V6(address) => address.octets().to_vec(),
            }))
        }
        Part::Claim(path) => {
            let claims = facts.principal?.claims()?;
            // A claim that is there twice is none: which one counts, nobody could say.
            let claim = path.find(claims.json()).ok()??;
            // A string, whichever way it is written.
            plain(match serde_json::from_str::<String>(claim.get()) {
                Ok(text) => Cow::Owned(text.into_bytes()),
                Err(_) => Cow::Owned(claim.get().as_bytes().to_vec()),
            })
        }
        Part::Consumer => {
            let principal = facts.principal?;
            match (&principal.consumer, &principal.subject) {
                (Some(consumer), _) => Some((CONSUMER, Cow::Borrowed(consumer.name.as_bytes()))),
                (None, Some(subject)) => {
                    // Subjects of two issuers may have the same name.
                    let parts = [principal.method.as_bytes(), b"\0", subject.as_bytes()];
                    Some((SUBJECT, Cow::Owned(parts.concat())))
                }
                (None, None) => None,
            }
        }
    }
}

/// The value of a header, in lower case and without white space at its ends, so that spelling it in another way does not make
/// another caller. Repeated fields are one list (RFC 9110, section 5.3).
fn header(head: &RequestHead, name: &str) -> Option<Vec<u8>> {
    let values: Vec<&[u8]> = head.all(name).map(<[u8]>::trim_ascii).collect();
    (!values.is_empty()).then(|| values.join(&b","[..]).to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::auth::Consumer;
    use crate::claims::Claims;

    /// The key of a request with these headers, from this caller.
    fn of(parts: &[Part], fields: &[(&str, &str)], principal: Option<&Principal>) -> Vec<u8> {
        let mut head = RequestHead::default();
        fields.iter().for_each(|(name, value)| head.push(name.as_bytes(), value.as_bytes()));
        let client_address = ClientAddress { trusted_hops: 1, ..ClientAddress::default() };
        let parameters = ["a", "b"];
        key(
            parts,
            &Facts {
                head: &head,
                client_address: &client_address,
                route: "r",
                parameters: &parameters,
                principal,
            },
        )
    }

    fn claims(json: &str) -> Principal {
        let claims = Claims::new(serde_json::value::RawValue::from_string(json.to_owned()).unwrap());
        Principal { claims: Some(claims), ..Principal::new("jwt".into(), "app_user") }
    }

    #[test]
    fn another_spelling_is_the_same_caller() {
        let tenant = [Part::Header("x-tenant".to_owned())];
        let wanted = of(&tenant, &[("x-tenant", "acme")], None);
        for value in ["ACME", " acme", "Acme\t"] {
            assert_eq!(of(&tenant, &[("X-Tenant", value)], None), wanted, "{value}");
        }
        for fields in [
            &[][..],
            &[("x-tenant", "")],
            &[("x-tenant", "acme2")],
            &[("x-tenant", "acme"), ("x-tenant", "acme")],
        ] {
            assert_ne!(of(&tenant, fields, None), wanted, "{fields:?}");
        }
        let claim = [Part::Claim(ClaimPath::parse("tenant").unwrap())];
        let wanted = of(&claim, &[], Some(&claims(r#"{"tenant":"acme"}"#)));
        assert_eq!(of(&claim, &[], Some(&claims(r#"{"tenant" : "\u0061cme"}"#))), wanted);
        assert_ne!(of(&claim, &[], Some(&claims(r#"{"tenant":"ACME"}"#))), wanted);
    }

    #[test]
    fn what_is_absent_is_one_key_and_not_that_of_something_empty() {
        let part = [Part::Header("x".to_owned())];
        assert_eq!(of(&part, &[], None), of(&part, &[("y", "1")], None));
        assert_ne!(of(&part, &[], None), of(&part, &[("x", "")], None));
        let claim = [Part::Claim(ClaimPath::parse("tenant").unwrap())];
        let absent = of(&claim, &[], None);
        for json in [r#"{}"#, r#"{"tenant":"a","tenant":"b"}"#] {
            assert_eq!(of(&claim, &[], Some(&claims(json))), absent, "{json}");
        }
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        let parts = [Part::Header("x".to_owned()), Part::Header("y".to_owned())];
        let keys = [("ab", "c"), ("a", "bc"), ("abc", ""), ("", "abc"), ("a,b", "c")];
        for (index, (x, y)) in keys.iter().enumerate() {
            for (x2, y2) in keys.iter().skip(index + 1) {
                let (one, other) =
                    (of(&parts, &[("x", x), ("y", y)], None), of(&parts, &[("x", x2), ("y", y2)], None));
                assert_ne!(one, other, "{x} {y} {x2} {y2}");
            }
        }
    }

    #[test]
    fn consumers_and_the_subjects_of_issuers_are_apart_whatever_they_are_called() {
        let consumer = |name: &str| {
            let consumer = Consumer { name: name.to_owned(), ..Consumer::default() };
            Principal::consumer("keys".into(), "api_key", Rc::new(consumer))
        };
        let subject = |method: &str, subject: &str| Principal {
            subject: Some(subject.into()),
            ..Principal::new(method.into(), "app_user")
        };
        let anonymous = Principal::anonymous("anonymous".into());
        let keys: Vec<_> = [consumer("alice"), subject("one", "alice"), subject("two", "alice"), anonymous]
            .iter()
            .map(|principal| of(&[Part::Consumer], &[], Some(principal)))
            .collect();
        for (index, key) in keys.iter().enumerate() {
            assert!(!keys[index + 1..].contains(key), "{index}");
        }
        // The same consumer by another method is the same.
        let mut other = consumer("alice");
        other.method = "basic".into();
        assert_eq!(of(&[Part::Consumer], &[], Some(&other)), keys[0]);
    }

    #[test]
    fn every_part_counts() {
        let parts = [Part::Route, Part::Parameter(1), Part::Address];
        let forwarded = |address| [("x-forwarded-for", address)];
        let wanted = of(&parts, &forwarded("192.0.2.1"), None);
        assert_eq!(of(&parts, &forwarded("::ffff:192.0.2.1"), None), wanted);
        assert_ne!(of(&parts, &forwarded("192.0.2.2"), None), wanted);
        assert_ne!(of(&parts[..2], &[], None), of(&[Part::Route, Part::Parameter(0)], &[], None));
        let network = |address| of(&parts, &forwarded(address), None);
        assert_eq!(network("2001:db8::1"), network("2001:db8::ffff:1"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
    }
}
