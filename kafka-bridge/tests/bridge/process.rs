//! The process: how it starts, what it prints, how it ends.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpListener;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::common::process::{Process, command};
use crate::common::{cluster, count, event};

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_under_load_loses_nothing_that_was_acknowledged() {
    let cluster = cluster();
    let mut process = Process::start(&["--bootstrap-servers", &cluster.bootstrap_servers()]);
    process.client.until_ready(true, Duration::from_secs(10)).await;
    // Slow enough that there is always something in flight.
    cluster.broker_round_trip_time(1, Duration::from_millis(30)).unwrap();
    let ended = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..16)
        .map(|caller| {
            let client = process.client.clone();
            let ended = Arc::clone(&ended);
            tokio::spawn(async move {
                let (mut acknowledged, mut sent) = (0, 0);
                while !ended.load(Ordering::Relaxed) {
                    let body = event(&format!("{caller}-{sent}"), 100);
                    let headers = [("content-type", crate::common::EVENT)];
                    // A connection that is closed between two requests is no loss: nothing was answered.
                    let Ok(answer) = client.try_send("POST", "/v1/topics/t/events", &headers, body).await
                    else {
                        break;
                    };
                    assert_eq!(answer.status, 202, "{answer:?}");
                    acknowledged += 1;
                    sent += 1;
                }
                acknowledged
            })
        })
        .collect();
    while process.client.metric(r#"kafka_bridge_records_total{outcome="acknowledged"}"#).await < 100 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    process.signal("-TERM");
    let status = process.ended(Duration::from_secs(10)).await;
    ended.store(true, Ordering::Relaxed);
    assert_eq!(status.code(), Some(0));
    let mut acknowledged = 0;
    for caller in callers {
        acknowledged += caller.await.unwrap();
    }
    assert!(acknowledged >= 100);
    let stored = count(&cluster, "t");
    assert!(stored >= acknowledged, "{acknowledged} acknowledged, {stored} stored");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_says_with_its_exit_code_that_records_were_left() {
    let cluster = cluster();
    let flags = ["--bootstrap-servers", &cluster.bootstrap_servers(), "--shutdown-timeout", "500ms"];
    let mut process = Process::start(&flags);
    process.client.until_ready(true, Duration::from_secs(10)).await;
    assert_eq!(process.client.event("t", event("1", 10)).await.status, 202);
    cluster.broker_round_trip_time(1, Duration::from_secs(30)).unwrap();
    let client = process.client.clone();
    let call = tokio::spawn(async move {
        client
            .try_send(
                "POST",
                "/v1/topics/t/events",
                &[("content-type", crate::common::EVENT)],
                event("2", 10),
            )
            .await
    });
    let handed_over = u64::try_from(event("1", 10).len() * 2).unwrap();
    while process.client.metric("kafka_bridge_record_values_bytes_total").await < handed_over {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    process.signal("-INT");
    let status = process.ended(Duration::from_secs(5)).await;
    assert_eq!(status.code(), Some(1));
    if let Ok(answer) = call.await.unwrap() {
        assert!(!answer.status.is_success(), "{answer:?}");
    }
}

#[tokio::test]
async fn the_embedded_broker_tells_programs_where_it_is_and_people_what_it_is() {
    let mut child = command(&["--embedded-broker", "--listen", "127.0.0.1:0"]).spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    let mut before = String::new();
    while !line.contains("started") {
        before.push_str(&line);
        line.clear();
        assert_ne!(log.read_line(&mut line).unwrap(), 0, "{before}");
    }
    assert!(before.contains("WARNING") && before.contains("lost"), "{before}");
    let status = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(status.success());
    let mut printed = String::new();
    child.stdout.take().unwrap().read_to_string(&mut printed).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let port =
        printed.strip_prefix("KAFKA_BOOTSTRAP_SERVERS=127.0.0.1:").and_then(|rest| rest.strip_suffix('\n'));
    assert!(port.is_some_and(|port| port.parse::<u16>().is_ok()), "{printed:?}");
}

#[test]
fn an_outage_is_logged_once() {
    // Takes connections, and ends them at once.
    let broker = TcpListener::bind("127.0.0.1:0").unwrap();
    let servers = broker.local_addr().unwrap().to_string();
    let mut child = command(&["--bootstrap-servers", &servers, "--listen", "127.0.0.1:0"]).spawn().unwrap();
    let mut log = child.stderr.take().unwrap();
    let reading = std::thread::spawn(move || {
        let mut text = String::new();
        log.read_to_string(&mut text).map(|_| text)
    });
    for _ in 0..8 {
        drop(broker.accept().unwrap());
    }
    let status = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(status.success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let text = reading.join().unwrap().unwrap();
    assert_eq!(text.matches("no broker is connected").count(), 1, "{text}");
}

#[test]
fn what_cannot_work_is_refused_in_a_sentence() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for (flags, environment, code, wanted) in [
        (&[][..], "", 2, "no Kafka cluster"),
        (&["--embedded-broker"][..], "kafka:9092", 2, "two Kafka clusters"),
        (&["--embedded-broker", "--bootstrap-servers", "kafka:9092"][..], "", 2, "two Kafka clusters"),
        (&["--embedded-broker", "--log", "a=b=c"][..], "", 2, "--log"),
        (&["--bootstrap-servers", "kafka:9092", "--listen", &taken][..], "", 1, "free the port"),
        (
            &["--mode", "production", "--bootstrap-servers", "kafka:9092"][..],
            "",
            2,
            "--hop-secret-file, --hop-token-file or --tls-client-ca-file",
        ),
        (
            &["--bootstrap-servers", "kafka:9092", "--librdkafka", "ssl.ca.location=/"][..],
            "",
            2,
            "librdkafka.ssl.ca.location: it has no effect",
        ),
        // What librdkafka finds.
        (&["--bootstrap-servers", "kafka:9092", "--librdkafka", "debug=x"][..], "", 2, "debug"),
        (&["--mode", "production", "--embedded-broker"][..], "", 2, "--embedded-broker loses all records"),
        (
            &["--bootstrap-servers", "kafka:9092", "--hop-secret-file", "/nonexistent"][..],
            "",
            2,
            "--hop-secret-file /nonexistent: No such file",
        ),
    ] {
        let mut command = command(flags);
        if !environment.is_empty() {
            command.env("KAFKA_BOOTSTRAP_SERVERS", environment);
        }
        let output = command.output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{flags:?}: {text}");
        assert!(text.contains(wanted) && !text.contains("panicked"), "{flags:?}: {text}");
    }
}

#[test]
fn a_configuration_can_be_checked_without_running_it() {
    // Nothing listens on either port, and nothing would be told of it.
    let flags = ["check", "--bootstrap-servers", "127.0.0.1:1", "--listen", "127.0.0.1:1"];
    let output = command(&flags).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(output.stdout, b"the configuration is valid\n");
    assert!(output.stderr.is_empty(), "{output:?}");
    let output = command(&["check"]).env("BRIDGE_LISTEN", "x").output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.starts_with("kafka-bridge: BRIDGE_LISTEN: "), "{text}");
}

#[test]
fn shells_get_completions_of_commands_and_flags() {
    let output = command(&["completions", "bash"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let script = String::from_utf8(output.stdout).unwrap();
    for wanted in ["kafka-bridge", "salvage", "--admin-listen"] {
        assert!(script.contains(wanted), "{wanted}");
    }
}

#[test]
fn flags_may_come_before_a_command_and_after_it() {
    let listen = ["--listen", "127.0.0.1:1"];
    let servers = ["--bootstrap-servers", "127.0.0.1:1"];
    for arguments in [
        [&listen[..], &servers, &["check"]].concat(),
        [&listen[..], &["check"], &servers].concat(),
        [&["check"], &listen[..], &servers].concat(),
    ] {
        let output = command(&arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {output:?}");
    }
    let output = command(&["check", "--listen", "x"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let output = command(&["--check-config"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}
