//! CloudEvents' SDK for Python, to check ours against.

use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;

use crate::artefacts;
use crate::process::{dying_with_us, spawn};

/// What the SDK makes of Kafka messages; `tests/python/read_cloudevents.py` says how both look. Panics when it
/// refuses one.
pub async fn read_with_cloudevents_sdk(messages: Value) -> Value {
    let mut command = dying_with_us(Path::new("python3"));
    command
        // Neither this user's own packages nor caches beside the scripts.
        .args(["-s", "-B"])
        .arg(artefacts::root().join("tests/python/read_cloudevents.py"))
        .env("PYTHONPATH", artefacts::cloudevents_sdk())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let running = tokio::task::spawn_blocking(move || {
        let mut child = spawn(command).unwrap_or_else(|error| panic!("cannot start python3: {error}"));
        let mut input = child.stdin.take().expect("its input is ours");
        input.write_all(messages.to_string().as_bytes()).expect("it reads its input");
        drop(input);
        let output = child.wait_with_output().expect("python3 can be waited for");
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "the SDK refuses what is in Kafka:\n{errors}");
        serde_json::from_slice(&output.stdout).expect("the script prints JSON")
    });
    running.await.expect("the SDK ran")
}
