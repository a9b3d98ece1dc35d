use super::*;
use prometheus_client::registry::Registry;
use std::sync::atomic::Ordering;

const BOUNDS: Bounds = Bounds { window: Duration::from_secs(600), entries: 5 };

/// A directory that is gone with the test.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("idempotency-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Self(path)
    }

    fn open(&self, now: u64) -> (Files, Vec<u8>) {
        self.open_on(&Disk::default(), now)
    }

    fn open_on(&self, disk: &Disk, now: u64) -> (Files, Vec<u8>) {
        let (files, known) = Files::open(&self.0, disk, BOUNDS, now).unwrap();
        (files, known.iter().map(|known| known.identity.to_bytes()[0]).collect())
    }

    fn files(&self) -> Vec<PathBuf> {
        list_segments(&self.0).unwrap().into_iter().map(|(_, path)| path).collect()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Bytes of an entry on disk.
const FRAME: u64 = 24 + 16 + ENTRY as u64;

fn frame(entry: Written) -> [UnsealedFrame; 1] {
    [UnsealedFrame::of(&entry.to_bytes())]
}

fn entry(number: u8, at: u64) -> Written {
    let timestamp = Timestamp::from_millis(1_795_353_386_123);
    let metadata = RecordMetadata { partition: 3, offset: i64::from(number), timestamp };
    Written { identity: Identity::from_bytes([number; 32]), at, ack: Ack::All, metadata: Some(metadata) }
}

#[test]
fn an_entry_is_read_as_it_was_written_or_not_at_all() {
    for ack in [Ack::All, Ack::Leader, Ack::None, Ack::Spooled] {
        for metadata in [entry(1, 1).metadata, None] {
            let entry = Written { ack, metadata, ..entry(200, u64::MAX) };
            let bytes = entry.to_bytes();
            assert_eq!(Written::from_bytes(&bytes), Some(entry));
            assert_eq!(Written::from_bytes(&bytes[1..]), None);
            assert_eq!(Written::from_bytes(&bytes[..ENTRY - 1]), None);
        }
    }
}

#[test]
fn what_was_written_is_known_after_a_start_within_its_bounds() {
    let directory = Directory::new("known");
    let now = now();
    let (mut files, known) = directory.open(now);
    assert!(known.is_empty());
    for (number, age) in [(1, 600_000), (2, 599_000), (3, 10), (4, 0)] {
        files.append(&frame(entry(number, now - age)), 1).unwrap();
    }
    drop(files);
    // 1 is as old as the window.
    let (files, known) = directory.open(now);
    assert_eq!(known, [2, 3, 4]);
    drop(files);
    let (mut files, known) = directory.open(now + 1_000);
    assert_eq!(known, [3, 4]);
    for number in 5..=8 {
        files.append(&frame(entry(number, now)), 1).unwrap();
    }
    drop(files);
    let (_files, known) = directory.open(now);
    assert_eq!(known, [4, 5, 6, 7, 8], "no more than are remembered");
    assert_eq!(directory.files().len(), 1);
}

#[test]
fn the_files_are_bounded() {
    let directory = Directory::new("bounded");
    let now = now();
    let (mut files, _) = directory.open(now);
    for number in 0..100 {
        files.append(&frame(entry(number, now)), 1).unwrap();
        let sizes: u64 = directory.files().iter().map(|path| fs::metadata(path).unwrap().len()).sum();
        assert!(sizes <= 2 * (36 + 5 * FRAME), "{sizes} bytes after {number}");
    }
    drop(files);
    assert_eq!(directory.open(now).1, [95, 96, 97, 98, 99]);
}

#[test]
fn a_torn_end_and_a_damaged_part_cost_what_they_held() {
    let directory = Directory::new("torn");
    let now = now();
    let (mut files, _) = directory.open(now);
    for number in 1..=4 {
        files.append(&frame(entry(number, now)), 1).unwrap();
    }
    drop(files);
    let path = directory.files().pop().unwrap();
    let mut bytes = fs::read(&path).unwrap();
    bytes[SEGMENT_HEADER + usize::try_from(FRAME).unwrap() + 50] ^= 1;
    bytes.truncate(bytes.len() - 5);
    fs::write(&path, &bytes).unwrap();
    let (mut files, known) = directory.open(now);
    assert_eq!(known, [1, 3]);
    files.append(&frame(entry(5, now)), 1).unwrap();
    drop(files);
    assert_eq!(directory.open(now).1, [1, 3, 5]);
}

#[test]
fn what_is_no_journal_is_left_out() {
    let directory = Directory::new("other");
    fs::create_dir_all(&directory.0).unwrap();
    let old = directory.0.join("00000000000000000007.journal");
    fs::write(&old, b"wgidem\0\x01 and entries").unwrap();
    fs::write(directory.0.join("00000000000000000009.segment"), b"something else entirely").unwrap();
    fs::write(directory.0.join("notes.txt"), b"mine").unwrap();
    let (mut files, known) = directory.open(now());
    assert!(known.is_empty() && !old.exists() && directory.0.join("notes.txt").exists());
    files.append(&frame(entry(1, now())), 1).unwrap();
    drop(files);
    assert_eq!(directory.open(now()).1, [1]);
}

#[test]
fn two_bridges_cannot_have_one_journal() {
    let directory = Directory::new("two");
    let (files, _) = directory.open(now());
    let error = Files::open(&directory.0, &Disk::default(), BOUNDS, now()).err().unwrap();
    assert!(error.to_string().contains("another bridge"), "{error}");
    drop(files);
    directory.open(now());
    let error = Journal::open(
        Path::new("/proc/nowhere"),
        BOUNDS,
        Arc::new(Metrics::register(&mut Registry::default())),
    )
    .err()
    .unwrap()
    .to_string();
    assert!(error.starts_with("idempotency journal in /proc/nowhere: "), "{error}");
}

#[test]
fn what_comes_after_an_entry_comes_after_it_is_written() {
    let directory = Directory::new("then");
    let (journal, _) =
        Journal::open(&directory.0, BOUNDS, Arc::new(Metrics::register(&mut Registry::default()))).unwrap();
    let path = directory.0.join("00000000000000000001.segment");
    let (sender, receiver) = mpsc::channel();
    for number in 1..=3 {
        let (sender, path) = (sender.clone(), path.clone());
        let Written { identity, ack, metadata, .. } = entry(number, 0);
        let then = move || sender.send(fs::metadata(&path).unwrap().len()).unwrap();
        journal.append(identity, ack, metadata, Box::new(then));
    }
    journal.flush(Duration::from_secs(10));
    for number in 1..=3 {
        assert!(receiver.try_recv().unwrap() >= 36 + number * FRAME, "{number}");
    }
}

#[test]
fn of_two_entries_with_one_name_the_later_one_is_known() {
    let directory = Directory::new("twice");
    let now = now();
    let (mut files, _) = directory.open(now);
    let again = |content: u8| Identity { content: [content; 16], ..entry(1, now).identity };
    for (identity, age) in
        [(again(7), 9), (entry(2, now).identity, 8), (again(8), 7), (entry(3, now).identity, 6)]
    {
        files.append(&frame(Written { identity, ..entry(1, now - age) }), 1).unwrap();
    }
    drop(files);
    for _ in 0..2 {
        let (_files, known) = Files::open(&directory.0, &Disk::default(), BOUNDS, now).unwrap();
        let known: Vec<_> = known.iter().map(|known| known.identity).collect();
        assert_eq!(known, [entry(2, now).identity, again(8), entry(3, now).identity]);
    }
}

#[test]
fn what_is_no_file_is_not_read_and_nobody_else_may_read_the_files() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = Directory::new("private");
    let (mut files, _) = directory.open(now());
    files.append(&frame(entry(1, now())), 1).unwrap();
    drop(files);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&directory.0), mode(&directory.files()[0])), (0o700, 0o600));
    let link = directory.0.join("00000000000000000007.segment");
    std::os::unix::fs::symlink(&directory.files()[0], &link).unwrap();
    let error = Files::open(&directory.0, &Disk::default(), BOUNDS, now()).err().unwrap().to_string();
    assert!(error.contains("00000000000000000007.segment: wanted a regular file"), "{error}");
}

/// A write hangs, as to a volume that is gone.
#[test]
fn a_disk_that_hangs_holds_nobody_up() {
    let directory = Directory::new("hangs");
    let disk = Disk::default();
    let (files, _) = directory.open_on(&disk, now());
    let (release, held) = mpsc::channel::<()>();
    let mut free = false;
    let watcher = move || {
        // The first that is done on the disk, until it is released.
        free = free || held.recv().is_err();
    };
    *disk.faults.watcher.lock().unwrap() = Some(Box::new(watcher));
    let metrics = Arc::new(Metrics::register(&mut Registry::default()));
    let journal = Journal::start(files, Arc::clone(&metrics)).unwrap();
    let (sender, receiver) = mpsc::channel();
    let append = |number: u8| {
        let Written { identity, ack, metadata, .. } = entry(number, 0);
        let sender = sender.clone();
        journal.append(identity, ack, metadata, Box::new(move || sender.send(number).unwrap()));
        assert_eq!(receiver.recv_timeout(Duration::from_secs(20)), Ok(number));
    };
    (1..=5).for_each(append);
    assert_eq!(metrics.unjournaled_so_far(), 5);
    // Once the disk goes on, so does the journal.
    drop(release);
    journal.flush(Duration::from_secs(20));
    append(6);
    journal.flush(Duration::from_secs(20));
    drop(journal);
    // The one that hung was written in the end, and is counted all the same.
    assert_eq!(metrics.unjournaled_so_far(), 5);
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while DirectoryLock::take(&directory.0).is_err() {
        assert!(std::time::Instant::now() < deadline, "it is still in use");
        thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(directory.open(now()).1, [1, 6]);
}

#[test]
fn entries_that_could_not_be_written_cost_no_others() {
    let directory = Directory::new("errors");
    let (now, disk) = (now(), Disk::default());
    let (mut files, _) = directory.open_on(&disk, now);
    for number in 1..=30 {
        files.append(&frame(entry(number, now)), 1).unwrap();
        // Room for a part of it, and for none of it, nor for another segment.
        for room in [50, 0] {
            disk.faults.room.store(room, Ordering::SeqCst);
            files.append(&frame(entry(100, now)), 1).unwrap_err();
        }
        disk.faults.room.store(usize::MAX, Ordering::SeqCst);
        assert!(directory.files().len() <= 2 + BOUNDS.entries, "{:?}", directory.files());
    }
    drop(files);
    let (mut files, known) = directory.open(now);
    assert_eq!(known, [26, 27, 28, 29, 30]);
    // What is too old goes.
    files.end_current(now + 600_000);
    files.append(&frame(entry(31, now)), 1).unwrap();
    files.end_current(now + 1_200_000);
    assert_eq!(directory.files().len(), 1);
}

/// Spooled first, and then in Kafka.
#[test]
fn what_takes_two_entries_is_one_event() {
    let directory = Directory::new("drained");
    let now = now();
    let spooled = |number: u8| Written { ack: Ack::Spooled, metadata: None, ..in_kafka(number, now) };
    let (mut files, _) = directory.open(now);
    for number in 1..=50 {
        files.append(&frame(spooled(number)), 1).unwrap();
        files.append(&frame(in_kafka(number, now)), 0).unwrap();
        if number % 10 == 0 {
            drop(files);
            let known;
            (files, known) = Files::open(&directory.0, &Disk::default(), BOUNDS, now).unwrap();
            let known: Vec<_> = known.iter().map(|known| (known.identity, known.outcome)).collect();
            let wanted = (number - 4..=number).map(|number| {
                let Written { identity, ack, metadata, .. } = in_kafka(number, now);
                (identity, Outcome::Acknowledged { ack, metadata })
            });
            assert_eq!(known, wanted.collect::<Vec<_>>());
        }
    }
    // Each takes two entries, of the current file and of the one before.
    let sizes: u64 = directory.files().iter().map(|path| fs::metadata(path).unwrap().len()).sum();
    assert!(sizes <= 2 * (36 + 2 * 5 * FRAME), "{sizes}");
    // Of the last five, some were written at once, and those before are in Kafka only after them.
    for number in 51..=55 {
        files.append(&frame(spooled(number)), 1).unwrap();
    }
    for number in [56, 57] {
        files.append(&frame(in_kafka(number, now)), 1).unwrap();
    }
    for number in [53, 54, 55] {
        files.append(&frame(in_kafka(number, now)), 0).unwrap();
    }
    for number in 58..=61 {
        files.append(&frame(in_kafka(number, now)), 1).unwrap();
    }
    drop(files);
    assert_eq!(directory.open(now).1, [57, 58, 59, 60, 61]);
}

/// Later by a millisecond than the one before.
fn in_kafka(number: u8, now: u64) -> Written {
    entry(number, now - 100 + u64::from(number))
}

#[test]
fn what_a_spool_holds_is_refused_and_stays() {
    let directory = Directory::new("of-a-spool");
    let (mut files, _) = directory.open(1_000);
    files.begin(1_000).unwrap();
    files.write(&[UnsealedFrame::of(b"a record that is nobody's entry")], 1).unwrap();
    drop(files);
    let before: Vec<_> = directory.files().into_iter().map(|path| (fs::read(&path).unwrap(), path)).collect();
    assert!(!before.is_empty());
    let error = Files::open(&directory.0, &Disk::default(), BOUNDS, 1_001).err().unwrap().to_string();
    assert!(error.contains("no idempotency journal has"), "{error}");
    let after: Vec<_> = directory.files().into_iter().map(|path| (fs::read(&path).unwrap(), path)).collect();
    assert_eq!(after, before);
}
