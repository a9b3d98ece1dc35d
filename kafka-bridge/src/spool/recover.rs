//! What is on disk when a bridge starts: all of it is read before any of it is changed.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::checkpoint::{self, Checkpoint};
use super::disk::{self, Disk};
use super::format::{self, Entry, SEGMENT_HEADER};
use super::segment::{self, End};
use super::state::{Segment, State};
use super::{SpoolError, refused, salvage};
use crate::files;
use crate::idempotency::Identity;

/// Told of each event whose record is there: by what it is recognised, and when it was spooled, in milliseconds since
/// 1970-01-01T00:00:00Z.
pub(super) type Remember<'a> = dyn FnMut(Identity, u64) + 'a;

/// A spool that is good, as it was found.
#[derive(Debug)]
pub(super) struct Inspected {
    directory: PathBuf,
    checkpoint: checkpoint::Found,
    state: State,
    /// The newest segment, and how much of it is whole.
    newest: Option<(PathBuf, usize)>,
    /// Segments whose records are all done with.
    done_with: Vec<Segment>,
}

/// Reads all that is in a spool's directory, and changes nothing. `now`: the present, in milliseconds since
/// 1970-01-01T00:00:00Z.
///
/// # Errors
/// If it cannot be read, is damaged, or has something missing.
pub(super) fn inspect(
    directory: &Path,
    now: u64,
    remember: &mut Remember<'_>,
) -> Result<Inspected, SpoolError> {
    let failed = |what: String| SpoolError { directory: directory.to_owned(), what };
    let read = |error: io::Error| failed(error.to_string());
    if salvage::is_unfinished(directory) {
        return Err(failed("a --spool-salvage has not come to its end; run it again".to_owned()));
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
        return Err(failed(format!(
            "{} is missing; put it back, or go on without it by --spool-salvage, see docs/spool.md",
            path.display()
        )));
    }

    let mut state = State { done: known.map_or(0, |known| known.done), ..State::default() };
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
    // A spool that was just made has none, nor has it any file.
    if checkpoint == checkpoint::Found::Unreadable || (known.is_none() && !files.is_empty()) {
        tracing::warn!(
            directory = %directory.display(),
            "the spool's checkpoint cannot be read; all that is there is written to Kafka, some of it once more, and \
             whether an oldest or a newest file is missing cannot be told"
        );
    }
    if let Some((first, _)) = files.front() {
        match known {
            Some(_) if *first > state.done + 1 => {
                return Err(failed(format!(
                    "records {} to {} are missing: the oldest file is {}; put back what is missing, \
                     or go on without it by --spool-salvage, see docs/spool.md",
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
        let before = state.segments.back().filter(|before| before.next != first);
        if let Some(before) = before {
            let (wanted, found) = (before.next, path.display());
            return Err(failed(format!(
                "records from {wanted} on are missing: the next segment is {found}; put back what is missing, \
                 or go on without it by --spool-salvage, see docs/spool.md"
            )));
        }
        let bytes = files::read(&path).map_err(|error| failed(format!("{}: {error}", path.display())))?;
        let (next, good) =
            read_segment(&path, first, &bytes, Some(first) == last, known, |sequence, entry| {
                if let Some(identity) = entry.identity {
                    remember(identity, entry.spooled_at);
                }
                if sequence > state.done {
                    state.aged(sequence, entry.spooled_at.min(now));
                }
            })
            .map_err(failed)?;
        if Some(first) == last && (next > first || good < bytes.len()) {
            newest = Some((path.clone(), good));
        }
        state.next = next;
        state.segments.push_back(Segment { first, next, path, len: good as u64 });
    }
    // Its name is that of the next, which takes its place.
    let _ = state.segments.pop_back_if(|segment| segment.next == segment.first);
    if let Some(oldest) = state.segments.front() {
        // What is not there any more is done with.
        state.done = state.done.max(oldest.first - 1);
    } else {
        state.done = state.done.max(state.next.saturating_sub(1));
    }
    state.next = state.next.max(state.done + 1);
    if let Some(known) = known.filter(|known| known.next > state.next) {
        return Err(failed(format!(
            "records {} to {} are missing, which had been synced; put back the file that had them, \
             or go on without them by --spool-salvage, see docs/spool.md",
            state.next,
            known.next - 1
        )));
    }
    state.done_up_to(state.done);
    while let Some(done) = state.segments.pop_front_if(|segment| segment.next <= state.done + 1) {
        newest = newest.filter(|(path, _)| *path != done.path);
        done_with.push(done);
    }
    state.refused = refused::count(directory).map_err(read)?;
    Ok(Inspected { directory: directory.to_owned(), checkpoint, state, newest, done_with })
}

/// Whether a segment was cut down to its header, which is how the drainer marks one that is done with while a disk has no
/// room for a checkpoint.
fn is_cut_to_header(path: &Path, first: u64) -> io::Result<bool> {
    if fs::metadata(path)?.len() != SEGMENT_HEADER as u64 {
        return Ok(false);
    }
    Ok(format::read_segment_header(&files::read(path)?).is_ok_and(|header| header.first == first))
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
    mut each: impl FnMut(u64, &Entry<'_>),
) -> Result<(u64, usize), String> {
    let mut next = first;
    let end = segment::scan(bytes, last, |record| {
        let (sequence, offset) = (record.frame.sequence, record.offset);
        if sequence != next {
            return Err(format!(
                "{}: wanted record {next} at byte {offset}, found {sequence}; --spool-salvage \
                 goes on with what is whole, see docs/spool.md",
                path.display()
            ));
        }
        let Some(entry) = Entry::decode(&record.frame) else {
            return Err(format!("{}: a record of a later version at byte {offset}", path.display()));
        };
        next += 1;
        each(sequence, &entry);
        Ok(())
    })?;
    let damaged = |good: usize| {
        format!(
            "{} is damaged at byte {good} of {}: {} records before it are good, and acknowledged ones come after it. \
             Nothing was changed; --spool-salvage goes on with what is whole, see docs/spool.md",
            path.display(),
            bytes.len(),
            next - first
        )
    };
    let named = format::read_segment_header(bytes).map_or(true, |header| header.first == first);
    match end {
        End::Clean | End::Torn { .. } if !named => {
            Err(format!("{}: it has the name of another segment", path.display()))
        }
        End::Clean => Ok((next, bytes.len())),
        // What is torn was never acknowledged; but what a checkpoint tells of was.
        End::Torn { good } if known.is_none_or(|known| !known.has_synced_behind(next)) => Ok((next, good)),
        End::Torn { good } | End::Damaged { good } => Err(damaged(good)),
        End::OtherVersion(version) => Err(format!("{}: {}", path.display(), segment::other_version(version))),
    }
}

impl Inspected {
    /// How it is.
    pub(super) fn state(&self) -> &State {
        &self.state
    }

    /// Makes it ready to be used: cuts off what was being written when the last bridge ended, and removes what is done
    /// with. Returns how it is then, and what the checkpoint says.
    ///
    /// # Errors
    /// If the disk does not take that. It can be tried again then.
    pub(super) fn apply(self, disk: &Disk) -> Result<(State, checkpoint::Found), SpoolError> {
        let directory = self.directory.clone();
        self.change(disk).map_err(|error| SpoolError { directory, what: error.to_string() })
    }

    fn change(mut self, disk: &Disk) -> io::Result<(State, checkpoint::Found)> {
        disk.create_directory(&refused::directory(&self.directory))?;
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
            // The drainer removes what is done with, once it has written one.
            Err(error) => {
                self.done_with.drain(..).rev().for_each(|segment| self.state.segments.push_front(segment));
                let directory = self.directory.display();
                tracing::warn!(%directory, %error, "the spool's checkpoint cannot be written; it is tried again");
            }
        }
        for directory in [&self.directory, &refused::directory(&self.directory)] {
            for entry in fs::read_dir(directory)? {
                let path = entry?.path();
                // What was to take the place of a file when the last bridge ended.
                if path.to_string_lossy().ends_with(disk::NEW) {
                    disk.remove(&path)?;
                }
            }
        }
        Ok((self.state, self.checkpoint))
    }

    /// What can be read back need not be durable: the last bridge may have ended between writing and syncing, or after a
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
        let checkpoint = Checkpoint::of(&self.state);
        if self.checkpoint == checkpoint::Found::Known(checkpoint) {
            return Ok(());
        }
        let mut written = checkpoint::write(disk, &self.directory, &checkpoint);
        if written.is_err() {
            let older = self.done_with.len().saturating_sub(usize::from(self.state.segments.is_empty()));
            for segment in self.done_with.iter_mut().take(older) {
                let file = fs::File::options().write(true).open(&segment.path)?;
                if file.metadata()?.len() > SEGMENT_HEADER as u64 {
                    disk.truncate(&file, SEGMENT_HEADER as u64)?;
                }
                segment.len = SEGMENT_HEADER as u64;
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
                "the spool ends with something that was being written when the bridge ended, and that nobody was told of; it \
                 is cut off"
            ),
            Err(error) => tracing::warn!(
                %path, bytes, %error,
                "the spool ends with something that was being written when the bridge ended, and that nobody was told of; it \
                 is cut off, and could not be kept"
            ),
        }
    }
}
