use super::*;

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
    let place = Place { partition: 3, offset: i64::from(number), timestamp };
    Written { identity: Identity::from_bytes([number; 32]), at, ack: Ack::All, place: Some(place) }
}

#[test]
fn an_entry_is_read_as_it_was_written_or_not_at_all() {
    for ack in [Ack::All, Ack::Leader, Ack::None, Ack::Spooled] {
        for place in [entry(1, 1).place, None] {
            let entry = Written { ack, place, ..entry(200, u64::MAX) };
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
        files.append(&entry(number, now - age).to_bytes()).unwrap();
    }
    drop(files);
    // 1 is as old as the window.
    let (files, known) = directory.open(now);
    assert_eq!(known, [2, 3, 4]);
    drop(files);
    let (mut files, known) = directory.open(now + 1_000);
    assert_eq!(known, [3, 4]);
    for number in 5..=8 {
        files.append(&entry(number, now).to_bytes()).unwrap();
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
        files.append(&entry(number, now).to_bytes()).unwrap();
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
        files.append(&entry(number, now).to_bytes()).unwrap();
    }
    drop(files);
    let path = directory.files().pop().unwrap();
    let mut bytes = fs::read(&path).unwrap();
    bytes[8 + ENTRY + 7] ^= 1;
    bytes.truncate(bytes.len() - 5);
    fs::write(&path, &bytes).unwrap();
    let (mut files, known) = directory.open(now);
    assert_eq!(known, [1, 3]);
    files.append(&entry(5, now).to_bytes()).unwrap();
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
    let error = Journal::open(Path::new("/proc/nowhere"), BOUNDS, Arc::default()).err().unwrap().to_string();
    assert!(error.starts_with("idempotency journal in /proc/nowhere: "), "{error}");
}

#[test]
fn what_comes_after_an_entry_comes_after_it_is_written() {
    let directory = Directory::new("then");
    let (journal, _) = Journal::open(&directory.0, BOUNDS, Arc::default()).unwrap();
    let path = directory.files().pop().unwrap();
    let (sender, receiver) = mpsc::channel();
    for number in 1..=3 {
        let (sender, path) = (sender.clone(), path.clone());
        let Written { identity, ack, place, .. } = entry(number, 0);
        let then = move || sender.send(fs::metadata(&path).unwrap().len()).unwrap();
        journal.append(identity, ack, place, Box::new(then));
    }
    journal.flush(Duration::from_secs(10));
    for number in 1..=3 {
        assert!(receiver.try_recv().unwrap() >= 8 + number * ENTRY as u64, "{number}");
    }
}
