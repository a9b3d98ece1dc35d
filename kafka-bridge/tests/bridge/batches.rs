//! How records come together in batches: who is alone does not wait for company, and who is not shares.

use std::time::{Duration, Instant};

use crate::common::{Bridge, Client, cluster, event};

/// How many records have been sent to brokers, and in how many batches, once there are as many as this.
async fn sent(client: &Client, records: u64) -> (u64, u64) {
    let started = Instant::now();
    loop {
        let sent = client.metric("kafka_bridge_producer_records_sent").await;
        if sent >= records {
            return (sent, client.metric("kafka_bridge_producer_batches_sent").await);
        }
        assert!(started.elapsed() < Duration::from_secs(10), "{sent} of {records}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_alone_does_not_wait_for_others() {
    let cluster = cluster();
    cluster.create_topic("t", 4, 1).unwrap();
    let bridge = Bridge::ready(&cluster, &[]).await;
    let mut fastest = Duration::MAX;
    for number in 0..30 {
        let started = Instant::now();
        assert_eq!(bridge.client.event("t", event(&number.to_string(), 100)).await.status, 202);
        fastest = fastest.min(started.elapsed());
    }
    // The fastest of thirty is not slow because of what else the machine does.
    assert!(fastest < Duration::from_millis(5), "{fastest:?}");
    assert_eq!(sent(&bridge.client, 30).await, (30, 30));
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_come_while_others_are_under_way_share_batches() {
    const RECORDS: u64 = 400;
    let cluster = cluster();
    cluster.create_topic("t", 4, 1).unwrap();
    let bridge = Bridge::ready(&cluster, &[]).await;
    assert_eq!(bridge.client.event("t", event("first", 100)).await.status, 202);
    cluster.broker_round_trip_time(1, Duration::from_millis(50)).unwrap();
    let calls: Vec<_> = (0..RECORDS)
        .map(|number| {
            let client = bridge.client.clone();
            tokio::spawn(async move { client.event("t", event(&number.to_string(), 100)).await.status })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap(), 202);
    }
    let (records, batches) = sent(&bridge.client, RECORDS + 1).await;
    assert!(batches * 4 < records, "{records} records in {batches} batches");
}
