//! An append-only log of records in segment files, on a disk that may fail at any moment.
//!
//! Records are bytes; what they mean is the caller's. One writer appends groups of records and one reader takes them in
//! order; both are plain values that block on the disk, each for a thread of its own.
//!
//! # Guarantees
//!
//! - A group is synced before [`Writer::append`] returns. Groups are written one after the other.
//! - After a crash every group that was reported as written is found, in order. What was being written is cut off, and
//!   a copy of it kept.
//! - Damage to what had been synced is told from a torn end: each frame says how long its file was, as far as it was
//!   synced, when the frame was written, and the checkpoint says which records had been synced. [`inspect`] changes nothing.
//! - A segment whose sync failed is never appended to again; what it has of synced records is written to a new file.
//! - [`salvage`] goes on with what is whole and deletes nothing.
//! - A directory belongs to one process, see [`DirectoryLock`]. Only regular files are opened.
//!
//! # On disk
//!
//! ```text
//! <number>.segment   header: "WGSPOOL", version (1), number of the first record (8), marker (16), checksum (4)
//!                    frame:  marker (16), length of the rest (4), checksum (4), number of the record (8),
//!                            durable length (8), record
//! checkpoint         "WGDONE\0\x02", done (8), next (8), newest segment (8), checksum (4)
//! refused/           dead letters: segments whose records have the numbers they had in the log
//! damaged/, salvage/ what was there before a salvage, and what one is writing
//! ```
//!
//! Numbers are little-endian, checksums CRC-32C. The marker is random for each segment: it lets frames be found behind
//! damage, and a record cannot imitate it.

mod check;
mod checkpoint;
pub mod dead_letters;
mod directory;
mod disk;
pub mod files;
mod frame;
mod log;
mod reader;
mod recover;
mod salvage;
mod segment;
mod writer;

pub use check::check;
pub use checkpoint::{
    Checkpoint, Found as FoundCheckpoint, read as read_checkpoint, write as write_checkpoint,
};
pub use directory::{DirectoryLock, LockError, is_log};
pub use disk::Disk;
#[cfg(any(test, feature = "faults"))]
pub use disk::faults;
pub use frame::{FRAME_HEADER, Frame, SEGMENT_HEADER, UnsealedFrame};
pub use log::{Log, Segments};
pub use reader::{Location, Reader, Record, Unreadable};
pub use recover::{Inspected, Visited, inspect};
pub use salvage::{Salvaged, salvage, salvage_on};
#[cfg(any(test, feature = "faults"))]
pub use segment::in_memory;
pub use segment::{
    AppendError, End, Found, Open, Segment, Survey, list as list_segments, path as segment_path, scan,
    survey, whole_frames,
};
pub use writer::{Appended, NotAppended, Writer};

use std::io;
use std::path::{Path, PathBuf};

/// A log that cannot be used as it is.
#[derive(Debug, thiserror::Error)]
#[error("{}: {what}", directory.display())]
pub struct LogError {
    /// The log's directory.
    pub directory: PathBuf,
    /// What is wrong.
    pub what: String,
    /// Whether [`salvage`] helps.
    pub salvage_helps: bool,
}

impl LogError {
    fn new(directory: &Path, what: String) -> Self {
        Self { directory: directory.to_owned(), what, salvage_helps: false }
    }

    fn salvageable(directory: &Path, what: String) -> Self {
        Self { directory: directory.to_owned(), what, salvage_helps: true }
    }

    fn of(directory: &Path, error: &io::Error) -> Self {
        let salvage_helps = error.get_ref().is_some_and(|inner| inner.is::<Damage>());
        Self { directory: directory.to_owned(), what: error.to_string(), salvage_helps }
    }
}

/// A file that no longer is what was written.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Damage(String);

impl Damage {
    fn error(what: String) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, Self(what))
    }
}

#[cfg(test)]
mod tests;
