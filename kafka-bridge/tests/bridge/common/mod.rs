//! A bridge on a port of its own, a mock cluster whose faults the test chooses, and a consumer to look into it.

mod cluster;
pub mod process;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Parser as _;
use http_body_util::{BodyExt as _, Full};
use hyper::{HeaderMap, Request, StatusCode, Version};
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kafka_bridge::Leftover;
use kafka_bridge::config::{self, Config, Loaded};
use kafka_bridge::reload::Reloads;
use kafka_bridge::server::{Listen, Listener};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Headers as _;
use rdkafka::{Message as _, Offset, TopicPartitionList};
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub use cluster::{Cluster, brokers, cluster};

pub const RECORDS: &str = "application/vnd.wicketgate.records+json";
pub const EVENT: &str = "application/cloudevents+json";
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The bridge inside the test's process, with the listener of the real one.
pub struct Bridge {
    pub client: Client,
    /// Where it listens besides.
    pub listening: Vec<Listen>,
    stop: oneshot::Sender<()>,
    running: JoinHandle<Leftover>,
}

impl Bridge {
    /// Starts a bridge, on a port of its own and what `--listen` says; it may not be ready yet.
    pub async fn start(bootstrap_servers: &str, flags: &[&str]) -> Self {
        Self::start_with_clusters(bootstrap_servers, flags, "").await
    }

    /// The same, with the tables `[clusters.<name>]` of a configuration file.
    pub async fn start_with_clusters(bootstrap_servers: &str, flags: &[&str], clusters: &str) -> Self {
        let listener = Listener::bind(&"127.0.0.1:0".parse().unwrap(), 0).await.unwrap();
        let &Listen::Tcp(address) = listener.at() else { unreachable!() };
        let client = Client::new(address);
        let mut listeners = vec![listener];
        // Most tests send the same events over and over, and look at each of them.
        let remembers = flags.contains(&"--idempotency-entries");
        let forgetful = ["--idempotency-entries", "0"].iter().filter(|_| !remembers);
        let arguments = ["kafka-bridge", "--embedded-broker"].iter().chain(flags).chain(forgetful);
        let mut config = Config::try_parse_from(arguments).unwrap();
        config.clusters = clusters_of(clusters);
        let loaded = Loaded::new(config).unwrap();
        for listen in loaded.config.server.listen.iter().filter(|_| flags.contains(&"--listen")) {
            listeners.push(Listener::bind(listen, loaded.config.server.unix_socket_mode).await.unwrap());
        }
        if let Some(listen) = loaded.config.server.admin_listen() {
            listeners.push(Listener::bind(listen, 0o600).await.unwrap().for_operators());
        }
        let listening = listeners.iter().skip(1).map(|listener| listener.at().clone()).collect();
        let (stop, stopped) = oneshot::channel();
        let bootstrap_servers = bootstrap_servers.to_owned();
        let running = tokio::spawn(async move {
            let stop = async {
                let _ = stopped.await;
            };
            kafka_bridge::run(loaded, &bootstrap_servers, listeners, Reloads::none(), stop).await.unwrap()
        });
        Self { client, listening, stop, running }
    }

    pub async fn ready(cluster: &Cluster, flags: &[&str]) -> Self {
        let bridge = Self::start(&cluster.bootstrap_servers(), flags).await;
        bridge.client.until_ready(true, Duration::from_secs(10)).await;
        bridge
    }

    pub async fn stop(self) -> Leftover {
        self.stop.send(()).unwrap();
        self.running.await.unwrap()
    }
}

/// Clusters, as the bridge reads them from a configuration file.
fn clusters_of(tables: &str) -> Vec<kafka_bridge::producer::ClusterOptions> {
    static FILES: AtomicUsize = AtomicUsize::new(0);
    let number = FILES.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("bridge-clusters-{}-{number}.toml", std::process::id()));
    std::fs::write(&path, tables).unwrap();
    let arguments = ["kafka-bridge", "--embedded-broker", "--config"].map(OsString::from);
    let loaded = config::load(arguments.into_iter().chain([path.clone().into()]), |_| None);
    std::fs::remove_file(&path).unwrap();
    loaded.unwrap().config.clusters
}

#[derive(Clone)]
pub struct Client {
    pub address: SocketAddr,
    http: HyperClient<HttpConnector, Full<Bytes>>,
}

#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub version: Version,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// Checks all that a problem has, whatever it is about.
    pub fn assert_problem(&self, status: u16, kind: &str) -> Value {
        let json = self.json();
        assert_eq!(self.status, status, "{json}");
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{json}");
        assert_eq!(self.header("wicketgate-bridge"), Some(VERSION), "{json}");
        assert_eq!(json["type"], format!("urn:wicketgate:problem:{kind}"), "{json}");
        assert_eq!(json["status"], status, "{json}");
        for member in ["title", "detail"] {
            assert!(json[member].as_str().is_some_and(|text| !text.is_empty()), "{member}: {json}");
        }
        json
    }
}

impl Client {
    pub fn new(address: SocketAddr) -> Self {
        Self { address, http: HyperClient::builder(TokioExecutor::new()).build_http() }
    }

    pub fn over_http_2(&self) -> Self {
        let http = HyperClient::builder(TokioExecutor::new()).http2_only(true).build_http();
        Self { http, ..self.clone() }
    }

    pub async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        self.try_send(method, path, headers, body).await.unwrap()
    }

    pub async fn try_send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Answer, hyper_util::client::legacy::Error> {
        let mut request = Request::builder().method(method).uri(format!("http://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.http.request(request.body(Full::new(body.into())).unwrap()).await?;
        let (head, body) = response.into_parts();
        let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        Ok(Answer { status: head.status, version: head.version, headers: head.headers, body })
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], "").await
    }

    pub async fn records(&self, body: impl Into<Bytes>) -> Answer {
        self.send("POST", "/v1/records", &[("content-type", RECORDS)], body).await
    }

    pub async fn event(&self, topic: &str, body: impl Into<Bytes>) -> Answer {
        self.send("POST", &format!("/v1/topics/{topic}/events"), &[("content-type", EVENT)], body).await
    }

    /// Waits until `/readyz` says so; returns how long that took.
    pub async fn until_ready(&self, ready: bool, within: Duration) -> Duration {
        let started = Instant::now();
        loop {
            let answer = self.try_send("GET", "/readyz", &[], "").await;
            if answer.as_ref().is_ok_and(|answer| answer.status.is_success() == ready) {
                return started.elapsed();
            }
            assert!(started.elapsed() < within, "not ready={ready} within {within:?}: {answer:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The value of a metric that counts, such as `kafka_bridge_records_total{outcome="unknown"}`, over all that have
    /// these labels, whatever others they have; 0 if there is none yet.
    pub async fn metric(&self, name: &str) -> u64 {
        fn parts(metric: &str) -> (&str, Vec<&str>) {
            let (name, labels) = metric.split_once('{').unwrap_or((metric, "}"));
            (name, labels.trim_end_matches('}').split(',').filter(|label| !label.is_empty()).collect())
        }
        let (wanted, labels) = parts(name);
        let text = self.get("/metrics").await.body;
        let text = std::str::from_utf8(&text).unwrap();
        text.lines()
            .filter_map(|line| {
                let (metric, value) = line.rsplit_once(' ')?;
                let (name, others) = parts(metric);
                let is_it = name == wanted && labels.iter().all(|label| others.contains(label));
                is_it.then(|| value.parse::<u64>().ok())?
            })
            .sum()
    }
}

/// Waits until this holds.
pub async fn until(mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds().await {
        assert!(Instant::now() < deadline, "not in time");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A CloudEvent with this id, and `data` of about as many bytes.
pub fn event(id: &str, data_bytes: usize) -> String {
    let data = "x".repeat(data_bytes);
    format!(
        r#"{{"specversion":"1.0","id":"{id}","source":"urn:test","type":"com.example.test","data":"{data}"}}"#
    )
}

/// What came out of Kafka.
#[derive(Debug, PartialEq, Eq)]
pub struct Stored {
    pub partition: i32,
    pub offset: i64,
    pub timestamp: i64,
    pub key: Option<Vec<u8>>,
    pub headers: Vec<(String, Vec<u8>)>,
    pub value: Option<Vec<u8>>,
}

/// Reads `count` records of a topic from its start, in the order of their partitions and offsets.
pub fn read(cluster: &Cluster, topic: &str, count: usize) -> Vec<Stored> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", cluster.bootstrap_servers())
        .set("group.id", "test")
        .set("enable.auto.commit", "false")
        .create()
        .unwrap();
    let mut partitions = TopicPartitionList::new();
    let metadata = consumer.fetch_metadata(Some(topic), Duration::from_secs(5)).unwrap();
    for partition in metadata.topics()[0].partitions() {
        partitions.add_partition_offset(topic, partition.id(), Offset::Beginning).unwrap();
    }
    consumer.assign(&partitions).unwrap();
    let mut stored = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(10);
    while stored.len() < count {
        assert!(Instant::now() < deadline, "{} of {count} records: {stored:?}", stored.len());
        let Some(message) = consumer.poll(Duration::from_millis(100)) else { continue };
        let message = message.unwrap();
        stored.push(Stored {
            partition: message.partition(),
            offset: message.offset(),
            timestamp: message.timestamp().to_millis().unwrap(),
            key: message.key().map(<[u8]>::to_vec),
            headers: message.headers().map_or_else(Vec::new, |headers| {
                headers.iter().map(|header| (header.key.to_owned(), header.value.unwrap().to_vec())).collect()
            }),
            value: message.payload().map(<[u8]>::to_vec),
        });
    }
    stored.sort_by_key(|stored| (stored.partition, stored.offset));
    stored
}

/// How many records a topic has.
pub fn count(cluster: &Cluster, topic: &str) -> usize {
    let consumer: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", cluster.bootstrap_servers()).create().unwrap();
    let metadata = consumer.fetch_metadata(None, Duration::from_secs(5)).unwrap();
    let Some(topic) = metadata.topics().iter().find(|found| found.name() == topic) else { return 0 };
    let ends = topic.partitions().iter().map(|partition| {
        consumer.fetch_watermarks(topic.name(), partition.id(), Duration::from_secs(5)).unwrap().1
    });
    usize::try_from(ends.sum::<i64>()).unwrap()
}
