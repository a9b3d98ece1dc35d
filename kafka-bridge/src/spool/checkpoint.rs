//! The checkpoint: what a start has to know of a spool that its segments do not say.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::disk::Disk;
use super::format;
use super::state::{Shared, State};
use crate::files;

/// What a checkpoint says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Checkpoint {
    /// All records up to this number are in Kafka, or set aside.
    pub(super) done: u64,
    /// All records before this number were durable.
    pub(super) next: u64,
    /// The number of the newest segment that may have acknowledged records. It is there until a checkpoint says otherwise.
    pub(super) newest: Option<u64>,
}

impl Checkpoint {
    /// Of a spool in this state.
    pub(super) fn of(state: &State) -> Self {
        let newest = state.segments.back().map(|segment| segment.first);
        Self { done: state.done, next: state.next, newest }
    }

    /// Whether records from this number on had been synced that are not done with: what the newest file ends with before them
    /// was not torn.
    pub(super) fn has_synced_behind(&self, next: u64) -> bool {
        self.next > next.max(self.done + 1)
    }
}

/// What is found where a checkpoint should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Known(Checkpoint),
    /// None, as in a spool that was just made.
    Absent,
    Unreadable,
}

/// Where a spool has it.
pub(super) fn path(directory: &Path) -> PathBuf {
    directory.join("checkpoint")
}

/// Reads it.
pub(super) fn read(directory: &Path) -> io::Result<Found> {
    let bytes = match files::read(&path(directory)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Absent),
        read => read?,
    };
    Ok(format::read_checkpoint(&bytes).map_or(Found::Unreadable, Found::Known))
}

/// Writes it, durably and as a whole.
pub(super) fn write(disk: &Disk, directory: &Path, checkpoint: &Checkpoint) -> io::Result<()> {
    disk.replace(&path(directory), &format::checkpoint(checkpoint)).map(drop)
}

/// The checkpoint of a spool in use, which both of its threads write.
#[derive(Debug)]
pub(super) struct Keeper {
    directory: PathBuf,
    disk: Disk,
    /// What was written last, or found.
    last: Mutex<Found>,
}

impl Keeper {
    /// Of a directory with this for a checkpoint.
    pub(super) fn new(directory: &Path, disk: Disk, last: Found) -> Self {
        Self { directory: directory.to_owned(), disk, last: Mutex::new(last) }
    }

    /// Writes how things are, unless it is written already.
    pub(super) fn write(&self, shared: &Shared) -> io::Result<()> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        // Only now, so that none overtakes another.
        let now = Checkpoint::of(&shared.lock());
        if *last != Found::Known(now) {
            write(&self.disk, &self.directory, &now)?;
            *last = Found::Known(now);
        }
        Ok(())
    }
}
