//! What is there after the process was killed at any moment, or the disk was full.

use std::sync::atomic::{AtomicBool, AtomicU64};

use super::*;

/// Copies a directory.
pub(super) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        if path.is_dir() {
            copy(&path, &to);
        } else {
            fs::copy(&path, &to).unwrap();
        }
    }
}

/// Reads what there is, makes a dead letter of each seventh record, and is done with the rest, until it is told to stop and
/// nothing is left.
fn read_along(log: &Log, mut reader: Reader, stop: &AtomicBool) {
    let mut dead = dead_letters::Writer::new(log.directory(), 600, log.disk().clone());
    loop {
        let stopping = stop.load(Ordering::SeqCst);
        while let Some(record) = reader.next().unwrap() {
            let letter = [(record.sequence, UnsealedFrame::of(record.payload()))];
            if record.sequence % 7 == 0 && dead.append(&letter).is_err() {
                dead.append(&letter).unwrap();
            }
            reader.done_up_to(record.sequence);
            let _ = reader.write_checkpoint();
        }
        // Segments whose writer has gone on are released late.
        reader.done_up_to(0);
        let _ = reader.write_checkpoint();
        if stopping {
            return;
        }
        std::thread::yield_now();
    }
}

/// The process is killed before each single thing that it does on its disk, while it appends, reads, ends and starts: a start
/// finds all that was acknowledged and not done with, and takes none of it for damage.
#[test]
fn a_crash_at_any_step_loses_nothing_that_was_acknowledged() {
    let (directory, moments) = (Directory::new("moments"), Directory::new("moments-copies"));
    let acknowledged = Arc::new(AtomicU64::new(0));
    let copies = Arc::new(Mutex::new(Vec::new()));
    let disk = Disk::default();
    let watcher = {
        let (from, to) = (directory.0.clone(), moments.0.clone());
        let (acknowledged, copies) = (Arc::clone(&acknowledged), Arc::clone(&copies));
        move || {
            let mut copies = copies.lock().unwrap();
            let to = to.join(copies.len().to_string());
            copies.push((to.clone(), acknowledged.load(Ordering::SeqCst)));
            copy(&from, &to);
        }
    };
    *disk.faults.watcher.lock().unwrap() = Some(Box::new(watcher));
    for (round, drains) in [false, true, true, false, true].into_iter().enumerate() {
        let (log, _) = open_sized(&directory.0, &disk, 600).unwrap();
        let Used { log: shared, reader, .. } = &log;
        let (stopping, reader) = (AtomicBool::new(false), reader.replace(Reader::new(shared.clone())));
        std::thread::scope(|scope| {
            if drains {
                scope.spawn(|| read_along(shared, reader, &stopping));
            }
            let done = Done(&stopping);
            append_with_faults(&log.writer, &disk, round, &acknowledged);
            drop(done);
        });
        stop(&log);
        assert_eq!(log.log.lock().records() == 0, drains, "{round}");
    }
    *disk.faults.watcher.lock().unwrap() = None;
    let copies = std::mem::take(&mut *copies.lock().unwrap());
    let mut segments = Vec::new();
    for (copy, acknowledged) in &copies {
        let log = inspected(copy)
            .and_then(|inspected| inspected.open(&Disk::default(), 600))
            .unwrap_or_else(|error| panic!("{error}"));
        let state = log.lock().clone();
        assert!(state.next > *acknowledged, "{}: {state:?}, {acknowledged}", copy.display());
        let held: u64 = state.list.iter().map(|segment| segment.next - segment.first).sum();
        assert!(held >= state.records(), "{}: {state:?}", copy.display());
        segments.push(state.list.len());
        // And once more.
        let again = inspected(copy).unwrap();
        assert_eq!((again.segments().done, again.segments().next), (state.done, state.next));
    }
    // There were many moments, with a lot on disk, and with nothing.
    assert!(copies.len() > 300, "{}", copies.len());
    assert!(segments.iter().any(|count| *count > 5) && segments.contains(&0), "{segments:?}");
}

/// Says that it is time to stop, also where a test fails.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn append_with_faults(writer: &RefCell<Writer>, disk: &Disk, round: usize, acknowledged: &AtomicU64) {
    let append = |value: &[u8]| {
        let appended = writer.borrow_mut().append([UnsealedFrame::of(value)].iter());
        acknowledged.fetch_add(u64::from(appended.is_ok()), Ordering::SeqCst);
        appended
    };
    for number in 0..12 {
        // Now and then the disk is full, and what is written of a record is cut off again.
        if number % 5 == 4 {
            disk.faults.room.store(number, Ordering::SeqCst);
            let failed = append(&[b'x'; 100]);
            disk.faults.room.store(usize::MAX, Ordering::SeqCst);
            assert!(!failed.unwrap_err().may_be_found, "{round}");
        }
        // Or a sync fails, which may be that of a checkpoint.
        if number % 5 == 2 {
            disk.faults.syncs.store(0, Ordering::SeqCst);
            let _ = append(&[b's'; 100]);
            disk.faults.syncs.store(usize::MAX, Ordering::SeqCst);
        }
        append(&[b'a'; 100]).unwrap();
    }
}

/// A log of 40 records in several files.
fn forty(directory: &Directory) -> Vec<(u64, PathBuf)> {
    let (log, _) = open(directory);
    for _ in 0..40 {
        assert_eq!(append(&log, &[b'a'; 200]), Outcome::Durable);
    }
    stop(&log);
    let files = segment::list(&directory.0).unwrap();
    assert!(files.len() > 3, "{files:?}");
    files
}

/// Room for what is done with, on a disk that has none for a checkpoint.
#[test]
fn a_full_disk_gets_room_from_what_is_done_with() {
    let directory = Directory::new("no-checkpoint");
    let before = forty(&directory).len();
    let disk = Disk::default();
    let (log, _) = open_with(&directory, &disk).unwrap();
    disk.faults.room.store(0, Ordering::SeqCst);
    drain(&log).unwrap_err();
    let header = SEGMENT_HEADER as u64;
    let longer = paths(&directory).iter().filter(|path| fs::metadata(path).unwrap().len() > header).count();
    assert_eq!(longer, 1);
    // Killed here, a start knows what they were.
    assert_eq!(paths(&directory).len(), before);
    assert_eq!(inspected(&directory.0).unwrap().segments().next, 41);
    stop(&open(&directory).0);
}

/// A log that is opened on a disk without any room gives what is there.
#[test]
fn a_full_disk_is_no_obstacle_for_a_start() {
    let directory = Directory::new("full-start");
    let files = forty(&directory);
    as_if_killed(&directory);
    let newest = &files.last().unwrap().1;
    let mut bytes = fs::read(newest).unwrap();
    bytes.extend(b"torn");
    fs::write(newest, &bytes).unwrap();
    let full = Disk::default();
    full.faults.room.store(0, Ordering::SeqCst);
    for drained in [0, files[2].0 - 1, 40] {
        let announced = checkpoint::read(&directory.0).unwrap();
        if drained > 0 {
            let newest = files.last().map(|(first, _)| *first);
            let checkpoint = Checkpoint { done: drained, next: 41, newest };
            checkpoint::write(&Disk::default(), &directory.0, &checkpoint).unwrap();
        }
        let (log, recovered) = open_with(&directory, &full).unwrap();
        assert_eq!(recovered.records, 40 - drained);
        assert_eq!(append(&log, b"no"), Outcome::Nowhere);
        stop(&log);
        // Killed by then, it is the same once more.
        let state = inspected(&directory.0).unwrap();
        assert_eq!((state.segments().records(), state.segments().next), (40 - drained, 41), "{announced:?}");
    }
    let unfinished = |path: &Path| path.to_string_lossy().ends_with(disk::NEW);
    assert!(!fs::read_dir(&directory.0).unwrap().any(|entry| unfinished(&entry.unwrap().path())));
    let (log, _) = open(&directory);
    drain(&log).unwrap();
    assert_eq!(append(&log, b"more"), Outcome::Durable);
    stop(&log);
}

#[test]
fn what_a_start_on_a_full_disk_leaves_behind_is_removed_once_there_is_room() {
    let directory = Directory::new("full-left-behind");
    let files = forty(&directory);
    let newest = files.last().map(|(first, _)| *first);
    let checkpoint = Checkpoint { done: files[2].0 - 1, next: files[2].0, newest };
    checkpoint::write(&Disk::default(), &directory.0, &checkpoint).unwrap();
    let disk = Disk::default();
    disk.faults.room.store(0, Ordering::SeqCst);
    let (log, recovered) = open_with(&directory, &disk).unwrap();
    assert_eq!(recovered.records, 40 - checkpoint.done);
    assert_eq!(segment::list(&directory.0).unwrap(), files);
    disk.faults.room.store(usize::MAX, Ordering::SeqCst);
    // Nothing is read, and nothing is appended.
    assert!(log.reader.borrow_mut().done_up_to(0));
    log.reader.borrow_mut().write_checkpoint().unwrap();
    assert_eq!(segment::list(&directory.0).unwrap(), files[2..]);
    let known = Checkpoint { next: 41, ..checkpoint };
    assert_eq!(checkpoint::read(&directory.0).unwrap(), checkpoint::Found::Known(known));
}
