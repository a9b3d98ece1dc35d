//! The thread that drains: hands records to Kafka in their order, and remembers up to which one all are done with.

mod asked;
mod progress;
mod setting_aside;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use segment_log::{Location, Reader, Record, Unreadable, dead_letters};

use super::held::{Held, Step, Verdict};
use super::metrics::Counts;
use super::record::Entry;
use super::state::Shared;
use crate::idempotency::{Identity, Memory};
use crate::producer::ClusterMetrics;
use crate::producer::{Answer, DrainProducer, DrainSettings, Drained, Draining, NotTaken, Presence};
use asked::Asked;
use progress::CHECKPOINT_PAUSE;

/// The most records that are looked after at a time.
const WINDOW: usize = 100_000;

/// How long to wait after a record could not be read.
const READ_PAUSE: Duration = Duration::from_secs(1);

/// How long to wait before looking around when nothing happens.
const IDLE: Duration = Duration::from_millis(500);

/// How long a producer that has failed keeps to itself before the next, at first and at most.
const REBUILD_PAUSE: RangeInclusive<Duration> = Duration::from_millis(200)..=Duration::from_secs(15);

/// What the drainer is told.
#[derive(Debug)]
pub(super) enum Event {
    /// There is more that is durable.
    Durable,
    /// What became of a record that a producer had, and which producer.
    Answer(u64, Answer),
    /// It is time to end, by then.
    Stop(Instant),
}

/// Where a record is, and what is known of it.
#[derive(Debug)]
struct Slot {
    location: Location,
    topic: Arc<str>,
    identity: Option<Identity>,
    done: bool,
    /// Whether the producer has it, with others.
    sent: bool,
}

/// Drains one spool.
pub(super) struct Drainer {
    shared: Arc<Shared>,
    metrics: ClusterMetrics,
    counts: Counts,
    settings: DrainSettings,
    /// Told which events Kafka has.
    memory: Option<Arc<Memory>>,
    events: Receiver<Event>,
    sender: Sender<Event>,
    dead_letters: dead_letters::Writer,
    reader: Reader,
    /// The number of the first record in `window`.
    base: u64,
    /// Records that are being looked after. Their numbers rise by one.
    window: VecDeque<Slot>,
    /// What is to be handed over, in order.
    to_send: VecDeque<u64>,
    /// What is to be handed over by itself.
    to_send_alone: VecDeque<u64>,
    /// What waits, topic by topic.
    held: Held,
    /// The record that is next, and since when.
    next_since: (u64, Instant),
    asked: Option<Asked>,
    /// What is to be set aside, and why.
    to_set_aside: VecDeque<(u64, String)>,
    producer: Option<DrainProducer>,
    generation: u64,
    rebuild_pause: Duration,
    not_before: Instant,
    checkpoint_due: Instant,
    /// Whether a checkpoint has to say more than the last.
    checkpoint_wanted: bool,
    /// Whether the disk has something else where a record should be.
    damaged: bool,
    /// Whether the last attempt to read failed for another reason.
    unreadable: bool,
    refused_since_log: u64,
    refused_logged: Option<Instant>,
    aside_failed: bool,
    checkpoint_failed: bool,
}

impl Drainer {
    pub(super) fn new(
        shared: Arc<Shared>,
        metrics: ClusterMetrics,
        counts: Counts,
        settings: DrainSettings,
        memory: Option<Arc<Memory>>,
        events: Receiver<Event>,
        sender: Sender<Event>,
    ) -> Self {
        let log = &shared.log;
        let done = log.lock().done;
        let now = Instant::now();
        let held = Held::new(settings.patience, now);
        Self {
            dead_letters: dead_letters::Writer::new(log.directory(), log.segment_bytes(), log.disk().clone()),
            reader: Reader::new(log.clone()),
            shared,
            metrics,
            counts,
            settings,
            memory,
            events,
            sender,
            base: done + 1,
            window: VecDeque::new(),
            to_send: VecDeque::new(),
            to_send_alone: VecDeque::new(),
            held,
            next_since: (done + 1, now),
            asked: None,
            to_set_aside: VecDeque::new(),
            producer: None,
            generation: 0,
            rebuild_pause: *REBUILD_PAUSE.start(),
            not_before: now,
            checkpoint_due: now,
            checkpoint_wanted: false,
            damaged: false,
            unreadable: false,
            refused_since_log: 0,
            refused_logged: None,
            aside_failed: false,
            checkpoint_failed: false,
        }
    }

    /// Drains until it is told to end.
    pub(super) fn run(mut self) {
        loop {
            let mut more = false;
            if Instant::now() >= self.not_before {
                more = self.tend_held();
                self.send_waiting();
                self.feed();
                self.ask_after_next();
            }
            more |= self.set_aside();
            self.advance(false);
            let busy = self.checkpoint_wanted || !self.to_set_aside.is_empty() || !self.held.is_empty();
            let wait = match busy {
                // Not before what has happened in the meantime is known.
                _ if more => Duration::ZERO,
                true => CHECKPOINT_PAUSE,
                false => IDLE,
            };
            match self.events.recv_timeout(wait) {
                Ok(event) => {
                    if let Some(deadline) = self.handle(event) {
                        return self.end(deadline);
                    }
                    // Many come at once.
                    while let Ok(event) = self.events.try_recv() {
                        if let Some(deadline) = self.handle(event) {
                            return self.end(deadline);
                        }
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.end(Instant::now()),
            }
        }
    }

    /// Takes note of an event; returns until when to end, if it says so.
    fn handle(&mut self, event: Event) -> Option<Instant> {
        match event {
            Event::Durable => {}
            Event::Stop(deadline) => return Some(deadline),
            Event::Answer(generation, answer) => self.answered(generation, answer),
        }
        None
    }

    fn answered(&mut self, generation: u64, answer: Answer) {
        let now = Instant::now();
        let Answer { sequence, alone, drained, metadata } = answer;
        let open = self.slot(sequence).filter(|slot| !slot.done).map(|slot| Arc::clone(&slot.topic));
        if drained == Drained::Written {
            self.answered_for_asked(sequence, alone, &drained, now);
            let Some(topic) = open else { return };
            let identity = self.slot(sequence).and_then(|slot| {
                slot.done = true;
                slot.identity
            });
            if let (Some(identity), Some(memory)) = (identity, &self.memory) {
                memory.drained(identity, metadata);
            }
            self.counts.drained();
            self.rebuild_pause = *REBUILD_PAUSE.start();
            let released = self.held.settled(&topic, sequence, now);
            return self.release(released);
        }
        // What an earlier producer did not write is in the hands of the present one.
        if generation != self.generation {
            return;
        }
        let stuck = self.answered_for_asked(sequence, alone, &drained, now);
        let Some(topic) = open else { return };
        if let Some(slot) = self.slot(sequence).filter(|_| !alone) {
            slot.sent = false;
        }
        if let Some(stuck) = stuck {
            if !stuck {
                return;
            }
            self.send_one_by_one(&topic, &format!("a record comes back with {drained:?}"));
        }
        match drained {
            // Each comes back with the reason for which the producer failed.
            _ if !alone
                && self.producer.as_ref().is_some_and(|producer| producer.fatal_error().is_some()) =>
            {
                let why = self.producer.as_ref().and_then(DrainProducer::fatal_error).unwrap_or_default();
                self.rebuild(&why);
            }
            Drained::Refused(reason) => {
                let released = self.held.settled(&topic, sequence, now);
                self.to_set_aside.push_back((sequence, reason));
                self.release(released);
            }
            Drained::RefusedWithOthers if self.held.holds(&topic) => {
                self.held.wait(&topic, sequence, true, now);
            }
            Drained::RefusedWithOthers => self.to_send_alone.push_back(sequence),
            Drained::TopicMissing(reason) => self.held.missing(&topic, sequence, reason, now),
            Drained::Failed(reason) => {
                let verdict = self.held.failed(&topic, sequence, alone, reason, now);
                self.take(verdict);
            }
            Drained::Unanswered(_) => self.held.unanswered(&topic, sequence, now),
            // The client for single records is replaced by itself.
            Drained::Lost if alone => self.held.unanswered(&topic, sequence, now),
            Drained::Lost | Drained::Written => self.rebuild("records came back"),
        }
    }

    /// Takes over what was decided of records that waited.
    fn take(&mut self, verdict: Verdict) {
        self.to_set_aside.extend(verdict.given_up);
        self.release(verdict.released);
    }

    /// Has records handed over that had to wait, in order.
    fn release(&mut self, released: Vec<u64>) {
        if !released.is_empty() {
            let all: BTreeSet<u64> = self.to_send.drain(..).chain(released).collect();
            self.to_send = all.into_iter().collect();
        }
    }

    fn slot(&mut self, sequence: u64) -> Option<&mut Slot> {
        let index = usize::try_from(sequence.checked_sub(self.base)?).ok()?;
        self.window.get_mut(index)
    }

    fn is_done(&mut self, sequence: u64) -> bool {
        self.slot(sequence).is_none_or(|slot| slot.done)
    }

    /// Reads a record that is being looked after.
    fn read(&mut self, sequence: u64) -> Option<Record> {
        let location = self.slot(sequence).filter(|slot| !slot.done)?.location.clone();
        let read = self.reader.read(sequence, &location);
        read.map_err(|unreadable| self.found_unreadable(&unreadable)).ok()
    }

    /// A record could not be read. What is wrong with the disk or the process may pass, and is tried again; what is in
    /// the file, or not there any more, will stay as it is.
    fn found_unreadable(&mut self, unreadable: &Unreadable) {
        let Unreadable { path, offset, error } = unreadable;
        let Some(what) = unreadable.damage() else {
            self.not_before = Instant::now() + READ_PAUSE;
            if !std::mem::replace(&mut self.unreadable, true) {
                tracing::error!(path = %path.display(), offset, %error, "the spool cannot be read; trying again");
            }
            return;
        };
        if !std::mem::replace(&mut self.damaged, true) {
            self.shared.lock().damaged = true;
            tracing::error!(
                path = %path.display(), offset, error = what,
                "the spool is damaged here: nothing behind it is drained, and no record is spooled any more; end the bridge, and put \
                 the file back or go on with what is whole by kafka-bridge spool salvage, see docs/spool.md"
            );
        }
    }

    /// Does what is due for topics that are waited for. Kafka is asked for one of them at most, which may take its time: what
    /// has come in the meantime, such as a stop, does not wait for the others. Returns whether there are others.
    fn tend_held(&mut self) -> bool {
        let now = Instant::now();
        self.held.forget(now);
        while let Some(step) = self.held.next(now) {
            match step {
                Step::Send(topic, sequence) => {
                    if self.is_done(sequence) {
                        let released = self.held.settled(&topic, sequence, now);
                        self.release(released);
                        continue;
                    }
                    let Some(record) = self.read(sequence) else { return false };
                    self.held.sent(&topic, sequence);
                    if !self.hand_over(&record, true) {
                        self.held.unanswered(&topic, sequence, now);
                        return false;
                    }
                }
                Step::Ask(topic) => {
                    self.ask_for(&topic);
                    return self.held.next(Instant::now()).is_some();
                }
            }
        }
        false
    }

    /// Asks whether Kafka has a topic.
    fn ask_for(&mut self, topic: &Arc<str>) {
        let presence = match self.producer() {
            Ok(producer) => producer.presence(topic),
            Err(error) => return self.rebuild(&error),
        };
        // It may have taken its time.
        let now = Instant::now();
        match presence {
            Presence::There => {
                let released = self.held.there(topic, now);
                self.release(released);
            }
            Presence::Missing => self.to_set_aside.extend(self.held.absent(topic, now)),
            Presence::Unknown => self.held.unknown(now),
        }
    }

    /// Hands over what waits to be.
    fn send_waiting(&mut self) {
        let _ = self.send_from(|drainer| &mut drainer.to_send_alone, true)
            && self.send_from(|drainer| &mut drainer.to_send, false);
    }

    /// Hands over what is in a queue; returns whether the producer takes more.
    fn send_from(&mut self, queue: fn(&mut Self) -> &mut VecDeque<u64>, alone: bool) -> bool {
        while let Some(sequence) = queue(self).pop_front() {
            if self.is_done(sequence) || self.waits(sequence, alone) {
                continue;
            }
            let generation = self.generation;
            let taken = match self.read(sequence) {
                Some(record) => self.hand_over(&record, alone),
                None => false,
            };
            if !taken {
                // Where the producer had to be replaced, all is in its queue again.
                if generation == self.generation {
                    queue(self).push_front(sequence);
                }
                return false;
            }
        }
        true
    }

    /// Whether a record has to wait for others of its topic; from then on it does.
    fn waits(&mut self, sequence: u64, alone: bool) -> bool {
        let Some(topic) = self.slot(sequence).map(|slot| Arc::clone(&slot.topic)) else { return false };
        let waits = self.held.holds(&topic);
        if waits {
            self.held.wait(&topic, sequence, alone, Instant::now());
        }
        waits
    }

    /// Looks after further records.
    fn feed(&mut self) {
        while self.to_send.is_empty() && self.window.len() < WINDOW && !self.damaged {
            let record = match self.next_record() {
                Ok(Some(record)) => record,
                Ok(None) => return,
                Err(unreadable) => return self.found_unreadable(&unreadable),
            };
            let sequence = record.sequence;
            self.unreadable = false;
            let generation = self.generation;
            if !self.waits(sequence, false) && !self.hand_over(&record, false) {
                // Where the producer had to be replaced, it is there already.
                if generation == self.generation {
                    self.to_send.push_back(sequence);
                }
                return;
            }
        }
    }

    /// The next record that is durable, put at the end of the window.
    fn next_record(&mut self) -> Result<Option<Record>, Unreadable> {
        let Some(record) = self.reader.next()? else { return Ok(None) };
        let entry = Entry::decode(record.payload());
        let (topic, identity) = entry.map_or(("", None), |entry| (entry.topic, entry.identity));
        let topic = match self.window.back() {
            Some(last) if *last.topic == *topic => Arc::clone(&last.topic),
            _ => topic.into(),
        };
        let location = record.location.clone();
        self.window.push_back(Slot { location, topic, identity, done: false, sent: false });
        Ok(Some(record))
    }

    /// Hands a record to the producer; returns whether it is off the drainer's hands, for now.
    fn hand_over(&mut self, record: &Record, alone: bool) -> bool {
        let sequence = record.sequence;
        let Some(entry) = Entry::decode(record.payload()) else {
            self.to_set_aside.push_back((sequence, "a record of a format that is not known".to_owned()));
            return true;
        };
        let record = Draining {
            sequence,
            topic: entry.topic,
            partition: entry.partition,
            timestamp: entry.timestamp,
            key: entry.key,
            headers: &entry.headers,
            value: entry.value,
        };
        let sent = match self.producer() {
            Ok(producer) if alone => producer.send_alone(&record),
            Ok(producer) => producer.send(&record),
            Err(error) => Err(NotTaken::Failed(error)),
        };
        match sent {
            Ok(()) => {
                if let Some(slot) = self.slot(sequence).filter(|_| !alone) {
                    slot.sent = true;
                }
                true
            }
            Err(NotTaken::Full) => false,
            Err(NotTaken::Answered(drained)) => {
                let generation = self.generation;
                self.answered(generation, Answer { sequence, alone, drained, metadata: None });
                generation == self.generation
            }
            Err(NotTaken::Failed(error)) => {
                self.rebuild(&error);
                false
            }
        }
    }

    fn producer(&mut self) -> Result<&mut DrainProducer, String> {
        let producer = match self.producer.take() {
            Some(producer) => producer,
            None => {
                let (generation, sender) = (self.generation, self.sender.clone());
                let report = move |answer| {
                    // The drainer may have ended.
                    let _ = sender.send(Event::Answer(generation, answer));
                };
                DrainProducer::new(&self.settings, Arc::new(report)).map_err(|error| error.to_string())?
            }
        };
        Ok(self.producer.insert(producer))
    }

    /// Gives up the producer. What it has not written goes to the next, in order.
    fn rebuild(&mut self, why: &str) {
        tracing::error!(why, "the producer that drains the spool has failed and is being replaced");
        self.replace_producer();
        self.send_all_again();
        self.not_before = Instant::now() + self.rebuild_pause;
        self.rebuild_pause = (self.rebuild_pause * 2).min(*REBUILD_PAUSE.end());
    }

    /// Ends the producer, once what it has written is known.
    fn replace_producer(&mut self) {
        if let Some(producer) = self.producer.take() {
            producer.close(Instant::now());
            self.metrics.producer_rebuilt();
        }
        self.generation += 1;
        // What the old one did write before is among these.
        let mut others = Vec::new();
        while let Ok(event) = self.events.try_recv() {
            match event {
                Event::Answer(generation, answer) => self.answered(generation, answer),
                other => others.push(other),
            }
        }
        for event in others {
            let _ = self.sender.send(event);
        }
        for slot in &mut self.window {
            slot.sent = false;
        }
        self.held.all_came_back();
        self.asked = None;
        self.to_send_alone.clear();
    }

    /// Has all that is not done with, and neither waits nor is to be set aside, handed over, in order.
    fn send_all_again(&mut self) {
        let kept: BTreeSet<u64> = self.to_set_aside.iter().map(|(sequence, _)| *sequence).collect();
        let (base, held) = (self.base, &self.held);
        let open = (base..).zip(&self.window).filter(|(_, slot)| !slot.done);
        self.to_send = open
            .filter(|(sequence, slot)| !kept.contains(sequence) && !held.has(&slot.topic, *sequence))
            .map(|(sequence, _)| sequence)
            .collect();
    }

    /// Lets what is on its way arrive, and says what stays.
    fn end(mut self, deadline: Instant) {
        // What there is no time for stays in the spool, and is refused anew.
        while Instant::now() < deadline && self.set_aside() {}
        if let Some(producer) = self.producer.take() {
            producer.close(deadline);
        }
        while let Ok(event) = self.events.try_recv() {
            if let Event::Answer(_, Answer { drained: Drained::Written | Drained::Refused(_), .. }) = &event {
                let _ = self.handle(event);
            }
        }
        while Instant::now() < deadline && self.set_aside() {}
        self.advance(true);
        let records = self.shared.log.lock().records();
        if records > 0 {
            tracing::info!(
                records,
                directory = %self.shared.log.directory().display(),
                "records stay in the spool, safe on disk; they are written to Kafka when a bridge runs with it again"
            );
        }
    }
}
