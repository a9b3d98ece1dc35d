//! What became of a record, and who hears of it.

use std::fmt;

use tokio::sync::oneshot;
use wicketgate_envelope::hop::Ack;
use wicketgate_envelope::timestamp::Timestamp;

/// Where Kafka has a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordMetadata {
    /// The partition.
    pub partition: i32,
    /// The offset within the partition; -1 if the broker no longer knew.
    pub offset: i64,
    /// The record's own timestamp.
    pub timestamp: Timestamp,
}

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It got as far as `ack` says.
    Acknowledged {
        /// Who has it.
        ack: Ack,
        /// Where Kafka has it; `None` if that is not known yet.
        metadata: Option<RecordMetadata>,
    },
    /// Larger than the producer or the topic takes. Not written.
    TooLarge,
    /// Kafka will not take it, now or later. Not written.
    Refused,
    /// It was never handed over: the queue is full, or Kafka is known to be out of reach. Not written.
    Unavailable,
    /// It was handed over, and nobody can say.
    Unknown,
}

impl Outcome {
    /// The outcome as a metric label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Acknowledged { ack: Ack::Spooled, .. } => "spooled",
            Self::Acknowledged { .. } => "acknowledged",
            Self::TooLarge => "too_large",
            Self::Refused => "refused",
            Self::Unavailable => "unavailable",
            Self::Unknown => "unknown",
        }
    }
}

/// A record's outcome, once there is one.
pub type Delivery = oneshot::Receiver<Outcome>;

/// What is done once an observer has done its part.
pub type Then = Box<dyn FnOnce() + Send>;

/// A component that is notified of what became of a record. None of the functions may block: librdkafka's threads call
/// them.
pub trait Observer: fmt::Debug + Send {
    /// The caller has been answered [`Outcome::Unknown`]; the outcome is still to come.
    fn overdue(&mut self) {}

    /// The record has its outcome. `then` answers the caller, and runs once this component has done what has to happen
    /// before that.
    fn settled(self: Box<Self>, outcome: Outcome, then: Then);
}

/// The observers of one record.
#[derive(Debug, Default)]
pub struct Observers(Vec<Box<dyn Observer>>);

impl Observers {
    /// Adds an observer, if there is one. The first to be added is notified first.
    #[must_use]
    pub fn and(mut self, observer: Option<impl Observer + 'static>) -> Self {
        self.0.extend(observer.map(|observer| Box::new(observer) as Box<dyn Observer>));
        self
    }

    /// Notifies each that the caller has been answered before the outcome is known.
    pub fn overdue(&mut self) {
        self.0.iter_mut().for_each(|observer| observer.overdue());
    }

    /// Notifies each of the outcome, one after the other, and runs `then` after the last.
    pub fn settled(self, outcome: Outcome, then: Then) {
        let chain = self
            .0
            .into_iter()
            .rev()
            .fold(then, |then, observer| Box::new(move || observer.settled(outcome, then)));
        chain();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Debug)]
    struct Noting(&'static str, Arc<Mutex<Vec<String>>>);

    impl Observer for Noting {
        fn overdue(&mut self) {
            self.1.lock().unwrap().push(format!("{} overdue", self.0));
        }

        fn settled(self: Box<Self>, outcome: Outcome, then: Then) {
            self.1.lock().unwrap().push(format!("{} {}", self.0, outcome.label()));
            then();
        }
    }

    #[test]
    fn observers_are_notified_in_order_and_before_the_caller() {
        let noted = Arc::new(Mutex::new(Vec::new()));
        let observer = |name| Some(Noting(name, Arc::clone(&noted)));
        let mut observers = Observers::default().and(observer("first")).and(observer("second"));
        observers.overdue();
        let answered = Arc::clone(&noted);
        observers.settled(
            Outcome::Refused,
            Box::new(move || answered.lock().unwrap().push("answered".to_owned())),
        );
        let wanted = ["first overdue", "second overdue", "first refused", "second refused", "answered"];
        assert_eq!(*noted.lock().unwrap(), wanted);
    }
}
