//! A real Apache Kafka.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};

use crate::artefacts;
use crate::ports::free_port;
use crate::process::Process;
use crate::wait::until_blocking;

/// The largest record that the tests' topics take, in bytes.
pub const MAX_RECORD_BYTES: usize = 8 * 1024 * 1024;

const START_LIMIT: Duration = Duration::from_secs(60);

/// A Kafka cluster to test against.
#[derive(Debug)]
pub struct Kafka {
    bootstrap_servers: String,
    /// `None` when the cluster is somebody else's.
    node: Option<Process>,
}

/// The cluster that the tests of this process share: the one in `KAFKA_BOOTSTRAP_SERVERS`, or else one node that
/// is started when first asked for. Blocks until it takes requests.
pub fn shared() -> &'static Kafka {
    static KAFKA: OnceLock<Kafka> = OnceLock::new();
    KAFKA.get_or_init(|| match std::env::var("KAFKA_BOOTSTRAP_SERVERS") {
        Ok(bootstrap_servers) if !bootstrap_servers.is_empty() => {
            let kafka = Kafka { bootstrap_servers, node: None };
            kafka.wait_until_ready();
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

impl Kafka {
    /// Starts a node of its own (broker and controller in one process) on free loopback ports, for a test that
    /// breaks it. Blocks until it takes requests.
    pub fn start() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let dir = artefacts::run_dir().join(format!("kafka-{}", COUNT.fetch_add(1, Ordering::Relaxed)));
        fs::create_dir_all(&dir).expect("a folder for Kafka can be made");
        let (broker, controller) = (free_port(), free_port());
        let config = dir.join("server.properties");
        fs::write(&config, server_properties(broker, controller, &dir))
            .expect("Kafka's settings can be written");

        let format = java(
            "kafka.tools.StorageTool",
            &["format", "--cluster-id", "d2lja2V0Z2F0ZS1lMmUtMQ", "--config"],
        );
        let format = Process::start(
            "kafka-format",
            Path::new("java"),
            format.into_iter().chain([config.clone().into()]),
        );
        assert!(
            format.wait_for_exit(START_LIMIT).success(),
            "Kafka's storage was not formatted\n{}",
            format.log_tail()
        );

        let node = java("kafka.Kafka", &[]);
        let node = Process::start("kafka", Path::new("java"), node.into_iter().chain([config.into()]));
        let kafka = Self { bootstrap_servers: format!("127.0.0.1:{broker}"), node: Some(node) };
        kafka.wait_until_ready();
        kafka
    }

    /// `host:port` of the brokers.
    pub fn bootstrap_servers(&self) -> &str {
        &self.bootstrap_servers
    }

    /// Whether the cluster was there before the tests and stays after them.
    pub fn is_foreign(&self) -> bool {
        self.node.is_none()
    }

    /// The process, of a cluster that was started with [`Kafka::start`].
    pub fn node(&self) -> &Process {
        self.node.as_ref().expect("the tests may not touch a Kafka that they did not start")
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

    fn wait_until_ready(&self) {
        let client: BaseConsumer = self.client_config().create().expect("a Kafka client can be made");
        let ready = until_blocking(START_LIMIT, || {
            let ended = self.node.as_ref().and_then(Process::exit_status);
            assert!(ended.is_none(), "Kafka ended while it started\n{}", self.log_tail());
            let metadata = client.fetch_metadata(None, Duration::from_secs(1)).ok()?;
            (!metadata.brokers().is_empty()).then_some(())
        });
        assert!(
            ready.is_ok(),
            "no Kafka at {} after {START_LIMIT:?}\n{}",
            self.bootstrap_servers,
            self.log_tail()
        );
    }

    fn log_tail(&self) -> String {
        self.node.as_ref().map(Process::log_tail).unwrap_or_default()
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

fn server_properties(broker: u16, controller: u16, dir: &Path) -> String {
    let data: PathBuf = dir.join("data");
    let listeners = format!("PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}");
    let mut text = String::new();
    for (name, value) in [
        ("process.roles", "broker,controller"),
        ("node.id", "1"),
        ("controller.quorum.voters", &format!("1@127.0.0.1:{controller}")),
        ("controller.listener.names", "CONTROLLER"),
        ("listeners", &listeners),
        ("advertised.listeners", &format!("PLAINTEXT://127.0.0.1:{broker}")),
        ("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT"),
        ("log.dirs", &data.to_string_lossy()),
        ("message.max.bytes", &MAX_RECORD_BYTES.to_string()),
        // A misspelt topic must be an error, as it is in a cluster that is run with care.
        ("auto.create.topics.enable", "false"),
        ("num.network.threads", "2"),
        ("num.io.threads", "2"),
        ("log.cleaner.enable", "false"),
        ("offsets.topic.num.partitions", "1"),
        ("offsets.topic.replication.factor", "1"),
        ("group.initial.rebalance.delay.ms", "0"),
        ("transaction.state.log.num.partitions", "1"),
        ("transaction.state.log.replication.factor", "1"),
        ("transaction.state.log.min.isr", "1"),
    ] {
        let _ = writeln!(text, "{name}={value}");
    }
    text
}
