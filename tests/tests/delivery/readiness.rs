//! When the bridge said that it can produce.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use wicketgate_tests::http_client::Client;

const INTERVAL: Duration = Duration::from_millis(10);
const LIMIT: Duration = Duration::from_secs(1);

/// Asks `/readyz` all the time, and keeps the moments at which its answer became another.
#[derive(Debug)]
pub(crate) struct Watch {
    changes: Arc<Mutex<Vec<(Instant, bool)>>>,
    task: JoinHandle<()>,
}

impl Watch {
    pub(crate) fn start(bridge: SocketAddr) -> Self {
        let changes = Arc::new(Mutex::new(Vec::<(Instant, bool)>::new()));
        let seen = Arc::clone(&changes);
        let task = tokio::spawn(async move {
            let client = Client::http1(bridge);
            loop {
                let answer = tokio::time::timeout(LIMIT, client.try_get("/readyz")).await;
                let ready = matches!(answer, Ok(Some(answer)) if answer.status == 200);
                note(&seen, ready);
                tokio::time::sleep(INTERVAL).await;
            }
        });
        Self { changes, task }
    }

    /// Whether it is ready now.
    pub(crate) fn is_ready(&self) -> bool {
        self.changes.lock().unwrap().last().is_some_and(|(_, ready)| *ready)
    }

    /// How long after the fault was over it was ready again and stayed so; `None` if it had been ready all along.
    pub(crate) fn again(&self, fault: Instant, over: Instant) -> Option<Duration> {
        let changes = self.changes.lock().unwrap();
        let was_unready = changes.iter().any(|(at, ready)| !ready && *at >= fault);
        let (last, ready) = changes.last().copied()?;
        assert!(ready, "the bridge was not ready again");
        was_unready.then(|| last.saturating_duration_since(over))
    }
}

fn note(changes: &Mutex<Vec<(Instant, bool)>>, ready: bool) {
    let mut changes = changes.lock().unwrap();
    if changes.last().is_none_or(|(_, before)| *before != ready) {
        changes.push((Instant::now(), ready));
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}
