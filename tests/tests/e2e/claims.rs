//! What is known of a caller decides where its records go, and nothing that it sends does.

use serde_json::json;
use wicketgate_tests::gateway::OTHER_KEY;

use crate::expect;
use crate::rig::{Rig, document};

#[tokio::test]
async fn claims_fill_templates() {
    let mut document = document(json!([{
        "name": "tenants",
        "match": {"methods": ["POST"], "path": "/tenants"},
        "authentication": {"any_of": ["keys"]},
        "action": "produce",
        "event": {
            "type": "com.example.claims",
            "subject": "{claim:tenant|upper}",
            "extensions": {"level": "{claim:level}", "group": "{claim:/groups/1|default:none}"},
        },
        "kafka": {
            "topic": "tenant.{claim:tenant}",
            "key": "{claim:https://example.com/region}",
            "headers": {"admin": "{claim:admin}", "beside": "{header:x-tenant|default:none}"},
        },
    }]));
    document["consumers"][0]["claims"] = json!({
        "tenant": "acme", "level": 3, "admin": false, "groups": ["staff", "owners"], "https://example.com/region": "eu-1",
    });
    document["consumers"][1]["claims"] = json!({"tenant": "no topic!", "level": 1});
    let rig = Rig::start(document.clone(), &["tenant.acme", "tenant.globex"]).await;

    let request = rig.post_json("/tenants").header("x-tenant", "globex").header("tenant", "globex");
    expect::accepted(&rig.send(request, r#"{"tenant": "globex"}"#).await);
    let record = rig.topic("tenant.acme").record().await;
    let event = record.event();
    for (attribute, wanted) in
        [("subject", "ACME"), ("level", "3"), ("group", "owners"), ("partitionkey", "eu-1")]
    {
        assert_eq!(event[attribute], wanted, "{attribute} of {event}");
    }
    assert_eq!(record.key.as_deref(), Some(&b"eu-1"[..]));
    assert_eq!(
        (record.header("admin"), record.header("beside")),
        (vec![&b"false"[..]], vec![&b"globex"[..]])
    );

    // A claim that is missing is told by its name, and nothing is told of what others are.
    let client = rig.gateway.http2();
    let request = client.request(http::Method::POST, "/tenants").header("x-api-key", OTHER_KEY);
    let answer = client.send(request.body(wicketgate_tests::http_client::full("x")).unwrap()).await;
    let detail = expect::problem(&answer, 400, "bad-request")["detail"].to_string();
    assert!(detail.contains("key: claim https://example.com/region is missing"), "{detail}");
    assert_eq!(rig.topic("tenant.globex").records().await.len(), 0);

    let log = rig.gateway.log_tails();
    for value in ["acme", "eu-1", "owners", "no topic"] {
        assert!(!log.contains(value), "{value} is in a log:\n{log}");
    }
}

#[tokio::test]
async fn a_claim_that_makes_no_topic_makes_none() {
    let mut document = document(json!([{
        "name": "tenants",
        "match": {"methods": ["POST"], "path": "/tenants"},
        "authentication": {"any_of": ["keys", "anonymous"]},
        "action": "produce",
        "event": {"type": "com.example.claims"},
        "kafka": {"topic": "tenant.{claim:tenant}"},
    }]));
    document["consumers"][0]["claims"] = json!({"tenant": "no topic!"});
    let rig = Rig::start(document, &["tenant.acme"]).await;
    let wrong = rig.send(rig.post_json("/tenants"), "{}").await;
    let anonymous = rig.send(rig.client.request(http::Method::POST, "/tenants"), "{}").await;
    for (answer, wanted) in [
        (wrong, "topic: the request makes what cannot be the name of a topic"),
        (anonymous, "topic: claim tenant is missing"),
    ] {
        let detail = expect::problem(&answer, 400, "bad-request")["detail"].to_string();
        assert!(detail.contains(wanted) && !detail.contains("no topic!"), "{detail}");
    }
    rig.assert_nothing_happened().await;
}
