//! The few things that are asked of a disk, in one place, so that tests can have it fail.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::Path;

/// What the name of a file ends with that is to take the place of another.
pub(crate) const NEW: &str = ".new";

/// For files that nobody else may read: records have whatever callers have sent.
pub(crate) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

/// The disk. In tests it may have faults.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    unsynced: bool,
    #[cfg(any(test, feature = "faults"))]
    /// Its faults.
    pub faults: std::sync::Arc<faults::Faults>,
}

impl Disk {
    /// Has nothing synced from here on: what is written outlives the process, and need not outlive the machine.
    #[must_use]
    pub fn unsynced(self) -> Self {
        Self { unsynced: true, ..self }
    }

    /// Makes a directory, and those above it that are not there, which nobody else may look into. Waits until their names
    /// are durable.
    pub fn create_directory(&self, path: &Path) -> io::Result<()> {
        if path.is_dir() {
            return Ok(());
        }
        // A relative path of one part is in the directory that the process is in.
        let above =
            path.parent().map(|above| if above.as_os_str().is_empty() { Path::new(".") } else { above });
        if let Some(above) = above {
            self.create_directory(above)?;
        }
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists || !path.is_dir() => {
                return Err(error);
            }
            _ => {}
        }
        above.map_or(Ok(()), |above| self.sync_directory(above))
    }

    /// Writes all of `bytes` at an offset.
    pub fn write(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        #[cfg(any(test, feature = "faults"))]
        let _step = self.faults.step();
        #[cfg(any(test, feature = "faults"))]
        if let Some(room) = self.faults.write(file, offset, bytes.len()) {
            file.write_all_at(bytes.get(..room).unwrap_or_default(), offset)?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        file.write_all_at(bytes, offset)
    }

    /// Waits until what was written is durable, and with it the length of the file (`fdatasync`).
    pub fn sync(&self, file: &File) -> io::Result<()> {
        #[cfg(any(test, feature = "faults"))]
        let _step = self.faults.step();
        #[cfg(any(test, feature = "faults"))]
        self.faults.sync()?;
        if self.unsynced { Ok(()) } else { file.sync_data() }
    }

    /// Cuts a file off, and waits until that is durable.
    pub fn truncate(&self, file: &File, len: u64) -> io::Result<()> {
        #[cfg(any(test, feature = "faults"))]
        let _step = self.faults.step();
        #[cfg(any(test, feature = "faults"))]
        self.faults.truncate()?;
        file.set_len(len)?;
        if self.unsynced { Ok(()) } else { file.sync_all() }
    }

    /// Waits until the names in a directory are durable.
    pub fn sync_directory(&self, path: &Path) -> io::Result<()> {
        #[cfg(any(test, feature = "faults"))]
        self.faults.sync_directory(path)?;
        if self.unsynced { Ok(()) } else { File::open(path)?.sync_all() }
    }

    /// Writes a file anew, so that after a crash there is the old one, or none if there was none, or the new one, whole.
    pub fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<File> {
        let mut fresh = path.as_os_str().to_owned();
        fresh.push(NEW);
        let fresh = Path::new(&fresh);
        // Whatever has its name is not written to, be it a link or a FIFO.
        if fresh.symlink_metadata().is_ok() {
            self.remove(fresh)?;
        }
        let file = private().create_new(true).read(true).write(true).open(fresh)?;
        let written = self.write(&file, bytes, 0).and_then(|()| self.sync(&file));
        if let Err(error) = written.and_then(|()| self.rename(fresh, path)) {
            // It is of no use, and takes room that there may not be.
            let _ = self.remove(fresh);
            return Err(error);
        }
        path.parent().map_or(Ok(()), |directory| self.sync_directory(directory))?;
        Ok(file)
    }

    /// Gives a file another name, in place of one that has it.
    pub fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        #[cfg(any(test, feature = "faults"))]
        let _step = self.faults.step();
        fs::rename(from, to)
    }

    /// Removes a file. That it is gone need not be durable: what is found again is done with once more.
    pub fn remove(&self, path: &Path) -> io::Result<()> {
        #[cfg(any(test, feature = "faults"))]
        let _step = self.faults.step();
        match fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }
}

#[cfg(any(test, feature = "faults"))]
pub mod faults {
    //! A disk that a test has fail.
    #![allow(clippy::unwrap_used, missing_docs, reason = "for tests")]

    use std::fs::File;
    use std::io;
    use std::path::{Path, PathBuf};
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::sync::{Mutex, MutexGuard};

    /// Called before each change, while nothing else changes.
    type Watcher = Box<dyn FnMut() + Send>;

    /// What the disk is to fail at.
    pub struct Faults {
        /// Bytes that there is still room for.
        pub room: AtomicUsize,
        /// Syncs that are still to succeed before one fails; one fails each time it reaches 0.
        pub syncs: AtomicUsize,
        pub truncation_fails: AtomicBool,
        pub synced_directories: Mutex<Vec<PathBuf>>,
        pub watcher: Mutex<Option<Watcher>>,
    }

    impl std::fmt::Debug for Faults {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.debug_struct("Faults").finish_non_exhaustive()
        }
    }

    impl Default for Faults {
        fn default() -> Self {
            Self {
                room: AtomicUsize::new(usize::MAX),
                syncs: AtomicUsize::new(usize::MAX),
                truncation_fails: AtomicBool::new(false),
                synced_directories: Mutex::default(),
                watcher: Mutex::default(),
            }
        }
    }

    impl Faults {
        /// Begins a change, which has the disk to itself until it is over.
        pub(super) fn step(&self) -> MutexGuard<'_, Option<Watcher>> {
            let mut watcher = self.watcher.lock().unwrap();
            if let Some(watcher) = &mut *watcher {
                watcher();
            }
            watcher
        }

        /// How much is written of what does not fit. What is there already takes no more room.
        pub(super) fn write(&self, file: &File, offset: u64, len: usize) -> Option<usize> {
            let room = self.room.load(Ordering::SeqCst);
            if room == usize::MAX {
                return None;
            }
            let there = file.metadata().unwrap().len().saturating_sub(offset);
            let there = len.min(usize::try_from(there).unwrap());
            if room >= len - there {
                self.room.store(room - (len - there), Ordering::SeqCst);
                return None;
            }
            self.room.store(0, Ordering::SeqCst);
            Some(room + there)
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

        pub(super) fn sync_directory(&self, path: &Path) -> io::Result<()> {
            self.synced_directories.lock().unwrap().push(path.to_owned());
            self.sync()
        }

        pub(super) fn truncate(&self) -> io::Result<()> {
            if self.truncation_fails.load(Ordering::SeqCst) {
                return Err(io::Error::from_raw_os_error(5));
            }
            Ok(())
        }
    }
}
