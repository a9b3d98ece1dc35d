//! What is there after the bridge was killed at any moment, or the disk was full.

use super::*;

/// The bridge is killed before each single thing that it does on its disk, while it spools, drains, ends and starts: a start
/// finds all that was acknowledged and not drained, and takes none of it for damage.
#[test]
fn no_moment_is_bad_to_be_killed_at() {
    use std::sync::atomic::AtomicU64;
    let broker = crate::embedded::EmbeddedBroker::start().unwrap();
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
    let limits = Limits { segment_bytes: 600, ..LIMITS };
    for (round, drains) in [false, true, true, false, true].into_iter().enumerate() {
        let servers = if drains { broker.bootstrap_servers() } else { "127.0.0.1:1".to_owned() };
        let (spool, _) = open_at(&servers, &directory.0, &disk, limits).unwrap();
        for number in 0..12 {
            // Now and then the disk is full, and what is written of a record is cut off again.
            if number % 5 == 4 {
                disk.faults.room.store(number, Ordering::SeqCst);
                let failed = outcome(append(&spool, &[b'x'; 100]));
                disk.faults.room.store(usize::MAX, Ordering::SeqCst);
                assert_eq!(failed, Outcome::Unavailable, "{round}");
            }
            // Or a sync fails, which may be that of a checkpoint.
            if number % 5 == 2 {
                disk.faults.syncs.store(0, Ordering::SeqCst);
                if outcome(append(&spool, &[b's'; 100])) == SPOOLED {
                    acknowledged.fetch_add(1, Ordering::SeqCst);
                }
                disk.faults.syncs.store(usize::MAX, Ordering::SeqCst);
            }
            assert_eq!(outcome(append(&spool, &[b'a'; 100])), SPOOLED);
            acknowledged.fetch_add(1, Ordering::SeqCst);
        }
        let deadline = Instant::now() + Duration::from_secs(30);
        while drains && spool.shared.lock().records() > 0 {
            assert!(Instant::now() < deadline, "not drained in time");
            std::thread::sleep(Duration::from_millis(10));
        }
        stop(&spool);
    }
    *disk.faults.watcher.lock().unwrap() = None;
    let copies = std::mem::take(&mut *copies.lock().unwrap());
    let mut segments = Vec::new();
    for (copy, acknowledged) in &copies {
        let (state, _) = recover::inspect(copy, now_millis(), &mut |_, _| {})
            .and_then(|inspected| inspected.apply(&Disk::default()))
            .unwrap_or_else(|error| panic!("{error}"));
        assert!(state.next > *acknowledged, "{}: {state:?}, {acknowledged}", copy.display());
        let held: u64 = state.segments.iter().map(|segment| segment.next - segment.first).sum();
        assert!(held >= state.records(), "{}: {state:?}", copy.display());
        segments.push(state.segments.len());
        // And once more.
        let again = recover::inspect(copy, now_millis(), &mut |_, _| {}).unwrap();
        assert_eq!((again.state().done, again.state().next), (state.done, state.next));
    }
    // There were many moments, with a lot on disk, and with nothing.
    assert!(copies.len() > 300, "{}", copies.len());
    assert!(segments.iter().any(|count| *count > 5) && segments.contains(&0), "{segments:?}");
}

/// Room for what is done with, on a disk that has none for a checkpoint.
#[test]
fn a_full_disk_gets_room_from_what_is_done_with() {
    let broker = crate::embedded::EmbeddedBroker::start().unwrap();
    let directory = Directory::new("no-checkpoint");
    let (spool, _) = open(&directory);
    for _ in 0..40 {
        assert_eq!(outcome(append(&spool, &[b'a'; 200])), SPOOLED);
    }
    stop(&spool);
    let before = paths(&directory).len();
    assert!(before > 3);
    let disk = Disk::default();
    let (spool, _) = open_at(&broker.bootstrap_servers(), &directory.0, &disk, LIMITS).unwrap();
    disk.faults.room.store(0, Ordering::SeqCst);
    let deadline = Instant::now() + Duration::from_secs(30);
    let lengths =
        || -> Vec<u64> { paths(&directory).iter().map(|path| fs::metadata(path).unwrap().len()).collect() };
    let header = format::SEGMENT_HEADER as u64;
    while spool.shared.lock().records() > 0 || lengths().iter().filter(|len| **len > header).count() > 1 {
        assert!(Instant::now() < deadline, "{:?}", lengths());
        std::thread::sleep(Duration::from_millis(10));
    }
    stop(&spool);
    // Killed here, a start knows what they were.
    assert_eq!(paths(&directory).len(), before);
    let inspected = recover::inspect(&directory.0, now_millis(), &mut |_, _| {}).unwrap();
    assert_eq!(inspected.state().next, 41);
    let (spool, _) = open_at(&broker.bootstrap_servers(), &directory.0, &Disk::default(), LIMITS).unwrap();
    stop(&spool);
}

/// A bridge that is started on a disk without any room drains what is there.
#[test]
fn a_full_disk_is_no_obstacle_for_a_start() {
    let broker = crate::embedded::EmbeddedBroker::start().unwrap();
    let directory = Directory::new("full-start");
    let (spool, _) = open(&directory);
    for _ in 0..40 {
        assert_eq!(outcome(append(&spool, &[b'a'; 200])), SPOOLED);
    }
    stop(&spool);
    let files = segment::list(&directory.0).unwrap();
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
        let (spool, recovered) = open_with(&directory, &full, LIMITS).unwrap();
        assert_eq!(recovered.records, 40 - drained);
        assert_eq!(outcome(append(&spool, b"no")), Outcome::Unavailable);
        stop(&spool);
        // Killed by then, it is the same once more.
        let state = recover::inspect(&directory.0, now_millis(), &mut |_, _| {}).unwrap();
        assert_eq!((state.state().records(), state.state().next), (40 - drained, 41), "{announced:?}");
    }
    assert!(
        !fs::read_dir(&directory.0)
            .unwrap()
            .any(|entry| { entry.unwrap().path().to_string_lossy().ends_with(disk::NEW) })
    );
    let (spool, _) = open_at(&broker.bootstrap_servers(), &directory.0, &Disk::default(), LIMITS).unwrap();
    assert_eq!(outcome(append(&spool, b"more")), SPOOLED);
    stop(&spool);
}

#[test]
fn what_a_start_on_a_full_disk_leaves_behind_is_removed_once_there_is_room() {
    let directory = Directory::new("full-left-behind");
    let (spool, _) = open(&directory);
    for _ in 0..40 {
        assert_eq!(outcome(append(&spool, &[b'a'; 200])), SPOOLED);
    }
    stop(&spool);
    let files = segment::list(&directory.0).unwrap();
    let newest = files.last().map(|(first, _)| *first);
    let checkpoint = Checkpoint { done: files[2].0 - 1, next: files[2].0, newest };
    checkpoint::write(&Disk::default(), &directory.0, &checkpoint).unwrap();
    let disk = Disk::default();
    disk.faults.room.store(0, Ordering::SeqCst);
    let (spool, recovered) = open_with(&directory, &disk, LIMITS).unwrap();
    assert_eq!(recovered.records, 40 - checkpoint.done);
    assert_eq!(segment::list(&directory.0).unwrap(), files);
    disk.faults.room.store(usize::MAX, Ordering::SeqCst);
    // Nothing is drained, and nothing is spooled.
    let deadline = Instant::now() + Duration::from_secs(30);
    while segment::list(&directory.0).unwrap() != files[2..] {
        assert!(Instant::now() < deadline, "{:?}", paths(&directory));
        std::thread::sleep(Duration::from_millis(10));
    }
    let known = Checkpoint { next: 41, ..checkpoint };
    assert_eq!(checkpoint::read(&directory.0).unwrap(), checkpoint::Found::Known(known));
    stop(&spool);
}
