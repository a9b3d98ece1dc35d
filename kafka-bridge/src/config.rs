//! What the process can be told, from flags and environment variables.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser, ValueEnum};

use crate::topics::Pattern;

/// How long after the delivery timeout an answer may still be on its way. librdkafka looks for expired records
/// once a second, so its own report of a timeout is always somewhat late; callers are answered before that.
pub const ANSWER_GRACE: Duration = Duration::from_millis(500);

/// Takes CloudEvents over HTTP and answers once Kafka has them.
#[derive(Clone, Debug, Parser)]
#[command(name = "kafka-bridge", version, about)]
pub struct Config {
    /// Where to listen.
    #[arg(long, env = "BRIDGE_LISTEN", default_value = "127.0.0.1:8080", value_name = "ADDRESS:PORT")]
    pub listen: SocketAddr,

    /// The Kafka cluster, as a comma-separated list of HOST:PORT.
    #[arg(long, env = "KAFKA_BOOTSTRAP_SERVERS", value_name = "SERVERS", value_parser = bootstrap_servers)]
    pub bootstrap_servers: Option<String>,

    /// Start a broker inside this process instead, for demos and tests: it keeps records in memory, a few MiB of
    /// them, and loses them when the process ends.
    #[arg(long)]
    pub embedded_broker: bool,

    /// What the bridge is run for. In production it does not start without a proof that callers have to bring, and
    /// not with a broker that forgets.
    #[arg(long, env = "BRIDGE_MODE", default_value = "development", value_name = "MODE")]
    pub mode: Mode,

    /// A file of secrets, one a line: a request signed with one of them is let in. Several are for changing from one
    /// to the next.
    #[arg(long, env = "BRIDGE_HOP_SECRET_FILE", value_name = "FILE")]
    pub hop_secret_file: Option<PathBuf>,

    /// A file of tokens, one a line: a request with one of them ("authorization: Bearer TOKEN") is let in. Several
    /// are for changing from one to the next.
    #[arg(long, env = "BRIDGE_HOP_TOKEN_FILE", value_name = "FILE")]
    pub hop_token_file: Option<PathBuf>,

    /// How many signed requests of the last two minutes are remembered, so that each is let in once; further ones
    /// are answered 503.
    #[arg(long, env = "BRIDGE_HOP_REPLAY_MEMORY", default_value_t = 1_000_000, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    pub hop_replay_memory: u32,

    /// The topics that may be written, separated by commas; "orders.*" stands for all that start with "orders.".
    /// Without it all may.
    #[arg(long, env = "BRIDGE_ALLOWED_TOPICS", value_name = "TOPICS", value_delimiter = ',')]
    pub allowed_topics: Vec<Pattern>,

    /// How long Kafka has to acknowledge a record, such as 5s or 750ms. A caller is answered at most 500ms later.
    #[arg(long, env = "BRIDGE_DELIVERY_TIMEOUT", default_value = "5s", value_name = "DURATION", value_parser = delivery_timeout)]
    pub delivery_timeout: Duration,

    /// How long a request's body may take to arrive.
    #[arg(long, env = "BRIDGE_BODY_TIMEOUT", default_value = "10s", value_name = "DURATION", value_parser = positive_duration)]
    pub body_timeout: Duration,

    /// How long a connection may be idle, or take over the head of its next request. Clients that pool connections
    /// should let go of them sooner.
    #[arg(long, env = "BRIDGE_IDLE_TIMEOUT", default_value = "60s", value_name = "DURATION", value_parser = positive_duration)]
    pub idle_timeout: Duration,

    /// The largest body of a request, in bytes.
    #[arg(long, env = "BRIDGE_MAX_BODY_BYTES", default_value_t = 16 << 20, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(1..=1 << 30))]
    pub max_body_bytes: u32,

    /// The largest record, key and headers included, in bytes. Topics have a limit of their own, 1 MiB unless
    /// changed.
    #[arg(long, env = "BRIDGE_MAX_RECORD_BYTES", default_value_t = 8 << 20, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(1_000..=1_000_000_000))]
    pub max_record_bytes: u32,

    /// The most records in one request.
    #[arg(long, env = "BRIDGE_MAX_RECORDS", default_value_t = 1024, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub max_records: u32,

    /// The most records that may wait for Kafka; further ones are answered 503 at once.
    #[arg(long, env = "BRIDGE_QUEUE_RECORDS", default_value_t = 100_000, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub queue_records: u32,

    /// The most memory, in KiB, that records waiting for Kafka may take; further ones are answered 503 at once.
    #[arg(long, env = "BRIDGE_QUEUE_KBYTES", default_value_t = 256 << 10, value_name = "KIB", value_parser = clap::value_parser!(u32).range(1..=2_000_000))]
    pub queue_kbytes: u32,

    /// How long requests and records in flight have to finish after SIGTERM or SIGINT.
    #[arg(long, env = "BRIDGE_SHUTDOWN_TIMEOUT", default_value = "10s", value_name = "DURATION", value_parser = positive_duration)]
    pub shutdown_timeout: Duration,

    /// How log lines look.
    #[arg(long, env = "BRIDGE_LOG_FORMAT", default_value = "text", value_name = "FORMAT")]
    pub log_format: LogFormat,

    /// What is logged, such as info or warn,kafka_bridge=debug.
    #[arg(long, env = "RUST_LOG", default_value = "info", value_name = "FILTER")]
    pub log: String,
}

/// What the bridge is run for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// Trying things out.
    Development,
    /// Data that somebody relies on.
    Production,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Config {
    /// Reads flags and environment; ends the process, with a text on stderr, if they make no sense or ask for help.
    pub fn from_command_line() -> Self {
        let config = Self::parse();
        if let Err((kind, text)) = config.check() {
            Self::command().error(kind, text).exit();
        }
        config
    }

    /// Checks what no single value can be blamed for.
    ///
    /// # Errors
    /// What is wrong, and the next step.
    pub fn check(&self) -> Result<(), (ErrorKind, String)> {
        match (&self.bootstrap_servers, self.embedded_broker) {
            (None, false) => Err((
                ErrorKind::MissingRequiredArgument,
                "no Kafka cluster: give one with --bootstrap-servers or KAFKA_BOOTSTRAP_SERVERS, or start a broker \
                 that forgets everything with --embedded-broker"
                    .to_owned(),
            )),
            (Some(servers), true) => Err((
                ErrorKind::ArgumentConflict,
                format!(
                    "two Kafka clusters: --embedded-broker, and {servers} from --bootstrap-servers or \
                     KAFKA_BOOTSTRAP_SERVERS; leave out one of them"
                ),
            )),
            _ if self.mode == Mode::Production && self.embedded_broker => Err((
                ErrorKind::ArgumentConflict,
                "--mode production: --embedded-broker loses all records when it ends; give a cluster with \
                 --bootstrap-servers"
                    .to_owned(),
            )),
            _ if self.mode == Mode::Production && self.hop_secret_file.is_none() && self.hop_token_file.is_none() => Err((
                ErrorKind::MissingRequiredArgument,
                "--mode production: whoever reaches the port could write to Kafka; have callers prove who they are, \
                 with --hop-secret-file or --hop-token-file"
                    .to_owned(),
            )),
            _ if u64::from(self.queue_kbytes) * 1024 < u64::from(self.max_record_bytes) => Err((
                ErrorKind::ArgumentConflict,
                format!(
                    "--queue-kbytes {}: wanted room for at least one record of --max-record-bytes {}",
                    self.queue_kbytes, self.max_record_bytes
                ),
            )),
            _ => Ok(()),
        }
    }

    /// How long a caller can wait for the answer to a record that was enqueued.
    pub fn answer_timeout(&self) -> Duration {
        self.delivery_timeout + ANSWER_GRACE
    }
}

fn positive_duration(text: &str) -> Result<Duration, String> {
    let duration: Duration = humantime::parse_duration(text)
        .map_err(|error| format!("{error}; wanted a number and a unit, such as 5s or 750ms"))?;
    if duration.is_zero() { Err("wanted more than zero".to_owned()) } else { Ok(duration) }
}

fn delivery_timeout(text: &str) -> Result<Duration, String> {
    const ALLOWED: std::ops::RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(300);
    let duration = positive_duration(text)?;
    if ALLOWED.contains(&duration) { Ok(duration) } else { Err("wanted 100ms to 5m".to_owned()) }
}

fn bootstrap_servers(text: &str) -> Result<String, String> {
    for server in text.split(',') {
        let server = server.trim();
        let port =
            server.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port.parse::<u16>());
        if !matches!(port, Some(Ok(1..))) {
            return Err(format!("wanted HOST:PORT, or several separated by commas; got {server:?}"));
        }
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::FromArgMatches as _;
    use clap::builder::Resettable;

    fn parse(arguments: &[&str]) -> Result<Config, String> {
        // What the environment of the test run holds must not matter.
        let command = Config::command().mut_args(|argument| argument.env(Resettable::Reset));
        command
            .try_get_matches_from(std::iter::once(&"kafka-bridge").chain(arguments))
            .and_then(|matches| Config::from_arg_matches(&matches))
            .map_err(|error| error.to_string())
            .and_then(|config| config.check().map(|()| config).map_err(|(_, text)| text))
    }

    #[test]
    fn one_cluster_is_required_and_only_one() {
        assert!(parse(&["--embedded-broker"]).is_ok());
        assert!(parse(&["--bootstrap-servers", "a:9092, b:9092"]).is_ok());
        let none = parse(&[]).unwrap_err();
        assert!(none.contains("--bootstrap-servers") && none.contains("--embedded-broker"), "{none}");
        let both = parse(&["--embedded-broker", "--bootstrap-servers", "a:9092"]).unwrap_err();
        assert!(both.contains("KAFKA_BOOTSTRAP_SERVERS") && both.contains("a:9092"), "{both}");
    }

    #[test]
    fn values_that_cannot_work_are_refused_with_what_was_wanted() {
        for (flag, value, wanted) in [
            ("--bootstrap-servers", "kafka", "HOST:PORT"),
            ("--bootstrap-servers", "kafka:0", "HOST:PORT"),
            ("--bootstrap-servers", ":9092", "HOST:PORT"),
            ("--bootstrap-servers", "a:9092,", "HOST:PORT"),
            ("--delivery-timeout", "5", "5s or 750ms"),
            ("--delivery-timeout", "1ms", "100ms to 5m"),
            ("--shutdown-timeout", "0s", "more than zero"),
            ("--max-body-bytes", "0", "1..=1073741824"),
            ("--max-record-bytes", "999", "1000..=1000000000"),
            ("--listen", "8080", "invalid socket address"),
            ("--queue-kbytes", "8191", "--max-record-bytes 8388608"),
        ] {
            let mut arguments = vec![flag, value];
            if flag != "--bootstrap-servers" {
                arguments.push("--embedded-broker");
            }
            let error = parse(&arguments).unwrap_err();
            assert!(error.contains(wanted) && error.contains(flag), "{flag} {value}: {error}");
        }
    }
}
