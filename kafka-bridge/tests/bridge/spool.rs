//! Records that are acknowledged once they are on disk: they are in Kafka in the end, in their order, whatever happens in
//! between.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::common::process::{Process, command};
use crate::common::{
    Answer, Bridge, Client, Cluster, EVENT, RECORDS, Stored, brokers, cluster, count, event, read, until,
};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use serde_json::{Value, json};

/// A directory for a spool, which goes with the test.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("kafka-bridge-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn record(topic: &str, key: &str, id: &str) -> String {
    format!(r#"{{"topic":"{topic}","key":"{key}","ack":"spooled","event":{}}}"#, event(id, 20))
}

async fn spool(client: &Client, records: &[String]) -> Answer {
    client.records(format!(r#"{{"records":[{}]}}"#, records.join(","))).await
}

/// Sends records and has each acknowledged.
async fn spooled(client: &Client, records: &[String]) {
    let answer = spool(client, records).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    for result in answer.json()["results"].as_array().unwrap() {
        assert_eq!(
            (&result["outcome"], &result["receipt"]["ack"]),
            (&"acknowledged".into(), &"spooled".into())
        );
        assert!(result["receipt"].get("offset").is_none(), "{result}");
    }
}

fn id(stored: &Stored) -> String {
    let event: Value = serde_json::from_slice(stored.value.as_deref().unwrap()).unwrap();
    event["id"].as_str().unwrap().to_owned()
}

/// The ids of a topic's records by key, in order.
fn by_key(cluster: &Cluster, topic: &str) -> HashMap<Vec<u8>, Vec<String>> {
    let mut keys: HashMap<Vec<u8>, Vec<String>> = HashMap::new();
    for stored in read(cluster, topic, count(cluster, topic)) {
        keys.entry(stored.key.clone().unwrap()).or_default().push(id(&stored));
    }
    keys
}

/// Has brokers take nothing, and say that they may later, until [`mend`]. A broker that is down cannot be brought up again
/// for sure: the mock cluster needs the same port, and ends the process if somebody else has it by then.
fn disturb(cluster: &Cluster) {
    cluster.request_errors(
        RDKafkaApiKey::Produce,
        &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS; 10_000],
    );
}

fn mend(cluster: &Cluster) {
    cluster.clear_request_errors(RDKafkaApiKey::Produce);
}

#[tokio::test]
async fn an_event_is_spooled_and_then_in_kafka_as_it_would_have_been() {
    let (cluster, directory) = (cluster(), Directory::new("plain"));
    let bridge = Bridge::ready(&cluster, &["--spool-dir", directory.path()]).await;
    let headers = [("content-type", crate::common::EVENT)];
    let answer = bridge.client.send("POST", "/v1/topics/t/events?ack=spooled", &headers, event("e", 5)).await;
    assert_eq!(
        (answer.status.as_u16(), answer.json()),
        (202, json!({"id": "e", "topic": "t", "ack": "spooled"}))
    );
    let full = format!(
        r#"{{"topic":"u","key":{{"base64":"/w=="}},"headers":[["a","1"],["a",{{"base64":"gA=="}}]],"partition":2,
            "timestamp":1795353386123,"mode":"raw","tombstone":true,"ack":"spooled","event":{}}}"#,
        r#"{"specversion":"1.0","id":"f","source":"/s","type":"t"}"#
    );
    spooled(&bridge.client, &[full]).await;
    until(async || bridge.client.metric("kafka_bridge_spool_drained_total").await == 2).await;
    let stored = read(&cluster, "t", 1).remove(0);
    assert_eq!((stored.value.as_deref(), stored.key), (Some(event("e", 5).as_bytes()), None));
    assert_eq!(stored.headers[0].0, "content-type");
    let stored = read(&cluster, "u", 1).remove(0);
    assert_eq!((stored.partition, stored.timestamp, stored.value), (2, 1_795_353_386_123, None));
    assert_eq!(stored.key.as_deref(), Some(&b"\xff"[..]));
    assert_eq!(stored.headers, [("a".to_owned(), b"1".to_vec()), ("a".to_owned(), b"\x80".to_vec())]);
    assert_eq!(bridge.client.metric(r#"kafka_bridge_records_total{outcome="spooled"}"#).await, 2);
    until(async || bridge.client.metric("kafka_bridge_spool_records").await == 0).await;
    assert!(bridge.stop().await.is_none());
}

#[tokio::test]
async fn while_kafka_is_down_records_are_spooled_and_then_drained_in_order_per_key() {
    let (cluster, directory) = (cluster(), Directory::new("outage"));
    let flags = ["--spool-dir", directory.path(), "--idempotency-entries", "1000"];
    let bridge = Bridge::ready(&cluster, &flags).await;
    spooled(&bridge.client, &[record("t", "0", "0-a")]).await;
    until(async || bridge.client.metric("kafka_bridge_spool_drained_total").await == 1).await;
    cluster.broker_down(1);
    bridge.client.until_ready(false, Duration::from_secs(10)).await;
    // What does not ask for the spool is not taken.
    let mut asked = 0;
    until(async || {
        asked += 1;
        bridge.client.event("t", event(&format!("x-{asked}"), 1)).await.status == 503
    })
    .await;
    for round in 0..20 {
        let records: Vec<_> =
            (0..5).map(|key| record("t", &key.to_string(), &format!("{key}-{round:02}"))).collect();
        spooled(&bridge.client, &records).await;
    }
    // One that comes again is answered as before, and is not there twice.
    let again = spool(&bridge.client, &[record("t", "0", "0-00")]).await.json();
    assert_eq!(again["results"][0]["replayed"], true, "{again}");
    // Who asks for more than the disk is not told that it is more.
    let stronger = format!(r#"{{"topic":"t","key":"0","event":{}}}"#, event("0-00", 20));
    assert_eq!(spool(&bridge.client, &[stronger]).await.json()["results"][0]["outcome"], "unknown");
    let waiting = bridge.client.metric("kafka_bridge_spool_records").await;
    assert_eq!(waiting, 100);
    let metrics = bridge.client.get("/metrics").await.body;
    let age = std::str::from_utf8(&metrics).unwrap().lines().find_map(|line| {
        line.strip_prefix(r#"kafka_bridge_spool_oldest_age_seconds{cluster="default"} "#)?.parse::<f64>().ok()
    });
    assert!(age.is_some_and(|age| age > 0.0), "{age:?}");
    assert!(bridge.stop().await.is_none());
    drop(cluster);

    // Kafka is there again, at first without taking anything, and more comes in the meantime.
    let cluster = brokers(1);
    disturb(&cluster);
    let bridge = Bridge::start(&cluster.bootstrap_servers(), &flags).await;
    for round in 20..30 {
        let records: Vec<_> =
            (0..5).map(|key| record("t", &key.to_string(), &format!("{key}-{round:02}"))).collect();
        spooled(&bridge.client, &records).await;
    }
    mend(&cluster);
    until(async || bridge.client.metric("kafka_bridge_spool_drained_total").await == 150).await;
    let keys = by_key(&cluster, "t");
    for key in 0..5 {
        let wanted: Vec<_> = (0..30).map(|round| format!("{key}-{round:02}")).collect();
        assert_eq!(keys[key.to_string().as_bytes()], wanted, "{key}");
    }
    assert!(bridge.stop().await.is_none());
}

#[tokio::test]
async fn what_is_left_at_a_stop_is_safe_and_no_failure() {
    let (cluster, directory) = (cluster(), Directory::new("stop"));
    let flags = ["--spool-dir", directory.path(), "--shutdown-timeout", "1s", "--idempotency-entries", "10"];
    disturb(&cluster);
    let bridge = Bridge::start(&cluster.bootstrap_servers(), &flags).await;
    spooled(&bridge.client, &[record("t", "k", "1"), record("t", "k", "2")]).await;
    assert!(bridge.stop().await.is_none());
    mend(&cluster);
    let bridge = Bridge::ready(&cluster, &flags).await;
    // It is remembered, although its bridge is gone.
    let again = spool(&bridge.client, &[record("t", "k", "1")]).await.json();
    assert_eq!(again["results"][0]["replayed"], true, "{again}");
    until(async || bridge.client.metric("kafka_bridge_spool_drained_total").await == 2).await;
    assert_eq!(by_key(&cluster, "t")[&b"k"[..]], ["1", "2"]);
    assert!(bridge.stop().await.is_none());
    // Nothing is done twice after a good end.
    let bridge = Bridge::ready(&cluster, &flags).await;
    spooled(&bridge.client, &[record("t", "k", "3")]).await;
    until(async || bridge.client.metric("kafka_bridge_spool_drained_total").await == 1).await;
    assert_eq!(by_key(&cluster, "t")[&b"k"[..]], ["1", "2", "3"]);
}

#[tokio::test]
async fn what_kafka_refuses_is_set_aside_and_can_be_tried_again() {
    let (cluster, directory) = (cluster(), Directory::new("refusal"));
    let flags = ["--spool-dir", directory.path()];
    let bridge = Bridge::ready(&cluster, &flags).await;
    spooled(&bridge.client, &[record("t", "k", "0")]).await;
    until(async || bridge.client.metric("kafka_bridge_spool_drained_total").await == 1).await;
    let denied = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    cluster.request_errors(RDKafkaApiKey::Produce, &[denied]);
    spooled(&bridge.client, &[record("t", "k", "1")]).await;
    until(async || bridge.client.metric("kafka_bridge_spool_refused_total").await == 1).await;
    // A batch that is too large is tried record by record, and none of them is refused for the others.
    let large = RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE;
    cluster.request_errors(RDKafkaApiKey::Produce, &[large]);
    spooled(&bridge.client, &[record("u", "k", "2"), record("u", "k", "3")]).await;
    until(async || bridge.client.metric("kafka_bridge_spool_drained_total").await == 3).await;
    assert_eq!(by_key(&cluster, "u")[&b"k"[..]], ["2", "3"]);
    // One that is too large by itself is.
    cluster.request_errors(RDKafkaApiKey::Produce, &[large, large]);
    spooled(&bridge.client, &[record("v", "k", "4")]).await;
    until(async || bridge.client.metric("kafka_bridge_spool_refused_total").await == 2).await;
    assert_eq!(bridge.client.metric("kafka_bridge_spool_refused_records").await, 2);
    until(async || bridge.client.metric("kafka_bridge_spool_records").await == 0).await;
    assert!(bridge.stop().await.is_none());

    let servers = cluster.bootstrap_servers();
    let flags = ["--bootstrap-servers", &servers, "--spool-dir", directory.path()];
    let list = Process::output(&[&flags[..], &["spool", "list"]].concat());
    let lines: Vec<Value> = list.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let topics: Vec<_> = lines.iter().map(|line| line["topic"].as_str().unwrap()).collect();
    assert_eq!(topics, ["t", "v"], "{list}");
    assert_eq!(lines[0]["value"], event("1", 20));
    assert!(lines[0]["reason"].as_str().unwrap().to_lowercase().contains("authorization"), "{list}");
    let retried = Process::output(&[&flags[..], &["spool", "retry"]].concat());
    assert!(retried.contains("2 records"), "{retried}");
    assert_eq!(Process::output(&[&flags[..], &["spool", "list"]].concat()), "");
    let bridge = Bridge::ready(&cluster, &flags[2..]).await;
    until(async || bridge.client.metric("kafka_bridge_spool_drained_total").await == 2).await;
    assert_eq!(by_key(&cluster, "t")[&b"k"[..]], ["0", "1"]);
    assert_eq!(by_key(&cluster, "v")[&b"k"[..]], ["4"]);
    assert_eq!(bridge.client.metric("kafka_bridge_spool_refused_records").await, 0);

    // Or it is given up.
    cluster.request_errors(RDKafkaApiKey::Produce, &[denied]);
    spooled(&bridge.client, &[record("t", "k", "5")]).await;
    until(async || bridge.client.metric("kafka_bridge_spool_refused_records").await == 1).await;
    until(async || bridge.client.metric("kafka_bridge_spool_records").await == 0).await;
    assert!(bridge.stop().await.is_none());
    let dropped = Process::output(&[&flags[..], &["spool", "drop"]].concat());
    assert_eq!(dropped, "cluster default: 1 records are deleted\n");
    assert_eq!(Process::output(&[&flags[..], &["spool", "list"]].concat()), "");
    let bridge = Bridge::ready(&cluster, &flags[2..]).await;
    assert_eq!(bridge.client.metric("kafka_bridge_spool_refused_records").await, 0);
    assert_eq!(by_key(&cluster, "t")[&b"k"[..]], ["0", "1"]);
    assert!(bridge.stop().await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_under_load_it_loses_nothing_that_was_acknowledged() {
    let (cluster, directory) = (cluster(), Directory::new("kill"));
    let servers = cluster.bootstrap_servers();
    let flags = ["--bootstrap-servers", &servers, "--spool-dir", directory.path()];
    let mut acknowledged = Vec::new();
    for round in 0..3 {
        let mut process = Process::start(&flags);
        process.client.until_ready(true, Duration::from_secs(10)).await;
        if round == 1 {
            // Nothing is known to be drained in this one.
            cluster.broker_round_trip_time(1, Duration::from_secs(60)).unwrap();
        }
        let ended = Arc::new(AtomicBool::new(false));
        let callers: Vec<_> = (0..8)
            .map(|caller| {
                let (client, ended) = (process.client.clone(), Arc::clone(&ended));
                tokio::spawn(async move {
                    let mut acknowledged = Vec::new();
                    for number in 0.. {
                        if ended.load(Ordering::Relaxed) {
                            break;
                        }
                        let id = format!("{round}-{caller}-{number:06}");
                        let body = format!(r#"{{"records":[{}]}}"#, record("t", &caller.to_string(), &id));
                        let headers = [("content-type", RECORDS)];
                        match client.try_send("POST", "/v1/records", &headers, body).await {
                            Ok(answer) if answer.status == 202 => acknowledged.push(id),
                            Ok(answer) => panic!("{answer:?}"),
                            Err(_) => break,
                        }
                    }
                    acknowledged
                })
            })
            .collect();
        until(async || {
            process.client.metric(r#"kafka_bridge_records_total{outcome="spooled"}"#).await >= 300
        })
        .await;
        process.kill();
        ended.store(true, Ordering::Relaxed);
        for caller in callers {
            acknowledged.extend(caller.await.unwrap());
        }
        cluster.broker_round_trip_time(1, Duration::ZERO).unwrap();
    }
    assert!(acknowledged.len() >= 900 - 24, "{}", acknowledged.len());
    let process = Process::start(&flags);
    process.client.until_ready(true, Duration::from_secs(10)).await;
    until(async || process.client.metric("kafka_bridge_spool_records").await == 0).await;
    let keys = by_key(&cluster, "t");
    let mut arrived: HashMap<&str, usize> = HashMap::new();
    for ids in keys.values() {
        // After a crash some come once more; the first time each comes, it is in order.
        let mut firsts = Vec::new();
        for id in ids {
            let times = arrived.entry(id).or_default();
            *times += 1;
            if *times == 1 {
                firsts.push(id.as_str());
            }
        }
        assert!(firsts.is_sorted(), "{firsts:?}");
    }
    let lost: Vec<_> = acknowledged.iter().filter(|id| !arrived.contains_key(id.as_str())).collect();
    assert!(lost.is_empty(), "{} of {} lost: {lost:?}", lost.len(), acknowledged.len());
}

#[tokio::test]
async fn a_bridge_that_can_spool_is_ready_if_that_is_what_is_asked_of_it() {
    let (cluster, directory) = (cluster(), Directory::new("ready"));
    let flags = ["--spool-dir", directory.path(), "--ready-when", "spooling", "--spool-max-bytes", "1048576"];
    let flags = [&flags[..], &["--spool-segment-bytes", "65536", "--max-record-bytes", "200000"]].concat();
    cluster.broker_down(1);
    // It has not met Kafka yet.
    let bridge = Bridge::start(&cluster.bootstrap_servers(), &flags).await;
    let answer = bridge.client.get("/readyz").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    assert!(text.starts_with("ready; ") && text.ends_with(", and records are spooled\n"), "{text}");
    assert_eq!(bridge.client.metric("kafka_bridge_ready").await, 1);
    assert_eq!(bridge.client.metric(r#"kafka_bridge_cluster_ready{cluster="default"}"#).await, 0);
    // Until the spool has no room.
    let mut taken = 0;
    loop {
        let record = format!(r#"{{"topic":"t","key":"k","ack":"spooled","event":{}}}"#, event("x", 100_000));
        match spool(&bridge.client, &[record]).await.status.as_u16() {
            202 => taken += 1,
            503 => break,
            other => panic!("{other}"),
        }
    }
    assert!(taken >= 8, "{taken}");
    bridge.client.get("/readyz").await.assert_problem(503, "unavailable");
    assert!(bridge.stop().await.is_none());
}

#[tokio::test]
async fn a_cluster_may_bound_its_own_spool() {
    let (home, eu, directory) = (cluster(), cluster(), Directory::new("own-bounds"));
    let flags =
        ["--spool-dir", directory.path(), "--spool-segment-bytes", "65536", "--max-record-bytes", "200000"];
    let table = format!(
        "[clusters.eu]\nbootstrap_servers = \"{}\"\nspool_max_bytes = 1048576",
        eu.bootstrap_servers()
    );
    let bridge = Bridge::start_with_clusters(&home.bootstrap_servers(), &flags, &table).await;
    for (cluster, limit) in [("default", 1 << 30), ("eu", 1 << 20)] {
        let name = format!(r#"kafka_bridge_spool_limit_bytes{{cluster="{cluster}"}}"#);
        assert_eq!(bridge.client.metric(&name).await, limit, "{cluster}");
    }
    assert!(bridge.stop().await.is_none());
}

#[tokio::test]
async fn a_directory_that_another_bridge_has_is_refused() {
    let (cluster, directory) = (cluster(), Directory::new("taken"));
    let servers = cluster.bootstrap_servers();
    let flags = ["--bootstrap-servers", &servers, "--spool-dir", directory.path(), "--listen", "127.0.0.1:0"];
    let first = Process::start(&flags);
    first.client.until_ready(true, Duration::from_secs(10)).await;
    let output = command(&flags).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("another kafka-bridge has it"), "{text}");
    drop(first);
}

/// A disk of a few MiB, in a mount namespace of the bridge's own.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_answered_503_and_loses_nothing() {
    let (cluster, directory) = (cluster(), Directory::new("full"));
    std::fs::create_dir_all(&directory.0).unwrap();
    let servers = cluster.bootstrap_servers();
    disturb(&cluster);
    let flags = [
        "--bootstrap-servers",
        &servers,
        "--spool-dir",
        directory.path(),
        "--spool-segment-bytes",
        "262144",
        "--max-record-bytes",
        "262144",
    ];
    let mut process = Process::start_on_disk(&flags, directory.path(), "3m");
    let (mut acknowledged, mut full) = (Vec::new(), 0);
    for number in 0..200 {
        let id = format!("{number:03}");
        let record = format!(r#"{{"topic":"t","key":"k","ack":"spooled","event":{}}}"#, event(&id, 50_000));
        let answer = spool(&process.client, &[record]).await;
        match answer.status.as_u16() {
            202 => acknowledged.push(id),
            503 => full += 1,
            _ => panic!("{answer:?}"),
        }
    }
    assert!(acknowledged.len() > 40 && full > 100, "{} and {full}", acknowledged.len());
    // A small one may still fit, and what does not is not there.
    mend(&cluster);
    process.client.until_ready(true, Duration::from_secs(20)).await;
    until(async || process.client.metric("kafka_bridge_spool_records").await == 0).await;
    let last = format!(r#"{{"topic":"t","key":"k","ack":"spooled","event":{}}}"#, event("last", 50_000));
    until(async || spool(&process.client, std::slice::from_ref(&last)).await.status == 202).await;
    acknowledged.push("last".to_owned());
    until(async || count(&cluster, "t") >= acknowledged.len()).await;
    assert_eq!(by_key(&cluster, "t")[&b"k"[..]], acknowledged);
    process.signal("-TERM");
    assert_eq!(process.ended(Duration::from_secs(15)).await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_spool_keeps_all_from_being_drained_until_it_is_salvaged() {
    let (cluster, directory) = (cluster(), Directory::new("salvage"));
    for topic in ["t", "u"] {
        cluster.create_topic(topic, 1, 1).unwrap();
    }
    let (config, spools) = (Directory::new("salvage-config"), directory.path());
    std::fs::create_dir_all(&config.0).unwrap();
    let (file, servers) = (config.0.join("bridge.toml"), cluster.bootstrap_servers());
    let settings = format!(
        "bootstrap_servers = \"{servers}\"\nspool_dir = \"{spools}\"\nshutdown_timeout = \"1s\"\n\
         [clusters.other]\nbootstrap_servers = \"{servers}\"\n"
    );
    std::fs::write(&file, settings).unwrap();
    let flags = ["--config", file.to_str().unwrap()];
    let with = |further: &[&str]| command(&[&flags[..], further].concat()).output().unwrap();

    disturb(&cluster);
    let mut process = Process::start(&flags);
    spooled(&process.client, &[record("t", "k", "1")]).await;
    for id in ["2", "3", "4"] {
        let record = record("u", "k", id).replacen('{', r#"{"cluster":"other","#, 1);
        spooled(&process.client, &[record]).await;
    }
    process.signal("-TERM");
    assert_eq!(process.ended(Duration::from_secs(15)).await.code(), Some(0));
    mend(&cluster);
    let output = with(&["spool", "check"]);
    assert!(output.status.success(), "{output:?}");
    let segment = directory.0.join("other").join(format!("{:020}.segment", 1));
    let mut bytes = std::fs::read(&segment).unwrap();
    let at = bytes.windows(8).position(|window| window == br#""id":"3""#).unwrap();
    bytes[at] ^= 1;
    std::fs::write(&segment, &bytes).unwrap();

    let output = with(&["--listen", "127.0.0.1:0"]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("is damaged at byte") && text.contains(segment.to_str().unwrap()), "{text}");
    assert_eq!((count(&cluster, "t"), count(&cluster, "u")), (0, 0));
    let output = with(&["spool", "check"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("records 1 to 1 before it, 1 whole ones after it"), "{text}");
    let text = Process::output(&[&flags[..], &["spool", "salvage"]].concat());
    assert!(text.contains("cluster default: nothing is wrong with its spool\n"), "{text}");
    assert!(text.contains("cluster other: 2 records are saved"), "{text}");
    assert!(text.contains("record 2 is missing; what was there is in "), "{text}");
    assert!(with(&["spool", "check"]).status.success());

    let process = Process::start(&flags);
    until(async || count(&cluster, "t") == 1 && count(&cluster, "u") == 2).await;
    assert_eq!(by_key(&cluster, "u")[&b"k"[..]], ["2", "4"]);
    drop(process);
    for (path, wanted) in
        [("/nowhere", "there is no such directory"), (config.path(), "there is no spool in it")]
    {
        let output =
            command(&[&flags[..], &["--spool-dir", path, "spool", "check"]].concat()).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(1) && text.contains(wanted), "{text}");
    }
}

/// What a copy of the event is answered that asks for it to be in Kafka.
async fn copy(client: &Client, id: &str) -> Answer {
    let headers = [("content-type", crate::common::EVENT)];
    client.send("POST", "/v1/topics/t/events?ack=all", &headers, event(id, 5)).await
}

/// Checks that an answer says that Kafka has the event, and where.
fn assert_in_kafka(answer: &Answer, cluster: &Cluster, id: &str) {
    let json = answer.json();
    assert_eq!(
        (answer.status.as_u16(), answer.header("idempotency-replayed")),
        (202, Some("true")),
        "{json}"
    );
    assert_eq!((&json["id"], &json["ack"]), (&id.into(), &"all".into()));
    let stored = read(cluster, "t", count(cluster, "t"));
    let place = |stored: &&Stored| {
        (json["partition"].as_i64(), json["offset"].as_i64())
            == (Some(stored.partition.into()), Some(stored.offset))
    };
    let stored = stored.iter().find(place).unwrap_or_else(|| panic!("{json}: {stored:?}"));
    assert_eq!(self::id(stored), id);
}

#[tokio::test]
async fn a_copy_that_asks_for_kafka_is_told_once_kafka_has_what_was_spooled() {
    let (cluster, directory) = (cluster(), Directory::new("copy"));
    let servers = cluster.bootstrap_servers();
    let flags =
        ["--bootstrap-servers", &servers, "--spool-dir", directory.path(), "--delivery-timeout", "2s"];
    let mut bridge = Process::start(&flags);
    bridge.client.until_ready(true, Duration::from_secs(10)).await;
    let headers = [("content-type", crate::common::EVENT)];
    let spool = async |client: &Client, id: &str| {
        client.send("POST", "/v1/topics/t/events?ack=spooled", &headers, event(id, 5)).await
    };
    disturb(&cluster);
    assert_eq!(spool(&bridge.client, "1").await.json()["ack"], "spooled");
    // It is not, and nobody knows when it will be.
    copy(&bridge.client, "1").await.assert_problem(504, "outcome-unknown");
    mend(&cluster);
    let client = bridge.client.clone();
    until(async || copy(&client, "1").await.status == 202).await;
    assert_in_kafka(&copy(&bridge.client, "1").await, &cluster, "1");
    // Who wants less is told as much.
    assert_in_kafka(&spool(&bridge.client, "1").await, &cluster, "1");
    assert_eq!(count(&cluster, "t"), 1);

    // A bridge that was killed knows the one, and drains the other.
    disturb(&cluster);
    assert_eq!(spool(&bridge.client, "2").await.json()["ack"], "spooled");
    bridge.kill();
    let bridge = Process::start(&flags);
    assert_in_kafka(&copy(&bridge.client, "1").await, &cluster, "1");
    copy(&bridge.client, "2").await.assert_problem(504, "outcome-unknown");
    mend(&cluster);
    until(async || copy(&bridge.client, "2").await.status == 202).await;
    assert_in_kafka(&copy(&bridge.client, "2").await, &cluster, "2");
}

/// What the disk does not take may be tried again soon, however long Kafka has been away.
#[tokio::test]
async fn a_full_spool_says_nothing_of_when_kafka_is_tried_again() {
    let (cluster, directory) = (cluster(), Directory::new("retry-after"));
    let flags = ["--spool-dir", directory.path(), "--breaker-stall", "300ms", "--delivery-timeout", "1s"];
    let bounds =
        ["--spool-max-bytes", "1048576", "--spool-segment-bytes", "65536", "--max-record-bytes", "200000"];
    let bridge = Bridge::ready(&cluster, &[&flags[..], &bounds].concat()).await;
    assert_eq!(bridge.client.event("t", event("first", 10)).await.status, 202);
    disturb(&cluster);
    let spooled = async |number: usize| {
        let headers = [("content-type", EVENT)];
        let body = event(&format!("s{number}"), 100_000);
        bridge.client.send("POST", "/v1/topics/t/events?ack=spooled", &headers, body).await
    };
    let mut number = 0;
    while spooled(number).await.status == 202 {
        number += 1;
    }
    // Kafka is tried after longer and longer pauses.
    let mut attempt = 0;
    until(async || {
        attempt += 1;
        let answer = bridge.client.event("t", event(&format!("a{attempt}"), 10)).await;
        answer.header("retry-after").is_some_and(|seconds| seconds.parse::<u32>().unwrap() >= 2)
    })
    .await;
    let answer = spooled(number + 1).await;
    assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (503, Some("1")), "{answer:?}");
}
