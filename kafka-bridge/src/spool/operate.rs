//! What an operator does with a spool while no bridge runs with it: checks and salvages it, looks at dead letters, and has
//! them tried again or deletes them.

use std::fmt;
use std::io::{self, Write};
use std::ops::RangeInclusive;
use std::path::Path;

use segment_log::{Disk, dead_letters};
use serde::Serialize;
use wicketgate_envelope::octets::Octets;

use super::SpoolError;
use super::record::Entry;

fn is_record(payload: &[u8]) -> bool {
    Entry::decode(payload).is_some()
}

fn decode(payload: &[u8]) -> io::Result<Entry<'_>> {
    Entry::decode(payload)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a record of a later version"))
}

/// Writes a line for each file of a spool: how it is, what is in it, and what is wrong where; returns whether a bridge
/// would start with it. Changes nothing. The caller has locked the directory.
///
/// # Errors
/// If it cannot be read, or `out` written.
pub fn check(directory: &Path, out: &mut dyn Write) -> Result<bool, SpoolError> {
    let checked = segment_log::check(directory, &is_record, out)?.map_err(SpoolError::from);
    let conclusion = match &checked {
        Ok(records) => format!("good: {records} records are not in Kafka yet"),
        Err(error) => format!("a bridge does not start with it: {}", error.what),
    };
    writeln!(out, "{}: {conclusion}", directory.display())
        .map_err(|error| SpoolError::io(directory, &error))?;
    Ok(checked.is_ok())
}

/// What became of a damaged spool.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Salvaged(pub(super) segment_log::Salvaged);

/// Makes of a damaged spool one that a bridge starts with, and deletes nothing. The caller has locked the directory.
/// `segment_bytes`: after how many bytes another file is begun.
///
/// # Errors
/// If that cannot be done. It can be tried again then: nothing is lost by it.
pub fn salvage(directory: &Path, segment_bytes: u64) -> Result<Salvaged, SpoolError> {
    Ok(Salvaged(segment_log::salvage(directory, segment_bytes, &is_record)?))
}

impl fmt::Display for Salvaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(kept) = &self.0.kept else { return f.write_str("nothing is wrong with its spool") };
        write!(f, "{} records are saved, and go to Kafka when the bridge is started", self.0.records)?;
        for missing in &self.0.missing {
            match RangeInclusive::into_inner(missing.clone()) {
                (first, last) if first == last => write!(f, "; record {first} is missing")?,
                (first, last) => write!(f, "; records {first} to {last} are missing")?,
            }
        }
        if let Some(file) = &self.0.missing_file {
            write!(f, "; {} is missing, and nobody knows how many records it had", file.display())?;
        }
        if self.0.dead_letters > 0 {
            write!(f, "; {} records that Kafka had refused are saved as such", self.0.dead_letters)?;
        }
        write!(f, "; what was there is in {}", kept.display())
    }
}

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
    let failed = |error: io::Error| SpoolError::io(directory, &error);
    let mut count = 0;
    for (path, newest) in dead_letters::list(directory).map_err(failed)? {
        dead_letters::read(&path, newest, |record| {
            let entry = decode(record.frame.payload)?;
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
pub struct Retried(pub(super) dead_letters::PutBack);

impl fmt::Display for Retried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} records go to Kafka when the bridge is started", self.0.records)?;
        if let Some(torn) = &self.0.torn {
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

/// Puts all records that Kafka refused back into the spool, behind those that are there; returns what became of them. The
/// caller has locked the directory.
///
/// # Errors
/// If that cannot be done. Each record is then still in one of the two places, or in both.
pub fn retry_refused(directory: &Path) -> Result<Retried, SpoolError> {
    let log = segment_log::inspect(directory, &mut |visited| is_record(visited.payload()))?;
    let put_back = dead_letters::put_back(log, &Disk::default(), |payload| {
        Ok(Entry { reason: None, ..decode(payload)? }.encode())
    })?;
    Ok(Retried(put_back))
}

/// Deletes all records that Kafka refused; returns how many there were. The caller has locked the directory.
///
/// # Errors
/// If that cannot be done, such as because a file is damaged. All of it is read first, and nothing is deleted then.
pub fn drop_refused(directory: &Path) -> Result<u64, SpoolError> {
    let drop = || -> io::Result<u64> {
        let files = dead_letters::list(directory)?;
        let mut count = 0;
        for (path, newest) in &files {
            dead_letters::read(path, *newest, |_| {
                count += 1;
                Ok(())
            })?;
        }
        let disk = Disk::default();
        for (path, _) in &files {
            disk.remove(path)?;
        }
        if !files.is_empty() {
            disk.sync_directory(&dead_letters::directory(directory))?;
        }
        Ok(count)
    };
    drop().map_err(|error| SpoolError::io(directory, &error))
}
