//! Reading a log in order, and letting go of what is done with.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::frame::SEGMENT_HEADER;
use crate::log::Log;
use crate::segment::Segment;
use crate::{files, segment};

/// Where a record is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    path: Arc<PathBuf>,
    offset: u64,
}

/// A record that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its number.
    pub sequence: u64,
    /// Where it is.
    pub location: Location,
    frame: Vec<u8>,
}

impl Record {
    /// The record's bytes.
    pub fn payload(&self) -> &[u8] {
        segment::payload(&self.frame)
    }
}

/// Where a record could not be read, and why.
#[derive(Debug, thiserror::Error)]
#[error("{} at byte {offset}: {error}", path.display())]
pub struct Unreadable {
    /// The file.
    pub path: Arc<PathBuf>,
    /// Where in it.
    pub offset: u64,
    /// Why.
    pub error: io::Error,
}

impl Unreadable {
    /// What is wrong, if it will stay as it is: only what is durable is read, so what is missing does not come by itself.
    pub fn damage(&self) -> Option<String> {
        match self.error.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::NotFound => Some(self.error.to_string()),
            io::ErrorKind::UnexpectedEof => {
                Some("the file ends before the record does that was synced here".to_owned())
            }
            _ => None,
        }
    }
}

/// A segment that is being read.
#[derive(Debug)]
struct Reading {
    path: Arc<PathBuf>,
    file: File,
    offset: u64,
    /// The number of the next record in it, and the number after the last that is known to be durable.
    next: u64,
    end: u64,
}

/// Reads a log and removes what is done with. There is one reader for a log.
#[derive(Debug)]
pub struct Reader {
    log: Log,
    /// The number of the next record.
    next: u64,
    reading: Option<Reading>,
    /// Segments that are done with, and are removed once a checkpoint says so.
    released: Vec<Segment>,
    /// Up to which record the checkpoint on disk says that all are done with.
    checkpointed: u64,
}

impl Reader {
    /// Creates a reader that begins with the first record that is not done with.
    pub fn new(log: Log) -> Self {
        let done = log.lock().done;
        Self { log, next: done + 1, reading: None, released: Vec::new(), checkpointed: done }
    }

    /// Reads the next record; `None` if there is none that is durable.
    ///
    /// # Errors
    /// If it cannot be read. The next call tries the same again.
    #[allow(clippy::should_implement_trait, reason = "it goes on after an end and after an error")]
    pub fn next(&mut self) -> Result<Option<Record>, Unreadable> {
        let wanted = self.next;
        if self.reading.as_ref().is_none_or(|reading| reading.next != wanted || wanted >= reading.end) {
            let Some(segment) = self.log.lock().of(wanted).cloned() else { return Ok(None) };
            self.turn_to(segment)?;
        }
        let Some(reading) = &mut self.reading else { return Ok(None) };
        loop {
            let failed =
                |error| Unreadable { path: Arc::clone(&reading.path), offset: reading.offset, error };
            let frame = segment::read_at(&reading.file, reading.offset).map_err(failed)?;
            let sequence = segment::sequence(&frame);
            if sequence != reading.next {
                let text = format!("wanted record {}, found {sequence}", reading.next);
                return Err(failed(io::Error::new(io::ErrorKind::InvalidData, text)));
            }
            let offset = reading.offset;
            reading.offset += frame.len() as u64;
            reading.next += 1;
            // At the start some of a segment may have been done with before.
            if sequence == wanted {
                self.next += 1;
                let location = Location { path: Arc::clone(&reading.path), offset };
                return Ok(Some(Record { sequence, location, frame }));
            }
        }
    }

    fn turn_to(&mut self, segment: Segment) -> Result<(), Unreadable> {
        if let Some(reading) = self.reading.as_mut().filter(|reading| *reading.path == segment.path) {
            reading.end = segment.next;
            return Ok(());
        }
        let path = Arc::new(segment.path);
        let opened = files::open(&path);
        let file = opened.map_err(|error| Unreadable { path: Arc::clone(&path), offset: 0, error })?;
        let (next, end) = (segment.first, segment.next);
        self.reading = Some(Reading { path, file, offset: SEGMENT_HEADER as u64, next, end });
        Ok(())
    }

    /// Reads a record again.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn read(&self, sequence: u64, location: &Location) -> Result<Record, Unreadable> {
        let Location { path, offset } = location;
        let frame = match &self.reading {
            Some(reading) if reading.path == *path => segment::read_at(&reading.file, *offset),
            _ => files::open(path).and_then(|file| segment::read_at(&file, *offset)),
        };
        let failed = |error| Unreadable { path: Arc::clone(path), offset: *offset, error };
        Ok(Record { sequence, location: location.clone(), frame: frame.map_err(failed)? })
    }

    /// Notes that all records up to this number are done with, and returns whether a checkpoint has to say so.
    pub fn done_up_to(&mut self, sequence: u64) -> bool {
        let mut segments = self.log.lock();
        segments.done = segments.done.max(sequence);
        let done = segments.done;
        while let Some(oldest) = segments.list.front()
            && oldest.next <= done + 1
            && segments.open != Some(oldest.first)
        {
            self.released.extend(segments.list.pop_front());
        }
        done > self.checkpointed || !self.released.is_empty()
    }

    /// Writes a checkpoint, and removes the segments that it says are done with.
    ///
    /// # Errors
    /// If the checkpoint cannot be written. Nothing is removed then.
    pub fn write_checkpoint(&mut self) -> io::Result<()> {
        let done = self.log.lock().done;
        let mut written = self.log.write_checkpoint();
        if written.is_err() && self.make_room() {
            written = self.log.write_checkpoint();
        }
        written?;
        self.checkpointed = done;
        for segment in self.released.drain(..) {
            if let Err(error) = self.log.disk().remove(&segment.path) {
                tracing::error!(path = %segment.path.display(), %error, "a segment that is done with cannot be removed");
            }
        }
        Ok(())
    }

    /// A disk that is full may have no room for a checkpoint. Segments that are done with are cut down to their headers,
    /// by which a start knows what they were; returns whether that was done to any. The newest is not: its records tell
    /// the number of the next.
    fn make_room(&mut self) -> bool {
        let newest = self.log.lock().list.is_empty();
        let count = self.released.len().saturating_sub(usize::from(newest));
        let mut made = false;
        for segment in self.released.iter_mut().take(count) {
            made |= segment.cut_to_header(self.log.disk()).unwrap_or(false);
        }
        made
    }
}
