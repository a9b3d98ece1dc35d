//! How bodies come.

use wicketgate_emulator::{Costs, Kind};

use super::document::{gateway, keyed, order};
use super::{Scenario, acknowledge, problem};

pub(crate) const SCENARIOS: &[Scenario] = &[
    ("body: none", none),
    ("body: in pieces", in_pieces),
    ("body: the last piece is empty", last_piece_empty),
    ("body: ends with trailers", trailers),
    ("body: trailers after none", trailers_after_none),
    ("body: says that it is too large", says_too_large),
    ("body: becomes too large", becomes_too_large),
    ("body: 64 KiB", large),
    ("body: a batch of three events", batch),
    ("body: the client leaves in the middle", leaves),
];

fn none(kind: Kind) -> Costs {
    let mut gateway = gateway(kind);
    let id = gateway.request(order(1));
    gateway.turn();
    let callout = gateway.callout();
    assert!(!callout.body.contains(r#""data""#), "{}", callout.body);
    acknowledge(&mut gateway, &callout);
    assert_eq!(gateway.reply(id).status, 202);
    gateway.finish()
}

fn in_pieces(kind: Kind) -> Costs {
    let mut gateway = gateway(kind);
    let id = gateway.head(0, order(1), false);
    gateway.body(id, r#"{"to"#, false);
    gateway.body(id, r#"tal":"#, false);
    gateway.turn();
    assert!(gateway.callouts().is_empty(), "nothing leaves before the body is whole");
    gateway.body(id, "1}", true);
    gateway.turn();
    let callout = gateway.callout();
    assert!(callout.body.contains(r#""data":{"total":1}"#), "{}", callout.body);
    acknowledge(&mut gateway, &callout);
    assert_eq!(gateway.reply(id).status, 202);
    gateway.finish()
}

fn last_piece_empty(kind: Kind) -> Costs {
    let mut gateway = gateway(kind);
    let id = gateway.head(0, order(1), false);
    gateway.body(id, "[1]", false);
    gateway.body(id, "", true);
    gateway.turn();
    let callout = gateway.callout();
    assert!(callout.body.contains(r#""data":[1]"#), "{}", callout.body);
    acknowledge(&mut gateway, &callout);
    assert_eq!(gateway.reply(id).status, 202);
    gateway.finish()
}

fn trailers(kind: Kind) -> Costs {
    let mut gateway = gateway(kind);
    let id = gateway.head(0, order(1), false);
    gateway.body(id, "[1]", false);
    gateway.turn();
    assert!(gateway.callouts().is_empty());
    gateway.trailers(id, 1);
    gateway.turn();
    let callout = gateway.callout();
    assert!(callout.body.contains(r#""data":[1]"#), "{}", callout.body);
    acknowledge(&mut gateway, &callout);
    assert_eq!(gateway.reply(id).status, 202);
    gateway.finish()
}

fn trailers_after_none(kind: Kind) -> Costs {
    let mut gateway = gateway(kind);
    let id = gateway.head(0, order(1), false);
    gateway.trailers(id, 1);
    gateway.turn();
    let callout = gateway.callout();
    acknowledge(&mut gateway, &callout);
    assert_eq!(gateway.reply(id).status, 202);
    gateway.finish()
}

fn says_too_large(kind: Kind) -> Costs {
    let mut gateway = gateway(kind);
    let id = gateway.head(0, order(1).header("content-length", "65537"), false);
    assert_eq!(problem(gateway.reply(id)), (413, "too-large"));
    gateway.finish()
}

fn becomes_too_large(kind: Kind) -> Costs {
    let mut gateway = gateway(kind);
    let id = gateway.head(0, order(1), false);
    gateway.body(id, "1".repeat(65_536), false);
    assert_eq!(gateway.outcome(id).reply, None);
    gateway.body(id, "1", false);
    assert_eq!(problem(gateway.reply(id)), (413, "too-large"));
    gateway.turn();
    assert!(gateway.callouts().is_empty());
    gateway.finish()
}

fn large(kind: Kind) -> Costs {
    let mut gateway = gateway(kind);
    let id = gateway.request_with_body(order(1), format!("\"{}\"", "a".repeat(65_534)));
    gateway.turn();
    let callout = gateway.callout();
    acknowledge(&mut gateway, &callout);
    assert_eq!(gateway.reply(id).status, 202);
    gateway.finish()
}

fn batch(kind: Kind) -> Costs {
    let mut gateway = gateway(kind);
    let event = |id| format!(r#"{{"specversion":"1.0","id":"{id}","source":"/a","type":"t","data":{id}}}"#);
    let body = format!("[{},{},{}]", event(1), event(2), event(3));
    let request = keyed("POST", "/events").header("content-type", "application/cloudevents-batch+json");
    let id = gateway.request_with_body(request, &body);
    gateway.turn();
    let callout = gateway.callout();
    acknowledge(&mut gateway, &callout);
    let reply = gateway.reply(id);
    assert_eq!((reply.status, reply.body.matches("\"offset\":7").count()), (202, 3), "{reply:#?}");
    gateway.finish()
}

fn leaves(kind: Kind) -> Costs {
    let mut gateway = gateway(kind);
    let id = gateway.head(0, order(1), false);
    gateway.body(id, "[1", false);
    gateway.leave(id);
    gateway.turn();
    assert!(gateway.callouts().is_empty());
    assert_eq!(gateway.outcome(id).reply, None);
    gateway.finish()
}
