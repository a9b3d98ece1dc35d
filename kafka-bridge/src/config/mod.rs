//! What the process can be told, by flags, environment variables and a file, in this order of precedence.

mod cluster;
mod conflicts;
mod file;
mod librdkafka;
mod listen;
mod load;
mod values;

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Parser, ValueEnum};
use wicketgate_envelope::hop::MAX_CALL_BYTES;

use crate::hop::{ClientName, Guard};
use crate::topics::{self, Pattern};
pub use cluster::{Cluster, DEFAULT_CLUSTER};
pub use librdkafka::Property;
pub use listen::Listen;
pub use load::{Failure, Loaded, Said, load};
use values::{
    bootstrap_servers, delivery_timeout, log_filter, otlp_endpoint, permission_bits, positive_duration,
    within,
};

/// How long after the delivery timeout an answer may still be on its way. librdkafka looks for expired records
/// once a second, so its own report of a timeout is always somewhat late; callers are answered before that.
pub const ANSWER_GRACE: Duration = Duration::from_millis(500);

/// Takes CloudEvents over HTTP and answers once Kafka has them.
#[derive(Clone, Debug, Parser)]
#[command(name = "kafka-bridge", version, about)]
pub struct Config {
    /// A configuration file (TOML): each flag that takes a value under its name with _ for -, and a table
    /// named librdkafka. Flags and environment variables come before it.
    #[arg(long, env = "BRIDGE_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Check the configuration, all of it and the files that it names, say what is wrong with it, and end. Nothing
    /// is connected to.
    #[arg(long)]
    pub check_config: bool,

    /// Where to listen: ADDRESS:PORT, tls:ADDRESS:PORT, or unix:PATH for a Unix domain socket. Several are separated by commas, or
    /// given each with a flag of its own.
    #[arg(
        long,
        env = "BRIDGE_LISTEN",
        default_value = "127.0.0.1:8080",
        value_name = "WHERE",
        value_delimiter = ','
    )]
    pub listen: Vec<Listen>,

    /// Who may connect to Unix domain sockets, as octal permission bits; connecting takes the permission to write.
    #[arg(long, env = "BRIDGE_UNIX_SOCKET_MODE", default_value = "660", value_name = "MODE", value_parser = permission_bits)]
    pub unix_socket_mode: u32,

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

    /// The certificate of the listeners with TLS (PEM), followed by those between it and its authority.
    #[arg(long, env = "BRIDGE_TLS_CERTIFICATE_FILE", value_name = "FILE")]
    pub tls_certificate_file: Option<PathBuf>,

    /// The private key of the certificate (PEM).
    #[arg(long, env = "BRIDGE_TLS_KEY_FILE", value_name = "FILE")]
    pub tls_key_file: Option<PathBuf>,

    /// Authorities (PEM): a request over TLS whose sender has a certificate of one of them is let in.
    #[arg(long, env = "BRIDGE_TLS_CLIENT_CA_FILE", value_name = "FILE")]
    pub tls_client_ca_file: Option<PathBuf>,

    /// The names that a sender's certificate may have, separated by commas: DNS names or URIs, of which its subject
    /// alternative names must have one. Without it each certificate of these authorities will do.
    #[arg(long, env = "BRIDGE_TLS_CLIENT_NAMES", value_name = "NAMES", value_delimiter = ',')]
    pub tls_client_names: Vec<ClientName>,

    /// How many signed requests of the last two minutes are remembered, so that each is let in once; further ones
    /// are answered 503.
    #[arg(long, env = "BRIDGE_HOP_REPLAY_MEMORY", default_value_t = 1_000_000, value_name = "COUNT", value_parser = within::<u32>(1..=100_000_000))]
    pub hop_replay_memory: u32,

    /// The topics that may be written, separated by commas; "orders.*" stands for all that start with "orders.".
    /// Without it all may.
    #[arg(long, env = "BRIDGE_ALLOWED_TOPICS", value_name = "TOPICS", value_delimiter = ',')]
    pub allowed_topics: Vec<Pattern>,

    /// The topics that have to be there, separated by commas: until they are, the bridge is not ready.
    #[arg(long, env = "BRIDGE_TOPICS", value_name = "TOPICS", value_delimiter = ',', value_parser = topics::name)]
    pub topics: Vec<String>,

    /// How long Kafka has to acknowledge a record, such as 5s or 750ms. A caller is answered at most 500ms later.
    #[arg(long, env = "BRIDGE_DELIVERY_TIMEOUT", default_value = "5s", value_name = "DURATION", value_parser = delivery_timeout)]
    pub delivery_timeout: Duration,

    /// How long records may wait for Kafka without any of their topic being acknowledged. After that further ones are
    /// answered 503 at once, until Kafka acknowledges again. 2s unless set, or two fifths of the delivery timeout if
    /// that is less.
    #[arg(long, env = "BRIDGE_BREAKER_STALL", value_name = "DURATION", value_parser = positive_duration)]
    pub breaker_stall: Option<Duration>,

    /// How long an event is remembered after it was acknowledged: one that comes again by then is answered with the
    /// first receipt, and not written again.
    #[arg(long, env = "BRIDGE_IDEMPOTENCY_WINDOW", default_value = "10m", value_name = "DURATION", value_parser = positive_duration)]
    pub idempotency_window: Duration,

    /// The most events that are remembered; beyond that the oldest are forgotten. 0 remembers none.
    #[arg(long, env = "BRIDGE_IDEMPOTENCY_ENTRIES", default_value_t = 100_000, value_name = "COUNT", value_parser = within::<u32>(0..=100_000_000))]
    pub idempotency_entries: u32,

    /// A directory, for this bridge alone, in which the events that are remembered outlive the process. With a spool
    /// they do in any case, beside it.
    #[arg(long, env = "BRIDGE_IDEMPOTENCY_DIR", value_name = "DIRECTORY")]
    pub idempotency_dir: Option<PathBuf>,

    /// A Redis, redis://HOST:PORT, in which several bridges share what they remember of events; rediss://HOST:PORT with
    /// TLS. redis://USER@HOST:PORT/NUMBER is for another user than the default one, and another database than 0.
    #[arg(long, env = "BRIDGE_IDEMPOTENCY_REDIS", value_name = "URL")]
    pub idempotency_redis: Option<String>,

    /// A file with the password that Redis asks for.
    #[arg(long, env = "BRIDGE_IDEMPOTENCY_REDIS_PASSWORD_FILE", value_name = "FILE")]
    pub idempotency_redis_password_file: Option<PathBuf>,

    /// The authorities of which one has to have signed the certificate of a rediss:// Redis, in PEM; those of the
    /// operating system if not set.
    #[arg(long, env = "BRIDGE_IDEMPOTENCY_REDIS_CA_FILE", value_name = "FILE")]
    pub idempotency_redis_ca_file: Option<PathBuf>,

    /// The certificate, in PEM, that the bridge shows to a rediss:// Redis that asks for one, those that lead to its
    /// authority behind it.
    #[arg(long, env = "BRIDGE_IDEMPOTENCY_REDIS_CERTIFICATE_FILE", value_name = "FILE")]
    pub idempotency_redis_certificate_file: Option<PathBuf>,

    /// The private key to it, in PEM.
    #[arg(long, env = "BRIDGE_IDEMPOTENCY_REDIS_KEY_FILE", value_name = "FILE")]
    pub idempotency_redis_key_file: Option<PathBuf>,

    /// How long Redis has to answer.
    #[arg(long, env = "BRIDGE_IDEMPOTENCY_REDIS_TIMEOUT", default_value = "250ms", value_name = "DURATION", value_parser = positive_duration)]
    pub idempotency_redis_timeout: Duration,

    /// What happens to events while Redis does not answer.
    #[arg(long, env = "BRIDGE_IDEMPOTENCY_ON_ERROR", default_value = "deny", value_name = "WHAT")]
    pub idempotency_on_error: OnSharedError,

    /// The Redis in which limits are counted that gateways share, as redis://HOST:PORT, or rediss://HOST:PORT for TLS; user and
    /// database as for the other one. It may be the same. Without it such a limit goes as its on_error says.
    #[arg(long, env = "BRIDGE_LIMITS_REDIS", value_name = "URL")]
    pub limits_redis: Option<String>,

    /// A file with the password that this Redis asks for.
    #[arg(long, env = "BRIDGE_LIMITS_REDIS_PASSWORD_FILE", value_name = "FILE")]
    pub limits_redis_password_file: Option<PathBuf>,

    /// The authorities of which one has to have signed its certificate, in PEM; those of the operating system if not
    /// set.
    #[arg(long, env = "BRIDGE_LIMITS_REDIS_CA_FILE", value_name = "FILE")]
    pub limits_redis_ca_file: Option<PathBuf>,

    /// The certificate, in PEM, that the bridge shows to it if it asks for one.
    #[arg(long, env = "BRIDGE_LIMITS_REDIS_CERTIFICATE_FILE", value_name = "FILE")]
    pub limits_redis_certificate_file: Option<PathBuf>,

    /// The private key to it, in PEM.
    #[arg(long, env = "BRIDGE_LIMITS_REDIS_KEY_FILE", value_name = "FILE")]
    pub limits_redis_key_file: Option<PathBuf>,

    /// How long this Redis has to answer, for all limits of a call together.
    #[arg(long, env = "BRIDGE_LIMITS_REDIS_TIMEOUT", default_value = "100ms", value_name = "DURATION", value_parser = positive_duration)]
    pub limits_redis_timeout: Duration,

    /// The most connections at a time. If not set, what the operating system lets the process open besides what it needs
    /// itself, and 10000 at most.
    #[arg(long, env = "BRIDGE_MAX_CONNECTIONS", value_name = "COUNT", value_parser = within::<u32>(8..=1_000_000))]
    pub max_connections: Option<u32>,

    /// How long a request's body may take to arrive, and its answer to be taken.
    #[arg(long, env = "BRIDGE_BODY_TIMEOUT", default_value = "10s", value_name = "DURATION", value_parser = positive_duration)]
    pub body_timeout: Duration,

    /// How long a body may pause: before its first byte, and between any of its bytes and the next.
    #[arg(long, env = "BRIDGE_BODY_IDLE_TIMEOUT", default_value = "5s", value_name = "DURATION", value_parser = positive_duration)]
    pub body_idle_timeout: Duration,

    /// How long a connection may be without a request, the head of the next one included. Clients that pool connections
    /// should let go of them sooner.
    #[arg(long, env = "BRIDGE_IDLE_TIMEOUT", default_value = "60s", value_name = "DURATION", value_parser = positive_duration)]
    pub idle_timeout: Duration,

    /// The most header fields in one request.
    #[arg(long, env = "BRIDGE_MAX_HEADERS", default_value_t = 64, value_name = "COUNT", value_parser = within::<u32>(1..=1000))]
    pub max_headers: u32,

    /// The largest head of a request, in bytes: its target, and the name, the value and another 32 of each header field.
    #[arg(long, env = "BRIDGE_MAX_HEADER_BYTES", default_value_t = 64 << 10, value_name = "BYTES", value_parser = within::<u32>(1024..=1 << 20))]
    pub max_header_bytes: u32,

    /// The largest body of a request, in bytes.
    #[arg(long, env = "BRIDGE_MAX_BODY_BYTES", default_value_t = MAX_CALL_BYTES, value_name = "BYTES", value_parser = within::<u32>(1..=1 << 30))]
    pub max_body_bytes: u32,

    /// The largest record, key and headers included, in bytes. Topics have a limit of their own, 1 MiB unless
    /// changed.
    #[arg(long, env = "BRIDGE_MAX_RECORD_BYTES", default_value_t = 8 << 20, value_name = "BYTES", value_parser = within::<u32>(1_000..=1_000_000_000))]
    pub max_record_bytes: u32,

    /// The most records in one request.
    #[arg(long, env = "BRIDGE_MAX_RECORDS", default_value_t = 1024, value_name = "COUNT", value_parser = within::<u32>(1..=100_000))]
    pub max_records: u32,

    /// The most records that may wait for Kafka; further ones are answered 503 at once.
    #[arg(long, env = "BRIDGE_QUEUE_RECORDS", default_value_t = 100_000, value_name = "COUNT", value_parser = within::<u32>(1..=10_000_000))]
    pub queue_records: u32,

    /// The most topics of a cluster that records may be for, besides those that the configuration names; records for
    /// further ones are answered 503. librdkafka keeps each topic until the bridge ends.
    #[arg(long, env = "BRIDGE_MAX_TOPICS", default_value_t = 5_000, value_name = "COUNT", value_parser = within::<u32>(1..=1_000_000))]
    pub max_topics: u32,

    /// The most memory, in KiB, that records waiting for Kafka may take; further ones are answered 503 at once.
    #[arg(long, env = "BRIDGE_QUEUE_KBYTES", default_value_t = 256 << 10, value_name = "KIB", value_parser = within::<u32>(1..=2_000_000))]
    pub queue_kbytes: u32,

    /// A directory of this bridge's own, on a disk that survives it, for records that are to be acknowledged once they are
    /// there (ack=spooled). Without it they are refused.
    #[arg(long, env = "BRIDGE_SPOOL_DIR", value_name = "DIRECTORY")]
    pub spool_dir: Option<PathBuf>,

    /// The most that the spool takes on disk, in bytes; further records are answered 503.
    #[arg(long, env = "BRIDGE_SPOOL_MAX_BYTES", default_value_t = 1 << 30, value_name = "BYTES", value_parser = within::<u64>(1 << 20..=1 << 50))]
    pub spool_max_bytes: u64,

    /// How old the oldest record in the spool may be while more are taken; further ones are answered 503.
    #[arg(long, env = "BRIDGE_SPOOL_MAX_AGE", default_value = "24h", value_name = "DURATION", value_parser = positive_duration)]
    pub spool_max_age: Duration,

    /// After how many bytes the spool begins another file. A file goes when all of it is in Kafka.
    #[arg(long, env = "BRIDGE_SPOOL_SEGMENT_BYTES", default_value_t = 64 << 20, value_name = "BYTES", value_parser = within::<u64>(64 << 10..=1 << 30))]
    pub spool_segment_bytes: u64,

    /// Show the spooled records that Kafka has refused, or put them back to be tried again, and end. No bridge may be
    /// running with the spool.
    #[arg(long, value_name = "WHAT")]
    pub spool_refused: Option<SpoolRefused>,

    /// Whether the bridge as a whole is ready only if the default cluster can be written. It always is the one that counts
    /// where there is no other.
    #[arg(long, env = "BRIDGE_REQUIRED", default_value_t = true, action = ArgAction::Set, value_name = "BOOL")]
    pub required: bool,

    /// What makes a cluster ready, for /readyz: that it can be written, or that its spool takes records.
    #[arg(long, env = "BRIDGE_READY_WHEN", default_value = "kafka", value_name = "WHAT")]
    pub ready_when: ReadyWhen,

    /// Say how the files of the spool are, what is in each and what is wrong where, and end; the exit code is 1 if a bridge
    /// would not start with them. Nothing is changed. No bridge may be running with the spool.
    #[arg(long, conflicts_with = "spool_refused")]
    pub spool_check: bool,

    /// Make of a damaged spool one that a bridge starts with: what can be read is written anew, what was there is moved to a
    /// directory of its own. No bridge may be running with the spool.
    #[arg(long, conflicts_with_all = ["spool_refused", "spool_check"])]
    pub spool_salvage: bool,

    /// An option of librdkafka, such as compression.type=zstd; may be given several times. The file is the place for
    /// those that are secret.
    #[arg(long, value_name = "NAME=VALUE")]
    pub librdkafka: Vec<Property>,

    /// Further clusters, which only a file can have.
    #[arg(skip)]
    pub clusters: Vec<Cluster>,

    /// How long requests and records in flight have to finish after SIGTERM or SIGINT.
    #[arg(long, env = "BRIDGE_SHUTDOWN_TIMEOUT", default_value = "10s", value_name = "DURATION", value_parser = positive_duration)]
    pub shutdown_timeout: Duration,

    /// The OpenTelemetry collector that is sent a span for each request and record, over OTLP/HTTP, such as
    /// http://localhost:4318. Without it there are no spans.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL", value_parser = otlp_endpoint)]
    pub otlp_endpoint: Option<String>,

    /// The authorities of which one has to have signed the certificate of an https:// collector, in PEM; those of the
    /// operating system if not set.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_CERTIFICATE", value_name = "FILE")]
    pub otlp_ca_file: Option<PathBuf>,

    /// How log lines look.
    #[arg(long, env = "BRIDGE_LOG_FORMAT", default_value = "text", value_name = "FORMAT")]
    pub log_format: LogFormat,

    /// What is logged, such as info or warn,kafka_bridge=debug.
    #[arg(long, env = "RUST_LOG", default_value = "info", value_name = "FILTER", value_parser = log_filter)]
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

/// What happens to events while what bridges share cannot be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OnSharedError {
    /// They are written by what this bridge alone knows.
    Allow,
    /// They are answered 503.
    Deny,
}

/// What makes a cluster ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReadyWhen {
    /// Kafka takes records.
    Kafka,
    /// Kafka takes records, or the spool does in its place.
    Spooling,
}

/// What is done with records that Kafka has refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SpoolRefused {
    /// Each is written to stdout as a line of JSON.
    List,
    /// They go back into the spool, behind all that is there.
    Retry,
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
    /// Checks what no single value can be blamed for.
    ///
    /// # Errors
    /// All that is wrong, each with the next step.
    pub(crate) fn check(&self) -> Result<(), Vec<String>> {
        let mut errors = Vec::new();
        match (&self.bootstrap_servers, self.embedded_broker) {
            (None, false) => errors.push(
                "no Kafka cluster: give one with --bootstrap-servers or KAFKA_BOOTSTRAP_SERVERS, or start a broker \
                 that forgets everything with --embedded-broker"
                    .to_owned(),
            ),
            (Some(servers), true) => errors.push(format!(
                "two Kafka clusters: --embedded-broker, and {servers} from --bootstrap-servers, \
                 KAFKA_BOOTSTRAP_SERVERS or the configuration file; leave out one of them"
            )),
            _ => {}
        }
        for (index, listen) in self.listen.iter().enumerate() {
            if self.listen.iter().take(index).any(|other| listen.is_taken_by(other)) {
                errors.push(format!("--listen {listen}: it is there twice"));
            }
        }
        errors.extend(self.check_tls());
        if self.mode == Mode::Production {
            if self.embedded_broker {
                errors.push(
                    "--mode production: --embedded-broker loses all records when it ends; give a cluster with \
                     --bootstrap-servers"
                        .to_owned(),
                );
            }
            let proofs = [&self.hop_secret_file, &self.hop_token_file, &self.tls_client_ca_file];
            if proofs.iter().all(|file| file.is_none()) {
                errors.push(
                    "--mode production: whoever reaches the port could write to Kafka; have callers prove who they \
                     are, with --hop-secret-file, --hop-token-file or --tls-client-ca-file"
                        .to_owned(),
                );
            }
        }
        if u64::from(self.queue_kbytes) * 1024 < u64::from(self.max_record_bytes) {
            errors.push(format!(
                "--queue-kbytes {}: wanted room for at least one record of --max-record-bytes {}",
                self.queue_kbytes, self.max_record_bytes
            ));
        }
        errors.extend(self.check_clusters());
        if let Some(stall) = self.breaker_stall.filter(|stall| *stall >= self.delivery_timeout) {
            errors.push(format!(
                "--breaker-stall {}: wanted less than --delivery-timeout {}, after which every record has its answer \
                 anyway",
                humantime::format_duration(stall),
                humantime::format_duration(self.delivery_timeout)
            ));
        }
        if let Err(wrong) = crate::idempotency::redis_client_of(&crate::limits::flags(self)) {
            errors.extend(wrong);
        }
        if let Err(wrong) = crate::idempotency::redis_client(self) {
            errors.extend(wrong);
        } else if self.idempotency_entries == 0
            && (self.idempotency_redis.is_some() || self.idempotency_dir.is_some())
        {
            errors.push(
                "--idempotency-entries 0: nothing is remembered, so leave out --idempotency-redis and --idempotency-dir"
                    .to_owned(),
            );
        }
        if self.spool_dir.is_none() {
            // The directory may be in the file, so clap cannot tell.
            let of_spool = [
                ("--spool-refused", self.spool_refused.is_some()),
                ("--spool-check", self.spool_check),
                ("--spool-salvage", self.spool_salvage),
                ("--ready-when spooling", self.ready_when == ReadyWhen::Spooling),
            ];
            let said = of_spool.into_iter().filter(|(_, said)| *said);
            errors
                .extend(said.map(|(flag, _)| format!("{flag}: takes --spool-dir, or spool_dir in the file")));
        }
        errors.extend(crate::telemetry::check(self));
        if self.spool_dir.is_some() {
            errors.extend(self.check_spool("--spool-max-bytes", self.spool_max_bytes));
            for Cluster { name, spool_max_bytes, .. } in &self.clusters {
                let setting = format!("clusters.{name}.spool_max_bytes");
                errors.extend(spool_max_bytes.iter().flat_map(|bytes| self.check_spool(&setting, *bytes)));
            }
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    /// What is wrong with the size of a spool, which `setting` says.
    fn check_spool(&self, setting: &str, bytes: u64) -> Vec<String> {
        let mut errors = Vec::new();
        if self.spool_segment_bytes > bytes / 4 {
            errors.push(format!(
                "--spool-segment-bytes {}: wanted at most a quarter of {setting} {bytes}, because space comes free a segment \
                 at a time",
                self.spool_segment_bytes
            ));
        }
        if bytes < 4 * u64::from(self.max_record_bytes) {
            errors.push(format!(
                "{setting} {bytes}: wanted room for four records of --max-record-bytes {}",
                self.max_record_bytes
            ));
        }
        errors
    }

    /// What the configuration leaves open, for the log; without secrets. `guard` is made of the files that it names.
    pub fn warnings(&self, guard: &Guard) -> Vec<String> {
        let named = self.clusters.iter().map(|cluster| (cluster.name.as_str(), &cluster.librdkafka));
        let clusters = std::iter::once((DEFAULT_CLUSTER, &self.librdkafka)).chain(named);
        let of_clusters = clusters.flat_map(|(name, options)| {
            let warnings = conflicts::warnings(options).into_iter();
            warnings.map(move |warning| format!("cluster {name}: {warning}"))
        });
        let open = guard.is_open().then(|| {
            "anybody who reaches the bridge may write; --hop-secret-file, --hop-token-file or --tls-client-ca-file closes it"
                .to_owned()
        });
        open.into_iter().chain(of_clusters).collect()
    }

    /// How long records may wait without one being acknowledged, set or not.
    pub fn breaker_stall(&self) -> Duration {
        // A broker's pauses and planned changes of leaders are over within a second or so. And whoever comes after
        // the first that wait has to know sooner than those.
        const LONGEST: Duration = Duration::from_secs(2);
        self.breaker_stall.unwrap_or_else(|| LONGEST.min(self.delivery_timeout * 2 / 5))
    }

    fn check_tls(&self) -> Vec<String> {
        let mut errors = Vec::new();
        let listener = self.listen.iter().find(|listen| matches!(listen, Listen::Tls(_)));
        if let Some(listen) = listener
            && (self.tls_certificate_file.is_none() || self.tls_key_file.is_none())
        {
            errors.push(format!("--listen {listen}: takes --tls-certificate-file and --tls-key-file"));
        }
        for (flag, file) in [
            ("--tls-certificate-file", &self.tls_certificate_file),
            ("--tls-key-file", &self.tls_key_file),
            ("--tls-client-ca-file", &self.tls_client_ca_file),
        ] {
            if listener.is_none() && file.is_some() {
                errors.push(format!("{flag}: no --listen tls:ADDRESS:PORT uses it"));
            }
        }
        if !self.tls_client_names.is_empty() && self.tls_client_ca_file.is_none() {
            errors.push(
                "--tls-client-names: takes --tls-client-ca-file, whose certificates have them".to_owned(),
            );
        }
        errors
    }

    /// Where events that are remembered outlive the process: as set, or else beside what is spooled.
    pub fn journal_dir(&self) -> Option<PathBuf> {
        // No cluster, and so no spool, can have this name.
        let beside_spool = || self.spool_dir.as_ref().map(|directory| directory.join("+idempotency"));
        self.idempotency_dir.clone().or_else(beside_spool)
    }

    /// How long a caller can wait for the answer to a record that was enqueued.
    pub fn answer_timeout(&self) -> Duration {
        self.delivery_timeout + ANSWER_GRACE
    }
}

#[cfg(test)]
mod tests;
