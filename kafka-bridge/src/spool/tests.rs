//! The spool on a disk that tests can have fail, with a Kafka that is not there.

use std::sync::atomic::Ordering;

use prometheus_client::registry::Registry;

use super::*;

mod draining;
mod refusing;

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
    let (log, state) = inspect(directory, now_millis(), &mut |identity, at| identities.push((identity, at)))?;
    let log = log.open(disk, limits.segment_bytes)?;
    let records = log.lock().records();
    let (metrics, counts) = (counted.of_cluster("c"), Metrics::register(&mut registry).of("c"));
    let (spool, threads) = Spool::new(log, state, limits, drain, None, metrics, counts)?;
    for thread in threads {
        thread.send(()).unwrap();
    }
    Ok((spool, Recovered { identities, records }))
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
    for (_, path) in segment_log::list_segments(&directory.0).unwrap() {
        let bytes = fs::read(path).unwrap();
        segment_log::scan(&bytes, true, |record| {
            values.push(Entry::decode(record.frame.payload).unwrap().value.unwrap().to_vec());
            Ok::<_, ()>(())
        })
        .unwrap();
    }
    values
}

fn paths(directory: &Directory) -> Vec<PathBuf> {
    segment_log::list_segments(&directory.0).unwrap().into_iter().map(|(_, path)| path).collect()
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
    assert_eq!(spool.shared.log.lock().records(), 2);
    stop(&spool);
}

#[test]
fn records_of_a_clock_that_was_ahead_count_from_now() {
    let directory = Directory::new("ahead");
    let (spool, _) = open(&directory);
    assert_eq!(outcome(append(&spool, b"1")), SPOOLED);
    stop(&spool);
    let earlier = now_millis() - 3_600_000;
    let (_, mut state) = inspect(&directory.0, earlier, &mut |_, _| {}).unwrap();
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
    let [first, second] = names.map(|name| segment_log::segment_path(&directory.0.join(name), 1));
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
    for path in [
        "lock",
        "lost+found/x",
        "+idempotency/1.segment",
        "b/checkpoint",
        "c/no-number.segment",
        "d/salvage/checkpoint",
    ] {
        let path = directory.0.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, b"").unwrap();
    }
    assert_eq!(clusters_in(&directory.0).unwrap(), ["a", "b", "c", "d"]);
}
