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
/// Some failures come at once, and are asked about again after this.
const AGAIN: Duration = Duration::from_millis(50);

/// A client that writes nothing.
#[allow(missing_debug_implementations, reason = "librdkafka's client has nothing to show")]
pub(super) struct Observer {
    client: BaseProducer<Silent>,
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
    pub(super) fn new(mut settings: ClientConfig) -> KafkaResult<Self> {
        let patience = PATIENCE.as_millis().to_string();
        settings
            .set("enable.idempotence", "false")
            .set("allow.auto.create.topics", "false")
            .set("statistics.interval.ms", "0")
            .set("socket.timeout.ms", &patience)
            .set("socket.connection.setup.timeout.ms", &patience);
        // Takes idempotence.
        settings.remove("enable.gapless.guarantee");
        Ok(Self { client: settings::make(&settings, Silent::default())? })
    }

    /// Whether the cluster answers. Blocks for up to three seconds.
    ///
    /// Asks for the metadata of `topic`, which is a small question whatever the size of the cluster, and is answered
    /// even if there is no such topic; without one, for those of all topics.
    pub(super) fn ask(&self, topic: Option<&str>) -> bool {
        let began = Instant::now();
        let all_down = &self.client.context().all_down;
        all_down.store(false, Ordering::Release);
        loop {
            let left = LIMIT.saturating_sub(began.elapsed());
            let answer = self.client.client().fetch_metadata(topic, left.min(PATIENCE));
            // Nobody else takes what librdkafka has to tell.
            self.client.poll(Duration::ZERO);
            match answer {
                Ok(_) => return true,
                Err(error) if left <= AGAIN || all_down.load(Ordering::Acquire) => {
                    tracing::debug!(%error, "the cluster does not answer");
                    return false;
                }
                // The broker that was asked has gone, or does not answer, and there may be others.
                Err(_) => std::thread::sleep(AGAIN),
            }
        }
    }
}
