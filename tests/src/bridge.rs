//! The bridge as it ships.

use std::net::SocketAddr;
use std::time::Duration;

use http::StatusCode;

use crate::artefacts;
use crate::disk::Disk;
use crate::http_client::Client;
use crate::ports::free_port;
use crate::process::Process;
use crate::wait::until;

const NAME: &str = "kafka-bridge";
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
        let start = |all: &[&str]| Process::start(NAME, &artefacts::bridge(), all);
        Self::launch_by(start, address, bootstrap_servers, args).await
    }

    /// The same, with this disk to write to.
    pub async fn launch_on(disk: &Disk, bootstrap_servers: &str, args: &[&str]) -> Self {
        let start = |all: &[&str]| disk.start_on(NAME, &artefacts::bridge(), all);
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        Self::launch_by(start, address, bootstrap_servers, args).await
    }

    async fn launch_by(
        start: impl FnOnce(&[&str]) -> Process,
        address: SocketAddr,
        bootstrap_servers: &str,
        args: &[&str],
    ) -> Self {
        let listen = address.to_string();
        let own = ["--listen", &listen, "--bootstrap-servers", bootstrap_servers];
        let bridge = Self { process: start(&[&own[..], args].concat()), address };
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

    /// The value of a metric that counts, summed over all that have this label, such as `outcome="unknown"`. An empty
    /// one stands for all.
    pub async fn count(&self, name: &str, label: &str) -> u64 {
        let answer = Client::http1(self.address).try_get("/metrics").await.expect("the bridge has metrics");
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        let values = text.lines().filter_map(|line| {
            let rest = line.strip_prefix(name).filter(|rest| rest.starts_with([' ', '{']))?;
            let (labels, value) = rest.rsplit_once(' ')?;
            labels.contains(label).then(|| value.parse::<u64>().expect("a count is a whole number"))
        });
        values.sum()
    }

    async fn get(&self, path: &str) -> Option<StatusCode> {
        Some(Client::http1(self.address).try_get(path).await?.status)
    }
}
