//! The way out of a log that is damaged: what can be read of it goes on, and what was there is kept.
//!
//! Records that are whole are written anew, with numbers above all that there were, into a directory `salvage`. The checkpoint
//! that is written there last is what makes them count: from then on a salvage that was interrupted goes on from there, and
//! the log does not open before it has. Only then are the files that were there moved away, and the new ones into their place.

use std::fs;
use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::checkpoint::{self, Checkpoint};
use crate::disk::Disk;
use crate::frame::{self, SEGMENT_HEADER, UnsealedFrame};
use crate::segment::{self, End, Open};
use crate::{LogError, dead_letters, files, recover};

/// Whether these are the bytes of a record, as far as the caller knows.
type IsRecord<'a> = dyn Fn(&[u8]) -> bool + 'a;

/// What became of a log.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Salvaged {
    /// Records that were not done with, as far as is known, and are in the log again.
    pub records: u64,
    /// The numbers of those that are not.
    pub missing: Vec<RangeInclusive<u64>>,
    /// A file that should have been there, and of which it is not known how many records it had.
    pub missing_file: Option<PathBuf>,
    /// Dead letters that were saved from files that were damaged.
    pub dead_letters: u64,
    /// Where the files are now that were there; `None` if nothing was wrong.
    pub kept: Option<PathBuf>,
}

/// Where what was damaged is kept, below the log's directory.
fn kept(directory: &Path) -> PathBuf {
    directory.join("damaged")
}

/// A directory there that nothing has been put into yet.
fn unused(kept: &Path, name: &str) -> PathBuf {
    let others = (2_u64..).map(|number| kept.join(format!("{name}-{number}")));
    let mut names = std::iter::once(kept.join(name)).chain(others);
    names.find(|path| !path.exists()).unwrap_or_else(|| kept.join(name))
}

/// Where it is written which of these is that of the salvage in a workshop.
fn destination(workshop: &Path) -> PathBuf {
    workshop.join("destination")
}

/// Where records are written anew.
fn workshop(directory: &Path) -> PathBuf {
    directory.join("salvage")
}

/// Whether a salvage was interrupted when the records that it saved counted already.
pub(crate) fn is_unfinished(directory: &Path) -> bool {
    checkpoint::path(&workshop(directory)).exists()
}

/// Makes of a damaged log one that opens, and deletes nothing. The caller has locked the directory.
/// `segment_bytes`: after how many bytes another file is begun.
///
/// # Errors
/// If that cannot be done. It can be tried again then: nothing is lost by it.
pub fn salvage(directory: &Path, segment_bytes: u64, is_record: &IsRecord<'_>) -> Result<Salvaged, LogError> {
    salvage_on(&Disk::default(), directory, segment_bytes, is_record)
}

/// [`salvage`], on this disk.
///
/// # Errors
/// As [`salvage`].
pub fn salvage_on(
    disk: &Disk,
    directory: &Path,
    segment_bytes: u64,
    is_record: &IsRecord<'_>,
) -> Result<Salvaged, LogError> {
    let failed = |error: io::Error| LogError::of(directory, &error);
    let mut done = Salvaged::default();
    if is_unfinished(directory) {
        let finished = finish(disk, directory).map_err(failed)?;
        (done.kept, done.records) = (Some(finished.0), finished.1);
    }
    if inspect(directory, is_record).is_ok() {
        return Ok(done);
    }
    save(disk, directory, segment_bytes, is_record, &mut done).map_err(failed)?;
    // Whatever it was has to be mended by now.
    inspect(directory, is_record).map(|_| done)
}

fn inspect(directory: &Path, is_record: &IsRecord<'_>) -> Result<recover::Inspected, LogError> {
    recover::inspect(directory, &mut |visited| is_record(visited.payload()))
}

fn save(
    disk: &Disk,
    directory: &Path,
    segment_bytes: u64,
    is_record: &IsRecord<'_>,
    done: &mut Salvaged,
) -> io::Result<()> {
    let known = match checkpoint::read(directory)? {
        checkpoint::Found::Known(known) => Some(known),
        checkpoint::Found::Absent | checkpoint::Found::Unreadable => None,
    };
    let files = files(directory)?;
    save_dead_letters(disk, directory, done)?;
    if inspect(directory, is_record).is_ok() {
        return Ok(());
    }
    // Which there are, before any is written: the new numbers come after all of them.
    let after = known.map_or(0, |known| known.done);
    let mut saved: Vec<RangeInclusive<u64>> = Vec::new();
    each_record(&files, after, is_record, |sequence, _| {
        match saved.last_mut() {
            Some(range) if *range.end() + 1 == sequence => *range = *range.start()..=sequence,
            _ => saved.push(sequence..=sequence),
        }
        Ok(())
    })?;
    let oldest = files.first().map_or(1, |(first, _)| *first);
    let first = known.map_or(oldest, |known| known.done + 1);
    let next = saved.last().map_or(first, |last| last.end() + 1).max(known.map_or(0, |known| known.next));
    done.missing = missing(&saved, first, next);
    done.missing_file = known
        .and_then(|known| known.newest)
        .map(|newest| segment::path(directory, newest))
        .filter(|path| !path.exists());
    let names = segment::list(directory)?.into_iter().map(|(name, _)| name);
    let names = names.chain(known.and_then(|known| known.newest)).map(|name| name.saturating_add(1));
    let first = names.fold(next, u64::max);
    if let Err(error) = write_anew(disk, directory, segment_bytes, (&files, after, is_record), first) {
        // The disk may be full, and nothing of it counts.
        let _ = clear(disk, &workshop(directory));
        return Err(error);
    }
    let (kept, records) = finish(disk, directory)?;
    (done.kept, done.records) = (Some(kept), records);
    Ok(())
}

/// The segments of a log by the numbers of their first records, in order, whatever their names are.
///
/// # Errors
/// If one is of another version of the format.
fn files(directory: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut files = segment::list(directory)?;
    for (first, path) in &mut files {
        match frame::read_segment_header(&files::read(&*path)?) {
            Ok(header) => *first = header.first,
            Err(frame::BadHeader::Damaged) => {}
            Err(frame::BadHeader::OtherVersion(version)) => {
                return Err(segment::other_version(path, version));
            }
        }
    }
    files.sort_unstable();
    Ok(files)
}

/// All whole records with numbers above `after`, in order, each once.
fn each_record(
    files: &[(u64, PathBuf)],
    after: u64,
    is_record: &IsRecord<'_>,
    mut each: impl FnMut(u64, &[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut last = after;
    for (_, path) in files {
        let bytes = files::read(path)?;
        for found in segment::whole_frames(&bytes, SEGMENT_HEADER) {
            if found.frame.sequence > last && is_record(found.frame.payload) {
                last = found.frame.sequence;
                each(last, found.frame.payload)?;
            }
        }
    }
    Ok(())
}

/// The numbers of `first..next` that are not among those that were saved.
fn missing(saved: &[RangeInclusive<u64>], first: u64, next: u64) -> Vec<RangeInclusive<u64>> {
    let (mut missing, mut wanted) = (Vec::new(), first);
    for range in saved {
        if *range.start() > wanted {
            missing.push(wanted..=range.start() - 1);
        }
        wanted = wanted.max(range.end() + 1);
    }
    if next > wanted {
        missing.push(wanted..=next - 1);
    }
    missing
}

/// Writes records anew, with numbers from `first` on, where [`finish`] finds them.
fn write_anew(
    disk: &Disk,
    directory: &Path,
    segment_bytes: u64,
    (files, after, is_record): (&[(u64, PathBuf)], u64, &IsRecord<'_>),
    first: u64,
) -> io::Result<()> {
    let workshop = workshop(directory);
    disk.create_directory(&workshop)?;
    clear(disk, &workshop)?;
    let (mut next, mut newest) = (first, None);
    let mut open: Option<Open> = None;
    each_record(files, after, is_record, |_, payload| {
        if let Some(full) = open.take_if(|open| open.len() >= segment_bytes) {
            full.sync(disk)?;
        }
        let open = match &mut open {
            Some(open) => open,
            None => {
                newest = Some(next);
                open.insert(Open::create(disk, &workshop, next)?)
            }
        };
        open.append_unsynced(disk, &UnsealedFrame::of(payload), next)?;
        next += 1;
        Ok(())
    })?;
    if let Some(open) = open {
        open.sync(disk)?;
    }
    // Chosen now, so that whoever goes on with it moves the rest to the same place.
    let kept = unused(&kept(directory), &first.to_string());
    let name = kept.file_name().unwrap_or_default();
    disk.replace(&destination(&workshop), name.as_encoded_bytes())?;
    checkpoint::write(disk, &workshop, &Checkpoint { done: first - 1, next, newest })
}

/// Removes what one left behind that was interrupted before it counted.
fn clear(disk: &Disk, workshop: &Path) -> io::Result<()> {
    if checkpoint::path(workshop).exists() {
        return Ok(());
    }
    for entry in fs::read_dir(workshop)? {
        disk.remove(&entry?.path())?;
    }
    Ok(())
}

/// Moves what was there away, and what was written anew into its place; returns where the former is now, and how many records
/// the latter has. Goes on where it was interrupted.
fn finish(disk: &Disk, directory: &Path) -> io::Result<(PathBuf, u64)> {
    let workshop = workshop(directory);
    let checkpoint::Found::Known(new) = checkpoint::read(&workshop)? else {
        let text = format!("{}: damaged; remove it to begin again", checkpoint::path(&workshop).display());
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    };
    let name = files::read(&destination(&workshop))
        .and_then(|name| String::from_utf8(name).map_err(io::Error::other))
        .map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}", destination(&workshop).display()))
        })?;
    let kept = kept(directory).join(&name);
    if kept.file_name().is_none_or(|last| last != name.as_str()) {
        let text = format!("{}: not the name of a directory", destination(&workshop).display());
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    disk.create_directory(&kept)?;
    let (old, name) = (checkpoint::path(directory), checkpoint::path(&kept));
    if old.exists() {
        disk.rename(&old, &name)?;
    }
    for (first, path) in segment::list(directory)? {
        if let Some(name) = path.file_name().filter(|_| first <= new.done) {
            disk.rename(&path, &kept.join(name))?;
        }
    }
    // Where they are is durable before they are missed.
    disk.sync_directory(&kept)?;
    for (_, path) in segment::list(&workshop)? {
        if let Some(name) = path.file_name() {
            disk.rename(&path, &directory.join(name))?;
        }
    }
    disk.sync_directory(directory)?;
    disk.rename(&checkpoint::path(&workshop), &checkpoint::path(directory))?;
    disk.sync_directory(directory)?;
    // It is of no use any more; one that stays does no harm.
    let _ = disk.remove(&destination(&workshop));
    let _ = fs::remove_dir(&workshop);
    Ok((kept, new.next - 1 - new.done))
}

/// Does the same for files of dead letters, each by itself: their numbers need not be in order.
fn save_dead_letters(disk: &Disk, directory: &Path, done: &mut Salvaged) -> io::Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let kept = unused(&kept(directory), &format!("refused-{now}"));
    let files = segment::list(&dead_letters::directory(directory))?;
    let newest = files.last().map(|(first, _)| *first);
    for (first, path) in files {
        let bytes = files::read(&path)?;
        match segment::survey(&bytes, newest == Some(first)).end {
            End::Clean | End::Torn { .. } => continue,
            End::Damaged { .. } => {}
            End::OtherVersion(version) => return Err(segment::other_version(&path, version)),
        }
        disk.create_directory(&kept)?;
        disk.replace(&segment::path(&kept, first), &bytes)?;
        let header = frame::Header { first, marker: frame::Marker::random()? };
        let mut anew = frame::segment_header(&header).to_vec();
        for found in segment::whole_frames(&bytes, SEGMENT_HEADER) {
            let frame = UnsealedFrame::of(found.frame.payload);
            frame.seal_into(&mut anew, header.marker, found.frame.sequence, SEGMENT_HEADER as u64);
            done.dead_letters += 1;
        }
        disk.replace(&path, &anew)?;
        done.kept = Some(kept.clone());
    }
    Ok(())
}
