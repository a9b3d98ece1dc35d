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
    ("produce: the call is cut short by the proxy", cut_short),
    ("produce: the bridge asks for a proof", asks_for_a_proof),
    ("produce: the bridge does not take the signature", signature_not_taken),
    ("produce: the bridge does not understand the call", not_understood),
    ("produce: the bridge's answer is not understood", answer_not_understood),
    ("produce: many calls fail", many_calls_fail),
    ("produce: the client leaves before the call", leaves_before_the_call),
    ("produce: the client leaves before the answer", leaves_before_the_answer),
    ("produce: a callback for nothing", callback_for_nothing),
];

fn post(gateway: &mut Gateway, number: u32) -> u32 {
    gateway.request_with_body(order(number), r#"{"total":12.5}"#)
}

/// The log has one line about the way to the bridge, and it says this.
fn told(gateway: &Gateway, wanted: &str) {
    let lines = gateway.logs();
    let [line] = lines.as_slice() else { panic!("wanted one line, got {lines:#?}") };
    assert!(line.starts_with("warn: ") && line.contains("upstream \"kafka-bridge\""), "{line}");
    assert!(line.contains(wanted), "wanted {wanted:?}, got {line}");
}

/// The caller is told that the hop to the bridge does not work, that nothing was written, and no more.
fn bridge_unavailable(gateway: &Gateway, id: u32, retry_after: &str) {
    let reply = gateway.reply(id);
    assert_eq!(problem(reply), (503, "bridge-unavailable"));
    assert_eq!(reply.header("retry-after"), Some(retry_after));
    assert!(
        reply.body.contains(r#""title":"The gateway cannot use its bridge to Kafka now""#),
        "{}",
        reply.body
    );
    assert!(!reply.body.contains("secret") && !reply.body.contains("signature"), "{}", reply.body);
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
    bridge_unavailable(&gateway, id, "1");
    told(&gateway, "no connection to it (no healthy upstream); see that kafka-bridge runs");
    gateway.finish()
}

fn no_cluster(kind: Kind) -> Costs {
    let mut gateway = Gateway::start(kind, super::document::DOCUMENT);
    let id = post(&mut gateway, 1);
    gateway.turn();
    assert!(gateway.callouts().is_empty());
    bridge_unavailable(&gateway, id, "1");
    told(&gateway, "most likely because it has no cluster of that name; have bridge.upstream be");
    gateway.finish()
}

fn call_breaks(kind: Kind) -> Costs {
    let mut gateway = gateway(kind);
    let id = post(&mut gateway, 1);
    gateway.turn();
    gateway.fail(&gateway.callout());
    assert_eq!(problem(gateway.reply(id)), (502, "outcome-unknown"));
    told(&gateway, "the connection broke before the answer was whole");
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
    told(&gateway, "the connection broke before the answer was whole");
    gateway.finish()
}

fn call_times_out(kind: Kind) -> Costs {
    let mut gateway = gateway(kind);
    let id = post(&mut gateway, 1);
    gateway.turn();
    gateway.time_out(&gateway.callout());
    assert_eq!(gateway.reply(id).status, 504);
    told(&gateway, "no answer within bridge.timeout");
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
    told(&gateway, "an answer (200) that is not kafka-bridge's");
    gateway.finish()
}

fn cut_short(kind: Kind) -> Costs {
    let mut gateway = gateway(kind);
    let id = post(&mut gateway, 1);
    gateway.turn();
    let text =
        "upstream connect error or disconnect/reset before headers. reset reason: connection termination";
    gateway.answer(&gateway.callout(), 503, &[("content-type", "text/plain")], text);
    assert_eq!(problem(gateway.reply(id)), (502, "outcome-unknown"));
    told(&gateway, "reset reason: connection termination), and what was sent may be written");
    gateway.finish()
}

/// Headers of an answer of kafka-bridge's, of another release.
const LATER: [(&str, &str); 2] = [("wicketgate-bridge", "9.1.0"), ("date", "Fri, 27 Nov 2026 12:00:00 GMT")];

fn asks_for_a_proof(kind: Kind) -> Costs {
    let mut gateway = gateway(kind);
    let id = post(&mut gateway, 1);
    gateway.turn();
    gateway.answer(&gateway.callout(), 401, &LATER, "{}");
    bridge_unavailable(&gateway, id, "10");
    told(&gateway, "kafka-bridge asks for a proof (401); give the document a bridge.secret");
    gateway.finish()
}

/// Whether it is the secret, the clock or a replay, the bridge alone knows; the line has what the gateway can know of each.
fn signature_not_taken(kind: Kind) -> Costs {
    const SECRET: &str = "secret-0123456789-0123456789-0123456789";
    let document = super::document::DOCUMENT
        .replace(r#""timeout": "10s""#, &format!(r#""timeout": "10s", "secret": "{SECRET}""#));
    let mut gateway = Gateway::start(kind, &document).cluster("kafka-bridge");
    let id = post(&mut gateway, 1);
    gateway.turn();
    gateway.answer(&gateway.callout(), 401, &LATER, "{}");
    bridge_unavailable(&gateway, id, "10");
    told(&gateway, "have bridge.secret be one of those in its --hop-secret-file");
    told(&gateway, "and Fri, 27 Nov 2026 12:00:00 GMT there), and no call sent twice");
    assert!(!gateway.logs().join("").contains(SECRET));
    gateway.finish()
}

fn not_understood(kind: Kind) -> Costs {
    let mut gateway = gateway(kind);
    let id = post(&mut gateway, 1);
    gateway.turn();
    gateway.answer(&gateway.callout(), 400, &LATER, "{}");
    bridge_unavailable(&gateway, id, "10");
    let own = env!("CARGO_PKG_VERSION");
    told(&gateway, &format!("kafka-bridge 9.1.0 and this filter ({own}) do not understand each other (400)"));
    gateway.finish()
}

fn answer_not_understood(kind: Kind) -> Costs {
    let mut gateway = gateway(kind);
    let id = post(&mut gateway, 1);
    gateway.turn();
    gateway.answer(&gateway.callout(), 200, &LATER, r#"{"outcomes":[]}"#);
    assert_eq!(problem(gateway.reply(id)), (502, "outcome-unknown"));
    told(&gateway, "do not understand each other (200)");
    gateway.finish()
}

fn many_calls_fail(kind: Kind) -> Costs {
    let mut gateway = Gateway::start(kind, super::document::DOCUMENT);
    for second in 0..120 {
        let id = post(&mut gateway, second);
        gateway.turn();
        assert_eq!(problem(gateway.reply(id)), (503, "bridge-unavailable"));
        gateway.advance(1_000);
    }
    let lines = gateway.logs();
    let [first, second] = lines.as_slice() else { panic!("wanted two lines, got {lines:#?}") };
    assert!(first.contains("(0 more calls since the last such line)"), "{first}");
    assert!(second.contains("(59 more calls since the last such line)"), "{second}");
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
