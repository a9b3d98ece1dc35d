//! Dead letters.

use super::*;

/// All dead letters, in the order of their files.
pub(super) fn values(directory: &Directory) -> Vec<Vec<u8>> {
    let mut values = Vec::new();
    for (path, newest) in dead_letters::list(&directory.0).unwrap() {
        dead_letters::read(&path, newest, |record| {
            values.push(record.frame.payload.to_vec());
            Ok(())
        })
        .unwrap();
    }
    values
}

fn writer(directory: &Directory, disk: &Disk) -> dead_letters::Writer {
    dead_letters::Writer::new(&directory.0, 1 << 20, disk.clone())
}

fn letter(sequence: u64, value: &[u8]) -> [(u64, UnsealedFrame); 1] {
    [(sequence, UnsealedFrame::of(value))]
}

fn put_back(directory: &Directory) -> Result<dead_letters::PutBack, LogError> {
    dead_letters::put_back(inspected(&directory.0)?, &Disk::default(), |payload| {
        Ok(UnsealedFrame::of(payload))
    })
}

#[test]
fn they_can_be_put_back() {
    let directory = Directory::new("put-back");
    let (log, _) = open(&directory);
    assert_eq!(append(&log, b"1"), Outcome::Durable);
    stop(&log);
    // A file for each.
    let mut dead = dead_letters::Writer::new(&directory.0, 1, Disk::default());
    for (sequence, value) in [(7, b"a"), (9, b"b")] {
        dead.append(&letter(sequence, value)).unwrap();
    }
    assert_eq!(values(&directory), [b"a", b"b"]);
    assert_eq!(put_back(&directory).unwrap(), dead_letters::PutBack { records: 2, torn: None });
    assert_eq!(super::values(&directory), [b"1", b"a", b"b"]);
    assert_eq!((values(&directory).len(), dead_letters::bytes(&directory.0).unwrap()), (0, 0));
    assert_eq!(open(&directory).1.records, 3);
}

#[test]
fn they_are_written_together_and_leave_nothing_behind_where_that_fails() {
    let directory = Directory::new("dead");
    stop(&open(&directory).0);
    let disk = Disk::default();
    let mut dead = writer(&directory, &disk);
    let many: Vec<_> = (1..=100).map(|number| (number, UnsealedFrame::of(b"value"))).collect();
    let files = || segment::list(&dead_letters::directory(&directory.0)).unwrap().len();
    // Room for a file's header, and for a part of what is to be in it.
    for room in [SEGMENT_HEADER, SEGMENT_HEADER + 200] {
        disk.faults.room.store(room, Ordering::SeqCst);
        assert!(dead.append(&many).is_err());
        assert_eq!(files(), 0, "{room}");
    }
    disk.faults.room.store(usize::MAX, Ordering::SeqCst);
    // One sync each for the file, its directory and all records.
    disk.faults.syncs.store(3, Ordering::SeqCst);
    let bytes = dead.append(&many).unwrap();
    assert_eq!(disk.faults.syncs.load(Ordering::SeqCst), 0);
    disk.faults.syncs.store(usize::MAX, Ordering::SeqCst);
    assert_eq!(
        (values(&directory).len(), dead_letters::bytes(&directory.0).unwrap(), files()),
        (100, bytes, 1)
    );
    // What had been written before a sync failed is there, and so is what comes after.
    disk.faults.syncs.store(0, Ordering::SeqCst);
    assert!(dead.append(&many).is_err());
    assert_eq!(dead.append(&many).unwrap(), bytes);
    assert_eq!(values(&directory).len(), 200);
}

/// What was being written when its process ended may be at the end of the newest file, and nowhere else.
#[test]
fn only_the_newest_file_may_end_with_something_torn() {
    let directory = Directory::new("dead-torn");
    stop(&open(&directory).0);
    let add = |values: [&[u8]; 2]| {
        let mut dead = writer(&directory, &Disk::default());
        for value in values {
            dead.append(&letter(1, value)).unwrap();
        }
    };
    let damage = |number: u64| {
        let path = segment::path(&dead_letters::directory(&directory.0), number);
        let mut bytes = fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&path, &bytes).unwrap();
        (path, bytes)
    };
    add([b"1", b"2"]);
    let (first, bytes) = damage(1);
    assert_eq!(values(&directory), [b"1"]);
    // Before another file comes behind it, it ends with what is whole, and the rest is beside it.
    add([b"3", b"4"]);
    let kept = fs::read(first.with_extension("torn")).unwrap();
    assert_eq!([fs::read(&first).unwrap(), kept].concat(), bytes);
    assert_eq!(values(&directory).len(), 3);

    let (second, bytes) = damage(2);
    let put = put_back(&directory).unwrap();
    assert_eq!(put, dead_letters::PutBack { records: 2, torn: Some(second.with_extension("torn")) });
    assert_eq!(fs::read(second.with_extension("torn")).unwrap(), bytes);
    assert_eq!(values(&directory).len(), 0);
    assert_eq!(super::values(&directory), [b"1", b"3"]);

    // What was kept before stays.
    add([b"5", b"6"]);
    let _ = damage(1);
    assert_eq!(put_back(&directory).unwrap().torn, Some(first.with_extension("2.torn")));

    // In a file with another behind it, it is damage.
    for values in [[b"7", b"8"], [b"9", b"a"]] {
        add(values.map(|value| &value[..]));
    }
    let (first, bytes) = damage(1);
    let found = inspected(&directory.0).unwrap_err();
    assert!(found.salvage_helps && found.what.contains("damaged at byte"), "{found}");
    assert!(found.what.contains(first.to_str().unwrap()), "{found}");
    put_back(&directory).unwrap_err();
    assert_eq!(fs::read(&first).unwrap(), bytes);
    let mut told = Vec::new();
    check(&directory.0, &|_| true, &mut told).unwrap().unwrap_err();
    let told = String::from_utf8(told).unwrap();
    assert!(told.contains(&format!("{}: damaged at byte", first.display())), "{told}");
    assert_eq!(salvage(&directory.0, 2_000, &|_| true).unwrap().dead_letters, 1);
    assert_eq!(values(&directory).len(), 3);
}

#[test]
fn nothing_comes_behind_a_file_that_could_not_be_written_anew() {
    let directory = Directory::new("dead-repair");
    stop(&open(&directory).0);
    let disk = Disk::default();
    let mut dead = writer(&directory, &disk);
    dead.append(&letter(1, b"1")).unwrap();
    // There is room for a part of the record, and none for writing anew what was there before.
    disk.faults.room.store(30, Ordering::SeqCst);
    for _ in 0..2 {
        dead.append(&letter(2, b"2")).unwrap_err();
        assert_eq!(dead_letters::list(&directory.0).unwrap().len(), 1);
    }
    disk.faults.room.store(usize::MAX, Ordering::SeqCst);
    dead.append(&letter(2, b"2")).unwrap();
    assert_eq!(dead_letters::list(&directory.0).unwrap().len(), 2);
    assert_eq!(values(&directory), [b"1", b"2"]);
}
