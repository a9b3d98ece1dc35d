//! Settings of Kafka clusters: the one of the top-level settings, and those of the file's tables `[clusters.<name>]`.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::{ArgAction, Args, Parser};
use serde::{Serialize, Serializer};

use super::Property;
use crate::topics::{self, Allowed, Pattern};
use crate::values::{bootstrap_servers, delivery_timeout, positive_duration, within};

/// The name of the cluster that the top-level settings are about.
pub const DEFAULT_CLUSTER: &str = "default";

/// How long after the delivery timeout an answer may still be on its way. librdkafka looks for expired records
/// once a second, so its own report of a timeout is always somewhat late; callers are answered before that.
pub const ANSWER_GRACE: Duration = Duration::from_millis(500);

/// The default cluster, and what holds for all of them.
#[derive(Clone, Debug, PartialEq, Args, Serialize)]
#[group(skip)]
pub struct Options {
    /// The Kafka cluster, as a comma-separated list of HOST:PORT.
    #[arg(long, env = "KAFKA_BOOTSTRAP_SERVERS", value_name = "SERVERS", value_parser = bootstrap_servers)]
    pub bootstrap_servers: Option<String>,

    /// Start a broker inside this process instead, for demos and tests: it keeps records in memory, a few MiB of
    /// them, and loses them when the process ends.
    #[arg(long)]
    pub embedded_broker: bool,

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

    /// The largest record, key and headers included, in bytes. Topics have a limit of their own, 1 MiB unless
    /// changed.
    #[arg(long, env = "BRIDGE_MAX_RECORD_BYTES", default_value_t = 8 << 20, value_name = "BYTES", value_parser = within::<u32>(1_000..=1_000_000_000))]
    pub max_record_bytes: u32,

    /// The most records that may wait for Kafka; further ones are answered 503 at once.
    #[arg(long, env = "BRIDGE_QUEUE_RECORDS", default_value_t = 100_000, value_name = "COUNT", value_parser = within::<u32>(1..=10_000_000))]
    pub queue_records: u32,

    /// The most memory, in KiB, that records waiting for Kafka may take; further ones are answered 503 at once.
    #[arg(long, env = "BRIDGE_QUEUE_KBYTES", default_value_t = 256 << 10, value_name = "KIB", value_parser = within::<u32>(1..=2_000_000))]
    pub queue_kbytes: u32,

    /// The most topics of a cluster that records may be for, besides those that the configuration names; records for
    /// further ones are answered 503. librdkafka keeps each topic until the bridge ends.
    #[arg(long, env = "BRIDGE_MAX_TOPICS", default_value_t = 5_000, value_name = "COUNT", value_parser = within::<u32>(1..=1_000_000))]
    pub max_topics: u32,

    /// An option of librdkafka, such as compression.type=zstd; may be given several times. The file is the place for
    /// those that are secret.
    #[arg(long, value_name = "NAME=VALUE")]
    #[serde(serialize_with = "as_map")]
    pub librdkafka: Vec<Property>,

    /// What can change while the bridge runs.
    #[command(flatten)]
    #[serde(flatten)]
    pub reloadable: Reloadable,
}

/// Which topics of the default cluster may be written.
#[derive(Clone, Debug, PartialEq, Args, Serialize)]
#[group(skip)]
pub struct Reloadable {
    /// The topics that may be written, separated by commas; "orders.*" stands for all that start with "orders.".
    /// Without it all may.
    #[arg(long, env = "BRIDGE_ALLOWED_TOPICS", value_name = "TOPICS", value_delimiter = ',')]
    pub allowed_topics: Vec<Pattern>,
}

/// One Kafka cluster. In a table `[clusters.<name>]` each field is a key, but for the last three.
#[derive(Clone, Debug, PartialEq, Parser, Serialize)]
#[command(no_binary_name = true)]
pub struct ClusterOptions {
    /// The brokers, as a comma-separated list of HOST:PORT.
    #[arg(long, value_parser = bootstrap_servers)]
    pub bootstrap_servers: String,

    /// The topics that may be written; all if there are none.
    #[arg(long, value_delimiter = ',')]
    pub allowed_topics: Vec<Pattern>,

    /// The topics that have to be there: until they are, the cluster is not ready.
    #[arg(long, value_delimiter = ',', value_parser = topics::name)]
    pub topics: Vec<String>,

    /// Whether the bridge as a whole is ready only if this cluster can be written.
    #[arg(long, default_value_t = true, action = ArgAction::Set)]
    pub required: bool,

    /// The most records that may wait for this cluster; as for the default cluster if absent.
    #[arg(long, value_parser = within::<u32>(1..=10_000_000))]
    pub queue_records: Option<u32>,

    /// The most memory, in KiB, that they may take; as for the default cluster if absent.
    #[arg(long, value_parser = within::<u32>(1..=2_000_000))]
    pub queue_kbytes: Option<u32>,

    /// The most that its spool takes on disk, in bytes; as for the default cluster if absent.
    #[arg(long, value_parser = within::<u64>(1 << 20..=1 << 50))]
    pub spool_max_bytes: Option<u64>,

    /// How old the oldest record in its spool may be while more are taken; as for the default cluster if absent.
    #[arg(long, value_parser = positive_duration)]
    pub spool_max_age: Option<Duration>,

    /// Options of librdkafka, later ones before earlier ones.
    #[arg(skip)]
    #[serde(serialize_with = "as_map")]
    pub librdkafka: Vec<Property>,

    /// Whether it is [`crate::embedded::EmbeddedBroker`].
    #[arg(skip)]
    #[serde(skip)]
    pub embedded: bool,

    /// What records, paths, metrics and log lines call it.
    #[arg(skip)]
    #[serde(skip)]
    pub name: String,
}

fn as_map<S: Serializer>(properties: &[Property], serializer: S) -> Result<S::Ok, S::Error> {
    // Later ones replace earlier ones.
    let map: BTreeMap<&str, &str> =
        properties.iter().map(|property| (property.name.as_str(), property.value.as_str())).collect();
    map.serialize(serializer)
}

impl ClusterOptions {
    /// With what of `new`, which is the same cluster, can change while the bridge runs.
    pub(crate) fn reloaded(&self, new: &Self) -> Self {
        Self { allowed_topics: new.allowed_topics.clone(), ..self.clone() }
    }
}

impl Options {
    /// The cluster that the top-level settings are about.
    pub fn default_cluster(&self, bootstrap_servers: &str) -> ClusterOptions {
        ClusterOptions {
            name: DEFAULT_CLUSTER.to_owned(),
            bootstrap_servers: bootstrap_servers.to_owned(),
            allowed_topics: self.reloadable.allowed_topics.clone(),
            topics: self.topics.clone(),
            required: true,
            queue_records: None,
            queue_kbytes: None,
            spool_max_bytes: None,
            spool_max_age: None,
            librdkafka: self.librdkafka.clone(),
            embedded: self.embedded_broker,
        }
    }

    /// How long records may wait without one being acknowledged, set or not.
    pub fn breaker_stall(&self) -> Duration {
        // A broker's pauses and planned changes of leaders are over within a second or so. And whoever comes after
        // the first that wait has to know sooner than those.
        const LONGEST: Duration = Duration::from_secs(2);
        self.breaker_stall.unwrap_or_else(|| LONGEST.min(self.delivery_timeout * 2 / 5))
    }

    /// How long a caller can wait for the answer to a record that was enqueued.
    pub fn answer_timeout(&self) -> Duration {
        self.delivery_timeout + ANSWER_GRACE
    }

    /// Checks what no single value can be blamed for, here and in the tables of other clusters.
    pub(crate) fn check(&self, clusters: &[ClusterOptions], errors: &mut Vec<String>) {
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
        let record = self.max_record_bytes;
        if u64::from(self.queue_kbytes) * 1024 < u64::from(record) {
            errors.push(format!(
                "--queue-kbytes {}: wanted room for at least one record of --max-record-bytes {record}",
                self.queue_kbytes
            ));
        }
        let allowed = &self.reloadable.allowed_topics;
        errors.extend(forbidden(&self.topics, allowed, ""));
        for ClusterOptions { name, allowed_topics, topics, queue_kbytes, .. } in clusters {
            if allowed_topics.is_empty() && !allowed.is_empty() {
                errors.push(format!(
                    "clusters.{name}.allowed_topics: wanted, since those of the default cluster are said and do not \
                     hold here; [\"*\"] allows all"
                ));
            }
            errors.extend(forbidden(topics, allowed_topics, &format!("clusters.{name}.")));
            if let Some(kbytes) = queue_kbytes.filter(|kbytes| u64::from(*kbytes) * 1024 < u64::from(record))
            {
                errors.push(format!(
                    "clusters.{name}.queue_kbytes {kbytes}: wanted room for at least one record of --max-record-bytes \
                     {record}"
                ));
            }
        }
        if let Some(stall) = self.breaker_stall.filter(|stall| *stall >= self.delivery_timeout) {
            errors.push(format!(
                "--breaker-stall {}: wanted less than --delivery-timeout {}, after which every record has its answer \
                 anyway",
                humantime::format_duration(stall),
                humantime::format_duration(self.delivery_timeout)
            ));
        }
    }
}

/// The topics that would have to be there and may not be written.
fn forbidden(topics: &[String], allowed: &[Pattern], origin: &str) -> Vec<String> {
    let allowed = Allowed::new(allowed.to_vec());
    let forbidden = topics.iter().filter(|topic| !allowed.allows(topic));
    forbidden
        .map(|topic| {
            format!("{origin}topics: {topic} is not among {origin}allowed_topics, so it could not be written; add it there")
        })
        .collect()
}

#[cfg(test)]
impl Options {
    /// What unit tests start from.
    pub(crate) fn example() -> Self {
        Self {
            bootstrap_servers: None,
            embedded_broker: true,
            topics: Vec::new(),
            delivery_timeout: Duration::from_secs(5),
            breaker_stall: None,
            max_record_bytes: 8 << 20,
            queue_records: 100_000,
            queue_kbytes: 256 << 10,
            max_topics: 5_000,
            librdkafka: Vec::new(),
            reloadable: Reloadable { allowed_topics: Vec::new() },
        }
    }
}
