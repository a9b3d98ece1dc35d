//! Segment files: their names, how one is begun, and what is found in one.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::disk::{self, Disk};
use super::format::{self, Entry, Frame, SEGMENT_HEADER};

const EXTENSION: &str = "segment";

/// Where a segment is whose first record has this number.
pub(super) fn path(directory: &Path, first: u64) -> PathBuf {
    directory.join(format!("{first:020}.{EXTENSION}"))
}

/// The segments in a directory, by their first numbers, in order.
pub(super) fn list(directory: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != EXTENSION) {
            continue;
        }
        let number = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
        let number = number.ok_or_else(|| {
            io::Error::other(format!(
                "{}: the name of a segment is a number; move the file away",
                path.display()
            ))
        })?;
        found.push((number, path));
    }
    found.sort_unstable();
    Ok(found)
}

/// A segment that is being written.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) path: PathBuf,
    pub(super) file: File,
    /// The durable length, in bytes.
    pub(super) len: u64,
}

impl Open {
    /// Begins a segment, durably.
    pub(super) fn create(disk: &Disk, directory: &Path, first: u64) -> io::Result<Self> {
        let path = path(directory, first);
        let file = disk::private().read(true).write(true).create_new(true).open(&path)?;
        let begun = disk
            .write(&file, &format::segment_header(first), 0)
            .and_then(|()| disk.sync(&file))
            .and_then(|()| disk.sync_directory(directory));
        if let Err(error) = begun {
            // Without a record in it, it is of no use, and its name is needed again.
            let _ = disk.remove(&path);
            return Err(error);
        }
        Ok(Self { path, file, len: SEGMENT_HEADER as u64 })
    }

    /// Appends whole frames, durably.
    ///
    /// # Errors
    /// The step that failed, after which nothing is known of what is behind `len`.
    pub(super) fn append(&mut self, disk: &Disk, frames: &[u8]) -> Result<(), AppendError> {
        disk.write(&self.file, frames, self.len).map_err(AppendError::Write)?;
        disk.sync(&self.file).map_err(AppendError::Sync)?;
        self.len += frames.len() as u64;
        Ok(())
    }
}

/// At what an append failed.
#[derive(Debug)]
pub(super) enum AppendError {
    /// Writing, such as for want of room. What was durable still is.
    Write(io::Error),
    /// Syncing. Pages that could not be written count as clean from now on, so that no later sync tells whether they
    /// ever were, and the last of what was durable shares a page with the first of what was not.
    Sync(io::Error),
}

/// A record that was found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found<'a> {
    pub(super) offset: usize,
    pub(super) frame: Frame<'a>,
}

/// How the whole frames of a segment end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// With the file.
    Clean,
    /// With something that was never durable, so that nobody was told of it.
    Torn {
        /// The bytes before it.
        good: usize,
    },
    /// With something that had been durable, and no longer is what it was.
    Damaged {
        /// The bytes before it.
        good: usize,
    },
}

/// Reads all frames of a segment, in order, until one is not whole. `last`: whether records may have been being written
/// to it when its bridge ended.
///
/// # Errors
/// Whatever `each` returns.
pub(super) fn scan<'a, E>(
    bytes: &'a [u8],
    last: bool,
    mut each: impl FnMut(Found<'a>) -> Result<(), E>,
) -> Result<End, E> {
    if format::read_segment_header(bytes).is_none() {
        return Ok(end(bytes, 0, last));
    }
    let mut offset = SEGMENT_HEADER;
    while let Some(rest) = bytes.get(offset..).filter(|rest| !rest.is_empty()) {
        let Ok(frame) = format::frame(rest) else { return Ok(end(bytes, offset, last)) };
        each(Found { offset, frame })?;
        offset += frame.len;
    }
    Ok(End::Clean)
}

/// What ends a segment at `good`. Of frames that are written together none is durable before all are, and the next say
/// what was durable before them: a whole frame that does so proves that something durable is broken here.
fn end(bytes: &[u8], good: usize, last: bool) -> End {
    let mut from = good;
    while let Some((at, frame)) = format::next_frame(bytes, from) {
        if frame.durable > good as u64 {
            return End::Damaged { good };
        }
        from = at + 1;
    }
    if last { End::Torn { good } } else { End::Damaged { good } }
}

/// Reads a frame that is known to be at an offset.
pub(super) fn read_at(file: &File, offset: u64) -> io::Result<Vec<u8>> {
    use std::os::unix::fs::FileExt as _;
    let damaged = || io::Error::new(io::ErrorKind::InvalidData, "no whole record where one was written");
    let mut header = [0; format::FRAME_HEADER];
    file.read_exact_at(&mut header, offset)?;
    let mut bytes = vec![0; format::frame_len(&header).ok_or_else(damaged)?];
    file.read_exact_at(&mut bytes, offset)?;
    format::frame(&bytes).map_err(|_| damaged())?;
    Ok(bytes)
}

/// The record in a frame that [`read_at`] has read.
pub(super) fn entry(bytes: &[u8]) -> io::Result<(u64, Entry<'_>)> {
    let unknown = || io::Error::new(io::ErrorKind::InvalidData, "a record of a format that is not known");
    let frame = format::frame(bytes).map_err(|_| unknown())?;
    Ok((frame.sequence, Entry::decode(&frame).ok_or_else(unknown)?))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    /// A segment of records that were written in these groups.
    fn segment(groups: &[usize]) -> (Vec<u8>, Vec<usize>) {
        let mut bytes = format::segment_header(1).to_vec();
        let (mut sequence, mut ends) = (1, Vec::new());
        for &group in groups {
            let durable = bytes.len() as u64;
            for _ in 0..group {
                let value = vec![b'x'; usize::try_from(sequence).unwrap()];
                let entry = Entry {
                    spooled_at: 1,
                    timestamp: 1,
                    topic: "t",
                    partition: None,
                    key: None,
                    headers: Vec::new(),
                    value: Some(&value),
                    identity: None,
                    request_id: None,
                    reason: None,
                };
                let mut frame = entry.encode();
                format::seal(&mut frame, sequence, durable);
                bytes.extend(frame);
                ends.push(bytes.len());
                sequence += 1;
            }
        }
        (bytes, ends)
    }

    fn scanned(bytes: &[u8], last: bool) -> (Vec<u64>, End) {
        let mut found = Vec::new();
        let end = scan(bytes, last, |record| {
            found.push(record.frame.sequence);
            Ok::<_, Infallible>(())
        });
        (found, end.unwrap())
    }

    #[test]
    fn a_tail_may_be_torn_anywhere() {
        let (bytes, ends) = segment(&[1, 2, 1]);
        assert_eq!(scanned(&bytes, true), (vec![1, 2, 3, 4], End::Clean));
        for len in 0..bytes.len() {
            let whole = ends.iter().filter(|end| **end <= len).count();
            let good = if len < SEGMENT_HEADER {
                0
            } else {
                ends[..whole].last().copied().unwrap_or(SEGMENT_HEADER)
            };
            let (found, end) = scanned(&bytes[..len], true);
            assert_eq!(found, (1..=whole as u64).collect::<Vec<_>>(), "{len}");
            let clean = good == len && len > 0;
            assert_eq!(end, if clean { End::Clean } else { End::Torn { good } }, "{len}");
            // Where records cannot have been being written, nothing is missing that may be.
            let (_, end) = scanned(&bytes[..len], false);
            assert_eq!(end, if clean { End::Clean } else { End::Damaged { good } }, "{len}");
        }
        // What is behind the end of what was written, such as a block of zeros.
        let mut longer = bytes.clone();
        longer.extend([0; 100]);
        assert_eq!(scanned(&longer, true), (vec![1, 2, 3, 4], End::Torn { good: bytes.len() }));
    }

    #[test]
    fn pages_of_the_last_write_may_be_missing_in_any_order() {
        let (bytes, ends) = segment(&[1, 3]);
        // The second and the last of the second group have come, and what is between has not.
        let mut torn = bytes.clone();
        torn[ends[1]..ends[2]].fill(0);
        assert_eq!(scanned(&torn, true), (vec![1, 2], End::Torn { good: ends[1] }));
    }

    #[test]
    fn what_was_durable_and_is_broken_is_no_torn_tail() {
        let (bytes, ends) = segment(&[1, 1, 1]);
        let mut starts = vec![0, SEGMENT_HEADER];
        starts.extend(&ends[..1]);
        for (start, good) in starts.into_iter().zip([0, SEGMENT_HEADER, ends[0]]) {
            for byte in [start, start + 9] {
                let mut damaged = bytes.clone();
                damaged[byte] ^= 1;
                assert_eq!(scanned(&damaged, true).1, End::Damaged { good }, "{byte}");
            }
        }
        // Nobody can tell it from a torn one: nothing was written after it.
        let mut damaged = bytes.clone();
        damaged[ends[1] + 9] ^= 1;
        assert_eq!(scanned(&damaged, true).1, End::Torn { good: ends[1] });
        assert_eq!(scanned(&damaged, false).1, End::Damaged { good: ends[1] });
    }
}
