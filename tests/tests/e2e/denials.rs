//! What is denied leaves no record and reaches no service.

use http::{HeaderValue, Method};
use wicketgate_tests::gateway::{KEY, OTHER_KEY};
use wicketgate_tests::http_client::full;
use wicketgate_tests::raw_http;

use crate::expect;
use crate::lane::Lane;

#[tokio::test]
async fn without_the_right_key() {
    let lane = Lane::take("no-key").await;
    for client in [lane.gateway.http1(), lane.gateway.http2()] {
        let request =
            || client.request(Method::POST, &lane.path("1")).header("content-type", "application/json");
        let wrong: [&[u8]; 5] = [b"", b"wrong", b"E2E-KEY-ALICE", b"e2e-key-alice,e2e-key-alice", b"\xff"];
        let mut requests = vec![request()];
        requests
            .extend(wrong.map(|key| request().header("x-api-key", HeaderValue::from_bytes(key).unwrap())));
        requests.push(request().header("authorization", format!("Bearer {KEY}")));
        requests.push(request().header("x-api-key-2", KEY));
        for request in requests {
            let answer = client.send(request.body(full("{}")).unwrap()).await;
            expect::problem(&answer, 401, "unauthenticated");
            assert_ne!(answer.header("www-authenticate"), "");
        }
        // Proxies and services disagree about which of two counts.
        for keys in [[KEY, KEY], [KEY, "wrong"], ["wrong", KEY], [KEY, OTHER_KEY]] {
            let request = request().header("x-api-key", keys[0]).header("X-API-Key", keys[1]);
            expect::problem(&client.send(request.body(full("{}")).unwrap()).await, 400, "bad-request");
        }
    }
    // A large body behind a wrong key is not waited for.
    let head = format!(
        "POST {} HTTP/1.1\r\nhost: g\r\nconnection: close\r\ncontent-length: 1000000\r\n\r\n",
        lane.path("1")
    );
    assert_eq!(raw_http::status(&raw_http::exchange(lane.gateway.envoy.address(), head).await), 401);
    lane.assert_nothing_happened().await;
}

#[tokio::test]
async fn with_the_wrong_method() {
    let lane = Lane::take("methods").await;
    for client in [lane.gateway.http1(), lane.gateway.http2()] {
        for method in ["GET", "DELETE", "PATCH", "OPTIONS"] {
            let request = client.request(method.parse().unwrap(), &lane.path("1")).header("x-api-key", KEY);
            let answer = client.send(request.body(full("")).unwrap()).await;
            expect::problem(&answer, 405, "method-not-allowed");
            assert_eq!(answer.header("allow"), "POST, PUT", "{method}");
        }
        for method in ["post", "POSTX"] {
            let request = client.request(method.parse().unwrap(), &lane.path("1")).header("x-api-key", KEY);
            let status = client.send(request.body(full("")).unwrap()).await.status.as_u16();
            // In HTTP/1.1 Envoy itself refuses methods that it does not know.
            assert!([400, 405].contains(&status), "{method}: {status}");
        }
        let head = client.request(Method::HEAD, &lane.path("1")).body(full("")).unwrap();
        assert_eq!(client.send(head).await.status, 405);
    }
    lane.assert_nothing_happened().await;
}

#[tokio::test]
async fn under_a_path_that_is_not_the_routes() {
    let lane = Lane::take("paths").await;
    for client in [lane.gateway.http1(), lane.gateway.http2()] {
        for path in [
            "/",
            "/e2e",
            "/e2e/paths",
            "/e2e/paths/",
            "/e2e/paths/1/2",
            "/e2e/paths/1/",
            "/E2E/paths/1",
            "/e2e/pathsx/1",
            "/e2e%2e/paths/1",
            "/x?/e2e/paths/1",
        ] {
            let request =
                client.request(Method::POST, path).header("x-api-key", KEY).body(full("{}")).unwrap();
            expect::problem(&client.send(request).await, 404, "not-found");
        }
    }
    // What a service could read as the route's path, or as another than the gateway does.
    for path in [
        "/e2e/paths/../paths/1",
        "/e2e/./paths/1",
        "/x/%2e%2e/e2e/paths/1",
        "/x/.%2E/e2e/paths/1",
        "//e2e/paths/1",
        "/e2e//paths/1",
        "/e2e%2Fpaths/1",
        "/e2e/paths%2f1",
        "/e2e/paths/%2e%2e",
        "/e2e/paths/1%2f..",
        "/e2e\\paths\\1",
        "/e2e/paths%5c1",
        "/e2e/paths/1;x=1",
        "/e2e;x/paths/1",
        "/e2e/paths/%00",
        "/e2e/paths/1%0d%0a",
        "/e2e/paths/%",
        "/e2e/paths/%zz",
        "/e2e/paths/%ff",
        "/e2e/paths/%c0%af",
    ] {
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\nx-api-key: {KEY}\r\ncontent-length: 2\r\n\r\n{{}}"
        );
        let answer = raw_http::exchange(lane.gateway.envoy.address(), request).await;
        assert_eq!(raw_http::status(&answer), 400, "{path}: {}", String::from_utf8_lossy(&answer));
    }
    lane.assert_nothing_happened().await;
}
