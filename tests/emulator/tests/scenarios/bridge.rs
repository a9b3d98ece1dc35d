//! Records, and what kafka-bridge and the way to it make of them.

use wicketgate_emulator::{Costs, Gateway, Kind, Request};

use super::document::{gateway, gateway_with_workers, order};
use super::{Scenario, acknowledge, problem};

pub(crate) const SCENARIOS: &[Scenario] = &[
    ("produce: accepted", accepted),
    ("produce: denied, no key", no_key),
    ("produce: denied, wrong key", wrong_key),
    ("produce: no such method", no_such_method),
    ("produce: two requests share a call", two_share_a_call),
    ("produce: two workers do not share a call", two_workers),
    ("produce: a shared call is too large, and goes out in parts", sent_again_in_parts),
    ("produce: the bridge is full", bridge_full),
    ("produce: no bridge", no_bridge),
    ("produce: no cluster of that name", no_cluster),
    ("produce: the call breaks", call_breaks),
    ("produce: the call breaks at once", call_breaks_at_once),
    ("produce: the call times out", call_times_out),
    ("produce: the answer is not the bridge's", not_the_bridges),
    ("produce: the client leaves before the call", leaves_before_the_call),
    ("produce: the client leaves before the answer", leaves_before_the_answer),
    ("produce: a callback for nothing", callback_for_nothing),
];

fn post(gateway: &mut Gateway, number: u32) -> u32 {
    gateway.request_with_body(order(number), r#"{"total":12.5}"#)
}

fn accepted(kind: Kind) -> Costs {
    let mut gateway = gateway(kind);
    let id = post(&mut gateway, 42);
    assert!(gateway.callouts().is_empty(), "nothing leaves in the request's own callback");
    gateway.turn();
    let callout = gateway.callout();
    assert_eq!((callout.cluster.as_str(), callout.timeout_ms), ("kafka-bridge", 10_000));
    assert!(callout.body.contains(r#""key":"42""#) && callout.body.contains(r#""data":{"total":12.5}"#));
    assert!(!callout.body.contains("demo-key"), "the key is in the event: {}", callout.body);
    acknowledge(&mut gateway, &callout);
    let reply = gateway.reply(id);
    assert_eq!(reply.status, 202, "{reply:#?}");
    assert!(reply.header("x-request-id").is_some());
    assert_eq!(gateway.outcome(id).upstream, None);
    gateway.finish()
}

fn no_key(kind: Kind) -> Costs {
    let mut gateway = gateway(kind);
    let id = gateway.request_with_body(Request::new("POST", "/orders/42"), "{}");
    let reply = gateway.reply(id);
    assert_eq!(problem(reply), (401, "unauthenticated"));
    assert!(reply.header("www-authenticate").is_some());
    gateway.turn();
    assert!(gateway.callouts().is_empty());
    assert_eq!(gateway.outcome(id).upstream, None);
    gateway.finish()
}

fn wrong_key(kind: Kind) -> Costs {
    let mut gateway = gateway(kind);
    let id = gateway.request(Request::new("POST", "/orders/42").header("x-api-key", "demo-kez"));
    assert_eq!(problem(gateway.reply(id)), (401, "unauthenticated"));
    gateway.finish()
}

fn no_such_method(kind: Kind) -> Costs {
    let mut gateway = gateway(kind);
    let id = gateway.request(Request::new("DELETE", "/orders/42"));
    assert_eq!(problem(gateway.reply(id)), (405, "method-not-allowed"));
    gateway.finish()
}

fn two_share_a_call(kind: Kind) -> Costs {
    let mut gateway = gateway(kind);
    let ids = [post(&mut gateway, 1), post(&mut gateway, 2)];
    gateway.turn();
    let callout = gateway.callout();
    assert!(callout.body.contains(r#""key":"1""#) && callout.body.contains(r#""key":"2""#));
    acknowledge(&mut gateway, &callout);
    for id in ids {
        assert_eq!(gateway.reply(id).status, 202);
    }
    gateway.finish()
}

fn two_workers(kind: Kind) -> Costs {
    let mut gateway = gateway_with_workers(kind, 2);
    let ids = [0, 1].map(|worker| {
        let id = gateway.head(worker, order(1), false);
        gateway.body(id, "{}", true);
        id
    });
    gateway.turn();
    let callouts = gateway.callouts();
    assert_eq!(callouts.iter().map(|callout| callout.worker).collect::<Vec<_>>(), [0, 1]);
    for callout in callouts.iter().rev() {
        acknowledge(&mut gateway, callout);
    }
    for id in ids {
        assert_eq!(gateway.reply(id).status, 202);
    }
    gateway.finish()
}

fn sent_again_in_parts(kind: Kind) -> Costs {
    let mut gateway = gateway(kind);
    let ids = [post(&mut gateway, 1), post(&mut gateway, 2)];
    gateway.turn();
    gateway.answer(&gateway.callout(), 413, &[("wicketgate-bridge", "1")], "");
    let [first, second] = gateway.callouts().try_into().unwrap();
    assert!(first.body.contains(r#""key":"1""#) && !first.body.contains(r#""key":"2""#));
    gateway.answer(&first, 413, &[("wicketgate-bridge", "1")], "");
    acknowledge(&mut gateway, &second);
    assert_eq!(problem(gateway.reply(ids[0])), (413, "too-large"));
    assert_eq!(gateway.reply(ids[1]).status, 202);
    gateway.finish()
}

fn bridge_full(kind: Kind) -> Costs {
    let mut gateway = gateway(kind);
    let id = post(&mut gateway, 1);
    gateway.turn();
    let body = r#"{"results":[{"outcome":"unavailable","retry_after":3}]}"#;
    gateway.answer(&gateway.callout(), 503, &[("wicketgate-bridge", "1")], body);
    let reply = gateway.reply(id);
    assert_eq!((reply.status, reply.header("retry-after")), (503, Some("3")));
    gateway.finish()
}

fn no_bridge(kind: Kind) -> Costs {
    let mut gateway = gateway(kind);
    let id = post(&mut gateway, 1);
    gateway.turn();
    gateway.answer(&gateway.callout(), 503, &[("content-type", "text/plain")], "no healthy upstream");
    assert_eq!(gateway.reply(id).status, 503);
    gateway.finish()
}

fn no_cluster(kind: Kind) -> Costs {
    let mut gateway = Gateway::start(kind, super::document::DOCUMENT);
    let id = post(&mut gateway, 1);
    gateway.turn();
    assert!(gateway.callouts().is_empty());
    assert_eq!(gateway.reply(id).status, 503);
    gateway.finish()
}

fn call_breaks(kind: Kind) -> Costs {
    let mut gateway = gateway(kind);
    let id = post(&mut gateway, 1);
    gateway.turn();
    gateway.fail(&gateway.callout());
    assert_eq!(problem(gateway.reply(id)), (502, "outcome-unknown"));
    gateway.finish()
}

fn call_breaks_at_once(kind: Kind) -> Costs {
    let mut gateway = gateway(kind);
    gateway.fail_at_once("kafka-bridge", true);
    let ids = [post(&mut gateway, 1), post(&mut gateway, 2)];
    gateway.turn();
    for id in ids {
        assert_eq!(gateway.reply(id).status, 502);
    }
    gateway.finish()
}

fn call_times_out(kind: Kind) -> Costs {
    let mut gateway = gateway(kind);
    let id = post(&mut gateway, 1);
    gateway.turn();
    gateway.time_out(&gateway.callout());
    assert_eq!(gateway.reply(id).status, 504);
    gateway.finish()
}

fn not_the_bridges(kind: Kind) -> Costs {
    let mut gateway = gateway(kind);
    let id = post(&mut gateway, 1);
    gateway.turn();
    let receipt =
        r#"{"results":[{"outcome":"acknowledged","receipt":{"id":"1","topic":"orders","ack":"all"}}]}"#;
    gateway.answer(&gateway.callout(), 200, &[], receipt);
    assert_eq!(gateway.reply(id).status, 502, "a 202 that nobody has promised");
    gateway.finish()
}

fn leaves_before_the_call(kind: Kind) -> Costs {
    let mut gateway = gateway(kind);
    let (gone, stays) = (post(&mut gateway, 1), post(&mut gateway, 2));
    gateway.leave(gone);
    gateway.turn();
    let callout = gateway.callout();
    acknowledge(&mut gateway, &callout);
    assert_eq!(gateway.outcome(gone).reply, None);
    assert_eq!(gateway.reply(stays).status, 202);
    gateway.finish()
}

fn leaves_before_the_answer(kind: Kind) -> Costs {
    let mut gateway = gateway(kind);
    let (gone, stays) = (post(&mut gateway, 1), post(&mut gateway, 2));
    gateway.turn();
    let callout = gateway.callout();
    gateway.leave(gone);
    acknowledge(&mut gateway, &callout);
    assert_eq!(gateway.outcome(gone).reply, None);
    assert_eq!(gateway.reply(stays).status, 202);
    gateway.finish()
}

fn callback_for_nothing(kind: Kind) -> Costs {
    let mut gateway = gateway(kind);
    gateway.turn_for_nothing();
    let id = post(&mut gateway, 1);
    gateway.turn_for_nothing();
    let callout = gateway.callout();
    acknowledge(&mut gateway, &callout);
    assert_eq!(gateway.reply(id).status, 202);
    gateway.finish()
}
