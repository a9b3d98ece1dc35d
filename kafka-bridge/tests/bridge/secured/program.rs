//! The bridge as the program that it is, with a configuration file, and all of its log.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::common::Client;

pub struct Program {
    what: String,
    directory: PathBuf,
    child: Child,
    log: Arc<Mutex<String>>,
    pub client: Client,
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// A line of the configuration file for a secret, which is put into a file of its own.
pub fn secret(name: &str, value: &str) -> String {
    // Replaced when it is known where.
    format!("{name} = {{ file = \"SECRET={value}\" }}\n")
}

/// Writes the configuration file, and files for the secrets in it.
fn configure(bootstrap_servers: &str, options: &str) -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!("bridge-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&directory).unwrap();
    let mut text = format!(
        "bootstrap_servers = {bootstrap_servers:?}\nlisten = \"127.0.0.1:0\"\ndelivery_timeout = \"3s\"\n\
         log_format = \"json\"\nlog = \"debug\"\nshutdown_timeout = \"2s\"\n[librdkafka]\n\
         broker.address.family = \"v4\"\ndebug = \"broker,conf,feature,protocol,security\"\n"
    );
    for (index, line) in options.lines().enumerate() {
        let line = match line.split_once("SECRET=") {
            None => line.to_owned(),
            Some((before, rest)) => {
                let (value, after) = rest.split_once('"').unwrap();
                let file = directory.join(index.to_string());
                fs::write(&file, format!("{value}\n")).unwrap();
                format!("{before}{}\"{after}", file.display())
            }
        };
        text.push_str(&line);
        text.push('\n');
    }
    fs::write(directory.join("bridge.toml"), text).unwrap();
    directory
}

fn command(directory: &std::path::Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kafka-bridge"));
    command.arg("--config").arg(directory.join("bridge.toml"));
    command.env_remove("KAFKA_BOOTSTRAP_SERVERS").env_remove("RUST_LOG").stdin(Stdio::null());
    command
}

impl Program {
    /// Starts it in front of `localhost:<port>`, whether or not it is let in there.
    pub fn start(what: &str, port: u16, options: &str) -> Self {
        let directory = configure(&format!("localhost:{port}"), options);
        let mut child = command(&directory).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        let mut log = String::new();
        let address = loop {
            let mut line = String::new();
            assert_ne!(lines.read_line(&mut line).unwrap(), 0, "{what}: it ended before it listened:\n{log}");
            log.push_str(&line);
            if let Ok(entry) = serde_json::from_str::<serde_json::Value>(&line)
                && let Some(listen) = entry["fields"]["listen"].as_str()
            {
                break listen.parse().unwrap();
            }
        };
        let log = Arc::new(Mutex::new(log));
        let collected = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in lines.lines() {
                let Ok(line) = line else { break };
                let mut log = collected.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        Self { what: what.to_owned(), directory, child, log, client: Client::new(address) }
    }

    /// Its exit code with `check`, and what it printed.
    pub fn check(what: &str, options: &str) -> (Option<i32>, String) {
        let directory = configure("localhost:1", options);
        let output = command(&directory).arg("check").output().unwrap();
        fs::remove_dir_all(&directory).unwrap();
        let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
        assert!(!text.contains("panicked"), "{what}: {text}");
        (output.status.code(), text)
    }

    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// What the log has but for what librdkafka was asked to tell in addition.
    fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().filter(|line| !line.contains("\"DEBUG\"")).collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    pub async fn until_ready(&self, within: Duration) {
        let started = Instant::now();
        while self.client.get("/readyz").await.status != 200 {
            assert!(
                started.elapsed() < within,
                "{}: not ready in {within:?}:\n{}",
                self.what,
                self.log_tail()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits for a line that everybody sees who runs it with the usual filter.
    pub async fn until_log_has(&self, text: &str, within: Duration) {
        let started = Instant::now();
        let seen = |log: &str| log.lines().any(|line| line.contains(text) && !line.contains("\"DEBUG\""));
        while !seen(&self.log()) {
            assert!(
                started.elapsed() < within,
                "{}: {text:?} is not logged in {within:?}:\n{}",
                self.what,
                self.log_tail()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub fn assert_tells_no(&self, secrets: &[String]) {
        let log = self.log();
        assert!(log.contains("\"DEBUG\""), "{}: librdkafka tells all that it can", self.what);
        for secret in secrets {
            let line = log.lines().find(|line| line.contains(secret.as_str()));
            assert_eq!(line, None, "{}: {secret} is in the log", self.what);
        }
    }

    /// Has it stop, which it has to do within that.
    pub async fn stop(&mut self, within: Duration) -> ExitStatus {
        let sent = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(
                started.elapsed() < within,
                "{}: still there after {within:?}:\n{}",
                self.what,
                self.log_tail()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
