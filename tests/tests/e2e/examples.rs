//! The examples of `envoy/examples`: each without a mistake, each doing on real Envoy and Kafka what it is for, and
//! each explained by `wicketgate explain` as it is.

use std::fs;

use http::Method;
use serde_json::{Value, json};
use wicketgate_policy::config::Config;
use wicketgate_tests::http_client::{Answer, full};
use wicketgate_tests::topic::Record;

use crate::compressed::gzip;
use crate::example::{Example, PLANS, agrees, folder, read, send, signed_now};
use crate::expect;
use crate::explained::{assert_answered, explanation};
use crate::webhooks::hmac;

fn key(record: &Record) -> &str {
    std::str::from_utf8(record.key.as_deref().expect("a key")).unwrap()
}

#[test]
fn every_example_is_complete_listed_and_without_a_mistake() {
    let mut files: Vec<String> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort_unstable();
    let names = PLANS.map(|plan| plan.name);
    let mut wanted: Vec<String> =
        names.iter().flat_map(|name| [format!("{name}.http"), format!("{name}.json")]).collect();
    wanted.insert(0, "README.md".to_owned());
    assert_eq!(files, wanted, "files of envoy/examples, and the examples that are tested here");
    let readme = read("README.md");
    for name in names {
        assert_eq!(
            readme.matches(&format!("| [`{name}`]({name}.json) | ")).count(),
            1,
            "{name} in README.md"
        );
        if let Err(errors) = Config::from_json(read(&format!("{name}.json")).as_bytes()) {
            panic!("{name}.json: {:?}", errors.0.iter().map(ToString::to_string).collect::<Vec<_>>());
        }
    }
}

#[tokio::test]
async fn orders() {
    let example = Example::start("orders").await;
    let record = example.rig.topic("orders").record().await;
    let id = "7c4fd2a0-5d8f-4b1e-9a53-0f2b1c3d4e5f";
    assert_eq!(example.answer.status, 202);
    assert_eq!(example.answer.json().as_object().unwrap().len(), 2);
    assert_eq!(
        (&example.answer.json()["receipt"], example.answer.header("cache-control")),
        (&json!(id), "no-store")
    );
    assert_eq!((key(&record), record.header("currency")), ("o-2041", vec![&b"CHF"[..]]));
    assert_eq!((&record.event()["id"], &record.event()["subject"]), (&json!(id), &json!("order/o-2041")));

    let answer = send(&example.rig, &example.changed("application/json", "text/plain"), None).await;
    expect::problem(&answer, 415, "unsupported-media-type");
    let answer = send(&example.rig, &example.changed("api.shop.example", "shop.example"), None).await;
    expect::problem(&answer, 404, "not-found");
    // Another order, so another key.
    let other = example.changed("\"currency\": \"CHF\", ", "").replace(id, "another-key");
    agrees(&example.rig, &other).await;
    assert_eq!(example.rig.topic("orders").records().await[1].header("currency"), [b"EUR"]);
}

#[tokio::test]
async fn telemetry() {
    let Example { rig, request, answer } = Example::start("telemetry").await;
    assert_eq!(answer.json()["results"].as_array().unwrap().len(), 3);
    // The same batch as an array, and compressed.
    let (head, lines) = request.split_once("\n\n").unwrap();
    let array = format!("[{}]", lines.trim().lines().collect::<Vec<_>>().join(","));
    let as_array = format!("{}\n\n{array}", head.replace("application/x-ndjson", "application/json"));
    agrees(&rig, &as_array).await;
    let squeezed = format!("{head}\nContent-Encoding: gzip\n\n");
    assert_eq!(send(&rig, &squeezed, Some(gzip(lines.as_bytes()))).await.status, 202);

    // A time in another unit, and one of a clock that is not set, are refused before anything is written.
    for (at, hint) in
        [("1764218400", "if it counts seconds"), ("\"1980-01-06T00:00:00Z\"", "a clock that is not set")]
    {
        let answer = send(&rig, &format!("{head}\n\n{{\"device\":\"pump-1\",\"at\":{at}}}"), None).await;
        let content = expect::problem(&answer, 400, "bad-request");
        assert!(content["detail"].as_str().unwrap().contains(hint), "{content}");
    }

    let records = rig.topic("telemetry").records().await;
    let wanted =
        [("pump-1", 1_772_344_800_250), ("pump-2", 1_772_344_800_500), ("pump-1", 1_772_344_801_000)];
    assert_eq!(records.len(), 9);
    for (record, (device, time)) in records.iter().zip(wanted.iter().cycle()) {
        assert_eq!((key(record), record.timestamp), (*device, *time));
        assert_eq!(
            (&record.event()["subject"], record.header("gateway")),
            (&json!(device), vec![&b"gateway-12"[..]])
        );
    }
}

#[tokio::test]
async fn github_webhook() {
    let example = Example::start("github-webhook").await;
    let delivery = "72d3162e-cc78-11e3-81ab-4c9367dc0958";
    assert_eq!((example.answer.status.as_u16(), example.answer.json()), (200, json!({"id": delivery})));
    let record = example.rig.topic("github-webhooks").record().await;
    let body = example.request.split_once("\n\n").unwrap().1.trim_end();
    assert_eq!(String::from_utf8(expect::json_data(&record)).unwrap(), body);
    assert_eq!((key(&record), record.header("event")), ("baxterthehacker/public-repo", vec![&b"push"[..]]));
    assert_eq!(
        (&record.event()["id"], &record.event()["source"]),
        (&json!(delivery), &json!("https://github.com"))
    );
    assert_eq!(record.event()["authid"], json!("github"));
    // An organization's hook has no repository, and what nobody is named in has no key.
    let ping = r#"{"zen": "Keep it simple.", "hook_id": 109948940, "hook": {"type": "Organization", "id": 109948940,
        "name": "web", "active": true, "events": ["*"]}, "organization": {"login": "acme-org", "id": 1}, "sender":
        {"login": "someone", "id": 2}}"#;
    let other = |other: &str, body: &str| {
        let (head, signed) = example.request.split_once("\n\n").unwrap();
        let [of_signed, of_body] = [signed, body].map(|body| hmac("demo-webhook-secret", body.as_bytes()));
        assert!(head.contains(&of_signed));
        let head = head.replace(&of_signed, &of_body).replace(delivery, other);
        format!("{head}\n\n{body}")
    };
    assert_eq!(agrees(&example.rig, &other("ping-1", ping)).await.status, 200);
    assert_eq!(agrees(&example.rig, &other("zen-1", r#"{"zen": "Keep it simple."}"#)).await.status, 200);
    let records = example.rig.topic("github-webhooks").records().await;
    assert_eq!((key(&records[1]), &records[1].event()["subject"]), ("acme-org", &json!("acme-org")));
    assert_eq!((&records[2].key, records[2].event().get("subject")), (&None, None));
    // Who sends no delivery is not GitHub.
    let answer = send(&example.rig, &example.changed("X-GitHub-Delivery", "X-Delivery"), None).await;
    expect::problem(&answer, 404, "not-found");
}

#[tokio::test]
async fn single_page_app() {
    let example = Example::start("single-page-app").await;
    assert_eq!(example.answer.status, 202);
    assert_eq!(example.answer.header("access-control-allow-origin"), "https://shop.example.com");
    let record = example.rig.topic("page-events").record().await;
    let event = record.event();
    assert_eq!(
        (key(&record), &event["subject"], &event["authid"]),
        ("user-7", &json!("user-7"), &json!("user-7"))
    );
    let answer = denied_alike(&example, "/tenants/acme/", "/tenants/globex/").await;
    expect::problem(&answer, 403, "forbidden");
    assert_eq!(example.rig.topic("page-events").records().await.len(), 1);
}

/// The answer to the request of an example with a change for which it is denied, as it is explained.
async fn denied_alike(example: &Example, from: &str, to: &str) -> Answer {
    let request = example.changed(from, to);
    let explained = explanation(&example.rig.document, request.as_bytes());
    let answer = send(&example.rig, &request, None).await;
    assert_eq!((explained.decision, explained.records.len()), ("reply", 0));
    assert_answered(explained.reply.as_ref().unwrap(), &answer);
    answer
}

#[tokio::test]
async fn stripe_webhook() {
    let example = Example::start("stripe-webhook").await;
    let event_id = "evt_1NG8Du2eZvKYlo2CUI79vXWy";
    assert_eq!((example.answer.status.as_u16(), example.answer.json()), (200, json!({"id": event_id})));
    let record = example.rig.topic("stripe-events").record().await;
    let event = record.event();
    assert_eq!((key(&record), &event["id"]), ("pi_3MtwBwLkdIwHu7ix28a3tqPa", &json!(event_id)));
    assert_eq!(
        (&event["subject"], &event["authtype"]),
        (&json!("payment_intent.succeeded"), &json!("service_account"))
    );
    let body = example.request.split_once("\n\n").unwrap().1.trim_end();
    assert_eq!(String::from_utf8(expect::json_data(&record)).unwrap(), body);
    assert!(record.header("stripe-signature").is_empty());
    // One that was sent long ago is not taken again, and neither is another body under its signature.
    for late in [read("stripe-webhook.http"), example.changed("2000", "2001")] {
        expect::problem(&send(&example.rig, &late, None).await, 401, "unauthenticated");
    }

    // An invoice that is to come has no id yet.
    let (head, _) = example.request.split_once("\n\n").unwrap();
    let upcoming = r#"{"id": "evt_test_0001", "object": "event", "created": 1772344799, "type": "invoice.upcoming",
        "data": {"object": {"object": "invoice", "customer": "cus_test_1", "amount_due": 4000}}}"#;
    let request = signed_now(format!("{head}\n\n{upcoming}"));
    assert_eq!(agrees(&example.rig, &request).await.status, 200);
    let records = example.rig.topic("stripe-events").records().await;
    assert_eq!(
        (key(&records[1]), &records[1].event()["subject"]),
        ("cus_test_1", &json!("invoice.upcoming"))
    );
}

#[tokio::test]
async fn partner_mtls() {
    let example = Example::start("partner-mtls").await;
    assert_eq!(example.answer.status, 202);
    let record = example.rig.topic("shipments").record().await;
    let event = record.event();
    assert_eq!(
        (key(&record), &event["subject"], &event["authid"]),
        ("S-1007", &json!("acme"), &json!("acme"))
    );
    let answer = denied_alike(&example, "/partners/acme/", "/partners/globex/").await;
    expect::problem(&answer, 403, "forbidden");
    let answer = denied_alike(&example, ";URI=spiffe://partners.example.com/acme", ",By=spiffe://x").await;
    expect::problem(&answer, 401, "unauthenticated");
    assert_eq!(example.rig.topic("shipments").records().await.len(), 1);
}

#[tokio::test]
async fn machines() {
    let example = Example::start("machines").await;
    assert_eq!(example.answer.status, 202);
    let record = example.rig.topic("stock").record().await;
    let event = record.event();
    assert_eq!(
        (key(&record), &event["subject"], &event["authid"]),
        ("A-100", &json!("A-100"), &json!("warehouse-7"))
    );
    assert!(!event.to_string().contains("opaque-demo-token"));
}

#[tokio::test]
async fn audit_tee() {
    let example = Example::start("audit-tee").await;
    let seen = example.rig.gateway.upstream.seen();
    assert!(String::from_utf8_lossy(&seen[0].body).contains("correct horse"), "the service gets it all");
    assert!(seen[0].path.contains("s3cr3t-t0ken"));
    let record = example.rig.topic("audit").record().await;
    let event = record.event();
    assert_eq!((key(&record), &event["change"]), ("4711", &json!("PUT by back-office")));
    assert_eq!(event["data"], json!({"email": "ada@example.com", "locked": false}));
    for secret in ["correct horse", "s3cr3t-t0ken", "demo-key"] {
        assert!(!String::from_utf8_lossy(record.bytes()).contains(secret), "{secret} in {event}");
    }
    agrees(
        &example.rig,
        "GET /admin/accounts/4711 HTTP/1.1\nHost: admin.example.com\nX-Api-Key: demo-key\n\n",
    )
    .await;
    example.rig.topic("audit").record().await;
}

#[tokio::test]
async fn cloudevents_relay() {
    let example = Example::start("cloudevents-relay").await;
    let [one, two] = example.rig.topic("events").records().await.try_into().unwrap();
    assert_eq!(
        (key(&one), one.header("ce_id"), one.bytes()),
        ("invoice-9", vec![&b"a-1"[..]], &b"{\"amount\": 12.50}"[..])
    );
    assert_eq!(one.header("ce_time"), [b"2026-03-01T09:30:00+01:00"]);
    assert_eq!(
        (two.header("content-type"), two.bytes()),
        (vec![&b"image/png"[..]], &b"\x89PNG\r\n\x1a\n"[..])
    );
    assert_eq!(two.header("ce_authid"), [b"partner"]);

    let head = "POST /events HTTP/1.1\nHost: relay.example.com\nX-Api-Key: demo-key\n";
    let structured =
        r#"{"specversion":"1.0","id":"b-1","source":"/partner","type":"com.partner.note","data":"text"}"#;
    agrees(&example.rig, &format!("{head}Content-Type: application/cloudevents+json\n\n{structured}")).await;
    let binary = "Ce-Specversion: 1.0\nCe-Id: c-1\nCe-Source: /partner\nCe-Type: com.partner.note\nCe-Subject: gr%C3%BCn\n";
    agrees(&example.rig, &format!("{head}{binary}Content-Type: text/plain\n\ntext")).await;
    let records = example.rig.topic("events").records().await;
    assert_eq!((records[2].bytes(), records[3].bytes()), (&b"\"text\""[..], &b"text"[..]));
    assert_eq!(records[3].header("ce_subject"), ["grün".as_bytes()]);
    // What is no CloudEvent is not relayed.
    let answer = send(&example.rig, &format!("{head}Content-Type: application/json\n\n{{}}"), None).await;
    expect::problem(&answer, 415, "unsupported-media-type");
}

#[tokio::test]
async fn multi_tenant() {
    let example = Example::start("multi-tenant").await;
    let record = example.rig.topic("tenant.acme.events").record().await;
    let event = record.event();
    assert_eq!((key(&record), &event["tenant"], &event["plan"]), ("user-31", &json!("acme"), &json!("gold")));
    // Another credential is another tenant, whatever the request says.
    let globex = example.changed("demo-key", "globex-demo-key").replace("X-Tenant: globex", "X-Tenant: acme");
    agrees(&example.rig, &globex).await;
    let event = example.rig.topic("tenant.globex.events").record().await.event();
    assert_eq!((&event["tenant"], &event["plan"]), (&json!("globex"), &json!("free")));
    for (key, topic) in [("demo-key", "us.metrics"), ("globex-demo-key", "eu.metrics")] {
        let metrics = format!(
            "POST /v1/metrics HTTP/1.1\nHost: a.b.saas.example\nX-Api-Key: {key}\nContent-Type: text/plain\n\nup 1"
        );
        agrees(&example.rig, &metrics).await;
        example.rig.topic(topic).record().await;
    }
}

#[tokio::test]
async fn clickstream() {
    let example = Example::start("clickstream").await;
    let origin = "https://shop.example.com";
    let allowed = |answer: &Answer| answer.header("access-control-allow-origin").to_owned();
    assert_eq!((example.answer.status.as_u16(), allowed(&example.answer).as_str()), (202, origin));
    let [one, two] = example.rig.topic("clicks").records().await.try_into().unwrap();
    // printf %s v-81 | sha256sum
    let visitor = "6ec67ee6e74ee18831b26d43ac845fe1d13205cbed0cf8a939397cf9d8e9aef7";
    assert_eq!((key(&one), key(&two)), (visitor, visitor));
    assert_eq!((&one.event()["subject"], &two.event()["site"]), (&json!("/lamps"), &json!("main")));
    assert_eq!((one.header("user-agent").len(), &one.event()["authtype"]), (1, &json!("unauthenticated")));

    for (origin, granted) in [(origin, 204), ("https://evil.example", 403)] {
        let preflight = format!(
            "OPTIONS /c/main HTTP/1.1\nHost: collect.example.com\nOrigin: {origin}\nAccess-Control-Request-Method: POST\n\
             Access-Control-Request-Headers: content-type\n\n"
        );
        let answer = send(&example.rig, &preflight, None).await;
        assert_eq!(answer.status, granted);
        assert_answered(
            explanation(&example.rig.document, preflight.as_bytes()).reply.as_ref().unwrap(),
            &answer,
        );
    }
}

#[tokio::test]
async fn payments() {
    let example = Example::start("payments").await;
    agrees(&example.rig, &example.changed("49.00", "50.00")).await;
    let records = example.rig.topic("payments").records().await;
    assert_eq!(key(&records[0]), key(&records[1]));
    for record in &records {
        let hash = key(record);
        let payload: Value = serde_json::from_slice(record.bytes()).unwrap();
        assert!(hash.starts_with("hmac-sha256:"), "{hash}");
        assert_eq!(payload["card"], json!({"number": hash, "expires": "12/29"}));
        assert_eq!(
            payload["holders"],
            json!([{"name": "[redacted]", "share": 0.5}, {"name": "[redacted]", "share": 0.5}])
        );
        assert_eq!(record.header("ce_wgquery"), [b"channel=web&iban=%5Bredacted%5D"]);
        let everything = format!("{record:?}") + &String::from_utf8_lossy(record.bytes());
        let parts = record.headers.iter().filter_map(|(_, value)| value.as_deref()).chain([record.bytes()]);
        let text: String = parts.map(String::from_utf8_lossy).collect();
        for secret in
            ["4242424242424242", "737\"", "Hopper", "Lovelace", "CH9300762011623852957", "customer-5512"]
        {
            assert!(!text.contains(secret) && !everything.contains(secret), "{secret} in {text}");
        }
    }
}

#[tokio::test]
async fn profiles() {
    let example = Example::start("profiles").await;
    let tombstone = example.rig.topic("profiles").record().await;
    assert_eq!((key(&tombstone), tombstone.value.as_deref()), ("user-31", None));
    let put = "PUT /v1/profiles/user-31 HTTP/1.1\nHost: profiles.example.com\nX-Api-Key: demo-key\nContent-Type: application/json\n\n";
    agrees(&example.rig, &format!("{put}{{\"name\" : \"Ada\"}}")).await;
    let records = example.rig.topic("profiles").records().await;
    assert_eq!((key(&records[1]), records[1].bytes()), ("user-31", &b"{\"name\" : \"Ada\"}"[..]));
    assert_eq!(records[1].headers.len(), 1, "{:?}", records[1]);
    // A value that got lost is no deletion.
    let record = explanation(&example.rig.document, put.as_bytes());
    assert_eq!((record.decision, record.records[0].tombstone), ("produce", false));
    let other = example.rig.client.request(Method::GET, "/v1/profiles/user-31").body(full("")).unwrap();
    expect::problem(&example.rig.client.send(other).await, 405, "method-not-allowed");
}
