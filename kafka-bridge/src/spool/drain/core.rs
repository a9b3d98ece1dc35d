//! What is done with the records of a spool next: a state machine whose every input comes with its time.
//!
//! ```text
//!            ┌────────────── released ◄── Parked ◄── its topic is missing, or Kafka gave up on a record of it
//!            ▼                              │
//!   read ► Queued ──► Sent ──► Done         └──► sent by itself ──► Done
//!            ▲          │        ▲
//!            │          ├──► QueuedAlone ──► SentAlone ──► Done
//!            └─ replaced┘        └── Dead ◄── Kafka refuses it, or it was tried often enough
//! ```
//!
//! Each step takes in what has happened and says what to do now, whose result is the next event. Nothing here reads, sends or
//! waits. All records before [`Core::done`] are in Kafka or dead letters.

use std::collections::{BTreeSet, VecDeque};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::parked::{ParkedTopics, Step, Verdict};
use crate::delivery::RecordMetadata;
use crate::idempotency::Identity;
use crate::producer::{Answer, Drained, Patience, Presence};

/// The most records that are looked after at a time.
pub(super) const WINDOW: usize = 100_000;

/// The most records that become dead letters at a time.
pub(super) const DEAD_LETTERS: usize = 1_000;

/// How long to wait after a record could not be read.
const READ_PAUSE: Duration = Duration::from_secs(1);

/// How long to wait for an event while records are parked or have yet to become dead letters.
pub(super) const BUSY: Duration = Duration::from_millis(200);

/// How long to wait for an event otherwise.
const IDLE: Duration = Duration::from_millis(500);

/// How long to wait before a producer that has failed is replaced by the next, at first and at most.
const REBUILD_PAUSE: RangeInclusive<Duration> = Duration::from_millis(200)..=Duration::from_secs(15);

/// What has happened.
#[derive(Debug)]
pub(super) enum Event<L> {
    /// Time has passed, or there is more that is durable.
    Tick,
    /// The next record was read: [`Effect::Read`].
    Read { sequence: u64, location: L, topic: Arc<str>, identity: Option<Identity> },
    /// There is no further record yet.
    NothingToRead,
    /// A record that was to be read or sent could not be read.
    Unreadable {
        /// Whether it never will be, because the disk has something else.
        damaged: bool,
    },
    /// The producer took a record: [`Effect::Send`].
    Taken { sequence: u64, alone: bool },
    /// The producer has no room for a record.
    QueueFull { sequence: u64 },
    /// The producer took no record, nor a question, because it has failed for good.
    ProducerFailed { sequence: Option<u64>, why: String },
    /// What became of a record that a producer had. A producer that has failed says so with each.
    Answered { generation: u64, answer: Answer, fatal: Option<String> },
    /// What Kafka says of a topic: [`Effect::AskFor`].
    Presence { topic: Arc<str>, presence: Presence },
    /// These records are dead letters: [`Effect::WriteDeadLetters`]. None if the disk did not take them.
    DeadLetters(Vec<u64>),
    /// The producer is closed, and gave these answers: [`Effect::CloseProducer`].
    Closed(Vec<Answer>),
    /// It is time to end, by then.
    Stop(Instant),
}

/// What to do now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Effect<L> {
    /// Read the next record.
    Read,
    /// Hand a record to the producer. `alone`: in a batch of its own.
    Send { sequence: u64, location: L, alone: bool },
    /// Ask whether Kafka has a topic.
    AskFor(Arc<str>),
    /// Write records as dead letters, as many as go together, in this order.
    WriteDeadLetters(Vec<DeadLetter<L>>),
    /// Close the producer by then, and take back what it has not written.
    CloseProducer(Instant),
    /// Wait for an event, for this long at most.
    Wait(Duration),
    /// End.
    End,
}

/// A record that Kafka does not take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DeadLetter<L> {
    pub(super) sequence: u64,
    pub(super) location: L,
    pub(super) reason: String,
}

/// What there is to tell of a step.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Note {
    /// Kafka has a record.
    Delivered { identity: Option<Identity>, metadata: Option<RecordMetadata> },
    /// The producer has failed and is replaced.
    ProducerReplaced { why: String },
    /// The producer does not get on with a topic, whose records are sent one by one.
    OneByOne { topic: Arc<str>, why: String },
}

/// What is known of a record, and who has it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// It goes to the producer with others, in order.
    Queued,
    /// It goes to the producer by itself.
    QueuedAlone,
    /// The producer has it, with others.
    Sent,
    /// The producer has it, by itself.
    SentAlone,
    /// It waits with its topic, or the producer has it by itself to find out whether that has to wait.
    Parked,
    /// It becomes a dead letter, for this reason.
    Dead(String),
    /// It is in Kafka or a dead letter.
    Done,
}

/// A record that is looked after.
#[derive(Debug)]
struct Slot<L> {
    location: L,
    topic: Arc<str>,
    identity: Option<Identity>,
    state: State,
}

/// The records that are looked after, whose numbers rise by one.
#[derive(Debug)]
struct Window<L> {
    /// The number of the first.
    base: u64,
    slots: VecDeque<Slot<L>>,
    /// Those in the states that something has to be done about.
    queued: BTreeSet<u64>,
    queued_alone: BTreeSet<u64>,
    dead: BTreeSet<u64>,
}

impl<L> Window<L> {
    fn slot(&self, sequence: u64) -> Option<&Slot<L>> {
        let index = usize::try_from(sequence.checked_sub(self.base)?).ok()?;
        self.slots.get(index)
    }

    /// A record that is not done with.
    fn open(&self, sequence: u64) -> Option<&Slot<L>> {
        self.slot(sequence).filter(|slot| slot.state != State::Done)
    }

    fn is(&self, sequence: u64, state: &State) -> bool {
        self.slot(sequence).is_some_and(|slot| slot.state == *state)
    }

    /// Changes the state of a record that is not done with, the only way that there is.
    fn set(&mut self, sequence: u64, state: State) {
        let Some(index) = sequence.checked_sub(self.base).and_then(|index| usize::try_from(index).ok())
        else {
            return;
        };
        let Some(slot) = self.slots.get_mut(index).filter(|slot| slot.state != State::Done) else { return };
        for (is, set) in [
            (state == State::Queued, &mut self.queued),
            (state == State::QueuedAlone, &mut self.queued_alone),
            (matches!(state, State::Dead(_)), &mut self.dead),
        ] {
            if is {
                set.insert(sequence);
            } else {
                set.remove(&sequence);
            }
        }
        slot.state = state;
        while self.slots.pop_front_if(|slot| slot.state == State::Done).is_some() {
            self.base += 1;
        }
    }

    fn push(&mut self, sequence: u64, slot: Slot<L>) {
        // What is before the first that there is was done with.
        if self.slots.is_empty() {
            self.base = sequence;
        }
        self.slots.push_back(slot);
    }

    /// The numbers of the records that the producer has, or would have had next by themselves.
    fn with_producer(&self) -> Vec<u64> {
        let with = |slot: &Slot<L>| matches!(slot.state, State::Sent | State::SentAlone | State::QueuedAlone);
        (self.base..).zip(&self.slots).filter(|(_, slot)| with(slot)).map(|(sequence, _)| sequence).collect()
    }
}

/// A record that has been next for long, although the producer has it, and of which a copy was sent to learn why.
#[derive(Debug)]
struct Probe {
    sequence: u64,
    topic: Arc<str>,
    /// When the copy was written.
    written: Option<Instant>,
}

/// Why the producer has to go.
#[derive(Debug)]
enum Replacement {
    /// It has failed.
    Failed,
    /// It does not get on with a topic. The copy of a record of it came back like this, if it did.
    Stuck { topic: Arc<str>, copy: Option<(u64, Drained)> },
}

/// How far the end has come.
#[derive(Debug)]
enum Phase {
    Running,
    Stopping { deadline: Instant, closed: bool },
}

/// The state of one spool's drainer.
#[derive(Debug)]
pub(super) struct Core<L> {
    window: Window<L>,
    parked: ParkedTopics,
    patience: Patience,
    phase: Phase,
    /// Which producer records go to. What an earlier one did not write is in the hands of the present one.
    generation: u64,
    replacement: Option<Replacement>,
    rebuild_pause: Duration,
    /// Nothing is read or sent before.
    not_before: Instant,
    probe: Option<Probe>,
    /// The record that is next, and since when.
    head: (u64, Instant),
    /// Whether the disk has something else where a record should be, so that no more is read.
    damaged: bool,
    /// What is not tried again before the next event has been waited for.
    send_later: bool,
    read_later: bool,
    dead_letters_later: bool,
    /// Whether to look for events before anything else that may take its time.
    listen: bool,
    notes: Vec<Note>,
}

impl<L: Clone> Core<L> {
    /// Creates the drainer of a spool all of whose records up to `done` are done with.
    pub(super) fn new(done: u64, patience: Patience, now: Instant) -> Self {
        Self {
            window: Window {
                base: done + 1,
                slots: VecDeque::new(),
                queued: BTreeSet::new(),
                queued_alone: BTreeSet::new(),
                dead: BTreeSet::new(),
            },
            parked: ParkedTopics::new(patience, now),
            patience,
            phase: Phase::Running,
            generation: 0,
            replacement: None,
            rebuild_pause: *REBUILD_PAUSE.start(),
            not_before: now,
            probe: None,
            head: (done + 1, now),
            damaged: false,
            send_later: false,
            read_later: false,
            dead_letters_later: false,
            listen: false,
            notes: Vec::new(),
        }
    }

    /// The number up to which all records are in Kafka or dead letters.
    pub(super) fn done(&self) -> u64 {
        self.window.base - 1
    }

    /// Which producer records go to. It changes whenever one has to be closed.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// Takes in what has happened, and returns what to do now and what there is to tell. The result of the former is the next
    /// event.
    pub(super) fn step(&mut self, event: Event<L>, now: Instant) -> (Effect<L>, Vec<Note>) {
        self.hear(event, now);
        let effect = self.next(now);
        if matches!(effect, Effect::Wait(_)) {
            (self.send_later, self.read_later, self.dead_letters_later) = (false, false, false);
        }
        (effect, std::mem::take(&mut self.notes))
    }

    /// Takes in what has happened along with something else.
    pub(super) fn hear(&mut self, event: Event<L>, now: Instant) {
        match event {
            Event::Tick => {}
            Event::Read { sequence, location, topic, identity } => {
                self.window.push(sequence, Slot { location, topic, identity, state: State::Queued });
                self.window.set(sequence, State::Queued);
            }
            Event::NothingToRead => self.read_later = true,
            Event::Unreadable { damaged } => {
                self.damaged |= damaged;
                (self.send_later, self.read_later) = (true, true);
                self.probe = None;
                if !damaged {
                    self.not_before = now + READ_PAUSE;
                }
            }
            Event::Taken { sequence, alone } => self.taken(sequence, alone),
            Event::QueueFull { sequence } => self.not_taken(sequence, now),
            Event::ProducerFailed { sequence, why } => {
                if let Some(sequence) = sequence {
                    self.not_taken(sequence, now);
                }
                self.replace_failed(why);
            }
            Event::Answered { generation, answer, fatal } => {
                self.answered(generation, answer, fatal, now);
            }
            Event::Presence { topic, presence } => self.told_of_topic(&topic, &presence, now),
            Event::DeadLetters(written) => {
                (self.dead_letters_later, self.listen) = (written.is_empty(), !written.is_empty());
                for sequence in written {
                    self.window.set(sequence, State::Done);
                }
            }
            Event::Closed(answers) => self.closed(answers, now),
            Event::Stop(deadline) => {
                self.phase = Phase::Stopping { deadline, closed: false };
                self.replacement = None;
            }
        }
    }

    fn taken(&mut self, sequence: u64, alone: bool) {
        let Some(Slot { topic, state, .. }) = self.window.open(sequence) else { return };
        match state {
            State::Queued if !alone => self.window.set(sequence, State::Sent),
            State::QueuedAlone if alone => self.window.set(sequence, State::SentAlone),
            State::Parked if alone => self.parked.sent(&Arc::clone(topic), sequence),
            // A copy, by which it is found out what is the matter with it.
            _ => {}
        }
    }

    fn not_taken(&mut self, sequence: u64, now: Instant) {
        self.send_later = true;
        if self.probe.as_ref().is_some_and(|probe| probe.sequence == sequence) {
            self.probe = None;
        }
        if let Some(slot) = self.window.open(sequence).filter(|slot| slot.state == State::Parked) {
            self.parked.unanswered(&Arc::clone(&slot.topic), sequence, now);
        }
    }

    fn answered(&mut self, generation: u64, answer: Answer, fatal: Option<String>, now: Instant) {
        let Answer { sequence, alone, drained, metadata } = answer;
        if drained == Drained::Written {
            let _ = self.probe_answered(sequence, alone, &drained, now);
            return self.delivered(sequence, metadata, now);
        }
        // What an earlier producer did not write is in the hands of the present one.
        if generation != self.generation {
            return;
        }
        let stuck = self.probe_answered(sequence, alone, &drained, now);
        let Some(slot) = self.window.open(sequence) else { return };
        match (stuck, fatal) {
            (Some(false), _) => {}
            (Some(true), _) => {
                let (topic, why) = (Arc::clone(&slot.topic), format!("a record comes back with {drained:?}"));
                self.replace_stuck(topic, why, Some((sequence, drained)));
            }
            // Each comes back with the reason for which the producer failed.
            (None, Some(why)) if !alone => self.replace_failed(why),
            (None, _) => self.came_back(sequence, alone, drained, now),
        }
    }

    fn delivered(&mut self, sequence: u64, metadata: Option<RecordMetadata>, now: Instant) {
        let Some(slot) = self.window.open(sequence) else { return };
        let (topic, identity) = (Arc::clone(&slot.topic), slot.identity);
        self.window.set(sequence, State::Done);
        self.notes.push(Note::Delivered { identity, metadata });
        self.rebuild_pause = *REBUILD_PAUSE.start();
        let released = self.parked.settled(&topic, sequence, now);
        self.release(released);
    }

    /// Kafka did not write a record.
    fn came_back(&mut self, sequence: u64, alone: bool, drained: Drained, now: Instant) {
        let Some(slot) = self.window.open(sequence) else { return };
        if matches!(slot.state, State::Dead(_)) {
            return;
        }
        let topic = Arc::clone(&slot.topic);
        match drained {
            Drained::Refused(reason) => {
                let released = self.parked.settled(&topic, sequence, now);
                self.window.set(sequence, State::Dead(reason));
                self.release(released);
            }
            Drained::RefusedWithOthers if self.parked.is_parked(&topic) => self.park(sequence, true, now),
            Drained::RefusedWithOthers => self.window.set(sequence, State::QueuedAlone),
            Drained::TopicMissing(reason) => {
                self.parked.missing(&topic, sequence, reason, now);
                self.window.set(sequence, State::Parked);
            }
            Drained::Failed(reason) => {
                self.window.set(sequence, State::Parked);
                let verdict = self.parked.failed(&topic, sequence, alone, reason, now);
                self.apply(verdict);
            }
            // The client for single records is replaced by itself.
            Drained::Lost if !alone => self.replace_failed("records came back".to_owned()),
            Drained::Unanswered(_) | Drained::Lost | Drained::Written => {
                self.parked.unanswered(&topic, sequence, now);
                self.window.set(sequence, State::Parked);
            }
        }
    }

    fn told_of_topic(&mut self, topic: &Arc<str>, presence: &Presence, now: Instant) {
        self.listen = true;
        match presence {
            Presence::There => {
                let released = self.parked.there(topic, now);
                self.release(released);
            }
            Presence::Missing => {
                let dead = self.parked.absent(topic, now);
                self.apply(Verdict { dead, released: Vec::new() });
            }
            Presence::Unknown => self.parked.unknown(now),
        }
    }

    fn apply(&mut self, verdict: Verdict) {
        for (sequence, reason) in verdict.dead {
            self.window.set(sequence, State::Dead(reason));
        }
        self.release(verdict.released);
    }

    /// Records that were parked go to the producer with others, in order.
    fn release(&mut self, released: Vec<u64>) {
        for sequence in released {
            if self.window.is(sequence, &State::Parked) {
                self.window.set(sequence, State::Queued);
            }
        }
    }

    fn park(&mut self, sequence: u64, alone: bool, now: Instant) {
        let Some(slot) = self.window.open(sequence) else { return };
        self.parked.park(&Arc::clone(&slot.topic), sequence, alone, now);
        self.window.set(sequence, State::Parked);
    }

    /// Takes note of an answer for a record that is probed, if it is for one; returns whether it shows that the producer
    /// will not get on with it.
    fn probe_answered(
        &mut self,
        sequence: u64,
        alone: bool,
        drained: &Drained,
        now: Instant,
    ) -> Option<bool> {
        let probe = self.probe.as_mut().filter(|probe| probe.sequence == sequence)?;
        if *drained == Drained::Written && alone {
            probe.written = Some(now);
            return None;
        }
        self.probe = None;
        // What comes back with others shows that the producer gets on by itself.
        alone.then_some(matches!(drained, Drained::Refused(_) | Drained::Failed(_)))
    }

    fn replace_failed(&mut self, why: String) {
        if self.replacement.is_none() {
            self.notes.push(Note::ProducerReplaced { why });
            self.replacement = Some(Replacement::Failed);
            self.generation += 1;
        }
    }

    fn replace_stuck(&mut self, topic: Arc<str>, why: String, copy: Option<(u64, Drained)>) {
        if self.replacement.is_none() {
            self.notes.push(Note::OneByOne { topic: Arc::clone(&topic), why });
            self.replacement = Some(Replacement::Stuck { topic, copy });
            self.generation += 1;
        }
    }

    fn closed(&mut self, answers: Vec<Answer>, now: Instant) {
        for answer in answers {
            match answer.drained {
                Drained::Written => self.delivered(answer.sequence, answer.metadata, now),
                // Of a producer that is replaced, what it did not write is sent again.
                Drained::Refused(_) if self.replacement.is_none() => {
                    self.came_back(answer.sequence, answer.alone, answer.drained, now);
                }
                _ => {}
            }
        }
        (self.probe, self.listen) = (None, true);
        self.parked.all_came_back();
        let replacement = self.replacement.take();
        let stuck = match &replacement {
            Some(Replacement::Stuck { topic, .. }) => Some(Arc::clone(topic)),
            _ => None,
        };
        for sequence in self.window.with_producer() {
            let is_stuck = |slot: &Slot<L>| Some(&slot.topic) == stuck.as_ref() && slot.state == State::Sent;
            if self.window.open(sequence).is_some_and(is_stuck) {
                self.park(sequence, true, now);
            } else {
                self.window.set(sequence, State::Queued);
            }
        }
        match replacement {
            Some(Replacement::Failed) => {
                self.not_before = now + self.rebuild_pause;
                self.rebuild_pause = (self.rebuild_pause * 2).min(*REBUILD_PAUSE.end());
            }
            Some(Replacement::Stuck { copy: Some((sequence, drained)), .. }) => {
                self.came_back(sequence, true, drained, now);
            }
            Some(Replacement::Stuck { copy: None, .. }) => {}
            None => {
                if let Phase::Stopping { closed, .. } = &mut self.phase {
                    *closed = true;
                }
            }
        }
    }

    fn next(&mut self, now: Instant) -> Effect<L> {
        if let Phase::Stopping { deadline, closed } = self.phase {
            return self.next_while_stopping(deadline, closed, now);
        }
        if self.replacement.is_some() {
            return Effect::CloseProducer(now);
        }
        if std::mem::take(&mut self.listen) {
            return Effect::Wait(Duration::ZERO);
        }
        if now >= self.not_before {
            self.parked.forget(now);
            let effect =
                self.next_parked(now).or_else(|| self.next_queued(now)).or_else(|| self.next_probe(now));
            // A probe may have found that the producer has to go.
            if self.replacement.is_some() {
                return Effect::CloseProducer(now);
            }
            if let Some(effect) = effect {
                return effect;
            }
        }
        if let Some(effect) = self.next_dead_letters() {
            return effect;
        }
        let busy = !self.window.dead.is_empty() || !self.parked.is_empty();
        Effect::Wait(if busy { BUSY } else { IDLE })
    }

    /// Lets what is on its way arrive, and writes dead letters as long as there is time. What there is no time for stays in
    /// the spool.
    fn next_while_stopping(&mut self, deadline: Instant, closed: bool, now: Instant) -> Effect<L> {
        if now < deadline
            && let Some(effect) = self.next_dead_letters()
        {
            return effect;
        }
        if closed {
            return Effect::End;
        }
        self.dead_letters_later = false;
        Effect::CloseProducer(deadline)
    }

    fn send(&self, sequence: u64, alone: bool) -> Option<Effect<L>> {
        let location = self.window.slot(sequence)?.location.clone();
        Some(Effect::Send { sequence, location, alone })
    }

    fn next_parked(&mut self, now: Instant) -> Option<Effect<L>> {
        if self.send_later {
            return None;
        }
        loop {
            match self.parked.next(now)? {
                Step::Ask(topic) => return Some(Effect::AskFor(topic)),
                Step::Send(topic, sequence) if self.window.open(sequence).is_none() => {
                    let released = self.parked.settled(&topic, sequence, now);
                    self.release(released);
                }
                Step::Send(_, sequence) => return self.send(sequence, true),
            }
        }
    }

    fn next_queued(&mut self, now: Instant) -> Option<Effect<L>> {
        while !self.send_later {
            let (sequence, alone) = match (self.window.queued_alone.first(), self.window.queued.first()) {
                (Some(sequence), _) => (*sequence, true),
                (None, Some(sequence)) => (*sequence, false),
                (None, None) => break,
            };
            // From here on it waits with the others of its topic.
            let slot = self.window.slot(sequence)?;
            if !self.parked.is_parked(&slot.topic) {
                return self.send(sequence, alone);
            }
            self.park(sequence, alone, now);
        }
        let may_read = !self.read_later && !self.damaged && self.window.slots.len() < WINDOW;
        (may_read && self.window.queued.is_empty()).then_some(Effect::Read)
    }

    /// Probes a record that is next for longer than any outage of one broker should take. librdkafka tries for ever what
    /// Kafka calls corrupt, and does not tell; a copy that is sent by itself comes back with what it met.
    fn next_probe(&mut self, now: Instant) -> Option<Effect<L>> {
        let sequence = self.window.base;
        if self.head.0 != sequence {
            self.head = (sequence, now);
        }
        if let Some(Probe { topic, written: Some(at), .. }) = &self.probe
            && now.saturating_duration_since(*at) >= self.patience.proof
        {
            let topic = Arc::clone(topic);
            self.probe = None;
            self.replace_stuck(
                topic,
                "a record was taken by itself that is not with others".to_owned(),
                None,
            );
            return None;
        }
        if self.probe.is_some() || now.saturating_duration_since(self.head.1) < self.patience.stall {
            return None;
        }
        let slot = self.window.slot(sequence).filter(|slot| slot.state == State::Sent)?;
        self.probe = Some(Probe { sequence, topic: Arc::clone(&slot.topic), written: None });
        self.head.1 = now;
        self.send(sequence, true)
    }

    fn next_dead_letters(&self) -> Option<Effect<L>> {
        if self.dead_letters_later || self.window.dead.is_empty() {
            return None;
        }
        let letter = |sequence: &u64| {
            let slot = self.window.slot(*sequence)?;
            let State::Dead(reason) = &slot.state else { return None };
            Some(DeadLetter { sequence: *sequence, location: slot.location.clone(), reason: reason.clone() })
        };
        let letters = self.window.dead.iter().take(DEAD_LETTERS).filter_map(letter);
        Some(Effect::WriteDeadLetters(letters.collect()))
    }
}

#[cfg(test)]
mod tests;
