//! CloudEvents over HTTP in binary and batched mode (CloudEvents HTTP Protocol Binding 1.0.2).

use crate::common::{Answer, Bridge, cluster, count, event, read};

const PATH: &str = "/v1/topics/t/events";
const BATCH: &str = "application/cloudevents-batch+json";
const LEAST: [(&str, &str); 4] =
    [("ce-specversion", "1.0"), ("ce-id", "e-1"), ("ce-source", "/s"), ("ce-type", "t")];

async fn binary(bridge: &Bridge, more: &[(&str, &str)], body: &'static [u8]) -> Answer {
    let headers: Vec<_> = LEAST.iter().chain(more).copied().collect();
    bridge.client.send("POST", PATH, &headers, body).await
}

async fn batch(bridge: &Bridge, body: String) -> Answer {
    bridge.client.send("POST", PATH, &[("content-type", BATCH)], body).await
}

#[tokio::test]
async fn a_binary_event_becomes_a_binary_record() {
    let cluster = cluster();
    cluster.create_topic("t", 1, 1).unwrap();
    let bridge = Bridge::ready(&cluster, &[]).await;
    let least = [("ce_specversion", "1.0"), ("ce_id", "e-1"), ("ce_source", "/s"), ("ce_type", "t")];
    for (sent, body, headers, key) in [
        (
            &[
                ("Content-Type", "application/json; charset=utf-8"),
                ("ce-subject", "gr%C3%BCn%20%25"),
                ("ce-n", "7"),
            ][..],
            &b" {\"n\": 1} "[..],
            &[("ce_subject", "grün %"), ("ce_n", "7"), ("content-type", "application/json; charset=utf-8")][..],
            None,
        ),
        (
            &[
                ("content-type", "application/octet-stream"),
                ("CE-PartitionKey", "\"a \\\"key\\\"\""),
                ("x-own", "1"),
            ],
            b"\xff\x00",
            &[("ce_partitionkey", "a \"key\""), ("content-type", "application/octet-stream")],
            Some("a \"key\""),
        ),
        // Neither data nor its type: an empty value, and not a null one.
        (&[], b"", &[], None),
    ] {
        let answer = binary(&bridge, sent, body).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        assert_eq!(answer.json()["id"], "e-1");
        let written = count(&cluster, "t");
        let stored = read(&cluster, "t", written).pop().unwrap();
        assert_eq!(answer.json()["offset"], stored.offset);
        assert_eq!(stored.value.as_deref(), Some(body));
        assert_eq!(stored.key, key.map(|key| key.as_bytes().to_vec()));
        let headers: Vec<_> = least
            .iter()
            .chain(headers)
            .map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()))
            .collect();
        assert_eq!(stored.headers, headers);
    }
}

#[tokio::test]
async fn what_is_no_event_is_refused() {
    let cluster = cluster();
    let bridge = Bridge::ready(&cluster, &["--max-records", "2"]).await;
    for (more, status, kind, detail) in [
        (&[("ce-id", "e-2")][..], 400, "bad-request", "ce-id: wanted it at most once"),
        (&[("ce-time", "noon")], 400, "bad-request", "ce-time: "),
        (&[("ce-x", "%")], 400, "bad-request", "ce-x: "),
        (&[("content-type", "json")], 400, "bad-request", "content-type: "),
        // The name of a format of events is never the type of data.
        (&[("content-type", "application/cloudevents+avro")], 415, "unsupported-media-type", "avro"),
        (&[("content-type", "application/cloudevents-batch+xml")], 415, "unsupported-media-type", "xml"),
    ] {
        let problem = binary(&bridge, more, b"{}").await.assert_problem(status, kind);
        assert!(problem["detail"].as_str().unwrap().contains(detail), "{more:?}: {problem}");
    }
    let three = format!("[{0},{0},{0}]", event("1", 1));
    for (body, status, kind, detail) in [
        (event("1", 1), 400, "bad-request", "wanted a JSON array"),
        (format!("[{}", event("1", 1)), 400, "bad-request", "EOF"),
        (format!("[{}] []", event("1", 1)), 400, "bad-request", "trailing"),
        (String::new(), 400, "bad-request", "EOF"),
        (three, 413, "too-large", "at most 2"),
    ] {
        let problem = batch(&bridge, body).await.assert_problem(status, kind);
        assert!(problem["detail"].as_str().unwrap().contains(detail), "{problem}");
    }
    assert_eq!(count(&cluster, "t"), 0);
}

#[derive(serde::Deserialize)]
struct Case {
    why: String,
    taken: bool,
    event: String,
    headers: Option<Vec<(String, String)>>,
    body: String,
}

/// The gateway is held to the same.
#[tokio::test]
async fn every_mode_takes_the_events_that_the_gateway_takes_and_no_others() {
    let cluster = cluster();
    let bridge = Bridge::ready(&cluster, &[]).await;
    let cases: Vec<Case> =
        serde_json::from_str(include_str!("../../../envelope/events/both-ends.json")).unwrap();
    assert!(cases.iter().filter(|case| !case.taken).count() >= 32);
    for Case { why, taken, event, headers, body } in cases {
        let status = if taken { 202 } else { 400 };
        let answer = bridge.client.event("t", event.clone()).await;
        assert_eq!(answer.status, status, "structured, {why}: {answer:?}");
        let answer = batch(&bridge, format!("[{event}]")).await;
        assert!(answer.status == status, "batched, {why}: {answer:?}");
        if let Some(headers) = headers {
            let headers: Vec<_> =
                headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            // Without a version it is no event.
            let is_event = headers.iter().any(|(name, _)| *name == "ce-specversion");
            let answer = bridge.client.send("POST", PATH, &headers, body).await;
            assert_eq!(answer.status, if is_event { status } else { 415 }, "binary, {why}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn data_is_what_its_type_says_unless_that_is_not_to_be_checked() {
    let cluster = cluster();
    cluster.create_topic("t", 1, 1).unwrap();
    let bridge = Bridge::ready(&cluster, &[]).await;
    let headers = [&LEAST[..], &[("content-type", "application/json")]].concat();
    let send = async |query: &str| {
        bridge.client.send("POST", &format!("{PATH}{query}"), &headers, " {not JSON} ").await
    };
    let problem = send("").await.assert_problem(400, "bad-request");
    assert!(problem["detail"].as_str().unwrap().starts_with("content-type says JSON"), "{problem}");
    assert_eq!(send("?data=unchecked").await.status, 202);
    assert_eq!(read(&cluster, "t", 1)[0].value.as_deref(), Some(&b" {not JSON} "[..]));
    send("?data=any").await.assert_problem(400, "bad-request");
}

#[tokio::test]
async fn a_batch_has_a_result_for_each_event() {
    let cluster = cluster();
    cluster.create_topic("t", 1, 1).unwrap();
    let bridge = Bridge::ready(&cluster, &[]).await;
    let keyed = r#"{ "specversion":"1.0","id":"b","source":"s","type":"t","partitionkey":"k","data": 1.0 }"#;
    let answer = batch(&bridge, format!("[ {}, {keyed} ]", event("a", 5))).await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (202, Some("application/json")));
    let json = answer.json();
    let receipts: Vec<_> =
        json["results"].as_array().unwrap().iter().map(|result| &result["receipt"]).collect();
    assert_eq!((&receipts[0]["id"], &receipts[1]["id"]), (&"a".into(), &"b".into()));
    let stored = read(&cluster, "t", 2);
    assert_eq!(stored[0].value.as_deref(), Some(event("a", 5).as_bytes()));
    assert_eq!(
        (stored[1].value.as_deref(), stored[1].key.as_deref()),
        (Some(keyed.as_bytes()), Some(&b"k"[..]))
    );
    assert_eq!(receipts[1]["offset"], stored[1].offset);
    assert_eq!(stored[1].headers[0].1, b"application/cloudevents+json; charset=UTF-8");

    let answer = batch(&bridge, format!("[{}, {{}}, 7, {}]", event("c", 1), event("d", 1))).await;
    assert_eq!(answer.status, 207, "{answer:?}");
    let json = answer.json();
    let outcomes: Vec<_> = json["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|result| result["outcome"].as_str().unwrap())
        .collect();
    assert_eq!(outcomes, ["acknowledged", "invalid", "invalid", "acknowledged"]);
    assert!(json["results"][1]["detail"].as_str().unwrap().contains("specversion"), "{json}");
    assert_eq!(count(&cluster, "t"), 4);

    assert_eq!(batch(&bridge, "[{}]".to_owned()).await.status, 400);
    let empty = batch(&bridge, "[]".to_owned()).await;
    assert_eq!((empty.status.as_u16(), empty.json()), (202, serde_json::json!({"results": []})));
}
