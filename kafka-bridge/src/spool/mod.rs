//! The spool: records that are acknowledged once they are on this machine's disk, and written to Kafka when that takes
//! them. `docs/spool.md` has the format of its files, and what is done with them when something breaks.
//!
//! Two threads do the work, because a disk blocks: one writes (`writer`), one drains (`drain`).

mod disk;
mod drain;
mod format;
mod held;
mod metrics;
mod refused;
mod retry;
mod segment;
mod state;
mod writer;

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::sync::oneshot;
use wicketgate_envelope::hop::Ack;

use crate::config::Config;
use crate::idempotency::{Claim, Identity, Memory};
use crate::metrics::{ClusterMetrics, Metrics as AllMetrics};
use crate::producer::{Delivery, DrainSettings, Outcome, Outgoing};
use disk::Disk;
use drain::{Drainer, Event, now_millis};
use format::Entry;
use metrics::Counts;
pub use metrics::Metrics;
pub use retry::{list_refused, retry_refused};
use segment::End;
use state::{Pending, Segment, Shared, State};
use writer::Writer;

/// The most bytes that wait for the disk.
const PENDING_BYTES: u64 = 64 << 20;

/// The spool cannot be used as it is.
#[derive(Debug, Error)]
#[error("the spool in {}: {what}", directory.display())]
pub struct SpoolError {
    directory: PathBuf,
    what: String,
}

/// How much a spool may hold.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// Bytes on disk, those that are set aside included.
    bytes: u64,
    /// How old the oldest record may be while new ones are taken.
    age: Duration,
    /// Bytes after which another segment is begun.
    segment_bytes: u64,
    /// Bytes of one record: key, headers and value.
    record_bytes: u64,
}

/// Keeps a directory to one process.
#[derive(Debug)]
pub struct DirectoryLock {
    _file: File,
}

impl DirectoryLock {
    /// Makes the directory if there is none, and locks it.
    ///
    /// # Errors
    /// If that cannot be done, or another bridge has it.
    pub fn take(directory: &Path) -> Result<Self, SpoolError> {
        let failed = |what: String| SpoolError { directory: directory.to_owned(), what };
        disk::create_directory(directory).map_err(|error| failed(error.to_string()))?;
        let file = disk::private().create(true).truncate(false).write(true).open(directory.join("lock"));
        let file = file.map_err(|error| failed(format!("lock: {error}")))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(failed(
                "another kafka-bridge has it; give each bridge a --spool-dir of its own, or end the other first"
                    .to_owned(),
            )),
            Err(TryLockError::Error(error)) => Err(failed(format!("lock: {error}"))),
        }
    }
}

/// What was found on disk.
#[derive(Debug, Default)]
struct Recovered {
    /// Events of records that are still there, and when each was spooled, the oldest first.
    identities: Vec<(Identity, u64)>,
    /// Records that are not in Kafka yet.
    records: u64,
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
    /// Opens the spool in `directory`, which the caller has locked, and starts to drain it.
    ///
    /// # Errors
    /// If it cannot be read or written, or is damaged. Nothing is changed then.
    fn open(
        disk: Disk,
        directory: &Path,
        limits: Limits,
        drain: DrainSettings,
        metrics: ClusterMetrics,
        counts: Counts,
    ) -> Result<(Self, Recovered), SpoolError> {
        let (state, recovered) = recover(&disk, directory)?;
        counts.limits(&limits);
        counts.state(&state);
        let shared = Arc::new(Shared::new(state));
        let (sender, events) = channel();
        let writer = Writer {
            directory: directory.to_owned(),
            segment_bytes: limits.segment_bytes,
            disk: disk.clone(),
            shared: Arc::clone(&shared),
            metrics: metrics.clone(),
            counts: counts.clone(),
            drainer: sender.clone(),
            open: None,
            repair: None,
            failing: false,
        };
        let drainer = Drainer::new(
            directory.to_owned(),
            limits.segment_bytes,
            disk,
            Arc::clone(&shared),
            metrics.clone(),
            counts.clone(),
            drain,
            events,
            sender.clone(),
        );
        let named = |name: &str| std::thread::Builder::new().name(name.to_owned());
        let threads = [
            named("spool-writer").spawn(move || writer.run()),
            named("spool-drainer").spawn(move || drainer.run()),
        ];
        let threads: io::Result<Vec<_>> = threads.into_iter().collect();
        let threads = Mutex::new(
            threads
                .map_err(|error| SpoolError { directory: directory.to_owned(), what: error.to_string() })?,
        );
        Ok((Self { shared, limits, metrics, counts, drainer: sender, threads }, recovered))
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
        let headers = record.headers.iter().map(|(name, value)| name.len() + value.len());
        let parts = [record.key, record.value].into_iter().flatten().map(<[u8]>::len);
        if parts.chain(headers).sum::<usize>() as u64 > self.limits.record_bytes {
            return Err(self.refuse(Outcome::TooLarge, claim));
        }
        let frame = entry.encode();
        let len = frame.len() as u64;
        let mut state = self.shared.lock();
        if let Err(why) = self.admit(&state, len, now) {
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
    fn admit(&self, state: &State, len: u64, now: u64) -> Result<(), Option<&'static str>> {
        if state.broken || state.stopping {
            return Err(None);
        }
        let too_old = |at: u64| u128::from(now.saturating_sub(at)) > self.limits.age.as_millis();
        if state.oldest().is_some_and(too_old) {
            return Err(Some("age"));
        }
        if state.bytes() + state.pending_bytes + len > self.limits.bytes {
            return Err(Some("bytes"));
        }
        if state.pending_bytes + len > PENDING_BYTES.max(2 * self.limits.record_bytes) {
            return Err(Some("memory"));
        }
        Ok(())
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

/// The spools of all clusters, in a directory that one process has to itself.
#[derive(Debug)]
pub struct Spools {
    spools: BTreeMap<String, Spool>,
    /// Let go of when the threads have ended, whoever still has hold of this.
    lock: Mutex<Option<DirectoryLock>>,
}

impl Spools {
    /// Opens the spools that the configuration asks for, if it does, and starts to drain them. `memory` is told which
    /// events they have. `bootstrap_servers` are those of the default cluster.
    ///
    /// # Errors
    /// If one of them cannot be read or written, is damaged, or is of a cluster that the configuration does not have.
    pub fn open(
        config: &Config,
        bootstrap_servers: &str,
        lock: Option<DirectoryLock>,
        memory: Option<&Memory>,
        metrics: &Arc<AllMetrics>,
    ) -> Result<Option<Self>, SpoolError> {
        let (Some(directory), Some(lock)) = (&config.spool_dir, lock) else { return Ok(None) };
        let default = config.default_cluster(bootstrap_servers);
        let clusters: Vec<_> = std::iter::once(&default).chain(&config.clusters).collect();
        for found in clusters_in(directory)? {
            if !clusters.iter().any(|cluster| cluster.name == found) {
                let what = format!(
                    "it has a spool of cluster {found}, which is not in the configuration; add the cluster, or move {} away",
                    directory.join(&found).display()
                );
                return Err(SpoolError { directory: directory.clone(), what });
            }
        }
        let limits = Limits {
            bytes: config.spool_max_bytes,
            age: config.spool_max_age,
            segment_bytes: config.spool_segment_bytes,
            record_bytes: u64::from(config.max_record_bytes),
        };
        let mut spools = BTreeMap::new();
        for cluster in clusters {
            let name = &cluster.name;
            let (spool, recovered) = Spool::open(
                Disk::default(),
                &directory.join(name),
                limits,
                DrainSettings::new(config, cluster),
                metrics.of_cluster(name),
                metrics.spool.of(name),
            )?;
            if recovered.records > 0 {
                tracing::info!(
                    cluster = name,
                    records = recovered.records,
                    "the spool has records that go to Kafka now"
                );
            }
            if let Some(memory) = memory {
                restore(&recovered, memory);
            }
            spools.insert(name.clone(), spool);
        }
        Ok(Some(Self { spools, lock: Mutex::new(Some(lock)) }))
    }

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

/// The clusters that have a spool in this directory.
///
/// # Errors
/// If it cannot be read.
pub fn clusters_in(directory: &Path) -> Result<Vec<String>, SpoolError> {
    let read = || -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            // Others are nobody's, such as the lost+found of a file system.
            if entry.path().join("refused").is_dir() {
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        names.sort_unstable();
        Ok(names)
    };
    read().map_err(|error| SpoolError { directory: directory.to_owned(), what: error.to_string() })
}

/// Puts back into memory what the spool knows of events, so that one that comes again is recognised.
fn restore(recovered: &Recovered, memory: &Memory) {
    let now = now_millis();
    for (identity, spooled_at) in &recovered.identities {
        let age = Duration::from_millis(now.saturating_sub(*spooled_at));
        memory.restore(*identity, Outcome::Acknowledged { ack: Ack::Spooled, place: None }, age);
    }
}

fn checkpoint_path(directory: &Path) -> PathBuf {
    directory.join("checkpoint")
}

/// Reads all that is on disk. Only if all of it is good, what was being written when the last bridge ended is cut off.
fn recover(disk: &Disk, directory: &Path) -> Result<(State, Recovered), SpoolError> {
    let failed = |what: String| SpoolError { directory: directory.to_owned(), what };
    let read = |error: io::Error| failed(error.to_string());
    disk::create_directory(&refused::directory(directory)).map_err(read)?;
    disk.sync_directory(directory).map_err(read)?;

    let mut state = State { done: read_checkpoint(directory).map_err(read)?, ..State::default() };
    let mut recovered = Recovered::default();
    let mut found = segment::list(directory).map_err(read)?;
    // A segment that could not be removed, or came back, may have a gap behind it that nobody misses.
    let done_with = found.iter().skip(1).take_while(|(first, _)| *first <= state.done + 1).count();
    let left_behind: Vec<PathBuf> = found.drain(..done_with).map(|(_, path)| path).collect();
    let newest = found.last().map(|(first, _)| *first);
    let mut last = None;
    for (first, path) in found {
        let bytes = fs::read(&path).map_err(|error| failed(format!("{}: {error}", path.display())))?;
        if let Some(before) = state.segments.back().filter(|before| before.next != first) {
            let (wanted, found) = (before.next, path.display());
            return Err(failed(format!(
                "records from {wanted} on are missing: the next segment is {found}; put back what is missing, or move what \
                 comes before it away"
            )));
        }
        let mut next = first;
        let end = segment::scan(&bytes, newest == Some(first), |record| {
            if record.frame.sequence != next {
                return Err(failed(format!(
                    "{}: wanted record {next} at byte {}, found {}; see docs/spool.md",
                    path.display(),
                    record.offset,
                    record.frame.sequence
                )));
            }
            next += 1;
            let Some(entry) = Entry::decode(&record.frame) else {
                let (path, offset) = (path.display(), record.offset);
                return Err(failed(format!("{path}: a record of a later version at byte {offset}")));
            };
            recovered.identities.extend(entry.identity.map(|identity| (identity, entry.spooled_at)));
            if record.frame.sequence > state.done {
                state.aged(record.frame.sequence, entry.spooled_at);
            }
            Ok(())
        })?;
        let named = format::read_segment_header(&bytes).map_or(true, |header| header.first == first);
        let good = match end {
            End::Clean if named => bytes.len(),
            End::Torn { good } if named => {
                tracing::warn!(
                    path = %path.display(),
                    bytes = bytes.len() - good,
                    "the spool ends with a record that was being written when the bridge ended, and that nobody was told of; \
                     it is cut off"
                );
                good
            }
            End::OtherVersion(version) => {
                return Err(failed(format!("{}: {}", path.display(), segment::other_version(version))));
            }
            End::Damaged { good } => {
                return Err(failed(format!(
                    "{} is damaged at byte {good} of {}: {} records before it are good, and acknowledged ones come after it. \
                     Nothing was changed; see \"When something breaks\" in docs/spool.md for what to do",
                    path.display(),
                    bytes.len(),
                    next - first
                )));
            }
            End::Clean | End::Torn { .. } => {
                return Err(failed(format!("{}: it has the name of another segment", path.display())));
            }
        };
        if newest == Some(first) {
            let mut bytes = bytes;
            bytes.truncate(good);
            last = Some((path.clone(), bytes));
        }
        state.segments.push_back(Segment { first, next, path, len: good as u64 });
    }
    // What can be read back need not be durable: the last bridge may have ended between writing and syncing, or after a
    // sync that failed. From here on it counts as acknowledged, so it is written once more.
    if let Some((path, bytes)) = last {
        disk.replace(&path, &bytes).map_err(read)?;
    }
    for path in left_behind {
        disk.remove(&path).map_err(read)?;
    }
    // One without records would have the name of the next.
    if let Some(empty) = state.segments.pop_back_if(|segment| segment.next == segment.first) {
        disk.remove(&empty.path).map_err(read)?;
        disk.sync_directory(directory).map_err(read)?;
        state.next = empty.first;
    }
    state.next = state.segments.back().map_or(state.next, |last| last.next).max(state.done + 1);
    if let Some(first) = state.segments.front().map(|segment| segment.first) {
        // What is not there any more is done with.
        let done = state.done.max(first - 1);
        state.done_up_to(done);
    } else {
        let done = state.next - 1;
        state.done_up_to(done);
    }
    while let Some(done) = state.segments.pop_front_if(|segment| segment.next <= state.done + 1) {
        disk.remove(&done.path).map_err(read)?;
    }
    (state.refused_records, state.refused_bytes) = refused::count(directory).map_err(read)?;
    recovered.records = state.records();
    Ok((state, recovered))
}

fn read_checkpoint(directory: &Path) -> io::Result<u64> {
    let bytes = match fs::read(checkpoint_path(directory)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        read => read?,
    };
    Ok(format::read_checkpoint(&bytes).unwrap_or_else(|| {
        tracing::warn!(
            directory = %directory.display(),
            "the spool's checkpoint cannot be read; all that is there is written to Kafka, some of it once more"
        );
        0
    }))
}

#[cfg(test)]
mod tests;
