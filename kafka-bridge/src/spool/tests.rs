//! The spool on a disk that tests can have fail, with a Kafka that is not there.

use std::sync::atomic::Ordering;

use clap::Parser as _;

use super::checkpoint::Checkpoint;
use super::*;
use crate::config::Config;

mod draining;
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
    let config = Config::try_parse_from(["kafka-bridge", "--embedded-broker"]).unwrap();
    let drain = DrainSettings::new(&config, &config.default_cluster(servers));
    open_draining(directory, disk, limits, drain)
}

fn open_draining(
    directory: &Path,
    disk: &Disk,
    limits: Limits,
    drain: DrainSettings,
) -> Result<(Spool, Recovered), SpoolError> {
    let metrics = Arc::new(AllMetrics::default());
    let mut identities = Vec::new();
    let inspected =
        recover::inspect(directory, now_millis(), &mut |identity, at| identities.push((identity, at)))?;
    let state = inspected.apply(disk)?;
    let records = state.0.records();
    let (metrics, counts) = (metrics.of_cluster("c"), metrics.spool.of("c"));
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
        aside.add(&mut [(sequence, entry.encode())]).unwrap();
    }
    assert_eq!(refused::count(&directory.0).unwrap().records, 2);
    let mut out = Vec::new();
    assert_eq!(list_refused(&directory.0, &mut out).unwrap(), 2);
    let text = String::from_utf8(out).unwrap();
    assert!(
        text.starts_with(
            r#"{"reason":"unknown topic","spooled_at":"2026-11-22T13:16:26.123Z","topic":"gone","request_id":"r","key":{"base64":"/w=="},"headers":[["h","x"]],"value":"a"}"#
        ),
        "{text}"
    );
    assert_eq!(retry_refused(&directory.0).unwrap(), Retried { records: 2, torn: None });
    assert_eq!(values(&directory), [b"1", b"a", b"b"]);
    assert_eq!(refused::count(&directory.0).unwrap(), refused::Refused::default());
    assert_eq!(open(&directory).1.records, 3);
}

fn to_set_aside(value: &[u8]) -> Vec<u8> {
    let entry = Entry {
        spooled_at: now_millis(),
        timestamp: 1,
        topic: "t",
        partition: None,
        key: None,
        headers: Vec::new(),
        value: Some(value),
        identity: None,
        request_id: None,
        reason: Some("why"),
    };
    entry.encode()
}

#[test]
fn records_are_set_aside_together_and_leave_nothing_behind_where_that_fails() {
    let directory = Directory::new("aside");
    let (spool, _) = open(&directory);
    stop(&spool);
    let disk = Disk::default();
    let mut aside = refused::Aside::new(&directory.0, 1 << 20, disk.clone());
    let many = || (1..=100).map(|number| (number, to_set_aside(b"value"))).collect::<Vec<_>>();
    let files = || segment::list(&refused::directory(&directory.0)).unwrap().len();
    // Room for a file's header, and for a part of what is to be in it.
    for room in [format::SEGMENT_HEADER, format::SEGMENT_HEADER + 200] {
        disk.faults.room.store(room, Ordering::SeqCst);
        assert!(aside.add(&mut many()).is_err());
        assert_eq!(files(), 0, "{room}");
    }
    disk.faults.room.store(usize::MAX, Ordering::SeqCst);
    // One sync each for the file, its directory and all records.
    disk.faults.syncs.store(3, Ordering::SeqCst);
    let bytes = aside.add(&mut many()).unwrap();
    assert_eq!(disk.faults.syncs.load(Ordering::SeqCst), 0);
    disk.faults.syncs.store(usize::MAX, Ordering::SeqCst);
    let counted = refused::count(&directory.0).unwrap();
    assert_eq!((counted.records, counted.bytes, files()), (100, bytes, 1));
    assert_eq!(counted.topics.into_iter().collect::<Vec<_>>(), ["t"]);
    // What had been set aside before a sync failed is there, and so is what comes after.
    disk.faults.syncs.store(0, Ordering::SeqCst);
    assert!(aside.add(&mut many()).is_err());
    assert_eq!(aside.add(&mut many()).unwrap(), bytes);
    assert_eq!(refused::count(&directory.0).unwrap().records, 200);
}

/// What a bridge was setting aside when it ended may be at the end of the newest file, and nowhere else.
#[test]
fn only_the_newest_file_of_refused_records_may_end_with_something_torn() {
    let directory = Directory::new("refused-torn");
    stop(&open(&directory).0);
    let add = |values: [&[u8]; 2]| {
        let mut aside = refused::Aside::new(&directory.0, 1 << 20, Disk::default());
        for value in values {
            aside.add(&mut [(1, to_set_aside(value))]).unwrap();
        }
    };
    let damage = |number: u64| {
        let path = segment::path(&refused::directory(&directory.0), number);
        let mut bytes = fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&path, &bytes).unwrap();
        (path, bytes)
    };
    add([b"1", b"2"]);
    let (first, bytes) = damage(1);
    assert_eq!(refused::count(&directory.0).unwrap().records, 1);
    // Before another file comes behind it, it ends with what is whole, and the rest is beside it.
    add([b"3", b"4"]);
    let kept = fs::read(first.with_extension("torn")).unwrap();
    assert_eq!([fs::read(&first).unwrap(), kept].concat(), bytes);
    assert_eq!(refused::count(&directory.0).unwrap().records, 3);

    let (second, bytes) = damage(2);
    let retried = retry_refused(&directory.0).unwrap();
    assert_eq!(retried, Retried { records: 2, torn: Some(second.with_extension("torn")) });
    assert!(retried.to_string().contains("no whole record"), "{retried}");
    assert_eq!(fs::read(second.with_extension("torn")).unwrap(), bytes);
    assert_eq!(refused::count(&directory.0).unwrap().records, 0);
    assert_eq!(values(&directory), [b"1", b"3"]);

    // What was kept before stays.
    add([b"5", b"6"]);
    let _ = damage(1);
    assert_eq!(retry_refused(&directory.0).unwrap().torn, Some(first.with_extension("2.torn")));

    // In a file with another behind it, it is damage.
    for values in [[b"7", b"8"], [b"9", b"a"]] {
        add(values.map(|value| &value[..]));
    }
    let (first, bytes) = damage(1);
    let text = error(&directory);
    assert!(text.contains("damaged at byte") && text.contains(first.to_str().unwrap()), "{text}");
    list_refused(&directory.0, &mut Vec::new()).unwrap_err();
    retry_refused(&directory.0).unwrap_err();
    assert_eq!(fs::read(&first).unwrap(), bytes);
    let mut told = Vec::new();
    assert!(!check(&directory.0, &mut told).unwrap());
    let told = String::from_utf8(told).unwrap();
    assert!(told.contains(&format!("{}: damaged at byte", first.display())), "{told}");
    assert_eq!(salvage(&directory.0, 2_000).unwrap().refused, 1);
    assert_eq!(refused::count(&directory.0).unwrap().records, 3);
}

#[test]
fn nothing_is_set_aside_behind_a_file_that_could_not_be_written_anew() {
    let directory = Directory::new("refused-repair");
    stop(&open(&directory).0);
    let disk = Disk::default();
    let mut aside = refused::Aside::new(&directory.0, 1 << 20, disk.clone());
    aside.add(&mut [(1, to_set_aside(b"1"))]).unwrap();
    // There is room for a part of the record, and none for writing anew what was there before.
    disk.faults.room.store(30, Ordering::SeqCst);
    for _ in 0..2 {
        aside.add(&mut [(2, to_set_aside(b"2"))]).unwrap_err();
        assert_eq!(refused::files(&directory.0).unwrap().len(), 1);
    }
    disk.faults.room.store(usize::MAX, Ordering::SeqCst);
    aside.add(&mut [(2, to_set_aside(b"2"))]).unwrap();
    assert_eq!(refused::files(&directory.0).unwrap().len(), 2);
    assert_eq!(refused::count(&directory.0).unwrap().records, 2);
}

#[test]
fn behind_damage_nothing_more_is_taken() {
    let directory = Directory::new("latched");
    // The producer has room for the first, so that the next is read time and again.
    let config =
        Config::try_parse_from(["kafka-bridge", "--embedded-broker", "--queue-records", "1"]).unwrap();
    let drain = DrainSettings::new(&config, &config.default_cluster("127.0.0.1:1"));
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
    let mut config = Config::try_parse_from([
        "kafka-bridge",
        "--embedded-broker",
        "--spool-dir",
        directory.0.to_str().unwrap(),
    ])
    .unwrap();
    config.clusters.push(crate::config::Cluster { name: "other".to_owned(), ..config.default_cluster("") });
    let lock = DirectoryLock::take(&directory.0).unwrap();
    let metrics = Arc::new(AllMetrics::default());
    let found = FoundSpools::look(&config, "127.0.0.1:1", Some(lock), None, &metrics);
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
