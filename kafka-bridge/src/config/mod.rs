//! What the process can be told, by flags, environment variables and a file, in this order of precedence. Each module has
//! settings of its own; here they are put together.

mod changes;
mod cluster;
mod command;
mod file;
mod load;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, ValueEnum};
use serde::{Serialize, Serializer};

use crate::clusters::ReadyWhen;
use crate::hop::Guard;
use crate::producer::{ClusterOptions, DEFAULT_CLUSTER, warnings};
use crate::values::{log_filter, positive_duration};
use crate::{clusters, hop, http, idempotency, limits, producer, server, spool, telemetry};
pub(crate) use changes::changed;
pub use command::{Command, SpoolCommand};
pub use load::{Failure, Loaded, command, completions, load};

/// Takes CloudEvents over HTTP and answers once Kafka has them.
#[derive(Clone, Debug, PartialEq, Parser, Serialize)]
#[command(name = "kafka-bridge", version, about)]
pub struct Config {
    /// What the program is asked to do.
    #[command(subcommand)]
    #[serde(skip)]
    pub command: Option<Command>,

    /// A configuration file (TOML): each flag that takes a value under its name with _ for -, and a table
    /// named librdkafka. Flags and environment variables come before it.
    #[arg(long, env = "BRIDGE_CONFIG", value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,

    /// What the bridge is run for. In production it does not start without a proof that callers have to bring, and
    /// not with a broker that forgets.
    #[arg(long, env = "BRIDGE_MODE", default_value = "development", value_name = "MODE")]
    pub mode: Mode,

    /// Listeners and connections.
    #[command(flatten)]
    #[serde(flatten)]
    pub server: server::Options,

    /// Who may call.
    #[command(flatten)]
    #[serde(flatten)]
    pub hop: hop::Options,

    /// Requests.
    #[command(flatten)]
    #[serde(flatten)]
    pub http: http::Reloadable,

    /// Kafka: the default cluster, and what holds for all.
    #[command(flatten)]
    #[serde(flatten)]
    pub kafka: producer::Options,

    /// Further clusters, which only a file can have.
    #[arg(skip)]
    #[serde(serialize_with = "by_name")]
    pub clusters: Vec<ClusterOptions>,

    /// Readiness.
    #[command(flatten)]
    #[serde(flatten)]
    pub readiness: clusters::Options,

    /// What is remembered of events.
    #[command(flatten)]
    #[serde(flatten)]
    pub idempotency: idempotency::Options,

    /// Limits that gateways share.
    #[command(flatten)]
    #[serde(flatten)]
    pub limits: limits::Options,

    /// Records on disk.
    #[command(flatten)]
    #[serde(flatten)]
    pub spool: spool::Options,

    /// Spans.
    #[command(flatten)]
    #[serde(flatten)]
    pub telemetry: telemetry::Options,

    /// How log lines look.
    #[arg(long, env = "BRIDGE_LOG_FORMAT", default_value = "text", value_name = "FORMAT")]
    pub log_format: LogFormat,

    /// What of the process itself can change while it runs.
    #[command(flatten)]
    #[serde(flatten)]
    pub reloadable: Reloadable,
}

/// Settings of the process itself.
#[derive(Clone, Debug, PartialEq, Args, Serialize)]
#[group(skip)]
pub struct Reloadable {
    /// How long requests and records in flight have to finish after SIGTERM or SIGINT.
    #[arg(long, env = "BRIDGE_SHUTDOWN_TIMEOUT", default_value = "10s", value_name = "DURATION", value_parser = positive_duration)]
    pub shutdown_timeout: Duration,

    /// What is logged, such as info or warn,kafka_bridge=debug.
    #[arg(long, env = "RUST_LOG", default_value = "info", value_name = "FILTER", value_parser = log_filter)]
    pub log: String,
}

/// What the bridge is run for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
pub enum Mode {
    /// Trying things out.
    Development,
    /// Data that somebody relies on.
    Production,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

fn by_name<S: Serializer>(clusters: &[ClusterOptions], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(clusters.iter().map(|cluster| (&cluster.name, cluster)))
}

impl Config {
    /// This configuration with what of `new` can change while the bridge runs: the `Reloadable` of each module.
    pub(crate) fn reloaded(&self, new: &Self) -> Self {
        let clusters = self.clusters.iter().map(|cluster| {
            let new = new.clusters.iter().find(|new| new.name == cluster.name);
            cluster.reloaded(new.unwrap_or(cluster))
        });
        Self {
            server: server::Options { reloadable: new.server.reloadable.clone(), ..self.server.clone() },
            hop: hop::Options { reloadable: new.hop.reloadable.clone(), ..self.hop.clone() },
            http: new.http.clone(),
            kafka: producer::Options { reloadable: new.kafka.reloadable.clone(), ..self.kafka.clone() },
            clusters: clusters.collect(),
            idempotency: idempotency::Options {
                reloadable: new.idempotency.reloadable.clone(),
                ..self.idempotency.clone()
            },
            reloadable: new.reloadable.clone(),
            ..self.clone()
        }
    }

    /// Checks what no single value can be blamed for.
    ///
    /// # Errors
    /// All that is wrong, each with the next step.
    pub(crate) fn check(&self) -> Result<(), Vec<String>> {
        let mut errors = Vec::new();
        self.server.check(&mut errors);
        self.hop.check(self.server.tls_listener().is_some(), &mut errors);
        if self.mode == Mode::Production {
            self.check_production(&mut errors);
        }
        self.kafka.check(&self.clusters, &mut errors);
        self.readiness.check(&self.clusters, &mut errors);
        self.limits.check(&mut errors);
        self.idempotency.check(&mut errors);
        if self.spool.spool_dir.is_none() {
            // The directory may be in the file, so clap cannot tell.
            let command = match self.command {
                Some(Command::Spool(command)) => Some(command.name()),
                _ => None,
            };
            let spooling = self.readiness.ready_when == ReadyWhen::Spooling;
            let takes_one = command.into_iter().chain(spooling.then_some("--ready-when spooling"));
            errors
                .extend(takes_one.map(|what| format!("{what}: takes --spool-dir, or spool_dir in the file")));
        }
        self.telemetry.check(&mut errors);
        self.spool.check(&self.clusters, self.kafka.max_record_bytes, &mut errors);
        // Below it, each directory whose name has no plus in front is a cluster's spool.
        if let (Some(journal), Some(spool)) = (&self.idempotency.idempotency_dir, &self.spool.spool_dir)
            && journal.starts_with(spool)
            && journal != &spool.join("+idempotency")
        {
            errors.push(format!(
                "--idempotency-dir: wanted a directory that is not in --spool-dir {}, or none, which is +idempotency in it; got {}",
                spool.display(),
                journal.display()
            ));
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    fn check_production(&self, errors: &mut Vec<String>) {
        if self.kafka.embedded_broker {
            errors.push(
                "--mode production: --embedded-broker loses all records when it ends; give a cluster with \
                 --bootstrap-servers"
                    .to_owned(),
            );
        }
        if self.hop.is_open() {
            errors.push(
                "--mode production: whoever reaches the port could write to Kafka; have callers prove who they \
                 are, with --hop-secret-file, --hop-token-file or --tls-client-ca-file"
                    .to_owned(),
            );
        }
    }

    /// What the configuration leaves open, for the log; without secrets. `guard` is made of the files that it names.
    pub fn warnings(&self, guard: &Guard) -> Vec<String> {
        let named = self.clusters.iter().map(|cluster| (cluster.name.as_str(), &cluster.librdkafka));
        let clusters = std::iter::once((DEFAULT_CLUSTER, &self.kafka.librdkafka)).chain(named);
        let of_clusters = clusters.flat_map(|(name, options)| {
            let warnings = warnings(options).into_iter();
            warnings.map(move |warning| format!("cluster {name}: {warning}"))
        });
        let open = guard.is_open().then(|| {
            "anybody who reaches the bridge may write; --hop-secret-file, --hop-token-file or --tls-client-ca-file closes it"
                .to_owned()
        });
        open.into_iter().chain(of_clusters).collect()
    }

    /// The cluster that the top-level settings are about.
    pub fn default_cluster(&self, bootstrap_servers: &str) -> ClusterOptions {
        let cluster = self.kafka.default_cluster(bootstrap_servers);
        ClusterOptions { required: self.readiness.required, ..cluster }
    }

    /// Where events that are remembered outlive the process: as set, or else beside what is spooled.
    pub fn journal_dir(&self) -> Option<PathBuf> {
        // No cluster, and so no spool, can have this name.
        let beside_spool = || self.spool.spool_dir.as_ref().map(|directory| directory.join("+idempotency"));
        self.idempotency.idempotency_dir.clone().or_else(beside_spool)
    }
}

#[cfg(test)]
mod tests;
