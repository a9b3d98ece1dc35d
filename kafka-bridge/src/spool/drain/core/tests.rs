//! The drainer in front of a Kafka, a disk and a clock that are made up.

use proptest::prelude::*;

use super::*;

const PATIENCE: Patience = Patience {
    stall: Duration::from_secs(30),
    proof: Duration::from_secs(10),
    missing: Duration::from_secs(30),
    pause: Duration::from_secs(1),
    spent: Duration::from_secs(300),
};

/// The log, the producer and the directory of dead letters around a drainer.
struct World {
    core: Core<()>,
    now: Instant,
    /// The topics of all records. The first has the number 1.
    topics: Vec<&'static str>,
    next: u64,
    /// What the producer has, in order, and with which generation. The flag: by itself.
    producer: VecDeque<(u64, bool)>,
    room: usize,
    delivered: Vec<u64>,
    /// As far as the drainer has noted it.
    noted: usize,
    dead: Vec<u64>,
    /// How often dead letters cannot be written, a record cannot be read, and a producer has failed.
    bad_disk: usize,
    unreadable: usize,
    failed: usize,
    presence: Presence,
    asked: Vec<Arc<str>>,
    closed: usize,
    lost: bool,
    ended: bool,
}

impl World {
    fn new(topics: &[&'static str]) -> Self {
        let now = Instant::now();
        Self {
            core: Core::new(0, PATIENCE, now),
            now,
            topics: topics.to_vec(),
            next: 1,
            producer: VecDeque::new(),
            room: usize::MAX,
            delivered: Vec::new(),
            noted: 0,
            dead: Vec::new(),
            bad_disk: 0,
            unreadable: 0,
            failed: 0,
            presence: Presence::There,
            asked: Vec::new(),
            closed: 0,
            lost: false,
            ended: false,
        }
    }

    fn topic(&self, sequence: u64) -> &'static str {
        self.topics[usize::try_from(sequence).unwrap() - 1]
    }

    /// Carries out what follows from an event, until there is something to wait for; returns for how long.
    fn run(&mut self, event: Event<()>) -> Duration {
        let mut event = event;
        for _ in 0..10_000 {
            let (effect, notes) = self.core.step(event, self.now);
            self.noted += notes.iter().filter(|note| matches!(note, Note::Delivered { .. })).count();
            self.check();
            event = match effect {
                Effect::Read => self.read(),
                Effect::Send { sequence, alone, .. } => self.send(sequence, alone),
                Effect::AskFor(topic) => {
                    self.asked.push(Arc::clone(&topic));
                    Event::Presence { topic, presence: self.presence.clone() }
                }
                Effect::WriteDeadLetters(letters) => {
                    assert!((1..=DEAD_LETTERS).contains(&letters.len()));
                    if take_one(&mut self.bad_disk) {
                        Event::DeadLetters(Vec::new())
                    } else {
                        // Not all of them share a sync.
                        let written: Vec<u64> = letters
                            .iter()
                            .map(|letter| letter.sequence)
                            .take(1 + letters.len() / 2)
                            .collect();
                        self.dead.extend(&written);
                        Event::DeadLetters(written)
                    }
                }
                Effect::CloseProducer(_) => self.close(),
                Effect::Wait(Duration::ZERO) => Event::Tick,
                Effect::Wait(timeout) => return timeout,
                Effect::End => {
                    self.ended = true;
                    return Duration::ZERO;
                }
            };
        }
        panic!("it never waits: {:?}", self.core);
    }

    fn read(&mut self) -> Event<()> {
        if take_one(&mut self.unreadable) {
            return Event::Unreadable { damaged: false };
        }
        if self.next > self.topics.len() as u64 {
            return Event::NothingToRead;
        }
        let sequence = self.next;
        self.next += 1;
        let topic = self.topic(sequence).into();
        Event::Read { sequence, location: (), topic, identity: None }
    }

    fn send(&mut self, sequence: u64, alone: bool) -> Event<()> {
        if take_one(&mut self.unreadable) {
            return Event::Unreadable { damaged: false };
        }
        if take_one(&mut self.failed) {
            return Event::ProducerFailed { sequence: Some(sequence), why: "failed".to_owned() };
        }
        if self.producer.len() >= self.room {
            return Event::QueueFull { sequence };
        }
        self.producer.push_back((sequence, alone));
        Event::Taken { sequence, alone }
    }

    /// The producer had written half of what it had, or none after one that it has lost.
    fn close(&mut self) -> Event<()> {
        self.closed += 1;
        let written = if std::mem::take(&mut self.lost) { 0 } else { self.producer.len() / 2 };
        let had = std::mem::take(&mut self.producer);
        let answers = had.into_iter().enumerate().map(|(index, (sequence, alone))| {
            let drained = if index < written { Drained::Written } else { Drained::Lost };
            if drained == Drained::Written {
                self.delivered.push(sequence);
            }
            Answer { sequence, alone, drained, metadata: None }
        });
        Event::Closed(answers.collect())
    }

    /// Kafka answers for the oldest record that the producer has.
    fn answer(&mut self, drained: Drained) -> Duration {
        let Some((sequence, alone)) = self.producer.pop_front() else { return self.run(Event::Tick) };
        // Of a record by itself it is known whose fault it is.
        let drained = if alone && drained == Drained::RefusedWithOthers {
            Drained::Refused("by itself".to_owned())
        } else {
            drained
        };
        if drained == Drained::Written {
            self.delivered.push(sequence);
        }
        self.lost = drained == Drained::Lost && !alone;
        let answer = Answer { sequence, alone, drained, metadata: None };
        self.run(Event::Answered { generation: self.core.generation(), answer, fatal: None })
    }

    fn pass(&mut self, time: Duration) -> Duration {
        self.now += time;
        self.run(Event::Tick)
    }

    /// Whatever has happened so far.
    fn check(&self) {
        // Nothing is done with that is neither delivered nor a dead letter, so no checkpoint says so.
        let done = self.core.done();
        for sequence in 1..=done {
            assert!(
                self.delivered.contains(&sequence) || self.dead.contains(&sequence),
                "{sequence} of {done}"
            );
        }
        let window = &self.core.window;
        assert!(window.slots.len() <= WINDOW);
        for (sequence, slot) in (window.base..).zip(&window.slots) {
            let state = &slot.state;
            assert_eq!(window.queued.contains(&sequence), *state == State::Queued, "{sequence}");
            assert_eq!(window.queued_alone.contains(&sequence), *state == State::QueuedAlone, "{sequence}");
            assert_eq!(window.dead.contains(&sequence), matches!(state, State::Dead(_)), "{sequence}");
            let parked = self.core.parked.has(&slot.topic, sequence);
            assert!(*state == State::Done || parked == (*state == State::Parked), "{sequence} {state:?}");
        }
    }

    /// From here on all is well, and goes on until all records are done with.
    fn heal(&mut self) {
        (self.bad_disk, self.unreadable, self.failed) = (0, 0, 0);
        (self.room, self.presence) = (usize::MAX, Presence::There);
        for _ in 0..20_000 {
            if self.core.done() == self.topics.len() as u64 {
                return;
            }
            let wait = self.answer(Drained::Written);
            if self.producer.is_empty() {
                self.pass(wait);
            }
        }
        panic!("it does not come to its end: {:?}", self.core);
    }

    fn first_deliveries(&self, topic: &str) -> Vec<u64> {
        let mut seen = BTreeSet::new();
        let of_topic = self.delivered.iter().filter(|sequence| self.topic(**sequence) == topic);
        of_topic.copied().filter(|sequence| seen.insert(*sequence)).collect()
    }
}

fn take_one(left: &mut usize) -> bool {
    let any = *left > 0;
    *left -= usize::from(any);
    any
}

fn failed() -> Drained {
    Drained::Failed("why".to_owned())
}

fn missing() -> Drained {
    Drained::TopicMissing("gone".to_owned())
}

fn refused() -> Drained {
    Drained::Refused("no".to_owned())
}

fn unanswered() -> Drained {
    Drained::Unanswered("down".to_owned())
}

#[test]
fn records_go_out_in_order_and_are_done_with_in_order() {
    let mut world = World::new(&["t"; 5]);
    world.run(Event::Tick);
    assert_eq!(world.producer, (1..=5).map(|sequence| (sequence, false)).collect::<VecDeque<_>>());
    // An answer ahead of the others moves nothing.
    world.producer.rotate_left(1);
    world.answer(Drained::Written);
    assert_eq!(world.core.done(), 0);
    world.producer.rotate_right(1);
    world.answer(Drained::Written);
    assert_eq!((world.core.done(), world.noted), (2, 2));
    world.heal();
    assert_eq!(world.pass(Duration::ZERO), IDLE);
}

/// What becomes of the first of three records of a topic, and of the others, after one answer.
#[test]
fn each_answer_has_its_effect() {
    let parked = State::Parked;
    for (answer, first, others) in [
        (missing(), parked.clone(), State::Sent),
        (failed(), parked.clone(), State::Sent),
        (unanswered(), parked, State::Sent),
        (Drained::RefusedWithOthers, State::SentAlone, State::Sent),
        (Drained::Written, State::Done, State::Sent),
        (Drained::Lost, State::Queued, State::Queued),
    ] {
        let mut world = World::new(&["t", "t", "t"]);
        world.presence = Presence::Unknown;
        world.run(Event::Tick);
        world.answer(answer.clone());
        let state =
            |sequence| world.core.window.slot(sequence).map_or(State::Done, |slot| slot.state.clone());
        assert_eq!((state(1), state(2)), (first, others), "{answer:?}");
        assert_eq!(world.closed, usize::from(answer == Drained::Lost));
        world.heal();
    }
}

#[test]
fn a_refused_record_becomes_a_dead_letter_and_is_no_obstacle() {
    let mut world = World::new(&["t"; 3]);
    world.bad_disk = 1;
    world.run(Event::Tick);
    // It is tried again, and until then the record is not done with.
    assert_eq!(world.answer(refused()), BUSY);
    assert_eq!((world.core.done(), world.dead.len()), (0, 0));
    world.pass(BUSY);
    assert_eq!((world.core.done(), world.dead.clone()), (1, vec![1]));
    world.heal();
    assert_eq!(world.delivered, [2, 3]);
}

#[test]
fn a_missing_topic_waits_and_the_others_go_on() {
    let mut world = World::new(&["gone", "t", "gone", "t", "gone"]);
    world.presence = Presence::Missing;
    world.run(Event::Tick);
    for drained in [missing(), Drained::Written, missing(), Drained::Written, missing()] {
        world.answer(drained);
    }
    for _ in 0..10 {
        world.pass(PATIENCE.pause);
    }
    assert_eq!((world.delivered.clone(), world.core.done()), (vec![2, 4], 0));
    assert!(world.asked.len() >= 10, "{}", world.asked.len());
    world.topics.push("gone");
    world.presence = Presence::There;
    world.pass(PATIENCE.pause);
    world.heal();
    assert_eq!(world.first_deliveries("gone"), [1, 3, 5, 6]);

    let mut world = World::new(&["gone", "gone"]);
    world.presence = Presence::Missing;
    world.run(Event::Tick);
    world.answer(missing());
    world.answer(missing());
    world.pass(PATIENCE.missing);
    world.pass(PATIENCE.pause);
    assert_eq!((world.dead.clone(), world.core.done()), (vec![1, 2], 2));
}

#[test]
fn what_kafka_gives_up_on_is_tried_five_times_by_itself() {
    let mut world = World::new(&["t", "t"]);
    world.run(Event::Tick);
    world.answer(failed());
    world.answer(failed());
    for attempt in 1..=5 {
        assert_eq!(world.producer, [(1, true)], "{attempt}");
        assert!(world.dead.is_empty(), "{attempt}");
        world.answer(failed());
        world.pass(Duration::from_secs(8));
    }
    assert_eq!(world.dead, [1]);
    assert_eq!(world.producer, [(2, true)]);
    world.heal();
}

/// A copy of a record that the producer is silent about is sent, and what it meets decides.
#[test]
fn a_silent_record_is_probed() {
    for (copy, dead) in [(failed(), vec![]), (refused(), vec![1]), (unanswered(), vec![])] {
        let mut world = World::new(&["t", "t", "u"]);
        world.run(Event::Tick);
        world.pass(PATIENCE.stall - Duration::from_millis(1));
        assert_eq!(world.producer.len(), 3);
        world.pass(Duration::from_millis(1));
        assert_eq!(world.producer.back(), Some(&(1, true)));
        // Nothing is written when the producer is closed.
        world.producer.rotate_right(1);
        let had: Vec<_> = world.producer.drain(..).skip(1).collect();
        world.producer.push_back((1, true));
        let stuck = copy != unanswered();
        world.answer(copy.clone());
        assert_eq!(world.closed, usize::from(stuck), "{copy:?}");
        assert_eq!(world.dead, dead, "{copy:?}");
        if stuck {
            // The rest of the topic goes by itself, one by one, and the other topic with others.
            assert!(world.producer.contains(&(3, false)), "{copy:?} {:?}", world.producer);
            assert!(!world.producer.contains(&(2, false)), "{copy:?} {:?}", world.producer);
        } else {
            world.producer.extend(had);
        }
        world.heal();
    }
    // A copy that arrives while the record itself does not.
    let mut world = World::new(&["t", "t"]);
    world.run(Event::Tick);
    world.pass(PATIENCE.stall);
    world.producer.rotate_right(1);
    world.answer(Drained::Written);
    assert_eq!(world.core.done(), 1);
    world.pass(PATIENCE.proof - Duration::from_millis(1));
    assert_eq!(world.closed, 0);
    world.pass(Duration::from_millis(1));
    assert_eq!(world.closed, 1);
    world.heal();
}

#[test]
fn a_producer_that_fails_is_replaced_with_growing_pauses() {
    let mut world = World::new(&["t"; 3]);
    world.failed = 3;
    world.run(Event::Tick);
    for pause in [200, 400, 800] {
        world.pass(Duration::from_millis(pause - 1));
        assert!(world.producer.is_empty(), "{pause}");
        world.pass(Duration::from_millis(1));
    }
    assert_eq!((world.closed, world.producer.len()), (3, 3));
    world.heal();
    assert_eq!(world.delivered, [1, 2, 3]);
}

#[test]
fn answers_of_an_earlier_producer_count_only_if_it_has_written() {
    let mut world = World::new(&["t"; 2]);
    world.run(Event::Tick);
    let answer = |sequence, drained| Answer { sequence, alone: false, drained, metadata: None };
    world.producer.clear();
    world.run(Event::Answered { generation: 0, answer: answer(1, Drained::Lost), fatal: None });
    world.run(Event::Answered { generation: 0, answer: answer(1, refused()), fatal: None });
    assert!(world.dead.is_empty());
    world.delivered.push(2);
    world.run(Event::Answered { generation: 0, answer: answer(2, Drained::Written), fatal: None });
    world.heal();
    assert_eq!(world.delivered, [2, 1]);
}

#[test]
fn damage_stops_reading_and_what_was_read_goes_on() {
    let mut world = World::new(&["t"; 3]);
    world.run(Event::Tick);
    world.topics.push("t");
    world.run(Event::Unreadable { damaged: true });
    for _ in 0..3 {
        world.answer(Drained::Written);
    }
    world.pass(Duration::from_secs(60));
    assert_eq!((world.core.done(), world.next), (3, 4));
}

#[test]
fn a_full_window_is_not_read_beyond() {
    let topics = vec!["t"; WINDOW + 10];
    let mut core = Core::new(0, PATIENCE, Instant::now());
    let (now, mut event) = (Instant::now() + Duration::from_secs(1), Event::Tick);
    let mut next = 1;
    loop {
        event = match core.step(event, now).0 {
            Effect::Read => {
                next += 1;
                let topic = topics[0].into();
                Event::Read { sequence: next - 1, location: (), topic, identity: None }
            }
            Effect::Send { sequence, alone, .. } => Event::Taken { sequence, alone },
            Effect::Wait(_) => break,
            other => panic!("{other:?}"),
        };
    }
    assert_eq!(next, WINDOW as u64 + 1);
}

#[test]
fn a_stop_writes_what_there_is_time_for_and_ends() {
    for (time, dead) in [(0, 0), (10, 3)] {
        let mut world = World::new(&["t"; 8]);
        world.run(Event::Tick);
        world.bad_disk = 3;
        for _ in 0..3 {
            world.answer(refused());
        }
        world.bad_disk = 0;
        world.run(Event::Stop(world.now + Duration::from_secs(time)));
        assert!(world.ended);
        // Half of what the producer had was written.
        assert_eq!((world.dead.len(), world.closed, world.delivered.len()), (dead, 1, 2), "{time}");
    }
    // Between two batches there is time to hear of it.
    let mut core: Core<()> = Core::new(0, PATIENCE, Instant::now());
    let now = Instant::now() + Duration::from_secs(1);
    let count = 2 * DEAD_LETTERS as u64 + 1;
    for sequence in 1..=count {
        core.hear(Event::Read { sequence, location: (), topic: "t".into(), identity: None }, now);
        core.window.set(sequence, State::Dead("no".to_owned()));
    }
    core.read_later = true;
    let (effect, _) = core.step(Event::Tick, now);
    let Effect::WriteDeadLetters(letters) = effect else { panic!("{effect:?}") };
    assert_eq!(letters.len(), DEAD_LETTERS);
    let written = letters.iter().map(|letter| letter.sequence).collect();
    assert_eq!(core.step(Event::DeadLetters(written), now).0, Effect::Wait(Duration::ZERO));
    assert_eq!(core.step(Event::Stop(now), now).0, Effect::CloseProducer(now));
    assert_eq!(core.step(Event::Closed(Vec::new()), now).0, Effect::End);
    assert_eq!(core.done(), DEAD_LETTERS as u64);
}

#[test]
fn a_stop_does_not_wait_for_kafka_to_be_asked_for_many_topics() {
    let mut world = World::new(&["a", "b", "c"]);
    world.presence = Presence::Missing;
    world.run(Event::Tick);
    for _ in 0..3 {
        world.producer.push_back((0, false));
        world.producer.pop_back();
        let (sequence, alone) = world.producer.pop_front().unwrap();
        let answer = Answer { sequence, alone, drained: missing(), metadata: None };
        world.core.hear(Event::Answered { generation: 0, answer, fatal: None }, world.now);
    }
    let (mut event, mut asked) = (Event::Tick, 0);
    loop {
        event = match world.core.step(event, world.now).0 {
            Effect::AskFor(topic) => {
                asked += 1;
                Event::Presence { topic, presence: Presence::Missing }
            }
            Effect::Wait(Duration::ZERO) if asked == 2 => Event::Stop(world.now),
            Effect::Wait(Duration::ZERO) | Effect::Read => Event::NothingToRead,
            Effect::CloseProducer(_) => break,
            other => panic!("{other:?}"),
        };
    }
    assert_eq!(asked, 2);
}

/// Something that happens.
#[derive(Clone, Debug)]
enum Happens {
    Answer(Drained),
    Pass(u64),
    Room(usize),
    Fails,
    Unreadable,
    BadDisk,
    Presence(Presence),
}

fn anything() -> impl Strategy<Value = Happens> {
    prop_oneof![
        8 => Just(Happens::Answer(Drained::Written)),
        1 => Just(Happens::Answer(refused())),
        1 => Just(Happens::Answer(Drained::RefusedWithOthers)),
        2 => Just(Happens::Answer(missing())),
        2 => Just(Happens::Answer(failed())),
        2 => Just(Happens::Answer(unanswered())),
        1 => Just(Happens::Answer(Drained::Lost)),
        4 => (0_u64..40_000).prop_map(Happens::Pass),
        1 => (0_usize..20).prop_map(Happens::Room),
        1 => Just(Happens::Fails),
        1 => Just(Happens::Unreadable),
        1 => Just(Happens::BadDisk),
        2 => prop_oneof![Just(Presence::There), Just(Presence::Missing), Just(Presence::Unknown)]
            .prop_map(Happens::Presence),
    ]
}

/// What costs no order: outages, full queues, producers that fail.
fn outages() -> impl Strategy<Value = Happens> {
    prop_oneof![
        8 => Just(Happens::Answer(Drained::Written)),
        1 => Just(Happens::Answer(Drained::Lost)),
        2 => (0_u64..1_000).prop_map(Happens::Pass),
        1 => (0_usize..20).prop_map(Happens::Room),
        1 => Just(Happens::Fails),
        1 => Just(Happens::Unreadable),
    ]
}

fn played(topics: &[usize], happens: Vec<Happens>, stall: Duration) -> World {
    let names = ["a", "b", "c"];
    let mut world = World::new(&topics.iter().map(|index| names[*index]).collect::<Vec<_>>());
    world.core.patience.stall = stall;
    world.run(Event::Tick);
    for what in happens {
        match what {
            Happens::Answer(drained) => world.answer(drained),
            Happens::Pass(millis) => world.pass(Duration::from_millis(millis)),
            Happens::Room(room) => {
                world.room = room;
                Duration::ZERO
            }
            Happens::Fails => {
                world.failed += 1;
                Duration::ZERO
            }
            Happens::Unreadable => {
                world.unreadable += 1;
                Duration::ZERO
            }
            Happens::BadDisk => {
                world.bad_disk += 1;
                Duration::ZERO
            }
            Happens::Presence(presence) => {
                world.presence = presence;
                Duration::ZERO
            }
        };
    }
    world
}

proptest! {
    /// Whatever happens, each record is delivered or a dead letter in the end, and none is done with before.
    #[test]
    fn nothing_is_lost(
        topics in proptest::collection::vec(0_usize..3, 1..40),
        happens in proptest::collection::vec(anything(), 0..120),
    ) {
        let mut world = played(&topics, happens, PATIENCE.stall);
        world.heal();
        let mut all: Vec<u64> = world.delivered.iter().chain(&world.dead).copied().collect();
        all.sort_unstable();
        all.dedup();
        prop_assert_eq!(all, (1..=topics.len() as u64).collect::<Vec<_>>());
    }

    /// Records of a topic arrive in their order, each for the first time, whatever outage there is.
    #[test]
    fn outages_cost_no_order(
        topics in proptest::collection::vec(0_usize..3, 1..40),
        happens in proptest::collection::vec(outages(), 0..120),
    ) {
        // No record is silent for so long that it is probed.
        let mut world = played(&topics, happens, Duration::MAX);
        world.heal();
        prop_assert!(world.dead.is_empty());
        for topic in ["a", "b", "c"] {
            let first = world.first_deliveries(topic);
            prop_assert!(first.is_sorted(), "{} {:?}", topic, first);
        }
    }

    /// A stop comes to its end, whatever happened before, and what is not done with stays in the log.
    #[test]
    fn a_stop_ends(
        topics in proptest::collection::vec(0_usize..3, 1..40),
        happens in proptest::collection::vec(anything(), 0..60),
        time in 0_u64..2,
    ) {
        let mut world = played(&topics, happens, PATIENCE.stall);
        world.run(Event::Stop(world.now + Duration::from_secs(time)));
        prop_assert!(world.ended);
    }
}
