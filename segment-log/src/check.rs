//! What there is to say of the files of a log, whatever state they are in.

use std::io::{self, Write};
use std::path::Path;

use crate::checkpoint::{self, Checkpoint};
use crate::segment::{self, End};
use crate::{LogError, dead_letters, files, recover};

/// Writes a line for each file of a log: how it is, what is in it, and what is wrong where; returns how many records are
/// not done with, or why the log would not open. Changes nothing. The caller has locked the directory.
///
/// # Errors
/// If it cannot be read, or `out` written.
pub fn check(
    directory: &Path,
    is_record: &dyn Fn(&[u8]) -> bool,
    out: &mut dyn Write,
) -> Result<Result<u64, LogError>, LogError> {
    let inspected = recover::inspect(directory, &mut |visited| is_record(visited.payload()));
    describe(directory, out).map_err(|error| LogError::of(directory, &error))?;
    Ok(inspected.map(|inspected| inspected.segments().records()))
}

fn describe(directory: &Path, out: &mut dyn Write) -> io::Result<()> {
    let path = checkpoint::path(directory);
    let checkpoint = checkpoint::read(directory)?;
    match checkpoint {
        checkpoint::Found::Known(Checkpoint { done, next, newest }) => {
            write!(
                out,
                "{}: records up to {done} are done with, those before {next} were synced",
                path.display()
            )?;
            match newest {
                Some(newest) => writeln!(out, ", the newest file is {newest:020}.segment"),
                None => writeln!(out),
            }
        }
        checkpoint::Found::Absent => writeln!(out, "{}: not there", path.display()),
        checkpoint::Found::Unreadable => writeln!(out, "{}: damaged", path.display()),
    }?;
    let dead_letters = dead_letters::directory(directory);
    for (directory, is_dead) in [(directory, false), (&dead_letters, true)] {
        let files = segment::list(directory)?;
        let newest = files.last().map(|(first, _)| *first);
        for (first, path) in files {
            let bytes = files::read(&path)?;
            let mut survey = segment::survey(&bytes, newest == Some(first));
            if let (checkpoint::Found::Known(known), End::Torn { good }) = (checkpoint, survey.end)
                && !is_dead
                && known.has_synced_behind(survey.numbers.map_or(first, |(_, last)| last + 1))
            {
                survey.end = End::Damaged { good };
            }
            writeln!(out, "{}: {}", path.display(), summary(&survey, bytes.len(), is_dead))?;
        }
    }
    Ok(())
}

fn summary(survey: &segment::Survey, len: usize, is_dead: bool) -> String {
    let records = match survey.numbers {
        None => "no record".to_owned(),
        // Dead letters are not in order.
        Some(_) if is_dead => format!("{} records", survey.records),
        Some((first, last)) => format!("records {first} to {last}"),
    };
    let behind = match survey.behind {
        0 => String::new(),
        count => format!(", {count} whole ones after it"),
    };
    match survey.end {
        End::Clean => format!("good, {records}, {len} bytes"),
        End::Torn { good } => format!(
            "good, {records}, {len} bytes, the last {} of which were being written when the log was used last{behind}",
            len.saturating_sub(good)
        ),
        End::Damaged { good } => format!("damaged at byte {good} of {len}: {records} before it{behind}"),
        End::OtherVersion(version) => segment::unknown_version(version),
    }
}
