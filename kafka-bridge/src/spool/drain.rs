//! The thread that drains: hands records to Kafka in their order, and remembers up to which one all are done with.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::disk::Disk;
use super::format::{self, Entry, SEGMENT_HEADER};
use super::metrics::Counts;
use super::refused::Aside;
use super::segment;
use super::state::Shared;
use crate::metrics::ClusterMetrics;
use crate::producer::{DrainProducer, DrainSettings, Drained, Draining, NotTaken};

/// The most records that are looked after at a time.
const WINDOW: usize = 100_000;

/// How long to wait after a record could not be read.
const READ_PAUSE: Duration = Duration::from_secs(1);

/// How often the checkpoint is written while records are drained. After a crash, what was drained since is drained once
/// more.
const CHECKPOINT_PAUSE: Duration = Duration::from_millis(200);

/// How long to wait before looking around when nothing happens.
const IDLE: Duration = Duration::from_millis(500);

/// How long a producer that has failed keeps to itself before the next, at first and at most.
const REBUILD_PAUSE: RangeInclusive<Duration> = Duration::from_millis(200)..=Duration::from_secs(15);

/// How often the log says that records were refused.
const REFUSED_LOG_PAUSE: Duration = Duration::from_secs(60);

/// What the drainer is told.
#[derive(Debug)]
pub(super) enum Event {
    /// There is more that is durable.
    Durable,
    /// What became of a record that a producer had.
    Answer {
        /// Which producer.
        generation: u64,
        /// Which record.
        sequence: u64,
        /// What.
        drained: Drained,
    },
    /// It is time to end, by then.
    Stop(Instant),
}

/// Where a record is, and what is known of it.
#[derive(Debug)]
struct Slot {
    path: Arc<PathBuf>,
    offset: u64,
    done: bool,
}

/// A segment that is being read.
#[derive(Debug)]
struct Reading {
    path: Arc<PathBuf>,
    file: File,
    offset: u64,
    /// The number of the next record in it, and the number after the last that is known to be durable.
    next: u64,
    end: u64,
}

/// Drains one spool.
pub(super) struct Drainer {
    directory: PathBuf,
    disk: Disk,
    shared: Arc<Shared>,
    metrics: ClusterMetrics,
    counts: Counts,
    settings: DrainSettings,
    events: Receiver<Event>,
    sender: Sender<Event>,
    aside: Aside,
    reading: Option<Reading>,
    /// The number of the first record in `window`.
    base: u64,
    /// Records that are being looked after. Their numbers rise by one.
    window: VecDeque<Slot>,
    /// What is to be handed over, in order.
    to_send: VecDeque<u64>,
    /// What is to be handed over by itself.
    to_send_alone: VecDeque<u64>,
    /// What is to be set aside, and why.
    to_set_aside: VecDeque<(u64, String)>,
    producer: Option<DrainProducer>,
    generation: u64,
    rebuild_pause: Duration,
    not_before: Instant,
    checkpointed: u64,
    checkpoint_due: Instant,
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
    #[allow(clippy::too_many_arguments, reason = "made in one place")]
    pub(super) fn new(
        directory: PathBuf,
        segment_bytes: u64,
        disk: Disk,
        shared: Arc<Shared>,
        metrics: ClusterMetrics,
        counts: Counts,
        settings: DrainSettings,
        events: Receiver<Event>,
        sender: Sender<Event>,
    ) -> Self {
        let done = shared.lock().done;
        let now = Instant::now();
        Self {
            aside: Aside::new(&directory, segment_bytes, disk.clone()),
            directory,
            disk,
            shared,
            metrics,
            counts,
            settings,
            events,
            sender,
            reading: None,
            base: done + 1,
            window: VecDeque::new(),
            to_send: VecDeque::new(),
            to_send_alone: VecDeque::new(),
            to_set_aside: VecDeque::new(),
            producer: None,
            generation: 0,
            rebuild_pause: *REBUILD_PAUSE.start(),
            not_before: now,
            checkpointed: done,
            checkpoint_due: now,
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
            if Instant::now() >= self.not_before {
                self.send_waiting();
                self.feed();
            }
            self.set_aside();
            self.advance(false);
            let busy = self.checkpointed < self.base - 1 || !self.to_set_aside.is_empty();
            let wait = if busy { CHECKPOINT_PAUSE } else { IDLE };
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
            Event::Answer { sequence, drained: Drained::Written, .. } => {
                if let Some(slot) = self.slot(sequence) {
                    slot.done = true;
                    self.counts.drained();
                    self.rebuild_pause = *REBUILD_PAUSE.start();
                }
            }
            // What an earlier producer did not write is in the hands of the present one.
            Event::Answer { generation, .. } if generation != self.generation => {}
            Event::Answer { sequence, drained, .. } => match drained {
                Drained::Refused(reason) => self.to_set_aside.push_back((sequence, reason)),
                Drained::RefusedWithOthers => self.to_send_alone.push_back(sequence),
                Drained::Written | Drained::Lost => self.rebuild("records came back"),
            },
        }
        None
    }

    fn slot(&mut self, sequence: u64) -> Option<&mut Slot> {
        let index = usize::try_from(sequence.checked_sub(self.base)?).ok()?;
        self.window.get_mut(index)
    }

    fn is_done(&mut self, sequence: u64) -> bool {
        self.slot(sequence).is_none_or(|slot| slot.done)
    }

    /// Reads a record that is being looked after.
    fn read(&mut self, sequence: u64) -> Option<Vec<u8>> {
        let slot = self.slot(sequence).filter(|slot| !slot.done)?;
        let (path, offset) = (Arc::clone(&slot.path), slot.offset);
        let read = match &self.reading {
            Some(reading) if reading.path == path => segment::read_at(&reading.file, offset),
            _ => File::open(&*path).and_then(|file| segment::read_at(&file, offset)),
        };
        read.map_err(|error| self.found_unreadable(&path, offset, &error)).ok()
    }

    /// A record could not be read. What is wrong with the disk or the process may pass, and is tried again; what is in
    /// the file will stay as it is.
    fn found_unreadable(&mut self, path: &std::path::Path, offset: u64, error: &io::Error) {
        if error.kind() != io::ErrorKind::InvalidData {
            self.not_before = Instant::now() + READ_PAUSE;
            if !std::mem::replace(&mut self.unreadable, true) {
                tracing::error!(path = %path.display(), offset, %error, "the spool cannot be read; trying again");
            }
            return;
        }
        if !std::mem::replace(&mut self.damaged, true) {
            tracing::error!(
                path = %path.display(), offset, %error,
                "the spool cannot be read here; nothing behind it is drained until that is mended and the bridge restarted"
            );
        }
    }

    /// Hands over what waits to be.
    fn send_waiting(&mut self) {
        let _ = self.send_from(|drainer| &mut drainer.to_send_alone, true)
            && self.send_from(|drainer| &mut drainer.to_send, false);
    }

    /// Hands over what is in a queue; returns whether the producer takes more.
    fn send_from(&mut self, queue: fn(&mut Self) -> &mut VecDeque<u64>, alone: bool) -> bool {
        while let Some(sequence) = queue(self).front().copied() {
            if !self.is_done(sequence) {
                let Some(bytes) = self.read(sequence) else { break };
                if !self.hand_over(sequence, &bytes, alone) {
                    return false;
                }
            }
            queue(self).pop_front();
        }
        true
    }

    /// Looks after further records.
    fn feed(&mut self) {
        while self.to_send.is_empty() && self.window.len() < WINDOW && !self.damaged {
            let (sequence, bytes) = match self.next_record() {
                Ok(Some(next)) => next,
                Ok(None) => return,
                Err(error) => {
                    let at = self.reading.as_ref().map(|reading| (Arc::clone(&reading.path), reading.offset));
                    let (path, offset) = at.unwrap_or_else(|| (Arc::new(self.directory.clone()), 0));
                    return self.found_unreadable(&path, offset, &error);
                }
            };
            self.unreadable = false;
            if !self.hand_over(sequence, &bytes, false) {
                // A producer that had to be replaced has left it there already.
                if !self.to_send.contains(&sequence) {
                    self.to_send.push_back(sequence);
                }
                return;
            }
        }
    }

    /// The next record that is durable, put at the end of the window.
    fn next_record(&mut self) -> io::Result<Option<(u64, Vec<u8>)>> {
        let mut wanted = self.base + self.window.len() as u64;
        if self.reading.as_ref().is_none_or(|reading| reading.next != wanted || wanted >= reading.end) {
            let state = self.shared.lock();
            if self.window.is_empty()
                && let Some(oldest) = state.segments.front()
                && wanted < oldest.first
            {
                // What was before is done with and deleted.
                (self.base, wanted) = (oldest.first, oldest.first);
            }
            let Some(segment) = state.segment_of(wanted).cloned() else { return Ok(None) };
            drop(state);
            match &mut self.reading {
                Some(reading) if *reading.path == segment.path => reading.end = segment.next,
                _ => {
                    let file = File::open(&segment.path).map_err(|error| {
                        io::Error::new(error.kind(), format!("{}: {error}", segment.path.display()))
                    })?;
                    self.reading = Some(Reading {
                        path: Arc::new(segment.path),
                        file,
                        offset: SEGMENT_HEADER as u64,
                        next: segment.first,
                        end: segment.next,
                    });
                }
            }
        }
        let Some(reading) = &mut self.reading else { return Ok(None) };
        loop {
            let bytes = segment::read_at(&reading.file, reading.offset)?;
            let (sequence, _) = segment::entry(&bytes)?;
            if sequence != reading.next {
                let text = format!("wanted record {}, found {sequence}", reading.next);
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
            let offset = reading.offset;
            reading.offset += bytes.len() as u64;
            reading.next += 1;
            // At the start some of a segment may have been done with before.
            if sequence == wanted {
                let path = Arc::clone(&reading.path);
                self.window.push_back(Slot { path, offset, done: false });
                return Ok(Some((sequence, bytes)));
            }
        }
    }

    /// Hands a record to the producer; returns whether it is off the drainer's hands, for now.
    fn hand_over(&mut self, sequence: u64, bytes: &[u8], alone: bool) -> bool {
        let entry = match segment::entry(bytes) {
            Ok((_, entry)) => entry,
            Err(error) => {
                self.to_set_aside.push_back((sequence, error.to_string()));
                return true;
            }
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
            Ok(()) => true,
            Err(NotTaken::Full) => false,
            Err(NotTaken::Refused(reason)) => {
                self.to_set_aside.push_back((sequence, reason));
                true
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
                let report = move |sequence, drained| {
                    // The drainer may have ended.
                    let _ = sender.send(Event::Answer { generation, sequence, drained });
                };
                DrainProducer::new(&self.settings, Arc::new(report)).map_err(|error| error.to_string())?
            }
        };
        Ok(self.producer.insert(producer))
    }

    /// Gives up the producer. What it has not written goes to the next, in order.
    fn rebuild(&mut self, why: &str) {
        tracing::error!(why, "the producer that drains the spool has failed and is being replaced");
        if let Some(producer) = self.producer.take() {
            producer.close(Duration::ZERO);
            self.metrics.producer_rebuilt();
        }
        self.generation += 1;
        // What the old one did write before is among these.
        let mut others = Vec::new();
        while let Ok(event) = self.events.try_recv() {
            match event {
                Event::Answer { .. } => drop(self.handle(event)),
                other => others.push(other),
            }
        }
        for event in others {
            let _ = self.sender.send(event);
        }
        let kept: Vec<u64> = self.to_set_aside.iter().map(|(sequence, _)| *sequence).collect();
        self.to_send_alone.clear();
        let base = self.base;
        let open = self.window.iter().enumerate().filter(|(_, slot)| !slot.done);
        self.to_send =
            open.map(|(index, _)| base + index as u64).filter(|sequence| !kept.contains(sequence)).collect();
        self.not_before = Instant::now() + self.rebuild_pause;
        self.rebuild_pause = (self.rebuild_pause * 2).min(*REBUILD_PAUSE.end());
    }

    /// Sets aside what Kafka does not take.
    fn set_aside(&mut self) {
        while let Some((sequence, reason)) = self.to_set_aside.pop_front() {
            let Some(bytes) = self.read(sequence) else { continue };
            let done = match segment::entry(&bytes) {
                Ok((_, entry)) => {
                    self.log_refused(&entry, &reason);
                    let frame = Entry { reason: Some(&reason), ..entry }.encode();
                    self.aside.add(sequence, frame)
                }
                // Of a later version perhaps: as it is.
                Err(_) => self.aside.add(sequence, bytes),
            };
            match done {
                Ok(bytes) => {
                    self.aside_failed = false;
                    if let Some(slot) = self.slot(sequence) {
                        slot.done = true;
                    }
                    let mut state = self.shared.lock();
                    state.refused_records += 1;
                    state.refused_bytes += bytes;
                    drop(state);
                    self.counts.refused();
                }
                Err(error) => {
                    if !std::mem::replace(&mut self.aside_failed, true) {
                        tracing::error!(%error, "a record that Kafka refused cannot be set aside; trying again");
                    }
                    self.to_set_aside.push_front((sequence, reason));
                    return;
                }
            }
        }
    }

    fn log_refused(&mut self, entry: &Entry<'_>, reason: &str) {
        self.refused_since_log += 1;
        if self.refused_logged.is_none_or(|at| at.elapsed() >= REFUSED_LOG_PAUSE) {
            tracing::error!(
                topic = entry.topic,
                request_id = entry.request_id,
                reason,
                records = self.refused_since_log,
                "Kafka refuses spooled records; they are set aside, see --spool-refused"
            );
            (self.refused_logged, self.refused_since_log) = (Some(Instant::now()), 0);
        }
    }

    /// Forgets records all of whose predecessors are done with, as they are, and has the disk forget them.
    fn advance(&mut self, now: bool) {
        while self.window.pop_front_if(|slot| slot.done).is_some() {
            self.base += 1;
        }
        let done = self.base - 1;
        let mut state = self.shared.lock();
        state.done_up_to(done);
        let mut gone = Vec::new();
        while let Some(oldest) = state.segments.front()
            && oldest.next <= done + 1
            && state.open != Some(oldest.first)
        {
            gone.extend(state.segments.pop_front());
        }
        self.counts.state(&state);
        drop(state);
        // Before the checkpoint, which a disk that is full may have no room for.
        for segment in gone {
            if let Err(error) = self.disk.remove(&segment.path) {
                tracing::error!(path = %segment.path.display(), %error, "a segment that is done with cannot be removed");
            }
        }
        if done > self.checkpointed && (now || Instant::now() >= self.checkpoint_due) {
            self.checkpoint(done);
        }
    }

    fn checkpoint(&mut self, done: u64) {
        self.checkpoint_due = Instant::now() + CHECKPOINT_PAUSE;
        match self.disk.replace(&super::checkpoint_path(&self.directory), &format::checkpoint(done)) {
            Ok(()) => {
                self.checkpointed = done;
                self.checkpoint_failed = false;
            }
            Err(error) => {
                if !std::mem::replace(&mut self.checkpoint_failed, true) {
                    tracing::error!(%error, "the spool's checkpoint cannot be written; trying again");
                }
            }
        }
    }

    /// Lets what is on its way arrive, and says what stays.
    fn end(mut self, deadline: Instant) {
        if let Some(producer) = self.producer.take() {
            producer.close(deadline.saturating_duration_since(Instant::now()));
        }
        while let Ok(event) = self.events.try_recv() {
            if let Event::Answer { drained: Drained::Written | Drained::Refused(_), .. } = &event {
                let _ = self.handle(event);
            }
        }
        self.set_aside();
        self.advance(true);
        let records = self.shared.lock().records();
        if records > 0 {
            tracing::info!(
                records,
                directory = %self.directory.display(),
                "records stay in the spool, safe on disk; they are written to Kafka when a bridge runs with it again"
            );
        }
    }
}

/// The present in milliseconds since 1970-01-01T00:00:00Z.
pub(super) fn now_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
