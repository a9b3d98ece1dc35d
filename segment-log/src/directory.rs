//! The directory of a log, and that of several.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;

use crate::disk::{self, Disk};
use crate::{checkpoint, dead_letters, files, salvage, segment};

/// Keeps a directory to one process.
#[derive(Debug)]
pub struct DirectoryLock {
    _file: File,
}

/// A directory that was not locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("another process has it")]
    Taken,
    /// It cannot be made or locked.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl DirectoryLock {
    /// Makes the directory if there is none, and locks it.
    ///
    /// # Errors
    /// If that cannot be done, or another process has it.
    pub fn take(directory: &Path) -> Result<Self, LockError> {
        Disk::default().create_directory(directory)?;
        let named = |error: io::Error| io::Error::new(error.kind(), format!("lock: {error}"));
        let file = files::open_with(
            disk::private().create(true).truncate(false).write(true),
            &directory.join("lock"),
        )
        .map_err(named)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(LockError::Taken),
            Err(TryLockError::Error(error)) => Err(named(error).into()),
        }
    }
}

/// Whether a directory is that of a log, or of what is left of one.
///
/// # Errors
/// If it cannot be read.
pub fn is_log(directory: &Path) -> io::Result<bool> {
    if !directory.is_dir() {
        return Ok(false);
    }
    Ok(dead_letters::directory(directory).is_dir()
        || checkpoint::path(directory).exists()
        || salvage::is_unfinished(directory)
        || segment::any_in(directory)?)
}
