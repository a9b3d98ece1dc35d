//! The bridge's own clock: a record whose delivery timeout is over is given up for its caller, while librdkafka goes on.
//!
//! librdkafka must not give it up by then. When it gives up any record, it begins a new epoch of the whole producer and
//! sends what was in flight again with new numbers, by which no broker recognises what it has.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::delivery::Outcome;
use crate::producer::metrics::ClusterMetrics;
use crate::producer::ticket::Ticket;
use crate::sparse::Sparse;

/// Of the lines about records that are given up, by cluster, topic and outcome.
static GIVEN_UP: LazyLock<Sparse> = LazyLock::new(Sparse::default);

/// Beyond so many, and twice those that are open, settled records are taken out of the queue.
const SLACK: usize = 1024;

/// The records of one cluster that have no answer.
#[derive(Debug)]
pub(super) struct Overdue {
    timeout: Duration,
    metrics: ClusterMetrics,
    queue: Mutex<Queue>,
    changed: Condvar,
    counts: Arc<Counts>,
    /// The most that may be overdue before records of their topics are refused.
    records_limit: usize,
    bytes_limit: u64,
}

#[derive(Debug, Default)]
struct Queue {
    /// In the order in which they are due.
    tickets: VecDeque<Arc<Ticket>>,
    ended: bool,
}

#[derive(Debug, Default)]
struct Counts {
    waiting: AtomicUsize,
    overdue: AtomicUsize,
    overdue_bytes: AtomicU64,
}

/// A record that is counted: as one whose caller waits, and then as one that is overdue.
#[derive(Debug)]
pub(super) struct Counted {
    counts: Arc<Counts>,
    bytes: u64,
    overdue: bool,
}

impl Counted {
    /// From now on it is overdue.
    pub(super) fn overdue(&mut self) {
        if !std::mem::replace(&mut self.overdue, true) {
            self.counts.overdue.fetch_add(1, Ordering::AcqRel);
            self.counts.overdue_bytes.fetch_add(self.bytes, Ordering::AcqRel);
            self.counts.waiting.fetch_sub(1, Ordering::AcqRel);
        }
    }

    pub(super) fn is_overdue(&self) -> bool {
        self.overdue
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if self.overdue {
            self.counts.overdue.fetch_sub(1, Ordering::AcqRel);
            self.counts.overdue_bytes.fetch_sub(self.bytes, Ordering::AcqRel);
        } else {
            self.counts.waiting.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

impl Overdue {
    /// Starts the clock, which ends with what this returns. `records` and `bytes` are what the producer's queue has room for.
    ///
    /// # Errors
    /// When there is no thread for it.
    pub(super) fn start(
        timeout: Duration,
        metrics: ClusterMetrics,
        records: u32,
        bytes: u64,
    ) -> std::io::Result<Clock> {
        let overdue = Arc::new(Self {
            timeout,
            metrics,
            queue: Mutex::default(),
            changed: Condvar::new(),
            counts: Arc::default(),
            records_limit: usize::try_from(records / 2).unwrap_or(usize::MAX).max(1),
            bytes_limit: (bytes / 2).max(1),
        });
        let watched = Arc::clone(&overdue);
        std::thread::Builder::new().name("overdue".to_owned()).spawn(move || watched.run())?;
        Ok(Clock(overdue))
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a record of so many bytes that is about to be enqueued.
    pub(super) fn count(&self, bytes: u64) -> Counted {
        self.counts.waiting.fetch_add(1, Ordering::AcqRel);
        Counted { counts: Arc::clone(&self.counts), bytes, overdue: false }
    }

    /// Gives this one up when its time comes.
    pub(super) fn watch(&self, ticket: Arc<Ticket>) {
        let mut queue = self.queue();
        let first = queue.tickets.is_empty();
        queue.tickets.push_back(ticket);
        if queue.tickets.len() > SLACK + 2 * self.waiting() {
            queue.tickets.retain(|ticket| !ticket.is_settled());
        }
        drop(queue);
        if first {
            self.changed.notify_one();
        }
    }

    /// How many records have no answer, for whose callers it is not too late.
    pub(super) fn waiting(&self) -> usize {
        self.counts.waiting.load(Ordering::Acquire)
    }

    /// Whether overdue records take half of the room that there is.
    pub(super) fn is_full(&self) -> bool {
        self.counts.overdue.load(Ordering::Acquire) >= self.records_limit
            || self.counts.overdue_bytes.load(Ordering::Acquire) >= self.bytes_limit
    }

    fn run(&self) {
        while let Some(ticket) = self.next() {
            let request_id = ticket.request_id.as_deref();
            let Some(topic) = ticket.give_up(&self.metrics) else { continue };
            let (cluster, outcome) = (self.metrics.cluster(), Outcome::Unknown.label());
            if let Some(left_out) = GIVEN_UP.take((cluster, &*topic, outcome), Instant::now()) {
                tracing::warn!(
                    cluster,
                    topic = &*topic,
                    request_id,
                    outcome,
                    left_out,
                    "record not acknowledged within --delivery-timeout"
                );
            }
        }
    }

    /// Waits for the next record whose time is over; `None` at the end.
    fn next(&self) -> Option<Arc<Ticket>> {
        let mut queue = self.queue();
        loop {
            while queue.tickets.pop_front_if(|ticket| ticket.is_settled()).is_some() {}
            if queue.ended {
                return None;
            }
            queue = match queue.tickets.front() {
                None => self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner),
                Some(ticket) => match self.timeout.checked_sub(ticket.enqueued.elapsed()) {
                    None | Some(Duration::ZERO) => return queue.tickets.pop_front(),
                    Some(rest) => {
                        self.changed.wait_timeout(queue, rest).unwrap_or_else(PoisonError::into_inner).0
                    }
                },
            };
        }
    }
}

/// The clock, as long as somebody has it.
#[derive(Debug)]
pub(super) struct Clock(Arc<Overdue>);

impl std::ops::Deref for Clock {
    type Target = Overdue;

    fn deref(&self) -> &Overdue {
        &self.0
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        self.0.queue().ended = true;
        self.0.changed.notify_one();
    }
}
