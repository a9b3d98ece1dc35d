//! Documents: what Envoy refuses to start with, and what lets requests pass.

use http::Method;
use serde_json::json;
use wicketgate_tests::envoy::Envoy;
use wicketgate_tests::gateway::{Gateway, KEY, document};
use wicketgate_tests::http_client::{full, pieces};
use wicketgate_tests::ports::free_port;

use crate::expect;

#[tokio::test]
async fn envoy_does_not_start_with_a_broken_document_and_says_all_that_is_wrong() {
    let secret = "0badc0de0badc0de";
    let mut document = document([("a", "topic-a"), ("b", "topic b")], "10 parsecs");
    document["surprise"] = json!(true);
    document["consumers"][0]["api_keys"][0]["sha256"] = secret.into();
    document["routes"][0]["authentication"]["any_of"] = json!(["keys", "nobody"]);
    document["routes"][1]["kafka"]["key"] = "{nope}".into();
    let envoy = Envoy::refuse(&format!("{document:#}"));
    assert!(!envoy.exit_status().unwrap().success());
    let log = envoy.log();
    for path in [
        "surprise",
        "bridge.timeout",
        "consumers[0].api_keys[0].sha256",
        "routes[0].authentication.any_of[1]",
        "routes[1].kafka.topic",
        "routes[1].kafka.key",
    ] {
        assert!(log.contains(&format!(" {path}: wanted ")), "no word of {path} in\n{log}");
    }
    assert!(!log.contains(secret), "a secret is in the log");
}

#[tokio::test]
async fn envoy_does_not_start_with_a_document_that_is_not_json() {
    for text in ["", "{\"source\": ", "[]", "null"] {
        let envoy = Envoy::refuse(text);
        assert!(!envoy.exit_status().unwrap().success(), "{text:?}");
        assert!(envoy.log().contains("configuration refused"), "{text:?}\n{}", envoy.log());
    }
}

#[tokio::test]
async fn what_no_route_matches_can_pass_whole_and_the_rest_still_cannot() {
    let nowhere = std::net::SocketAddr::from(([127, 0, 0, 1], free_port()));
    let mut document = document([("a", "never-written")], "1s");
    document["unmatched"] = "pass".into();
    let gateway = Gateway::start_before_bridge(&document, nowhere).await;
    let body = expect::noise(700_000, 6);
    let mut passed = 0;
    for client in [gateway.http1(), gateway.http2()] {
        for (method, path) in [(Method::POST, "/elsewhere?q=1"), (Method::PATCH, "/e2e/a/1/2")] {
            let chunks = pieces(body.chunks(50_000).map(bytes::Bytes::copy_from_slice));
            for body_sent in [full(body.clone()), chunks] {
                let answer = client.send(client.request(method.clone(), path).body(body_sent).unwrap()).await;
                assert_eq!((answer.status.as_u16(), &answer.body[..]), (200, &b"upstream"[..]));
                passed += 1;
            }
            let seen = gateway.upstream.seen().pop().unwrap();
            assert_eq!((seen.method, seen.path.as_str()), (method, path));
        }
        let denied = client.request(Method::POST, "/e2e/a/1").header("x-api-key", "wrong").body(full("{}"));
        expect::problem(&client.send(denied.unwrap()).await, 401, "unauthenticated");
        // The path is a route's, so what the route does not take does not go past it.
        let other = client.request(Method::PATCH, "/e2e/a/1").header("x-api-key", KEY).body(full("{}"));
        expect::problem(&client.send(other.unwrap()).await, 405, "method-not-allowed");
        let trick = client.request(Method::POST, "/e2e%2Fa/1").header("x-api-key", KEY).body(full("{}"));
        expect::problem(&client.send(trick.unwrap()).await, 400, "bad-request");
    }
    gateway.envoy.assert_unharmed();
    let seen = gateway.upstream.seen();
    assert_eq!(seen.len(), passed, "only what matches no route passes");
    assert!(seen.iter().all(|seen| seen.body == body), "700000 bytes differ");
}
