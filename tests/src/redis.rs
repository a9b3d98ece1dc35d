//! A Redis that bridges share.

use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use crate::ports::free_port;
use crate::process::Process;
use crate::wait::until_blocking;

const START_LIMIT: Duration = Duration::from_secs(20);

/// A running Redis, which keeps nothing on disk.
#[derive(Debug)]
pub struct Redis {
    _process: Process,
    port: u16,
}

impl Redis {
    /// Starts one on a free port, and waits until it takes connections.
    pub fn start() -> Self {
        let port = free_port();
        let number = port.to_string();
        let args = ["--port", &number, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
        let process = Process::start("redis", Path::new("redis-server"), args);
        let listening = until_blocking(START_LIMIT, || TcpStream::connect(("127.0.0.1", port)).ok());
        assert!(
            listening.is_ok(),
            "redis-server does not listen, and this test needs it (Debian, Ubuntu: apt-get install redis-server)\n{}",
            process.log_tail()
        );
        Self { _process: process, port }
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
}
