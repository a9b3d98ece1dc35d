//! One process of a Kafka cluster.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use crate::disk::Disk;
use crate::kafka::{MAX_RECORD_BYTES, java};
use crate::process::Process;

const FORMAT_LIMIT: Duration = Duration::from_secs(60);
/// A broker hands its partitions over before it ends, and waits for a controller that may be gone.
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// What a node is in its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Both,
    Broker,
    Controller,
}

/// Where a node is reached.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ports {
    pub(super) broker: u16,
    /// Of the cluster's only controller.
    pub(super) controller: u16,
    /// A second port for clients, and the address that it tells them instead of its own.
    pub(super) proxied: Option<(u16, SocketAddr)>,
}

/// A node that can be ended and started again with the data that it has.
#[derive(Debug)]
pub struct Node {
    name: String,
    config: PathBuf,
    disk: Option<Arc<Disk>>,
    process: RwLock<Option<Arc<Process>>>,
}

impl Node {
    /// Writes the settings of a node; nothing runs yet.
    pub(super) fn new(
        (id, role): (u32, Role),
        ports: Ports,
        dir: &Path,
        disk: Option<Arc<Disk>>,
        properties: &[(String, String)],
    ) -> Self {
        fs::create_dir_all(dir).expect("a folder for Kafka can be made");
        let data = disk.as_ref().map_or_else(|| dir.join("data"), |disk| disk.path().join("data"));
        let config = dir.join("server.properties");
        let text = server_properties(id, role, ports, &data, properties);
        fs::write(&config, text).expect("Kafka's settings can be written");
        Self { name: format!("kafka-{id}"), config, disk, process: RwLock::new(None) }
    }

    /// Starts to format its storage; the process ends when that is done.
    pub(super) fn begin_format(&self) -> Process {
        let args = java(
            "kafka.tools.StorageTool",
            &["format", "--cluster-id", "d2lja2V0Z2F0ZS1lMmUtMQ", "--config"],
        );
        self.run("kafka-format", args)
    }

    /// Waits for what [`Self::begin_format`] began.
    pub(super) fn end_format(format: &Process) {
        let status = format.wait_for_exit(FORMAT_LIMIT);
        assert!(status.success(), "Kafka's storage was not formatted\n{}", format.log_tail());
    }

    /// Starts it, with the data that it has. Does not wait until it takes requests, see
    /// [`super::Kafka::wait_for_brokers`].
    pub fn start(&self) {
        let process = self.run(&self.name, java("kafka.Kafka", &[]));
        *self.process.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(process));
    }

    /// Its process, also after that has ended.
    pub fn process(&self) -> Arc<Process> {
        let process = self.process.read().unwrap_or_else(PoisonError::into_inner).clone();
        process.expect("the node was started")
    }

    /// Ends it at once (SIGKILL).
    pub fn kill(&self) {
        self.process().kill();
    }

    /// Has it end in order (SIGTERM), and waits until it has.
    pub fn stop(&self) {
        // 143 is what a Java program ends with after SIGTERM, however orderly.
        self.process().terminate(STOP_LIMIT);
    }

    /// Freezes it (SIGSTOP): it keeps its sockets and answers nothing.
    pub fn freeze(&self) {
        self.process().freeze();
    }

    /// Lets it go on (SIGCONT).
    pub fn thaw(&self) {
        self.process().thaw();
    }

    fn run(&self, name: &str, args: Vec<OsString>) -> Process {
        let args = args.into_iter().chain([self.config.clone().into()]);
        match &self.disk {
            Some(disk) => disk.start_on(name, Path::new("java"), args),
            None => Process::start(name, Path::new("java"), args),
        }
    }
}

fn server_properties(
    id: u32,
    role: Role,
    ports: Ports,
    data: &Path,
    properties: &[(String, String)],
) -> String {
    let mut listeners = Vec::new();
    let mut advertised = Vec::new();
    if role != Role::Controller {
        listeners.push(format!("PLAINTEXT://127.0.0.1:{}", ports.broker));
        advertised.push(format!("PLAINTEXT://127.0.0.1:{}", ports.broker));
        if let Some((port, proxy)) = ports.proxied {
            listeners.push(format!("PROXIED://127.0.0.1:{port}"));
            advertised.push(format!("PROXIED://{proxy}"));
        }
    }
    if role != Role::Broker {
        listeners.push(format!("CONTROLLER://127.0.0.1:{}", ports.controller));
    }
    let (roles, voter) = match role {
        Role::Both => ("broker,controller", id),
        Role::Broker => ("broker", super::CONTROLLER_ID),
        Role::Controller => ("controller", super::CONTROLLER_ID),
    };
    let mut text = String::new();
    for (name, value) in [
        ("process.roles", roles),
        ("node.id", &id.to_string()),
        ("controller.quorum.voters", &format!("{voter}@127.0.0.1:{}", ports.controller)),
        ("controller.listener.names", "CONTROLLER"),
        ("listeners", &listeners.join(",")),
        ("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,PROXIED:PLAINTEXT"),
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
    if !advertised.is_empty() {
        let _ = writeln!(text, "advertised.listeners={}", advertised.join(","));
    }
    if role == Role::Broker {
        let _ = writeln!(text, "inter.broker.listener.name=PLAINTEXT");
    }
    for (name, value) in properties {
        let _ = writeln!(text, "{name}={value}");
    }
    text
}
