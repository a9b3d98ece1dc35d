//! What the writer and the reader of a log share.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::checkpoint::{self, Checkpoint};
use crate::disk::Disk;
use crate::segment::Segment;

/// The segments of a log, and which records they have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Segments {
    /// The segments, the oldest first.
    pub list: VecDeque<Segment>,
    /// The first number of the segment that the writer may still append to.
    pub open: Option<u64>,
    /// The number of the next record to become durable.
    pub next: u64,
    /// All records up to this number are done with.
    pub done: u64,
    /// Whether the disk takes nothing at present.
    pub broken: bool,
}

impl Segments {
    /// Bytes on disk.
    pub fn bytes(&self) -> u64 {
        self.list.iter().map(|segment| segment.len).sum()
    }

    /// Records that are not done with.
    pub fn records(&self) -> u64 {
        self.next.saturating_sub(1).saturating_sub(self.done)
    }

    /// The segment that has the record with this number, once it is durable.
    pub(crate) fn of(&self, sequence: u64) -> Option<&Segment> {
        self.list.iter().find(|segment| (segment.first..segment.next).contains(&sequence))
    }

    /// The checkpoint that describes this.
    pub fn checkpoint(&self) -> Checkpoint {
        Checkpoint { done: self.done, next: self.next, newest: self.list.back().map(|segment| segment.first) }
    }
}

/// A log that is in use.
#[derive(Clone, Debug)]
pub struct Log {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    directory: PathBuf,
    segment_bytes: u64,
    disk: Disk,
    /// Locked by nobody while the disk works.
    segments: Mutex<Segments>,
    /// The checkpoint that was written last, or found.
    checkpoint: Mutex<checkpoint::Found>,
}

impl Log {
    pub(crate) fn new(
        directory: PathBuf,
        segment_bytes: u64,
        disk: Disk,
        segments: Segments,
        checkpoint: checkpoint::Found,
    ) -> Self {
        let (segments, checkpoint) = (Mutex::new(segments), Mutex::new(checkpoint));
        Self { shared: Arc::new(Shared { directory, segment_bytes, disk, segments, checkpoint }) }
    }

    /// The log's directory.
    pub fn directory(&self) -> &Path {
        &self.shared.directory
    }

    /// Bytes after which another segment is begun.
    pub fn segment_bytes(&self) -> u64 {
        self.shared.segment_bytes
    }

    /// The disk that the log is on.
    pub fn disk(&self) -> &Disk {
        &self.shared.disk
    }

    /// The present state of the segments.
    pub fn lock(&self) -> MutexGuard<'_, Segments> {
        self.shared.segments.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the checkpoint of the present state, unless it is written already.
    pub(crate) fn write_checkpoint(&self) -> io::Result<()> {
        let mut last = self.shared.checkpoint.lock().unwrap_or_else(PoisonError::into_inner);
        // Only now, so that none overtakes another.
        let now = self.lock().checkpoint();
        if *last != checkpoint::Found::Known(now) {
            checkpoint::write(self.disk(), self.directory(), &now)?;
            *last = checkpoint::Found::Known(now);
        }
        Ok(())
    }
}
