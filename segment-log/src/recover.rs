//! What is on disk when a log is opened: all of it is read before any of it is changed.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::checkpoint::{self, Checkpoint};
use crate::disk::{self, Disk};
use crate::frame::{self, SEGMENT_HEADER};
use crate::log::{Log, Segments};
use crate::segment::{self, End, Segment};
use crate::{Damage, LogError, dead_letters, files, salvage};

/// A record that [`inspect`] has found.
#[derive(Clone, Copy, Debug)]
pub enum Visited<'a> {
    /// One in the log, which may be done with.
    Record {
        /// Its number.
        sequence: u64,
        /// Its bytes.
        payload: &'a [u8],
    },
    /// One that was taken out of it.
    DeadLetter {
        /// Its bytes.
        payload: &'a [u8],
    },
}

impl<'a> Visited<'a> {
    /// The record's bytes.
    pub fn payload(&self) -> &'a [u8] {
        let (Self::Record { payload, .. } | Self::DeadLetter { payload }) = self;
        payload
    }
}

/// A log that is good, as it was found.
#[derive(Debug)]
pub struct Inspected {
    directory: PathBuf,
    checkpoint: checkpoint::Found,
    segments: Segments,
    /// The newest segment, and how much of it is whole.
    newest: Option<(PathBuf, usize)>,
    /// Segments whose records are all done with.
    done_with: Vec<Segment>,
}

/// Reads all that is in the directory of a log, and changes nothing. `visit` is told of each record and says whether it
/// knows the format of its bytes.
///
/// # Errors
/// If it cannot be read, is damaged, or has something missing.
pub fn inspect(directory: &Path, visit: &mut dyn FnMut(Visited<'_>) -> bool) -> Result<Inspected, LogError> {
    let damaged = |what: String| LogError::salvageable(directory, what);
    let read = |error: io::Error| LogError::of(directory, &error);
    if salvage::is_unfinished(directory) {
        return Err(LogError::new(directory, "a salvage has not come to its end; run it again".to_owned()));
    }
    let checkpoint = checkpoint::read(directory).map_err(read)?;
    let known = match checkpoint {
        checkpoint::Found::Known(known) => Some(known),
        checkpoint::Found::Absent | checkpoint::Found::Unreadable => None,
    };
    let mut files = VecDeque::from(segment::list(directory).map_err(read)?);
    if let Some(newest) = known.and_then(|known| known.newest)
        && !files.iter().any(|(first, _)| *first == newest)
    {
        let path = segment::path(directory, newest);
        return Err(damaged(format!(
            "{} is missing; put it back, or go on without it by a salvage",
            path.display()
        )));
    }

    let mut state = Segments { done: known.map_or(0, |known| known.done), ..Segments::default() };
    let mut done_with = Vec::new();
    while let (Some((first, path)), Some((second, _))) = (files.front(), files.get(1)) {
        // One that could not be removed, or came back, may have a gap behind it that nobody misses.
        if *second > state.done + 1 && !is_cut_to_header(path, *first).map_err(read)? {
            break;
        }
        state.done = state.done.max(second - 1);
        let (next, len) = (*second, fs::metadata(path).map_err(read)?.len());
        done_with.extend(files.pop_front().map(|(first, path)| Segment { first, next, path, len }));
    }
    // A log that was just made has none, nor has it any file.
    if checkpoint == checkpoint::Found::Unreadable || (known.is_none() && !files.is_empty()) {
        tracing::warn!(
            directory = %directory.display(),
            "the log's checkpoint cannot be read; all that is there is read, some of it once more, and \
             whether an oldest or a newest file is missing cannot be told"
        );
    }
    if let Some((first, _)) = files.front() {
        match known {
            Some(_) if *first > state.done + 1 => {
                return Err(damaged(format!(
                    "records {} to {} are missing: the oldest file is {}; put back what is missing, \
                     or go on without it by a salvage",
                    state.done + 1,
                    first - 1,
                    segment::path(directory, *first).display()
                )));
            }
            _ => {}
        }
    }

    let last = files.back().map(|(first, _)| *first);
    let mut newest = None;
    for (first, path) in files {
        let before = state.list.back().filter(|before| before.next != first);
        if let Some(before) = before {
            let (wanted, found) = (before.next, path.display());
            return Err(damaged(format!(
                "records from {wanted} on are missing: the next segment is {found}; put back what is missing, \
                 or go on without it by a salvage"
            )));
        }
        let bytes = files::read(&path)
            .map_err(|error| LogError::new(directory, format!("{}: {error}", path.display())))?;
        let (next, good) =
            read_segment(&path, first, &bytes, Some(first) == last, known, visit).map_err(read)?;
        if Some(first) == last && (next > first || good < bytes.len()) {
            newest = Some((path.clone(), good));
        }
        state.next = next;
        state.list.push_back(Segment { first, next, path, len: good as u64 });
    }
    // Its name is that of the next, which takes its place.
    let _ = state.list.pop_back_if(|segment| segment.next == segment.first);
    if let Some(oldest) = state.list.front() {
        // What is not there any more is done with.
        state.done = state.done.max(oldest.first - 1);
    } else {
        state.done = state.done.max(state.next.saturating_sub(1));
    }
    state.next = state.next.max(state.done + 1);
    if let Some(known) = known.filter(|known| known.next > state.next) {
        return Err(damaged(format!(
            "records {} to {} are missing, which had been synced; put back the file that had them, \
             or go on without them by a salvage",
            state.next,
            known.next - 1
        )));
    }
    while let Some(done) = state.list.pop_front_if(|segment| segment.next <= state.done + 1) {
        newest = newest.filter(|(path, _)| *path != done.path);
        done_with.push(done);
    }
    for (path, newest) in dead_letters::list(directory).map_err(read)? {
        dead_letters::read(&path, newest, |record| {
            visit(Visited::DeadLetter { payload: record.frame.payload });
            Ok(())
        })
        .map_err(read)?;
    }
    Ok(Inspected { directory: directory.to_owned(), checkpoint, segments: state, newest, done_with })
}

/// Whether a segment was cut down to its header, which marks one as done with while a disk has no
/// room for a checkpoint.
fn is_cut_to_header(path: &Path, first: u64) -> io::Result<bool> {
    if fs::metadata(path)?.len() != SEGMENT_HEADER as u64 {
        return Ok(false);
    }
    Ok(frame::read_segment_header(&files::read(path)?).is_ok_and(|header| header.first == first))
}

/// Reads a segment; returns the number after its last record, and how many bytes are good.
///
/// # Errors
/// What is wrong with it.
fn read_segment(
    path: &Path,
    first: u64,
    bytes: &[u8],
    last: bool,
    known: Option<Checkpoint>,
    visit: &mut dyn FnMut(Visited<'_>) -> bool,
) -> io::Result<(u64, usize)> {
    let mut next = first;
    let end = segment::scan(bytes, last, |record| {
        let (sequence, payload, offset) = (record.frame.sequence, record.frame.payload, record.offset);
        if sequence != next {
            return Err(Damage::error(format!(
                "{}: wanted record {next} at byte {offset}, found {sequence}; a salvage goes on with what is whole",
                path.display()
            )));
        }
        if !visit(Visited::Record { sequence, payload }) {
            let text = format!("{}: a record of a later version at byte {offset}", path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        next += 1;
        Ok(())
    })?;
    let damaged = |good: usize| {
        Damage::error(format!(
            "{} is damaged at byte {good} of {}: {} records before it are good, and acknowledged ones come after it. \
             Nothing was changed; a salvage goes on with what is whole",
            path.display(),
            bytes.len(),
            next - first
        ))
    };
    let named = frame::read_segment_header(bytes).map_or(true, |header| header.first == first);
    match end {
        End::Clean | End::Torn { .. } if !named => {
            Err(Damage::error(format!("{}: it has the name of another segment", path.display())))
        }
        End::Clean => Ok((next, bytes.len())),
        // What is torn was never acknowledged; but what a checkpoint tells of was.
        End::Torn { good } if known.is_none_or(|known| !known.has_synced_behind(next)) => Ok((next, good)),
        End::Torn { good } | End::Damaged { good } => Err(damaged(good)),
        End::OtherVersion(version) => Err(segment::other_version(path, version)),
    }
}

impl Inspected {
    /// Its segments.
    pub fn segments(&self) -> &Segments {
        &self.segments
    }

    /// Makes it ready to be used: cuts off what was being written when it was used last, and removes what is done with.
    /// `segment_bytes`: after how many bytes another segment is begun.
    ///
    /// # Errors
    /// If the disk does not take that. It can be tried again then.
    pub fn open(self, disk: &Disk, segment_bytes: u64) -> Result<Log, LogError> {
        let directory = self.directory.clone();
        let (segments, checkpoint) = self.change(disk).map_err(|error| LogError::of(&directory, &error))?;
        Ok(Log::new(directory, segment_bytes, disk.clone(), segments, checkpoint))
    }

    fn change(mut self, disk: &Disk) -> io::Result<(Segments, checkpoint::Found)> {
        disk.create_directory(&dead_letters::directory(&self.directory))?;
        disk.sync_directory(&self.directory)?;
        if let Some((path, good)) = &self.newest {
            self.make_durable(disk, path, *good)?;
        }
        match self.write_checkpoint(disk) {
            Ok(()) => {
                for segment in &self.done_with {
                    disk.remove(&segment.path)?;
                }
            }
            // The reader removes what is done with, once it has written one.
            Err(error) => {
                self.done_with.drain(..).rev().for_each(|segment| self.segments.list.push_front(segment));
                let directory = self.directory.display();
                tracing::warn!(%directory, %error, "the log's checkpoint cannot be written; it is tried again");
            }
        }
        for directory in [&self.directory, &dead_letters::directory(&self.directory)] {
            for entry in fs::read_dir(directory)? {
                let path = entry?.path();
                // What was to take the place of a file when the log was used last.
                if path.to_string_lossy().ends_with(disk::NEW) {
                    disk.remove(&path)?;
                }
            }
        }
        Ok((self.segments, self.checkpoint))
    }

    /// What can be read back need not be durable: the last writer may have ended between writing and syncing, or after a
    /// sync that failed. From here on it counts as acknowledged, so it is written once more.
    fn make_durable(&self, disk: &Disk, path: &Path, good: usize) -> io::Result<()> {
        let mut bytes = files::read(path)?;
        let torn = bytes.split_off(good.min(bytes.len()));
        if !torn.is_empty() {
            self.keep_torn(disk, path, &torn);
        }
        match disk.replace(path, &bytes) {
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                // The same bytes over what is there take no room.
                let file = fs::File::options().write(true).open(path)?;
                disk.truncate(&file, bytes.len() as u64)?;
                disk.write(&file, &bytes, 0)?;
                disk.sync(&file)
            }
            replaced => replaced.map(drop),
        }
    }

    /// Has the checkpoint say how things are. Where there is no room for it, what is done with makes some, but for the
    /// newest file, of which the checkpoint that is there may tell.
    fn write_checkpoint(&mut self, disk: &Disk) -> io::Result<()> {
        let checkpoint = self.segments.checkpoint();
        if self.checkpoint == checkpoint::Found::Known(checkpoint) {
            return Ok(());
        }
        let mut written = checkpoint::write(disk, &self.directory, &checkpoint);
        if written.is_err() {
            let older = self.done_with.len().saturating_sub(usize::from(self.segments.list.is_empty()));
            for segment in self.done_with.iter_mut().take(older) {
                segment.cut_to_header(disk)?;
            }
            written = checkpoint::write(disk, &self.directory, &checkpoint);
        }
        written?;
        self.checkpoint = checkpoint::Found::Known(checkpoint);
        Ok(())
    }

    /// Keeps what is cut off of a segment beside it, in place of what was kept before. It is of use to nobody but those who
    /// look into what happened, so a disk without room for it is no reason to stop.
    fn keep_torn(&self, disk: &Disk, path: &Path, torn: &[u8]) {
        let kept = path.with_extension("torn");
        let keep = || -> io::Result<()> {
            for entry in fs::read_dir(&self.directory)? {
                let other = entry?.path();
                if other != kept && other.extension().is_some_and(|extension| extension == "torn") {
                    disk.remove(&other)?;
                }
            }
            disk.replace(&kept, torn).map(drop)
        };
        let (path, kept, bytes) = (path.display(), kept.display(), torn.len());
        match keep() {
            Ok(()) => tracing::warn!(
                %path, bytes, %kept,
                "the log ends with something that was being written when it was used last, and that nobody was told of; it \
                 is cut off"
            ),
            Err(error) => tracing::warn!(
                %path, bytes, %error,
                "the log ends with something that was being written when it was used last, and that nobody was told of; it \
                 is cut off, and could not be kept"
            ),
        }
    }
}
