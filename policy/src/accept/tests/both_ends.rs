//! The events of `envelope/events/both-ends.json`, from the gateway's side; kafka-bridge is held to the same.

#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

#[derive(serde::Deserialize)]
struct Case {
    why: String,
    taken: bool,
    event: String,
    headers: Option<Vec<(String, String)>>,
    body: String,
}

#[test]
fn every_mode_takes_the_events_that_kafka_bridge_takes_and_no_others() {
    let cases: Vec<Case> =
        serde_json::from_str(include_str!("../../../../envelope/events/both-ends.json")).unwrap();
    assert!(cases.iter().filter(|case| !case.taken).count() >= 32);
    let everything = everything();
    for Case { why, taken, event, headers, body } in &cases {
        let structured = accept(&everything, &head(&[STRUCTURED]), event.as_bytes()).map(drop);
        assert_eq!(structured.is_ok(), *taken, "structured, {why}: {structured:?}");
        let batched = accept(&everything, &head(&[BATCH]), format!("[{event}]").as_bytes()).map(drop);
        assert_eq!(batched.is_ok(), *taken, "batched, {why}: {batched:?}");
        if let Some(headers) = headers {
            let fields: Vec<(&str, &str)> =
                headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            // Without a version it is no event, and carried as a body.
            let head = head(&fields);
            let binary = accept(&everything, &head, body.as_bytes());
            let is_event = fields.iter().any(|(name, _)| *name == "ce-specversion");
            let binary = binary.map(|batch| batch.format);
            assert_eq!(binary.is_ok() && is_event, *taken, "binary, {why}: {binary:?}");
        }
    }
}
