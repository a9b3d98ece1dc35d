//! Requests that no well-behaved client sends: refused by name, nothing in Kafka, and the next one is served.

use serde_json::{Value, json};
use wicketgate_tests::gateway::KEY;
use wicketgate_tests::raw_http;

use crate::expect;
use crate::rig::{Rig, document};

fn routes() -> Value {
    json!([{
        "name": "input",
        "match": {"methods": ["POST"], "path": "/input/{id}"},
        "authentication": {"any_of": ["keys"]},
        "action": "produce",
        "accept": {"formats": ["raw"], "media_types": ["application/json", "text/*"]},
        "event": {"type": "com.example.input", "subject": "{id}"},
        "kafka": {"topic": "input", "key": "{header:x-key|default:none}", "headers": {"deep": "{pointer:/deep/er|default:none}"}},
    }])
}

async fn exchange(rig: &Rig, head: &[u8], body: &[u8]) -> (u16, String) {
    let mut request = head.to_vec();
    request
        .extend_from_slice(format!("connection: close\r\ncontent-length: {}\r\n\r\n", body.len()).as_bytes());
    request.extend_from_slice(body);
    let answer = raw_http::exchange(rig.gateway.envoy.address(), request).await;
    (raw_http::status(&answer), String::from_utf8_lossy(&answer).into_owned())
}

fn head(path: &[u8], more: &[u8]) -> Vec<u8> {
    [b"POST ", path, b" HTTP/1.1\r\nhost: g\r\nx-api-key: ", KEY.as_bytes(), b"\r\n", more].concat()
}

#[tokio::test]
async fn is_refused_and_the_next_request_is_served() {
    let rig = Rig::start(document(routes()), &["input"]).await;
    let json = b"content-type: application/json\r\n";
    let with = |more: &[u8]| [json, more].concat();
    let many: Vec<u8> = (0..200).flat_map(|n| format!("x-{n}: {n}\r\n").into_bytes()).collect();
    let large = format!("x-large: {}\r\n", "x".repeat(100_000)).into_bytes();
    let segments = "/x".repeat(1000).into_bytes();
    let nul = with(b"x-key: a\0b\r\n");
    for (path, more, body, statuses, named) in [
        // By the filter, which names the part.
        (&b"/input/\xff\xfe"[..], with(b""), &b"{}"[..], &[400][..], ""),
        (b"/input/%ff", with(b""), b"{}", &[400], "path"),
        (&[b"/input".as_slice(), &segments].concat(), with(b""), b"{}", &[400], "path"),
        (b"/input/1", with(b"x-key: \xff\xfe\r\n"), b"{}", &[400], "key: header x-key is not UTF-8"),
        (
            b"/input/1",
            with(b"x-key: a\r\nx-key: b\r\n"),
            b"{}",
            &[400],
            "key: header x-key occurs more than once",
        ),
        (b"/input/1", with(b"x-key: a\tb\r\n"), b"{}", &[400], "key: header x-key has a control character"),
        (b"/input/1", with(format!("x-key: {}\r\n", "k".repeat(20_000)).as_bytes()), b"{}", &[400], "key"),
        // Which Envoy makes one of, a list.
        (b"/input/1", with(json), b"{}", &[400, 415], "content-type"),
        (b"/input/1", b"content-type: app\xffl/json\r\n".to_vec(), b"{}", &[400], "content-type"),
        (b"/input/1", b"content-type: image/png\r\n".to_vec(), b"{}", &[415], "content-type"),
        (b"/input/1", b"content-type: application/jsonp\r\n".to_vec(), b"{}", &[415], "content-type"),
        (b"/input/1", Vec::new(), b"{}", &[415], "content-type"),
        (b"/input/1", with(b""), b"{\"a\": \xff}", &[400], "content-type says JSON"),
        (b"/input/1", with(b""), b"\xef\xbb\xbf{}", &[400], "content-type says JSON"),
        (b"/input/1", with(b""), b"{'a': 1}", &[400], "content-type says JSON"),
        (b"/input/1", with(b""), b"{\"a\": 01}", &[400], "content-type says JSON"),
        (b"/input/1", with(b""), b"{\"a\": 1}\0", &[400], "content-type says JSON"),
        // By Envoy, before it gets that far.
        (b"/input/1", many, b"{}", &[400, 431], ""),
        (b"/input/1", large, b"{}", &[400, 431], ""),
        (b"/input/1", nul, b"{}", &[400], ""),
        (b"/input/1", with(b"x_key: a\r\n"), b"{}", &[400], ""),
        (b"/input/1", with(b"content-length: 7\r\n"), b"{}", &[400], ""),
        (b"/input/1", with(b"transfer-encoding: chunked\r\n"), b"{}", &[400], ""),
    ] {
        let (status, answer) = exchange(&rig, &head(path, &more), body).await;
        let shown = String::from_utf8_lossy(&more[..more.len().min(80)]);
        assert!(statuses.contains(&status), "{} {shown}: {answer}", String::from_utf8_lossy(path));
        assert!(answer.contains(named), "{named}: {answer}");
    }
    rig.assert_nothing_happened().await;
    expect::accepted(&rig.send(rig.post_json("/input/1"), "{}").await);
    rig.topic("input").record().await;
}

/// What is odd and yet allowed arrives as it was written.
#[tokio::test]
async fn odd_json_is_kept_as_written() {
    let rig = Rig::start(document(routes()), &["input"]).await;
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let bodies = [
        "9007199254740993".to_owned(),
        "{\"n\": 123456789012345678901234567890.000, \"m\": -0.0, \"e\": 1E+400}".to_owned(),
        "{\"a\": 1, \"a\": 2, \"\": null}".to_owned(),
        "\"\\ud83d\\ude80 \\ud800 \\u0000\"".to_owned(),
        nested(100),
        format!("{{\"deep\": {{\"er\": {}}}}}", "7".repeat(1000)),
    ];
    for body in &bodies {
        let answer = rig.send(rig.post_json("/input/1"), body.clone()).await;
        assert_eq!(answer.status, 202, "{body}: {answer:?}");
    }
    let records = rig.topic("input").records().await;
    assert_eq!(records.len(), bodies.len());
    for (record, body) in records.iter().zip(&bodies) {
        assert_eq!(&String::from_utf8(expect::json_data(record)).unwrap(), body);
    }
    assert_eq!(records[5].header("deep"), ["7".repeat(1000).as_bytes()]);

    // So deep that whoever reads it by recursion is in danger: taken as it is, or refused. Never the end of the VM.
    for depth in [1_000, 100_000, 500_000] {
        for body in [
            nested(depth),
            "[".repeat(2 * depth),
            "{\"a\":".repeat(depth),
            format!("{{\"a\":{}}}", nested(depth)),
        ] {
            let answer = rig.send(rig.post_json("/input/1"), body).await;
            assert!(
                [202, 400, 413].contains(&answer.status.as_u16()),
                "{depth}: {:?} {:?}",
                answer.status,
                answer.body
            );
        }
        expect::accepted(&rig.send(rig.post_json("/input/1"), "{}").await);
        rig.gateway.envoy.assert_unharmed();
    }
}
