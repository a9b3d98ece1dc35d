//! What a bridge that was killed knows again: events that it had acknowledged are not written a second time.

use std::fs;
use std::io::Read as _;
use std::path::PathBuf;
use std::time::Duration;

use crate::common::process::Process;
use crate::common::{Cluster, cluster, count, event, until};

/// A directory that is gone with the test.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Self(path)
    }

    fn flag(&self) -> String {
        format!("--idempotency-dir={}", self.0.display())
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

async fn start(cluster: &Cluster, flags: &[&str]) -> Process {
    let servers = cluster.bootstrap_servers();
    let process = Process::start(&[&["--bootstrap-servers", &servers], flags].concat());
    process.client.until_ready(true, Duration::from_secs(10)).await;
    process
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_outlives_kill_9() {
    let cluster = cluster();
    let directory = Directory::new("journal");
    let mut process = start(&cluster, &[&directory.flag()]).await;
    let mut receipts = Vec::new();
    for id in 0..20 {
        let answer = process.client.event("t", event(&id.to_string(), 10)).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("idempotency-replayed")),
            (202, None),
            "{answer:?}"
        );
        receipts.push(answer.json());
    }
    process.signal("-KILL");
    process.ended(Duration::from_secs(10)).await;

    // A second death changes nothing, nor does a torn end.
    for _ in 0..2 {
        let mut process = start(&cluster, &[&directory.flag()]).await;
        for (id, receipt) in receipts.iter().enumerate() {
            let answer = process.client.event("t", event(&id.to_string(), 10)).await;
            assert_eq!(
                (answer.status.as_u16(), answer.header("idempotency-replayed"), &answer.json()),
                (202, Some("true"), receipt),
                "{id}"
            );
            process
                .client
                .event("t", event(&id.to_string(), 11))
                .await
                .assert_problem(422, "idempotency-conflict");
        }
        assert_eq!(process.client.metric("kafka_bridge_idempotency_entries").await, 20);
        process.signal("-KILL");
        process.ended(Duration::from_secs(10)).await;
        let files = fs::read_dir(&directory.0).unwrap().map(|entry| entry.unwrap().path());
        let journal =
            files.filter(|path| path.extension().is_some_and(|end| end == "segment")).max().unwrap();
        let mut bytes = fs::read(&journal).unwrap();
        bytes.extend_from_slice(&[0x55; 30]);
        fs::write(&journal, bytes).unwrap();
    }
    assert_eq!(count(&cluster, "t"), 20);

    // Without the directory, nothing is known.
    let process = start(&cluster, &[]).await;
    let answer = process.client.event("t", event("0", 10)).await;
    assert_eq!(answer.header("idempotency-replayed"), None);
    assert_eq!(count(&cluster, "t"), 21);
}

/// Killed while many wait: whoever had an answer is known after the start.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_had_an_answer_before_kill_9_is_known() {
    let cluster = cluster();
    let directory = Directory::new("journal-load");
    let mut process = start(&cluster, &[&directory.flag()]).await;
    let callers: Vec<_> = (0..16)
        .map(|caller| {
            let client = process.client.clone();
            tokio::spawn(async move {
                let mut answered = Vec::new();
                for number in 0.. {
                    let id = format!("{caller}-{number}");
                    let headers = [("content-type", crate::common::EVENT)];
                    match client.try_send("POST", "/v1/topics/t/events", &headers, event(&id, 100)).await {
                        Ok(answer) if answer.status == 202 => answered.push((id, answer.body)),
                        _ => break,
                    }
                }
                answered
            })
        })
        .collect();
    while process.client.metric("kafka_bridge_idempotency_entries").await < 200 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    process.signal("-KILL");
    process.ended(Duration::from_secs(10)).await;
    let process = start(&cluster, &[&directory.flag()]).await;
    let mut known = 0;
    for caller in callers {
        for (id, receipt) in caller.await.unwrap() {
            let answer = process.client.event("t", event(&id, 100)).await;
            assert_eq!(
                (answer.header("idempotency-replayed"), &answer.body),
                (Some("true"), &receipt),
                "{id}"
            );
            known += 1;
        }
    }
    assert!(known >= 100, "{known}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_window_and_the_count_bound_what_is_known() {
    let cluster = cluster();
    let directory = Directory::new("journal-bounds");
    let mut process = start(&cluster, &[&directory.flag()]).await;
    for id in ["1", "2", "3"] {
        assert_eq!(process.client.event("t", event(id, 10)).await.status, 202);
    }
    process.signal("-KILL");
    process.ended(Duration::from_secs(10)).await;
    let mut process = start(&cluster, &[&directory.flag(), "--idempotency-entries", "2"]).await;
    assert_eq!(process.client.metric("kafka_bridge_idempotency_entries").await, 2);
    assert_eq!(process.client.event("t", event("3", 10)).await.header("idempotency-replayed"), Some("true"));
    process.signal("-KILL");
    process.ended(Duration::from_secs(10)).await;
    let mut process = start(&cluster, &[&directory.flag(), "--idempotency-window", "1ms"]).await;
    assert_eq!(process.client.metric("kafka_bridge_idempotency_entries").await, 0);
    assert_eq!(process.client.event("t", event("3", 10)).await.header("idempotency-replayed"), None);
    process.signal("-TERM");
    assert!(process.ended(Duration::from_secs(15)).await.success());
}

/// Neither a directory that cannot be written nor one that another bridge has is passed over.
#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_cannot_be_kept_is_no_start() {
    let cluster = cluster();
    let directory = Directory::new("journal-taken");
    let _process = start(&cluster, &[&directory.flag()]).await;
    for (flag, wanted) in [
        (directory.flag(), "another bridge is using it"),
        ("--idempotency-dir=/proc/nowhere".to_owned(), "idempotency journal in /proc/nowhere"),
    ] {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_kafka-bridge"))
            .args(["--bootstrap-servers", &cluster.bootstrap_servers(), "--listen", "127.0.0.1:0", &flag])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && text.contains(wanted), "{flag}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_spool_receipts_outlive_kill_9_without_being_asked_to() {
    let cluster = cluster();
    let directory = Directory::new("journal-beside-spool");
    let flag = format!("--spool-dir={}", directory.0.display());
    let mut process = start(&cluster, &[&flag]).await;
    let first = process.client.event("t", event("a", 10)).await;
    assert_eq!((first.status.as_u16(), &first.json()["ack"]), (202, &"all".into()), "{first:?}");
    process.signal("-KILL");
    process.ended(Duration::from_secs(10)).await;

    let process = start(&cluster, &[&flag]).await;
    let again = process.client.event("t", event("a", 10)).await;
    assert_eq!(
        (again.status.as_u16(), again.header("idempotency-replayed")),
        (202, Some("true")),
        "{again:?}"
    );
    assert_eq!(again.json(), first.json());
    process.client.event("t", event("a", 11)).await.assert_problem(422, "idempotency-conflict");
    assert_eq!(count(&cluster, "t"), 1);
}

/// As many as are remembered, however far they had to go.
#[tokio::test(flavor = "multi_thread")]
async fn spooled_events_are_known_after_starts_and_are_in_kafka() {
    const ENTRIES: usize = 20;
    let cluster = cluster();
    let directory = Directory::new("journal-drained");
    let spool = format!("--spool-dir={}", directory.0.display());
    let flags = [&spool, "--idempotency-entries", &ENTRIES.to_string()];
    let headers = [("content-type", crate::common::EVENT)];
    let total = 4 * ENTRIES + 3;
    let mut process = start(&cluster, &flags).await;
    for number in 0..total {
        let event = event(&number.to_string(), 10);
        let answer = process.client.send("POST", "/v1/topics/t/events?ack=spooled", &headers, event).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        // Its second entry comes between the first ones of others.
        let client = &process.client;
        until(async || client.metric("kafka_bridge_spool_records").await == 0).await;
    }
    for _ in 0..2 {
        process.signal("-TERM");
        assert!(process.ended(Duration::from_secs(15)).await.success());
        process = start(&cluster, &flags).await;
    }
    for number in total - ENTRIES..total {
        let answer = process.client.event("t", event(&number.to_string(), 10)).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("idempotency-replayed"), &answer.json()["ack"]),
            (202, Some("true"), &"all".into()),
            "{number}: {answer:?}"
        );
        assert!(answer.json()["offset"].is_number(), "{number}: {answer:?}");
    }
    assert_eq!(count(&cluster, "t"), total);
}

/// What else is in the directory has it neither wait, nor read without end, nor write somewhere else.
#[tokio::test(flavor = "multi_thread")]
async fn only_files_are_opened_and_nobody_else_may_read_them() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    let cluster = cluster();
    let directory = Directory::new("journal-files");
    fs::create_dir_all(&directory.0).unwrap();
    let elsewhere = directory.0.join("elsewhere");
    fs::write(&elsewhere, "as it was").unwrap();
    symlink(&elsewhere, directory.0.join("00000000000000000001.segment.new")).unwrap();
    let mut process = start(&cluster, &[&directory.flag()]).await;
    assert_eq!(process.client.event("t", event("1", 10)).await.status, 202);
    process.signal("-TERM");
    assert!(process.ended(Duration::from_secs(10)).await.success());
    assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "as it was");
    for name in ["lock", "00000000000000000001.segment"] {
        let mode = fs::metadata(directory.0.join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }

    let (fifo, device) = (directory.0.join("00000000000000000007.segment"), directory.0.join("lock"));
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    not_started(&cluster, &directory.flag(), "00000000000000000007.segment: wanted a regular file").await;
    fs::remove_file(&fifo).unwrap();
    fs::remove_file(&device).unwrap();
    symlink("/dev/zero", &device).unwrap();
    not_started(&cluster, &directory.flag(), "wanted a regular file, found a symbolic link").await;
}

/// A bridge with these flags says so, and ends at once.
async fn not_started(cluster: &Cluster, flag: &str, why: &str) {
    let servers = cluster.bootstrap_servers();
    let flags = ["--bootstrap-servers", &servers, "--listen", "127.0.0.1:0", flag];
    let mut process = crate::common::process::command(&flags).spawn().unwrap();
    let started = std::time::Instant::now();
    let status = loop {
        if let Some(status) = process.try_wait().unwrap() {
            break status;
        }
        if started.elapsed() > Duration::from_secs(10) {
            process.kill().unwrap();
            panic!("it waits");
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    let mut told = String::new();
    process.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    assert!(!status.success() && told.contains(why), "{told}");
}

/// So much to read that it takes a while.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_is_heard_while_the_journal_is_read() {
    let cluster = cluster();
    let directory = Directory::new("journal-long");
    let mut process = start(&cluster, &[&directory.flag()]).await;
    assert_eq!(process.client.event("t", event("1", 10)).await.status, 202);
    process.signal("-TERM");
    assert!(process.ended(Duration::from_secs(10)).await.success());
    let journal = fs::OpenOptions::new().write(true).open(directory.0.join("00000000000000000001.segment"));
    journal.unwrap().set_len(512 << 20).unwrap();
    let servers = cluster.bootstrap_servers();
    let mut process = Process::start(&["--bootstrap-servers", &servers, &directory.flag()]);
    let started = std::time::Instant::now();
    process.signal("-TERM");
    let status = process.ended(Duration::from_secs(60)).await;
    assert!(status.success(), "{status}");
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    assert!(!directory.0.join("00000000000000000002.segment").exists(), "all was read by then");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_of_a_batch_stands_for_one_batch_after_kill_9() {
    let cluster = cluster();
    let directory = Directory::new("batch");
    let flags = [directory.flag()];
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let batch = |events: u32, payload: &str| {
        let record = |index: u32| {
            format!(
                r#"{{"topic":"t","identity":{{"batch":"k","request":"{payload}"}},
                "event":{{"specversion":"1.0","id":"k-{index}","source":"/s","type":"t"}}}}"#
            )
        };
        format!(r#"{{"records":[{}]}}"#, (0..events).map(record).collect::<Vec<_>>().join(","))
    };
    let mut process = start(&cluster, &flags).await;
    assert_eq!(process.client.records(batch(2, "p")).await.status, 202);
    process.kill();
    let process = start(&cluster, &flags).await;
    assert_eq!(process.client.records(batch(3, "q")).await.status, 422);
    assert_eq!(process.client.records(batch(2, "p")).await.status, 202);
    assert_eq!(count(&cluster, "t"), 2);
}
