//! Whatever a host says, and in whatever order: there is at most one answer, none says yes without Kafka's
//! acknowledgement, and nothing goes on that its route does not let go on.
//!
//! The first line says what happens, a character for each event (see [`Play::event`]); then comes the request, to the
//! routes of `src/gateway.json`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wicketgate_envelope::hop::RecordResult;
use wicketgate_fuzz::gateway::{API_KEY, FixedEnv, acknowledged, config};
use wicketgate_fuzz::message::{Message, line};
use wicketgate_fuzz::record;
use wicketgate_policy::callout::Outcome;
use wicketgate_policy::exchange::{Effect, Event, Exchange};
use wicketgate_policy::head::RequestHead;
use wicketgate_policy::path::CanonicalPath;
use wicketgate_policy::reply::LocalReply;

/// `limits.body_bytes` of the configuration.
const MAX_BODY: usize = 2048;
/// More events show nothing that fewer don't.
const MAX_EVENTS: usize = 40;

fuzz_target!(|input: &[u8]| {
    let (script, rest) = line(input);
    let message = Message::parse(rest);
    let mut play = Play {
        exchange: Exchange::new(config()),
        env: FixedEnv::default(),
        kind: Kind::of(&message.head),
        message: &message,
        head_given: false,
        sent: Vec::new(),
        known: Vec::new(),
        passed: false,
        over: false,
    };
    script.iter().take(MAX_EVENTS).for_each(|&symbol| play.step(symbol));
});

/// What may become of a request, by its path alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// No route is for it.
    Reject,
    Produce,
    TeeOrDeny,
    TeeOrNot,
    Pass,
}

impl Kind {
    fn of(head: &RequestHead) -> Self {
        let Ok(path) = CanonicalPath::from_target(head.target()) else { return Self::Reject };
        match path.segments() {
            [first, ..] if first == "produce" => Self::Produce,
            [first, second, ..] if first == "tee" && second == "deny" => Self::TeeOrDeny,
            [first, second, ..] if first == "tee" && second == "continue" => Self::TeeOrNot,
            [first, ..] if first == "pass" => Self::Pass,
            _ => Self::Reject,
        }
    }
}

struct Play<'m> {
    exchange: Exchange,
    env: FixedEnv,
    kind: Kind,
    message: &'m Message<'m>,
    head_given: bool,
    /// The records on their way, by the ids of their events and by their topics.
    sent: Vec<(String, String)>,
    /// For each of them, whether Kafka has it, once that is known. Empty before they are sent.
    known: Vec<Option<bool>>,
    /// The request has gone on.
    passed: bool,
    /// It has been answered, or the host is done with it.
    over: bool,
}

impl Play<'_> {
    fn event(&mut self, symbol: u8) -> Option<Event<'static>> {
        let len = self.message.body.len();
        Some(match symbol {
            // One exchange has one head.
            b'H' | b'E' | b'X' if self.head_given => return None,
            b'H' => Event::Head { head: self.message.head.clone(), end_of_stream: false },
            b'E' => Event::Head { head: self.message.head.clone(), end_of_stream: true },
            b'X' => Event::HeadUnreadable,
            b'z' => Event::BodyBuffered { len: 0, end_of_stream: false },
            b'Z' => Event::BodyBuffered { len: 0, end_of_stream: true },
            b'b' => Event::BodyBuffered { len, end_of_stream: false },
            b'B' => Event::BodyBuffered { len, end_of_stream: true },
            b'l' => Event::BodyBuffered { len: usize::MAX, end_of_stream: false },
            b'T' => Event::Trailers,
            b'U' => Event::BodyUnreadable,
            b'P' => Event::ResponseHead,
            b'C' => Event::Closed,
            _ => {
                let open = self.known.iter().position(Option::is_none);
                // Where none is open, one that is known is told again, or one that never was sent.
                let index = open.unwrap_or(usize::from(symbol) % (self.known.len() + 1));
                let outcome = outcome(symbol, self.sent.get(index))?;
                if open.is_some() {
                    self.known[index] = Some(symbol == b'+');
                }
                Event::Outcome { index, outcome }
            }
        })
    }

    fn step(&mut self, symbol: u8) {
        let message = self.message;
        let event = match symbol {
            b'R' => Event::Body(message.body),
            _ => match self.event(symbol) {
                Some(event) => event,
                None => return,
            },
        };
        let closed = matches!(event, Event::Closed);
        let starts = matches!(event, Event::Head { .. } | Event::HeadUnreadable);
        let effect = self.exchange.step(event, &mut self.env);
        self.head_given |= starts;
        self.check(&effect);
        self.over |= closed;
    }

    fn check(&mut self, effect: &Effect) {
        if self.over {
            assert!(matches!(effect, Effect::Wait | Effect::Nothing), "{effect:?} when all is over");
            return;
        }
        match effect {
            Effect::Continue if self.passed => {}
            Effect::Continue => {
                assert!(matches!(self.kind, Kind::Pass | Kind::TeeOrNot), "{:?} went on", self.kind);
                assert!(self.known.is_empty());
                self.goes_on();
            }
            Effect::Resume => {
                assert!(!self.known.is_empty() && !self.known.contains(&None) && !self.passed);
                match self.kind {
                    Kind::TeeOrDeny => assert!(self.known.iter().all(|known| *known == Some(true))),
                    kind => assert_eq!(kind, Kind::TeeOrNot),
                }
                self.goes_on();
            }
            Effect::ReadBody { len } => {
                assert!(!self.passed && self.known.is_empty() && *len <= MAX_BODY);
            }
            Effect::Dispatch { records, .. } => {
                assert!(!self.passed && self.known.is_empty() && self.head_given);
                assert!(!matches!(self.kind, Kind::Reject | Kind::Pass), "{:?} was sent", self.kind);
                let anonymous = ["redacted", "carried"];
                if !records.iter().all(|record| anonymous.contains(&record.topic.as_str())) {
                    self.assert_authenticated();
                }
                record::check_all(records);
                self.sent =
                    records.iter().map(|record| (record.event_id.clone(), record.topic.clone())).collect();
                self.known = vec![None; records.len()];
            }
            Effect::Reply(reply) => {
                assert!(!self.passed);
                self.over = true;
                self.check_reply(reply);
            }
            Effect::SetResponseHeaders { .. } => assert!(self.passed),
            Effect::Fetch(fetch) => panic!("{fetch:?}, and nobody has to be asked here"),
            Effect::Wait | Effect::Nothing => {}
        }
    }

    fn goes_on(&mut self) {
        self.assert_authenticated();
        assert_eq!(self.exchange.head_changes().remove, ["x-api-key"]);
        self.passed = true;
    }

    fn assert_authenticated(&self) {
        assert!(self.head_given);
        assert_eq!(self.message.head.single("x-api-key"), Ok(Some(API_KEY)));
    }

    fn check_reply(&self, reply: &LocalReply) {
        let one = |wanted: &str| reply.headers.iter().filter(|(name, _)| name == wanted).count() == 1;
        assert!(one("x-request-id") && (reply.body.is_empty() || one("content-type")), "{reply:?}");
        let legal = |text: &str| text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
        assert!(reply.headers.iter().all(|(name, value)| legal(name) && legal(value)), "{reply:?}");
        let accepted = (200..300).contains(&reply.status);
        match self.known.as_slice() {
            [] if accepted => {
                let preflight = reply.status == 204 && self.message.head.method() == b"OPTIONS";
                assert!(preflight, "{reply:?} to what was never sent");
            }
            [] => assert!((400..=599).contains(&reply.status)),
            known => {
                assert!(!known.contains(&None), "{reply:?} before all is known");
                let count = known.iter().filter(|known| **known == Some(true)).count();
                let some = count > 0 && self.kind == Kind::Produce;
                assert_eq!(accepted, some, "{reply:?} where Kafka has {count} of {}", known.len());
                assert_eq!(reply.status == 207, some && count < known.len());
            }
        }
    }
}

fn outcome(symbol: u8, sent: Option<&(String, String)>) -> Option<Outcome> {
    let (id, topic) = sent.map_or(("", ""), |(id, topic)| (id, topic));
    Some(match symbol {
        b'+' => acknowledged(id, topic),
        // These prove nothing about the record.
        b'e' => acknowledged("another", topic),
        b'w' => acknowledged(id, "elsewhere"),
        b'i' => Outcome::Answered(RecordResult::Invalid { detail: "x".to_owned() }),
        b't' => Outcome::Answered(RecordResult::TooLarge),
        b'r' => Outcome::Answered(RecordResult::Refused),
        b'v' => Outcome::Answered(RecordResult::Unavailable { retry_after: 1 }),
        b'u' => Outcome::Answered(RecordResult::Unknown),
        b'n' => Outcome::Unreachable { retry_after: 1 },
        b'o' => Outcome::TimedOut,
        b'k' => Outcome::Broken,
        _ => return None,
    })
}
