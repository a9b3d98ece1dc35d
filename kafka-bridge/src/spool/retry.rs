//! What an operator does with records that Kafka refused: looks at them, and has them tried again.

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use wicketgate_envelope::octets::Octets;

use super::checkpoint::{self, Checkpoint};
use super::clock::now_millis;
use super::disk::Disk;
use super::format::{self, Entry};
use super::segment::Open;
use super::{SpoolError, recover, refused};

/// A record, for people and programs.
#[derive(Serialize)]
struct Shown<'a> {
    reason: Option<&'a str>,
    spooled_at: String,
    topic: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    partition: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    key: Option<Octets<'a>>,
    headers: Vec<(&'a str, Octets<'a>)>,
    value: Option<Octets<'a>>,
}

/// Writes each record that Kafka refused as a line of JSON; returns how many there are.
///
/// # Errors
/// If the spool cannot be read, or `out` written.
pub fn list_refused(directory: &Path, out: &mut dyn Write) -> Result<u64, SpoolError> {
    let failed = |error: io::Error| SpoolError { directory: directory.to_owned(), what: error.to_string() };
    let aside = refused::directory(directory);
    if !aside.exists() {
        return Ok(0);
    }
    let mut count = 0;
    for (path, newest) in refused::files(directory).map_err(failed)? {
        refused::each(&path, newest, |record| {
            let entry = Entry::decode(&record.frame)
                .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a record of a later version"))?;
            let at = wicketgate_envelope::timestamp::Timestamp::from_millis(
                i64::try_from(entry.spooled_at).unwrap_or(i64::MAX),
            );
            let shown = Shown {
                reason: entry.reason,
                spooled_at: at.to_string(),
                topic: entry.topic,
                partition: entry.partition,
                request_id: entry.request_id,
                key: entry.key.map(Octets::from),
                headers: entry.headers.into_iter().map(|(name, value)| (name, Octets::from(value))).collect(),
                value: entry.value.map(Octets::from),
            };
            serde_json::to_writer(&mut *out, &shown)?;
            count += 1;
            out.write_all(b"\n")
        })
        .map_err(failed)?;
    }
    Ok(count)
}

/// What became of the records that Kafka refused.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Retried {
    /// Records that are in the spool again.
    pub records: u64,
    /// Where a file is now that ends with something that is no whole record.
    pub torn: Option<PathBuf>,
}

impl fmt::Display for Retried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} records go to Kafka when the bridge is started", self.records)?;
        if let Some(torn) = &self.torn {
            write!(
                f,
                "; the newest file ended with something that is no whole record, which was being set aside when a bridge ended \
                 or was damaged since: the file is kept as {}",
                torn.display()
            )?;
        }
        Ok(())
    }
}

/// Puts all records that Kafka refused back into the spool, behind those that are there; returns what became of them. The caller has locked the directory.
///
/// # Errors
/// If that cannot be done. Each record is then still in one of the two places, or in both.
pub fn retry_refused(directory: &Path) -> Result<Retried, SpoolError> {
    let failed = |error: io::Error| SpoolError { directory: directory.to_owned(), what: error.to_string() };
    let disk = Disk::default();
    let (state, _) = recover::inspect(directory, now_millis(), &mut |_, _| {})?.apply(&disk)?;
    let (mut next, mut newest) = (state.next, None);
    let mut retried = Retried::default();
    for (path, last) in refused::files(directory).map_err(failed)? {
        let mut open: Option<Open> = None;
        let whole = refused::each(&path, last, |record| {
            let entry = Entry::decode(&record.frame)
                .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a record of a later version"))?;
            let mut frame = Entry { reason: None, ..entry }.encode();
            let open = match &mut open {
                Some(open) => open,
                None => {
                    newest = Some(next);
                    open.insert(Open::create(&disk, directory, next)?)
                }
            };
            // All of it becomes durable at once.
            format::seal(&mut frame, open.marker, next, format::SEGMENT_HEADER as u64);
            disk.write(&open.file, &frame, open.len)?;
            open.len += frame.len() as u64;
            next += 1;
            retried.records += 1;
            Ok(())
        })
        .map_err(failed)?;
        // A segment for each file, and one sync for all of it.
        if let Some(open) = open {
            disk.sync(&open.file).map_err(failed)?;
        }
        // They count from here on.
        let newest = newest.or(Checkpoint::of(&state).newest);
        checkpoint::write(&disk, directory, &Checkpoint { done: state.done, next, newest })
            .map_err(failed)?;
        if whole {
            fs::remove_file(&path).map_err(failed)?;
        } else {
            let torn = refused::torn_path(&path);
            disk.rename(&path, &torn).map_err(failed)?;
            retried.torn = Some(torn);
        }
    }
    disk.sync_directory(&refused::directory(directory)).map_err(failed)?;
    Ok(retried)
}
