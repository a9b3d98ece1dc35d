//! Waiting for something to become true, never for time to pass.

use std::future::Future;
use std::time::{Duration, Instant};

/// How often a condition is looked at.
const INTERVAL: Duration = Duration::from_millis(20);

/// Looks at `condition` until it is `Some`. `Err` after `limit`.
pub async fn until<T, F>(limit: Duration, mut condition: impl FnMut() -> F) -> Result<T, TimedOut>
where
    F: Future<Output = Option<T>>,
{
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = condition().await {
            return Ok(value);
        }
        if Instant::now() >= deadline {
            return Err(TimedOut(limit));
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// The same for callers that have no runtime.
pub fn until_blocking<T>(limit: Duration, mut condition: impl FnMut() -> Option<T>) -> Result<T, TimedOut> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = condition() {
            return Ok(value);
        }
        if Instant::now() >= deadline {
            return Err(TimedOut(limit));
        }
        std::thread::sleep(INTERVAL);
    }
}

/// The condition did not become true within this time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimedOut(pub Duration);
