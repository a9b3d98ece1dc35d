//! The few things that are asked of a disk, in one place, so that tests can have it fail.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::Path;

/// For files that nobody else may read: records have whatever callers have sent.
pub(super) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

/// Makes a directory, and those above it, that nobody else may look into.
pub(super) fn create_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// The disk. In tests it may have faults.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    #[cfg(test)]
    pub(super) faults: std::sync::Arc<faults::Faults>,
}

impl Disk {
    /// Writes all of `bytes` at an offset.
    pub(super) fn write(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        #[cfg(test)]
        if let Some(room) = self.faults.write(bytes.len()) {
            file.write_all_at(bytes.get(..room).unwrap_or_default(), offset)?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        file.write_all_at(bytes, offset)
    }

    /// Waits until what was written is durable, and with it the length of the file (`fdatasync`).
    pub(super) fn sync(&self, file: &File) -> io::Result<()> {
        #[cfg(test)]
        self.faults.sync()?;
        file.sync_data()
    }

    /// Cuts a file off, and waits until that is durable.
    pub(super) fn truncate(&self, file: &File, len: u64) -> io::Result<()> {
        #[cfg(test)]
        self.faults.truncate()?;
        file.set_len(len)?;
        file.sync_all()
    }

    /// Waits until the names in a directory are durable.
    pub(super) fn sync_directory(&self, path: &Path) -> io::Result<()> {
        #[cfg(test)]
        self.faults.sync()?;
        File::open(path)?.sync_all()
    }

    /// Writes a file anew, so that after a crash there is the old one or the new one, whole.
    pub(super) fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let fresh = path.with_extension("new");
        let file = private().create(true).truncate(true).write(true).open(&fresh)?;
        self.write(&file, bytes, 0)?;
        self.sync(&file)?;
        fs::rename(&fresh, path)?;
        path.parent().map_or(Ok(()), |directory| self.sync_directory(directory))
    }

    /// Removes a file. That it is gone need not be durable: what is found again is done with once more.
    pub(super) fn remove(&self, path: &Path) -> io::Result<()> {
        match fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }
}

#[cfg(test)]
pub(super) mod faults {
    use std::io;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    /// What the disk is to fail at.
    #[derive(Debug)]
    pub(in super::super) struct Faults {
        /// Bytes that there is still room for.
        pub(in super::super) room: AtomicUsize,
        /// Syncs that are still to succeed before one fails; one fails each time it reaches 0.
        pub(in super::super) syncs: AtomicUsize,
        pub(in super::super) truncation_fails: AtomicBool,
    }

    impl Default for Faults {
        fn default() -> Self {
            Self {
                room: AtomicUsize::new(usize::MAX),
                syncs: AtomicUsize::new(usize::MAX),
                truncation_fails: AtomicBool::new(false),
            }
        }
    }

    impl Faults {
        /// How much is written of what does not fit.
        pub(super) fn write(&self, len: usize) -> Option<usize> {
            let room = self.room.load(Ordering::SeqCst);
            if room == usize::MAX {
                return None;
            }
            if room >= len {
                self.room.store(room - len, Ordering::SeqCst);
                return None;
            }
            self.room.store(0, Ordering::SeqCst);
            Some(room)
        }

        pub(super) fn sync(&self) -> io::Result<()> {
            match self.syncs.load(Ordering::SeqCst) {
                usize::MAX => Ok(()),
                0 => {
                    self.syncs.store(usize::MAX, Ordering::SeqCst);
                    Err(io::Error::from_raw_os_error(5))
                }
                left => {
                    self.syncs.store(left - 1, Ordering::SeqCst);
                    Ok(())
                }
            }
        }

        pub(super) fn truncate(&self) -> io::Result<()> {
            if self.truncation_fails.load(Ordering::SeqCst) {
                return Err(io::Error::from_raw_os_error(5));
            }
            Ok(())
        }
    }
}
