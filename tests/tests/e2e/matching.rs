//! Which route a request takes, told by the route's name in the record.

use http::Method;
use serde_json::{Value, json};
use wicketgate_tests::gateway::KEY;
use wicketgate_tests::http_client::full;
use wicketgate_tests::raw_http;

use crate::expect;
use crate::rig::{Rig, document};

fn route(name: &str, methods: &[&str], matches: Value) -> Value {
    let mut all = matches;
    all["methods"] = json!(methods);
    json!({
        "name": name,
        "match": all,
        "authentication": {"any_of": ["keys"]},
        "action": "produce",
        "event": {"type": "com.example.matched"},
        "kafka": {"topic": "hits"},
    })
}

fn routes() -> Value {
    let path = "/v1/things/{id}";
    json!([
        // From the least specific to the most, because the order must not matter.
        route("any", &["POST"], json!({"path": path})),
        route("any-put", &["PUT", "PATCH"], json!({"path": path})),
        route("present", &["POST"], json!({"path": path, "headers": {"x-kind": null}})),
        route("kind-a", &["POST"], json!({"path": path, "headers": {"x-kind": "a"}})),
        route(
            "kind-a-and-more",
            &["POST"],
            json!({"path": path, "headers": {"x-kind": "a", "x-more": null}})
        ),
        route("parts", &["POST"], json!({"path": "/v1/things/{id}/parts"})),
        route("latest-parts", &["POST"], json!({"path": "/v1/things/latest/{what}"})),
        route("latest", &["POST"], json!({"path": "/v1/things/latest"})),
        route("wildcard", &["POST"], json!({"path": path, "hosts": ["*.example.com"]})),
        route("long-wildcard", &["POST"], json!({"path": path, "hosts": ["*.eu.example.com"]})),
        route("host", &["POST"], json!({"path": path, "hosts": ["other.example.net", "api.example.com"]})),
        route("only-with-header", &["POST"], json!({"path": "/v1/hidden", "headers": {"x-kind": "a"}})),
    ])
}

#[tokio::test]
async fn the_more_specific_route_wins_whatever_the_order() {
    let rig = Rig::start(document(routes()), &["hits"]).await;
    let mut wanted = Vec::new();
    for (host, path, headers, route) in [
        ("gateway", "/v1/things/1", &[][..], "any"),
        ("gateway", "/v1/things/1", &[("x-kind", "b")], "present"),
        ("gateway", "/v1/things/1", &[("x-kind", "")], "present"),
        ("gateway", "/v1/things/1", &[("X-Kind", "a")], "kind-a"),
        ("gateway", "/v1/things/1", &[("x-kind", "A")], "present"),
        // Of a header that is repeated, neither value counts.
        ("gateway", "/v1/things/1", &[("x-kind", "a"), ("x-kind", "a")], "present"),
        ("gateway", "/v1/things/1", &[("x-kind", "a"), ("x-more", "")], "kind-a-and-more"),
        ("gateway", "/v1/things/latest", &[], "latest"),
        ("gateway", "/v1/things/latest/parts", &[], "latest-parts"),
        ("gateway", "/v1/things/7/parts", &[], "parts"),
        ("gateway", "/v1/things/Latest", &[], "any"),
        ("api.example.com", "/v1/things/1", &[], "host"),
        ("API.Example.COM:8443", "/v1/things/1", &[("x-kind", "a")], "host"),
        ("api.example.com.", "/v1/things/1", &[], "host"),
        ("other.example.net", "/v1/things/1", &[], "host"),
        ("www.example.com", "/v1/things/1", &[], "wildcard"),
        ("a.b.example.com", "/v1/things/1", &[], "wildcard"),
        ("eu.example.com", "/v1/things/1", &[], "wildcard"),
        ("a.eu.example.com", "/v1/things/1", &[], "long-wildcard"),
        ("example.com", "/v1/things/1", &[], "any"),
        ("badexample.com", "/v1/things/1", &[], "any"),
        ("www.example.com.evil.test", "/v1/things/1", &[], "any"),
        // Spelled another way, it is the same path.
        ("gateway", "/v1/%74hings/%6catest", &[], "latest"),
        ("gateway", "/v1/things/latest?a=/v1/hidden", &[], "latest"),
        ("gateway", "/v1/hidden", &[("x-kind", "a")], "only-with-header"),
    ] {
        let mut request = rig.post(path).header("host", host);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = rig.send(request, "x").await;
        assert_eq!(answer.status, 202, "{host} {path} {headers:?}: {answer:?}");
        wanted.push(route);
    }
    // By HTTP/2 a request has its host in another place.
    let http2 = rig.gateway.http2();
    let request = http2.request(Method::PUT, "/v1/things/1").header("x-api-key", KEY);
    expect::accepted(&http2.send(request.body(full("x")).unwrap()).await);
    wanted.push("any-put");

    let records = rig.topic("hits").records().await;
    let taken: Vec<String> =
        records.iter().map(|record| record.event()["wgroute"].as_str().unwrap().to_owned()).collect();
    assert_eq!(taken, wanted);
}

#[tokio::test]
async fn a_request_that_no_route_takes_is_404_or_405() {
    let rig = Rig::start(document(routes()), &["hits"]).await;
    for path in ["/v1/things", "/v1/things/", "/v1/things/1/2/3", "/v1/hidden", "/V1/things/1", "/"] {
        expect::problem(&rig.send(rig.post(path), "x").await, 404, "not-found");
    }
    for (method, path, host, allow) in [
        ("DELETE", "/v1/things/1", "gateway", &["PATCH", "POST", "PUT"][..]),
        ("GET", "/v1/things/latest/parts", "gateway", &["POST"]),
        // The routes of the host and those of any host.
        ("DELETE", "/v1/things/1", "api.example.com", &["PATCH", "POST", "PUT"]),
    ] {
        let request = rig.client.request(method.parse().unwrap(), path).header("host", host);
        let answer = rig.send(request, "").await;
        expect::problem(&answer, 405, "method-not-allowed");
        let mut methods: Vec<&str> = answer.header("allow").split(", ").collect();
        methods.sort_unstable();
        assert_eq!(methods, allow, "{method} {path} {host}");
    }
    for host in
        ["a b", "api.example.com,evil.test", "api.example.com:x", "api..example.com", "user@api.example.com"]
    {
        let request = format!(
            "POST /v1/things/1 HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\nx-api-key: {KEY}\r\ncontent-length: 1\r\n\r\nx"
        );
        let answer = raw_http::exchange(rig.gateway.envoy.address(), request).await;
        assert_eq!(raw_http::status(&answer), 400, "{host}: {}", String::from_utf8_lossy(&answer));
    }
    rig.assert_nothing_happened().await;
}

/// Where everything else passes, a way to spell the path so that the route does not match is a way around it.
#[tokio::test]
async fn no_spelling_of_a_path_slips_past_its_route() {
    let mut document = document(json!([route("any", &["POST"], json!({"path": "/v1/things/{id}"}))]));
    document["unmatched"] = "pass".into();
    let rig = Rig::start(document, &["hits"]).await;
    let segments = "/x".repeat(1000);
    for (path, status) in [
        ("/v1/things/1", 401),
        ("/v1/%74hings/1", 401),
        ("/%761/%74%68ings/%31", 401),
        ("/v1/things/%2531", 401),
        ("/v1/things/1?x=/../..", 401),
        ("http://elsewhere.example/v1/things/1", 401),
        ("/v1//things/1", 400),
        ("//v1/things/1", 400),
        ("/./v1/things/1", 400),
        ("/x/../v1/things/1", 400),
        ("/x/%2e%2E/v1/things/1", 400),
        ("/v1;a=b/things/1", 400),
        ("/v1/things;/1", 400),
        ("/v1/things/1;x", 400),
        ("/v1%2fthings/1", 400),
        ("/v1/things%5c1", 400),
        ("/v1\\things/1", 400),
        ("/v1/things/1%00", 400),
        ("/v1/things/%e0%80%af", 400),
        ("/v1/things/%c3%28", 400),
        ("/v1/things/%u0031", 400),
        ("/v1/things/1#fragment", 400),
        (&format!("/v1/things{segments}"), 400),
        (&format!("/v1/things/{}", "x".repeat(20_000)), 400),
    ] {
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\ncontent-length: 1\r\n\r\nx"
        );
        let answer = raw_http::exchange(rig.gateway.envoy.address(), request).await;
        assert_eq!(raw_http::status(&answer), status, "{path}: {}", String::from_utf8_lossy(&answer));
    }
    rig.assert_nothing_happened().await;
    // It is the route that keeps them out.
    assert_eq!(rig.send(rig.post("/v1/thing/1"), "x").await.body, "upstream");
}
