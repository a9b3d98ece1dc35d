//! Which events have been written lately, on disk: what a bridge that was killed knows again when it is started.
//!
//! A journal is a file of entries of one length, appended to and never changed. Each has a checksum, so that the torn
//! end of a file, or a part that the disk has lost, costs what it held and nothing else. A start writes what is
//! still of use into a new file and appends to that one; once it has as many events as are remembered, or its first
//! is older than the window, another is begun. An earlier one goes once the later ones have as many events as are
//! remembered, or its last is older than the window. So about twice as many events are on disk at most as are remembered
//! in memory.
//!
//! A spooled event has a second entry once Kafka has it, which says so and counts for nothing else: it is never in an
//! earlier file than the first, and has the first one's time, so that of the events none is remembered longer for it, or in
//! place of a younger one.
//!
//! What has been written in part is cut off again, and if that cannot be done, or the next entries cannot be written
//! either, they go into another file.
//!
//! Entries are written, not synced: they outlive the process, and a crash of the machine may lose the last of them.
//!
//! The disk has a thread of its own, and whoever is to be answered waits for it only so long: a disk that hangs holds up
//! nobody who is in Kafka.

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use wicketgate_envelope::hop::Ack;
use wicketgate_envelope::timestamp::Timestamp;

use super::{Identity, Then};
use crate::delivery::{Outcome, RecordMetadata};
use crate::idempotency::Metrics;
use segment_log::files;

/// What a journal starts with: its name and the version of its format.
const MAGIC: [u8; 8] = *b"wgidem\0\x01";

/// Bytes of an entry: identity (32), time (8), acknowledgement and whether the place is known (2), partition (4),
/// offset (8), timestamp (8), CRC-32C of these (4). Numbers are big-endian.
const ENTRY: usize = 66;
const CHECKED: usize = ENTRY - 4;

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
    bytes: Vec<u8>,
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
        let (files, known) = Files::open(directory, bounds, now())
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
                if done.send(files.append(&batch.bytes, batch.events)).is_err() {
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
                batch.bytes.extend_from_slice(&entry.to_bytes());
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
        let entries = batch.bytes.len() / ENTRY;
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

/// How an attempt to append leaves a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Append {
    /// With all that was to be appended.
    Whole,
    /// As it was before.
    CutOff,
    /// Perhaps with a part of an entry at its end, or it was cut off twice in a row: nothing more is to be appended.
    Torn,
}

/// A file that nothing is appended to any more.
#[derive(Clone, Copy, Debug)]
struct Earlier {
    number: u64,
    /// Whether there is an entry in it.
    used: bool,
    /// How many entries in it are the first of their event.
    events: usize,
    /// When the next one was begun, in milliseconds since 1970: no entry is younger.
    ended: u64,
}

/// The files of a journal.
struct Files {
    directory: PathBuf,
    bounds: Bounds,
    current: File,
    /// The number in the name of the current file.
    number: u64,
    /// How many entries the current file has.
    entries: usize,
    /// How many of these are the first of their event.
    events: usize,
    /// When the current file was begun, in milliseconds since 1970.
    begun: u64,
    /// How the last attempt to append left the current file.
    state: Append,
    /// Those before the current file that are still of use, the oldest first.
    earlier: Vec<Earlier>,
    /// Kept open, and with it locked, for as long as the journal is.
    _lock: File,
}

impl Files {
    fn open(directory: &Path, bounds: Bounds, now: u64) -> io::Result<(Self, Vec<Known>)> {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let lock = files::open_with(
            OpenOptions::new().create(true).append(true).mode(0o600),
            &directory.join("lock"),
        )?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => io::Error::other("another bridge is using it; give each its own"),
            TryLockError::Error(error) => error,
        })?;
        let numbers = numbers(directory)?;
        let number = numbers.last().map_or(Ok(1), |last| next(*last))?;
        let mut entries = Vec::new();
        for number in &numbers {
            let path = directory.join(name(*number));
            read(&path, &mut entries).map_err(|error| of_file(&path, &error))?;
        }
        let window = u64::try_from(bounds.window.as_millis()).unwrap_or(u64::MAX);
        entries.retain(|entry| now.saturating_sub(entry.at) < window);
        keep_last(&mut entries);
        // What was known of an event later says nothing of which are the youngest.
        entries.sort_by_key(|entry| entry.at);
        entries.drain(..entries.len().saturating_sub(bounds.entries));
        let current = begin(directory, number, &entries)?;
        for old in numbers {
            remove(directory, old);
        }
        let begun = entries.first().map_or(now, |entry| entry.at);
        let known = entries
            .iter()
            .map(|entry| Known {
                identity: entry.identity,
                outcome: Outcome::Acknowledged { ack: entry.ack, metadata: entry.metadata },
                age: Duration::from_millis(now.saturating_sub(entry.at)),
            })
            .collect();
        let entries = entries.len();
        let directory = directory.to_owned();
        Ok((
            Self {
                directory,
                bounds,
                current,
                number,
                entries,
                events: entries,
                begun,
                state: Append::Whole,
                earlier: Vec::new(),
                _lock: lock,
            },
            known,
        ))
    }

    /// Appends whole entries, so many of which are the first of their event.
    fn append(&mut self, bytes: &[u8], events: usize) -> io::Result<()> {
        let now = now();
        let aged = u128::from(now.saturating_sub(self.begun)) >= self.bounds.window.as_millis();
        if self.state == Append::Torn || self.events >= self.bounds.entries || (aged && self.entries > 0) {
            self.rotate(now)?;
        }
        if let Err(error) = self.current.write_all(bytes) {
            // Whatever part of it is there would put all later ones out of step.
            let first = self.state == Append::Whole;
            self.state = if first && self.cut_off().is_ok() { Append::CutOff } else { Append::Torn };
            return Err(error);
        }
        self.entries += bytes.len() / ENTRY;
        self.events += events;
        self.state = Append::Whole;
        Ok(())
    }

    /// Leaves the current file with the entries that are known to be whole.
    fn cut_off(&mut self) -> io::Result<()> {
        let bytes = u64::try_from(MAGIC.len() + self.entries * ENTRY).map_err(io::Error::other)?;
        self.current.set_len(bytes)?;
        self.current.seek(SeekFrom::Start(bytes)).map(|_| ())
    }

    /// Begins another file, and removes those that are of no use any more.
    fn rotate(&mut self, now: u64) -> io::Result<()> {
        let number = next(self.number)?;
        self.current = begin(&self.directory, number, &[])?;
        let (used, events) = (self.entries > 0, self.events);
        self.earlier.push(Earlier { number: self.number, used, events, ended: now });
        (self.number, self.entries, self.events) = (number, 0, 0);
        (self.begun, self.state) = (now, Append::Whole);
        let mut later = 0;
        let mut is_of_use = |file: &Earlier| {
            let young = u128::from(now.saturating_sub(file.ended)) < self.bounds.window.as_millis();
            let of_use = file.used && later < self.bounds.entries && young;
            later += file.events;
            of_use
        };
        self.earlier.reverse();
        self.earlier.retain(&mut is_of_use);
        self.earlier.reverse();
        match numbers(&self.directory) {
            Ok(numbers) => {
                let of_use = |old: u64| old == number || self.earlier.iter().any(|file| file.number == old);
                numbers.into_iter().filter(|old| !of_use(*old)).for_each(|old| remove(&self.directory, old));
            }
            Err(error) => {
                tracing::warn!(directory = %self.directory.display(), %error, "old idempotency journals may be left");
            }
        }
        Ok(())
    }
}

fn name(number: u64) -> String {
    format!("{number:020}.journal")
}

/// The number of the file that comes after this one.
fn next(number: u64) -> io::Result<u64> {
    number.checked_add(1).ok_or_else(|| {
        io::Error::other(format!("no file can come after {}: move it out of the directory", name(number)))
    })
}

/// An error that says which file it is about.
fn of_file(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// Removes a file that is of no use any more. Where that fails it takes room, and does no other harm: what is in it is
/// known from later files too, or is too old.
fn remove(directory: &Path, number: u64) {
    let path = directory.join(name(number));
    if let Err(error) = fs::remove_file(&path) {
        tracing::warn!(file = %path.display(), %error, "an old idempotency journal cannot be removed");
    }
}

/// Leaves the last entry of each name. An id may be used again once it is forgotten, and then means what it meant last.
fn keep_last(entries: &mut Vec<Written>) {
    let mut seen = HashSet::with_capacity(entries.len());
    entries.reverse();
    entries.retain(|entry| seen.insert(entry.identity.name));
    entries.reverse();
}

/// The numbers of the files that are there, in order. A file with another name than [`name`] gives it is not looked at.
fn numbers(directory: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        let digits = name.to_str().and_then(|name| name.strip_suffix(".journal"));
        let digits =
            digits.filter(|digits| digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit()));
        numbers.extend(digits.and_then(|digits| digits.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Makes a file with these entries. It has its name only when all of them are in it and on disk, because those that
/// had them before are removed then.
fn begin(directory: &Path, number: u64, entries: &[Written]) -> io::Result<File> {
    let (path, unfinished) = (directory.join(name(number)), directory.join("unfinished"));
    let mut bytes = MAGIC.to_vec();
    entries.iter().for_each(|entry| bytes.extend_from_slice(&entry.to_bytes()));
    // Whatever has its name is not written to, be it a link or a FIFO.
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(of_file(&unfinished, &error)),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
    file.write_all(&bytes)?;
    if !entries.is_empty() {
        file.sync_all()?;
    }
    fs::rename(&unfinished, &path)?;
    Ok(file)
}

/// Reads what can be read of a file.
fn read(path: &Path, entries: &mut Vec<Written>) -> io::Result<()> {
    let bytes = files::read(path)?;
    let Some(rest) = bytes.strip_prefix(&MAGIC[..]) else {
        tracing::warn!(file = %path.display(), "not an idempotency journal that this version can read; left out");
        return Ok(());
    };
    let (mut lost, before) = (0_usize, entries.len());
    for chunk in rest.chunks(ENTRY) {
        match Written::from_bytes(chunk) {
            Some(entry) => entries.push(entry),
            None => lost += 1,
        }
    }
    if lost > 0 {
        let read = entries.len() - before;
        tracing::warn!(file = %path.display(), read, lost, "the idempotency journal is damaged, as by a crash in the middle of writing");
    }
    Ok(())
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
        let checked = parts.concat();
        let checksum = crc32c::crc32c(&checked).to_be_bytes();
        let mut bytes = [0; ENTRY];
        bytes.iter_mut().zip(checked.into_iter().chain(checksum)).for_each(|(to, from)| *to = from);
        bytes
    }

    /// `None` if it is not what was written.
    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (checked, checksum) = bytes.split_at_checked(CHECKED)?;
        if crc32c::crc32c(checked).to_be_bytes() != checksum {
            return None;
        }
        let (identity, rest) = checked.split_first_chunk::<32>()?;
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
