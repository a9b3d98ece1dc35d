//! Segment files: their names, how one is begun, and what is found in one.

use std::convert::Infallible;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::disk::Disk;
use crate::frame::{self, BadHeader, Frame, Header, Marker, SEGMENT_HEADER, UnsealedFrame};

const EXTENSION: &str = "segment";

/// Up to how many bytes a frame is taken at its word before it is read.
const SMALL: usize = 1 << 20;

/// Where a segment is whose first record has this number.
pub fn path(directory: &Path, first: u64) -> PathBuf {
    directory.join(format!("{first:020}.{EXTENSION}"))
}

/// The segments in a directory, by their first numbers, in order; none if it is not there.
pub fn list(directory: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        entries => entries?,
    };
    for entry in entries {
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

/// Whether there is any segment in a directory, whatever its name is.
pub(crate) fn any_in(directory: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(directory)? {
        if entry?.path().extension().is_some_and(|extension| extension == EXTENSION) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A segment on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The number of its first record.
    pub first: u64,
    /// The number after its last.
    pub next: u64,
    /// Where it is.
    pub path: PathBuf,
    /// Its durable bytes.
    pub len: u64,
}

impl Segment {
    /// Leaves nothing of a segment but its header, which marks it as done with while a disk has no room for a
    /// checkpoint. Returns whether there was more.
    pub(crate) fn cut_to_header(&mut self, disk: &Disk) -> io::Result<bool> {
        let header = SEGMENT_HEADER as u64;
        let file = File::options().write(true).open(&self.path)?;
        let more = file.metadata()?.len() > header;
        if more {
            disk.truncate(&file, header)?;
        }
        self.len = header;
        Ok(more)
    }
}

/// A segment that is being written.
#[derive(Debug)]
pub struct Open {
    path: PathBuf,
    file: File,
    marker: Marker,
    len: u64,
}

impl Open {
    /// Begins a segment, durably. One of the same name that has no record goes: it is of no use.
    ///
    /// # Errors
    /// If the disk does not take it, or there is a segment of this name that has records.
    pub fn create(disk: &Disk, directory: &Path, first: u64) -> io::Result<Self> {
        let path = path(directory, first);
        if fs::metadata(&path).is_ok_and(|there| there.len() > SEGMENT_HEADER as u64) {
            let text = format!("{}: there is a segment of this name", path.display());
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
        }
        let marker = Marker::random()?;
        let file = disk.replace(&path, &frame::segment_header(&Header { first, marker }))?;
        Ok(Self { path, file, marker, len: SEGMENT_HEADER as u64 })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its durable length, in bytes.
    #[allow(clippy::len_without_is_empty, reason = "a segment has a header")]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Appends the frame of a record to `out`, whole, as it is to be appended to the segment next.
    pub fn seal(&self, frame: &UnsealedFrame, sequence: u64, out: &mut Vec<u8>) {
        frame.seal_into(out, self.marker, sequence, self.len);
    }

    /// Appends whole frames, durably.
    ///
    /// # Errors
    /// The step that failed, after which nothing is known of what is behind the durable length.
    pub fn append(&mut self, disk: &Disk, frames: &[u8]) -> Result<(), AppendError> {
        disk.write(&self.file, frames, self.len).map_err(AppendError::Write)?;
        disk.sync(&self.file).map_err(AppendError::Sync)?;
        self.len += frames.len() as u64;
        Ok(())
    }

    /// Appends a record that becomes durable with others, by [`Open::sync`].
    pub(crate) fn append_unsynced(
        &mut self,
        disk: &Disk,
        frame: &UnsealedFrame,
        sequence: u64,
    ) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(frame.len());
        // All of a file becomes durable at once.
        frame.seal_into(&mut bytes, self.marker, sequence, SEGMENT_HEADER as u64);
        disk.write(&self.file, &bytes, self.len)?;
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Waits until all that was appended is durable.
    pub(crate) fn sync(&self, disk: &Disk) -> io::Result<()> {
        disk.sync(&self.file)
    }

    /// What an append that failed leaves to be done, and why it failed.
    pub(crate) fn into_repair(self, error: AppendError) -> (Repair, io::Error) {
        let rewrite = matches!(error, AppendError::Sync(_));
        let (AppendError::Write(error) | AppendError::Sync(error)) = error;
        (Repair { path: self.path, file: self.file, len: self.len, truncated: false, rewrite }, error)
    }

    /// Writes the durable part to a new file in place of this one: the last of it may share a page with what could not be
    /// written or synced. A segment without a record is removed.
    pub(crate) fn rewrite(&self, disk: &Disk) -> io::Result<()> {
        if self.len <= SEGMENT_HEADER as u64 {
            return disk.remove(&self.path);
        }
        disk.replace(&self.path, &start_of(&self.file, self.len)?).map(drop)
    }
}

/// A segment that could not be written or synced.
#[derive(Debug)]
pub(crate) struct Repair {
    path: PathBuf,
    file: File,
    /// Bytes that had been durable.
    len: u64,
    /// Whether what is behind them is gone.
    truncated: bool,
    /// Whether they have to be written anew, because a sync failed.
    rewrite: bool,
}

impl Repair {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn is_truncated(&self) -> bool {
        self.truncated
    }

    /// None of the segment's records is needed any more.
    pub(crate) fn forgo_rewrite(&mut self) {
        self.rewrite = false;
    }

    /// Cuts off what was not durable, and writes anew what may no longer be. Can be tried again where it fails.
    pub(crate) fn mend(&mut self, disk: &Disk) -> io::Result<()> {
        if !self.truncated {
            disk.truncate(&self.file, self.len)?;
            self.truncated = true;
        }
        // One without a record stays, since a checkpoint may tell of it. The next takes its place.
        if self.rewrite {
            // Memory has what the disk may not have. Another file gets it.
            disk.replace(&self.path, &start_of(&self.file, self.len)?)?;
        }
        Ok(())
    }
}

/// The first bytes of a file.
fn start_of(file: &File, len: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
    std::os::unix::fs::FileExt::read_exact_at(file, &mut bytes, 0)?;
    Ok(bytes)
}

/// The step at which an append failed.
#[derive(Debug)]
pub enum AppendError {
    /// Writing, such as for want of room. What was durable still is.
    Write(io::Error),
    /// Syncing. Pages that could not be written count as clean from now on, so that no later sync tells whether they
    /// ever were, and the last of what was durable shares a page with the first of what was not.
    Sync(io::Error),
}

/// A record that was found.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// Where it begins.
    pub offset: usize,
    /// Its frame.
    pub frame: Frame<'a>,
}

/// How the whole frames of a segment end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
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
    /// Before it has begun: it is of this version of the format, which cannot be read.
    OtherVersion(u8),
}

/// Reads all frames of a segment, in order, until one is not whole. `last`: whether records may have been being written
/// to it when its bridge ended.
///
/// # Errors
/// Whatever `each` returns.
pub fn scan<'a, E>(
    bytes: &'a [u8],
    last: bool,
    mut each: impl FnMut(Found<'a>) -> Result<(), E>,
) -> Result<End, E> {
    let marker = match frame::read_segment_header(bytes) {
        Ok(header) => header.marker,
        Err(BadHeader::OtherVersion(version)) => return Ok(End::OtherVersion(version)),
        // A header is durable before there is anything behind it.
        Err(BadHeader::Damaged) if last && bytes.len() <= SEGMENT_HEADER => return Ok(End::Torn { good: 0 }),
        Err(BadHeader::Damaged) => return Ok(End::Damaged { good: 0 }),
    };
    let mut offset = SEGMENT_HEADER;
    while let Some(rest) = bytes.get(offset..).filter(|rest| !rest.is_empty()) {
        let Ok(frame) = frame::marked_frame(rest, marker) else {
            return Ok(end(bytes, marker, offset, last));
        };
        each(Found { offset, frame })?;
        offset += frame.len;
    }
    Ok(End::Clean)
}

/// What ends a segment at `good`. Of frames that are written together none is durable before all are, and the next say
/// what was durable before them: a whole frame that does so proves that something durable is broken here.
fn end(bytes: &[u8], marker: Marker, good: usize, last: bool) -> End {
    let mut from = good;
    while let Some((at, frame)) = frame::next_frame(bytes, marker, from) {
        if (good as u64 + 1..=at as u64).contains(&frame.durable) {
            return End::Damaged { good };
        }
        from = at + frame.len;
    }
    if last { End::Torn { good } } else { End::Damaged { good } }
}

/// What is in a segment, whatever state it is in.
#[derive(Debug)]
pub struct Survey {
    /// How many records come before anything is wrong.
    pub records: u64,
    /// The numbers of the first and the last of them.
    pub numbers: Option<(u64, u64)>,
    /// How its whole frames end.
    pub end: End,
    /// How many are whole behind that.
    pub behind: usize,
}

/// Looks at all of a segment. `last` is as for [`scan`].
pub fn survey(bytes: &[u8], last: bool) -> Survey {
    let (mut records, mut numbers) = (0, None);
    let end = scan(bytes, last, |found| {
        let sequence = found.frame.sequence;
        records += 1;
        numbers = Some((numbers.map_or(sequence, |(first, _)| first), sequence));
        Ok::<_, Infallible>(())
    });
    let end = match end {
        Ok(end) => end,
        Err(never) => match never {},
    };
    let behind = match end {
        End::Torn { good } | End::Damaged { good } => whole_frames(bytes, good.max(SEGMENT_HEADER)).count(),
        End::Clean | End::OtherVersion(_) => 0,
    };
    Survey { records, numbers, end, behind }
}

/// All frames that are whole at or after `from`, in order, whatever is between them. Where the header is damaged, its marker
/// may not be, or else is in the frames.
pub fn whole_frames(bytes: &[u8], from: usize) -> impl Iterator<Item = Found<'_>> {
    let marker = match frame::read_segment_header(bytes) {
        Ok(header) => Some(header.marker),
        Err(_) => frame::marker_in_header(bytes)
            .filter(|marker| frame::next_frame(bytes, *marker, SEGMENT_HEADER).is_some())
            .or_else(|| frame::marker_in_frames(bytes)),
    };
    let mut from = from;
    std::iter::from_fn(move || {
        let (offset, frame) = frame::next_frame(bytes, marker?, from)?;
        from = offset + frame.len;
        Some(Found { offset, frame })
    })
}

/// What there is to say of a file of another version of the format.
pub(crate) fn unknown_version(version: u8) -> String {
    format!(
        "it is of version {version} of the format, and this program reads version {}; have one that reads it drain it, or \
         move it away",
        frame::VERSION
    )
}

/// The error of a file of another version of the format.
pub(crate) fn other_version(path: &Path, version: u8) -> io::Error {
    let text = format!("{}: {}", path.display(), unknown_version(version));
    io::Error::new(io::ErrorKind::InvalidData, text)
}

/// Reads a frame that is known to be at an offset.
pub(crate) fn read_at(file: &File, offset: u64) -> io::Result<Vec<u8>> {
    use std::os::unix::fs::FileExt as _;
    let damaged = || io::Error::new(io::ErrorKind::InvalidData, "no whole record where one was written");
    let mut header = [0; frame::FRAME_HEADER];
    file.read_exact_at(&mut header, offset)?;
    let len = frame::frame_len(&header).ok_or_else(damaged)?;
    // What is damaged may say that it is as long as memory.
    if len > SMALL && file.metadata()?.len().saturating_sub(offset) < len as u64 {
        return Err(damaged());
    }
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, offset)?;
    frame::frame(&bytes).map_err(|_| damaged())?;
    Ok(bytes)
}

/// The number of the record in a frame that [`read_at`] has read.
pub(crate) fn sequence(bytes: &[u8]) -> u64 {
    frame::frame(bytes).map_or(0, |frame| frame.sequence)
}

/// The record in a frame that [`read_at`] has read.
pub(crate) fn payload(bytes: &[u8]) -> &[u8] {
    bytes.get(frame::PAYLOAD_AT..).unwrap_or_default()
}

/// The bytes of a segment with this marker whose records were written in these groups, and where each record ends.
#[cfg(any(test, feature = "faults"))]
pub fn in_memory(first: u64, marker: [u8; 16], groups: &[Vec<Vec<u8>>]) -> (Vec<u8>, Vec<usize>) {
    let marker = Marker(marker);
    let mut bytes = frame::segment_header(&Header { first, marker }).to_vec();
    let (mut sequence, mut ends) = (first, Vec::new());
    for group in groups {
        let durable = bytes.len() as u64;
        for payload in group {
            UnsealedFrame::of(payload).seal_into(&mut bytes, marker, sequence, durable);
            ends.push(bytes.len());
            sequence += 1;
        }
    }
    (bytes, ends)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MARKER: Marker = Marker([7; 16]);

    /// A segment of records that were written in these groups, and where each ends.
    fn segment(groups: &[usize]) -> (Vec<u8>, Vec<usize>) {
        let mut length = 0;
        let groups: Vec<Vec<Vec<u8>>> = groups
            .iter()
            .map(|count| {
                (0..*count)
                    .map(|_| {
                        length += 1;
                        vec![b'x'; length]
                    })
                    .collect()
            })
            .collect();
        in_memory(1, MARKER.0, &groups)
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

    #[test]
    fn a_header_is_durable_before_anything_is_behind_it() {
        let (bytes, _) = segment(&[1]);
        let torn = [0; SEGMENT_HEADER];
        assert_eq!(scanned(&torn, true), (vec![], End::Torn { good: 0 }));
        assert_eq!(scanned(&torn, false), (vec![], End::Damaged { good: 0 }));
        let mut damaged = bytes;
        damaged[..SEGMENT_HEADER].fill(0);
        assert_eq!(scanned(&damaged, true), (vec![], End::Damaged { good: 0 }));
        assert_eq!(scanned(b"WGSPOOL\x01 and more", true), (vec![], End::OtherVersion(1)));
    }

    /// A record whose value is a segment: whatever a caller sends, he does not know the marker.
    #[test]
    fn what_a_record_holds_is_no_frame() {
        let (inner, _) = segment(&[1, 1, 1]);
        let (mut bytes, ends) = segment(&[1]);
        let other = Marker([8; 16]);
        bytes[..SEGMENT_HEADER].copy_from_slice(&frame::segment_header(&Header { first: 1, marker: other }));
        bytes[SEGMENT_HEADER..SEGMENT_HEADER + 16].copy_from_slice(&other.0);
        assert_eq!(scanned(&bytes, true).1, End::Clean);
        UnsealedFrame::of(&inner).seal_into(&mut bytes, other, 2, ends[0] as u64);
        bytes.pop();
        assert_eq!(scanned(&bytes, true), (vec![1], End::Torn { good: ends[0] }));
    }

    /// The search behind a torn frame reads each byte about once, whatever is there.
    #[test]
    fn a_torn_tail_is_searched_in_one_go() {
        let (mut bytes, ends) = segment(&[1]);
        let before = bytes.len();
        let forged = b"WGR\x01\xff\xff\x0f\0".repeat(1 << 20);
        bytes.extend(&forged);
        let began = std::time::Instant::now();
        assert_eq!(scanned(&bytes, true).1, End::Torn { good: ends[0] });
        // Frames of the same write that are whole, behind one that is not.
        bytes.truncate(before);
        bytes.extend([0; 64]);
        let (group, _) = segment(&[1, 300]);
        bytes.extend(&group[before..]);
        assert_eq!(scanned(&bytes, true).1, End::Torn { good: ends[0] });
        assert!(began.elapsed() < std::time::Duration::from_secs(60), "{:?}", began.elapsed());
    }

    #[test]
    fn what_says_that_it_is_longer_than_its_file_takes_no_memory() {
        let path = std::env::temp_dir().join(format!("segment-log-segment-{}", std::process::id()));
        let (mut bytes, _) = segment(&[1]);
        bytes[SEGMENT_HEADER + 16..SEGMENT_HEADER + 20].copy_from_slice(&u32::MAX.to_le_bytes());
        fs::write(&path, &bytes).unwrap();
        let error = read_at(&File::open(&path).unwrap(), SEGMENT_HEADER as u64).unwrap_err();
        fs::remove_file(&path).unwrap();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    /// A segment in each record, of as many frames as there are records, which a caller made and knows all of.
    #[test]
    fn frames_that_a_caller_sent_are_not_taken_for_those_of_a_segment_without_a_beginning() {
        let (inner, _) = segment(&[3, 1, 1]);
        let marker = Marker([8; 16]);
        let mut bytes = frame::segment_header(&Header { first: 1, marker }).to_vec();
        let mut ends = Vec::new();
        for sequence in 1..=5 {
            let durable = bytes.len() as u64;
            UnsealedFrame::of(&inner).seal_into(&mut bytes, marker, sequence, durable);
            ends.push(bytes.len());
        }
        let found = |bytes: &[u8]| -> Vec<(usize, u64)> {
            whole_frames(bytes, SEGMENT_HEADER).map(|found| (found.offset, found.frame.sequence)).collect()
        };
        let wanted: Vec<_> = ends.iter().copied().zip(2..=5).collect();
        // The first frame is damaged, and what it holds is not; then one in the middle as well.
        bytes[..SEGMENT_HEADER + 30].fill(0);
        assert_eq!(found(&bytes), wanted);
        bytes[ends[1]] ^= 1;
        assert_eq!(found(&bytes), [wanted[0], wanted[2], wanted[3]]);
    }

    /// However much a caller sent that looks like the beginnings of frames, of which none is one.
    #[test]
    fn a_search_for_frames_comes_to_its_end() {
        let len = 8 << 20;
        let mut period = [7; 64];
        period[16..20].copy_from_slice(&(4_u32 << 20).wrapping_sub(24).to_le_bytes());
        period[32..40].copy_from_slice(&36_u64.to_le_bytes());
        let mut bytes = vec![0; SEGMENT_HEADER];
        bytes.extend(period.repeat(len / 64));
        let began = std::time::Instant::now();
        assert_eq!(whole_frames(&bytes, 0).count(), 0);
        assert!(began.elapsed() < std::time::Duration::from_secs(60), "{:?}", began.elapsed());
    }

    #[test]
    fn what_is_whole_is_found_whatever_is_not() {
        let (bytes, ends) = segment(&[2, 1, 1]);
        let numbers = |bytes: &[u8]| -> Vec<u64> {
            whole_frames(bytes, SEGMENT_HEADER).map(|found| found.frame.sequence).collect()
        };
        assert_eq!(numbers(&bytes), [1, 2, 3, 4]);
        let damaged = |places: &[usize]| {
            let mut damaged = bytes.clone();
            places.iter().for_each(|at| damaged[*at] ^= 1);
            damaged
        };
        assert_eq!(numbers(&damaged(&[ends[0] + 30])), [1, 3, 4]);
        // The header, and its marker; the header and the first frame's marker; both markers, of which one is that of a frame.
        assert_eq!(numbers(&damaged(&[9])), [1, 2, 3, 4]);
        assert_eq!(numbers(&damaged(&[17])), [1, 2, 3, 4]);
        assert_eq!(numbers(&damaged(&[9, SEGMENT_HEADER])), [2, 3, 4]);
        assert_eq!(numbers(&damaged(&[17, SEGMENT_HEADER])), [2, 3, 4]);
        // All of the beginning; all of the frames but for the last of them.
        for (gone, whole) in [(ends[0], &[2, 3, 4][..]), (ends[1] - 1, &[3, 4]), (ends[2] - 1, &[4])] {
            let mut damaged = bytes.clone();
            damaged[..gone].fill(0);
            assert_eq!(numbers(&damaged), whole, "{gone}");
        }
        // One alone, at the beginning.
        let mut damaged_header = bytes[..ends[0]].to_vec();
        damaged_header[17] ^= 1;
        assert_eq!(numbers(&damaged_header), [1]);
        assert!(numbers(&[]).is_empty());
        let survey = survey(&damaged(&[ends[0] + 30]), true);
        assert_eq!((survey.records, survey.numbers, survey.behind), (1, Some((1, 1)), 2));
        assert_eq!(survey.end, End::Damaged { good: ends[0] });
    }

    proptest! {
        /// Whatever becomes of a file, what is found in it is what was written, and a start takes a part of it at most.
        #[test]
        fn nothing_is_found_that_was_not_written(
            changes in proptest::collection::vec((0_usize..3_000, any::<u8>()), 0..6),
            len in 0_usize..3_000,
        ) {
            let (bytes, ends) = segment(&[3, 1, 5, 2, 9]);
            let mut changed = bytes.clone();
            for (at, byte) in changes {
                let at = at % changed.len();
                changed[at] = byte;
            }
            changed.truncate(if len % 2 == 0 { changed.len() } else { len });
            let mut starts = vec![SEGMENT_HEADER];
            starts.extend(ends);
            for found in whole_frames(&changed, 0) {
                let number = usize::try_from(found.frame.sequence).unwrap();
                prop_assert_eq!(starts[number - 1], found.offset);
                // Of its marker alone nothing depends.
                let body = found.offset + 16..found.offset + found.frame.len;
                prop_assert_eq!(&changed[body.clone()], &bytes[body]);
            }
            let (numbers, end) = scanned(&changed, true);
            prop_assert!(numbers.iter().copied().eq(1..=numbers.len() as u64));
            let good = starts[numbers.len()];
            match end {
                End::Clean => prop_assert_eq!(changed.len(), good),
                End::Torn { good: 0 } | End::Damaged { good: 0 } | End::OtherVersion(_) => prop_assert!(numbers.is_empty()),
                End::Torn { good: at } | End::Damaged { good: at } => prop_assert_eq!(at, good),
            }
        }
    }
}
