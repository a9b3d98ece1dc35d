//! Webhooks that their provider signs: what is signed gets through, and nothing else does.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::Method;
use serde_json::{Value, json};
use sha2::Sha256;
use wicketgate_tests::http_client::{Answer, Client, full, pieces};
use wicketgate_tests::raw_http;

use crate::compressed::gzip;
use crate::expect;
use crate::rig::{Rig, document};

const SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";
const SUCCESSOR: &str = "its-successor-its-successor";

fn routes() -> Value {
    let produce = |name: &str| {
        json!({
            "name": name,
            "match": {"methods": ["POST"], "path": format!("/{name}")},
            "authentication": {"any_of": [name]},
            "action": "produce",
            "event": {"type": format!("com.example.{name}")},
            "kafka": {"topic": "hooks"},
        })
    };
    json!([
        produce("github"),
        produce("stripe"),
        produce("slack"),
        {
            "name": "behind",
            "match": {"methods": ["POST"], "path": "/behind"},
            "authentication": {"any_of": ["github"]},
            "action": "pass",
        },
    ])
}

async fn rig() -> Rig {
    rig_with(routes()).await
}

async fn rig_with(routes: Value) -> Rig {
    let mut document = document(routes);
    for provider in ["github", "stripe", "slack"] {
        document["authentication"][provider] =
            json!({"type": "webhook", "provider": provider, "secrets": [SECRET, SUCCESSOR]});
    }
    Rig::start(document, &["hooks"]).await
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

pub(crate) fn hmac(secret: &str, text: &[u8]) -> String {
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap().chain_update(text);
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

type Fields = Vec<(&'static str, String)>;

fn github(secret: &str, body: &[u8], delivery: &str) -> Fields {
    vec![
        ("x-hub-signature-256", format!("sha256={}", hmac(secret, body))),
        ("x-github-delivery", delivery.to_owned()),
    ]
}

fn stripe(time: u64, body: &[u8]) -> Fields {
    let signature = hmac(SECRET, &[format!("{time}.").as_bytes(), body].concat());
    vec![("stripe-signature", format!("t={time},v1={signature},v0={}", "0".repeat(64)))]
}

fn slack(time: u64, body: &[u8]) -> Fields {
    let signature = hmac(SECRET, &[format!("v0:{time}:").as_bytes(), body].concat());
    vec![("x-slack-request-timestamp", time.to_string()), ("x-slack-signature", format!("v0={signature}"))]
}

async fn post(
    client: &Client,
    path: &str,
    fields: &Fields,
    body: wicketgate_tests::http_client::Body,
) -> Answer {
    let mut request = client.request(Method::POST, path).header("content-type", "application/json");
    for (name, value) in fields {
        request = request.header(*name, value);
    }
    client.send(request.body(body).unwrap()).await
}

#[tokio::test]
async fn what_a_provider_has_signed_becomes_a_record_under_its_id() {
    let rig = rig().await;
    let large = format!(r#"{{"filler":"{}"}}"#, "x".repeat(300_000)).into_bytes();
    let mut wanted = Vec::new();
    for (index, client) in [rig.gateway.http1(), rig.gateway.http2()].iter().enumerate() {
        for (number, secret) in [SECRET, SUCCESSOR].into_iter().enumerate() {
            let id = format!("github-{index}-{number}");
            let answer = post(client, "/github", &github(secret, &large, &id), full(large.clone())).await;
            assert_eq!(expect::accepted(&answer)["id"], *id);
            wanted.push((id, large.clone()));
        }
        // In pieces, so that nobody knows its length before it is there.
        let parts: Vec<Bytes> = large.chunks(50_000).map(Bytes::copy_from_slice).collect();
        let id = format!("pieces-{index}");
        let answer = post(client, "/github", &github(SECRET, &large, &id), pieces(parts)).await;
        assert_eq!(expect::accepted(&answer)["id"], *id);
        wanted.push((id, large.clone()));

        let body = format!(r#"{{"id":"evt_{index}"}}"#).into_bytes();
        let answer = post(client, "/stripe", &stripe(now(), &body), full(body.clone())).await;
        assert_eq!(expect::accepted(&answer)["id"], format!("evt_{index}"));
        wanted.push((format!("evt_{index}"), body));

        let body = format!(r#"{{"type":"event_callback","event_id":"Ev{index}"}}"#).into_bytes();
        let answer = post(client, "/slack", &slack(now(), &body), full(body.clone())).await;
        assert_eq!(expect::accepted(&answer)["id"], format!("Ev{index}"));
        wanted.push((format!("Ev{index}"), body));
    }
    let records = rig.topic("hooks").records().await;
    assert_eq!(records.len(), wanted.len());
    for (record, (id, body)) in records.iter().zip(wanted) {
        assert_eq!(record.event()["id"], *id);
        assert_eq!(record.event()["authtype"], "service_account");
        assert_eq!(expect::json_data(record), body);
        assert!(!String::from_utf8_lossy(record.value.as_deref().unwrap()).contains(&hmac(SECRET, &body)));
    }
    assert!(rig.gateway.upstream.seen().is_empty());
}

#[tokio::test]
async fn the_signature_is_over_the_bytes_that_were_sent() {
    let rig = rig().await;
    let plain = br#"{"a":1.0}"#.to_vec();
    let squeezed = gzip(&plain);
    let with_coding = |signed: &[u8], delivery: &str| {
        let mut fields = github(SECRET, signed, delivery);
        fields.push(("content-encoding", "gzip".to_owned()));
        fields
    };
    let refused = post(&rig.client, "/github", &with_coding(&plain, "1"), full(squeezed.clone())).await;
    expect::problem(&refused, 401, "unauthenticated");
    let taken = post(&rig.client, "/github", &with_coding(&squeezed, "2"), full(squeezed.clone())).await;
    assert_eq!(expect::accepted(&taken)["id"], "2");
    assert_eq!(expect::json_data(&rig.topic("hooks").record().await), plain);
}

#[tokio::test]
async fn slack_is_answered_its_challenge_and_kafka_sees_nothing() {
    let rig = rig().await;
    let body = br#"{"token":"x","challenge":"3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P","type":"url_verification"}"#;
    for client in [rig.gateway.http1(), rig.gateway.http2()] {
        let answer = post(&client, "/slack", &slack(now(), body), full(&body[..])).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("content-type")),
            (200, "text/plain; charset=utf-8")
        );
        assert_eq!(&answer.body[..], b"3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P");
        let stolen = post(&client, "/slack", &slack(now() - 301, body), full(&body[..])).await;
        expect::problem(&stolen, 401, "unauthenticated");
        let unsigned = post(&client, "/slack", &Fields::new(), full(&body[..])).await;
        expect::problem(&unsigned, 401, "unauthenticated");
    }
    rig.assert_nothing_happened().await;
}

#[tokio::test]
async fn a_sender_that_may_send_is_told_so_and_is_not_let_in_by_it() {
    let mut routes = routes();
    routes[0]["webhook_handshake"] = json!({"origins": ["eventemitter.example.com"], "rate": 120});
    let rig = rig_with(routes).await;
    let ask = async |origin: &str, path: &str| {
        let request = rig.client.request(Method::OPTIONS, path).header("webhook-request-origin", origin);
        rig.client.send(request.header("webhook-request-rate", "200").body(full("")).unwrap()).await
    };
    let allowed = ask("eventemitter.example.com", "/github").await;
    assert_eq!(allowed.status, 200, "{allowed:?}");
    let told = ["webhook-allowed-origin", "webhook-allowed-rate", "allow"].map(|name| allowed.header(name));
    assert_eq!(told, ["eventemitter.example.com", "120", "POST"]);
    // Another sender, and a route that has no handshake.
    for (origin, path) in [("other.example.com", "/github"), ("eventemitter.example.com", "/stripe")] {
        expect::problem(&ask(origin, path).await, 405, "method-not-allowed");
    }
    let unsigned = [("webhook-request-origin", "eventemitter.example.com".to_owned())];
    let unsigned = post(&rig.client, "/github", &unsigned.to_vec(), full("{}")).await;
    expect::problem(&unsigned, 401, "unauthenticated");
    rig.assert_nothing_happened().await;
}

#[tokio::test]
async fn what_nobody_has_signed_goes_nowhere() {
    let rig = rig().await;
    let body = br#"{"id":"evt_1"}"#;
    let signed = stripe(now(), body);
    let repeated = [signed.clone(), signed.clone()].concat();
    let wrong_prefix: Fields = vec![("x-hub-signature-256", format!("sha1={}", hmac(SECRET, body)))];
    for client in [rig.gateway.http1(), rig.gateway.http2()] {
        for (path, fields, sent, status) in [
            ("/stripe", Fields::new(), &body[..], 401),
            ("/stripe", signed.clone(), br#"{"id":"evt_2"}"#, 401),
            ("/stripe", signed.clone(), b"", 401),
            ("/stripe", stripe(now() - 310, body), body, 401),
            ("/stripe", stripe(now() + 310, body), body, 401),
            ("/stripe", repeated.clone(), body, 400),
            ("/stripe", github(SECRET, body, "1"), body, 401),
            ("/slack", signed.clone(), body, 401),
            ("/github", github("another-secret-another-secret", body, "1"), body, 401),
            ("/github", wrong_prefix.clone(), body, 401),
            ("/behind", Fields::new(), body, 401),
            ("/behind", github(SECRET, b"another", "1"), body, 401),
        ] {
            let kind = if status == 400 { "bad-request" } else { "unauthenticated" };
            let answer = post(&client, path, &fields, full(sent.to_vec())).await;
            let content = expect::problem(&answer, status, kind);
            let silent = status == 400 || !content.to_string().contains("signature");
            assert!(silent, "no word on what was wrong: {content}");
        }
    }
    // What its head denies is not waited for.
    let head = "POST /stripe HTTP/1.1\r\nhost: g\r\nconnection: close\r\ncontent-length: 1000000\r\n\
                stripe-signature: t=1,v1=00\r\n\r\n";
    assert_eq!(
        raw_http::status(&raw_http::exchange(rig.gateway.envoy.address(), head.to_owned()).await),
        401
    );
    rig.assert_nothing_happened().await;
}

#[tokio::test]
async fn a_service_behind_the_gateway_gets_the_signed_body_and_no_signature() {
    let rig = rig().await;
    let large = format!(r#"{{"filler":"{}"}}"#, "x".repeat(300_000)).into_bytes();
    for (number, client) in [rig.gateway.http1(), rig.gateway.http2()].iter().enumerate() {
        for body in [&large[..], b""] {
            let answer = post(client, "/behind", &github(SECRET, body, "7"), full(body.to_vec())).await;
            assert_eq!((answer.status.as_u16(), &answer.body[..]), (200, &b"upstream"[..]), "{answer:?}");
        }
        let seen = rig.gateway.upstream.seen();
        assert_eq!(seen.len(), 2 * (number + 1));
        let seen = &seen[2 * number];
        assert!(
            seen.body == large && !seen.headers.contains_key("x-hub-signature-256"),
            "{:?}",
            seen.headers
        );
        assert_eq!(seen.headers["x-github-delivery"], "7");
    }
    rig.topic("hooks").assert_empty().await;
}
