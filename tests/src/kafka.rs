//! A real Apache Kafka.

mod node;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};

use crate::artefacts;
use crate::disk::Disk;
use crate::ports::free_port;
use crate::process::Process;
use crate::proxy::Proxy;
use crate::wait::until_blocking;
pub use node::Node;
use node::{Ports, Role};

/// The largest record that the tests' topics take, in bytes.
pub const MAX_RECORD_BYTES: usize = 8 * 1024 * 1024;

const START_LIMIT: Duration = Duration::from_secs(60);

/// The controller of a cluster of several brokers, which is none of them: they can be stopped, and it goes on.
const CONTROLLER_ID: u32 = 100;

/// A Kafka cluster to test against.
#[derive(Debug)]
pub struct Kafka {
    bootstrap_servers: String,
    /// The brokers; none when the cluster is somebody else's.
    brokers: Vec<Node>,
    /// Of a cluster of several brokers.
    controller: Option<Node>,
    proxy: Option<Proxy>,
}

/// A cluster that is not started yet.
#[derive(Debug)]
pub struct Setup {
    brokers: u32,
    properties: Vec<(String, String)>,
    proxied: bool,
    disk: Option<Arc<Disk>>,
}

/// The cluster that the tests of this process share: the one in `KAFKA_BOOTSTRAP_SERVERS`, or else one node that
/// is started when first asked for. Blocks until it takes requests.
pub fn shared() -> &'static Kafka {
    static KAFKA: OnceLock<Kafka> = OnceLock::new();
    KAFKA.get_or_init(|| match std::env::var("KAFKA_BOOTSTRAP_SERVERS") {
        Ok(bootstrap_servers) if !bootstrap_servers.is_empty() => {
            let kafka = Kafka { bootstrap_servers, brokers: Vec::new(), controller: None, proxy: None };
            kafka.wait_for_brokers(1);
            kafka
        }
        _ => Kafka::start(),
    })
}

/// A cluster with the settings that the tests give it: the shared one, unless that is somebody else's.
pub fn ours() -> &'static Kafka {
    static OURS: OnceLock<Kafka> = OnceLock::new();
    let shared = shared();
    if shared.is_foreign() { OURS.get_or_init(Kafka::start) } else { shared }
}

impl Setup {
    /// A cluster of so many brokers. A single one is its own controller; several have one in a process of its own, and
    /// new topics have a replica on each of them.
    pub fn brokers(count: u32) -> Self {
        Self { brokers: count, properties: Vec::new(), proxied: false, disk: None }
    }

    /// With a further setting of `server.properties`, which comes before what the tests set otherwise.
    #[must_use]
    pub fn property(mut self, name: &str, value: &str) -> Self {
        self.properties.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With a second way to reach a single broker, through a [`Proxy`].
    #[must_use]
    pub fn proxied(mut self) -> Self {
        self.proxied = true;
        self
    }

    /// With the data of a single broker on this disk.
    #[must_use]
    pub fn on(mut self, disk: Arc<Disk>) -> Self {
        self.disk = Some(disk);
        self
    }

    /// Starts it on free loopback ports. Blocks until it takes requests.
    pub fn start(self) -> Kafka {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let single = self.brokers == 1;
        assert!(single || !self.proxied && self.disk.is_none(), "a proxy or a disk is for a single broker");
        let dir = artefacts::run_dir().join(format!("kafka-{}", COUNT.fetch_add(1, Ordering::Relaxed)));
        let controller_port = free_port();
        let proxied = self.proxied.then(|| {
            let port = free_port();
            (port, Proxy::start(SocketAddr::from(([127, 0, 0, 1], port))))
        });
        let node = |id: u32, role: Role, ports: Ports| {
            let disk = self.disk.clone();
            Node::new((id, role), ports, &dir.join(id.to_string()), disk, &self.properties)
        };
        let ports = |broker| Ports {
            broker,
            controller: controller_port,
            proxied: proxied.as_ref().map(|(port, proxy)| (*port, proxy.address())),
        };
        let broker_ports: Vec<u16> = (0..self.brokers).map(|_| free_port()).collect();
        let role = if single { Role::Both } else { Role::Broker };
        let brokers: Vec<Node> =
            (1..).zip(&broker_ports).map(|(id, port)| node(id, role, ports(*port))).collect();
        let controller = (!single).then(|| node(CONTROLLER_ID, Role::Controller, ports(0)));

        let all = || controller.iter().chain(&brokers);
        let formats: Vec<Process> = all().map(Node::begin_format).collect();
        formats.iter().for_each(Node::end_format);
        all().for_each(Node::start);

        let servers: Vec<String> = broker_ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        let proxy = proxied.map(|(_, proxy)| proxy);
        let kafka = Kafka { bootstrap_servers: servers.join(","), brokers, controller, proxy };
        kafka.wait_for_brokers(kafka.brokers.len());
        kafka
    }
}

impl Kafka {
    /// Starts a node of its own (broker and controller in one process) on free loopback ports, for a test that
    /// breaks it. Blocks until it takes requests.
    pub fn start() -> Self {
        Setup::brokers(1).start()
    }

    /// `host:port` of the brokers.
    pub fn bootstrap_servers(&self) -> &str {
        &self.bootstrap_servers
    }

    /// Whether the cluster was there before the tests and stays after them.
    pub fn is_foreign(&self) -> bool {
        self.brokers.is_empty()
    }

    /// The first broker, of a cluster that the tests started.
    pub fn node(&self) -> &Node {
        self.brokers.first().expect("the tests may not touch a Kafka that they did not start")
    }

    /// All brokers, of a cluster that the tests started.
    pub fn brokers(&self) -> &[Node] {
        &self.brokers
    }

    /// The other way to reach it, of a cluster that was [`Setup::proxied`].
    pub fn proxy(&self) -> &Proxy {
        self.proxy.as_ref().expect("this Kafka was started with a proxy before it")
    }

    /// How many replicas a topic of the tests has: one on each broker, and one where the cluster is not ours.
    pub fn replicas(&self) -> i32 {
        i32::try_from(self.brokers.len().max(1)).expect("a few brokers")
    }

    /// Settings for a client of librdkafka.
    pub fn client_config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.bootstrap_servers)
            .set("broker.address.family", "v4")
            .set("reconnect.backoff.ms", "20")
            .set("reconnect.backoff.max.ms", "200");
        config
    }

    /// Blocks until a client is told of so many brokers. Panics when one of ours has ended, unless that was wanted.
    pub fn wait_for_brokers(&self, count: usize) {
        let client = self.client(&self.bootstrap_servers);
        let ready = until_blocking(START_LIMIT, || {
            if count == self.brokers.len() {
                let ended = self.nodes().any(|node| node.process().exit_status().is_some());
                assert!(!ended, "Kafka ended while it started\n{}", self.log_tails());
            }
            let metadata = client.fetch_metadata(None, Duration::from_secs(1)).ok()?;
            (metadata.brokers().len() >= count).then_some(())
        });
        assert!(
            ready.is_ok(),
            "no {count} brokers at {} after {START_LIMIT:?}\n{}",
            self.bootstrap_servers,
            self.log_tails()
        );
    }

    /// Blocks until each partition of a topic has all its replicas in sync.
    pub fn wait_for_replicas(&self, topic: &str) {
        let client = self.client(&self.bootstrap_servers);
        let complete = until_blocking(START_LIMIT, || {
            let metadata = client.fetch_metadata(Some(topic), Duration::from_secs(1)).ok()?;
            let partitions = metadata.topics().first()?.partitions();
            let all = partitions.iter().all(|partition| partition.isr().len() == partition.replicas().len());
            (all && !partitions.is_empty()).then_some(())
        });
        assert!(complete.is_ok(), "{topic} lacks replicas after {START_LIMIT:?}\n{}", self.log_tails());
    }

    /// The place in [`Self::brokers`] of the broker that leads a topic's first partition. Blocks until there is one,
    /// other than `not`.
    pub fn leader(&self, topic: &str, not: Option<usize>) -> usize {
        let client = self.client(&self.bootstrap_servers);
        let leader = until_blocking(START_LIMIT, || {
            let metadata = client.fetch_metadata(Some(topic), Duration::from_secs(1)).ok()?;
            let id = metadata.topics().first()?.partitions().first()?.leader();
            let leader = usize::try_from(id).ok()?.checked_sub(1)?;
            (leader < self.brokers.len() && Some(leader) != not).then_some(leader)
        });
        leader.unwrap_or_else(|_| {
            panic!("{topic} has no leader after {START_LIMIT:?}\n{}", self.log_tails());
        })
    }

    /// Blocks until the broker at this place in [`Self::brokers`] is the only replica in sync of a topic's first
    /// partition. It is the only one that is asked, as the others may be frozen.
    pub fn wait_until_alone(&self, topic: &str, leader: usize) {
        let server = self.bootstrap_servers.split(',').nth(leader).expect("a broker of this cluster");
        let client = self.client(server);
        let alone = until_blocking(START_LIMIT, || {
            let metadata = client.fetch_metadata(Some(topic), Duration::from_secs(1)).ok()?;
            let in_sync = metadata.topics().first()?.partitions().first()?.isr().to_vec();
            (in_sync == [i32::try_from(leader + 1).ok()?]).then_some(())
        });
        assert!(alone.is_ok(), "{topic} has other replicas after {START_LIMIT:?}\n{}", self.log_tails());
    }

    fn client(&self, servers: &str) -> BaseConsumer {
        let mut config = self.client_config();
        config.set("bootstrap.servers", servers).create().expect("a Kafka client can be made")
    }

    /// The ends of the logs of all its processes, for the text of a failure.
    pub fn log_tails(&self) -> String {
        self.nodes().map(|node| node.process().log_tail()).collect()
    }

    fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.controller.iter().chain(&self.brokers)
    }
}

/// Arguments of `java` that run one of Kafka's classes.
pub(crate) fn java(class: &str, args: &[&str]) -> Vec<OsString> {
    let mut class_path: OsString = artefacts::kafka_libs().into();
    class_path.push("/*");
    let mut all: Vec<OsString> = [
        // Quick to start and small, which counts for more here than throughput.
        "-Xms64m",
        "-Xmx512m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-XX:-UsePerfData",
        "-Xshare:auto",
        "-Dfile.encoding=UTF-8",
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
        "-Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info",
        "-Dorg.slf4j.simpleLogger.showDateTime=true",
        "-cp",
    ]
    .map(OsString::from)
    .into();
    all.push(class_path);
    all.push(class.into());
    all.extend(args.iter().map(OsString::from));
    all
}
