#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

const EVENT: &[u8] = br#"{"specversion": "1.0"}"#;

fn call(destination: &Destination<'_>, headers: &[(&str, &[u8])]) -> String {
    let mut call = RecordWriter::with_capacity(0);
    call.push(&write_record(destination, headers.iter().copied(), |out| out.extend_from_slice(EVENT)));
    String::from_utf8(call.finish()).unwrap()
}

#[test]
fn what_is_as_usual_is_left_out() {
    let body = call(&Destination::topic("orders"), &[]);
    assert_eq!(body, r#"{"records":[{"topic":"orders","event":{"specversion": "1.0"}}]}"#);
    let request: RecordsRequest<'_> = serde_json::from_str(&body).unwrap();
    let [record] = request.records.as_slice() else { panic!() };
    assert_eq!((record.partition, record.timestamp), (None, None));
    assert_eq!((record.mode, record.tombstone), (ValueMode::Structured, false));
    assert_eq!((record.ack, &record.cluster), (Ack::All, &None));
    assert!(record.key.is_none() && record.headers.is_empty());
    assert_eq!(record.identity, Identity::default());
}

#[test]
fn everything_else_arrives() {
    for (mode, ack) in
        [(ValueMode::Structured, Ack::Leader), (ValueMode::Binary, Ack::None), (ValueMode::Raw, Ack::Spooled)]
    {
        let identity = Identity { id_only: true, request: Some("12"), batch: Some("34") };
        let destination = Destination {
            topic: "a\"b",
            key: Some(b""),
            partition: Some(3),
            timestamp: Some(1_795_353_386_123),
            mode,
            tombstone: true,
            ack,
            cluster: Some("eu-1"),
            identity,
        };
        let body = call(&destination, &[("x", b"\xff"), ("x", b"1")]);
        let request: RecordsRequest<'_> = serde_json::from_str(&body).unwrap();
        let [record] = request.records.as_slice() else { panic!() };
        assert_eq!((&*record.topic, &record.key), ("a\"b", &Some("".into())));
        assert_eq!(record.headers, [("x".into(), Octets::from(&b"\xff"[..])), ("x".into(), "1".into())]);
        assert_eq!((record.partition, record.timestamp), (Some(3), Some(1_795_353_386_123)));
        assert_eq!((record.mode, record.tombstone), (mode, true));
        assert_eq!((record.ack, record.cluster.as_deref()), (ack, Some("eu-1")));
        assert_eq!(record.identity, identity);
        assert_eq!(record.event.get().as_bytes(), EVENT);
    }
}

#[test]
fn a_receipt_says_that_it_is_given_again_and_otherwise_nothing() {
    let receipt = r#"{"id":"e","topic":"t","partition":0,"offset":7,"timestamp":"2026-01-01T00:00:00.000Z","ack":"all"}"#;
    for (more, again) in [("", false), (r#","replayed":true"#, true)] {
        let text = format!(r#"{{"outcome":"acknowledged","receipt":{receipt}{more}}}"#);
        let result: RecordResult = serde_json::from_str(&text).unwrap();
        assert!(matches!(&result, RecordResult::Acknowledged { replayed, .. } if *replayed == again));
        assert_eq!(serde_json::to_string(&result).unwrap(), text);
    }
    assert_eq!(serde_json::to_string(&RecordResult::Conflict).unwrap(), r#"{"outcome":"conflict"}"#);
}

#[test]
fn a_receipt_says_where_a_record_is_only_if_that_is_known() {
    for ack in [Ack::None, Ack::Spooled] {
        let text = format!(r#"{{"id":"e","topic":"t","ack":"{ack}"}}"#);
        let receipt: Receipt = serde_json::from_str(&text).unwrap();
        assert_eq!((receipt.partition, receipt.offset, &receipt.timestamp), (None, None, &None));
        assert_eq!((receipt.ack, serde_json::to_string(&receipt).unwrap()), (ack, text));
    }
}

#[test]
fn no_degree_stands_for_one_that_promises_more() {
    const EACH: [Ack; 4] = [Ack::All, Ack::Leader, Ack::None, Ack::Spooled];
    for (wanted, good) in [
        (Ack::All, &[Ack::All][..]),
        (Ack::Leader, &[Ack::All, Ack::Leader]),
        (Ack::Spooled, &[Ack::All, Ack::Spooled]),
        (Ack::None, &EACH),
    ] {
        for ack in EACH {
            assert_eq!(ack.satisfies(wanted), good.contains(&ack), "{ack} for {wanted}");
        }
        assert_eq!(wanted.as_str().parse(), Ok(wanted));
    }
    assert_eq!("ALL".parse::<Ack>(), Err(UnknownAck));
}

#[test]
fn the_name_of_a_cluster_is_short_and_plain() {
    for name in ["a", "eu-1", "A.b_c", &"x".repeat(64)] {
        assert!(is_cluster_name(name), "{name}");
    }
    for name in ["", "a b", "a/b", "ä", "a\n", &"x".repeat(65)] {
        assert!(!is_cluster_name(name), "{name}");
    }
}

#[test]
fn of_too_many_headers_only_one_more_is_kept() {
    for (count, kept) in
        [(0, 0), (MAX_HEADERS, MAX_HEADERS), (MAX_HEADERS + 1, MAX_HEADERS + 1), (100_000, MAX_HEADERS + 1)]
    {
        let headers = vec![("x", &b"1"[..]); count];
        let body = call(&Destination::topic("t"), &headers);
        let request: RecordsRequest<'_> = serde_json::from_str(&body).unwrap();
        assert_eq!(request.records[0].headers.len(), kept, "{count}");
        assert!(matches!(request.records[0].headers.first(), None | Some((Cow::Borrowed("x"), _))));
    }
    let bad = r#"{"records":[{"topic":"t","headers":[["x"]],"event":{}}]}"#;
    serde_json::from_str::<RecordsRequest<'_>>(bad).unwrap_err();
}
