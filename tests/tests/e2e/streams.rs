//! Requests whose body need not end: upgrades, on routes that copy, and on routes that produce.

use std::time::Duration;

use serde_json::json;
use wicketgate_tests::gateway::KEY;
use wicketgate_tests::kafka::MAX_RECORD_BYTES;
use wicketgate_tests::raw_http;

use crate::rig::{Rig, document};

/// As `render envoy --websocket` has it.
fn with_websockets(configuration: &str) -> String {
    let filters = "          http_filters:\n";
    assert!(configuration.contains(filters) && configuration.contains("regex: \".*\""), "{configuration}");
    configuration.replacen("regex: \".*\"", "regex: \"[^wW].*\"", 1).replacen(
        filters,
        &format!("          upgrade_configs: [{{ upgrade_type: websocket }}]\n{filters}"),
        1,
    )
}

#[tokio::test]
async fn an_upgrade_goes_on_with_a_copy_of_its_head_or_is_refused_at_once() {
    let route = |name: &str, action: &str, streams: Option<&str>| {
        let mut route = json!({
            "name": name,
            "match": {"methods": ["GET"], "path": format!("/{name}")},
            "authentication": {"any_of": ["keys"]},
            "action": action,
            "event": {"type": "com.example.stream"},
            "kafka": {"topic": "streams"},
        });
        if let Some(streams) = streams {
            route["streams"] = streams.into();
        }
        route
    };
    let document = document(json!([
        route("copied", "tee", None),
        route("refused", "tee", Some("refuse")),
        route("produced", "produce", None),
    ]));
    let rig = Rig::start_altered(document, &[("streams", 1, MAX_RECORD_BYTES)], &|configuration| {
        with_websockets(&configuration)
    })
    .await;
    let ask = async |path: &str| {
        let request = format!(
            "GET /{path} HTTP/1.1\r\nHost: g\r\nX-Api-Key: {KEY}\r\nConnection: upgrade, close\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        );
        // The service behind declines the upgrade by an ordinary answer.
        let answer = raw_http::exchange(rig.gateway.envoy.address(), request);
        let answer = tokio::time::timeout(Duration::from_secs(20), answer).await;
        raw_http::status(&answer.expect("an answer long before any time-out of a body"))
    };
    assert_eq!((ask("refused").await, ask("produced").await), (400, 400));
    rig.assert_nothing_happened().await;
    assert_eq!(ask("copied").await, 200);
    let seen = rig.gateway.upstream.seen();
    assert_eq!((seen.len(), &seen[0].headers["upgrade"]), (1, &"websocket".parse().unwrap()));
    let record = rig.topic("streams").record().await;
    let event = record.event();
    assert!(event.get("data").is_none() && event["wgstream"].is_string(), "{event}");
}
