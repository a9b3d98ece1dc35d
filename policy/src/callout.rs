//! Reads what came back from a callout to kafka-bridge.

mod fault;

pub use fault::{Fault, Faults};

use wicketgate_envelope::hop::{LimitState, RecordResult, RecordsResponse};

/// What became of one record, as far as the gateway knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// kafka-bridge has answered.
    Answered(RecordResult),
    /// The call did not leave the gateway, found nobody, or did not count as a gateway's own: nothing was written.
    Unreachable {
        /// When to try again, in seconds.
        retry_after: u32,
    },
    /// No answer in time.
    TimedOut,
    /// The connection broke after the call had left, or the answer cannot be read.
    Broken,
}

/// When a caller may try again whose event was not taken because the call with it did not count as the gateway's own,
/// or was not understood, in seconds: what is behind that is mended by people, or takes as long as a secret or a release
/// takes to be everywhere.
const REJECTED_RETRY_AFTER: u32 = 10;

/// The answer to a callout, as the host hands it over.
#[derive(Clone, Copy, Debug, Default)]
pub struct Response<'a> {
    /// The HTTP status.
    pub status: u16,
    /// Whether it carries the header that only kafka-bridge sets.
    pub from_bridge: bool,
    /// What that header says: which release it is.
    pub release: &'a str,
    /// Its `date`.
    pub date: &'a str,
    /// The content.
    pub body: &'a [u8],
}

/// Says for each of `count` records what became of it, and what is wrong between gateway and kafka-bridge if it is that which
/// kept them from an answer of their own. `None` is a call that failed without any answer.
pub fn outcomes(response: Option<Response<'_>>, count: usize) -> (Vec<Outcome>, Option<Fault>) {
    if let Some(results) = response.and_then(|response| results(&response, count)) {
        return (results.into_iter().map(Outcome::Answered).collect(), None);
    }
    let (outcome, fault) = match response {
        None => (Outcome::Broken, Some(Fault::CutShort)),
        Some(response) if response.from_bridge => from_bridge(response.status),
        Some(response) => from_proxy(&response),
    };
    (vec![outcome; count], fault)
}

/// Says for each of `count` requests what the limits have said that it shares with other gateways; nothing, where
/// kafka-bridge has not said that.
pub fn limit_states(response: Option<Response<'_>>, count: usize) -> Vec<Vec<LimitState>> {
    let answer = response.filter(|response| response.from_bridge);
    let answer = answer.and_then(|response| serde_json::from_slice::<RecordsResponse>(response.body).ok());
    match answer {
        Some(answer) if answer.limits.len() == count => answer.limits,
        _ => vec![Vec::new(); count],
    }
}

/// Whether kafka-bridge has refused a call with `count` records because the call as a whole is larger than it takes.
/// Nothing of it was written, and parts of it may be taken.
pub fn is_call_too_large(response: Response<'_>, count: usize) -> bool {
    response.from_bridge && response.status == 413 && results(&response, count).is_none()
}

/// What became of all records of a call that has no results for them, and whose fault that is if it is neither Kafka's nor
/// the call's own.
fn from_bridge(status: u16) -> (Outcome, Option<Fault>) {
    // kafka-bridge refuses a call as a whole before it looks at any record in it.
    let unreachable = Outcome::Unreachable { retry_after: REJECTED_RETRY_AFTER };
    match status {
        413 => (Outcome::Answered(RecordResult::TooLarge), None),
        // A clock that is wrong or a secret that is being changed: nothing is wrong with the event.
        401 => (unreachable, Some(Fault::Rejected)),
        // It came too slowly, or there were too many.
        408 | 429 | 503 => (Outcome::Answered(RecordResult::Unavailable { retry_after: 1 }), None),
        400..=499 => (unreachable, Some(Fault::OtherRelease)),
        _ => (Outcome::Broken, Some(Fault::OtherRelease)),
    }
}

/// What kafka-bridge says of each of `count` records, if it says that.
fn results(response: &Response<'_>, count: usize) -> Option<Vec<RecordResult>> {
    if !response.from_bridge {
        return None;
    }
    let answer = serde_json::from_slice::<RecordsResponse>(response.body).ok()?;
    (answer.results.len() == count).then_some(answer.results)
}

/// Envoy answers a callout in kafka-bridge's place: 504 when time is up, 503 for every way in which a connection can
/// fail. Only its text tells those in which no connection was ever had from the others (Envoy,
/// `Utility::resetReasonToString` in `source/common/http/utility.cc`, and `no healthy upstream` in the router). What
/// it does not clearly say counts as sent.
fn from_proxy(response: &Response<'_>) -> (Outcome, Option<Fault>) {
    const NOT_SENT: [&[u8]; 5] = [
        b"no healthy upstream",
        b"reset reason: local connection failure",
        b"reset reason: remote connection failure",
        b"reset reason: connection timeout",
        b"reset reason: overflow",
    ];
    const SENT: &[u8] = b"upstream connect error or disconnect/reset before headers";
    let (outcome, fault) = match response.status {
        504 => (Outcome::TimedOut, Fault::TimedOut),
        503 if NOT_SENT.iter().any(|text| contains(response.body, text)) => {
            (Outcome::Unreachable { retry_after: 1 }, Fault::NoConnection)
        }
        503 if contains(response.body, SENT) => (Outcome::Broken, Fault::CutShort),
        _ => (Outcome::Broken, Fault::NotTheBridge),
    };
    (outcome, Some(fault))
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

#[cfg(test)]
mod tests {
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn outcome(status: u16, from_bridge: bool, body: &str) -> (Outcome, Option<Fault>) {
        let response = Response { status, from_bridge, body: body.as_bytes(), ..Response::default() };
        let (outcomes, fault) = outcomes(Some(response), 1);
        let [outcome] = outcomes.try_into().unwrap();
        (outcome, fault)
    }

    #[test]
    fn only_what_says_that_nothing_was_sent_counts_as_not_sent() {
        let reset = "upstream connect error or disconnect/reset before headers. reset reason: ";
        let not_sent = (Outcome::Unreachable { retry_after: 1 }, Some(Fault::NoConnection));
        let broken = |fault| (Outcome::Broken, Some(fault));
        for (status, body, wanted) in [
            (503, "no healthy upstream".to_owned(), not_sent.clone()),
            (503, format!("{reset}remote connection failure, transport failure reason: x"), not_sent.clone()),
            (503, format!("{reset}overflow"), not_sent),
            (503, format!("{reset}connection termination"), broken(Fault::CutShort)),
            (503, format!("{reset}protocol error"), broken(Fault::CutShort)),
            (503, String::new(), broken(Fault::NotTheBridge)),
            (404, "<html>".to_owned(), broken(Fault::NotTheBridge)),
            (504, "upstream request timeout".to_owned(), (Outcome::TimedOut, Some(Fault::TimedOut))),
            (202, r#"{"results":[{"outcome":"unknown"}]}"#.to_owned(), broken(Fault::NotTheBridge)),
        ] {
            assert_eq!(outcome(status, false, &body), wanted, "{status} {body}");
        }
        assert_eq!(outcomes(None, 2), (vec![Outcome::Broken, Outcome::Broken], Some(Fault::CutShort)));
    }

    #[test]
    fn the_bridge_is_taken_at_its_word_and_at_nothing_less() {
        let answered = |result| (Outcome::Answered(result), None);
        let other_release = (Outcome::Unreachable { retry_after: 10 }, Some(Fault::OtherRelease));
        let broken = (Outcome::Broken, Some(Fault::OtherRelease));
        for (status, body, wanted) in [
            (502, r#"{"results":[{"outcome":"refused"}]}"#, answered(RecordResult::Refused)),
            (
                503,
                r#"{"results":[{"outcome":"unavailable","retry_after":7}]}"#,
                answered(RecordResult::Unavailable { retry_after: 7 }),
            ),
            (413, "{}", answered(RecordResult::TooLarge)),
            (400, "{}", other_release.clone()),
            (403, "{}", other_release.clone()),
            (404, "{}", other_release),
            (401, "{}", (Outcome::Unreachable { retry_after: 10 }, Some(Fault::Rejected))),
            (408, "{}", answered(RecordResult::Unavailable { retry_after: 1 })),
            (429, "{}", answered(RecordResult::Unavailable { retry_after: 1 })),
            (503, "{}", answered(RecordResult::Unavailable { retry_after: 1 })),
            (202, "", broken.clone()),
            (202, r#"{"results":[]}"#, broken.clone()),
            (202, r#"{"results":[{"outcome":"acknowledged"}]}"#, broken.clone()),
            (202, r#"{"results":[{"outcome":"unknown"},{"outcome":"unknown"}]}"#, broken.clone()),
            (500, "{}", broken),
        ] {
            assert_eq!(outcome(status, true, body), wanted, "{status} {body}");
        }
    }

    #[test]
    fn a_call_that_is_too_large_is_told_from_records_that_are() {
        let too_large = |status, from_bridge, body: &str, count| {
            is_call_too_large(
                Response { status, from_bridge, body: body.as_bytes(), ..Response::default() },
                count,
            )
        };
        let each = r#"{"results":[{"outcome":"too_large"},{"outcome":"too_large"}]}"#;
        assert!(too_large(413, true, r#"{"type":"urn:wicketgate:problem:too-large"}"#, 2));
        assert!(too_large(413, true, "", 2));
        assert!(!too_large(413, true, each, 2));
        assert!(!too_large(413, false, "", 2));
        assert!(!too_large(503, true, "", 2));
    }
}
