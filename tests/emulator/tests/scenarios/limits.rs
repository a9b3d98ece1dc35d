//! Limits: what they cost, and what they say.

use wicketgate_emulator::{Callout, Costs, Gateway, Kind, Reply, Request};

use super::document::KEY;
use super::{Scenario, receipts};

pub(crate) const SCENARIOS: &[Scenario] = &[
    ("limits: none", none),
    ("limits: one lets through", one),
    ("limits: three let through", three),
    ("limits: one refuses", refuses),
    ("limits: the third refuses", third_refuses),
    ("limits: in flight, lets through", in_flight),
    ("limits: in flight, refuses", in_flight_refuses),
    ("limits: shared by gateways, lets through", shared),
    ("limits: shared by gateways, refuses", shared_refuses),
];

const DOCUMENT: &str = r#"{
  "source": "urn:example:gateway",
  "bridge": { "upstream": "kafka-bridge", "timeout": "10s" },
  "authentication": { "keys": { "type": "api_key", "header": "x-api-key" } },
  "consumers": [
    { "name": "demo", "api_keys": [{ "sha256": "c48a01f49fd0f2cc404bc3cbbc80e91457a3d41bb429a695243de4c61794155c" }] }
  ],
  "rate_limits": {
    "address": { "limit": 1000, "period": "1s", "key": ["address"] },
    "consumer": { "limit": 1000, "period": "1s", "key": ["consumer"] },
    "route": { "limit": 1000, "period": "1s", "key": ["route", "consumer"] },
    "rare": { "limit": 1, "period": "1h", "key": ["consumer"] },
    "shared": { "limit": 100, "period": "1m", "key": ["consumer"], "scope": "global" }
  },
  "concurrency_limits": { "flight": { "limit": 1, "key": ["consumer"] } },
  "unmatched": "reject",
  "routes": [@ROUTES@,
    {
      "name": "shared",
      "match": { "methods": ["POST"], "path": "/shared" },
      "limits": ["shared"],
      "authentication": { "any_of": ["keys"] },
      "authorization": { "authenticated": true },
      "action": "produce",
      "event": { "type": "order" },
      "kafka": { "topic": "orders" }
    }
  ]
}"#;

const ROUTES: [(&str, &str); 6] = [
    ("none", ""),
    ("one", r#""limits": ["consumer"],"#),
    ("three", r#""limits": ["address", "consumer", "route"],"#),
    ("rare", r#""limits": ["rare"],"#),
    ("third", r#""limits": ["address", "consumer", "rare"],"#),
    ("flight", r#""limits": ["flight"],"#),
];

fn gateway(kind: Kind) -> Gateway {
    let route = |(name, limits): (&str, &str)| {
        format!(
            r#"{{ "name": "{name}", "match": {{ "methods": ["GET"], "path": "/{name}" }}, {limits}
      "authentication": {{ "any_of": ["keys"] }}, "authorization": {{ "authenticated": true }}, "action": "pass" }}"#
        )
    };
    let document = DOCUMENT.replace("@ROUTES@", &ROUTES.map(route).join(","));
    Gateway::start(kind, &document).cluster("kafka-bridge")
}

fn get(gateway: &mut Gateway, path: &str) -> u32 {
    gateway.request(Request::new("GET", path).header("x-api-key", KEY))
}

/// What the second request to a path costs: the first one makes what is shared.
fn second(kind: Kind, path: &str) -> Costs {
    let mut gateway = gateway(kind);
    let first = get(&mut gateway, path);
    gateway.upstream_answers(first, 204, &[]);
    gateway.count_from_here();
    let id = get(&mut gateway, path);
    assert!(gateway.outcome(id).upstream.is_some(), "{:?}", gateway.outcome(id));
    gateway.upstream_answers(id, 204, &[]);
    let told = gateway.outcome(id).upstream_answer.as_ref().unwrap();
    assert_eq!(told.iter().any(|(name, _)| name == "ratelimit"), path != "/none", "{told:?}");
    gateway.finish()
}

/// What the second request to a path costs, which is refused.
fn refused(kind: Kind, path: &str) -> Costs {
    let mut gateway = gateway(kind);
    let first = get(&mut gateway, path);
    gateway.upstream_answers(first, 204, &[]);
    gateway.count_from_here();
    let id = get(&mut gateway, path);
    assert_exceeded(gateway.reply(id));
    assert_eq!(gateway.outcome(id).upstream, None);
    gateway.finish()
}

fn assert_exceeded(reply: &Reply) {
    assert_eq!(reply.status, 429, "{reply:?}");
    assert!(reply.body.contains("#quota-exceeded"), "{reply:?}");
    assert!(reply.header("retry-after").is_some(), "{reply:?}");
}

fn none(kind: Kind) -> Costs {
    second(kind, "/none")
}

fn one(kind: Kind) -> Costs {
    second(kind, "/one")
}

fn three(kind: Kind) -> Costs {
    second(kind, "/three")
}

fn refuses(kind: Kind) -> Costs {
    refused(kind, "/rare")
}

fn third_refuses(kind: Kind) -> Costs {
    refused(kind, "/third")
}

fn in_flight(kind: Kind) -> Costs {
    second(kind, "/flight")
}

fn in_flight_refuses(kind: Kind) -> Costs {
    let mut gateway = gateway(kind);
    let first = get(&mut gateway, "/flight");
    gateway.count_from_here();
    let id = get(&mut gateway, "/flight");
    assert_eq!(gateway.reply(id).status, 429);
    gateway.upstream_answers(first, 204, &[]);
    let after = get(&mut gateway, "/flight");
    assert!(gateway.outcome(after).upstream.is_some(), "{:?}", gateway.outcome(after));
    gateway.leave(after);
    gateway.finish()
}

/// A request that asks the shared limit, and has this answer.
fn sent(kind: Kind, status: u32, state: &str, results: fn(&Callout) -> String) -> (Gateway, u32) {
    let mut gateway = gateway(kind);
    let id = gateway.request(Request::new("POST", "/shared").header("x-api-key", KEY));
    gateway.turn();
    let callout = gateway.callout();
    let asked = r#""limits":[{"first":0,"count":1,"limits":[{"name":"shared""#;
    assert!(callout.body.contains(asked), "{}", callout.body);
    let body = format!(r#"{{"results":[{}],"limits":[[{{"name":"shared",{state}}}]]}}"#, results(&callout));
    gateway.answer(&callout, status, &[("wicketgate-bridge", "1")], &body);
    (gateway, id)
}

fn shared(kind: Kind) -> Costs {
    let (gateway, id) = sent(kind, 200, r#""allowed":true,"remaining":99,"next":600"#, receipts);
    let reply = gateway.reply(id);
    assert_eq!(reply.status, 202, "{reply:?}");
    assert_eq!(reply.header("ratelimit"), Some(r#""shared";r=99;t=1"#));
    gateway.finish()
}

fn shared_refuses(kind: Kind) -> Costs {
    let state = r#""allowed":false,"remaining":0,"next":600,"retry_after":600"#;
    let (gateway, id) = sent(kind, 429, state, |_| r#"{"outcome":"limited"}"#.to_owned());
    assert_exceeded(gateway.reply(id));
    gateway.finish()
}
