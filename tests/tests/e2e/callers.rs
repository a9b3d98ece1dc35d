//! Many callers at once, and who they are.

use std::collections::HashMap;

use http::HeaderValue;
use tokio::task::JoinSet;
use wicketgate_tests::gateway::{KEY, OTHER_KEY};
use wicketgate_tests::http_client::full;

use crate::expect;
use crate::lane::Lane;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_of_many_gets_the_receipt_of_its_own_record() {
    const CALLERS: usize = 64;
    const REQUESTS: usize = 8;
    let lane = Lane::take("callers").await;
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        // Half of them share connections by HTTP/2's streams, all of them have a pool of their own.
        let client = if caller % 2 == 0 { lane.gateway.http1() } else { lane.gateway.http2() };
        let path = lane.path(&format!("caller-{caller}"));
        callers.spawn(async move {
            let mut answers = Vec::new();
            for request in 0..REQUESTS {
                // Bodies of very different sizes finish in another order than they began.
                let body =
                    format!("{caller}/{request} ") + &"x".repeat((caller * 131 + request * 977) % 20_000);
                let built = client
                    .request(http::Method::POST, &path)
                    .header("x-api-key", KEY)
                    .header("content-type", "text/plain")
                    .header("x-device", format!("{caller}/{request}"));
                answers.push((
                    caller,
                    request,
                    body.clone(),
                    client.send(built.body(full(body)).unwrap()).await,
                ));
            }
            answers
        });
    }
    let answers: Vec<_> = callers.join_all().await.into_iter().flatten().collect();
    let records = lane.topic.records().await;
    assert_eq!((answers.len(), records.len()), (CALLERS * REQUESTS, CALLERS * REQUESTS));
    let by_place: HashMap<_, _> =
        records.iter().map(|record| ((record.partition, record.offset), record)).collect();
    let mut last_of_caller = HashMap::new();
    for (caller, request, body, answer) in &answers {
        let receipt = expect::accepted(answer);
        let place = (
            i32::try_from(receipt["partition"].as_i64().unwrap()).unwrap(),
            receipt["offset"].as_i64().unwrap(),
        );
        let record = by_place[&place];
        expect::receipt_of(answer, &lane.topic, record);
        expect::envelope(record, &format!("caller-{caller}"));
        assert!(record.event()["data"] == body.as_str(), "another's body");
        assert_eq!(record.header("x-device"), [format!("{caller}/{request}").as_bytes()]);
        // A caller that waits for each answer has its records in order.
        assert!(
            last_of_caller
                .insert(*caller, place)
                .is_none_or(|(partition, offset)| partition == place.0 && offset < place.1)
        );
    }
}

#[tokio::test]
async fn every_worker_answers() {
    const CONNECTIONS: usize = 48;
    let lane = Lane::take("workers").await;
    let before = lane.gateway.envoy.connections_by_worker().await;
    for _ in 0..CONNECTIONS {
        // A connection of its own, which the kernel gives to one worker or the other.
        let client = lane.gateway.http1();
        expect::accepted(&client.send(lane.post(&client, "w").body(full("x")).unwrap()).await);
    }
    assert_eq!(lane.topic.records().await.len(), CONNECTIONS);
    let after = lane.gateway.envoy.connections_by_worker().await;
    assert!(before.iter().zip(&after).all(|(before, after)| after > before), "{before:?} -> {after:?}");
}

#[tokio::test]
async fn headers_are_forwarded_as_bytes_and_in_order() {
    let lane = Lane::take("headers").await;
    let odd: [&[u8]; 4] = ["größe 🚀".as_bytes(), b"latin1: gr\xf6\xdfe", b"\xff\xfe\x80", b"tab\there"];
    let mut answers = Vec::new();
    for client in [lane.gateway.http1(), lane.gateway.http2()] {
        let mut request = lane.post(&client, "h").header("X-Device", "first").header("x-unlisted", "no");
        for value in odd {
            request = request.header("x-raw", HeaderValue::from_bytes(value).unwrap());
        }
        answers.push(client.send(request.header("x-device", "second").body(full("x")).unwrap()).await);
    }
    let records = lane.topic.records().await;
    assert_eq!(records.len(), 2);
    for (answer, record) in answers.iter().zip(&records) {
        expect::receipt_of(answer, &lane.topic, record);
        assert_eq!(record.header("x-device"), [b"first".as_slice(), b"second"]);
        assert_eq!(record.header("x-raw"), odd);
        assert_eq!(record.headers.len(), 1 + 2 + odd.len(), "{:?}", record.headers);
        assert!(!String::from_utf8_lossy(record.bytes()).contains(KEY), "the caller's key is in the event");
    }
}

#[tokio::test]
async fn odd_bytes_in_headers_that_nobody_reads_do_no_harm() {
    let lane = Lane::take("odd-headers").await;
    let names =
        ["user-agent", "x-forwarded-for", "x-request-id", "traceparent", "cookie", "referer", "accept"];
    let mut wanted = 0;
    for client in [lane.gateway.http1(), lane.gateway.http2()] {
        for name in names {
            let value = HeaderValue::from_bytes(b"\xff\xc3\x28 \x80").unwrap();
            let request = lane.post(&client, "o").header(name, value).body(full("x")).unwrap();
            expect::accepted(&client.send(request).await);
            wanted += 1;
        }
    }
    assert_eq!(lane.topic.records().await.len(), wanted);
}

#[tokio::test]
async fn the_event_says_who_called() {
    let lane = Lane::take("consumers").await;
    let client = lane.gateway.http1();
    for key in [KEY, OTHER_KEY] {
        let request =
            client.request(http::Method::PUT, &lane.path("c?token=secret")).header("x-api-key", key);
        expect::accepted(&client.send(request.body(full("x")).unwrap()).await);
    }
    let [alice, bob] = lane.topic.records().await.try_into().unwrap();
    for (record, name) in [(&alice, "alice"), (&bob, "bob")] {
        let event = record.event();
        assert_eq!((&event["authid"], &event["wgmethod"]), (&name.into(), &"PUT".into()));
        assert_eq!((&event["wgroute"], &event["wgpath"]), (&"consumers".into(), &lane.path("c").into()));
    }
    assert_ne!(alice.event()["id"], bob.event()["id"]);
}
