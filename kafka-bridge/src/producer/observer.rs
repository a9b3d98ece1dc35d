//! Asks the cluster whether it answers, over connections of its own.
//!
//! The producer's own client would do as well, but for two things. A producer lets brokers create the topics that it
//! asks for, so asking it about a topic that somebody has just deleted could bring that back. And its connections may
//! take as long as a delivery to find out that a broker no longer answers; these give up sooner and try another one.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::producer::{DeliveryResult, Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::{ClientConfig, ClientContext};

use crate::producer::settings;

/// How long the cluster has for an answer: long enough to give up on one broker and ask another.
const LIMIT: Duration = Duration::from_secs(3);
/// How long one broker has, as far as librdkafka looks at it, which is once a second.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long a broker has to answer, and connecting to one may take, where it is not known to be faster. A question about
/// all topics takes seconds where they are many, and any question where the way is long.
const LONG_PATIENCE: Duration = Duration::from_secs(10);
/// What takes longer than this might take longer than [`PATIENCE`] the next time.
const FAST: Duration = Duration::from_millis(500);
/// Some failures come at once, and are asked about again after this. It is also less than it takes librdkafka to try a
/// broker a second time.
const AGAIN: Duration = Duration::from_millis(50);

/// A client that writes nothing. A thread of its own takes what librdkafka has to tell, so that none of it is old.
type Client = ThreadedProducer<Silent>;

/// Asks, one question at a time.
#[allow(missing_debug_implementations, reason = "librdkafka's client has nothing to show")]
pub(super) struct Observer {
    /// Gives up on a broker soon.
    quick: Client,
    patient: Client,
    /// Whether the next question is for the patient one.
    be_patient: AtomicBool,
    /// What is known of the connections of the client that is being asked.
    asked: Mutex<Option<Arc<Silent>>>,
}

/// The cluster has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answered {
    /// How long it took, at most; `None` if a connection had to be made first and took long, or the answer did.
    pub took: Option<Duration>,
}

/// The callbacks of one client. The producer tells what there is to tell, so this only listens.
#[derive(Default)]
struct Silent {
    connections: Mutex<Connections>,
}

/// The connections of a client, as far as librdkafka tells of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Connections {
    /// There were none when the question began.
    #[default]
    None,
    /// The last question was answered over one.
    Up,
    /// The last one has ended, perhaps because its broker took too long. None has been tried since.
    Lost(Instant),
    /// None could be made to any broker.
    Unreachable,
}

impl Connections {
    /// librdkafka says that all brokers are down: when the last connection has ended, and whenever it has tried all of
    /// them in vain. rdkafka hands each event on twice.
    fn all_down(&mut self, now: Instant) {
        *self = match *self {
            Self::Up => Self::Lost(now),
            Self::Lost(at) if now.saturating_duration_since(at) < AGAIN => Self::Lost(at),
            Self::None | Self::Lost(_) | Self::Unreachable => Self::Unreachable,
        }
    }

    /// What was tried before says nothing of what is tried for this question.
    fn question(&mut self) {
        if *self == Self::Unreachable {
            *self = Self::None;
        }
    }
}

impl Silent {
    fn connections(&self) -> MutexGuard<'_, Connections> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Silent {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, text: &str) {
        tracing::trace!(facility, "librdkafka, observer: {text}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
            self.connections().all_down(Instant::now());
        }
        tracing::trace!(%error, reason, "librdkafka, observer");
    }
}

impl ProducerContext for Silent {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}

impl Observer {
    /// Of the cluster that the producer with these settings writes to.
    pub(super) fn new(settings: &ClientConfig) -> KafkaResult<Self> {
        Ok(Self {
            quick: Self::client(settings.clone(), PATIENCE)?,
            patient: Self::client(settings.clone(), LONG_PATIENCE)?,
            // Until it is known how long an answer takes.
            be_patient: AtomicBool::new(true),
            asked: Mutex::default(),
        })
    }

    fn client(mut settings: ClientConfig, patience: Duration) -> KafkaResult<Client> {
        settings::only_asking(&mut settings)
            .set("socket.timeout.ms", patience.as_millis().to_string())
            // Several are connected to at a time, so this keeps none from being asked.
            .set("socket.connection.setup.timeout.ms", LONG_PATIENCE.as_millis().to_string());
        settings::make(&settings, Silent::default())
    }

    /// Whether the cluster answers. Blocks for up to three seconds if it usually answers fast, else for up to ten; after a
    /// question without an answer the next one is asked the other way.
    ///
    /// Asks for the metadata of `topic`, which is a small question whatever the size of the cluster, and is answered
    /// even if there is no such topic; without one, for those of all topics.
    pub(super) fn ask(&self, topic: Option<&str>) -> Option<Answered> {
        let patient = self.be_patient.load(Ordering::Acquire);
        let (client, limit, patience) = if patient {
            (&self.patient, LONG_PATIENCE, LONG_PATIENCE)
        } else {
            (&self.quick, LIMIT, PATIENCE)
        };
        client.context().connections().question();
        *self.asked() = Some(Arc::clone(client.context()));
        let answered = ask(client, topic, limit, patience);
        *self.asked() = None;
        let be_patient = match answered {
            Some(Answered { took }) => took.is_none_or(|took| took >= FAST),
            None => !patient,
        };
        self.be_patient.store(be_patient, Ordering::Release);
        answered
    }

    /// Whether it is known already that the question which is being asked finds nobody to ask: each broker has been tried
    /// since it began, and none could be connected to. It goes on, should one come back.
    pub(super) fn finds_nobody(&self) -> bool {
        self.asked().as_ref().is_some_and(|asked| *asked.connections() == Connections::Unreachable)
    }

    fn asked(&self) -> MutexGuard<'_, Option<Arc<Silent>>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn ask(client: &Client, topic: Option<&str>, limit: Duration, patience: Duration) -> Option<Answered> {
    let began = Instant::now();
    loop {
        let left = limit.saturating_sub(began.elapsed());
        let (asked, connected) = (Instant::now(), *client.context().connections() == Connections::Up);
        match client.client().fetch_metadata(topic, left.min(patience)) {
            Ok(_) => {
                *client.context().connections() = Connections::Up;
                let took = Some(asked.elapsed()).filter(|took| connected || *took < FAST);
                return Some(Answered { took });
            }
            Err(error) if left <= AGAIN || *client.context().connections() == Connections::Unreachable => {
                tracing::debug!(%error, ?limit, "the cluster does not answer");
                return None;
            }
            // The broker that was asked has gone, or does not answer, and there may be others.
            Err(_) => std::thread::sleep(AGAIN),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_connection_is_not_taken_for_an_attempt_to_make_one() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut connections = Connections::Up;
        connections.all_down(at(0));
        connections.all_down(at(1));
        assert_eq!(connections, Connections::Lost(at(0)));
        connections.question();
        assert_eq!(connections, Connections::Lost(at(0)), "it has not been tried");
        connections.all_down(at(75));
        assert_eq!(connections, Connections::Unreachable);
    }

    #[test]
    fn what_came_of_earlier_questions_says_nothing_of_the_next() {
        let mut connections = Connections::default();
        connections.all_down(Instant::now());
        assert_eq!(connections, Connections::Unreachable);
        connections.question();
        assert_eq!(connections, Connections::None);
    }
}
