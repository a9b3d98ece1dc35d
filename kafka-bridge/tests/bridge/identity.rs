//! What a gateway says of records besides their events, to tell them apart.

use serde_json::{Value, json};

use crate::common::{Bridge, Cluster, cluster, count};

async fn remembering(cluster: &Cluster) -> Bridge {
    Bridge::ready(cluster, &["--idempotency-entries", "1000"]).await
}

fn record(topic: &str, id: &str, data: u32, identity: &Value) -> Value {
    json!({"topic": topic, "identity": identity, "event": {"specversion": "1.0", "id": id, "source": "/gw",
        "type": "t", "authtype": "api_key", "authid": "alice", "data": data}})
}

/// What became of each record, `replayed` for what had been written before.
async fn outcomes(bridge: &Bridge, records: &[Value]) -> Vec<String> {
    let answer = bridge.client.records(json!({"records": records}).to_string()).await;
    let outcome = |result: &Value| match result.get("replayed") {
        Some(_) => "replayed".to_owned(),
        None => result["outcome"].as_str().unwrap().to_owned(),
    };
    answer.json()["results"].as_array().unwrap_or_else(|| panic!("{answer:?}")).iter().map(outcome).collect()
}

#[tokio::test]
async fn what_a_request_says_besides_its_event_counts_unless_the_id_alone_does() {
    let cluster = cluster();
    let bridge = remembering(&cluster).await;
    let one = async |id: &str, data: u32, identity: Value| {
        let [outcome] = outcomes(&bridge, &[record("t", id, data, &identity)]).await.try_into().unwrap();
        outcome
    };
    for (identity, outcome) in [
        (json!({"request": "a"}), "acknowledged"),
        (json!({"request": "a"}), "replayed"),
        (json!({"request": "b"}), "conflict"),
        (json!({}), "conflict"),
    ] {
        assert_eq!(one("1", 1, identity.clone()).await, outcome, "{identity}");
    }
    for (data, outcome) in [(1, "acknowledged"), (2, "replayed"), (1, "replayed")] {
        assert_eq!(one("2", data, json!({"id_only": true})).await, outcome, "{data}");
    }
    assert_eq!(count(&cluster, "t"), 2);
}

#[tokio::test]
async fn the_key_of_a_batch_is_good_for_one_batch_and_its_ids_are_nobody_else_s() {
    let cluster = cluster();
    let bridge = remembering(&cluster).await;
    let batch = |events: u32, payload: &str, topic: &str| -> Vec<Value> {
        let identity = json!({"batch": "k", "request": payload});
        (0..events).map(|index| record(topic, &format!("k-{index}"), index, &identity)).collect()
    };
    assert_eq!(outcomes(&bridge, &batch(2, "p", "t")).await, ["acknowledged"; 2]);
    assert_eq!(outcomes(&bridge, &batch(2, "p", "t")).await, ["replayed"; 2]);
    // One that somebody gave.
    assert_eq!(outcomes(&bridge, &[record("t", "k-1", 1, &json!({}))]).await, ["acknowledged"]);
    assert_eq!(count(&cluster, "t"), 3);
    // One element more, alone for its topic or not, in a call with others or not.
    assert_eq!(outcomes(&bridge, &batch(3, "q", "t")).await, ["conflict"; 3]);
    assert_eq!(outcomes(&bridge, &batch(1, "q", "u")).await, ["conflict"]);
    let mixed = [batch(1, "q", "t"), vec![record("t", "other", 1, &json!({}))]].concat();
    assert_eq!(outcomes(&bridge, &mixed).await, ["conflict", "acknowledged"]);
    assert_eq!((count(&cluster, "t"), count(&cluster, "u")), (4, 0));
}

/// What one way to authenticate calls somebody, another may call somebody else.
#[tokio::test]
async fn a_caller_is_who_it_is_by_how_that_was_found_out() {
    let cluster = cluster();
    let bridge = remembering(&cluster).await;
    for auth_type in ["api_key", "jwt"] {
        let mut record = record("t", "1", 1, &json!({}));
        record["event"]["authtype"] = auth_type.into();
        assert_eq!(outcomes(&bridge, &[record]).await, ["acknowledged"], "{auth_type}");
    }
}
