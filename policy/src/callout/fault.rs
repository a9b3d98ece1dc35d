//! What is wrong between the gateway and kafka-bridge, for the log of whoever runs them. Callers are told that it is
//! there, and no more.

use std::fmt::Write as _;
use std::time::Duration;

use wicketgate_envelope::timestamp::Timestamp;

use super::Response;
use crate::config::Bridge;

/// How long a line that is like one before is left out.
const PAUSE: Duration = Duration::from_secs(60);

/// How much of what others say goes into a line.
const MOST_QUOTED: usize = 200;

/// A way in which a call to kafka-bridge comes to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The proxy has not taken it.
    NotTaken,
    /// It found nobody.
    NoConnection,
    /// There was no answer in time.
    TimedOut,
    /// The connection broke before the answer was whole.
    CutShort,
    /// Something else has answered.
    NotTheBridge,
    /// It does not count as the gateway's own.
    Rejected,
    /// kafka-bridge does not understand it, or its answer is not understood.
    OtherRelease,
}

impl Fault {
    /// What is wrong and what mends it, in one line, without secrets.
    pub fn line(self, bridge: &Bridge, response: Option<Response<'_>>, now: Timestamp) -> String {
        let upstream = &bridge.upstream;
        let Response { status, release, date, body, .. } = response.unwrap_or_default();
        let said = quoted(&String::from_utf8_lossy(body));
        let what = match self {
            Self::NotTaken => {
                "the proxy does not take calls to it, most likely because it has no cluster of that name; have bridge.upstream \
                 be the name of the cluster that leads to kafka-bridge"
                    .to_owned()
            }
            Self::NoConnection => format!(
                "no connection to it ({said}); see that kafka-bridge runs, and that address, TLS and health checks of the \
                 cluster are right"
            ),
            Self::TimedOut => "no answer within bridge.timeout, and what was sent may be written; see that kafka-bridge is not \
                               stuck, and that bridge.timeout is longer than its --delivery-timeout by a second or more"
                .to_owned(),
            Self::CutShort => format!(
                "the connection broke before the answer was whole ({said}), and what was sent may be written; see whether \
                 kafka-bridge ended, and what is between"
            ),
            Self::NotTheBridge => format!(
                "an answer ({status}) that is not kafka-bridge's, and what was sent may be written; see where the cluster leads, \
                 and what is between"
            ),
            Self::Rejected if bridge.signing_key.is_none() => {
                "kafka-bridge asks for a proof (401); give the document a bridge.secret, one of those in its --hop-secret-file, \
                 or the cluster a client certificate"
                    .to_owned()
            }
            Self::Rejected => format!(
                "kafka-bridge does not take the signature (401); have bridge.secret be one of those in its --hop-secret-file, the \
                 clocks less than a minute apart (it is {now} here and {} there), and no call sent twice; its log says which",
                quoted(date)
            ),
            Self::OtherRelease => format!(
                "kafka-bridge {} and this filter ({}) do not understand each other ({status}); have them be of one release, and \
                 let nothing between change what is sent",
                quoted(release),
                env!("CARGO_PKG_VERSION")
            ),
        };
        format!("kafka-bridge by the upstream {upstream:?}: {what}")
    }
}

/// The start of what others say, in one line.
fn quoted(text: &str) -> String {
    let mut quoted = String::new();
    for character in text.chars().take(MOST_QUOTED) {
        let _ = write!(quoted, "{}", character.escape_default());
    }
    quoted
}

/// Of which faults there has been a line lately.
#[derive(Debug, Default)]
pub struct Faults(Vec<Seen>);

#[derive(Debug)]
struct Seen {
    fault: Fault,
    last: Timestamp,
    left_out: u64,
}

impl Faults {
    /// Whether there is to be a line of this fault, of which there is one a minute: if so, how many calls it has struck
    /// since the last, besides this one.
    pub fn note(&mut self, fault: Fault, now: Timestamp) -> Option<u64> {
        let Some(seen) = self.0.iter_mut().find(|seen| seen.fault == fault) else {
            self.0.push(Seen { fault, last: now, left_out: 0 });
            return Some(0);
        };
        // A clock that was set back does not silence it.
        let apart = seen.last.as_millis().abs_diff(now.as_millis());
        if u128::from(apart) < PAUSE.as_millis() {
            seen.left_out += 1;
            return None;
        }
        seen.last = now;
        Some(std::mem::take(&mut seen.left_out))
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn of_each_fault_there_is_one_line_a_minute_which_counts_the_others() {
        let mut faults = Faults::default();
        let at = |seconds: i64| Timestamp::from_millis(1_795_353_386_123 + seconds * 1_000);
        assert_eq!(faults.note(Fault::Rejected, at(0)), Some(0));
        assert_eq!(faults.note(Fault::Rejected, at(0)), None);
        assert_eq!(faults.note(Fault::Rejected, at(59)), None);
        assert_eq!(faults.note(Fault::CutShort, at(59)), Some(0));
        assert_eq!(faults.note(Fault::Rejected, at(60)), Some(2));
        assert_eq!(faults.note(Fault::Rejected, at(120)), Some(0));
        assert_eq!(faults.note(Fault::Rejected, at(0)), Some(0), "the clock was set back");
    }

    #[test]
    fn what_others_say_stays_in_its_line_and_is_short() {
        assert_eq!(quoted("a\nb\u{1b}[31m\"ü"), r#"a\nb\u{1b}[31m\"\u{fc}"#);
        assert_eq!(quoted(&"x".repeat(10_000)).len(), MOST_QUOTED);
    }
}
