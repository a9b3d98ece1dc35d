//! Which events have been written lately, on disk: what a bridge that was killed knows again when it is started.
//!
//! Entries are the records of segments of a [`segment_log`], so that the torn end of a file, or a part that the disk has
//! lost, costs what it held and nothing else. A start writes what is still of use into a new segment; once one has as many
//! events as are remembered, or its first is older than the window, another is begun. An earlier one goes once the later
//! ones have as many events as are remembered, or its last is older than the window. So about twice as many events are on
//! disk at most as are remembered in memory.
//!
//! A spooled event has a second entry once Kafka has it, which says so and counts for nothing else: it is never in an
//! earlier file than the first, and has the first one's time, so that of the events none is remembered longer for it, or in
//! place of a younger one.
//!
//! Behind what could not be written nothing is written: the next entries go into another segment.
//!
//! Entries are written, not synced: they outlive the process, and a crash of the machine may lose the last of them.
//!
//! The disk has a thread of its own, and whoever is to be answered waits for it only so long: a disk that hangs holds up
//! nobody who is in Kafka.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use segment_log::{
    AppendError, DirectoryLock, Disk, End, LockError, Open, SEGMENT_HEADER, UnsealedFrame, files,
    list_segments, survey, whole_frames,
};
use wicketgate_envelope::hop::Ack;
use wicketgate_envelope::timestamp::Timestamp;

use super::{Identity, Then};
use crate::delivery::{Outcome, RecordMetadata};
use crate::idempotency::Metrics;

/// Bytes of an entry: identity (32), time (8), acknowledgement and whether the place is known (2), partition (4),
/// offset (8), timestamp (8). Numbers are big-endian.
const ENTRY: usize = 62;

/// The most entries that are written at once.
const BATCH: usize = 1024;

/// How long the disk has to take what is written at once.
const PATIENCE: Duration = Duration::from_millis(200);

/// How often it is looked at whether a disk that hung has come back, while nothing else happens.
const LOOK: Duration = Duration::from_millis(50);

/// Why there is no journal.
#[derive(Debug, thiserror::Error)]
#[error("idempotency journal in {directory}: {error}")]
pub struct JournalError {
    /// The directory that it should be in.
    directory: String,
    /// What the system says.
    error: io::Error,
}

/// An event that was written, and how long ago.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) identity: Identity,
    pub(super) outcome: Outcome,
    pub(super) age: Duration,
}

/// The way to the thread that has entries written. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Journal {
    entries: Sender<(Option<Appended>, Then)>,
}

/// An entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Written {
    identity: Identity,
    /// Milliseconds since 1970.
    at: u64,
    ack: Ack,
    metadata: Option<RecordMetadata>,
}

/// An entry that is to be written.
#[derive(Debug)]
struct Appended {
    entry: Written,
    /// Whether it is the first of its event.
    first: bool,
}

/// Entries that are written at once.
#[derive(Debug, Default)]
struct Batch {
    frames: Vec<UnsealedFrame>,
    /// How many of them are the first of their event.
    events: usize,
}

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// For how long.
    pub(super) window: Duration,
    /// The most events.
    pub(super) entries: usize,
}

impl Journal {
    /// Opens the journal in this directory, which is made if it isn't there and is kept to this process, and says what is
    /// known from before, the oldest first.
    ///
    /// # Errors
    /// [`JournalError`], when the directory cannot be used, or another bridge uses it.
    pub(super) fn open(
        directory: &Path,
        bounds: Bounds,
        metrics: Arc<Metrics>,
    ) -> Result<(Self, Vec<Known>), JournalError> {
        let (files, known) = Files::open(directory, &Disk::default(), bounds, now())
            .map_err(|error| JournalError { directory: directory.display().to_string(), error })?;
        let journal = Self::start(files, metrics)
            .map_err(|error| JournalError { directory: directory.display().to_string(), error })?;
        Ok((journal, known))
    }

    fn start(mut files: Files, metrics: Arc<Metrics>) -> io::Result<Self> {
        let (batches, to_write) = mpsc::channel::<Batch>();
        let (done, written) = mpsc::channel();
        thread::Builder::new().name("journal".to_owned()).spawn(move || {
            while let Ok(batch) = to_write.recv() {
                if done.send(files.append(&batch.frames, batch.events)).is_err() {
                    break;
                }
            }
        })?;
        let (entries, received) = mpsc::channel();
        let writer =
            Writer { disk: batches, written, metrics, hangs: false, failing: false, flushes: Vec::new() };
        thread::Builder::new().name("idempotency".to_owned()).spawn(move || writer.run(&received))?;
        Ok(Self { entries })
    }

    /// Writes that an event was acknowledged, and does `then` when that is done, or cannot be done, or takes too long.
    /// Never blocks.
    pub(super) fn append(&self, identity: Identity, ack: Ack, metadata: Option<RecordMetadata>, then: Then) {
        let entry = Written { identity, at: now(), ack, metadata };
        self.send(Appended { entry, first: true }, then);
    }

    /// Writes that more is known by now of an event that was acknowledged `age` ago. Never blocks.
    pub(super) fn append_more(
        &self,
        identity: Identity,
        ack: Ack,
        metadata: Option<RecordMetadata>,
        age: Duration,
    ) {
        let age = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        let entry = Written { identity, at: now().saturating_sub(age), ack, metadata };
        self.send(Appended { entry, first: false }, Box::new(|| {}));
    }

    fn send(&self, entry: Appended, then: Then) {
        if let Err(mpsc::SendError((_, then))) = self.entries.send((Some(entry), then)) {
            then();
        }
    }

    /// Waits until all is written that has been appended so far, but no longer than this.
    pub(super) fn flush(&self, within: Duration) {
        let (done, flushed) = mpsc::channel();
        let then = move || {
            let _ = done.send(());
        };
        if self.entries.send((None, Box::new(then))).is_ok() {
            let _ = flushed.recv_timeout(within);
        }
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The thread that has entries written, and does what comes after.
struct Writer {
    /// The way to the thread that the disk may hold up. It has one batch at a time.
    disk: Sender<Batch>,
    /// What became of the batch.
    written: Receiver<io::Result<()>>,
    metrics: Arc<Metrics>,
    /// Whether a batch has been with the disk for too long.
    hangs: bool,
    /// Whether the last attempt failed.
    failing: bool,
    /// What waits until the disk has all, even if it hangs.
    flushes: Vec<Then>,
}

impl Writer {
    fn run(mut self, received: &Receiver<(Option<Appended>, Then)>) {
        let mut thens = Vec::with_capacity(BATCH);
        loop {
            let first =
                if self.hangs { received.recv_timeout(LOOK) } else { received.recv().map_err(Into::into) };
            self.look();
            let first = match first {
                Ok(first) => first,
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let mut batch = Batch::default();
            // What has come meanwhile is written along with it.
            for (appended, then) in std::iter::once(first).chain(received.try_iter()).take(BATCH) {
                let Some(Appended { entry, first }) = appended else {
                    self.flushes.push(then);
                    continue;
                };
                thens.push(then);
                batch.frames.push(UnsealedFrame::of(&entry.to_bytes()));
                batch.events += usize::from(first);
            }
            self.write(batch);
            thens.drain(..).for_each(|then| then());
            if !self.hangs {
                self.flushes.drain(..).for_each(|then| then());
            }
        }
    }

    /// Has a batch written, unless the disk is still at an earlier one.
    fn write(&mut self, batch: Batch) {
        let entries = batch.frames.len();
        if entries == 0 {
            return;
        }
        if self.hangs {
            self.metrics.unjournaled(entries);
            return;
        }
        let written = match self.disk.send(batch) {
            Ok(()) => self.written.recv_timeout(PATIENCE),
            Err(_) => Err(RecvTimeoutError::Disconnected),
        };
        match written {
            Ok(written) => self.note(written, entries),
            Err(RecvTimeoutError::Timeout) => {
                self.hangs = true;
                self.metrics.unjournaled(entries);
                tracing::error!(patience = ?PATIENCE, "the disk of the idempotency journal hangs; until it goes on, a restart will not know of what is acknowledged");
            }
            Err(RecvTimeoutError::Disconnected) => {
                self.note(Err(io::Error::other("the thread that writes has ended")), entries);
            }
        }
    }

    /// Whether a disk that hung has come back.
    fn look(&mut self) {
        if !self.hangs {
            return;
        }
        // Its entries are counted already, whatever became of them.
        match self.written.try_recv() {
            Ok(written) => self.note(written, 0),
            Err(mpsc::TryRecvError::Empty) => return,
            Err(mpsc::TryRecvError::Disconnected) => {}
        }
        self.hangs = false;
        tracing::info!("the disk of the idempotency journal goes on");
        self.flushes.drain(..).for_each(|then| then());
    }

    /// An event that is in Kafka is acknowledged whether or not a restart will know of it.
    fn note(&mut self, written: io::Result<()>, entries: usize) {
        match written {
            Ok(()) if self.failing => tracing::info!("the idempotency journal is written again"),
            Ok(()) => {}
            Err(error) => {
                self.metrics.unjournaled(entries);
                if !self.failing {
                    tracing::error!(%error, "the idempotency journal cannot be written; a restart will not know of these events");
                }
                self.failing = true;
                return;
            }
        }
        self.failing = false;
    }
}

/// A segment that entries are appended to.
struct Current {
    open: Open,
    /// How many entries in it are the first of their event.
    events: usize,
    /// When it was begun, in milliseconds since 1970.
    begun: u64,
}

/// A segment that nothing is appended to any more.
#[derive(Debug)]
struct Earlier {
    path: PathBuf,
    /// How many entries in it are the first of their event.
    events: usize,
    /// When the next one was begun, in milliseconds since 1970: no entry is younger.
    ended: u64,
}

/// The segments of a journal.
struct Files {
    directory: PathBuf,
    bounds: Bounds,
    /// What entries are appended on.
    disk: Disk,
    current: Option<Current>,
    /// The number of the next entry.
    next: u64,
    /// Those before the current one that are still of use, the oldest first.
    earlier: Vec<Earlier>,
    _lock: DirectoryLock,
}

impl Files {
    fn open(directory: &Path, disk: &Disk, bounds: Bounds, now: u64) -> io::Result<(Self, Vec<Known>)> {
        let lock = DirectoryLock::take(directory).map_err(|error| match error {
            LockError::Taken => io::Error::other("another bridge is using it; give each its own"),
            LockError::Io(error) => error,
        })?;
        let old = list_segments(directory)?;
        let (mut entries, mut next) = (Vec::new(), 1);
        for (first, path) in &old {
            let last = read(path, &mut entries)
                .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
            next = next.max(first.saturating_add(1)).max(last.saturating_add(1));
        }
        let window = u64::try_from(bounds.window.as_millis()).unwrap_or(u64::MAX);
        entries.retain(|entry| now.saturating_sub(entry.at) < window);
        keep_last(&mut entries);
        // What was known of an event later says nothing of which are the youngest.
        entries.sort_by_key(|entry| entry.at);
        entries.drain(..entries.len().saturating_sub(bounds.entries));
        let mut files = Self {
            directory: directory.to_owned(),
            bounds,
            disk: disk.clone(),
            current: None,
            next,
            earlier: Vec::new(),
            _lock: lock,
        };
        if !entries.is_empty() {
            let frames: Vec<_> = entries.iter().map(|entry| UnsealedFrame::of(&entry.to_bytes())).collect();
            // Synced, because those that had them before are removed then.
            files.begin(entries.first().map_or(now, |entry| entry.at))?;
            files.write(&frames, frames.len())?;
        }
        files.disk = disk.clone().unsynced();
        old.iter().for_each(|(_, path)| remove(path));
        remove_unreadable(directory)?;
        let known = entries.iter().map(|entry| Known {
            identity: entry.identity,
            outcome: Outcome::Acknowledged { ack: entry.ack, metadata: entry.metadata },
            age: Duration::from_millis(now.saturating_sub(entry.at)),
        });
        let known = known.collect();
        Ok((files, known))
    }

    /// Appends entries, so many of which are the first of their event.
    fn append(&mut self, frames: &[UnsealedFrame], events: usize) -> io::Result<()> {
        let now = now();
        if let Some(current) = &self.current {
            let aged = u128::from(now.saturating_sub(current.begun)) >= self.bounds.window.as_millis();
            if aged || current.events >= self.bounds.entries {
                self.end_current(now);
            }
        }
        if self.current.is_none() {
            self.begin(now)?;
        }
        self.write(frames, events).inspect_err(|_| self.end_current(now))
    }

    fn begin(&mut self, begun: u64) -> io::Result<()> {
        let open = Open::create(&self.disk, &self.directory, self.next)?;
        self.current = Some(Current { open, events: 0, begun });
        Ok(())
    }

    fn write(&mut self, frames: &[UnsealedFrame], events: usize) -> io::Result<()> {
        let Some(current) = &mut self.current else { return Ok(()) };
        let mut bytes = Vec::with_capacity(frames.iter().map(UnsealedFrame::len).sum());
        for frame in frames {
            current.open.seal(frame, self.next, &mut bytes);
            // Also where it is not written: another segment has another number.
            self.next += 1;
        }
        current
            .open
            .append(&self.disk, &bytes)
            .map_err(|(AppendError::Write(error) | AppendError::Sync(error))| error)?;
        current.events += events;
        Ok(())
    }

    /// Has the next entries go into another segment, and removes those that are of no use any more.
    fn end_current(&mut self, now: u64) {
        let Some(Current { open, events, .. }) = self.current.take() else { return };
        if open.len() > SEGMENT_HEADER as u64 {
            self.earlier.push(Earlier { path: open.path().to_owned(), events, ended: now });
        } else {
            remove(open.path());
        }
        let (mut later, bounds) = (0, self.bounds);
        let mut is_of_use = |segment: &Earlier| {
            let young = u128::from(now.saturating_sub(segment.ended)) < bounds.window.as_millis();
            let of_use = later < bounds.entries && young;
            later += segment.events;
            of_use
        };
        let mut kept: Vec<_> = Vec::new();
        for segment in self.earlier.drain(..).rev() {
            if is_of_use(&segment) {
                kept.push(segment);
            } else {
                remove(&segment.path);
            }
        }
        kept.reverse();
        self.earlier = kept;
    }
}

/// Removes a file that is of no use any more. Where that fails it takes room, and does no other harm: what is in it is
/// known from later files too, or is too old.
fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        tracing::warn!(file = %path.display(), %error, "an old idempotency journal cannot be removed");
    }
}

/// Removes journals of an earlier version.
fn remove_unreadable(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "journal") {
            tracing::warn!(file = %path.display(), "not an idempotency journal that this version can read; left out");
            remove(&path);
        }
    }
    Ok(())
}

/// Leaves the last entry of each name. An id may be used again once it is forgotten, and then means what it meant last.
fn keep_last(entries: &mut Vec<Written>) {
    let mut seen = HashSet::with_capacity(entries.len());
    entries.reverse();
    entries.retain(|entry| seen.insert(entry.identity.name));
    entries.reverse();
}

/// Reads what can be read of a segment; returns the number of its last entry.
fn read(path: &Path, entries: &mut Vec<Written>) -> io::Result<u64> {
    let bytes = files::read(path)?;
    let (mut last, before) = (0, entries.len());
    for found in whole_frames(&bytes, SEGMENT_HEADER) {
        last = last.max(found.frame.sequence);
        // Whole, and not an entry: it is somebody else's, such as a spool's, and what is read here is removed.
        let Some(entry) = Written::from_bytes(found.frame.payload) else {
            return Err(io::Error::other(
                "it holds what no idempotency journal has, such as the records of a spool; give the journal a directory of its \
                 own (nothing was changed)",
            ));
        };
        entries.push(entry);
    }
    let read = entries.len() - before;
    match survey(&bytes, true).end {
        End::Clean => {}
        End::OtherVersion(_) => {
            tracing::warn!(file = %path.display(), "not an idempotency journal that this version can read; left out");
        }
        End::Torn { .. } | End::Damaged { .. } => {
            tracing::warn!(file = %path.display(), read, "the idempotency journal is damaged, as by a crash in the middle of writing");
        }
    }
    Ok(last)
}

impl Written {
    fn to_bytes(self) -> [u8; ENTRY] {
        let ack = match self.ack {
            Ack::All => 0,
            Ack::Leader => 1,
            Ack::None => 2,
            Ack::Spooled => 3,
        };
        let (partition, offset, timestamp) = self.metadata.map_or((0, 0, 0), |metadata| {
            (metadata.partition, metadata.offset, metadata.timestamp.as_millis())
        });
        let parts: [&[u8]; 6] = [
            &self.identity.to_bytes(),
            &self.at.to_be_bytes(),
            &[ack, u8::from(self.metadata.is_some())],
            &partition.to_be_bytes(),
            &offset.to_be_bytes(),
            &timestamp.to_be_bytes(),
        ];
        let mut bytes = [0; ENTRY];
        bytes.iter_mut().zip(parts.concat()).for_each(|(to, from)| *to = from);
        bytes
    }

    /// `None` if it is not what was written.
    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (identity, rest) = bytes.split_first_chunk::<32>()?;
        let (at, rest) = rest.split_first_chunk::<8>()?;
        let (&[ack, placed], rest) = rest.split_first_chunk::<2>()?;
        let (partition, rest) = rest.split_first_chunk::<4>()?;
        let (offset, rest) = rest.split_first_chunk::<8>()?;
        let timestamp = i64::try_from(u64::from_be_bytes(rest.try_into().ok()?)).ok()?;
        let metadata = RecordMetadata {
            partition: i32::from_be_bytes(*partition),
            offset: i64::from_be_bytes(*offset),
            timestamp: Timestamp::from_millis(timestamp),
        };
        Some(Self {
            identity: Identity::from_bytes(*identity),
            at: u64::from_be_bytes(*at),
            ack: match ack {
                0 => Ack::All,
                1 => Ack::Leader,
                2 => Ack::None,
                3 => Ack::Spooled,
                _ => return None,
            },
            metadata: (placed == 1).then_some(metadata),
        })
    }
}

#[cfg(test)]
mod tests;
