//! The bridge as it ships.

use std::net::SocketAddr;
use std::time::Duration;

use http::StatusCode;

use crate::artefacts;
use crate::http_client::Client;
use crate::ports::free_port;
use crate::process::Process;
use crate::wait::until;

const START_LIMIT: Duration = Duration::from_secs(30);
/// Longer than the bridge gives itself.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// A running bridge.
#[derive(Debug)]
pub struct Bridge {
    process: Process,
    address: SocketAddr,
}

impl Bridge {
    /// Starts a bridge in front of `bootstrap_servers` and waits until it says that it is ready. `args` are
    /// added to its command line.
    pub async fn start(bootstrap_servers: &str, args: &[&str]) -> Self {
        let bridge = Self::launch(bootstrap_servers, args).await;
        bridge.wait_for_readiness(StatusCode::OK, START_LIMIT).await;
        bridge
    }

    /// Starts a bridge and waits only until it answers at all: for one whose Kafka is not there.
    pub async fn launch(bootstrap_servers: &str, args: &[&str]) -> Self {
        Self::launch_at(SocketAddr::from(([127, 0, 0, 1], free_port())), bootstrap_servers, args).await
    }

    /// The same, at an address where a bridge may have been before.
    pub async fn launch_at(address: SocketAddr, bootstrap_servers: &str, args: &[&str]) -> Self {
        let listen = address.to_string();
        let all = ["--listen", &listen, "--bootstrap-servers", bootstrap_servers]
            .into_iter()
            .chain(args.iter().copied());
        let process = Process::start("kafka-bridge", &artefacts::bridge(), all);
        let bridge = Self { process, address };
        let answering = until(START_LIMIT, || async {
            assert!(
                bridge.process.exit_status().is_none(),
                "the bridge ended\n{}",
                bridge.process.log_tail()
            );
            bridge.get("/livez").await.filter(|status| status.is_success())
        });
        assert!(answering.await.is_ok(), "the bridge answers nothing\n{}", bridge.process.log_tail());
        bridge
    }

    /// Waits until `/readyz` has this status.
    pub async fn wait_for_readiness(&self, wanted: StatusCode, limit: Duration) {
        let ready = until(limit, || async { self.get("/readyz").await.filter(|status| *status == wanted) });
        assert!(ready.await.is_ok(), "/readyz is not {wanted} after {limit:?}\n{}", self.process.log_tail());
    }

    /// Asks it to end, and panics unless every request and every record had its answer by then.
    pub fn stop_in_order(&self) {
        let status = self.process.terminate(STOP_LIMIT);
        assert!(status.success(), "the bridge ended with {status}\n{}", self.process.log_tail());
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The process.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// The value of a metric that counts, by its name with its labels as `/metrics` spells them; 0 if it has none yet.
    pub async fn count(&self, name: &str) -> u64 {
        let answer = Client::http1(self.address).try_get("/metrics").await.expect("the bridge has metrics");
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0, |value| value.parse().expect("a count is a whole number"))
    }

    async fn get(&self, path: &str) -> Option<StatusCode> {
        Some(Client::http1(self.address).try_get(path).await?.status)
    }
}
