//! Requests that go on to an upstream.

use wicketgate_emulator::{Costs, Gateway, Kind, Request};

use super::document::{gateway, keyed};
use super::{Scenario, acknowledge, problem};

pub(crate) const SCENARIOS: &[Scenario] = &[
    ("pass: goes on without its key", goes_on_without_its_key),
    ("pass: denied", denied),
    ("pass: with a body in pieces", with_a_body),
    ("unmatched: goes on, without a key", unmatched),
    ("tee: goes on when its copy is written", tee),
    ("tee: denied when its copy is not written", tee_denied),
    ("tee: goes on without a copy", tee_without_a_copy),
    ("tee: too large to be copied", tee_too_large),
];

fn upstream(gateway: &Gateway, id: u32) -> (&[(String, String)], &str) {
    let (head, body) = gateway.outcome(id).upstream.as_ref().unwrap();
    (head, body)
}

fn has(head: &[(String, String)], name: &str) -> bool {
    head.iter().any(|(field, _)| field == name)
}

fn goes_on_without_its_key(kind: Kind) -> Costs {
    let mut gateway = gateway(kind);
    let id = gateway.request(keyed("GET", "/accounts/7").header("x-other", "a"));
    let (head, _) = upstream(&gateway, id);
    assert!(!has(head, "x-api-key") && has(head, "x-other"), "{head:?}");
    gateway.upstream_answers(id, 200, &[("server", "a")]);
    gateway.finish()
}

fn denied(kind: Kind) -> Costs {
    let mut gateway = gateway(kind);
    let id = gateway.request(Request::new("GET", "/accounts/7"));
    assert_eq!(problem(gateway.reply(id)), (401, "unauthenticated"));
    assert_eq!(gateway.outcome(id).upstream, None);
    gateway.finish()
}

fn with_a_body(kind: Kind) -> Costs {
    let mut gateway = gateway(kind);
    let id = gateway.head(0, keyed("GET", "/accounts/7"), false);
    gateway.body(id, "a", false);
    gateway.body(id, "b", true);
    assert_eq!(upstream(&gateway, id).1, "ab");
    gateway.upstream_answers(id, 200, &[]);
    gateway.finish()
}

fn unmatched(kind: Kind) -> Costs {
    let mut gateway = gateway(kind);
    let id = gateway.request(keyed("GET", "/elsewhere").header("x-other", "a"));
    let (head, _) = upstream(&gateway, id);
    assert!(!has(head, "x-api-key") && has(head, "x-other"), "{head:?}");
    gateway.upstream_answers(id, 404, &[]);
    gateway.finish()
}

fn tee(kind: Kind) -> Costs {
    let mut gateway = gateway(kind);
    let id = gateway.request_with_body(keyed("PUT", "/accounts/7"), "new");
    gateway.turn();
    assert_eq!(gateway.outcome(id).upstream, None, "it goes on before its copy is written");
    let callout = gateway.callout();
    acknowledge(&mut gateway, &callout);
    let (head, body) = upstream(&gateway, id);
    assert!(!has(head, "x-api-key"), "{head:?}");
    assert_eq!(body, "new");
    gateway.upstream_answers(id, 204, &[]);
    gateway.finish()
}

fn tee_denied(kind: Kind) -> Costs {
    let mut gateway = gateway(kind);
    let id = gateway.request_with_body(keyed("PUT", "/accounts/7"), "new");
    gateway.turn();
    gateway.time_out(&gateway.callout());
    assert_eq!(gateway.reply(id).status, 504);
    assert_eq!(gateway.outcome(id).upstream, None);
    gateway.finish()
}

fn tee_without_a_copy(kind: Kind) -> Costs {
    let mut gateway = gateway(kind);
    let id = gateway.request_with_body(keyed("POST", "/copies"), "new");
    gateway.turn();
    gateway.fail(&gateway.callout());
    assert_eq!(upstream(&gateway, id).1, "new");
    gateway.upstream_answers(id, 204, &[]);
    gateway.finish()
}

fn tee_too_large(kind: Kind) -> Costs {
    let mut gateway = gateway(kind);
    let id = gateway.head(0, keyed("POST", "/copies"), false);
    gateway.body(id, "1".repeat(65_537), false);
    gateway.body(id, "2", true);
    assert_eq!(upstream(&gateway, id).1.len(), 65_538);
    gateway.turn();
    assert!(gateway.callouts().is_empty());
    gateway.upstream_answers(id, 204, &[]);
    gateway.finish()
}
