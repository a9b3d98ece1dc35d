//! Asks the cluster whether it answers, over connections of its own.
//!
//! The producer's own client would do as well, but for two things. A producer lets brokers create the topics that it
//! asks for, so asking it about a topic that somebody has just deleted could bring that back. And its connections may
//! take as long as a delivery to find out that a broker no longer answers; these give up sooner and try another one.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, DeliveryResult, Producer as _, ProducerContext};
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
/// Some failures come at once, and are asked about again after this.
const AGAIN: Duration = Duration::from_millis(50);

/// A client that writes nothing.
#[allow(missing_debug_implementations, reason = "librdkafka's client has nothing to show")]
pub(super) struct Observer {
    /// Gives up on a broker soon.
    quick: BaseProducer<Silent>,
    patient: BaseProducer<Silent>,
    /// Whether the next question is for the patient one.
    be_patient: AtomicBool,
}

/// The producer tells what there is to tell.
#[derive(Default)]
struct Silent {
    /// No broker is connected, and none could be connected to.
    all_down: AtomicBool,
}

impl ClientContext for Silent {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, text: &str) {
        tracing::trace!(facility, "librdkafka, observer: {text}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
            self.all_down.store(true, Ordering::Release);
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
        })
    }

    fn client(mut settings: ClientConfig, patience: Duration) -> KafkaResult<BaseProducer<Silent>> {
        settings
            .set("enable.idempotence", "false")
            .set("allow.auto.create.topics", "false")
            .set("statistics.interval.ms", "0")
            .set("socket.timeout.ms", patience.as_millis().to_string())
            // Several are connected to at a time, so this keeps none from being asked.
            .set("socket.connection.setup.timeout.ms", LONG_PATIENCE.as_millis().to_string());
        // Takes idempotence.
        settings.remove("enable.gapless.guarantee");
        settings::make(&settings, Silent::default())
    }

    /// Whether the cluster answers. Blocks for up to three seconds if it usually answers fast, else for up to ten; after a
    /// question without an answer the next one is asked the other way.
    ///
    /// Asks for the metadata of `topic`, which is a small question whatever the size of the cluster, and is answered
    /// even if there is no such topic; without one, for those of all topics.
    pub(super) fn ask(&self, topic: Option<&str>) -> bool {
        let began = Instant::now();
        let patient = self.be_patient.load(Ordering::Acquire);
        let (client, limit, patience) = if patient {
            (&self.patient, LONG_PATIENCE, LONG_PATIENCE)
        } else {
            (&self.quick, LIMIT, PATIENCE)
        };
        let all_down = &client.context().all_down;
        all_down.store(false, Ordering::Release);
        loop {
            let left = limit.saturating_sub(began.elapsed());
            let asked = Instant::now();
            let answer = client.client().fetch_metadata(topic, left.min(patience));
            // Nobody else takes what librdkafka has to tell.
            client.poll(Duration::ZERO);
            match answer {
                Ok(_) => {
                    self.be_patient.store(asked.elapsed() >= FAST, Ordering::Release);
                    return true;
                }
                Err(error) if left <= AGAIN || all_down.load(Ordering::Acquire) => {
                    tracing::debug!(%error, patient, "the cluster does not answer");
                    self.be_patient.store(!patient, Ordering::Release);
                    return false;
                }
                // The broker that was asked has gone, or does not answer, and there may be others.
                Err(_) => std::thread::sleep(AGAIN),
            }
        }
    }
}
