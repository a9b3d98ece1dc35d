//! Records that Kafka did not take, set aside so that they are in nobody's way: segments like the others, in a
//! directory of their own.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::disk::Disk;
use super::format;
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

    /// Sets a record aside, durably; returns the bytes that this took.
    pub(super) fn add(&mut self, sequence: u64, mut frame: Vec<u8>) -> io::Result<u64> {
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
        format::seal(&mut frame, open.marker, sequence, open.len);
        if let Err(segment::AppendError::Write(error) | segment::AppendError::Sync(error)) =
            open.append(&self.disk, &frame)
        {
            // Whatever is behind its good part is torn. The next record gets a file of its own.
            if let Some(open) = self.open.take() {
                self.keep(&open);
            }
            return Err(error);
        }
        Ok(begun + frame.len() as u64)
    }

    /// After a sync that failed, has the good part of a file written anew: the last of it shares a page with what may
    /// not have been written.
    fn keep(&self, open: &Open) {
        let kept = usize::try_from(open.len).map_err(io::Error::other).and_then(|len| {
            let mut bytes = vec![0; len];
            std::os::unix::fs::FileExt::read_exact_at(&open.file, &mut bytes, 0)?;
            self.disk.replace(&open.path, &bytes)
        });
        if let Err(error) = kept {
            tracing::error!(path = %open.path.display(), %error, "what was set aside could not be written anew");
        }
    }
}

/// What has been set aside: records and bytes.
pub(super) fn count(spool: &Path) -> io::Result<(u64, u64)> {
    let (mut records, mut bytes) = (0, 0);
    for (_, path) in segment::list(&directory(spool))? {
        bytes += fs::metadata(&path)?.len();
        each(&path, |_| {
            records += 1;
            Ok(())
        })?;
    }
    Ok((records, bytes))
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
