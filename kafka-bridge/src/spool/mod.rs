//! The spool: records that are acknowledged once they are on this machine's disk, and written to Kafka when that takes
//! them. `docs/spool.md` has the format of its files, and what is done with them when something breaks.
//!
//! The files are a [`segment_log`]; here are the records in them, and the two threads that work on them, because a disk
//! blocks: one writes (`writer`), one drains (`drain`).

mod clock;
mod drain;
mod metrics;
mod operate;
mod options;
mod parked;
mod record;
mod state;
mod writer;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use segment_log::{Disk, Inspected, Log, LogError, Visited};
use thiserror::Error;
use tokio::sync::oneshot;
use wicketgate_envelope::hop::Ack;

use crate::delivery::{Delivery, Outcome};
use crate::idempotency::{Claim, Identity, Memory};
use crate::producer::{self, ClusterMetrics, ClusterOptions, DrainSettings, Outgoing, wire_size};
use clock::now_millis;
use drain::{Drainer, Event};
use metrics::Counts;
pub use metrics::Metrics;
pub use operate::{Retried, Salvaged, check, drop_refused, list_refused, retry_refused, salvage};
pub use options::Options;
use record::Entry;
use state::{Pending, Shared, State};
use writer::Writer;

/// The most bytes that wait for the disk.
const PENDING_BYTES: u64 = 64 << 20;

/// Of what a spool may hold, the part after which topics that have dead letters get no more room, so that they do not take
/// it from others.
const DEAD_LETTER_SHARE: u64 = 2;

/// The spool cannot be used as it is.
#[derive(Debug, Error)]
#[error("the spool in {}: {what}", directory.display())]
pub struct SpoolError {
    directory: PathBuf,
    what: String,
}

impl From<LogError> for SpoolError {
    fn from(LogError { directory, mut what, salvage_helps }: LogError) -> Self {
        if salvage_helps {
            what.push_str(" (kafka-bridge spool salvage, see docs/spool.md)");
        }
        Self { directory, what }
    }
}

impl SpoolError {
    fn io(directory: &Path, error: &io::Error) -> Self {
        Self { directory: directory.to_owned(), what: error.to_string() }
    }
}

/// How much a spool may hold.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// Bytes on disk, those of dead letters included.
    bytes: u64,
    /// How old the oldest record may be while new ones are taken.
    age: Duration,
    /// Bytes after which another segment is begun.
    segment_bytes: u64,
    /// Bytes of one record, as [`wire_size`] counts them.
    record_bytes: u64,
}

/// Keeps a directory to one process.
#[derive(Debug)]
pub struct DirectoryLock {
    _lock: segment_log::DirectoryLock,
}

impl DirectoryLock {
    /// Makes the directory if there is none, and locks it.
    ///
    /// # Errors
    /// If that cannot be done, or another bridge has it.
    pub fn take(directory: &Path) -> Result<Self, SpoolError> {
        use segment_log::LockError;
        segment_log::DirectoryLock::take(directory).map(|lock| Self { _lock: lock }).map_err(|error| {
            let what = match error {
                LockError::Taken => {
                    "another kafka-bridge has it; give each bridge a --spool-dir of its own, or end the other first"
                        .to_owned()
                }
                LockError::Io(error) => error.to_string(),
            };
            SpoolError { directory: directory.to_owned(), what }
        })
    }
}

/// Records on their way to one cluster.
#[derive(Debug)]
pub struct Spool {
    shared: Arc<Shared>,
    limits: Limits,
    metrics: ClusterMetrics,
    counts: Counts,
    drainer: Sender<Event>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Spool {
    /// Makes the threads of the spool with this log, which is in this state. They begin once each of what is returned with
    /// it is told to, and end at once if it is dropped.
    fn new(
        log: Log,
        mut state: State,
        limits: Limits,
        drain: DrainSettings,
        memory: Option<&Arc<Memory>>,
        metrics: ClusterMetrics,
        counts: Counts,
    ) -> Result<(Self, [Sender<()>; 2]), SpoolError> {
        counts.limits(&limits);
        counts.state(&mut state, &log.lock());
        let directory = log.directory().to_owned();
        let shared = Arc::new(Shared::new(log.clone(), state));
        let (sender, events) = channel();
        let writer = Writer {
            log: segment_log::Writer::new(log),
            shared: Arc::clone(&shared),
            metrics: metrics.clone(),
            counts: counts.clone(),
            drainer: sender.clone(),
            failing: false,
        };
        let drainer = Drainer::new(
            Arc::clone(&shared),
            metrics.clone(),
            counts.clone(),
            drain,
            memory.cloned(),
            events,
            sender.clone(),
        );
        let (start_writer, writer) = thread("spool-writer", move || writer.run());
        let (start_drainer, drainer) = thread("spool-drainer", move || drainer.run());
        let threads: io::Result<Vec<_>> = [writer, drainer].into_iter().collect();
        let threads = Mutex::new(threads.map_err(|error| SpoolError::io(&directory, &error))?);
        Ok((
            Self { shared, limits, metrics, counts, drainer: sender, threads },
            [start_writer, start_drainer],
        ))
    }

    /// Has a record written to disk, without waiting. Records are written to Kafka in the order of these calls. `claim` is
    /// told what becomes of it, and `identity` is kept with it.
    ///
    /// # Errors
    /// The outcome of a record that was not taken, and is therefore nowhere.
    pub fn append(
        &self,
        record: &Outgoing<'_>,
        identity: Option<Identity>,
        claim: Option<Claim>,
    ) -> Result<Delivery, Outcome> {
        let now = now_millis();
        let entry = Entry {
            spooled_at: now,
            timestamp: record.timestamp.unwrap_or_else(|| i64::try_from(now).unwrap_or(i64::MAX)),
            topic: record.topic,
            partition: record.partition,
            key: record.key,
            headers: record.headers.to_vec(),
            value: record.value,
            identity,
            request_id: record.request_id.map(|id| &**id),
            reason: None,
        };
        // As the client will measure it that has to take it later.
        if wire_size(record.key, record.value, record.headers) > self.limits.record_bytes {
            return Err(self.refuse(Outcome::TooLarge, claim));
        }
        let frame = entry.encode();
        let len = frame.len() as u64;
        let mut state = self.shared.lock();
        if let Err(why) = self.admit(&mut state, record.topic, len, now) {
            drop(state);
            if let Some(reason) = why {
                self.counts.full(reason);
            }
            return Err(self.refuse(Outcome::Unavailable, claim));
        }
        let (reply, delivery) = oneshot::channel();
        state.pending_bytes += len;
        state.pending.push(Pending { frame, spooled_at: now, reply, claim, since: Instant::now() });
        drop(state);
        self.shared.to_write.notify_one();
        self.metrics.record_enqueued(record.value.map_or(0, <[u8]>::len));
        Ok(delivery)
    }

    /// Whether there is room, and otherwise which bound it is that keeps a record out.
    fn admit(&self, state: &mut State, topic: &str, len: u64, now: u64) -> Result<(), Option<&'static str>> {
        // What is behind damage is not drained.
        let (broken, bytes) = {
            let segments = self.shared.log.lock();
            (segments.broken, segments.bytes() + state.dead_letters.bytes)
        };
        if broken || state.stopping || state.damaged {
            return Err(None);
        }
        let dead = &state.dead_letters;
        if dead.bytes > self.limits.bytes / DEAD_LETTER_SHARE && dead.topics.contains(topic) {
            return Err(Some("refused"));
        }
        if state.oldest_age(now).is_some_and(|age| u128::from(age) > self.limits.age.as_millis()) {
            return Err(Some("age"));
        }
        if bytes + state.pending_bytes + len > self.limits.bytes {
            return Err(Some("bytes"));
        }
        if state.pending_bytes + len > PENDING_BYTES.max(2 * self.limits.record_bytes) {
            return Err(Some("memory"));
        }
        Ok(())
    }

    /// Whether a record would be taken now, however large it is within `--max-record-bytes`.
    pub fn takes_records(&self) -> bool {
        let mut state = self.shared.lock();
        self.admit(&mut state, "", self.limits.record_bytes, now_millis()).is_ok()
    }

    fn refuse(&self, outcome: Outcome, claim: Option<Claim>) -> Outcome {
        self.metrics.record(outcome.label());
        if let Some(claim) = claim {
            claim.settle(outcome);
        }
        outcome
    }

    fn stop(&self, deadline: Instant) {
        self.shared.lock().stopping = true;
        self.shared.to_write.notify_one();
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        let mut threads = threads.drain(..);
        if let Some(writer) = threads.next() {
            let _ = writer.join();
        }
        let _ = self.drainer.send(Event::Stop(deadline));
        for drainer in threads {
            let _ = drainer.join();
        }
    }
}

/// Makes a thread that begins once it is told to.
fn thread(name: &str, run: impl FnOnce() + Send + 'static) -> (Sender<()>, io::Result<JoinHandle<()>>) {
    let (start, started): (_, Receiver<()>) = channel();
    let begin = move || {
        if started.recv().is_ok() {
            run();
        }
    };
    (start, std::thread::Builder::new().name(name.to_owned()).spawn(begin))
}

/// The spools of all clusters, in a directory that one process has to itself.
#[derive(Debug)]
pub struct Spools {
    spools: BTreeMap<String, Spool>,
    /// Let go of when the threads have ended, whoever still has hold of this.
    lock: Mutex<Option<DirectoryLock>>,
}

/// The spools of all clusters, as they were found: good, and not changed yet.
#[allow(missing_debug_implementations, reason = "there are secrets in it")]
pub struct FoundSpools {
    lock: DirectoryLock,
    /// Told which events Kafka has.
    memory: Option<Arc<Memory>>,
    spools: Vec<FoundSpool>,
}

/// One of them.
struct FoundSpool {
    cluster: String,
    log: Inspected,
    state: State,
    limits: Limits,
    drain: DrainSettings,
    metrics: ClusterMetrics,
    counts: Counts,
}

impl FoundSpools {
    /// Looks at the spools that the configuration asks for, if it does, and changes nothing. `memory` is told which events
    /// they have, and later which of them Kafka has.
    ///
    /// # Errors
    /// If one of them cannot be read, is damaged, or is of a cluster that the configuration does not have.
    pub fn look(
        options: &Options,
        kafka: &producer::Options,
        clusters: &[ClusterOptions],
        lock: Option<DirectoryLock>,
        memory: Option<&Arc<Memory>>,
        metrics: &Metrics,
        records: &Arc<producer::Metrics>,
    ) -> Result<Option<Self>, SpoolError> {
        let (Some(directory), Some(lock)) = (&options.spool_dir, lock) else { return Ok(None) };
        for found in clusters_in(directory)? {
            if !clusters.iter().any(|cluster| cluster.name == found) {
                let what = format!(
                    "it has a spool of cluster {found}, which is not in the configuration; add the cluster, or move {} away",
                    directory.join(&found).display()
                );
                return Err(SpoolError { directory: directory.clone(), what });
            }
        }
        let now = now_millis();
        let mut remember = |identity, spooled_at| {
            if let Some(memory) = memory {
                // As of now: to read a spool takes a while.
                let age = Duration::from_millis(now_millis().saturating_sub(spooled_at));
                memory.restore(identity, Outcome::Acknowledged { ack: Ack::Spooled, metadata: None }, age);
            }
        };
        let mut spools = Vec::new();
        for cluster in clusters {
            let (name, directory) = (&cluster.name, directory.join(&cluster.name));
            let (log, state) = inspect(&directory, now, &mut remember)?;
            spools.push(FoundSpool {
                log,
                state,
                drain: DrainSettings::new(kafka, cluster),
                metrics: records.of_cluster(name),
                counts: metrics.of(name),
                limits: Limits {
                    bytes: cluster.spool_max_bytes.unwrap_or(options.spool_max_bytes),
                    age: cluster.spool_max_age.unwrap_or(options.spool_max_age),
                    segment_bytes: options.spool_segment_bytes,
                    record_bytes: u64::from(kafka.max_record_bytes),
                },
                cluster: name.clone(),
            });
        }
        Ok(Some(Self { lock, memory: memory.cloned(), spools }))
    }

    /// Makes them ready to be used, and starts to drain them.
    ///
    /// # Errors
    /// If one of them cannot be written, or the system has no threads. None is drained then.
    pub fn start(self) -> Result<Spools, SpoolError> {
        let disk = Disk::default();
        let mut ready = Vec::new();
        for found in self.spools {
            let FoundSpool { cluster, log, state, limits, drain, metrics, counts } = found;
            let log = log.open(&disk, limits.segment_bytes)?;
            ready.push((cluster, log, state, limits, drain, metrics, counts));
        }
        let (mut spools, mut waiting) = (BTreeMap::new(), Vec::new());
        for (cluster, log, state, limits, drain, metrics, counts) in ready {
            let records = log.lock().records();
            if records > 0 {
                tracing::info!(cluster, records, "the spool has records that go to Kafka now");
            }
            let memory = self.memory.as_ref();
            let (spool, threads) = Spool::new(log, state, limits, drain, memory, metrics, counts)?;
            spools.insert(cluster, spool);
            waiting.extend(threads);
        }
        for thread in waiting {
            // It waits for nothing else.
            let _ = thread.send(());
        }
        Ok(Spools { spools, lock: Mutex::new(Some(self.lock)) })
    }
}

impl Spools {
    /// The spool of a cluster.
    pub fn of(&self, cluster: &str) -> Option<&Spool> {
        self.spools.get(cluster)
    }

    /// Ends all of them: writes what waits, and lets what is on its way to Kafka arrive until `deadline`. What stays is
    /// safe. Blocks.
    pub fn stop(&self, deadline: Instant) {
        std::thread::scope(|scope| {
            for spool in self.spools.values() {
                scope.spawn(|| spool.stop(deadline));
            }
        });
        drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

/// Reads a spool, and changes nothing. `remember` is told of each event whose record is there: by what it is recognised, and
/// when it was spooled. Times are milliseconds since 1970-01-01T00:00:00Z.
fn inspect(
    directory: &Path,
    now: u64,
    remember: &mut dyn FnMut(Identity, u64),
) -> Result<(Inspected, State), SpoolError> {
    let mut state = State::default();
    let log = segment_log::inspect(directory, &mut |visited| {
        let entry = Entry::decode(visited.payload());
        match (&visited, &entry) {
            (Visited::Record { sequence, .. }, Some(entry)) => {
                if let Some(identity) = entry.identity {
                    remember(identity, entry.spooled_at);
                }
                state.aged(*sequence, entry.spooled_at.min(now));
            }
            (Visited::Record { .. }, None) => {}
            (Visited::DeadLetter { .. }, entry) => {
                state.dead_letters.add(entry.as_ref().map_or("", |entry| entry.topic));
            }
        }
        entry.is_some()
    })?;
    state.done_up_to(log.segments().done);
    state.dead_letters.bytes =
        segment_log::dead_letters::bytes(directory).map_err(|error| SpoolError::io(directory, &error))?;
    Ok((log, state))
}

/// The clusters that have a spool in this directory.
///
/// # Errors
/// If it cannot be read.
pub fn clusters_in(directory: &Path) -> Result<Vec<String>, SpoolError> {
    let read = || -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            // Others are nobody's, such as the lost+found of a file system, and no cluster's name begins with a plus, as that
            // of the idempotency journal does.
            if !name.starts_with('+') && segment_log::is_log(&entry.path())? {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    };
    read().map_err(|error| SpoolError::io(directory, &error))
}

#[cfg(test)]
mod tests;
