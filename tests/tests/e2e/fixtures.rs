//! Things that people really send arrive unchanged, and Kafka's own client sees the same bytes.

use std::fs;

use serde_json::Value;
use wicketgate_tests::artefacts;
use wicketgate_tests::http_client::full;
use wicketgate_tests::java::{console_lines, read_with_java_client};

use crate::expect;
use crate::lane::Lane;

fn fixture(name: &str) -> Vec<u8> {
    fs::read(artefacts::root().join("tests/fixtures").join(name)).unwrap()
}

#[tokio::test]
async fn a_webhook_a_cloudevent_and_a_picture() {
    let lane = Lane::take("fixtures").await;
    let client = lane.gateway.http1();
    let (webhook, event, picture) =
        (fixture("github-push.json"), fixture("cloudevent.json"), fixture("picture.png"));

    let signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    let delivery = "72d3162e-cc78-11e3-81ab-4c9367dc0958";
    let request = lane
        .post(&client, "webhook")
        .header("user-agent", "GitHub-Hookshot/044aadd")
        .header("content-type", "application/json")
        .header("x-github-event", "push")
        .header("x-github-delivery", delivery)
        .header("x-hub-signature-256", signature);
    let mut answers = vec![client.send(request.body(full(webhook.clone())).unwrap()).await];
    for (id, media_type, body) in
        [("event", "application/cloudevents+json; charset=UTF-8", &event), ("picture", "image/png", &picture)]
    {
        let request = lane.post(&client, id).header("content-type", media_type).body(full(body.clone()));
        answers.push(client.send(request.unwrap()).await);
    }

    let records = lane.topic.records().await;
    assert_eq!(records.len(), 3);
    for ((record, answer), id) in records.iter().zip(&answers).zip(["webhook", "event", "picture"]) {
        expect::receipt_of(answer, &lane.topic, record);
        // An event that comes as one keeps what it says of itself.
        if id != "event" {
            expect::envelope(record, id);
        }
    }
    assert_eq!(expect::json_data(&records[0]), webhook);
    assert_eq!(records[0].header("x-github-event"), [b"push"]);
    assert_eq!(records[0].header("x-github-delivery"), [delivery.as_bytes()]);
    assert_eq!(records[0].header("x-hub-signature-256"), [signature.as_bytes()]);
    let (sent, kept): (Value, Value) = (serde_json::from_slice(&event).unwrap(), records[1].event());
    for (attribute, value) in sent.as_object().unwrap() {
        assert_eq!(&kept[attribute], value, "{attribute} of {kept}");
    }
    assert_eq!(kept["authid"], "alice");
    assert_eq!(expect::binary_data(&records[2]), picture);

    let java = read_with_java_client(&lane.topic, records.len()).await;
    assert_eq!(String::from_utf8_lossy(&java), String::from_utf8_lossy(&console_lines(&records)));
}
