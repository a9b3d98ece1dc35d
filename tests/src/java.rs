//! Kafka's own clients, to check ours against.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use crate::kafka::{Kafka, java};
use crate::process::{dying_with_us, spawn};
use crate::topic::{Record, Topic};

/// Everything that the console consumer can print of a record.
const PRINTED: [&str; 6] = [
    "print.timestamp=true",
    "print.partition=true",
    "print.offset=true",
    "print.headers=true",
    "print.key=true",
    "print.value=true",
];

const ACLS: &str = "org.apache.kafka.tools.AclCommand";

/// What Kafka's console consumer prints for the first `count` records of a topic: bytes, in the layout that
/// [`console_lines`] makes.
pub async fn read_with_java_client(topic: &Topic<'_>, count: usize) -> Vec<u8> {
    let count = count.to_string();
    let mut args =
        vec!["--topic", topic.name(), "--from-beginning", "--max-messages", &count, "--timeout-ms", "20000"];
    for property in PRINTED {
        args.extend(["--formatter-property", property]);
    }
    run("org.apache.kafka.tools.consumer.ConsoleConsumer", topic.kafka(), &args, &[]).await
}

/// Records as Kafka's console consumer prints them.
pub fn console_lines(records: &[Record]) -> Vec<u8> {
    let mut out = Vec::new();
    for record in records {
        let Record { timestamp, partition, offset, .. } = record;
        let _ = write!(out, "CreateTime:{timestamp}\tPartition:{partition}\tOffset:{offset}\t");
        if record.headers.is_empty() {
            out.extend_from_slice(b"NO_HEADERS");
        }
        for (index, (name, value)) in record.headers.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            out.extend_from_slice(name.as_bytes());
            out.push(b':');
            out.extend_from_slice(value.as_deref().unwrap_or(b"null"));
        }
        for part in [&record.key, &record.value] {
            out.push(b'\t');
            out.extend_from_slice(part.as_deref().unwrap_or(b"null"));
        }
        out.push(b'\n');
    }
    out
}

/// Writes a record for each key with Kafka's console producer, whose partitioner is the one that other services
/// use. Keys must not have tabs or line ends.
pub async fn produce_keys_with_java_client(topic: &Topic<'_>, keys: &[String]) {
    let lines: String = keys.iter().map(|key| format!("{key}\tvalue\n")).collect();
    let args = [
        "--topic",
        topic.name(),
        "--reader-property",
        "parse.key=true",
        "--reader-property",
        "key.separator=\t",
    ];
    run("org.apache.kafka.tools.ConsoleProducer", topic.kafka(), &args, lines.as_bytes()).await;
}

/// From now on nobody may write to the topic; everybody may still read it. The cluster needs an authorizer.
pub async fn deny_writing(topic: &Topic<'_>) {
    let reading = ["--add", "--allow-principal", "User:*", "--operation", "Read", "--operation", "Describe"];
    run(ACLS, topic.kafka(), &[&reading[..], &["--topic", topic.name()]].concat(), &[]).await;
}

/// From now on nobody may even see the topic. The cluster needs an authorizer.
pub async fn hide(topic: &Topic<'_>) {
    let other = ["--add", "--allow-principal", "User:nobody", "--operation", "Read"];
    run(ACLS, topic.kafka(), &[&other[..], &["--topic", topic.name()]].concat(), &[]).await;
}

/// Takes [`deny_writing`] and [`hide`] back.
pub async fn allow_writing(topic: &Topic<'_>) {
    run(ACLS, topic.kafka(), &["--remove", "--force", "--topic", topic.name()], &[]).await;
}

async fn run(class: &str, kafka: &Kafka, args: &[&str], input: &[u8]) -> Vec<u8> {
    let mut all: Vec<OsString> = java(class, &["--bootstrap-server", kafka.bootstrap_servers()]);
    all.extend(args.iter().map(OsString::from));
    let mut command = dying_with_us(Path::new("java"));
    command.args(all).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let (class, input) = (class.to_owned(), input.to_vec());
    let running = tokio::task::spawn_blocking(move || {
        let mut child = spawn(command).unwrap_or_else(|error| panic!("cannot start java: {error}"));
        child.stdin.take().expect("its input is ours").write_all(&input).expect("it reads its input");
        let output = child.wait_with_output().expect("java can be waited for");
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{class} failed ({}):\n{errors}", output.status);
        output.stdout
    });
    running.await.expect("Kafka's client ran")
}
