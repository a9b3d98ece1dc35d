//! Appending to a log.

use std::io;
use std::time::{Duration, Instant};

use crate::frame::UnsealedFrame;
use crate::log::Log;
use crate::segment::{Open, Repair, Segment};

/// Appends to the newest segment of a log. There is one writer for a log.
#[derive(Debug)]
pub struct Writer {
    log: Log,
    /// The segment that is appended to.
    open: Option<Open>,
    /// What has to be done before anything is written again.
    repair: Option<Repair>,
}

/// Records that are durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The number of the first.
    pub first: u64,
    /// How long it took to write and sync them.
    pub latency: Duration,
}

/// Records that are not durable.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct NotAppended {
    /// What the disk says.
    pub error: io::Error,
    /// Whether the records may still be found at the next start, because what was written of them cannot be cut off.
    pub may_be_found: bool,
}

impl Writer {
    /// Creates the writer of a log.
    pub fn new(log: Log) -> Self {
        Self { log, open: None, repair: None }
    }

    /// Whether a segment has to be repaired before anything is appended.
    pub fn is_broken(&self) -> bool {
        self.repair.is_some()
    }

    /// Appends records, durably, and all of them or none.
    ///
    /// # Errors
    /// If the disk does not take them. What was written of them is cut off, if that can be done.
    pub fn append<'a>(
        &mut self,
        frames: impl ExactSizeIterator<Item = &'a UnsealedFrame> + Clone,
    ) -> Result<Appended, NotAppended> {
        if let Err(error) = self.mend() {
            return Err(NotAppended { error, may_be_found: false });
        }
        self.try_append(frames).map_err(|error| {
            // Where it fails, it is tried again before the next.
            let _ = self.mend();
            let may_be_found = self.repair.as_ref().is_some_and(|repair| !repair.is_truncated());
            NotAppended { error, may_be_found }
        })
    }

    fn try_append<'a>(
        &mut self,
        frames: impl ExactSizeIterator<Item = &'a UnsealedFrame> + Clone,
    ) -> io::Result<Appended> {
        let first = self.log.lock().next;
        let count = frames.len() as u64;
        if self.open.as_ref().is_some_and(|open| open.len() >= self.log.segment_bytes()) {
            self.open = None;
            self.log.lock().open = None;
        }
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.begin(first)?,
        };
        let mut bytes = Vec::with_capacity(frames.clone().map(UnsealedFrame::len).sum());
        for (sequence, frame) in (first..).zip(frames) {
            open.seal(frame, sequence, &mut bytes);
        }
        let started = Instant::now();
        if let Err(error) = open.append(self.log.disk(), &bytes) {
            let (repair, error) = open.into_repair(error);
            self.repair = Some(repair);
            self.log.lock().broken = true;
            return Err(error);
        }
        let latency = started.elapsed();
        let mut segments = self.log.lock();
        segments.next = first + count;
        if let Some(segment) = segments.list.back_mut() {
            (segment.next, segment.len) = (first + count, open.len());
        }
        drop(segments);
        self.open = Some(open);
        Ok(Appended { first, latency })
    }

    /// Begins a segment.
    fn begin(&self, first: u64) -> io::Result<Open> {
        let open = Open::create(self.log.disk(), self.log.directory(), first)?;
        let mut segments = self.log.lock();
        let path = open.path().to_owned();
        segments.list.push_back(Segment { first, next: first, path, len: open.len() });
        segments.open = Some(first);
        drop(segments);
        // Before any record in it is acknowledged, so that it cannot go missing without anybody noticing.
        if let Err(error) = self.log.write_checkpoint() {
            let mut segments = self.log.lock();
            segments.list.pop_back();
            segments.open = None;
            return Err(error);
        }
        Ok(open)
    }

    /// Tries to have a broken segment as it was before it broke.
    ///
    /// # Errors
    /// If the disk does not take that.
    pub fn mend(&mut self) -> io::Result<()> {
        let Some(repair) = &mut self.repair else { return Ok(()) };
        let segments = self.log.lock();
        let of_this = segments.list.iter().find(|segment| segment.path == repair.path());
        // What is done with need not be kept.
        if of_this.is_none_or(|segment| segment.next <= segments.done + 1) {
            repair.forgo_rewrite();
        }
        drop(segments);
        repair.mend(self.log.disk()).inspect_err(|error| {
            tracing::debug!(directory = %self.log.directory().display(), %error, "the log cannot be mended yet");
        })?;
        let mut segments = self.log.lock();
        (segments.broken, segments.open) = (false, None);
        // One without a record has the name of the next.
        segments.list.retain(|segment| segment.path != repair.path() || segment.next > segment.first);
        drop(segments);
        self.repair = None;
        Ok(())
    }
}
