use super::*;
use crate::delivery::RecordMetadata;
use prometheus_client::registry::Registry;
use wicketgate_envelope::hop::Ack;
use wicketgate_envelope::timestamp::Timestamp;

fn metrics() -> Arc<Metrics> {
    Arc::new(Metrics::register(&mut Registry::default()))
}

const WINDOW: Duration = Duration::from_secs(600);

fn memory(limit: usize) -> Arc<Memory> {
    Arc::new(Memory::bounded(limit, WINDOW, metrics()))
}

fn identity(name: u8, content: u8) -> Identity {
    Identity { name: [name; 16], content: [content; 16] }
}

fn written(offset: i64) -> Outcome {
    let metadata = RecordMetadata { partition: 0, offset, timestamp: Timestamp::from_millis(1) };
    Outcome::Acknowledged { ack: Ack::All, metadata: Some(metadata) }
}

fn claim(memory: &Arc<Memory>, name: u8, now: Instant) -> Claim {
    match memory.admit(identity(name, 0), Ack::All, None, now) {
        Admission::New(claim) => claim,
        other => panic!("{name}: {other:?}"),
    }
}

fn is_written(memory: &Arc<Memory>, name: u8, now: Instant) -> bool {
    // An event that is not known is no longer so when its claim is dropped.
    matches!(memory.admit(identity(name, 0), Ack::All, None, now), Admission::Written(_))
}

#[test]
fn what_is_acknowledged_is_remembered_with_its_place() {
    let memory = memory(10);
    let now = Instant::now();
    claim(&memory, 1, now).settle(written(7));
    assert!(
        matches!(memory.admit(identity(1, 0), Ack::All, None, now), Admission::Written(outcome) if outcome == written(7))
    );
    assert!(matches!(memory.admit(identity(1, 1), Ack::All, None, now), Admission::Conflict));
    assert!(matches!(memory.admit(identity(2, 0), Ack::All, None, now), Admission::New(_)));
}

#[test]
fn what_failed_may_be_tried_again_even_as_another_event() {
    let memory = memory(10);
    let now = Instant::now();
    for outcome in [Outcome::Unknown, Outcome::Unavailable, Outcome::Refused, Outcome::TooLarge] {
        claim(&memory, 1, now).settle(outcome);
        assert!(
            matches!(memory.admit(identity(1, 1), Ack::All, None, now), Admission::New(_)),
            "{outcome:?}"
        );
    }
    assert!(memory.state().entries.is_empty() && memory.state().acknowledged.is_empty());
}

#[test]
fn what_comes_while_the_first_is_in_flight_gets_the_same_outcome_and_may_try_again_where_that_was_refused() {
    for (outcome, told) in [
        (written(3), written(3)),
        (Outcome::Unknown, Outcome::Unknown),
        (Outcome::Unavailable, Outcome::Unavailable),
        (Outcome::Refused, Outcome::Unavailable),
        (Outcome::TooLarge, Outcome::Unavailable),
    ] {
        let memory = memory(10);
        let now = Instant::now();
        let first = claim(&memory, 1, now);
        let [mut second, third] = [0, 1].map(|_| match memory.admit(identity(1, 0), Ack::All, None, now) {
            Admission::InFlight(delivery) => delivery,
            other => panic!("{other:?}"),
        });
        assert!(matches!(memory.admit(identity(1, 1), Ack::All, None, now), Admission::Conflict));
        assert!(second.try_recv().is_err());
        // Nobody minds one that does not wait.
        drop(third);
        first.settle(outcome);
        assert_eq!(second.try_recv(), Ok(told));
    }
}

#[test]
fn who_asks_for_no_more_than_a_queue_waits_for_that_and_no_longer() {
    let admit = |memory: &Arc<Memory>, ack| match memory.admit(identity(1, 0), ack, None, Instant::now()) {
        Admission::InFlight(delivery) => delivery,
        other => panic!("{other:?}"),
    };
    for outcome in [Outcome::Unavailable, Outcome::TooLarge, Outcome::Refused, written(3)] {
        // No queue has taken it, and none does.
        let memory = memory(10);
        let first = claim(&memory, 1, Instant::now());
        let queueing = first.queueing();
        let mut copies = [Ack::None, Ack::Spooled, Ack::Leader, Ack::All].map(|ack| admit(&memory, ack));
        assert!(copies.iter_mut().all(|copy| copy.try_recv().is_err()));
        first.settle(outcome);
        assert_eq!(copies.map(|mut copy| copy.try_recv().ok()), [Some(of_copies(outcome)); 4]);
        // Word of a queue that comes late is no word of the next attempt.
        if outcome != written(3) {
            let second = claim(&memory, 1, Instant::now());
            let mut copy = admit(&memory, Ack::None);
            queueing.done();
            assert!(copy.try_recv().is_err());
            second.queueing().done();
            assert_eq!(copy.try_recv(), Ok(QUEUED));
        }
    }
    let memory = memory(10);
    let first = claim(&memory, 1, Instant::now());
    let [mut none, mut spooled, mut leader, mut all] =
        [Ack::None, Ack::Spooled, Ack::Leader, Ack::All].map(|ack| admit(&memory, ack));
    first.queueing().done();
    assert_eq!(none.try_recv(), Ok(QUEUED));
    let copy = memory.admit(identity(1, 0), Ack::None, None, Instant::now());
    assert!(matches!(copy, Admission::Written(QUEUED)), "{copy:?}");
    for copy in [&mut spooled, &mut leader, &mut all] {
        assert!(copy.try_recv().is_err());
    }
    first.settle(Outcome::Unknown);
    assert_eq!([spooled, leader, all].map(|mut copy| copy.try_recv().ok()), [Some(Outcome::Unknown); 3]);
}

#[test]
fn a_claim_that_is_lost_is_unknown_and_free_again() {
    let memory = memory(10);
    let now = Instant::now();
    let first = claim(&memory, 1, now);
    let Admission::InFlight(mut second) = memory.admit(identity(1, 0), Ack::All, None, now) else { panic!() };
    drop(first);
    assert_eq!(second.try_recv(), Ok(Outcome::Unknown));
    assert!(matches!(memory.admit(identity(1, 0), Ack::All, None, now), Admission::New(_)));
}

#[test]
fn the_window_ends() {
    let memory = memory(10);
    claim(&memory, 1, Instant::now()).settle(written(1));
    let settled = Instant::now();
    assert!(is_written(&memory, 1, settled + WINDOW - Duration::from_secs(1)));
    assert!(!is_written(&memory, 1, settled + WINDOW));
    assert!(memory.state().entries.is_empty() && memory.state().acknowledged.is_empty());
}

#[test]
fn the_oldest_makes_room_and_what_is_in_flight_does_not() {
    let memory = memory(3);
    let now = Instant::now();
    for name in 1..=4 {
        claim(&memory, name, now).settle(written(0));
    }
    assert_eq!(memory.state().entries.len(), 3);
    for (name, known) in [(4, true), (3, true), (2, true)] {
        assert_eq!(is_written(&memory, name, now), known, "{name}");
    }
    let claims: Vec<_> = (5..=7).map(|name| claim(&memory, name, now)).collect();
    assert!(matches!(memory.admit(identity(8, 0), Ack::All, None, now), Admission::Unremembered));
    assert!(matches!(memory.admit(identity(5, 0), Ack::All, None, now), Admission::InFlight(_)));
    assert_eq!(memory.state().entries.len(), 3);
    for claim in claims {
        claim.settle(written(0));
    }
    assert!(is_written(&memory, 5, now) && is_written(&memory, 7, now));
    assert!(
        matches!(memory.admit(identity(1, 0), Ack::All, None, now), Admission::New(_)),
        "1 had to go long ago"
    );
}

#[test]
fn of_two_that_an_earlier_process_has_left_the_later_one_counts() {
    let memory = memory(10);
    let ages = [5, 3, 1, 2].map(Duration::from_secs);
    for (age, content) in ages.into_iter().zip([1, 2, 3, 4]) {
        memory.restore(identity(1, content), written(content.into()), age);
    }
    let now = Instant::now();
    let answer = memory.admit(identity(1, 3), Ack::All, None, now);
    assert!(matches!(answer, Admission::Written(outcome) if outcome == written(3)), "{answer:?}");
    for content in [1, 2, 4] {
        assert!(
            matches!(memory.admit(identity(1, content), Ack::All, None, now), Admission::Conflict),
            "{content}"
        );
    }
    // It is forgotten in its own time, not in that of the earlier ones.
    assert_eq!(memory.state().acknowledged.len(), 1);
    let later = now + WINDOW - Duration::from_secs(2);
    assert!(matches!(memory.admit(identity(1, 3), Ack::All, None, later), Admission::Written(_)));
}

#[test]
fn what_kafka_has_is_not_restored_as_spooled() {
    let memory = memory(10);
    for (outcome, age) in [(SPOOLED, 5), (written(7), 4), (SPOOLED, 3)] {
        memory.restore(identity(1, 0), outcome, Duration::from_secs(age));
    }
    let known = memory.admit(identity(1, 0), Ack::Spooled, None, Instant::now());
    assert!(matches!(known, Admission::Written(outcome) if outcome == written(7)), "{known:?}");
    // Another event that had the name earlier was forgotten.
    memory.restore(identity(1, 1), SPOOLED, Duration::from_secs(2));
    let known = memory.admit(identity(1, 1), Ack::Spooled, None, Instant::now());
    assert!(matches!(known, Admission::Written(SPOOLED)), "{known:?}");
}

#[test]
fn as_many_spooled_events_as_are_remembered_are_known_after_a_start() {
    let directory =
        std::env::temp_dir().join(format!("idempotency-known-after-a-start-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&directory);
    let metadata =
        |name: u8| RecordMetadata { partition: 0, offset: name.into(), timestamp: Timestamp::from_millis(1) };
    let bounds = Bounds { window: WINDOW, entries: 20 };
    let mut memory = Memory::bounded(20, WINDOW, metrics());
    memory.journal = Some(Journal::open(&directory, bounds, metrics()).unwrap().0);
    let memory = Arc::new(memory);
    for name in 0..105 {
        claim(&memory, name, Instant::now()).settle(SPOOLED);
        memory.flush(Duration::from_secs(20));
        memory.drained(identity(name, 0), Some(metadata(name)));
    }
    memory.flush(Duration::from_secs(20));
    drop(memory);
    // The thread that has it open ends a little later.
    let deadline = Instant::now() + Duration::from_secs(20);
    let (_journal, known) = loop {
        match Journal::open(&directory, bounds, metrics()) {
            Ok(opened) => break opened,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let known: Vec<_> = known.iter().map(|known| (known.identity.name[0], known.outcome)).collect();
    let wanted: Vec<_> = (85..105).map(|name| (name, written(name.into()))).collect();
    assert_eq!(known, wanted);
    std::fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn of_more_than_there_is_room_for_the_youngest_are_restored() {
    let ages = [30, 10, 50, 20, 40];
    for turn in 0..ages.len() {
        let memory = memory(2);
        let mut ages = ages;
        ages.rotate_left(turn);
        for age in ages {
            memory.restore(identity(age, 0), written(1), Duration::from_secs(age.into()));
        }
        let now = Instant::now();
        assert_eq!(
            [10, 20, 30, 40, 50].map(|name| memory.state().entries.contains_key(&[name; 16])),
            [true, true, false, false, false]
        );
        assert!(is_written(&memory, 10, now) && is_written(&memory, 20, now));
    }
}

#[test]
fn who_wants_a_spooled_event_in_kafka_waits_until_it_is_and_no_longer() {
    let in_kafka = RecordMetadata { partition: 1, offset: 8, timestamp: Timestamp::from_millis(9) };
    let drained = Outcome::Acknowledged { ack: Ack::All, metadata: Some(in_kafka) };
    let now = Instant::now();
    // Whichever of the two is said first: that it is on disk, or that Kafka has it.
    for drained_first in [false, true] {
        let memory = memory(10);
        let first = claim(&memory, 1, now);
        let mut copies = [Ack::Spooled, Ack::All, Ack::Leader].map(|wanted| {
            match memory.admit(identity(1, 0), wanted, None, now) {
                Admission::InFlight(delivery) => delivery,
                other => panic!("{other:?}"),
            }
        });
        if drained_first {
            memory.drained(identity(1, 0), Some(in_kafka));
        }
        first.settle(SPOOLED);
        if !drained_first {
            assert_eq!(copies[0].try_recv(), Ok(SPOOLED));
            let known = memory.admit(identity(1, 0), Ack::None, None, now);
            assert!(matches!(known, Admission::Written(SPOOLED)), "{known:?}");
            let Admission::InFlight(mut late) = memory.admit(identity(1, 0), Ack::All, None, now) else {
                panic!("it is not in Kafka")
            };
            assert!(copies[1].try_recv().is_err() && late.try_recv().is_err());
            // Another event of this name is not in Kafka.
            memory.drained(identity(1, 1), Some(in_kafka));
            assert!(copies[1].try_recv().is_err() && late.try_recv().is_err());
            memory.drained(identity(1, 0), Some(in_kafka));
            assert_eq!(late.try_recv(), Ok(drained));
        } else {
            assert_eq!(copies[0].try_recv(), Ok(drained));
        }
        assert!(copies[1..].iter_mut().all(|copy| copy.try_recv() == Ok(drained)));
        for wanted in [Ack::All, Ack::Leader, Ack::Spooled, Ack::None] {
            let known = memory.admit(identity(1, 0), wanted, None, now);
            assert!(matches!(known, Admission::Written(outcome) if outcome == drained), "{known:?}");
        }
    }
    // What is forgotten is not remembered again, and those who waited for it are let go.
    let memory = memory(10);
    claim(&memory, 1, now).settle(SPOOLED);
    let Admission::InFlight(mut copy) = memory.admit(identity(1, 0), Ack::All, None, now) else { panic!() };
    drop(claim(&memory, 2, now + WINDOW + Duration::from_secs(1)));
    assert_eq!(copy.try_recv(), Err(oneshot::error::TryRecvError::Closed));
    memory.drained(identity(1, 0), Some(in_kafka));
    assert!(memory.state().entries.is_empty());
}

#[test]
fn copies_that_have_gone_do_not_add_up_while_kafka_is_out_of_reach() {
    let (memory, now) = (memory(10), Instant::now());
    claim(&memory, 1, now).settle(SPOOLED);
    for _ in 0..100 {
        drop(memory.admit(identity(1, 0), Ack::All, None, now));
    }
    let state = memory.state();
    let Progress::Acknowledged { waiting, .. } = &state.entries[&[1; 16]].progress else { panic!() };
    assert_eq!(waiting.len(), 1);
}

#[tokio::test]
async fn the_key_of_a_batch_stands_for_one_batch() {
    let memory = memory(3);
    assert_eq!(memory.claim_batches(&[identity(1, 0), identity(1, 0), identity(2, 0)]).await, [false; 3]);
    assert_eq!(
        memory.claim_batches(&[identity(1, 0), identity(1, 1), identity(2, 1)]).await,
        [false, true, true]
    );
    // It takes up the room of one event, and goes before younger ones.
    let now = Instant::now();
    claim(&memory, 3, now).settle(written(1));
    claim(&memory, 4, now).settle(written(2));
    assert_eq!(memory.claim_batches(&[identity(1, 1)]).await, [false]);
}
