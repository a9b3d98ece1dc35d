//! Kafka clusters: the one of the top-level settings, and those of the file's tables `[clusters.<name>]`.

use std::ffi::OsString;
use std::time::Duration;

use clap::{ArgAction, CommandFactory as _, FromArgMatches as _, Parser};

use wicketgate_envelope::hop::is_cluster_name;

use super::Config;
use super::file::Contents;
use super::librdkafka::{self, Property};
use super::load;
use super::values::{bootstrap_servers, positive_duration, within};
use crate::topics::{self, Allowed, Pattern};

/// The name of the cluster that the top-level settings are about.
pub const DEFAULT_CLUSTER: &str = "default";

/// Names that no directory of a spool can have, or that something else has.
const NO_DIRECTORY: [&str; 3] = [".", "..", "lock"];

/// One Kafka cluster. In a table `[clusters.<name>]` each field is a key, but for the last three.
#[derive(Clone, Debug, Parser)]
#[command(no_binary_name = true)]
pub struct Cluster {
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
    pub librdkafka: Vec<Property>,

    /// Whether it is [`crate::embedded::EmbeddedBroker`].
    #[arg(skip)]
    pub embedded: bool,

    /// What records, paths, metrics and log lines call it.
    #[arg(skip)]
    pub name: String,
}

impl Cluster {
    /// Reads a table of the configuration file, which `origin` names; adds what is wrong to `errors`.
    pub(super) fn read(
        name: &str,
        contents: Contents,
        origin: &str,
        errors: &mut Vec<String>,
    ) -> Option<Self> {
        let said = errors.len();
        if name == DEFAULT_CLUSTER {
            errors.push(format!(
                "{origin}: wanted another name: the settings outside of [clusters] are those of the cluster {name}"
            ));
        } else if !is_cluster_name(name) {
            errors.push(format!("{origin}: wanted a name of 1 to 64 of the characters a-z A-Z 0-9 . _ -"));
        } else if NO_DIRECTORY.contains(&name) {
            errors.push(format!(
                "{origin}: wanted another name: its spool would be a directory {name} in --spool-dir"
            ));
        }
        errors.extend(contents.errors.iter().map(|error| format!("{origin}.{error}")));
        let command = Self::command();
        let mut arguments: Vec<OsString> = Vec::new();
        for (key, value) in &contents.settings {
            let flag = match command.get_arguments().find(|known| known.get_id() == key) {
                Some(argument) => load::setting(argument, value),
                None => Err("a cluster has no such setting; docs/bridge.md has all of them".to_owned()),
            };
            match flag {
                Ok(flag) => arguments.extend(flag),
                Err(error) => errors.push(format!("{origin}.{key}: {error}")),
            }
        }
        let is_there = contents.settings.iter().any(|(key, _)| key == "bootstrap_servers")
            || contents.errors.iter().any(|error| error.starts_with("bootstrap_servers: "));
        if !is_there {
            errors.push(format!(
                "{origin}.bootstrap_servers: wanted HOST:PORT, or several separated by commas, got nothing"
            ));
        }
        errors.extend(
            librdkafka::check(&contents.properties)
                .into_iter()
                .map(|error| format!("{origin}.librdkafka.{error}")),
        );
        if errors.len() > said {
            return None;
        }
        let read =
            command.try_get_matches_from(arguments).and_then(|matches| Self::from_arg_matches(&matches));
        match read {
            Ok(cluster) => Some(Self { name: name.to_owned(), librdkafka: contents.properties, ..cluster }),
            Err(error) => {
                errors.push(format!("{origin}: {error}"));
                None
            }
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

impl Cluster {
    /// Each of its settings under its name in the file, with its value, which may be secret.
    pub(super) fn said(&self) -> Vec<(String, String)> {
        let mut said = vec![
            ("bootstrap_servers".to_owned(), self.bootstrap_servers.clone()),
            ("allowed_topics".to_owned(), format!("{:?}", self.allowed_topics)),
            ("topics".to_owned(), self.topics.join(",")),
            ("required".to_owned(), self.required.to_string()),
            ("queue_records".to_owned(), format!("{:?}", self.queue_records)),
            ("queue_kbytes".to_owned(), format!("{:?}", self.queue_kbytes)),
            ("spool_max_bytes".to_owned(), format!("{:?}", self.spool_max_bytes)),
            ("spool_max_age".to_owned(), format!("{:?}", self.spool_max_age)),
        ];
        let options = self.librdkafka.iter();
        said.extend(options.map(|option| (format!("librdkafka.{}", option.name), option.value.clone())));
        said
    }
}

impl Config {
    /// The cluster that the top-level settings are about.
    pub fn default_cluster(&self, bootstrap_servers: &str) -> Cluster {
        Cluster {
            name: DEFAULT_CLUSTER.to_owned(),
            bootstrap_servers: bootstrap_servers.to_owned(),
            allowed_topics: self.allowed_topics.clone(),
            topics: self.topics.clone(),
            required: self.required,
            queue_records: None,
            queue_kbytes: None,
            spool_max_bytes: None,
            spool_max_age: None,
            librdkafka: self.librdkafka.clone(),
            embedded: self.embedded_broker,
        }
    }

    /// What the settings of named clusters contradict.
    pub(super) fn check_clusters(&self) -> Vec<String> {
        let mut errors = forbidden(&self.topics, &self.allowed_topics, "");
        if !self.required && !self.clusters.iter().any(|cluster| cluster.required) {
            errors.push(
                "--required false: no cluster is required then, and /readyz would be 200 whatever becomes of them; \
                 require the default cluster or another"
                    .to_owned(),
            );
        }
        for Cluster { name, allowed_topics, topics, queue_kbytes, .. } in &self.clusters {
            if allowed_topics.is_empty() && !self.allowed_topics.is_empty() {
                errors.push(format!(
                    "clusters.{name}.allowed_topics: wanted, since those of the default cluster are said and do not \
                     hold here; [\"*\"] allows all"
                ));
            }
            errors.extend(forbidden(topics, allowed_topics, &format!("clusters.{name}.")));
            let record = self.max_record_bytes;
            if let Some(kbytes) = queue_kbytes.filter(|kbytes| u64::from(*kbytes) * 1024 < u64::from(record))
            {
                errors.push(format!(
                    "clusters.{name}.queue_kbytes {kbytes}: wanted room for at least one record of --max-record-bytes \
                     {record}"
                ));
            }
        }
        errors
    }
}
