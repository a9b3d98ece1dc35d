//! Finding out why the record that is next does not get on, although the producer has it.

use std::sync::Arc;
use std::time::Instant;

use super::{Drained, Drainer, Slot};

/// A record that has been next for long, although the producer has it, and was sent by itself as well to learn why.
#[derive(Debug)]
pub(super) struct Asked {
    sequence: u64,
    topic: Arc<str>,
    /// When that was written.
    written: Option<Instant>,
}

impl Drainer {
    /// Asks after a record that is next for longer than any outage of one broker should take. librdkafka tries for ever what
    /// Kafka calls corrupt, and does not tell; a copy that is sent by itself comes back with what it met.
    pub(super) fn ask_after_next(&mut self) {
        let now = Instant::now();
        let patience = self.settings.patience;
        if self.next_since.0 != self.base {
            self.next_since = (self.base, now);
        }
        if let Some(Asked { topic, written: Some(at), .. }) = &self.asked
            && now.saturating_duration_since(*at) >= patience.proof
        {
            let topic = Arc::clone(topic);
            self.asked = None;
            return self.send_one_by_one(&topic, "a record was taken by itself that is not with others");
        }
        let sequence = self.base;
        if self.asked.is_some() || now.saturating_duration_since(self.next_since.1) < patience.stall {
            return;
        }
        let Some(topic) = self.slot(sequence).filter(|slot| slot.sent).map(|slot| Arc::clone(&slot.topic))
        else {
            return;
        };
        if self.held.has(&topic, sequence) {
            return;
        }
        let Some(record) = self.read(sequence) else { return };
        self.asked = Some(Asked { sequence, topic, written: None });
        if !self.hand_over(&record, true) {
            self.asked = None;
        }
        self.next_since.1 = now;
    }

    /// Takes note of an answer for a record that was asked after, if it is for one; returns whether it shows that the producer
    /// will not get on with it.
    pub(super) fn answered_for_asked(
        &mut self,
        sequence: u64,
        alone: bool,
        drained: &Drained,
        now: Instant,
    ) -> Option<bool> {
        let asked = self.asked.as_mut().filter(|asked| asked.sequence == sequence)?;
        match drained {
            Drained::Written if alone => asked.written = Some(now),
            // The producer gets on by itself.
            _ if !alone => self.asked = None,
            Drained::Refused(_) | Drained::Failed(_) => {
                self.asked = None;
                return Some(true);
            }
            _ => {
                self.asked = None;
                return Some(false);
            }
        }
        None
    }

    /// Takes from the producer what it has of a topic, to be sent record by record.
    pub(super) fn send_one_by_one(&mut self, topic: &Arc<str>, why: &str) {
        let of_topic = |slot: &Slot| slot.sent && !slot.done && slot.topic == *topic;
        let sent = (self.base..).zip(&self.window).filter(|(_, slot)| of_topic(slot));
        let sent: Vec<u64> = sent.map(|(sequence, _)| sequence).collect();
        tracing::warn!(
            topic = &**topic,
            why,
            records = sent.len(),
            "the producer that drains the spool does not get on with a topic, whose records are sent one by one"
        );
        self.replace_producer();
        let now = Instant::now();
        for sequence in sent {
            if !self.is_done(sequence) {
                self.held.wait(topic, sequence, true, now);
            }
        }
        self.send_all_again();
    }
}
