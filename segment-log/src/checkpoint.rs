//! The checkpoint: what a start has to know of a log that its segments do not say.

use std::io;
use std::path::{Path, PathBuf};

use crate::disk::Disk;
use crate::files;
use crate::frame::{checked, take};

/// Begins the file, and has the version of its format.
const MAGIC: [u8; 8] = *b"WGDONE\0\x02";
/// Bytes of the file: magic, three numbers, checksum.
const BYTES: usize = 8 + 3 * 8 + 4;

/// What a checkpoint says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// All records up to this number are done with.
    pub done: u64,
    /// All records before this number were durable.
    pub next: u64,
    /// The number of the newest segment that may have acknowledged records. It is there until a checkpoint says otherwise.
    pub newest: Option<u64>,
}

impl Checkpoint {
    fn to_bytes(self) -> [u8; BYTES] {
        let Self { done, next, newest } = self;
        let [done, next, newest] = [done, next, newest.unwrap_or(0)].map(u64::to_le_bytes);
        checked(&[&MAGIC, &done, &next, &newest])
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes.strip_prefix(&MAGIC)?;
        let mut number = || take(&mut rest).map(u64::from_le_bytes);
        let (done, next, newest) = (number()?, number()?, number()?);
        let read = Self { done, next, newest: (newest > 0).then_some(newest) };
        (read.to_bytes() == bytes).then_some(read)
    }

    /// Whether records from this number on had been synced that are not done with: what the newest file ends with before them
    /// was not torn.
    pub(crate) fn has_synced_behind(&self, next: u64) -> bool {
        self.next > next.max(self.done + 1)
    }
}

/// What is found where a checkpoint should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// This checkpoint.
    Known(Checkpoint),
    /// None, as in a log that was just made.
    Absent,
    /// Something else.
    Unreadable,
}

/// Where a log has it.
pub(crate) fn path(directory: &Path) -> PathBuf {
    directory.join("checkpoint")
}

/// Reads it.
///
/// # Errors
/// If the file cannot be read.
pub fn read(directory: &Path) -> io::Result<Found> {
    let bytes = match files::read(&path(directory)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Absent),
        read => read?,
    };
    Ok(Checkpoint::from_bytes(&bytes).map_or(Found::Unreadable, Found::Known))
}

/// Writes it, durably and as a whole.
///
/// # Errors
/// If the disk does not take it.
pub fn write(disk: &Disk, directory: &Path, checkpoint: &Checkpoint) -> io::Result<()> {
    disk.replace(&path(directory), &checkpoint.to_bytes()).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_on_disk_are_these() {
        let bytes = Checkpoint { done: 5, next: 9, newest: Some(7) }.to_bytes();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hex,
            "5747444f4e450002\
             0500000000000000\
             0900000000000000\
             0700000000000000\
             028f8a4b"
        );
        for newest in [None, Some(3)] {
            let written = Checkpoint { done: 7, next: 9, newest };
            assert_eq!(Checkpoint::from_bytes(&written.to_bytes()), Some(written));
        }
        assert_eq!(Checkpoint::from_bytes(&bytes[1..]), None);
    }
}
