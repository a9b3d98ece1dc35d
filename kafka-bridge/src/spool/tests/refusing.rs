//! Records that were set aside: how they are written, looked at, and tried again.

use super::*;

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
    let entry = Entry { spooled_at: now_millis(), reason: Some("why"), ..Entry::with_value(value) };
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
