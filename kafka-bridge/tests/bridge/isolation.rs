//! A broker takes a batch of records or refuses it as a whole. None of this may show: each record gets the answer that
//! it would have got alone.
//!
//! One test starts a real Apache Kafka: it needs `java`, and `scripts/fetch-kafka.sh` to have been run.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::{Answer, Bridge, EVENT, cluster, count, event, read, until};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

const TOO_LARGE: RDKafkaRespErr = RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE;
const ATTEMPTS: &str = "kafka_bridge_isolated_attempts_total";

/// Long enough for the records of a call to end up in one batch.
const LINGER: [&str; 2] = ["--librdkafka", "linger.ms=200"];

fn records(records: &[Value]) -> String {
    json!({ "records": records }).to_string()
}

/// A record for partition 0 of a topic, whose event has this id and about so many bytes.
fn record(topic: &str, id: &str, bytes: usize) -> Value {
    let event: Value = serde_json::from_str(&event(id, bytes)).unwrap();
    json!({ "topic": topic, "partition": 0, "event": event })
}

fn outcomes(answer: &Answer) -> Vec<String> {
    let json = answer.json();
    let results = json["results"].as_array().unwrap_or_else(|| panic!("{answer:?}"));
    results.iter().map(|result| result["outcome"].as_str().unwrap().to_owned()).collect()
}

async fn counted(bridge: &Bridge, outcome: &str) -> u64 {
    bridge.client.metric(&format!("kafka_bridge_records_total{{outcome=\"{outcome}\"}}")).await
}

#[tokio::test]
async fn a_refused_batch_is_produced_again_record_by_record() {
    let cluster = cluster();
    let bridge = Bridge::ready(&cluster, &LINGER).await;
    let raw = |id: &str, key: &str| {
        let event = json!({"specversion": "1.0", "id": id, "source": "urn:test", "type": "t"});
        json!({"topic": "t", "partition": 2, "mode": "raw", "key": key, "timestamp": 1_700_000_000_123_i64,
               "headers": [["x", "1"], ["x", ""]], "event": event})
    };
    let mut tombstone = raw("gone", "k1");
    tombstone["tombstone"] = true.into();
    let mut bare = record("t", "bare", 10);
    bare["partition"] = 2.into();
    for (error, attempts) in [
        (TOO_LARGE, 3),
        (RDKafkaRespErr::RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE, 6),
        (RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_RECORD, 9),
        (RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP, 12),
    ] {
        cluster.request_errors(RDKafkaApiKey::Produce, &[error]);
        let answer =
            bridge.client.records(records(&[raw("empty", ""), tombstone.clone(), bare.clone()])).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        assert_eq!(bridge.client.metric(ATTEMPTS).await, attempts);
        assert_eq!(counted(&bridge, "acknowledged").await, attempts, "each once");
    }
    // The record alone decides.
    cluster.request_errors(RDKafkaApiKey::Produce, &[TOO_LARGE, TOO_LARGE]);
    assert_eq!(bridge.client.event("t", event("large", 10)).await.status, 413);
    assert_eq!(bridge.client.metric(ATTEMPTS).await, 13);
    assert_eq!((counted(&bridge, "too_large").await, counted(&bridge, "acknowledged").await), (1, 12));
    let handed_over = "kafka_bridge_ack_latency_seconds_count";
    assert_eq!(bridge.client.metric(&format!("{handed_over}{{outcome=\"acknowledged\"}}")).await, 12);

    let stored = read(&cluster, "t", 12);
    for chunk in stored.chunks(3) {
        let [empty, gone, bare] = chunk else { panic!("{chunk:?}") };
        assert!(chunk.iter().all(|record| record.partition == 2), "{chunk:?}");
        assert_eq!((empty.key.as_deref(), empty.value.as_deref()), (Some(&b""[..]), Some(&b""[..])));
        assert_eq!((gone.key.as_deref(), gone.value.as_deref()), (Some(&b"k1"[..]), None));
        assert_eq!(bare.key, None);
        let headers = [("x".to_owned(), b"1".to_vec()), ("x".to_owned(), Vec::new())];
        assert!(empty.headers == headers && gone.headers == headers, "{chunk:?}");
        assert_eq!((empty.timestamp, gone.timestamp), (1_700_000_000_123, 1_700_000_000_123));
        assert_eq!(bare.headers.len(), 1, "{bare:?}");
    }
    assert!(bridge.stop().await.is_none());
}

/// Sends a record for topic `t` that is refused the first time, and leaves once it has been handed over.
async fn leave_a_refused_record(bridge: &Bridge, cluster: &crate::common::Cluster) {
    cluster.request_errors(RDKafkaApiKey::Produce, &[TOO_LARGE]);
    let handed_over = "kafka_bridge_record_values_bytes_total";
    let before = bridge.client.metric(handed_over).await;
    let body = event("left", 10);
    let head = format!(
        "POST /v1/topics/t/events HTTP/1.1\r\nhost: x\r\ncontent-type: {EVENT}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(bridge.client.address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let started = Instant::now();
    while bridge.client.metric(handed_over).await == before {
        assert!(started.elapsed() < Duration::from_secs(5), "the record is not handed over");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_stop_waits_for_what_is_produced_again() {
    let cluster = cluster();
    let bridge = Bridge::ready(&cluster, &[]).await;
    assert_eq!(bridge.client.event("t", event("first", 10)).await.status, 202);
    cluster.broker_round_trip_time(1, Duration::from_millis(300)).unwrap();
    leave_a_refused_record(&bridge, &cluster).await;
    assert_eq!(bridge.client.metric(ATTEMPTS).await, 0, "the first answer is still to come");
    assert!(bridge.stop().await.is_none());
    cluster.broker_round_trip_time(1, Duration::ZERO).unwrap();
    assert_eq!(count(&cluster, "t"), 2);
}

#[tokio::test]
async fn producing_again_keeps_nobody_waiting_for_longer() {
    let cluster = cluster();
    let bridge = Bridge::ready(&cluster, &["--delivery-timeout", "1500ms"]).await;
    assert_eq!(bridge.client.event("t", event("first", 10)).await.status, 202);
    // The first attempt is answered in time; the second, which has to find the topic, is not.
    cluster.broker_round_trip_time(1, Duration::from_millis(1_100)).unwrap();
    cluster.request_errors(RDKafkaApiKey::Produce, &[TOO_LARGE]);
    let started = Instant::now();
    bridge.client.event("t", event("1", 10)).await.assert_problem(504, "outcome-unknown");
    let took = started.elapsed();
    assert!((1_400..2_000).contains(&took.as_millis()), "{took:?}");
    assert_eq!(bridge.client.metric(ATTEMPTS).await, 1);
    assert_eq!(counted(&bridge, "unknown").await, 1);
    // Nobody waits any more, and it is settled all the same.
    let late = r#"kafka_bridge_late_records_total{outcome="acknowledged"}"#;
    until(async || bridge.client.metric(late).await == 1).await;
}

#[tokio::test]
async fn a_producer_of_records_alone_that_failed_for_good_is_replaced_alone() {
    let cluster = cluster();
    // The main producer asks first.
    cluster.request_errors(
        RDKafkaApiKey::InitProducerId,
        &[
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR,
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED,
        ],
    );
    let bridge = Bridge::ready(&cluster, &[]).await;
    let started = Instant::now();
    while bridge.client.metric("kafka_bridge_producer_rebuilds_total").await < 1 {
        assert!(started.elapsed() < Duration::from_secs(10), "it is not replaced");
        assert_eq!(bridge.client.get("/readyz").await.status, 200, "the main producer has not failed");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    cluster.request_errors(RDKafkaApiKey::Produce, &[TOO_LARGE]);
    assert_eq!(bridge.client.event("t", event("1", 10)).await.status, 202);
    assert_eq!(bridge.client.metric(ATTEMPTS).await, 1);
    assert_eq!(bridge.client.metric("kafka_bridge_producer_rebuilds_total").await, 1);
}

/// One node.
struct Kafka {
    directory: PathBuf,
    process: Child,
    servers: String,
}

impl Drop for Kafka {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn java(class: &str) -> Command {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("target/tools");
    let libraries = fs::read_dir(&root)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("libs")))
        .find(|path| path.is_dir())
        .unwrap_or_else(|| panic!("no Kafka in {}: run scripts/fetch-kafka.sh first", root.display()));
    let mut class_path: OsString = libraries.into();
    class_path.push("/*");
    let mut command = Command::new("java");
    command.args(["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
    command.arg("-cp").arg(class_path).arg(class).stdin(Stdio::null());
    command
}

impl Kafka {
    fn start() -> Self {
        let directory =
            PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("isolation-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let [broker, controller] =
            [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap()).map(|it| it.local_addr().unwrap());
        let properties = format!(
            "process.roles=broker,controller\nnode.id=1\n\
             controller.quorum.voters=1@{controller}\ncontroller.listener.names=CONTROLLER\n\
             listeners=PLAINTEXT://{broker},CONTROLLER://{controller}\n\
             num.partitions=1\noffsets.topic.replication.factor=1\nlog.dirs={}/data\n",
            directory.display()
        );
        let config = directory.join("server.properties");
        fs::write(&config, properties).unwrap();
        let log = fs::File::create(directory.join("log")).unwrap();
        let run = |class: &str, arguments: &[&str]| {
            let mut command = java(class);
            command.args(arguments).arg(&config);
            command.stdout(log.try_clone().unwrap()).stderr(log.try_clone().unwrap());
            command.spawn().unwrap()
        };
        let format = ["format", "--cluster-id", "d2lja2V0Z2F0ZS1pc28tMQ", "--config"];
        let formatted = run("kafka.tools.StorageTool", &format).wait().unwrap();
        let said = || fs::read_to_string(directory.join("log")).unwrap_or_default();
        assert!(formatted.success(), "Kafka's storage is not formatted:\n{}", said());
        let process = run("kafka.Kafka", &[]);
        let kafka = Self { directory: directory.clone(), process, servers: broker.to_string() };
        let started = Instant::now();
        while kafka.client().fetch_metadata(None, Duration::from_secs(1)).is_err() {
            assert!(started.elapsed() < Duration::from_secs(90), "Kafka does not start:\n{}", said());
        }
        kafka
    }

    fn client(&self) -> BaseConsumer {
        ClientConfig::new().set("bootstrap.servers", &self.servers).create().unwrap()
    }

    async fn topic(&self, name: &str, setting: &str, value: &str) {
        let admin: AdminClient<DefaultClientContext> =
            ClientConfig::new().set("bootstrap.servers", &self.servers).create().unwrap();
        let topic = NewTopic::new(name, 1, TopicReplication::Fixed(1)).set(setting, value);
        let made = admin.create_topics([&topic], &AdminOptions::new()).await.unwrap();
        assert_eq!(made, [Ok(name.to_owned())]);
    }

    fn count(&self, topic: &str) -> i64 {
        self.client().fetch_watermarks(topic, 0, Duration::from_secs(5)).unwrap().1
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn real_kafka_refuses_no_record_for_its_company() {
    const BATCH: usize = 50;
    const CALLERS: usize = 8;
    const CALLS: usize = 20;
    let kafka = Kafka::start();
    kafka.topic("small", "max.message.bytes", "20000").await;
    kafka.topic("tight", "max.message.bytes", "4000").await;
    kafka.topic("timely", "message.timestamp.after.max.ms", "3600000").await;
    kafka.topic("compact", "cleanup.policy", "compact").await;
    let uncompressed = ["--librdkafka", "compression.type=none"];
    let bridge = Bridge::start(&kafka.servers, &[LINGER, uncompressed].concat()).await;
    bridge.client.until_ready(true, Duration::from_secs(15)).await;
    let send = async |batch: &[Value]| {
        let before = bridge.client.metric(ATTEMPTS).await;
        let answer = bridge.client.records(records(batch)).await;
        let again = bridge.client.metric(ATTEMPTS).await - before;
        assert_eq!(again, u64::try_from(batch.len()).unwrap(), "not one batch: {answer:?}");
        answer
    };

    let mut late = record("timely", "2", 10);
    late["timestamp"] = 4_102_444_800_000_i64.into();
    let keyed = |id: &str| {
        let mut record = record("compact", id, 10);
        record["key"] = id.into();
        record
    };
    for (topic, batch, outcome) in [
        (
            "small",
            [record("small", "1", 10), record("small", "2", 30_000), record("small", "3", 10)],
            "too_large",
        ),
        ("timely", [record("timely", "1", 10), late, record("timely", "3", 10)], "refused"),
        ("compact", [keyed("1"), record("compact", "2", 10), keyed("3")], "refused"),
    ] {
        for round in 0..3 {
            let answer = send(&batch).await;
            assert_eq!(outcomes(&answer), ["acknowledged", outcome, "acknowledged"], "{topic} {round}");
            let results = answer.json()["results"].clone();
            for (index, offset) in [(0, 2 * round), (2, 2 * round + 1)] {
                let receipt = &results[index]["receipt"];
                assert_eq!(
                    (&receipt["offset"], &receipt["id"]),
                    (&json!(offset), &json!((index + 1).to_string()))
                );
            }
        }
        assert_eq!(kafka.count(topic), 6);
        // Those that are not refused go on as ever.
        let answer = bridge.client.records(records(&[batch[0].clone(), batch[2].clone()])).await;
        assert_eq!(answer.status, 202, "{answer:?}");
    }
    let many: Vec<_> = (0..BATCH).map(|index| record("tight", &index.to_string(), 300)).collect();
    assert_eq!(send(&many).await.status, 202);
    assert_eq!(kafka.count("tight"), i64::try_from(BATCH).unwrap());
    assert!(bridge.stop().await.is_none());

    // Without lingering batches are in flight while others are being refused.
    let bridge = Bridge::start(&kafka.servers, &uncompressed).await;
    bridge.client.until_ready(true, Duration::from_secs(15)).await;
    let before = kafka.count("small");
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let client = bridge.client.clone();
            let batch =
                ["1", "2", "3", "4"].map(|id| record("small", id, if id == "3" { 30_000 } else { 100 }));
            tokio::spawn(async move {
                let mut answers = Vec::new();
                for _ in 0..CALLS {
                    answers.push(client.records(records(&batch)).await);
                }
                answers
            })
        })
        .collect();
    let mut offsets = HashSet::new();
    for caller in callers {
        for answer in caller.await.unwrap() {
            assert_eq!(outcomes(&answer), ["acknowledged", "acknowledged", "too_large", "acknowledged"]);
            let results = answer.json()["results"].clone();
            offsets
                .extend([0, 1, 3].map(|index: usize| results[index]["receipt"]["offset"].as_i64().unwrap()));
        }
    }
    let written = i64::try_from(CALLERS * CALLS * 3).unwrap();
    assert_eq!(offsets, (before..before + written).collect());
    assert_eq!(kafka.count("small"), before + written, "each once");
    assert_eq!(bridge.client.metric("kafka_bridge_producer_rebuilds_total").await, 0);
    bridge.client.until_ready(true, Duration::ZERO).await;
    assert!(bridge.stop().await.is_none());
}
