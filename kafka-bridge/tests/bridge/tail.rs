//! The `tail` example, as the demo uses it: in a process of its own, on topics that do not exist yet.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::common::{Bridge, cluster, event};

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The example. `cargo test` builds it along; where a run was limited to some targets, it is built now.
fn program() -> PathBuf {
    // target/<profile>/deps/bridge-<hash> -> target/<profile>/examples/tail
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().unwrap().parent().unwrap();
    let program = profile.join("examples/tail");
    if !program.exists() {
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--locked", "--example", "tail", "--manifest-path"]);
        build.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"));
        build.arg("--target-dir").arg(profile.parent().unwrap());
        if profile.ends_with("release") {
            build.arg("--release");
        }
        if cfg!(feature = "oidc") {
            build.args(["--features", "oidc"]);
        }
        let built = build.output().unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    }
    program
}

#[tokio::test(flavor = "multi_thread")]
async fn every_record_after_ready_is_printed_and_none_from_before() {
    let (program, cluster) = (program(), cluster());
    let bridge = Bridge::ready(&cluster, &[]).await;
    assert_eq!(bridge.client.event("old", event("before", 10)).await.status, 202);

    let mut child = Command::new(program)
        .args([
            "--bootstrap-servers",
            &cluster.bootstrap_servers(),
            "--topics",
            "old,new",
            "--max-value",
            "120",
        ])
        .env_remove("KAFKA_BOOTSTRAP_SERVERS")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut ready = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut ready).unwrap();
    assert_eq!(ready, "tail: ready\n");
    let mut printed = BufReader::new(child.stdout.take().unwrap()).lines();
    let _tail = Killed(child);

    let mut sent = Vec::new();
    for n in 0..8 {
        for topic in ["new", "old"] {
            let id = format!("{topic}-{n}");
            assert_eq!(bridge.client.event(topic, event(&id, 500)).await.status, 202);
            sent.push(id);
        }
    }
    // Of each record: place, key and time, then its header, then its value.
    let mut seen = Vec::new();
    while seen.len() < sent.len() {
        let place = printed.next().unwrap().unwrap();
        assert!(place.contains("]@") && place.contains("no key"), "{place}");
        let header = printed.next().unwrap().unwrap();
        assert_eq!(header, "  content-type: application/cloudevents+json; charset=UTF-8");
        let value = printed.next().unwrap().unwrap();
        assert!(value.ends_with(" bytes)"), "{value}");
        seen.push(value.split('"').nth(7).unwrap().to_owned());
    }
    seen.sort();
    sent.sort();
    assert_eq!(seen, sent);
}
