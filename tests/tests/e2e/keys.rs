//! Records with the same key share a partition with those of every other producer.

use std::collections::BTreeMap;

use wicketgate_tests::http_client::full;
use wicketgate_tests::java::produce_keys_with_java_client;
use wicketgate_tests::topic::{Record, Topic};

use crate::expect;
use crate::lane::Lane;

fn partitions(records: &[Record]) -> BTreeMap<String, i32> {
    records
        .iter()
        .map(|record| (String::from_utf8(record.key.clone().expect("a key")).unwrap(), record.partition))
        .collect()
}

#[tokio::test]
async fn a_key_has_the_partition_that_javas_producer_gives_it() {
    let lane = Lane::take("keys").await;
    let client = lane.gateway.http1();
    // As in a path, and as a key.
    let mut ids: Vec<(String, String)> =
        (0..40).map(|n| (format!("order-{n}"), format!("order-{n}"))).collect();
    ids.extend(
        [("gr%C3%BCn", "grün"), ("a%20b%3Bc", "a b;c"), ("%F0%9F%9A%80", "🚀"), ("%31", "1")]
            .map(|(path, key)| (path.to_owned(), key.to_owned())),
    );
    for (path, _) in &ids {
        let answer = client.send(lane.post(&client, path).body(full("x")).unwrap()).await;
        expect::accepted(&answer);
    }
    let keys: Vec<String> = ids.into_iter().map(|(_, key)| key).collect();
    let java = Topic::create(lane.topic.kafka(), "keys-of-java", 7).await;
    produce_keys_with_java_client(&java, &keys).await;

    let ours = lane.topic.records().await;
    assert_eq!(ours.len(), keys.len());
    let wanted = partitions(&java.records().await);
    assert_eq!(wanted.len(), keys.len());
    assert!(wanted.values().collect::<std::collections::BTreeSet<_>>().len() == 7, "{wanted:?}");
    assert_eq!(partitions(&ours), wanted);
}
