//! Records that Kafka did not take, set aside so that they are in nobody's way: segments like the others, in a
//! directory of their own.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::disk::Disk;
use super::format::{self, Entry};
use super::segment::{self, End, Open};
use crate::files;

/// Where they are, below the spool's directory.
pub(super) fn directory(spool: &Path) -> PathBuf {
    spool.join("refused")
}

/// Writes records that are set aside.
pub(super) struct Aside {
    directory: PathBuf,
    segment_bytes: u64,
    disk: Disk,
    open: Option<Open>,
    /// A file whose good part has yet to be written anew. Nothing comes behind it before.
    repair: Option<Open>,
    /// Whether the newest file may be of another bridge, which ended while it wrote it.
    inherited: bool,
}

impl Aside {
    pub(super) fn new(spool: &Path, segment_bytes: u64, disk: Disk) -> Self {
        Self { directory: directory(spool), segment_bytes, disk, open: None, repair: None, inherited: true }
    }

    /// Sets records aside, durably, and all of them or none; returns the bytes that this took.
    pub(super) fn add(&mut self, records: &mut [(u64, Vec<u8>)]) -> io::Result<u64> {
        if self.open.as_ref().is_some_and(|open| open.len >= self.segment_bytes) {
            self.open = None;
        }
        if let Some(open) = self.repair.take() {
            self.keep(open)?;
        }
        if self.inherited {
            self.end_inherited()?;
            self.inherited = false;
        }
        let mut begun = 0;
        let open = match &mut self.open {
            Some(open) => open,
            None => {
                // What was set aside before stays as it is.
                let last = segment::list(&self.directory)?.last().map_or(0, |(number, _)| *number);
                let open = Open::create(&self.disk, &self.directory, last + 1)?;
                begun = open.len;
                self.open.insert(open)
            }
        };
        let mut frames = Vec::new();
        for (sequence, frame) in records {
            format::seal(frame, open.marker, *sequence, open.len);
            frames.extend_from_slice(frame);
        }
        if let Err(segment::AppendError::Write(error) | segment::AppendError::Sync(error)) =
            open.append(&self.disk, &frames)
        {
            // Whatever is behind its good part is torn. The next records get a file of their own.
            if let Some(open) = self.open.take() {
                let path = open.path.clone();
                if let Err(error) = self.keep(open) {
                    let path = path.display();
                    tracing::error!(%path, %error, "what was set aside could not be written anew; it is tried again");
                }
            }
            return Err(error);
        }
        Ok(begun + frames.len() as u64)
    }

    /// After a file could not be written or synced, has its good part written anew: the last of it may share a page with
    /// what was not written. If there is nothing in it, it goes. Where that fails it is left for the next time.
    fn keep(&mut self, open: Open) -> io::Result<()> {
        let kept = if open.len <= format::SEGMENT_HEADER as u64 {
            self.disk.remove(&open.path)
        } else {
            usize::try_from(open.len).map_err(io::Error::other).and_then(|len| {
                let mut bytes = vec![0; len];
                std::os::unix::fs::FileExt::read_exact_at(&open.file, &mut bytes, 0)?;
                self.disk.replace(&open.path, &bytes).map(drop)
            })
        };
        if kept.is_err() {
            self.repair = Some(open);
        }
        kept
    }

    /// Before another file comes behind that of a bridge that ended: cuts off what it was setting aside then, and has the
    /// rest durable, as it is in no other file to end with something that is not whole. What is cut off is kept: it cannot be
    /// told from damage to what was set aside last.
    fn end_inherited(&self) -> io::Result<()> {
        let Some((_, path)) = segment::list(&self.directory)?.pop() else { return Ok(()) };
        let mut bytes = files::read(&path)?;
        let good = match segment::survey(&bytes, true).end {
            End::Torn { good } => good,
            End::Clean => return self.disk.sync(&files::open(&path)?),
            // A start says so.
            End::Damaged { .. } | End::OtherVersion(_) => return Ok(()),
        };
        let (torn, kept) = (bytes.split_off(good.min(bytes.len())), torn_path(&path));
        self.disk.replace(&kept, &torn)?;
        tracing::warn!(
            path = %path.display(), bytes = torn.len(), kept = %kept.display(),
            "refused records end with something that was being set aside when the bridge ended; it is cut off"
        );
        if good <= format::SEGMENT_HEADER {
            return self.disk.remove(&path);
        }
        self.disk.replace(&path, &bytes).map(drop)
    }
}

/// Where what is cut off of a file is kept: a name beside it that nothing has yet.
pub(super) fn torn_path(path: &Path) -> PathBuf {
    let names = (2_u64..).map(|number| path.with_extension(format!("{number}.torn")));
    let mut names = std::iter::once(path.with_extension("torn")).chain(names);
    names.find(|name| !name.exists()).unwrap_or_else(|| path.with_extension("torn"))
}

/// The files of what has been set aside, in order, and whether records may have been being added to each when its bridge
/// ended: only the newest is written to.
pub(super) fn files(spool: &Path) -> io::Result<Vec<(PathBuf, bool)>> {
    let files = segment::list(&directory(spool))?;
    let newest = files.last().map(|(number, _)| *number);
    Ok(files.into_iter().map(|(number, path)| (path, Some(number) == newest)).collect())
}

/// What has been set aside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) records: u64,
    pub(super) bytes: u64,
    /// Topics that some of the records are for.
    pub(super) topics: BTreeSet<String>,
}

impl Refused {
    /// A record for this topic has been set aside.
    pub(super) fn note(&mut self, topic: &str) {
        self.records += 1;
        if !self.topics.contains(topic) {
            self.topics.insert(topic.to_owned());
        }
    }
}

/// What has been set aside.
pub(super) fn count(spool: &Path) -> io::Result<Refused> {
    let mut refused = Refused::default();
    for (path, newest) in files(spool)? {
        refused.bytes += fs::metadata(&path)?.len();
        each(&path, newest, |record| {
            refused.note(Entry::decode(&record.frame).map_or("", |entry| entry.topic));
            Ok(())
        })?;
    }
    Ok(refused)
}

/// Reads all records of a file that was set aside; returns whether that is all that is in it. `newest`: whether it is the
/// newest.
pub(super) fn each(
    path: &Path,
    newest: bool,
    mut visit: impl FnMut(segment::Found<'_>) -> io::Result<()>,
) -> io::Result<bool> {
    let bytes = files::read(path)?;
    match segment::scan(&bytes, newest, &mut visit)? {
        End::Clean => Ok(true),
        // One that was being set aside when the bridge ended is still where it was.
        End::Torn { .. } => Ok(false),
        End::OtherVersion(version) => {
            let text = format!("{}: {}", path.display(), segment::other_version(version));
            Err(io::Error::new(io::ErrorKind::InvalidData, text))
        }
        End::Damaged { good } => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!(
                "{}: damaged at byte {good}; --spool-salvage goes on with what is whole, see docs/spool.md",
                path.display()
            ),
        )),
    }
}
