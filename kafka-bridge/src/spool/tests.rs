//! The spool on a disk that tests can have fail, with a Kafka that is not there.

use std::sync::atomic::Ordering;

use prometheus_client::registry::Registry;

use super::checkpoint::Checkpoint;
use super::*;

mod crashes;
mod draining;
mod not_files;
mod refusing;
mod salvaging;

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

/// What a start has found.
#[derive(Debug)]
struct Recovered {
    identities: Vec<(Identity, u64)>,
    records: u64,
}

/// A spool whose Kafka cannot be reached.
fn open_with(directory: &Directory, disk: &Disk, limits: Limits) -> Result<(Spool, Recovered), SpoolError> {
    open_at("127.0.0.1:1", &directory.0, disk, limits)
}

fn open_at(
    servers: &str,
    directory: &Path,
    disk: &Disk,
    limits: Limits,
) -> Result<(Spool, Recovered), SpoolError> {
    let options = producer::Options::example();
    let drain = DrainSettings::new(&options, &options.default_cluster(servers));
    open_draining(directory, disk, limits, drain)
}

fn open_draining(
    directory: &Path,
    disk: &Disk,
    limits: Limits,
    drain: DrainSettings,
) -> Result<(Spool, Recovered), SpoolError> {
    let mut registry = Registry::default();
    let counted = Arc::new(producer::Metrics::register(&mut registry));
    let mut identities = Vec::new();
    let inspected =
        recover::inspect(directory, now_millis(), &mut |identity, at| identities.push((identity, at)))?;
    let state = inspected.apply(disk)?;
    let records = state.0.records();
    let (metrics, counts) = (counted.of_cluster("c"), Metrics::register(&mut registry).of("c"));
    let (spool, threads) = Spool::new(disk.clone(), directory, state, limits, drain, None, metrics, counts)?;
    for thread in threads {
        thread.send(()).unwrap();
    }
    Ok((spool, Recovered { identities, records }))
}

fn open(directory: &Directory) -> (Spool, Recovered) {
    open_with(directory, &Disk::default(), LIMITS).unwrap()
}

fn error(directory: &Directory) -> String {
    open_with(directory, &Disk::default(), LIMITS).unwrap_err().to_string()
}

/// A checkpoint by which all records up to this number are done with.
fn write_checkpoint(directory: &Directory, done: u64) {
    let checkpoint = Checkpoint { done, next: done + 1, newest: None };
    checkpoint::write(&Disk::default(), &directory.0, &checkpoint).unwrap();
}

/// The checkpoint as it was when the newest segment was begun: nothing was drained and the bridge was killed.
fn as_if_killed(directory: &Directory) {
    let newest = segment::list(&directory.0).unwrap().last().map(|(first, _)| *first);
    let checkpoint = Checkpoint { done: 0, next: newest.unwrap_or(1), newest };
    checkpoint::write(&Disk::default(), &directory.0, &checkpoint).unwrap();
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
    };
    let identity = Identity::from_bytes([value.first().copied().unwrap_or_default(); 32]);
    spool.append(&record, Some(identity), None)
}

fn outcome(delivery: Result<Delivery, Outcome>) -> Outcome {
    delivery.map_or_else(|outcome| outcome, |delivery| delivery.blocking_recv().unwrap())
}

const SPOOLED: Outcome = Outcome::Acknowledged { ack: Ack::Spooled, metadata: None };

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

/// Copies a directory.
fn copy(from: &Path, to: &Path) {
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
            let record = Entry { spooled_at: now_millis(), ..Entry::with_value(b"v") };
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
        as_if_killed(&directory);
        let (spool, recovered) = open(&directory);
        assert_eq!(recovered.records, 1);
        // What was cut off is beside it.
        assert_eq!(fs::read(path.with_extension("torn")).unwrap(), whole[last..len]);
        assert_eq!(outcome(append(&spool, b"3")), SPOOLED);
        stop(&spool);
        assert_eq!(values(&directory), [b"1", b"3"]);
        assert_eq!(fs::metadata(&path).unwrap().len(), last as u64);
        fs::remove_file(paths(&directory).pop().unwrap()).unwrap();
    }
    // Nothing but a torn header.
    fs::write(&path, &whole[..7]).unwrap();
    as_if_killed(&directory);
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
    as_if_killed(&directory);
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
    write_checkpoint(&directory, 2);
    let (spool, recovered) = open(&directory);
    // What is done with is still recognised.
    assert_eq!((recovered.records, recovered.identities.len()), (1, 3));
    stop(&spool);
    fs::write(checkpoint::path(&directory.0), b"WGDONE").unwrap();
    let (spool, recovered) = open(&directory);
    assert_eq!(recovered.records, 3);
    stop(&spool);
    // All of it is done with, and the numbers go on.
    write_checkpoint(&directory, 3);
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
    // The client that has to take it later counts 36 bytes more than the key and the value.
    assert_eq!(outcome(append(&spool, &[1; 100_000 - 36])), Outcome::TooLarge);
    stop(&spool);
    assert_eq!(values(&directory).len(), taken);
    let (spool, _) = open(&directory);
    assert_eq!(outcome(append(&spool, &[1; 100_000 - 37])), SPOOLED);
    stop(&spool);

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
fn behind_damage_nothing_more_is_taken() {
    let directory = Directory::new("latched");
    // The producer has room for the first, so that the next is read time and again.
    let options = producer::Options { queue_records: 1, ..producer::Options::example() };
    let drain = DrainSettings::new(&options, &options.default_cluster("127.0.0.1:1"));
    let (spool, _) = open_draining(&directory.0, &Disk::default(), LIMITS, drain).unwrap();
    for value in [b"1", b"2"] {
        assert_eq!(outcome(append(&spool, value)), SPOOLED);
    }
    let is_damaged = || spool.counts.is_damaged();
    assert!(!is_damaged());
    let file = fs::File::options().write(true).open(&paths(&directory)[0]).unwrap();
    let end = file.metadata().unwrap().len();
    std::os::unix::fs::FileExt::write_all_at(&file, b"!", end - 1).unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while !is_damaged() {
        assert!(Instant::now() < deadline, "the damage was not met in time");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(outcome(append(&spool, b"3")), Outcome::Unavailable);
    assert_eq!(spool.shared.lock().records(), 2);
    stop(&spool);
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
    write_checkpoint(&directory, *last);
    let (spool, recovered) = open(&directory);
    stop(&spool);
    assert!(recovered.records > 0);
    let left = segment::list(&directory.0).unwrap();
    assert_eq!(left.first().map(|(first, _)| first), Some(last));
}

#[test]
fn a_missing_oldest_or_newest_segment_is_noticed() {
    let directory = Directory::new("missing");
    let (spool, _) = open(&directory);
    for number in 0..40_u8 {
        assert_eq!(outcome(append(&spool, &[number; 200])), SPOOLED);
    }
    stop(&spool);
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
    let (spool, _) = open(&directory);
    for value in [b"1", b"2"] {
        assert_eq!(outcome(append(&spool, value)), SPOOLED);
    }
    stop(&spool);
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
        assert!(!check(&directory.0, &mut told).unwrap());
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
        let (spool, _) = open(&directory);
        assert_eq!(outcome(append(&spool, b"1")), SPOOLED);
        stop(&spool);
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
fn records_of_a_clock_that_was_ahead_count_from_now() {
    let directory = Directory::new("ahead");
    let (spool, _) = open(&directory);
    assert_eq!(outcome(append(&spool, b"1")), SPOOLED);
    stop(&spool);
    let earlier = now_millis() - 3_600_000;
    let (mut state, _) =
        recover::inspect(&directory.0, earlier, &mut |_, _| {}).unwrap().apply(&Disk::default()).unwrap();
    assert_eq!(state.oldest_age(earlier), Some(0));
    assert_eq!(state.oldest_age(earlier + 5_000), Some(5_000));
}

#[test]
fn a_damaged_spool_changes_no_other() {
    let directory = Directory::new("several");
    let names = ["default", "other"];
    for name in names {
        let (spool, _) = open_at("127.0.0.1:1", &directory.0.join(name), &Disk::default(), LIMITS).unwrap();
        for value in [b"1", b"2"] {
            assert_eq!(outcome(append(&spool, value)), SPOOLED);
        }
        stop(&spool);
    }
    // There is something to be cut off in the first, and the second is damaged.
    let [first, second] = names.map(|name| segment::path(&directory.0.join(name), 1));
    let mut torn = fs::read(&first).unwrap();
    torn.extend(b"torn");
    fs::write(&first, &torn).unwrap();
    let mut damaged = fs::read(&second).unwrap();
    damaged[60] ^= 1;
    fs::write(&second, &damaged).unwrap();
    let kafka = producer::Options::example();
    let default = kafka.default_cluster("127.0.0.1:1");
    let other = ClusterOptions { name: "other".to_owned(), ..default.clone() };
    let options = super::Options {
        spool_dir: Some(directory.0.clone()),
        spool_max_bytes: LIMITS.bytes,
        spool_max_age: LIMITS.age,
        spool_segment_bytes: LIMITS.segment_bytes,
    };
    let lock = DirectoryLock::take(&directory.0).unwrap();
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    let records = Arc::new(producer::Metrics::register(&mut registry));
    let found = FoundSpools::look(&options, &kafka, &[default, other], Some(lock), None, &metrics, &records);
    let error = found.err().unwrap().to_string();
    assert!(error.contains("is damaged") && error.contains("other"), "{error}");
    assert_eq!(fs::read(&first).unwrap(), torn);
}

#[test]
fn what_is_left_of_a_spool_tells_of_its_cluster() {
    let directory = Directory::new("clusters");
    for path in ["lost+found", "+idempotency", "a/refused", "d/salvage"] {
        fs::create_dir_all(directory.0.join(path)).unwrap();
    }
    for path in ["lock", "lost+found/x", "b/checkpoint", "c/no-number.segment", "d/salvage/checkpoint"] {
        let path = directory.0.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, b"").unwrap();
    }
    assert_eq!(clusters_in(&directory.0).unwrap(), ["a", "b", "c", "d"]);
}

/// What is logged while a spool is looked at.
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
        recover::inspect(&directory.0, now_millis(), &mut |_, _| {}).unwrap();
    });
    let bytes = written.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
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
    let (spool, _) = open(&directory);
    assert_eq!(outcome(append(&spool, b"1")), SPOOLED);
    stop(&spool);
    assert!(!logged(&directory).contains(warning));
    fs::remove_file(&checkpoint).unwrap();
    assert!(logged(&directory).contains(warning));
}
