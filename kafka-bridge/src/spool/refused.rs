//! Records that Kafka did not take, set aside so that they are in nobody's way: segments like the others, in a
//! directory of their own.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::disk::Disk;
use super::format::{self, Entry};
use super::segment::{self, End, Open};

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
}

impl Aside {
    pub(super) fn new(spool: &Path, segment_bytes: u64, disk: Disk) -> Self {
        Self { directory: directory(spool), segment_bytes, disk, open: None }
    }

    /// Sets records aside, durably, and all of them or none; returns the bytes that this took.
    pub(super) fn add(&mut self, records: &mut [(u64, Vec<u8>)]) -> io::Result<u64> {
        if self.open.as_ref().is_some_and(|open| open.len >= self.segment_bytes) {
            self.open = None;
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
                self.keep(&open);
            }
            return Err(error);
        }
        Ok(begun + frames.len() as u64)
    }

    /// After a file could not be written or synced, has its good part written anew: the last of it may share a page with
    /// what was not written. If there is nothing in it, it goes.
    fn keep(&self, open: &Open) {
        let kept = if open.len <= format::SEGMENT_HEADER as u64 {
            self.disk.remove(&open.path)
        } else {
            usize::try_from(open.len).map_err(io::Error::other).and_then(|len| {
                let mut bytes = vec![0; len];
                std::os::unix::fs::FileExt::read_exact_at(&open.file, &mut bytes, 0)?;
                self.disk.replace(&open.path, &bytes).map(drop)
            })
        };
        if let Err(error) = kept {
            tracing::error!(path = %open.path.display(), %error, "what was set aside could not be written anew");
        }
    }
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
    for (_, path) in segment::list(&directory(spool))? {
        refused.bytes += fs::metadata(&path)?.len();
        each(&path, |record| {
            refused.note(Entry::decode(&record.frame).map_or("", |entry| entry.topic));
            Ok(())
        })?;
    }
    Ok(refused)
}

/// Reads all records of a file that was set aside.
pub(super) fn each(
    path: &Path,
    mut visit: impl FnMut(segment::Found<'_>) -> io::Result<()>,
) -> io::Result<()> {
    let bytes = fs::read(path)?;
    match segment::scan(&bytes, true, &mut visit)? {
        // One that was being set aside when the bridge ended is still where it was.
        End::Clean | End::Torn { .. } => Ok(()),
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
