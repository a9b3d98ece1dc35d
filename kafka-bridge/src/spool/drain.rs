//! The thread that drains: hands records to Kafka in their order, and remembers up to which one all are done with. What it
//! does next is decided by [`core::Core`]; here that is done.

mod core;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use segment_log::{Location, Reader, Record, Unreadable, UnsealedFrame, dead_letters};

use self::core::{BUSY, Core, DeadLetter, Effect, Note};
use super::metrics::Counts;
use super::record::Entry;
use super::state::Shared;
use crate::idempotency::Memory;
use crate::producer::{Answer, ClusterMetrics, DrainProducer, DrainSettings, Drained, Draining, NotTaken};

/// How often the checkpoint is written while records are drained. After a crash, what was drained since is drained once
/// more.
const CHECKPOINT_PAUSE: Duration = BUSY;

/// The most bytes of dead letters that share a sync.
const DEAD_LETTER_BYTES: usize = 4 << 20;

/// How often the log says that records were refused.
const REFUSED_LOG_PAUSE: Duration = Duration::from_secs(60);

/// What the drainer is notified of.
#[derive(Debug)]
pub(super) enum Event {
    /// There is more that is durable.
    Durable,
    /// What became of a record that a producer had, and which producer.
    Answer(u64, Answer),
    /// It is time to end, by then.
    Stop(Instant),
}

type CoreEvent = core::Event<Location>;

/// Drains one spool.
pub(super) struct Drainer {
    core: Core<Location>,
    shared: Arc<Shared>,
    metrics: ClusterMetrics,
    counts: Counts,
    settings: DrainSettings,
    /// Notified of events that Kafka has.
    memory: Option<Arc<Memory>>,
    events: Receiver<Event>,
    sender: Sender<Event>,
    dead_letters: dead_letters::Writer,
    reader: Reader,
    /// The record that was read last, which is usually sent next.
    last: Option<Record>,
    producer: Option<DrainProducer>,
    checkpoint_due: Instant,
    /// Whether a checkpoint has to say more than the last.
    checkpoint_wanted: bool,
    said: Said,
}

/// What the log has already.
#[derive(Debug, Default)]
struct Said {
    unreadable: bool,
    damaged: bool,
    dead_letters_failed: bool,
    checkpoint_failed: bool,
    refused: Option<Instant>,
    refused_since: u64,
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
        let log = shared.log.clone();
        let done = log.lock().done;
        let now = Instant::now();
        Self {
            core: Core::new(done, settings.patience, now),
            dead_letters: dead_letters::Writer::new(log.directory(), log.segment_bytes(), log.disk().clone()),
            reader: Reader::new(log.clone()),
            shared,
            metrics,
            counts,
            settings,
            memory,
            events,
            sender,
            last: None,
            producer: None,
            checkpoint_due: now,
            checkpoint_wanted: false,
            said: Said::default(),
        }
    }

    /// Drains until it is told to end.
    pub(super) fn run(mut self) {
        let mut event = CoreEvent::Tick;
        while let Some(next) = self.step(event) {
            event = next;
        }
        self.advance();
        self.write_checkpoint();
        let records = self.shared.log.lock().records();
        if records > 0 {
            tracing::info!(
                records,
                directory = %self.shared.log.directory().display(),
                "records stay in the spool, safe on disk; they are written to Kafka when a bridge runs with it again"
            );
        }
    }

    /// Does what is to be done after an event, and returns the next; `None` at the end.
    fn step(&mut self, event: CoreEvent) -> Option<CoreEvent> {
        let (effect, notes) = self.core.step(event, Instant::now());
        notes.into_iter().for_each(|note| self.note(note));
        match effect {
            Effect::Read => Some(self.read_next()),
            Effect::Send { sequence, location, alone } => Some(self.send(sequence, &location, alone)),
            Effect::AskFor(topic) => Some(self.ask_for(topic)),
            Effect::WriteDeadLetters(letters) => Some(self.write_dead_letters(&letters)),
            Effect::CloseProducer(deadline) => Some(self.close_producer(deadline)),
            Effect::Wait(timeout) => Some(self.wait(timeout)),
            Effect::End => None,
        }
    }

    fn note(&mut self, note: Note) {
        match note {
            Note::Delivered { identity, metadata } => {
                self.counts.drained();
                if let (Some(identity), Some(memory)) = (identity, &self.memory) {
                    memory.drained(identity, metadata);
                }
            }
            Note::ProducerReplaced { why } => {
                self.metrics.producer_rebuilt();
                tracing::error!(why, "the producer that drains the spool has failed and is being replaced");
            }
            Note::OneByOne { topic, why } => {
                self.metrics.producer_rebuilt();
                tracing::warn!(
                    topic = &*topic,
                    why,
                    "the producer that drains the spool does not get on with a topic, whose records are sent one by one"
                );
            }
        }
    }

    /// Waits for an event. What is done with by then is noted before.
    fn wait(&mut self, timeout: Duration) -> CoreEvent {
        self.advance();
        if self.checkpoint_wanted && Instant::now() >= self.checkpoint_due {
            self.write_checkpoint();
        }
        let timeout = if self.checkpoint_wanted { timeout.min(CHECKPOINT_PAUSE) } else { timeout };
        let first = match self.events.recv_timeout(timeout) {
            Ok(event) => event,
            Err(RecvTimeoutError::Timeout) => return CoreEvent::Tick,
            Err(RecvTimeoutError::Disconnected) => return CoreEvent::Stop(Instant::now()),
        };
        // Many come at once.
        let mut event = self.translated(first);
        while let Ok(more) = self.events.try_recv() {
            let more = self.translated(more);
            self.core.hear(std::mem::replace(&mut event, more), Instant::now());
        }
        event
    }

    fn translated(&self, event: Event) -> CoreEvent {
        match event {
            Event::Durable => CoreEvent::Tick,
            Event::Stop(deadline) => CoreEvent::Stop(deadline),
            Event::Answer(generation, answer) => {
                let fatal = match answer.drained {
                    Drained::Written => None,
                    _ => self.producer.as_ref().and_then(DrainProducer::fatal_error),
                };
                CoreEvent::Answered { generation, answer, fatal }
            }
        }
    }

    /// Notes up to which record all are done with.
    fn advance(&mut self) {
        let done = self.core.done();
        self.checkpoint_wanted = self.reader.done_up_to(done);
        let mut state = self.shared.lock();
        state.done_up_to(done);
        self.counts.state(&mut state, &self.shared.log.lock());
    }

    /// Writes a checkpoint, and removes what it says is done with.
    fn write_checkpoint(&mut self) {
        self.checkpoint_due = Instant::now() + CHECKPOINT_PAUSE;
        match self.reader.write_checkpoint() {
            Ok(()) => (self.checkpoint_wanted, self.said.checkpoint_failed) = (false, false),
            Err(error) => {
                if !std::mem::replace(&mut self.said.checkpoint_failed, true) {
                    tracing::error!(%error, "the spool's checkpoint cannot be written; trying again");
                }
            }
        }
    }

    fn read_next(&mut self) -> CoreEvent {
        let record = match self.reader.next() {
            Ok(Some(record)) => record,
            Ok(None) => return CoreEvent::NothingToRead,
            Err(unreadable) => return self.unreadable(&unreadable),
        };
        self.said.unreadable = false;
        // What is not known is refused when it is sent.
        let entry = Entry::decode(record.payload());
        let (topic, identity) = entry.map_or(("", None), |entry| (entry.topic, entry.identity));
        let (sequence, location, topic) = (record.sequence, record.location.clone(), topic.into());
        self.last = Some(record);
        CoreEvent::Read { sequence, location, topic, identity }
    }

    fn read(&mut self, sequence: u64, location: &Location) -> Result<Record, CoreEvent> {
        match self.last.take() {
            Some(record) if record.sequence == sequence => Ok(record),
            _ => self.reader.read(sequence, location).map_err(|unreadable| self.unreadable(&unreadable)),
        }
    }

    /// A record could not be read. What is wrong with the disk or the process may pass, and is tried again; what is in
    /// the file, or not there any more, will stay as it is.
    fn unreadable(&mut self, unreadable: &Unreadable) -> CoreEvent {
        let Unreadable { path, offset, error } = unreadable;
        let Some(error) = unreadable.damage() else {
            if !std::mem::replace(&mut self.said.unreadable, true) {
                tracing::error!(path = %path.display(), offset, %error, "the spool cannot be read; trying again");
            }
            return CoreEvent::Unreadable { damaged: false };
        };
        if !std::mem::replace(&mut self.said.damaged, true) {
            self.shared.lock().damaged = true;
            tracing::error!(
                path = %path.display(), offset, error,
                "the spool is damaged here: nothing behind it is drained, and no record is spooled any more; end the bridge, and put \
                 the file back or go on with what is whole by kafka-bridge spool salvage, see docs/spool.md"
            );
        }
        CoreEvent::Unreadable { damaged: true }
    }

    fn send(&mut self, sequence: u64, location: &Location, alone: bool) -> CoreEvent {
        let record = match self.read(sequence, location) {
            Ok(record) => record,
            Err(event) => return event,
        };
        let sent = match (Entry::decode(record.payload()), self.producer()) {
            (_, Err(why)) => Err(NotTaken::Failed(why)),
            (None, _) => {
                Err(NotTaken::Answered(Drained::Refused("a record of a format that is not known".to_owned())))
            }
            (Some(entry), Ok(producer)) => {
                let record = Draining {
                    sequence,
                    topic: entry.topic,
                    partition: entry.partition,
                    timestamp: entry.timestamp,
                    key: entry.key,
                    headers: &entry.headers,
                    value: entry.value,
                };
                if alone { producer.send_alone(&record) } else { producer.send(&record) }
            }
        };
        match sent {
            Ok(()) => CoreEvent::Taken { sequence, alone },
            Err(NotTaken::Full) => CoreEvent::QueueFull { sequence },
            Err(NotTaken::Failed(why)) => CoreEvent::ProducerFailed { sequence: Some(sequence), why },
            Err(NotTaken::Answered(drained)) => {
                self.core.hear(CoreEvent::Taken { sequence, alone }, Instant::now());
                let answer = Answer { sequence, alone, drained, metadata: None };
                CoreEvent::Answered { generation: self.core.generation(), answer, fatal: None }
            }
        }
    }

    fn ask_for(&mut self, topic: Arc<str>) -> CoreEvent {
        match self.producer() {
            Ok(producer) => {
                let presence = producer.presence(&topic);
                CoreEvent::Presence { topic, presence }
            }
            Err(why) => CoreEvent::ProducerFailed { sequence: None, why },
        }
    }

    fn producer(&mut self) -> Result<&mut DrainProducer, String> {
        let producer = match self.producer.take() {
            Some(producer) => producer,
            None => {
                let (generation, sender) = (self.core.generation(), self.sender.clone());
                let report = move |answer| {
                    // The drainer may have ended.
                    let _ = sender.send(Event::Answer(generation, answer));
                };
                DrainProducer::new(&self.settings, Arc::new(report)).map_err(|error| error.to_string())?
            }
        };
        Ok(self.producer.insert(producer))
    }

    /// Ends the producer, once what it has written is known.
    fn close_producer(&mut self, deadline: Instant) -> CoreEvent {
        if let Some(producer) = self.producer.take() {
            producer.close(deadline);
        }
        let (mut answers, mut others) = (Vec::new(), Vec::new());
        while let Ok(event) = self.events.try_recv() {
            match event {
                Event::Answer(_, answer) => answers.push(answer),
                other => others.push(other),
            }
        }
        for event in others {
            let _ = self.sender.send(event);
        }
        CoreEvent::Closed(answers)
    }

    /// Writes as many dead letters as share a sync.
    fn write_dead_letters(&mut self, letters: &[DeadLetter<Location>]) -> CoreEvent {
        let (mut records, mut frames, mut bytes) = (Vec::new(), Vec::new(), 0);
        for DeadLetter { sequence, location, reason } in letters {
            if bytes >= DEAD_LETTER_BYTES {
                break;
            }
            let record = match self.read(*sequence, location) {
                Ok(record) => record,
                Err(event) => {
                    self.core.hear(event, Instant::now());
                    break;
                }
            };
            // What is not known stays as it is.
            let entry = Entry::decode(record.payload());
            let frame = entry.map_or_else(
                || UnsealedFrame::of(record.payload()),
                |entry| Entry { reason: Some(reason), ..entry }.encode(),
            );
            bytes += frame.len();
            frames.push((*sequence, frame));
            records.push((record, reason));
        }
        if frames.is_empty() {
            return CoreEvent::DeadLetters(Vec::new());
        }
        let taken = match self.dead_letters.append(&frames) {
            Ok(taken) => taken,
            Err(error) => {
                if !std::mem::replace(&mut self.said.dead_letters_failed, true) {
                    tracing::error!(%error, "records that Kafka refused cannot be written as dead letters; trying again");
                }
                return CoreEvent::DeadLetters(Vec::new());
            }
        };
        self.said.dead_letters_failed = false;
        self.shared.lock().dead_letters.bytes += taken;
        for (record, reason) in records {
            let entry = Entry::decode(record.payload());
            self.shared.lock().dead_letters.add(entry.as_ref().map_or("", |entry| entry.topic));
            self.counts.refused();
            if let Some(entry) = entry {
                self.log_refused(&entry, reason);
            }
        }
        CoreEvent::DeadLetters(frames.into_iter().map(|(sequence, _)| sequence).collect())
    }

    fn log_refused(&mut self, entry: &Entry<'_>, reason: &str) {
        self.said.refused_since += 1;
        if self.said.refused.is_none_or(|at| at.elapsed() >= REFUSED_LOG_PAUSE) {
            tracing::error!(
                topic = entry.topic,
                request_id = entry.request_id,
                reason,
                records = self.said.refused_since,
                "Kafka refuses spooled records; they become dead letters, see kafka-bridge spool list"
            );
            (self.said.refused, self.said.refused_since) = (Some(Instant::now()), 0);
        }
    }
}
