//! A Redis that bridges share.

use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use crate::artefacts::run_dir;
use crate::ports::free_port;
use crate::process::Process;
use crate::wait::until_blocking;

const START_LIMIT: Duration = Duration::from_secs(20);

/// A running Redis.
#[derive(Debug)]
pub struct Redis {
    process: Process,
    port: u16,
    args: Vec<String>,
}

impl Redis {
    /// Starts one on a free port that keeps nothing on disk, and waits until it takes connections.
    pub fn start() -> Self {
        Self::start_with(free_port(), &["--appendonly", "no"])
    }

    /// One that has all of it on disk before it answers, so that it can be started again.
    pub fn start_durable() -> Self {
        let port = free_port();
        let folder = run_dir().join(format!("redis-{port}"));
        std::fs::create_dir_all(&folder).expect("a folder can be made");
        let folder = folder.to_string_lossy();
        Self::start_with(port, &["--appendonly", "yes", "--appendfsync", "always", "--dir", &folder])
    }

    fn start_with(port: u16, args: &[&str]) -> Self {
        let number = port.to_string();
        let own = ["--port", &number, "--bind", "127.0.0.1", "--save", ""];
        let args: Vec<String> = own.iter().chain(args).map(|arg| (*arg).to_owned()).collect();
        Self { process: Self::launch(port, &args), port, args }
    }

    fn launch(port: u16, args: &[String]) -> Process {
        let process = Process::start("redis", Path::new("redis-server"), args);
        let listening = until_blocking(START_LIMIT, || TcpStream::connect(("127.0.0.1", port)).ok());
        assert!(
            listening.is_ok(),
            "redis-server does not listen, and this test needs it (Debian, Ubuntu: apt-get install redis-server)\n{}",
            process.log_tail()
        );
        process
    }

    /// The process.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Starts it again where it was, after it has ended.
    pub fn start_again(&mut self) {
        self.process = Self::launch(self.port, &self.args);
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
}
