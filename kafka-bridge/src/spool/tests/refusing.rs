//! Records that Kafka refused: how they are looked at, and tried again.

use super::*;

#[test]
fn what_was_refused_can_be_looked_at_and_tried_again() {
    let directory = Directory::new("refused");
    let (spool, _) = open(&directory);
    assert_eq!(outcome(append(&spool, b"1")), SPOOLED);
    stop(&spool);
    let mut dead = segment_log::dead_letters::Writer::new(&directory.0, 1, Disk::default());
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
        dead.append(&[(sequence, entry.encode())]).unwrap();
    }
    let dead_letters = || inspect(&directory.0, now_millis(), &mut |_, _| {}).unwrap().1.dead_letters;
    assert_eq!(dead_letters().records, 2);
    let mut out = Vec::new();
    assert_eq!(list_refused(&directory.0, &mut out).unwrap(), 2);
    let text = String::from_utf8(out).unwrap();
    assert!(
        text.starts_with(
            r#"{"reason":"unknown topic","spooled_at":"2026-11-22T13:16:26.123Z","topic":"gone","request_id":"r","key":{"base64":"/w=="},"headers":[["h","x"]],"value":"a"}"#
        ),
        "{text}"
    );
    assert_eq!(
        retry_refused(&directory.0).unwrap(),
        Retried(segment_log::dead_letters::PutBack { records: 2, torn: None })
    );
    assert_eq!(values(&directory), [b"1", b"a", b"b"]);
    assert_eq!(dead_letters(), state::DeadLetters::default());
    assert_eq!(open(&directory).1.records, 3);
}
