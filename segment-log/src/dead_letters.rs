//! Dead letters: records that were taken out of the log, so that they are in nobody's way. They are in segments like the
//! others, in a directory of their own.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::checkpoint::{self, Checkpoint};
use crate::disk::Disk;
use crate::frame::{SEGMENT_HEADER, UnsealedFrame};
use crate::recover::Inspected;
use crate::segment::{self, AppendError, End, Open};
use crate::{Damage, LogError, files};

/// Where they are, below the log's directory.
pub fn directory(log: &Path) -> PathBuf {
    log.join("refused")
}

/// Writes dead letters. There is one writer for a log.
#[derive(Debug)]
pub struct Writer {
    directory: PathBuf,
    segment_bytes: u64,
    disk: Disk,
    open: Option<Open>,
    /// A file whose good part has yet to be written anew. Nothing comes behind it before.
    repair: Option<Open>,
    /// Whether the newest file may be of another process, which ended while it wrote it.
    inherited: bool,
}

impl Writer {
    /// Creates the writer of the log in this directory. `segment_bytes`: after how many bytes another file is begun.
    pub fn new(log: &Path, segment_bytes: u64, disk: Disk) -> Self {
        Self { directory: directory(log), segment_bytes, disk, open: None, repair: None, inherited: true }
    }

    /// Writes records, durably, and all of them or none; returns the bytes that this took.
    ///
    /// # Errors
    /// If the disk does not take them.
    pub fn append(&mut self, records: &[(u64, UnsealedFrame)]) -> io::Result<u64> {
        if self.open.as_ref().is_some_and(|open| open.len() >= self.segment_bytes) {
            self.open = None;
        }
        if let Some(open) = self.repair.take() {
            self.rewrite(open)?;
        }
        if self.inherited {
            self.end_inherited()?;
            self.inherited = false;
        }
        let mut begun = 0;
        let open = match &mut self.open {
            Some(open) => open,
            None => {
                // What was written before stays as it is.
                let last = segment::list(&self.directory)?.last().map_or(0, |(number, _)| *number);
                let open = Open::create(&self.disk, &self.directory, last + 1)?;
                begun = open.len();
                self.open.insert(open)
            }
        };
        let mut frames = Vec::new();
        for (sequence, frame) in records {
            open.seal(frame, *sequence, &mut frames);
        }
        if let Err(AppendError::Write(error) | AppendError::Sync(error)) = open.append(&self.disk, &frames) {
            // Whatever is behind its good part is torn. The next records get a file of their own.
            if let Some(open) = self.open.take() {
                let path = open.path().to_owned();
                if let Err(error) = self.rewrite(open) {
                    let path = path.display();
                    tracing::error!(%path, %error, "dead letters could not be written anew; it is tried again");
                }
            }
            return Err(error);
        }
        Ok(begun + frames.len() as u64)
    }

    /// After a file could not be written or synced, writes its good part anew. Where that fails it is left for the next
    /// time.
    fn rewrite(&mut self, open: Open) -> io::Result<()> {
        let rewritten = open.rewrite(&self.disk);
        if rewritten.is_err() {
            self.repair = Some(open);
        }
        rewritten
    }

    /// Before another file comes behind that of a process that ended: cuts off what it was writing then, and has the rest
    /// durable, as it is in no other file to end with something that is not whole. What is cut off is kept: it cannot be
    /// told from damage to what was written last.
    fn end_inherited(&self) -> io::Result<()> {
        let Some((_, path)) = segment::list(&self.directory)?.pop() else { return Ok(()) };
        let mut bytes = files::read(&path)?;
        let good = match segment::survey(&bytes, true).end {
            End::Torn { good } => good,
            End::Clean => return self.disk.sync(&files::open(&path)?),
            // Opening the log says so.
            End::Damaged { .. } | End::OtherVersion(_) => return Ok(()),
        };
        let (torn, kept) = (bytes.split_off(good.min(bytes.len())), torn_path(&path));
        self.disk.replace(&kept, &torn)?;
        tracing::warn!(
            path = %path.display(), bytes = torn.len(), kept = %kept.display(),
            "dead letters end with something that was being written when the log was used last; it is cut off"
        );
        if good <= SEGMENT_HEADER {
            return self.disk.remove(&path);
        }
        self.disk.replace(&path, &bytes).map(drop)
    }
}

/// Where what is cut off of a file is kept: a name beside it that nothing has yet.
fn torn_path(path: &Path) -> PathBuf {
    let names = (2_u64..).map(|number| path.with_extension(format!("{number}.torn")));
    let mut names = std::iter::once(path.with_extension("torn")).chain(names);
    names.find(|name| !name.exists()).unwrap_or_else(|| path.with_extension("torn"))
}

/// The files of dead letters, in order, and whether records may have been being added to each when its writer ended: only
/// the newest is written to.
///
/// # Errors
/// If the directory cannot be read.
pub fn list(log: &Path) -> io::Result<Vec<(PathBuf, bool)>> {
    let files = segment::list(&directory(log))?;
    let newest = files.last().map(|(number, _)| *number);
    Ok(files.into_iter().map(|(number, path)| (path, Some(number) == newest)).collect())
}

/// The bytes that dead letters take on disk.
///
/// # Errors
/// If the directory cannot be read.
pub fn bytes(log: &Path) -> io::Result<u64> {
    list(log)?.iter().map(|(path, _)| Ok(fs::metadata(path)?.len())).sum()
}

/// Reads all dead letters in a file; returns whether that is all that is in it. `newest`: whether it is the newest.
///
/// # Errors
/// If the file is damaged or cannot be read, or what `visit` returns.
pub fn read(
    path: &Path,
    newest: bool,
    mut visit: impl FnMut(segment::Found<'_>) -> io::Result<()>,
) -> io::Result<bool> {
    let bytes = files::read(path)?;
    match segment::scan(&bytes, newest, &mut visit)? {
        End::Clean => Ok(true),
        // One that was being written when the writer ended is still where it was.
        End::Torn { .. } => Ok(false),
        End::OtherVersion(version) => Err(segment::other_version(path, version)),
        End::Damaged { good } => Err(Damage::error(format!(
            "{}: damaged at byte {good}; a salvage goes on with what is whole",
            path.display()
        ))),
    }
}

/// What became of dead letters that were put back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PutBack {
    /// Records that are in the log again.
    pub records: u64,
    /// Where a file is now that ends with something that is no whole record.
    pub torn: Option<PathBuf>,
}

/// Puts all dead letters back into the log, behind the records that are there. `rewrite` makes a record of a dead letter. The
/// caller has locked the directory.
///
/// # Errors
/// If that cannot be done. Each record is then still in one of the two places, or in both.
pub fn put_back(
    log: Inspected,
    disk: &Disk,
    mut rewrite: impl FnMut(&[u8]) -> io::Result<UnsealedFrame>,
) -> Result<PutBack, LogError> {
    let log = log.open(disk, u64::MAX)?;
    let failed = |error: io::Error| LogError::of(log.directory(), &error);
    let before = log.lock().clone();
    let (mut next, mut newest) = (before.next, None);
    let mut done = PutBack::default();
    for (path, last) in list(log.directory()).map_err(failed)? {
        let mut open: Option<Open> = None;
        let whole = read(&path, last, |record| {
            let frame = rewrite(record.frame.payload)?;
            let open = match &mut open {
                Some(open) => open,
                None => {
                    newest = Some(next);
                    open.insert(Open::create(disk, log.directory(), next)?)
                }
            };
            open.append_unsynced(disk, &frame, next)?;
            next += 1;
            done.records += 1;
            Ok(())
        })
        .map_err(failed)?;
        // A segment for each file, and one sync for all of it.
        if let Some(open) = open {
            open.sync(disk).map_err(failed)?;
        }
        // They count from here on.
        let newest = newest.or(before.checkpoint().newest);
        let checkpoint = Checkpoint { done: before.done, next, newest };
        checkpoint::write(disk, log.directory(), &checkpoint).map_err(failed)?;
        if whole {
            disk.remove(&path).map_err(failed)?;
        } else {
            let torn = torn_path(&path);
            disk.rename(&path, &torn).map_err(failed)?;
            done.torn = Some(torn);
        }
    }
    disk.sync_directory(&directory(log.directory())).map_err(failed)?;
    Ok(done)
}
