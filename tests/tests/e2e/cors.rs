//! What web pages of other origins may do.

use http::Method;
use http::request::Builder;
use serde_json::{Value, json};
use wicketgate_tests::gateway::KEY;
use wicketgate_tests::http_client::Answer;

use crate::expect;
use crate::rig::{Rig, document};

const SHOP: &str = "https://shop.example.com";

fn routes() -> Value {
    json!([
        {
            "name": "clicks",
            "match": {"methods": ["POST", "PUT"], "path": "/clicks/{site}"},
            "authentication": {"any_of": ["keys", "anonymous"]},
            "action": "produce",
            "cors": {
                "origins": [SHOP, "http://localhost:3000"],
                "headers": ["Content-Type", "x-api-key"],
                "expose_headers": ["x-request-id"],
                "max_age": "10m",
                "credentials": true,
            },
            "accept": {"formats": ["raw"]},
            "event": {"type": "com.example.click"},
            "kafka": {"topic": "clicks"},
            "reply": {"headers": {"vary": "accept"}},
        },
        {
            "name": "open",
            "match": {"methods": ["POST"], "path": "/open"},
            "authentication": {"any_of": ["anonymous"]},
            "action": "produce",
            "cors": {"origins": ["*"]},
            "event": {"type": "com.example.open"},
            "kafka": {"topic": "clicks"},
        },
        {
            "name": "passed",
            "match": {"methods": ["GET"], "path": "/passed"},
            "authentication": {"any_of": ["anonymous"]},
            "action": "pass",
            "cors": {"origins": [SHOP]},
        },
        {
            "name": "closed",
            "match": {"methods": ["POST"], "path": "/closed"},
            "authentication": {"any_of": ["anonymous"]},
            "action": "produce",
            "event": {"type": "com.example.closed"},
            "kafka": {"topic": "clicks"},
        },
    ])
}

fn preflight(rig: &Rig, path: &str, origin: &str, method: &str) -> Builder {
    let request = rig.client.request(Method::OPTIONS, path);
    request.header("origin", origin).header("access-control-request-method", method)
}

/// The CORS fields of an answer, by the rest of their names, and what it varies by.
fn cors(answer: &Answer) -> Vec<(String, String)> {
    let mut fields = Vec::new();
    for (name, value) in &answer.headers {
        let (name, value) = (name.as_str(), value.to_str().unwrap());
        match name.strip_prefix("access-control-") {
            Some(name) => fields.push((name.to_owned(), value.to_owned())),
            // A list, which may be in one field or in several.
            None if name == "vary" => {
                fields.extend(value.split(',').map(|item| (name.to_owned(), item.trim().to_owned())));
            }
            None => {}
        }
    }
    fields.sort_unstable();
    fields
}

fn fields<const N: usize>(wanted: [(&str, &str); N]) -> Vec<(String, String)> {
    wanted.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

#[tokio::test]
async fn a_preflight_is_granted_what_it_asks_for_or_nothing() {
    let rig = Rig::start(document(routes()), &["clicks"]).await;
    let request = preflight(&rig, "/clicks/main", SHOP, "POST")
        .header("access-control-request-headers", "content-type,x-api-key");
    let answer = rig.send(request, "").await;
    assert_eq!((answer.status.as_u16(), answer.body.len()), (204, 0), "{answer:?}");
    assert_ne!(answer.header("x-request-id"), "");
    let granted = fields([
        ("allow-credentials", "true"),
        ("allow-headers", "content-type, x-api-key"),
        ("allow-methods", "POST"),
        ("allow-origin", SHOP),
        ("max-age", "600"),
        ("vary", "origin"),
    ]);
    assert_eq!(cors(&answer), granted);

    let answer = rig.send(preflight(&rig, "/open", "https://anybody.example", "POST"), "").await;
    assert_eq!(answer.status, 204);
    assert_eq!(cors(&answer), fields([("allow-methods", "POST"), ("allow-origin", "*")]));

    for (request, vary) in [
        (preflight(&rig, "/clicks/main", "https://evil.example", "POST"), true),
        (preflight(&rig, "/clicks/main", "null", "POST"), true),
        (preflight(&rig, "/clicks/main", "HTTPS://SHOP.EXAMPLE.COM", "POST"), true),
        (preflight(&rig, "/clicks/main", "https://shop.example.com.evil.example", "POST"), true),
        (preflight(&rig, "/clicks/main", "http://shop.example.com", "POST"), true),
        (
            preflight(&rig, "/clicks/main", SHOP, "POST")
                .header("access-control-request-headers", "content-type, x-other"),
            true,
        ),
        (
            preflight(&rig, "/open", SHOP, "POST").header("access-control-request-headers", "content-type"),
            false,
        ),
    ] {
        let answer = rig.send(request, "").await;
        expect::problem(&answer, 403, "cors-refused");
        let wanted = if vary { fields([("vary", "origin")]) } else { Vec::new() };
        assert_eq!(cors(&answer), wanted);
    }
    // No route is there that the preflight asks about, or none that says anything of other origins.
    for (path, method, status, kind) in [
        ("/clicks/main", "DELETE", 405, "method-not-allowed"),
        ("/closed", "POST", 405, "method-not-allowed"),
        ("/nowhere", "POST", 404, "not-found"),
    ] {
        let answer = rig.send(preflight(&rig, path, SHOP, method), "").await;
        expect::problem(&answer, status, kind);
        assert_eq!(cors(&answer), Vec::new(), "{method} {path}");
    }
    rig.assert_nothing_happened().await;
}

#[tokio::test]
async fn a_page_may_read_answers_and_errors_of_its_route() {
    let rig = Rig::start(document(routes()), &["clicks"]).await;
    let granted = [
        ("allow-credentials", "true"),
        ("allow-origin", SHOP),
        ("expose-headers", "x-request-id"),
        ("vary", "origin"),
    ];
    let from_shop = |path: &str| rig.client.request(Method::POST, path).header("origin", SHOP);

    let answer = rig.send(from_shop("/clicks/main").header("content-type", "text/plain"), "x").await;
    expect::accepted(&answer);
    let mut with_own = fields(granted);
    with_own.insert(3, ("vary".to_owned(), "accept".to_owned()));
    assert_eq!(cors(&answer), with_own);

    for (request, status, kind) in [
        (from_shop("/clicks/main").header("x-api-key", "wrong"), 401, "unauthenticated"),
        (from_shop("/clicks/main").header("x-api-key", KEY).header("x-api-key", KEY), 400, "bad-request"),
        (from_shop("/clicks/main").header("content-type", "application/json"), 400, "bad-request"),
        (from_shop("/clicks/main").header("ce-specversion", "1.0"), 415, "unsupported-media-type"),
    ] {
        let answer = rig.send(request, "{").await;
        expect::problem(&answer, status, kind);
        assert_eq!(cors(&answer), fields(granted), "{kind}");
    }

    // Who is nobody in particular is served, and no page may read it.
    let other = rig.client.request(Method::POST, "/clicks/main").header("origin", "https://evil.example");
    let answer = rig.send(other, "x").await;
    expect::accepted(&answer);
    assert_eq!(cors(&answer), fields([("vary", "accept"), ("vary", "origin")]));
    let none = rig.send(rig.client.request(Method::POST, "/closed").header("origin", SHOP), "x").await;
    expect::accepted(&none);
    assert_eq!(cors(&none), Vec::new());

    // Of what the upstream says of origins, nothing is left; of what it varies by, everything.
    let answer = rig.send(rig.client.request(Method::GET, "/passed").header("origin", SHOP), "").await;
    assert_eq!((answer.status.as_u16(), &answer.body[..]), (200, &b"upstream"[..]));
    let wanted = fields([("allow-origin", SHOP), ("vary", "accept-encoding"), ("vary", "origin")]);
    assert_eq!(cors(&answer), wanted);
    assert_eq!(rig.topic("clicks").records().await.len(), 3);
}
