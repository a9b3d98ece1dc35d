//! Prints each new record of some topics as it lands, for the demo. Joins no consumer group and leaves nothing
//! behind in the cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::io::{ErrorKind, IsTerminal as _, Write, stderr, stdout};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{BorrowedMessage, Headers as _};
use rdkafka::{Message as _, Offset, TopicPartitionList};
use wicketgate_envelope::timestamp::Timestamp;

/// How often to look for topics and partitions that did not exist before.
const DISCOVERY_INTERVAL: Duration = Duration::from_millis(250);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Prints each new record of some Kafka topics.
#[derive(Debug, Parser)]
struct Arguments {
    /// The cluster, as a comma-separated list of HOST:PORT.
    #[arg(long, env = "KAFKA_BOOTSTRAP_SERVERS", value_name = "SERVERS")]
    bootstrap_servers: String,

    /// The topics, separated by commas. Those that do not exist yet are read from their first record on.
    #[arg(long, required = true, value_delimiter = ',', value_name = "TOPIC,…")]
    topics: Vec<String>,

    /// The most characters of a value that are shown.
    #[arg(long, default_value_t = 1024, value_name = "COUNT")]
    max_value: usize,
}

fn main() -> ExitCode {
    match tail(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(stderr(), "tail: {error}");
            ExitCode::FAILURE
        }
    }
}

fn tail(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let wanted: BTreeSet<&str> =
        arguments.topics.iter().map(|topic| topic.trim()).filter(|topic| !topic.is_empty()).collect();
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &arguments.bootstrap_servers)
        .set("client.id", "wicketgate-tail")
        // The client insists on a group; as offsets are never committed, none comes into being.
        .set("group.id", "wicketgate-tail")
        .set("enable.auto.commit", "false")
        .set("allow.auto.create.topics", "false")
        .set("fetch.wait.max.ms", "100")
        .create()?;

    let mut followed = BTreeMap::new();
    for (topic, partition) in partitions(&consumer, &wanted)? {
        let (_, end) = consumer.fetch_watermarks(&topic, partition, REQUEST_TIMEOUT)?;
        followed.insert((topic, partition), Offset::Offset(end));
    }
    assign(&consumer, &followed)?;
    writeln!(stderr(), "tail: ready")?;

    let style = if stdout().is_terminal() { Style::COLOURED } else { Style::PLAIN };
    let mut looked = Instant::now();
    loop {
        if let Some(received) = consumer.poll(DISCOVERY_INTERVAL) {
            match received {
                Ok(message) => {
                    let at = (message.topic().to_owned(), message.partition());
                    followed.insert(at, Offset::Offset(message.offset() + 1));
                    if let Err(error) = print(&message, &style, arguments.max_value) {
                        return if error.kind() == ErrorKind::BrokenPipe {
                            Ok(())
                        } else {
                            Err(error.into())
                        };
                    }
                }
                Err(error) => writeln!(stderr(), "tail: {error}")?,
            }
        }
        if looked.elapsed() >= DISCOVERY_INTERVAL {
            looked = Instant::now();
            // Whatever appears after "ready" is new from its first record on.
            match partitions(&consumer, &wanted) {
                Ok(found) => {
                    let before = followed.len();
                    for at in found {
                        followed.entry(at).or_insert(Offset::Beginning);
                    }
                    if followed.len() > before {
                        assign(&consumer, &followed)?;
                    }
                }
                Err(error) => writeln!(stderr(), "tail: {error}; trying again")?,
            }
        }
    }
}

/// The partitions that exist of the wanted topics. Asks for all topics, since asking for one by name may create it.
fn partitions(
    consumer: &BaseConsumer,
    wanted: &BTreeSet<&str>,
) -> Result<Vec<(String, i32)>, Box<dyn Error>> {
    let metadata = consumer.fetch_metadata(None, REQUEST_TIMEOUT)?;
    Ok(metadata
        .topics()
        .iter()
        .filter(|topic| wanted.contains(topic.name()))
        .flat_map(|topic| {
            topic.partitions().iter().map(|partition| (topic.name().to_owned(), partition.id()))
        })
        .collect())
}

fn assign(consumer: &BaseConsumer, followed: &BTreeMap<(String, i32), Offset>) -> Result<(), Box<dyn Error>> {
    let mut list = TopicPartitionList::new();
    for ((topic, partition), offset) in followed {
        list.add_partition_offset(topic, *partition, *offset)?;
    }
    Ok(consumer.assign(&list)?)
}

/// Escape sequences of a terminal.
struct Style {
    place: &'static str,
    name: &'static str,
    reset: &'static str,
}

impl Style {
    const PLAIN: Self = Self { place: "", name: "", reset: "" };
    const COLOURED: Self = Self { place: "\x1b[1;32m", name: "\x1b[36m", reset: "\x1b[0m" };
}

fn print(message: &BorrowedMessage<'_>, style: &Style, most: usize) -> std::io::Result<()> {
    let Style { place, name, reset } = style;
    let mut out = stdout().lock();
    write!(out, "{place}{}[{}]@{}{reset}", message.topic(), message.partition(), message.offset())?;
    if let Some(millis) = message.timestamp().to_millis() {
        write!(out, "  {}", Timestamp::from_millis(millis))?;
    }
    match message.key() {
        Some(key) => writeln!(out, "  {name}key{reset} {}", text(key, most))?,
        None => writeln!(out, "  {name}no key{reset}")?,
    }
    for header in message.headers().iter().flat_map(|headers| headers.iter()) {
        let value = header.value.map_or_else(|| "null".to_owned(), |value| text(value, most));
        writeln!(out, "  {name}{}:{reset} {value}", header.key)?;
    }
    match message.payload() {
        Some(value) => writeln!(out, "  {}", text(value, most))?,
        None => writeln!(out, "  {name}no value{reset}")?,
    }
    out.flush()
}

/// Bytes as one line of text: control characters escaped, so that no record can steer the terminal, and the length
/// told where not all is shown.
fn text(bytes: &[u8], most: usize) -> String {
    let Ok(text) = std::str::from_utf8(bytes) else {
        let shown: String = bytes.iter().take(most / 2).map(|byte| format!("{byte:02x}")).collect();
        let rest = if bytes.len() > most / 2 { "…" } else { "" };
        return format!("0x{shown}{rest} ({} bytes, not UTF-8)", bytes.len());
    };
    let mut line = String::with_capacity(text.len().min(most));
    let mut characters = text.chars();
    for character in characters.by_ref().take(most) {
        if character.is_control() {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    if !characters.as_str().is_empty() {
        line.push_str(&format!("… ({} bytes)", bytes.len()));
    }
    line
}
