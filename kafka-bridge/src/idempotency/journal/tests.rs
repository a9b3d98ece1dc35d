use super::*;
use prometheus_client::registry::Registry;
use std::io::Read as _;

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
        let (files, known) = Files::open(&self.0, BOUNDS, now).unwrap();
        (files, known.iter().map(|known| known.identity.to_bytes()[0]).collect())
    }

    fn files(&self) -> Vec<PathBuf> {
        numbers(&self.0).unwrap().into_iter().map(|number| self.0.join(name(number))).collect()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
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
            for bit in 0..ENTRY * 8 {
                let mut damaged = bytes;
                damaged[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(Written::from_bytes(&damaged), None, "bit {bit}");
            }
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
        files.append(&entry(number, now - age).to_bytes(), 1).unwrap();
    }
    drop(files);
    // 1 is as old as the window.
    let (files, known) = directory.open(now);
    assert_eq!(known, [2, 3, 4]);
    drop(files);
    let (mut files, known) = directory.open(now + 1_000);
    assert_eq!(known, [3, 4]);
    for number in 5..=8 {
        files.append(&entry(number, now).to_bytes(), 1).unwrap();
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
        files.append(&entry(number, now).to_bytes(), 1).unwrap();
        let sizes: u64 = directory.files().iter().map(|path| fs::metadata(path).unwrap().len()).sum();
        assert!(sizes <= 2 * (8 + 5 * ENTRY as u64), "{sizes} bytes after {number}");
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
        files.append(&entry(number, now).to_bytes(), 1).unwrap();
    }
    drop(files);
    let path = directory.files().pop().unwrap();
    let mut bytes = fs::read(&path).unwrap();
    bytes[8 + ENTRY + 7] ^= 1;
    bytes.truncate(bytes.len() - 5);
    fs::write(&path, &bytes).unwrap();
    let (mut files, known) = directory.open(now);
    assert_eq!(known, [1, 3]);
    files.append(&entry(5, now).to_bytes(), 1).unwrap();
    drop(files);
    assert_eq!(directory.open(now).1, [1, 3, 5]);
}

#[test]
fn what_is_no_journal_is_left_out() {
    let directory = Directory::new("other");
    fs::create_dir_all(&directory.0).unwrap();
    fs::write(directory.0.join(name(7)), b"something else entirely").unwrap();
    fs::write(directory.0.join("notes.txt"), b"mine").unwrap();
    assert!(directory.open(now()).1.is_empty());
    assert!(directory.0.join("notes.txt").exists());
}

#[test]
fn two_bridges_cannot_have_one_journal() {
    let directory = Directory::new("two");
    let (files, _) = directory.open(now());
    let error = Files::open(&directory.0, BOUNDS, now()).err().unwrap();
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
    let path = directory.files().pop().unwrap();
    let (sender, receiver) = mpsc::channel();
    for number in 1..=3 {
        let (sender, path) = (sender.clone(), path.clone());
        let Written { identity, ack, metadata, .. } = entry(number, 0);
        let then = move || sender.send(fs::metadata(&path).unwrap().len()).unwrap();
        journal.append(identity, ack, metadata, Box::new(then));
    }
    journal.flush(Duration::from_secs(10));
    for number in 1..=3 {
        assert!(receiver.try_recv().unwrap() >= 8 + number * ENTRY as u64, "{number}");
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
        files.append(&Written { identity, ..entry(1, now - age) }.to_bytes(), 1).unwrap();
    }
    drop(files);
    for _ in 0..2 {
        let (_files, known) = Files::open(&directory.0, BOUNDS, now).unwrap();
        let known: Vec<_> = known.iter().map(|known| known.identity).collect();
        assert_eq!(known, [entry(2, now).identity, again(8), entry(3, now).identity]);
    }
}

#[test]
fn files_with_other_names_are_left_alone() {
    let directory = Directory::new("names");
    fs::create_dir_all(&directory.0).unwrap();
    let others = ["5.journal", "+0000000000000000005.journal", "000000000000000000005.journal", ".journal"];
    for other in others {
        fs::write(directory.0.join(other), b"mine").unwrap();
    }
    assert!(directory.open(now()).1.is_empty());
    for other in others {
        assert_eq!(fs::read(directory.0.join(other)).unwrap(), b"mine", "{other}");
    }
    // Nothing could come after this one.
    let last = directory.0.join(name(u64::MAX));
    fs::write(&last, MAGIC).unwrap();
    let error = Files::open(&directory.0, BOUNDS, now()).err().unwrap().to_string();
    assert!(error.contains("18446744073709551615.journal: move it out"), "{error}");
    fs::remove_file(&last).unwrap();
    // What cannot be read is named.
    fs::create_dir(directory.0.join(name(7))).unwrap();
    let error = Files::open(&directory.0, BOUNDS, now()).err().unwrap().to_string();
    assert!(error.contains("00000000000000000007.journal: "), "{error}");
}

#[test]
fn an_old_file_that_cannot_be_removed_costs_nothing() {
    let directory = Directory::new("stays");
    let now = now();
    let (mut files, _) = directory.open(now);
    // A directory is no file that can be removed.
    fs::create_dir(directory.0.join(name(0))).unwrap();
    for number in 1..=20 {
        files.append(&entry(number, now).to_bytes(), 1).unwrap();
    }
    drop(files);
    fs::remove_dir(directory.0.join(name(0))).unwrap();
    assert_eq!(directory.open(now).1, [16, 17, 18, 19, 20]);
}

/// The disk is a pipe that nobody reads from: a write to it hangs, as to a volume that is gone.
#[test]
fn a_disk_that_hangs_holds_nobody_up() {
    let directory = Directory::new("hangs");
    let (mut files, _) = directory.open(now());
    let (mut reader, pipe) = io::pipe().unwrap();
    files.current = File::from(std::os::fd::OwnedFd::from(pipe));
    files.bounds.entries = usize::MAX;
    let metrics = Arc::new(Metrics::register(&mut Registry::default()));
    let journal = Journal::start(files, Arc::clone(&metrics)).unwrap();
    let (sender, receiver) = mpsc::channel();
    let append = |number: usize| {
        let Written { identity, ack, metadata, .. } = entry(u8::try_from(number % 251).unwrap(), 0);
        let sender = sender.clone();
        journal.append(identity, ack, metadata, Box::new(move || sender.send(number).unwrap()));
    };
    // More than a pipe holds, which is 64 KiB on Linux unless somebody has changed it.
    let total = 2_000;
    for number in 0..total {
        append(number);
        assert_eq!(receiver.recv_timeout(Duration::from_secs(20)), Ok(number));
    }
    let unjournaled = metrics.unjournaled_so_far();
    assert!((500..total).contains(&unjournaled), "{unjournaled}");
    // Once the disk goes on, so does the journal.
    let reading = thread::spawn(move || {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).unwrap();
        bytes
    });
    journal.flush(Duration::from_secs(20));
    append(total);
    assert_eq!(receiver.recv_timeout(Duration::from_secs(20)), Ok(total));
    drop(journal);
    let bytes = reading.join().unwrap();
    let read: Vec<_> =
        bytes.chunks(ENTRY).map(|chunk| Written::from_bytes(chunk).unwrap().identity).collect();
    // The one that hung was written in the end, and is counted all the same.
    assert_eq!(read.len() + unjournaled, total + 2);
    assert_eq!(read.last(), Some(&entry(u8::try_from(total % 251).unwrap(), 0).identity));
    assert_eq!(metrics.unjournaled_so_far(), unjournaled);
}

#[test]
fn entries_that_could_not_be_written_cost_no_others() {
    let directory = Directory::new("errors");
    let now = now();
    let (mut files, _) = directory.open(now);
    for number in 1..=4 {
        files.append(&entry(number, now).to_bytes(), 1).unwrap();
        // A file that nothing can be written to, and nothing cut off from.
        let good = std::mem::replace(&mut files.current, File::open(&directory.files()[0]).unwrap());
        files.append(&entry(100, now).to_bytes(), 1).unwrap_err();
        assert_eq!(files.state, Append::Torn);
        drop(good);
    }
    files.append(&entry(5, now).to_bytes(), 1).unwrap();
    drop(files);
    let (mut files, known) = directory.open(now);
    assert_eq!(known, [1, 2, 3, 4, 5]);
    // Files without an entry are not kept, nor those whose entries would not be remembered.
    for number in 6..=30 {
        files.append(&entry(number, now).to_bytes(), 1).unwrap();
        for _ in 0..2 {
            files.state = Append::Torn;
            files.rotate(now).unwrap();
        }
        assert!(directory.files().len() <= 2 + BOUNDS.entries, "{:?}", directory.files());
    }
    drop(files);
    let (mut files, known) = directory.open(now);
    assert_eq!(known, [26, 27, 28, 29, 30]);
    // Nor those whose entries are too old.
    files.rotate(now + 600_000).unwrap();
    files.rotate(now + 1_200_000).unwrap();
    assert_eq!(directory.files().len(), 1);
}

#[test]
fn a_part_of_an_entry_is_cut_off_and_the_file_goes_on() {
    let directory = Directory::new("cut-off");
    let now = now();
    let (mut files, _) = directory.open(now);
    files.append(&entry(1, now).to_bytes(), 1).unwrap();
    files.current.write_all(&[7; ENTRY - 1]).unwrap();
    files.cut_off().unwrap();
    files.append(&entry(2, now).to_bytes(), 1).unwrap();
    drop(files);
    assert_eq!(directory.files().len(), 1);
    let path = directory.files().remove(0);
    assert_eq!(fs::metadata(path).unwrap().len(), (MAGIC.len() + 2 * ENTRY) as u64);
    assert_eq!(directory.open(now).1, [1, 2]);
}

/// Spooled first, and then in Kafka.
#[test]
fn what_takes_two_entries_is_one_event() {
    let directory = Directory::new("drained");
    let now = now();
    let spooled = |number: u8| Written { ack: Ack::Spooled, metadata: None, ..in_kafka(number, now) };
    let (mut files, _) = directory.open(now);
    for number in 1..=50 {
        files.append(&spooled(number).to_bytes(), 1).unwrap();
        files.append(&in_kafka(number, now).to_bytes(), 0).unwrap();
        if number % 10 == 0 {
            drop(files);
            let known;
            (files, known) = Files::open(&directory.0, BOUNDS, now).unwrap();
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
    assert!(sizes <= 2 * (8 + 2 * 5 * ENTRY as u64), "{sizes}");
    // Of the last five, some were written at once, and those before are in Kafka only after them.
    for number in 51..=55 {
        files.append(&spooled(number).to_bytes(), 1).unwrap();
    }
    for number in [56, 57] {
        files.append(&in_kafka(number, now).to_bytes(), 1).unwrap();
    }
    for number in [53, 54, 55] {
        files.append(&in_kafka(number, now).to_bytes(), 0).unwrap();
    }
    for number in 58..=61 {
        files.append(&in_kafka(number, now).to_bytes(), 1).unwrap();
    }
    drop(files);
    assert_eq!(directory.open(now).1, [57, 58, 59, 60, 61]);
}

/// Later by a millisecond than the one before.
fn in_kafka(number: u8, now: u64) -> Written {
    entry(number, now - 100 + u64::from(number))
}
