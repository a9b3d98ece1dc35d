//! User names and passwords (HTTP Basic).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde_json::json;
use wicketgate_policy::password::{MIN_ITERATIONS, Stored};
use wicketgate_tests::gateway::KEY;
use wicketgate_tests::http_client::{Answer, Client, full};

use crate::expect;
use crate::rig::{Rig, document};

async fn rig() -> Rig {
    let route = |name: &str, methods: &[&str]| {
        json!({
            "name": name,
            "match": {"methods": ["POST"], "path": format!("/{name}")},
            "authentication": {"any_of": methods},
            "action": "produce",
            "event": {"type": "com.example.signed-in"},
            "kafka": {"topic": "basic"},
        })
    };
    let behind = json!({
        "name": "behind",
        "match": {"methods": ["GET"], "path": "/behind"},
        "authentication": {"any_of": ["people"]},
        "action": "pass",
    });
    let mut document =
        document(json!([route("people", &["people"]), route("either", &["people", "keys"]), behind]));
    document["authentication"]["people"] = json!({"type": "basic"});
    let hash = |password: &str| Stored::derive(password, b"e2e-salt-e2e-salt", MIN_ITERATIONS).to_string();
    document["consumers"].as_array_mut().unwrap().push(json!({
        "name": "grace",
        "passwords": [{"hash": hash("open sesame")}, {"hash": hash("its successor: ü")}],
    }));
    Rig::start(document, &["basic"]).await
}

fn basic(credentials: &str) -> String {
    format!("Basic {}", STANDARD.encode(credentials))
}

async fn post(client: &Client, path: &str, fields: &[(&str, &str)]) -> Answer {
    let mut request = client.request(Method::POST, path);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    client.send(request.body(full("x")).unwrap()).await
}

#[tokio::test]
async fn the_right_password_opens_and_is_seen_by_nobody() {
    let rig = rig().await;
    for client in [rig.gateway.http1(), rig.gateway.http2()] {
        for password in ["open sesame", "its successor: ü", "open sesame"] {
            let credentials = basic(&format!("grace:{password}"));
            expect::accepted(&post(&client, "/people", &[("authorization", &credentials)]).await);
        }
    }
    let right = basic("grace:open sesame");
    expect::accepted(&post(&rig.client, "/either", &[("authorization", &right)]).await);
    expect::accepted(&post(&rig.client, "/either", &[("x-api-key", KEY)]).await);
    let request = rig.client.request(Method::GET, "/behind").header("authorization", &right);
    assert_eq!(rig.client.send(request.body(full("")).unwrap()).await.status, 200);
    let [seen] = &rig.gateway.upstream.seen()[..] else { panic!("one request went on") };
    assert!(!seen.headers.contains_key("authorization"), "{:?}", seen.headers);
    let records = rig.topic("basic").records().await;
    assert_eq!(records.len(), 8);
    for record in &records {
        let value = String::from_utf8_lossy(record.value.as_deref().unwrap()).into_owned();
        assert!(!value.contains("sesame") && !value.contains(&right[6..]), "{value}");
    }
    assert_eq!(
        (&records[0].event()["authid"], &records[0].event()["authtype"]),
        (&json!("grace"), &json!("app_user"))
    );
    assert!(!rig.gateway.envoy.process().log().contains("sesame"));
}

#[tokio::test]
async fn anything_else_is_refused_and_goes_nowhere() {
    let rig = rig().await;
    let right = basic("grace:open sesame");
    for client in [rig.gateway.http1(), rig.gateway.http2()] {
        for value in [
            basic("grace:open sesam"),
            basic("grace:"),
            basic("nobody:open sesame"),
            basic("alice:open sesame"),
            basic("Grace:open sesame"),
            basic("grace"),
            right.trim_end_matches('=').to_owned() + "!",
            "Basic".to_owned(),
            "Basic grace:open sesame".to_owned(),
            format!("Bearer {}", &right[6..]),
        ] {
            let answer = post(&client, "/people", &[("authorization", &value)]).await;
            expect::problem(&answer, 401, "unauthenticated");
            assert_eq!(answer.header("www-authenticate"), "Basic realm=\"wicketgate\", charset=\"UTF-8\"");
        }
        expect::problem(&post(&client, "/people", &[]).await, 401, "unauthenticated");
        // Envoy joins the two with a comma, which makes neither of them.
        let twice = [("authorization", right.as_str()), ("authorization", &right)];
        expect::problem(&post(&client, "/people", &twice).await, 401, "unauthenticated");
        // A wrong password is not passed over for a right key.
        let wrong = basic("grace:wrong");
        let both = [("authorization", wrong.as_str()), ("x-api-key", KEY)];
        expect::problem(&post(&client, "/either", &both).await, 401, "unauthenticated");
    }
    rig.assert_nothing_happened().await;
}

#[tokio::test]
async fn guesses_are_bounded_and_shut_nobody_out_who_is_known() {
    let rig = rig().await;
    let right = basic("grace:open sesame");
    // On one connection, so that all of it is one worker's. Over HTTP/1.1, Envoy ends it with an answer that comes before
    // the body.
    let client = rig.gateway.http2();
    expect::accepted(&post(&client, "/people", &[("authorization", &right)]).await);
    let mut refused = 0;
    for number in 0..400 {
        let guess = basic(&format!("grace:guess-{number}"));
        let answer = post(&client, "/people", &[("authorization", &guess)]).await;
        match answer.status.as_u16() {
            401 => {}
            503 => {
                expect::problem(&answer, 503, "authority-unavailable");
                refused += 1;
            }
            _ => panic!("{answer:?}"),
        }
        if number % 100 == 99 {
            expect::accepted(&post(&client, "/people", &[("authorization", &right)]).await);
        }
    }
    assert!(refused > 0, "400 guesses were hashed");
    assert_eq!(rig.topic("basic").records().await.len(), 5);
}
