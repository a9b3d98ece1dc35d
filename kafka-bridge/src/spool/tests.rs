//! The spool on a disk that tests can have fail, with a Kafka that is not there.

use std::sync::atomic::Ordering;

use clap::Parser as _;

use super::*;
use crate::config::Config;

mod draining;

/// A directory that goes with the test.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("kafka-bridge-spool-{name}-{}", std::process::id()));
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

const LIMITS: Limits =
    Limits { bytes: 1 << 20, age: Duration::from_secs(3600), segment_bytes: 2_000, record_bytes: 100_000 };

/// A spool whose Kafka cannot be reached.
fn open_with(directory: &Directory, disk: &Disk, limits: Limits) -> Result<(Spool, Recovered), SpoolError> {
    let config = Config::try_parse_from(["kafka-bridge", "--embedded-broker"]).unwrap();
    let drain = DrainSettings::new(&config, &config.default_cluster("127.0.0.1:1"));
    let metrics = Arc::new(AllMetrics::default());
    Spool::open(disk.clone(), &directory.0, limits, drain, metrics.of_cluster("c"), metrics.spool.of("c"))
}

fn open(directory: &Directory) -> (Spool, Recovered) {
    open_with(directory, &Disk::default(), LIMITS).unwrap()
}

fn append(spool: &Spool, value: &[u8]) -> Result<Delivery, Outcome> {
    let record = Outgoing {
        topic: "t",
        key: Some(b"k"),
        partition: None,
        timestamp: None,
        headers: &[],
        value: Some(value),
        ack: Ack::Spooled,
        request_id: None,
        span: None,
    };
    let identity = Identity::from_bytes([value.first().copied().unwrap_or_default(); 32]);
    spool.append(&record, Some(identity), None)
}

fn outcome(delivery: Result<Delivery, Outcome>) -> Outcome {
    delivery.map_or_else(|outcome| outcome, |delivery| delivery.blocking_recv().unwrap())
}

const SPOOLED: Outcome = Outcome::Acknowledged { ack: Ack::Spooled, place: None };

fn stop(spool: &Spool) {
    spool.stop(Instant::now());
}

/// The values of all records on disk, in order.
fn values(directory: &Directory) -> Vec<Vec<u8>> {
    let mut values = Vec::new();
    for (_, path) in segment::list(&directory.0).unwrap() {
        let bytes = fs::read(path).unwrap();
        segment::scan(&bytes, true, |record| {
            values.push(Entry::decode(&record.frame).unwrap().value.unwrap().to_vec());
            Ok::<_, ()>(())
        })
        .unwrap();
    }
    values
}

fn paths(directory: &Directory) -> Vec<PathBuf> {
    segment::list(&directory.0).unwrap().into_iter().map(|(_, path)| path).collect()
}

#[test]
fn what_is_acknowledged_is_there_after_a_start_in_its_order() {
    let directory = Directory::new("order");
    let mut wanted = Vec::new();
    for start in 0..3_u8 {
        let (spool, recovered) = open(&directory);
        let identities: Vec<_> =
            recovered.identities.iter().map(|(identity, _)| identity.to_bytes()[0]).collect();
        assert_eq!(identities, wanted.iter().map(|value: &Vec<u8>| value[0]).collect::<Vec<_>>());
        assert_eq!(recovered.records, wanted.len() as u64);
        let deliveries: Vec<_> = (0..20)
            .map(|number| {
                wanted.push(vec![start * 20 + number; 100]);
                append(&spool, wanted.last().unwrap())
            })
            .collect();
        assert!(deliveries.into_iter().all(|delivery| outcome(delivery) == SPOOLED));
        stop(&spool);
        assert_eq!(values(&directory), wanted);
    }
    // Each start begins a segment.
    assert!(paths(&directory).len() >= 3, "{:?}", paths(&directory));
}

#[test]
fn those_that_wait_share_a_sync() {
    let directory = Directory::new("group");
    let disk = Disk::default();
    let (spool, _) = open_with(&directory, &disk, LIMITS).unwrap();
    assert_eq!(outcome(append(&spool, b"first")), SPOOLED);
    // One sync is left, and all of these need one.
    let before = spool.shared.lock();
    disk.faults.syncs.store(1, Ordering::SeqCst);
    drop(before);
    let mut waiting = Vec::new();
    {
        // The writer cannot take any before all are there.
        let mut state = spool.shared.lock();
        for _ in 0..50 {
            let (reply, delivery) = oneshot::channel();
            let record = Entry {
                spooled_at: now_millis(),
                timestamp: 1,
                topic: "t",
                partition: None,
                key: None,
                headers: Vec::new(),
                value: Some(b"v"),
                identity: None,
                request_id: None,
                reason: None,
            };
            let frame = record.encode();
            state.pending_bytes += frame.len() as u64;
            state.pending.push(Pending { frame, spooled_at: 1, reply, claim: None, since: Instant::now() });
            waiting.push(delivery);
        }
    }
    spool.shared.to_write.notify_one();
    assert!(waiting.into_iter().all(|delivery| delivery.blocking_recv().unwrap() == SPOOLED));
    assert_eq!(values(&directory).len(), 51);
    stop(&spool);
}

#[test]
fn a_torn_tail_is_cut_off_and_the_rest_goes_on() {
    let directory = Directory::new("torn");
    let (spool, _) = open(&directory);
    for value in [b"1", b"2"] {
        assert_eq!(outcome(append(&spool, value)), SPOOLED);
    }
    stop(&spool);
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
        let (spool, recovered) = open(&directory);
        assert_eq!(recovered.records, 1);
        assert_eq!(outcome(append(&spool, b"3")), SPOOLED);
        stop(&spool);
        assert_eq!(values(&directory), [b"1", b"3"]);
        assert_eq!(fs::metadata(&path).unwrap().len(), last as u64);
        fs::remove_file(paths(&directory).pop().unwrap()).unwrap();
    }
    // Nothing but a torn header.
    fs::write(&path, &whole[..7]).unwrap();
    let (spool, recovered) = open(&directory);
    assert_eq!(recovered.records, 0);
    assert_eq!(outcome(append(&spool, b"4")), SPOOLED);
    stop(&spool);
    assert_eq!(values(&directory), [b"4"]);
}

#[test]
fn damage_is_told_and_nothing_is_touched() {
    let directory = Directory::new("damage");
    let (spool, _) = open(&directory);
    for number in 0..40_u8 {
        assert_eq!(outcome(append(&spool, &[number; 100])), SPOOLED);
    }
    stop(&spool);
    let files = paths(&directory);
    assert!(files.len() > 2);
    let contents: Vec<_> = files.iter().map(|path| fs::read(path).unwrap()).collect();
    // In the middle of the first, of the last, and at the end of the first.
    let last = files.len() - 1;
    for (file, at) in [(0, 300), (last, 30), (0, contents[0].len() - 1)] {
        let mut damaged = contents[file].clone();
        damaged[at] ^= 1;
        fs::write(&files[file], &damaged).unwrap();
        let error = open_with(&directory, &Disk::default(), LIMITS).unwrap_err().to_string();
        assert!(
            error.contains("is damaged at byte") && error.contains(files[file].to_str().unwrap()),
            "{error}"
        );
        assert_eq!(fs::read(&files[file]).unwrap(), damaged);
        fs::write(&files[file], &contents[file]).unwrap();
    }
    // A file in the middle is gone, or has another's name.
    fs::remove_file(&files[1]).unwrap();
    let error = open_with(&directory, &Disk::default(), LIMITS).unwrap_err().to_string();
    assert!(error.contains("are missing"), "{error}");
    fs::write(&files[1], &contents[0]).unwrap();
    let error = open_with(&directory, &Disk::default(), LIMITS).unwrap_err().to_string();
    assert!(error.contains("wanted record"), "{error}");
    fs::write(&files[1], &contents[1]).unwrap();
    assert_eq!(open(&directory).1.records, 40);
}

#[test]
fn a_file_of_another_version_is_refused_by_name() {
    let directory = Directory::new("version");
    for inner in [directory.0.clone(), refused::directory(&directory.0)] {
        fs::create_dir_all(&inner).unwrap();
        let path = segment::path(&inner, 1);
        fs::write(&path, b"WGSPOOL\x01\x01\0\0\0\0\0\0\0abcd").unwrap();
        let error = open_with(&directory, &Disk::default(), LIMITS).unwrap_err().to_string();
        assert!(
            error.contains(path.to_str().unwrap())
                && error.contains("version 1 of the format, and this bridge reads version 2"),
            "{error}"
        );
        fs::remove_file(&path).unwrap();
    }
}

/// A caller who sends what looks like records on disk, and a bridge that ends in the middle of it.
#[test]
fn a_value_that_looks_like_a_segment_does_no_harm() {
    let directory = Directory::new("inner");
    let (spool, _) = open(&directory);
    for value in [b"1", b"2", b"3"] {
        assert_eq!(outcome(append(&spool, value)), SPOOLED);
    }
    stop(&spool);
    let inner = fs::read(paths(&directory).pop().unwrap()).unwrap();
    let (spool, _) = open(&directory);
    assert_eq!(outcome(append(&spool, &inner)), SPOOLED);
    stop(&spool);
    let path = paths(&directory).pop().unwrap();
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    let (spool, recovered) = open(&directory);
    assert_eq!(recovered.records, 3);
    stop(&spool);
}

#[test]
fn a_checkpoint_that_cannot_be_read_loses_nothing() {
    let directory = Directory::new("checkpoint");
    let (spool, _) = open(&directory);
    for value in [b"1", b"2", b"3"] {
        assert_eq!(outcome(append(&spool, value)), SPOOLED);
    }
    stop(&spool);
    fs::write(checkpoint_path(&directory.0), format::checkpoint(2)).unwrap();
    let (spool, recovered) = open(&directory);
    // What is done with is still recognised.
    assert_eq!((recovered.records, recovered.identities.len()), (1, 3));
    stop(&spool);
    fs::write(checkpoint_path(&directory.0), b"WGDONE").unwrap();
    let (spool, recovered) = open(&directory);
    assert_eq!(recovered.records, 3);
    stop(&spool);
    // All of it is done with, and the numbers go on.
    fs::write(checkpoint_path(&directory.0), format::checkpoint(3)).unwrap();
    let (spool, recovered) = open(&directory);
    assert_eq!((recovered.records, paths(&directory).len()), (0, 0));
    assert_eq!(outcome(append(&spool, b"4")), SPOOLED);
    stop(&spool);
    assert_eq!(paths(&directory), [segment::path(&directory.0, 4)]);
    assert_eq!(open(&directory).1.records, 1);
}

#[test]
fn it_is_bounded_in_bytes_in_age_and_in_the_size_of_a_record() {
    let directory = Directory::new("bounds");
    let (spool, _) = open_with(&directory, &Disk::default(), Limits { bytes: 10_000, ..LIMITS }).unwrap();
    let taken = (0..20).take_while(|_| outcome(append(&spool, &[1; 1000])) == SPOOLED).count();
    assert!((8..10).contains(&taken), "{taken}");
    let on_disk: u64 = paths(&directory).iter().map(|path| fs::metadata(path).unwrap().len()).sum();
    assert!(on_disk <= 10_000, "{on_disk}");
    assert_eq!(outcome(append(&spool, &[1; 1000])), Outcome::Unavailable);
    assert_eq!(outcome(append(&spool, &[1; 100_000])), Outcome::TooLarge);
    stop(&spool);
    assert_eq!(values(&directory).len(), taken);

    let young = Limits { age: Duration::from_millis(1), ..LIMITS };
    let (spool, _) = open_with(&directory, &Disk::default(), young).unwrap();
    std::thread::sleep(Duration::from_millis(5));
    assert_eq!(outcome(append(&spool, b"x")), Outcome::Unavailable);
    stop(&spool);
}

#[test]
fn a_disk_that_is_full_loses_nothing_and_is_used_again_once_there_is_room() {
    let directory = Directory::new("full");
    let disk = Disk::default();
    let (spool, _) = open_with(&directory, &disk, LIMITS).unwrap();
    assert_eq!(outcome(append(&spool, b"1")), SPOOLED);
    // Room for a part of it.
    for room in [0, 5, 30] {
        disk.faults.room.store(room, Ordering::SeqCst);
        assert_eq!(outcome(append(&spool, b"no")), Outcome::Unavailable, "{room}");
        // Nor is there any for another segment.
        assert_eq!(outcome(append(&spool, b"no")), Outcome::Unavailable, "{room}");
    }
    disk.faults.room.store(usize::MAX, Ordering::SeqCst);
    assert_eq!(outcome(append(&spool, b"2")), SPOOLED);
    stop(&spool);
    assert_eq!(values(&directory), [b"1", b"2"]);
    assert_eq!(open(&directory).1.records, 2);
}

#[test]
fn a_segment_whose_sync_failed_is_written_anew_and_never_appended_to() {
    let directory = Directory::new("sync");
    let disk = Disk::default();
    let (spool, _) = open_with(&directory, &disk, LIMITS).unwrap();
    assert_eq!(outcome(append(&spool, b"1")), SPOOLED);
    let first = segment::path(&directory.0, 1);
    let before = std::os::unix::fs::MetadataExt::ino(&fs::metadata(&first).unwrap());
    disk.faults.syncs.store(0, Ordering::SeqCst);
    assert_eq!(outcome(append(&spool, b"no")), Outcome::Unavailable);
    assert_ne!(std::os::unix::fs::MetadataExt::ino(&fs::metadata(&first).unwrap()), before);
    assert_eq!(outcome(append(&spool, b"2")), SPOOLED);
    stop(&spool);
    assert_eq!(values(&directory), [b"1", b"2"]);
    assert_eq!(paths(&directory), [first, segment::path(&directory.0, 2)]);
    assert_eq!(open(&directory).1.records, 2);
}

#[test]
fn what_cannot_be_cut_off_is_not_said_to_be_gone() {
    let directory = Directory::new("unknown");
    let disk = Disk::default();
    let (spool, _) = open_with(&directory, &disk, LIMITS).unwrap();
    assert_eq!(outcome(append(&spool, b"1")), SPOOLED);
    disk.faults.truncation_fails.store(true, Ordering::SeqCst);
    disk.faults.syncs.store(0, Ordering::SeqCst);
    assert_eq!(outcome(append(&spool, b"perhaps")), Outcome::Unknown);
    // Not tried, so it is nowhere.
    assert_eq!(outcome(append(&spool, b"no")), Outcome::Unavailable);
    disk.faults.truncation_fails.store(false, Ordering::SeqCst);
    let deadline = Instant::now() + Duration::from_secs(10);
    while outcome(append(&spool, b"2")) != SPOOLED {
        assert!(Instant::now() < deadline, "not mended in time");
        std::thread::sleep(Duration::from_millis(20));
    }
    stop(&spool);
    assert_eq!(values(&directory), [b"1", b"2"]);
}

#[test]
fn a_directory_belongs_to_one_bridge() {
    let directory = Directory::new("lock");
    let lock = DirectoryLock::take(&directory.0).unwrap();
    let error = DirectoryLock::take(&directory.0).unwrap_err().to_string();
    assert!(error.contains("another kafka-bridge has it"), "{error}");
    drop(lock);
    DirectoryLock::take(&directory.0).unwrap();
}

#[test]
fn what_was_refused_can_be_looked_at_and_tried_again() {
    let directory = Directory::new("refused");
    let (spool, _) = open(&directory);
    assert_eq!(outcome(append(&spool, b"1")), SPOOLED);
    stop(&spool);
    let mut aside = refused::Aside::new(&directory.0, 1, Disk::default());
    for (sequence, value) in [(7, b"a"), (9, b"b")] {
        let entry = Entry {
            spooled_at: 1_795_353_386_123,
            timestamp: 1,
            topic: "gone",
            partition: None,
            key: Some(b"\xff"),
            headers: vec![("h", b"x")],
            value: Some(value),
            identity: None,
            request_id: Some("r"),
            reason: Some("unknown topic"),
        };
        aside.add(sequence, entry.encode()).unwrap();
    }
    assert_eq!(refused::count(&directory.0).unwrap().0, 2);
    let mut out = Vec::new();
    assert_eq!(list_refused(&directory.0, &mut out).unwrap(), 2);
    let text = String::from_utf8(out).unwrap();
    assert!(
        text.starts_with(
            r#"{"reason":"unknown topic","spooled_at":"2026-11-22T13:16:26.123Z","topic":"gone","request_id":"r","key":{"base64":"/w=="},"headers":[["h","x"]],"value":"a"}"#
        ),
        "{text}"
    );
    assert_eq!(retry_refused(&directory.0).unwrap(), 2);
    assert_eq!(values(&directory), [b"1", b"a", b"b"]);
    assert_eq!(refused::count(&directory.0).unwrap(), (0, 0));
    assert_eq!(open(&directory).1.records, 3);
}

#[test]
fn what_is_found_again_counts_only_once_it_is_durable() {
    let directory = Directory::new("found-again");
    let (spool, _) = open(&directory);
    assert_eq!(outcome(append(&spool, b"a")), SPOOLED);
    stop(&spool);
    // Nothing but a sync shows that the last bridge came to its own.
    let path = paths(&directory).pop().unwrap();
    let before = fs::metadata(&path).unwrap();
    let disk = Disk::default();
    // The directory's succeeds, that of the records does not.
    disk.faults.syncs.store(1, Ordering::SeqCst);
    assert!(open_with(&directory, &disk, LIMITS).is_err());
    let (spool, recovered) = open(&directory);
    assert_eq!(recovered.records, 1);
    stop(&spool);
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
    let spools = directory.0.join("spools");
    let lock = DirectoryLock::take(&spools).unwrap();
    let inner = Directory(spools.join("c"));
    let (spool, _) = open(&inner);
    assert_eq!(outcome(append(&spool, b"a")), SPOOLED);
    stop(&spool);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&spools), mode(&inner.0)), (0o700, 0o700));
    for file in paths(&inner).iter().chain([&spools.join("lock")]) {
        assert_eq!(mode(file), 0o600, "{}", file.display());
    }
    drop(lock);
}

#[test]
fn what_is_done_with_and_left_behind_is_removed() {
    let directory = Directory::new("left-behind");
    let (spool, _) = open(&directory);
    for _ in 0..40 {
        assert_eq!(outcome(append(&spool, &[b'a'; 200])), SPOOLED);
    }
    stop(&spool);
    let segments = segment::list(&directory.0).unwrap();
    let (last, _) = segments.last().unwrap();
    assert!(segments.len() > 3, "{}", segments.len());
    // The second cannot be missed: all before the last is in Kafka.
    fs::remove_file(&segments[1].1).unwrap();
    fs::write(checkpoint_path(&directory.0), format::checkpoint(*last)).unwrap();
    let (spool, recovered) = open(&directory);
    stop(&spool);
    assert!(recovered.records > 0);
    let left = segment::list(&directory.0).unwrap();
    assert_eq!(left.first().map(|(first, _)| first), Some(last));
}
