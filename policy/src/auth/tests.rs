#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;
use wicketgate_envelope::timestamp::Timestamp;

use super::api_key::{ApiKeys, Key, KeyDigest};
use super::*;
use crate::env::testing::TestEnv;

fn consumer(name: &str) -> Rc<Consumer> {
    Rc::new(Consumer { name: name.to_owned(), ..Consumer::default() })
}

/// Keys of the header `x-<name>-key`.
fn api_key(name: &str, owner: &str, key: &[u8], expires: Option<Timestamp>) -> NamedMethod {
    let mut keys = ApiKeys::default();
    keys.insert(KeyDigest::of(key), Key { consumer: consumer(owner), expires });
    let place = Place::Header(format!("x-{name}-key"));
    let method = Method::ApiKey(ApiKey { place, keys: Rc::new(keys), forward: false });
    NamedMethod { name: Rc::from(name), method }
}

fn anonymous() -> NamedMethod {
    NamedMethod { name: Rc::from("anonymous"), method: Method::Anonymous }
}

fn head(fields: &[(&str, &[u8])]) -> RequestHead {
    let mut head = RequestHead::default();
    fields.iter().for_each(|(name, value)| head.push(name.as_bytes(), value));
    head
}

/// The consumer or `anonymous`, or why there is none.
fn checked(requirement: &Requirement, fields: &[(&str, &[u8])]) -> Result<String, Option<Rejected>> {
    let head = head(fields);
    match requirement.check(&Request { head: &head, body: None }, &mut TestEnv::default()) {
        Verdict::Known(principal) => Ok(principal.auth_id().unwrap_or("anonymous").to_owned()),
        Verdict::Denied(denial) => Err(denial.rejected),
        other => panic!("{other:?}"),
    }
}

const UNKNOWN: Rejected = Rejected::Invalid("the key is not known");

#[test]
fn the_right_key_names_its_consumer_and_anything_else_is_nobody() {
    let requirement = Requirement::AnyOf(vec![api_key("a", "alice", b"secret", None)]);
    assert_eq!(checked(&requirement, &[("X-A-Key", b"secret")]), Ok("alice".to_owned()));
    assert_eq!(checked(&requirement, &[]), Err(None));
    for key in [&b""[..], b"Secret", b"secret ", b"\xff"] {
        assert_eq!(checked(&requirement, &[("x-a-key", key)]), Err(Some(UNKNOWN)), "{key:?}");
    }
}

#[test]
fn the_first_credential_that_is_present_decides() {
    let keys = [api_key("a", "alice", b"secret", None), api_key("b", "bob", b"hidden", None), anonymous()];
    let requirement = Requirement::AnyOf(keys.to_vec());
    let repeated = Rejected::Repeated("header x-a-key".to_owned());
    for (fields, wanted) in [
        (&[][..], Ok("anonymous")),
        (&[("x-b-key", &b"hidden"[..])], Ok("bob")),
        (&[("x-b-key", b"hidden"), ("x-a-key", b"secret")], Ok("alice")),
        (&[("x-b-key", b"hidden"), ("x-a-key", b"wrong")], Err(UNKNOWN)),
        (&[("x-a-key", b"wrong")], Err(UNKNOWN)),
        (&[("x-a-key", b"secret"), ("x-a-key", b"secret")], Err(repeated)),
    ] {
        let wanted = wanted.map(str::to_owned).map_err(Some);
        assert_eq!(checked(&requirement, fields), wanted, "{fields:?}");
    }
}

#[test]
fn all_of_wants_every_credential_and_one_consumer() {
    let (alice, bob) = (api_key("a", "alice", b"secret", None), api_key("b", "bob", b"hidden", None));
    let second = api_key("b", "alice", b"hidden", None);
    let both: &[(&str, &[u8])] = &[("x-a-key", b"secret"), ("x-b-key", b"hidden")];
    let requirement = Requirement::AllOf(vec![alice.clone(), second]);
    assert_eq!(checked(&requirement, both), Ok("alice".to_owned()));
    assert_eq!(checked(&requirement, &both[..1]), Err(None));
    assert_eq!(checked(&requirement, &[both[0], ("x-b-key", b"wrong")]), Err(Some(UNKNOWN)));
    let two = Rejected::Invalid("the credentials are of two consumers");
    assert_eq!(checked(&Requirement::AllOf(vec![alice, bob]), both), Err(Some(two)));
}

#[test]
fn a_key_is_good_until_it_expires() {
    let now = TestEnv::default().now();
    let later = Timestamp::from_nanos(now.as_nanos() + 1);
    for (expires, wanted) in [(later, true), (now, false)] {
        let requirement = Requirement::AnyOf(vec![api_key("a", "alice", b"secret", Some(expires))]);
        assert_eq!(checked(&requirement, &[("x-a-key", b"secret")]).is_ok(), wanted);
    }
}

#[test]
fn a_denial_challenges_with_every_method() {
    let requirement =
        Requirement::AnyOf(vec![api_key("a", "alice", b"s", None), api_key("b", "bob", b"h", None)]);
    let head = head(&[]);
    let verdict = requirement.check(&Request { head: &head, body: None }, &mut TestEnv::default());
    let Verdict::Denied(denial) = verdict else { panic!("{verdict:?}") };
    let wanted =
        r#"ApiKey realm="wicketgate", header="x-a-key", ApiKey realm="wicketgate", header="x-b-key""#;
    assert_eq!(denial.challenge, wanted);
}

#[test]
fn what_each_method_says_is_told_up_to_the_one_that_decides() {
    let requirement = Requirement::AnyOf(vec![
        api_key("a", "alice", b"s", None),
        api_key("b", "bob", b"h", None),
        anonymous(),
    ]);
    let head = head(&[("x-b-key", b"hunter2")]);
    let tried = requirement.tried(&Request { head: &head, body: None }, &mut TestEnv::default());
    let shown: Vec<String> = tried.iter().map(|Tried { method, said }| format!("{method}: {said}")).collect();
    assert_eq!(shown, ["a: no credential of this kind", "b: rejected: the key is not known"]);
}
