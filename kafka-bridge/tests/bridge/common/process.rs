//! The program itself, as a process.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::common::Client;

/// A running `kafka-bridge`, killed should the test end first.
pub struct Process {
    pub child: Child,
    pub client: Client,
    log: Arc<Mutex<Vec<String>>>,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const PROGRAM: &str = env!("CARGO_BIN_EXE_kafka-bridge");

/// The program with these flags, and none of the environment's settings.
pub fn command(flags: &[&str]) -> Command {
    prepared(Command::new(PROGRAM), flags)
}

/// The same in a process that may open so many files.
pub fn command_with_files(flags: &[&str], files: u32) -> Command {
    // The sockets of the mock brokers of this process are handed on to its children, and would count.
    let script = r#"for fd in /proc/$$/fd/*; do fd="${fd##*/}"; if ((fd > 2)); then exec {fd}>&-; fi; done
        ulimit -n "$1" && shift && exec "$@""#;
    let mut shell = Command::new("bash");
    shell.args(["-c", script, "bash", &files.to_string(), PROGRAM]);
    prepared(shell, flags)
}

fn prepared(mut command: Command, flags: &[&str]) -> Command {
    command.args(flags).env_remove("KAFKA_BOOTSTRAP_SERVERS").env_remove("RUST_LOG");
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

impl Process {
    /// Starts it on a free port, which its log names.
    pub fn start(flags: &[&str]) -> Self {
        Self::start_with(flags, &[])
    }

    /// The same, with further variables in its environment.
    pub fn start_with(flags: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut command = command(flags);
        command.envs(environment.iter().copied());
        Self::run(command)
    }

    /// The same, in a process that may open so many files.
    pub fn start_with_files(flags: &[&str], files: u32) -> Self {
        Self::run(command_with_files(flags, files))
    }

    /// The same, with a file system of its own of this size at `path`, in memory.
    pub fn start_on_disk(flags: &[&str], path: &str, size: &str) -> Self {
        use std::os::unix::fs::MetadataExt as _;
        // Mounting takes a name space of one's own, and for those who are not root one of users as well.
        let is_root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
        let mut unshare = Command::new("unshare");
        unshare.args(if is_root { &["--mount"][..] } else { &["--map-root-user", "--mount"] });
        let script = r#"mount -t tmpfs -o "size=$1" tmpfs "$2" || {
            echo "This test fills a file system of its own. Run it as root, or as a user who may make name spaces" >&2
            echo "(where AppArmor keeps that back: sysctl kernel.apparmor_restrict_unprivileged_userns=0)" >&2
            exit 1
        }
        shift 2
        exec "$@""#;
        unshare.args(["--", "sh", "-c", script, "sh", size, path, PROGRAM]);
        Self::run(prepared(unshare, flags))
    }

    fn run(mut command: Command) -> Self {
        let mut child = command.args(["--listen", "127.0.0.1:0", "--log-format", "json"]).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let (mut line, mut before) = (String::new(), String::new());
        let address = loop {
            line.clear();
            assert_ne!(
                log.read_line(&mut line).unwrap(),
                0,
                "it ended without saying where it listens: {before}"
            );
            before.push_str(&line);
            if let Ok(entry) = serde_json::from_str::<serde_json::Value>(&line)
                && let Some(listen) = entry["fields"]["listen"].as_str()
            {
                break listen.parse().unwrap();
            }
        };
        // A full pipe would stop the process.
        let lines = Arc::new(Mutex::new(Vec::new()));
        let written = Arc::clone(&lines);
        std::thread::spawn(move || {
            log.lines().map_while(Result::ok).for_each(|line| written.lock().unwrap().push(line))
        });
        Self { child, client: Client::new(address), log: lines }
    }

    /// Waits for a line of the log, JSON, that has this in it.
    pub async fn logged(&self, text: &str) -> serde_json::Value {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let line = self.log.lock().unwrap().iter().find(|line| line.contains(text)).cloned();
            if let Some(line) = line {
                return serde_json::from_str(&line).unwrap();
            }
            assert!(Instant::now() < deadline, "{text:?} is not in the log: {:#?}", self.log.lock().unwrap());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Everything that it has logged since it listens.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }

    /// Ends it as a crash does.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// What it prints on stdout when it ends by itself, and well.
    pub fn output(flags: &[&str]) -> String {
        let output = command(flags).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    pub async fn ended(&mut self, within: Duration) -> ExitStatus {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "still running after {within:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}
