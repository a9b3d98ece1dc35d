//! What a known caller may do: the rules of a route. Every rule that is there has to hold.

use serde_json::value::RawValue;

use super::Principal;
use crate::claims::ClaimPath;
use crate::claims::Claims;
use crate::head::RequestHead;
use crate::json_pointer::string_bytes;
use crate::path;
use crate::query::Query;
use crate::template::{Facts, Template};

/// The rules of a route.
#[derive(Debug, Default)]
pub struct Authorization {
    /// The consumer is one of these; empty for any.
    pub(crate) consumers: Vec<String>,
    /// The caller is in one of these groups; empty for any.
    pub(crate) groups: Vec<String>,
    /// The caller has all of these scopes.
    pub(crate) scopes: Vec<String>,
    /// All of these hold.
    pub(crate) claims: Vec<ClaimRule>,
    /// All of these hold.
    pub(crate) request: Vec<RequestRule>,
}

/// What a claim has to be.
#[derive(Debug)]
pub struct ClaimRule {
    pub(crate) claim: ClaimPath,
    pub(crate) test: ClaimTest,
}

/// How a claim is looked at. Values are compared as the text of a string, or as a number, `true` or `false` is written.
#[derive(Debug)]
pub enum ClaimTest {
    /// The claim is this value.
    Equals(String),
    /// The claim is an array that has this value, or text that has it as one of its words.
    Contains(String),
    /// The claim is one of these values.
    OneOf(Vec<String>),
}

/// A part of the request that has to be what a claim says.
#[derive(Debug)]
pub struct RequestRule {
    pub(crate) part: Template,
    pub(crate) claim: ClaimPath,
}

/// Why a caller may not. The reason is for operators; callers are told at most the scopes that are needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forbidden {
    /// Which rule does not hold.
    pub reason: String,
    /// All scopes that the route needs, if one of them is what is missing.
    pub scopes: Option<String>,
}

impl Forbidden {
    fn because(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), scopes: None }
    }
}

impl Authorization {
    /// Whether a caller may send this request.
    ///
    /// # Errors
    /// [`Forbidden`] names the first rule that does not hold.
    pub fn check(
        &self,
        principal: &Principal,
        head: &RequestHead,
        path_parameters: &[&str],
    ) -> Result<(), Forbidden> {
        let consumer = principal.consumer.as_ref().map(|consumer| consumer.name.as_str());
        if !self.consumers.is_empty() && !self.consumers.iter().any(|name| Some(name.as_str()) == consumer) {
            return Err(Forbidden::because("the consumer is none of those that may"));
        }
        if !self.groups.is_empty() && !self.groups.iter().any(|group| principal.is_in_group(group)) {
            return Err(Forbidden::because("the caller is in none of the groups that may"));
        }
        if let Some(missing) = self.scopes.iter().find(|scope| !principal.has_scope(scope)) {
            let reason = format!("the scope {missing} is missing");
            return Err(Forbidden { reason, scopes: Some(self.scopes.join(" ")) });
        }
        let claims = principal.claims().map(Claims::json);
        for rule in &self.claims {
            if !claims.is_some_and(|claims| rule.holds(claims)) {
                return Err(Forbidden::because(format!("the claim {} is not what is wanted", rule.claim)));
            }
        }
        self.check_request(principal, head, path_parameters)
    }

    fn check_request(
        &self,
        principal: &Principal,
        head: &RequestHead,
        path_parameters: &[&str],
    ) -> Result<(), Forbidden> {
        if self.request.is_empty() {
            return Ok(());
        }
        let raw = path::query(head.target());
        // Some services split at `;` as others do at `&`, and would see other parameters.
        if raw.is_some_and(|raw| raw.contains(&b';'))
            && self.request.iter().any(|rule| rule.part.needs_query())
        {
            return Err(Forbidden::because("the query can be read in two ways"));
        }
        let query = raw.map(Query::parse).transpose();
        let Ok(query) = query else { return Err(Forbidden::because("the query cannot be read")) };
        let claims = principal.claims().map(Claims::json);
        let facts = Facts {
            path_parameters,
            head,
            query: query.as_ref(),
            consumer: principal.auth_id(),
            claims,
            json: None,
        };
        for rule in &self.request {
            let wanted = claims.and_then(|claims| rule.claim.find(claims).ok().flatten()).and_then(text_of);
            let part = rule.part.fill(&facts).ok().flatten();
            let same = wanted.is_some_and(|wanted| part.is_some_and(|part| wanted == part.as_bytes()));
            if !same {
                return Err(Forbidden::because(format!(
                    "a part of the request is not what the claim {} says",
                    rule.claim
                )));
            }
        }
        Ok(())
    }
}

impl ClaimRule {
    fn holds(&self, claims: &RawValue) -> bool {
        let Ok(Some(claim)) = self.claim.find(claims) else { return false };
        let is = |wanted: &str| text_of(claim).is_some_and(|text| text == wanted.as_bytes());
        match &self.test {
            ClaimTest::Equals(wanted) => is(wanted),
            ClaimTest::OneOf(wanted) => wanted.iter().any(|wanted| is(wanted)),
            ClaimTest::Contains(wanted) => match serde_json::from_str::<Vec<Box<RawValue>>>(claim.get()) {
                Ok(items) => {
                    items.iter().any(|item| text_of(item).is_some_and(|text| text == wanted.as_bytes()))
                }
                Err(_) => text_of(claim).is_some_and(|text| {
                    text.split(|byte| *byte == b' ').any(|word| word == wanted.as_bytes())
                }),
            },
        }
    }
}

/// The text of a string, or a number, `true` or `false` as it is written; `None` for everything else, and for an empty
/// string, which must not equal a part of a request that is missing.
fn text_of(json: &RawValue) -> Option<Vec<u8>> {
    let text = match string_bytes(json.get()) {
        Ok(Some(text)) => text,
        Ok(None) => {
            let written = json.get();
            let scalar = !written.starts_with(['{', '[']) && written != "null";
            scalar.then(|| written.as_bytes().to_vec())?
        }
        Err(_) => return None,
    };
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use std::rc::Rc;

    use super::*;
    use crate::auth::Consumer;

    fn principal(claims: &str) -> Principal {
        let claims = Claims::new(RawValue::from_string(claims.to_owned()).unwrap());
        let consumer = Consumer {
            name: "acme".to_owned(),
            groups: vec!["partners".to_owned()],
            scopes: vec!["orders:write".to_owned()],
            claims: Some(claims),
        };
        Principal::consumer(Rc::from("keys"), "api_key", Rc::new(consumer))
    }

    fn rule(claim: &str, test: ClaimTest) -> Authorization {
        let claims = vec![ClaimRule { claim: ClaimPath::parse(claim).unwrap(), test }];
        Authorization { claims, ..Authorization::default() }
    }

    fn allowed(rules: &Authorization, principal: &Principal) -> bool {
        rules.check(principal, &RequestHead::default(), &[]).is_ok()
    }

    #[test]
    fn every_list_that_is_there_has_to_hold() {
        let acme = principal("{}");
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        for (consumers, groups, scopes, wanted) in [
            (&[][..], &[][..], &[][..], true),
            (&["acme"], &[], &[], true),
            (&["other", "acme"], &["partners"], &["orders:write"], true),
            (&["other"], &[], &[], false),
            (&["acme"], &["staff"], &[], false),
            (&["acme"], &["partners"], &["orders:write", "orders:read"], false),
            (&["ACME"], &[], &[], false),
        ] {
            let rules = Authorization {
                consumers: names(consumers),
                groups: names(groups),
                scopes: names(scopes),
                ..Authorization::default()
            };
            assert_eq!(allowed(&rules, &acme), wanted, "{consumers:?} {groups:?} {scopes:?}");
            assert_eq!(allowed(&rules, &Principal::anonymous(Rc::from("anonymous"))), consumers.is_empty());
        }
    }

    #[test]
    fn the_scopes_of_a_token_count_and_not_those_of_its_consumer() {
        let rules = Authorization { scopes: vec!["orders:write".to_owned()], ..Authorization::default() };
        let mut acme = principal("{}");
        assert!(allowed(&rules, &acme));
        acme.scopes = Some(Rc::from(["orders:read".to_owned()]));
        let forbidden = rules.check(&acme, &RequestHead::default(), &[]).unwrap_err();
        assert_eq!(forbidden.scopes.as_deref(), Some("orders:write"));
    }

    #[test]
    fn claims_are_compared_by_their_text() {
        let caller = principal(
            r#"{"tier": "gold", "level": 3, "on": true, "roles": ["a", "b"], "w": "x y", "o": {}, "e": "", "n": null}"#,
        );
        let text = str::to_owned;
        for (claim, test, wanted) in [
            ("tier", ClaimTest::Equals(text("gold")), true),
            ("tier", ClaimTest::Equals(text("Gold")), false),
            ("level", ClaimTest::Equals(text("3")), true),
            ("on", ClaimTest::Equals(text("true")), true),
            ("roles", ClaimTest::Equals(text("a")), false),
            ("roles", ClaimTest::Contains(text("b")), true),
            ("roles", ClaimTest::Contains(text("c")), false),
            ("w", ClaimTest::Contains(text("y")), true),
            ("w", ClaimTest::Contains(text("x y")), false),
            ("tier", ClaimTest::OneOf(vec![text("silver"), text("gold")]), true),
            ("tier", ClaimTest::OneOf(vec![text("silver")]), false),
            ("absent", ClaimTest::Equals(text("gold")), false),
            ("e", ClaimTest::Equals(text("")), false),
            ("n", ClaimTest::Equals(text("null")), false),
            ("o", ClaimTest::Equals(text("{}")), false),
        ] {
            let shown = format!("{claim} {test:?}");
            assert_eq!(allowed(&rule(claim, test), &caller), wanted, "{shown}");
        }
    }

    #[test]
    fn a_query_that_can_be_read_in_two_ways_is_nobodys() {
        let request = vec![RequestRule {
            part: Template::parse("{query:tenant}", &crate::template::Scope::default()).unwrap(),
            claim: ClaimPath::parse("tenant").unwrap(),
        }];
        let rules = Authorization { request, ..Authorization::default() };
        for (query, wanted) in [
            ("tenant=acme&x=1", true),
            ("x=1;tenant=globex&tenant=acme", false),
            ("tenant=acme&key=k;tenant=globex", false),
            ("tenant=acme&tenant=acme", false),
        ] {
            let mut head = RequestHead::default();
            head.push(b":path", format!("/orders?{query}").as_bytes());
            assert_eq!(
                rules.check(&principal(r#"{"tenant": "acme"}"#), &head, &[]).is_ok(),
                wanted,
                "{query}"
            );
        }
    }

    #[test]
    fn a_part_of_the_request_is_what_the_claim_says() {
        let parameters = ["tenant".to_owned()];
        let scope = crate::template::Scope { path_parameters: &parameters, ..Default::default() };
        let request = vec![RequestRule {
            part: Template::parse("{tenant}", &scope).unwrap(),
            claim: ClaimPath::parse("tenant").unwrap(),
        }];
        let rules = Authorization { request, ..Authorization::default() };
        for (claims, tenant, wanted) in [
            (r#"{"tenant": "acme"}"#, "acme", true),
            (r#"{"tenant": "acme"}"#, "globex", false),
            (r#"{"tenant": "acme"}"#, "ACME", false),
            (r#"{"tenant": 7}"#, "7", true),
            (r#"{"tenant": ""}"#, "", false),
            (r#"{"tenant": ["acme"]}"#, "acme", false),
            (r#"{"tenant": "acme", "tenant": "globex"}"#, "globex", false),
            ("{}", "acme", false),
        ] {
            let got = rules.check(&principal(claims), &RequestHead::default(), &[tenant]).is_ok();
            assert_eq!(got, wanted, "{claims} {tenant}");
        }
    }
}
