//! How far a record gets before it is acknowledged: what is asked for, and what is told.

use crate::common::{Bridge, EVENT, cluster, event, read};

const PATH: &str = "/v1/topics/t/events";

#[tokio::test]
async fn what_the_bridge_cannot_do_is_refused_and_nothing_is_written() {
    let cluster = cluster();
    cluster.create_topic("t", 1, 1).unwrap();
    let bridge = Bridge::ready(&cluster, &[]).await;
    let json = &[("content-type", EVENT)];
    for (query, status, kind) in [
        ("?ack=spooled", 502, "refused"),
        ("?ack=most", 400, "bad-request"),
        ("?ack=", 400, "bad-request"),
        ("?ack=none&ack=all", 400, "bad-request"),
    ] {
        let answer = bridge.client.send("POST", &format!("{PATH}{query}"), json, event("1", 1)).await;
        answer.assert_problem(status, kind);
    }
    for (rest, status, outcome) in [
        (r#","ack":"spooled""#, 502, "refused"),
        (r#","cluster":"elsewhere""#, 502, "refused"),
        (r#","cluster":"no name""#, 400, "invalid"),
    ] {
        let record = format!(r#"{{"records":[{{"topic":"t"{rest},"event":{}}}]}}"#, event("1", 1));
        let answer = bridge.client.records(record).await;
        assert_eq!(answer.status, status, "{rest}: {answer:?}");
        assert_eq!(answer.json()["results"][0]["outcome"], outcome, "{rest}");
    }
    // The first that is written.
    let answer = bridge.client.send("POST", &format!("{PATH}?ack=all&x=1"), json, event("2", 1)).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["offset"]), (202, &0.into()), "{answer:?}");
    assert_eq!(read(&cluster, "t", 1).len(), 1);
}
