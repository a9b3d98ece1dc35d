//! The log on a disk that tests can have fail.

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use super::*;
use crate::checkpoint::Checkpoint;
use crate::frame::SEGMENT_HEADER;

mod crashes;
mod dead;
mod not_files;
mod salvaging;

/// A directory that goes with the test.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("segment-log-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const SEGMENT_BYTES: u64 = 1_400;

/// A log in use, by one thread.
struct Used {
    log: Log,
    writer: RefCell<Writer>,
    reader: RefCell<Reader>,
}

/// What a start has found.
#[derive(Debug)]
struct Recovered {
    payloads: Vec<Vec<u8>>,
    records: u64,
}

fn inspected(directory: &Path) -> Result<Inspected, LogError> {
    inspect(directory, &mut |_| true)
}

fn open_sized(directory: &Path, disk: &Disk, segment_bytes: u64) -> Result<(Used, Recovered), LogError> {
    let mut payloads = Vec::new();
    let inspected = inspect(directory, &mut |visited| {
        if let Visited::Record { payload, .. } = visited {
            payloads.push(payload.to_vec());
        }
        true
    })?;
    let log = inspected.open(disk, segment_bytes)?;
    let records = log.lock().records();
    let (writer, reader) = (RefCell::new(Writer::new(log.clone())), RefCell::new(Reader::new(log.clone())));
    Ok((Used { log, writer, reader }, Recovered { payloads, records }))
}

fn open_with(directory: &Directory, disk: &Disk) -> Result<(Used, Recovered), LogError> {
    open_sized(&directory.0, disk, SEGMENT_BYTES)
}

fn open(directory: &Directory) -> (Used, Recovered) {
    open_with(directory, &Disk::default()).unwrap()
}

fn error(directory: &Directory) -> String {
    open_with(directory, &Disk::default()).err().unwrap().to_string()
}

/// What becomes of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Durable,
    Nowhere,
    Perhaps,
}

fn append(log: &Used, value: &[u8]) -> Outcome {
    match log.writer.borrow_mut().append([UnsealedFrame::of(value)].iter()) {
        Ok(_) => Outcome::Durable,
        Err(NotAppended { may_be_found, .. }) if may_be_found => Outcome::Perhaps,
        Err(_) => Outcome::Nowhere,
    }
}

/// Reads all that there is, is done with it, and writes the checkpoint if the disk takes it.
fn drain(log: &Used) -> io::Result<()> {
    let mut reader = log.reader.borrow_mut();
    while let Some(record) = reader.next().unwrap() {
        reader.done_up_to(record.sequence);
    }
    reader.write_checkpoint()
}

/// Ends the use of a log in good order.
fn stop(log: &Used) {
    let _ = log.reader.borrow_mut().write_checkpoint();
}

/// A checkpoint by which all records up to this number are done with.
fn write_checkpoint(directory: &Directory, done: u64) {
    let checkpoint = Checkpoint { done, next: done + 1, newest: None };
    checkpoint::write(&Disk::default(), &directory.0, &checkpoint).unwrap();
}

/// The checkpoint as it was when the newest segment was begun: nothing was drained and the writer was killed.
fn as_if_killed(directory: &Directory) {
    let newest = segment::list(&directory.0).unwrap().last().map(|(first, _)| *first);
    let checkpoint = Checkpoint { done: 0, next: newest.unwrap_or(1), newest };
    checkpoint::write(&Disk::default(), &directory.0, &checkpoint).unwrap();
}

/// All records on disk, in order.
fn values(directory: &Directory) -> Vec<Vec<u8>> {
    let mut values = Vec::new();
    for (_, path) in segment::list(&directory.0).unwrap() {
        let bytes = fs::read(path).unwrap();
        segment::scan(&bytes, true, |record| {
            values.push(record.frame.payload.to_vec());
            Ok::<_, ()>(())
        })
        .unwrap();
    }
    values
}

fn paths(directory: &Directory) -> Vec<PathBuf> {
    segment::list(&directory.0).unwrap().into_iter().map(|(_, path)| path).collect()
}

/// What is logged while a log is looked at.
fn logged(directory: &Directory) -> String {
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);
    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let written = Written::default();
    let writer = written.clone();
    let log = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
    tracing::subscriber::with_default(log, || {
        inspected(&directory.0).unwrap();
    });
    let bytes = written.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn a_torn_tail_is_cut_off_and_the_rest_goes_on() {
    let directory = Directory::new("torn");
    let (log, _) = open(&directory);
    for value in [b"1", b"2"] {
        assert_eq!(append(&log, value), Outcome::Durable);
    }
    stop(&log);
    let path = paths(&directory).pop().unwrap();
    let whole = fs::read(&path).unwrap();
    let (last, _) = {
        let mut ends = Vec::new();
        segment::scan(&whole, true, |record| {
            ends.push(record.offset);
            Ok::<_, ()>(())
        })
        .unwrap();
        (ends.pop().unwrap(), ())
    };
    for len in [last + 1, last + 13, whole.len() - 1] {
        fs::write(&path, &whole[..len]).unwrap();
        as_if_killed(&directory);
        let (log, recovered) = open(&directory);
        assert_eq!(recovered.records, 1);
        // What was cut off is beside it.
        assert_eq!(fs::read(path.with_extension("torn")).unwrap(), whole[last..len]);
        assert_eq!(append(&log, b"3"), Outcome::Durable);
        stop(&log);
        assert_eq!(values(&directory), [b"1", b"3"]);
        assert_eq!(fs::metadata(&path).unwrap().len(), last as u64);
        fs::remove_file(paths(&directory).pop().unwrap()).unwrap();
    }
    // Nothing but a torn header.
    fs::write(&path, &whole[..7]).unwrap();
    as_if_killed(&directory);
    let (log, recovered) = open(&directory);
    assert_eq!(recovered.records, 0);
    assert_eq!(append(&log, b"4"), Outcome::Durable);
    stop(&log);
    assert_eq!(values(&directory), [b"4"]);
}

#[test]
fn damage_is_told_and_nothing_is_touched() {
    let directory = Directory::new("damage");
    let (log, _) = open(&directory);
    for number in 0..40_u8 {
        assert_eq!(append(&log, &[number; 100]), Outcome::Durable);
    }
    stop(&log);
    let files = paths(&directory);
    assert!(files.len() > 2);
    let contents: Vec<_> = files.iter().map(|path| fs::read(path).unwrap()).collect();
    // In the middle of the first, of the last, and at the end of the first.
    let last = files.len() - 1;
    for (file, at) in [(0, 300), (last, 30), (0, contents[0].len() - 1)] {
        let mut damaged = contents[file].clone();
        damaged[at] ^= 1;
        fs::write(&files[file], &damaged).unwrap();
        let error = open_with(&directory, &Disk::default()).err().unwrap().to_string();
        assert!(
            error.contains("is damaged at byte") && error.contains(files[file].to_str().unwrap()),
            "{error}"
        );
        assert_eq!(fs::read(&files[file]).unwrap(), damaged);
        fs::write(&files[file], &contents[file]).unwrap();
    }
    // A file in the middle is gone, or has another's name.
    fs::remove_file(&files[1]).unwrap();
    let error = open_with(&directory, &Disk::default()).err().unwrap().to_string();
    assert!(error.contains("are missing"), "{error}");
    fs::write(&files[1], &contents[0]).unwrap();
    let error = open_with(&directory, &Disk::default()).err().unwrap().to_string();
    assert!(error.contains("wanted record"), "{error}");
    fs::write(&files[1], &contents[1]).unwrap();
    assert_eq!(open(&directory).1.records, 40);
}

#[test]
fn a_file_of_another_version_is_refused_by_name() {
    let directory = Directory::new("version");
    for inner in [directory.0.clone(), dead_letters::directory(&directory.0)] {
        fs::create_dir_all(&inner).unwrap();
        let path = segment::path(&inner, 1);
        fs::write(&path, b"WGSPOOL\x01\x01\0\0\0\0\0\0\0abcd").unwrap();
        let error = open_with(&directory, &Disk::default()).err().unwrap().to_string();
        assert!(
            error.contains(path.to_str().unwrap())
                && error.contains("version 1 of the format, and this program reads version 2"),
            "{error}"
        );
        fs::remove_file(&path).unwrap();
    }
}

/// A caller who sends what looks like records on disk, and a writer that ends in the middle of it.
#[test]
fn a_value_that_looks_like_a_segment_does_no_harm() {
    let directory = Directory::new("inner");
    let (log, _) = open(&directory);
    for value in [b"1", b"2", b"3"] {
        assert_eq!(append(&log, value), Outcome::Durable);
    }
    stop(&log);
    let inner = fs::read(paths(&directory).pop().unwrap()).unwrap();
    let (log, _) = open(&directory);
    assert_eq!(append(&log, &inner), Outcome::Durable);
    stop(&log);
    let path = paths(&directory).pop().unwrap();
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    as_if_killed(&directory);
    let (log, recovered) = open(&directory);
    assert_eq!(recovered.records, 3);
    stop(&log);
}

#[test]
fn a_checkpoint_that_cannot_be_read_loses_nothing() {
    let directory = Directory::new("checkpoint");
    let (log, _) = open(&directory);
    for value in [b"1", b"2", b"3"] {
        assert_eq!(append(&log, value), Outcome::Durable);
    }
    stop(&log);
    write_checkpoint(&directory, 2);
    let (log, recovered) = open(&directory);
    // What is done with is still recognised.
    assert_eq!((recovered.records, recovered.payloads.len()), (1, 3));
    stop(&log);
    fs::write(checkpoint::path(&directory.0), b"WGDONE").unwrap();
    let (log, recovered) = open(&directory);
    assert_eq!(recovered.records, 3);
    stop(&log);
    // All of it is done with, and the numbers go on.
    write_checkpoint(&directory, 3);
    let (log, recovered) = open(&directory);
    assert_eq!((recovered.records, paths(&directory).len()), (0, 0));
    assert_eq!(append(&log, b"4"), Outcome::Durable);
    stop(&log);
    assert_eq!(paths(&directory), [segment::path(&directory.0, 4)]);
    assert_eq!(open(&directory).1.records, 1);
}

#[test]
fn a_segment_whose_sync_failed_is_written_anew_and_never_appended_to() {
    let directory = Directory::new("sync");
    let disk = Disk::default();
    let (log, _) = open_with(&directory, &disk).unwrap();
    assert_eq!(append(&log, b"1"), Outcome::Durable);
    let first = segment::path(&directory.0, 1);
    let before = std::os::unix::fs::MetadataExt::ino(&fs::metadata(&first).unwrap());
    disk.faults.syncs.store(0, Ordering::SeqCst);
    assert_eq!(append(&log, b"no"), Outcome::Nowhere);
    assert_ne!(std::os::unix::fs::MetadataExt::ino(&fs::metadata(&first).unwrap()), before);
    assert_eq!(append(&log, b"2"), Outcome::Durable);
    stop(&log);
    assert_eq!(values(&directory), [b"1", b"2"]);
    assert_eq!(paths(&directory), [first, segment::path(&directory.0, 2)]);
    assert_eq!(open(&directory).1.records, 2);
}

#[test]
fn what_is_found_again_counts_only_once_it_is_durable() {
    let directory = Directory::new("found-again");
    let (log, _) = open(&directory);
    assert_eq!(append(&log, b"a"), Outcome::Durable);
    stop(&log);
    // Nothing but a sync shows that the last writer came to its own.
    let path = paths(&directory).pop().unwrap();
    let before = fs::metadata(&path).unwrap();
    let disk = Disk::default();
    // The directory's succeeds, that of the records does not.
    disk.faults.syncs.store(1, Ordering::SeqCst);
    assert!(open_with(&directory, &disk).is_err());
    let (log, recovered) = open(&directory);
    assert_eq!(recovered.records, 1);
    stop(&log);
    let after = fs::metadata(&path).unwrap();
    assert_ne!(
        std::os::unix::fs::MetadataExt::ino(&before),
        std::os::unix::fs::MetadataExt::ino(&after),
        "the same pages may be clean without being written"
    );
}

#[test]
fn nobody_else_may_read_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = Directory::new("private");
    let logs = directory.0.join("logs");
    let lock = DirectoryLock::take(&logs).unwrap();
    let inner = Directory(logs.join("c"));
    let (log, _) = open(&inner);
    assert_eq!(append(&log, b"a"), Outcome::Durable);
    stop(&log);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&logs), mode(&inner.0)), (0o700, 0o700));
    for file in paths(&inner).iter().chain([&logs.join("lock")]) {
        assert_eq!(mode(file), 0o600, "{}", file.display());
    }
    drop(lock);
}

#[test]
fn what_is_done_with_and_left_behind_is_removed() {
    let directory = Directory::new("left-behind");
    let (log, _) = open(&directory);
    for _ in 0..40 {
        assert_eq!(append(&log, &[b'a'; 200]), Outcome::Durable);
    }
    stop(&log);
    let segments = segment::list(&directory.0).unwrap();
    let (last, _) = segments.last().unwrap();
    assert!(segments.len() > 3, "{}", segments.len());
    // The second cannot be missed: all before the last is in Kafka.
    fs::remove_file(&segments[1].1).unwrap();
    write_checkpoint(&directory, *last);
    let (log, recovered) = open(&directory);
    stop(&log);
    assert!(recovered.records > 0);
    let left = segment::list(&directory.0).unwrap();
    assert_eq!(left.first().map(|(first, _)| first), Some(last));
}

#[test]
fn a_missing_oldest_or_newest_segment_is_noticed() {
    let directory = Directory::new("missing");
    let (log, _) = open(&directory);
    for number in 0..40_u8 {
        assert_eq!(append(&log, &[number; 200]), Outcome::Durable);
    }
    stop(&log);
    let files = paths(&directory);
    assert!(files.len() > 2);
    let checkpoint = fs::read(checkpoint::path(&directory.0)).unwrap();
    let (oldest, newest) = (files.first().unwrap(), files.last().unwrap());
    for killed in [false, true] {
        if killed {
            as_if_killed(&directory);
        }
        for (path, wanted) in
            [(oldest, "are missing: the oldest file is"), (newest, "is missing; put it back")]
        {
            let away = path.with_extension("away");
            fs::rename(path, &away).unwrap();
            let error = error(&directory);
            assert!(error.contains(wanted), "{killed}: {error}");
            fs::rename(&away, path).unwrap();
        }
    }
    // All of them, with what tells of them.
    for path in &files {
        fs::rename(path, path.with_extension("away")).unwrap();
    }
    assert!(error(&directory).contains("is missing; put it back"));
    for path in &files {
        fs::rename(path.with_extension("away"), path).unwrap();
    }
    fs::write(checkpoint::path(&directory.0), checkpoint).unwrap();
    assert_eq!(open(&directory).1.records, 40);
}

#[test]
fn after_a_good_end_damage_to_the_last_record_is_noticed() {
    let directory = Directory::new("good-end");
    let (log, _) = open(&directory);
    for value in [b"1", b"2"] {
        assert_eq!(append(&log, value), Outcome::Durable);
    }
    stop(&log);
    let path = paths(&directory).pop().unwrap();
    let whole = fs::read(&path).unwrap();
    let mut flipped = whole.clone();
    *flipped.last_mut().unwrap() ^= 1;
    for damaged in [&flipped[..], &whole[..whole.len() - 1]] {
        fs::write(&path, damaged).unwrap();
        let error = error(&directory);
        assert!(error.contains("is damaged at byte"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), damaged);
        let mut told = Vec::new();
        check(&directory.0, &|_| true, &mut told).unwrap().unwrap_err();
        let told = String::from_utf8(told).unwrap();
        assert!(told.contains(&format!("{}: damaged at byte", path.display())), "{told}");
        assert!(!told.contains(": good"), "{told}");
    }
    // The last is gone as if it had never been.
    let len = usize::try_from(fs::metadata(&path).unwrap().len()).unwrap();
    let last = (0..len)
        .rev()
        .find(|len| segment::scan(&whole[..*len], true, |_| Ok::<_, ()>(())).unwrap() == segment::End::Clean);
    fs::write(&path, &whole[..last.unwrap()]).unwrap();
    let text = error(&directory);
    assert!(text.contains("records 2 to 2 are missing, which had been synced"), "{text}");
    // What was done with is missed by nobody.
    write_checkpoint(&directory, 2);
    assert_eq!(open(&directory).1.records, 0);
}

#[test]
fn only_the_last_that_was_cut_off_is_kept() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = Directory::new("kept");
    let mut kept = Vec::new();
    for _ in 0..2 {
        let (log, _) = open(&directory);
        assert_eq!(append(&log, b"1"), Outcome::Durable);
        stop(&log);
        as_if_killed(&directory);
        let path = paths(&directory).pop().unwrap();
        let mut bytes = fs::read(&path).unwrap();
        bytes.extend(b"torn");
        fs::write(&path, bytes).unwrap();
        kept.push(path.with_extension("torn"));
    }
    let unfinished = directory.0.join("checkpoint.new");
    fs::write(&unfinished, b"half").unwrap();
    assert_eq!(open(&directory).1.records, 2);
    assert!(!kept[0].exists() && !unfinished.exists());
    assert_eq!(fs::read(&kept[1]).unwrap(), b"torn");
    assert_eq!(fs::metadata(&kept[1]).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn the_names_of_new_directories_are_durable() {
    let directory = Directory::new("names");
    let disk = Disk::default();
    let inner = directory.0.join("a/b/c");
    disk.create_directory(&inner).unwrap();
    let synced = std::mem::take(&mut *disk.faults.synced_directories.lock().unwrap());
    assert_eq!(synced, [directory.0.clone(), directory.0.join("a"), directory.0.join("a/b")]);
    disk.create_directory(&inner).unwrap();
    assert!(disk.faults.synced_directories.lock().unwrap().is_empty());
}

#[test]
fn a_checkpoint_that_cannot_be_read_is_told_of_whatever_there_is() {
    let directory = Directory::new("checkpoint-told");
    let warning = "checkpoint cannot be read";
    assert!(!logged(&directory).contains(warning));
    let checkpoint = checkpoint::path(&directory.0);
    fs::write(&checkpoint, b"garbage").unwrap();
    assert!(logged(&directory).contains(warning));
    fs::remove_file(&checkpoint).unwrap();
    let (log, _) = open(&directory);
    assert_eq!(append(&log, b"1"), Outcome::Durable);
    stop(&log);
    assert!(!logged(&directory).contains(warning));
    fs::remove_file(&checkpoint).unwrap();
    assert!(logged(&directory).contains(warning));
}

#[test]
fn a_disk_that_is_full_loses_nothing_and_is_used_again_once_there_is_room() {
    let directory = Directory::new("full");
    let disk = Disk::default();
    let (log, _) = open_with(&directory, &disk).unwrap();
    assert_eq!(append(&log, b"1"), Outcome::Durable);
    // Room for a part of it.
    for room in [0, 5, 30] {
        disk.faults.room.store(room, Ordering::SeqCst);
        assert_eq!(append(&log, b"no"), Outcome::Nowhere, "{room}");
        // Nor is there any for another segment.
        assert_eq!(append(&log, b"no"), Outcome::Nowhere, "{room}");
    }
    disk.faults.room.store(usize::MAX, Ordering::SeqCst);
    assert_eq!(append(&log, b"2"), Outcome::Durable);
    stop(&log);
    assert_eq!(values(&directory), [b"1", b"2"]);
    assert_eq!(open(&directory).1.records, 2);
}

#[test]
fn what_cannot_be_cut_off_is_not_said_to_be_gone() {
    let directory = Directory::new("unknown");
    let disk = Disk::default();
    let (log, _) = open_with(&directory, &disk).unwrap();
    assert_eq!(append(&log, b"1"), Outcome::Durable);
    disk.faults.truncation_fails.store(true, Ordering::SeqCst);
    disk.faults.syncs.store(0, Ordering::SeqCst);
    assert_eq!(append(&log, b"perhaps"), Outcome::Perhaps);
    // Not tried, so it is nowhere.
    assert_eq!(append(&log, b"no"), Outcome::Nowhere);
    disk.faults.truncation_fails.store(false, Ordering::SeqCst);
    assert_eq!(append(&log, b"2"), Outcome::Durable);
    stop(&log);
    assert_eq!(values(&directory), [b"1", b"2"]);
}

#[test]
fn what_is_acknowledged_is_there_after_a_start_in_its_order() {
    let directory = Directory::new("order");
    let mut wanted = Vec::new();
    for start in 0..3_u8 {
        let (log, recovered) = open(&directory);
        assert_eq!(recovered.payloads, wanted);
        assert_eq!(recovered.records, wanted.len() as u64);
        for number in 0..20 {
            wanted.push(vec![start * 20 + number; 100]);
            assert_eq!(append(&log, wanted.last().unwrap()), Outcome::Durable);
        }
        stop(&log);
        assert_eq!(values(&directory), wanted);
    }
    // Each start begins a segment.
    assert!(paths(&directory).len() >= 3, "{:?}", paths(&directory));
}

/// As the first program with this format wrote it, byte by byte.
#[test]
fn a_log_of_format_2_opens() {
    let directory = Directory::new("golden");
    let bytes = |hex: &str| -> Vec<u8> {
        hex.as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    };
    let header = "574753504f4f4c0205000000000000003031323334353637383961626364656664fdabac";
    let frame = "303132333435363738396162636465662a000000e4d6a969050000000000000014000000000000000001000000\
                 00000000ffffffffffffffff05000000746f706963";
    let checkpoint = "5747444f4e450002040000000000000006000000000000000500000000000000";
    fs::write(segment::path(&directory.0, 5), bytes(&[header, frame].concat())).unwrap();
    let mut checkpoint = bytes(checkpoint);
    checkpoint.extend(crc32c::crc32c(&checkpoint).to_le_bytes());
    fs::write(checkpoint::path(&directory.0), checkpoint).unwrap();
    let (log, recovered) = open(&directory);
    assert_eq!(recovered.records, 1);
    let record = log.reader.borrow_mut().next().unwrap().unwrap();
    assert_eq!((record.sequence, record.payload()), (5, &recovered.payloads[0][..]));
    assert!(record.payload().ends_with(b"\x05\0\0\0topic"));
    assert_eq!(append(&log, b"next"), Outcome::Durable);
    assert_eq!(paths(&directory).last(), Some(&segment::path(&directory.0, 6)));
}
