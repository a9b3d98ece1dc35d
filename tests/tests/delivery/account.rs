//! What callers were told, held against what arrived.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;
use wicketgate_tests::topic::Record;

use crate::load::{Attempt, Told};

/// At most so many of a kind of violation are shown.
const SHOWN: usize = 5;

/// The sums of one run. All count events, by their ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Account {
    /// Sent over a connection, once or several times.
    pub(crate) sent: usize,
    pub(crate) acknowledged: usize,
    pub(crate) not_written: usize,
    pub(crate) unknown: usize,
    /// In Kafka.
    pub(crate) arrived: usize,
    /// Of the unknown ones.
    pub(crate) unknown_arrived: usize,
    pub(crate) lost: usize,
    /// Records beyond the first with the same id.
    pub(crate) duplicates: usize,
}

/// What every run is held to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules<'a> {
    /// The acknowledgement that receipts tell of.
    pub(crate) ack: &'a str,
    /// Whether an event may be there more than once: its caller sent it again, or a spool was drained again.
    pub(crate) duplicates: bool,
}

impl Account {
    /// The sums of two runs that have no event in common.
    pub(crate) fn and(&self, other: &Self) -> Self {
        Self {
            sent: self.sent + other.sent,
            acknowledged: self.acknowledged + other.acknowledged,
            not_written: self.not_written + other.not_written,
            unknown: self.unknown + other.unknown,
            arrived: self.arrived + other.arrived,
            unknown_arrived: self.unknown_arrived + other.unknown_arrived,
            lost: self.lost + other.lost,
            duplicates: self.duplicates + other.duplicates,
        }
    }
}

struct Event<'a> {
    attempts: Vec<&'a Attempt>,
    places: &'a [(i32, i64)],
}

/// The id of the event in a record.
pub(crate) fn id_of(record: &Record) -> String {
    let event: Value = serde_json::from_slice(record.bytes()).expect("a record's value is an event");
    event["id"].as_str().expect("an event has an id").to_owned()
}

/// Sums up a run. `Err` has all that does not hold.
pub(crate) fn settle(
    attempts: &[Attempt],
    records: &[Record],
    rules: Rules<'_>,
) -> Result<Account, (Account, String)> {
    let mut places: HashMap<String, Vec<(i32, i64)>> = HashMap::new();
    for record in records {
        places.entry(id_of(record)).or_default().push((record.partition, record.offset));
    }
    let mut events: BTreeMap<&str, Event<'_>> = BTreeMap::new();
    for attempt in attempts {
        let found = places.get(&attempt.id).map_or(&[][..], Vec::as_slice);
        let event =
            events.entry(&attempt.id).or_insert_with(|| Event { attempts: Vec::new(), places: found });
        event.attempts.push(attempt);
    }

    let mut account = Account { arrived: places.len(), ..Account::default() };
    let mut wrong: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut say = |what: &'static str, which: String| wrong.entry(what).or_default().push(which);
    for (id, event) in &events {
        let Event { attempts, places } = event;
        let told = || attempts.iter().map(|attempt| &attempt.told);
        account.duplicates += places.len().saturating_sub(1);
        if places.len() > 1 && !rules.duplicates {
            say("written twice", format!("{id} at {places:?}"));
        }
        if told().any(|told| *told != Told::Unsent) {
            account.sent += 1;
        }
        let receipts: Vec<&Told> = told().filter(|told| matches!(told, Told::Acknowledged { .. })).collect();
        if !receipts.is_empty() {
            account.acknowledged += 1;
            if places.is_empty() {
                account.lost += 1;
                say("acknowledged and lost", format!("{id}, with {receipts:?}"));
            }
        } else if told().any(|told| matches!(told, Told::Unknown(_))) {
            account.unknown += 1;
            account.unknown_arrived += usize::from(!places.is_empty());
        } else {
            account.not_written += usize::from(told().any(|told| matches!(told, Told::NotWritten(_))));
            if !places.is_empty() {
                say(
                    "in Kafka, although callers were told that it is not",
                    format!("{id} at {places:?}, {:?}", told().collect::<Vec<_>>()),
                );
            }
        }
        for receipt in receipts {
            let Told::Acknowledged { partition, offset, ack, .. } = receipt else { continue };
            if ack != rules.ack {
                say("acknowledged otherwise than asked for", format!("{id}: {receipt:?}"));
            }
            let (Some(partition), Some(offset)) = (partition, offset) else {
                if rules.ack == "all" {
                    say("a receipt without a place", format!("{id}: {receipt:?}"));
                }
                continue;
            };
            // -1: the broker knows that it has it, and no longer where.
            let there =
                places.iter().any(|place| place.0 == *partition && (*offset == -1 || place.1 == *offset));
            if !there && !places.is_empty() {
                say(
                    "not where its receipt says",
                    format!("{id}: {partition}/{offset}, and it is at {places:?}"),
                );
            }
        }
    }
    for id in places.keys().filter(|id| !events.contains_key(id.as_str())) {
        say("in Kafka, and nobody sent it", id.clone());
    }
    for disorder in out_of_order(attempts, &places) {
        say("acknowledged out of order to a caller who waited for each answer", disorder);
    }
    if wrong.is_empty() {
        return Ok(account);
    }
    let text = wrong.iter().map(|(what, which)| {
        format!("{} {what}: {}\n", which.len(), which[..which.len().min(SHOWN)].join("; "))
    });
    let text = text.collect();
    Err((account, text))
}

/// Whoever waits for each answer and always uses the same key has what was acknowledged in the order in which it was
/// sent. Of an event that is there several times the first counts.
fn out_of_order(attempts: &[Attempt], places: &HashMap<String, Vec<(i32, i64)>>) -> Vec<String> {
    // By lane: the turn that is looked at, the last offset before it, and the last one of it.
    let mut lanes: HashMap<usize, (u64, i64, i64)> = HashMap::new();
    let mut disorder = Vec::new();
    for attempt in attempts.iter().filter(|attempt| matches!(attempt.told, Told::Acknowledged { .. })) {
        let Some(lane) = attempt.lane else { continue };
        let Some(offset) =
            places.get(&attempt.id).and_then(|places| places.iter().map(|place| place.1).min())
        else {
            continue;
        };
        let state = lanes.entry(lane).or_insert((attempt.turn, -1, -1));
        if state.0 != attempt.turn {
            *state = (attempt.turn, state.2, state.2);
        }
        if offset <= state.1 {
            disorder.push(format!("{} of lane {lane} at {offset}, after {}", attempt.id, state.1));
        }
        state.2 = state.2.max(offset);
    }
    disorder
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    const RULES: Rules<'_> = Rules { ack: "all", duplicates: false };

    fn attempt(id: &str, told: Told) -> Attempt {
        Attempt { id: id.to_owned(), lane: None, turn: 0, answered: Instant::now(), told }
    }

    fn acknowledged(partition: i32, offset: i64) -> Told {
        Told::Acknowledged {
            partition: Some(partition),
            offset: Some(offset),
            ack: "all".to_owned(),
            replayed: false,
        }
    }

    fn record(id: &str, partition: i32, offset: i64) -> Record {
        let value = Some(format!(r#"{{"id":"{id}"}}"#).into_bytes());
        Record { partition, offset, timestamp: 0, key: None, value, headers: Vec::new() }
    }

    fn wrong(attempts: &[Attempt], records: &[Record]) -> String {
        settle(attempts, records, RULES).unwrap_err().1
    }

    #[test]
    fn what_holds_is_summed_up() {
        let attempts = [
            attempt("a", acknowledged(0, 7)),
            attempt("b", Told::NotWritten(503)),
            attempt("c", Told::Unknown(Some(504))),
            attempt("d", Told::Unknown(None)),
            attempt("e", Told::Unsent),
            attempt("f", acknowledged(1, -1)),
        ];
        let records = [record("a", 0, 7), record("d", 0, 8), record("f", 1, 0)];
        let wanted = Account {
            sent: 5,
            acknowledged: 2,
            not_written: 1,
            unknown: 2,
            arrived: 3,
            unknown_arrived: 1,
            lost: 0,
            duplicates: 0,
        };
        assert_eq!(settle(&attempts, &records, RULES), Ok(wanted));
    }

    #[test]
    fn every_kind_of_lie_is_found() {
        let lost = [attempt("a", acknowledged(0, 1))];
        assert!(wrong(&lost, &[]).contains("1 acknowledged and lost: a"));
        assert!(wrong(&lost, &[record("a", 0, 2)]).contains("not where its receipt says: a"));
        assert!(wrong(&lost, &[record("a", 1, 1)]).contains("not where its receipt says: a"));
        assert!(wrong(&lost, &[record("a", 0, 1), record("a", 0, 2)]).contains("written twice: a"));
        assert!(wrong(&lost, &[record("a", 0, 1), record("b", 0, 2)]).contains("nobody sent it: b"));
        for told in [Told::NotWritten(503), Told::NotWritten(502), Told::Unsent] {
            let denied = [attempt("a", told)];
            assert!(wrong(&denied, &[record("a", 0, 1)]).contains("told that it is not: a"));
        }
        let weaker =
            Told::Acknowledged { partition: None, offset: None, ack: "none".into(), replayed: false };
        let text = wrong(&[attempt("a", weaker)], &[record("a", 0, 1)]);
        assert!(text.contains("otherwise than asked for") && text.contains("without a place"), "{text}");
    }

    #[test]
    fn a_caller_who_waits_has_its_order_kept() {
        let of = |id: &str, turn: u64, offset: i64| Attempt {
            lane: Some(0),
            turn,
            ..attempt(id, acknowledged(0, offset))
        };
        let together = [of("a", 1, 1), of("b", 1, 0), of("c", 2, 2)];
        let records = [record("b", 0, 0), record("a", 0, 1), record("c", 0, 2)];
        assert!(settle(&together, &records, RULES).is_ok());
        let behind = [of("a", 1, 5), of("b", 2, 4)];
        assert!(wrong(&behind, &[record("b", 0, 4), record("a", 0, 5)]).contains("out of order"));
    }

    #[test]
    fn an_event_that_is_sent_again_may_be_there_twice_where_the_rules_say_so() {
        let attempts = [attempt("a", Told::Unknown(None)), attempt("a", acknowledged(0, 1))];
        let records = [record("a", 0, 0), record("a", 0, 1)];
        assert!(settle(&attempts, &records, RULES).is_err());
        let account = settle(&attempts, &records, Rules { duplicates: true, ..RULES }).unwrap();
        assert_eq!((account.sent, account.acknowledged, account.duplicates, account.unknown), (1, 1, 1, 0));
    }
}
