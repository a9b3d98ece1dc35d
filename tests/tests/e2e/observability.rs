//! What operators see of requests: Envoy's page of metrics and its access log.

use std::collections::BTreeMap;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use wicketgate_tests::http_client::full;
use wicketgate_tests::wait::until;

use crate::rig::{Rig, document};

const WAIT: Duration = Duration::from_secs(20);

/// The samples of a page, by name and labels. Envoy's order of labels is its own.
fn samples(page: &str) -> BTreeMap<(String, BTreeMap<String, String>), f64> {
    let sample = |line: &str| {
        let (series, value) = line.rsplit_once(' ')?;
        let (name, labels) = series.trim_end_matches('}').split_once('{')?;
        let label = |label: &str| {
            let (name, value) = label.split_once('=')?;
            Some((name.to_owned(), value.trim_matches('"').to_owned()))
        };
        Some(((name.to_owned(), labels.split(',').filter_map(label).collect()), value.parse().ok()?))
    };
    page.lines().filter_map(sample).collect()
}

/// What a page says of a metric with these labels, written `name{a=b,c=d}`.
fn value(page: &str, series: &str) -> Option<f64> {
    let (name, labels) = series.trim_end_matches('}').split_once('{').unwrap_or((series, ""));
    let label = |label: &str| {
        let (name, value) = label.split_once('=')?;
        Some((name.to_owned(), value.to_owned()))
    };
    let labels: BTreeMap<_, _> = labels.split(',').filter_map(label).collect();
    samples(page).get(&(name.to_owned(), labels)).copied()
}

#[tokio::test]
async fn each_request_is_counted_once_and_is_a_line_of_the_access_log() {
    let routes = json!([
        {"name": "orders.v1", "match": {"methods": ["POST"], "path": "/v1/orders"},
         "authentication": {"any_of": ["keys"]}, "action": "produce", "event": {"type": "com.example.order"},
         "kafka": {"topic": "orders"}},
        {"name": "site", "match": {"methods": ["GET"], "path": "/site"},
         "authentication": {"any_of": ["anonymous"]}, "action": "pass"}
    ]);
    let rig = Rig::start(document(routes), &["orders"]).await;
    let post = || rig.post_json("/v1/orders").header("x-request-id", "from-the-test-1");
    let accepted = rig.send(post(), r#"{"n":1}"#).await;
    assert_eq!(accepted.status, 202, "{accepted:?}");
    for _ in 0..2 {
        let denied = rig.client.request(Method::POST, "/v1/orders?key=s3cret-in-a-query").body(full("{}"));
        assert_eq!(rig.client.send(denied.unwrap()).await.status, 401);
    }
    let unreadable = rig.send(rig.post_json("/v1/orders"), "{").await;
    assert_eq!(unreadable.status, 400, "{unreadable:?}");
    for (path, status) in [("/site", 200), ("/nowhere", 404)] {
        let request = rig.client.request(Method::GET, path).body(full("")).unwrap();
        assert_eq!(rig.client.send(request).await.status, status, "{path}");
    }
    let wanted = [
        ("wicketgate_requests_total{route=orders.v1,outcome=accepted}", 1.0),
        ("wicketgate_requests_total{route=orders.v1,outcome=denied}", 3.0),
        ("wicketgate_requests_total{route=site,outcome=passed}", 1.0),
        ("wicketgate_requests_total{route=(unmatched),outcome=denied}", 1.0),
        ("wicketgate_problems_total{route=orders.v1,problem=unauthenticated}", 2.0),
        ("wicketgate_problems_total{route=orders.v1,problem=bad-request}", 1.0),
        ("wicketgate_problems_total{route=(unmatched),problem=not-found}", 1.0),
        ("wicketgate_authenticated_total{method=keys}", 2.0),
        ("wicketgate_authenticated_total{method=anonymous}", 1.0),
        ("wicketgate_callouts_total{to=bridge,outcome=answered}", 1.0),
        ("wicketgate_callouts_in_flight{to=bridge}", 0.0),
        ("wicketgate_callout_requests_total{}", 1.0),
        ("wicketgate_outbox_bytes{}", 0.0),
        ("wicketgate_request_duration_milliseconds_count{route=orders.v1}", 4.0),
        ("wicketgate_callout_records_count{}", 1.0),
        // Two workers, the main thread, and one VM in which Envoy tries the module first.
        ("wicketgate_vm_starts_total{}", 4.0),
        ("wicketgate_config_loads_total{result=accepted}", 4.0),
    ];
    // Envoy takes what it has observed into its histograms every few seconds.
    let page = until(WAIT, || async {
        let page = rig.gateway.envoy.prometheus().await;
        wanted.iter().all(|(series, wanted)| value(&page, series) == Some(*wanted)).then_some(page)
    });
    let Ok(page) = page.await else {
        panic!("wanted {wanted:#?}\n{}", rig.gateway.envoy.prometheus().await);
    };
    let loaded = value(&page, "wicketgate_config_loaded_timestamp_seconds{}").unwrap();
    assert!(loaded > 1_700_000_000.0, "{loaded}");

    let lines = until(WAIT, || async {
        let log = rig.gateway.envoy.process().log();
        let lines: Vec<Value> =
            log.lines().filter_map(|line| serde_json::from_str(line).ok()).filter(Value::is_object).collect();
        (lines.len() == 6).then_some(lines)
    });
    let lines = lines.await.expect("a line for each request");
    let line = |of: &dyn Fn(&Value) -> bool| lines.iter().find(|line| of(line)).expect("a line of it");
    let of_accepted = line(&|line| line["outcome"] == "accepted");
    assert_eq!(of_accepted["route"], "orders.v1");
    assert_eq!(of_accepted["consumer"], "alice");
    assert_eq!(of_accepted["event_id"], accepted.json()["id"]);
    assert_eq!(of_accepted["request_id"].as_str(), Some(accepted.header("x-request-id")));
    let event = rig.topic("orders").record().await.event();
    assert_eq!(event["wgrequestid"], of_accepted["request_id"]);
    let of_denied = line(&|line| line["problem"] == "unauthenticated");
    assert_eq!((&of_denied["outcome"], &of_denied["path"]), (&json!("denied"), &json!("/v1/orders")));
    assert_eq!((&of_denied["consumer"], &of_denied["event_id"]), (&Value::Null, &Value::Null));
    let of_unmatched = line(&|line| line["path"] == "/nowhere");
    assert_eq!((&of_unmatched["route"], &of_unmatched["problem"]), (&Value::Null, &json!("not-found")));
    assert!(!rig.gateway.envoy.process().log().contains("s3cret-in-a-query"));
}
