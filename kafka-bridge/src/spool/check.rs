//! What an operator is told of the files of a spool, whatever state they are in.

use std::io::{self, Write};
use std::path::Path;

use super::checkpoint::{self, Checkpoint};
use super::clock::now_millis;
use super::segment::{self, End};
use super::{SpoolError, recover, refused};
use crate::files;

/// Writes a line for each file of a spool: how it is, what is in it, and what is wrong where; returns whether a bridge
/// would start with it. Changes nothing. The caller has locked the directory.
///
/// # Errors
/// If it cannot be read, or `out` written.
pub fn check(directory: &Path, out: &mut dyn Write) -> Result<bool, SpoolError> {
    let failed = |error: io::Error| SpoolError { directory: directory.to_owned(), what: error.to_string() };
    let inspected = recover::inspect(directory, now_millis(), &mut |_, _| {});
    describe(directory, out).map_err(failed)?;
    let conclusion = match &inspected {
        Ok(good) => format!("good: {} records are not in Kafka yet", good.state().records()),
        Err(error) => format!("a bridge does not start with it: {}", error.what),
    };
    writeln!(out, "{}: {conclusion}", directory.display()).map_err(failed)?;
    Ok(inspected.is_ok())
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
    let refused = refused::directory(directory);
    for (directory, are_refused) in [(directory, false), (&refused, true)] {
        let files = segment::list(directory)?;
        let newest = files.last().map(|(first, _)| *first);
        for (first, path) in files {
            let bytes = files::read(&path)?;
            let mut survey = segment::survey(&bytes, newest == Some(first));
            if let (checkpoint::Found::Known(known), End::Torn { good }) = (checkpoint, survey.end)
                && !are_refused
                && known.has_synced_behind(survey.numbers.map_or(first, |(_, last)| last + 1))
            {
                survey.end = End::Damaged { good };
            }
            writeln!(out, "{}: {}", path.display(), told(&survey, bytes.len(), are_refused))?;
        }
    }
    Ok(())
}

fn told(survey: &segment::Survey, len: usize, are_refused: bool) -> String {
    let records = match survey.numbers {
        None => "no record".to_owned(),
        // They are not in order where they were set aside.
        Some(_) if are_refused => format!("{} records", survey.records),
        Some((first, last)) => format!("records {first} to {last}"),
    };
    let behind = match survey.behind {
        0 => String::new(),
        count => format!(", {count} whole ones after it"),
    };
    match survey.end {
        End::Clean => format!("good, {records}, {len} bytes"),
        End::Torn { good } => format!(
            "good, {records}, {len} bytes, the last {} of which were being written when the bridge ended{behind}",
            len.saturating_sub(good)
        ),
        End::Damaged { good } => format!("damaged at byte {good} of {len}: {records} before it{behind}"),
        End::OtherVersion(version) => segment::other_version(version),
    }
}
