//! Options of librdkafka, passed on as they are, except those that the bridge's promises rest on.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaConfRes;

/// An option of librdkafka. Its value may be a secret and is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Property {
    /// As in librdkafka's `CONFIGURATION.md`; empty if it was not told apart from a value.
    pub name: String,
    /// The value.
    pub value: String,
}

impl fmt::Debug for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}=…", self.name)
    }
}

impl FromStr for Property {
    /// What is wrong is told later, without the value: an error here would be shown together with the text.
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        let (name, value) = text.split_once('=').unwrap_or(("", text));
        Ok(Self { name: name.trim().to_owned(), value: value.to_owned() })
    }
}

/// Options that are not passed on, and what there is instead.
const OWNED: &[(&str, &str)] = &[
    ("bootstrap.servers", "bootstrap_servers has its value; set that"),
    ("metadata.broker.list", "bootstrap_servers has its value; set that"),
    ("acks", "the bridge sets it to all, which a receipt promises; leave it out"),
    ("request.required.acks", "the bridge sets acks to all, which a receipt promises; leave it out"),
    ("enable.idempotence", "the bridge sets it to true, so that nothing is written twice; leave it out"),
    ("transactional.id", "the bridge has no transactions; leave it out"),
    ("transaction.timeout.ms", "the bridge has no transactions; leave it out"),
    ("delivery.timeout.ms", "delivery_timeout has its value; set that"),
    ("message.timeout.ms", "delivery_timeout has its value; set that"),
    ("retries", "a record is tried for as long as delivery_timeout says; set that"),
    ("message.send.max.retries", "a record is tried for as long as delivery_timeout says; set that"),
    ("message.max.bytes", "max_record_bytes has its value; set that"),
    ("queue.buffering.max.messages", "queue_records has its value; set that"),
    ("queue.buffering.max.kbytes", "queue_kbytes has its value; set that"),
    ("queue.buffering.backpressure.threshold", "an idempotent producer takes its default; leave it out"),
    ("queuing.strategy", "records are sent in the order in which they came; leave it out"),
    ("delivery.report.only.error", "callers wait to be told of success too; leave it out"),
    ("produce.offset.report", "librdkafka no longer uses it; leave it out"),
    ("api.version.request", "an idempotent producer takes its default; leave it out"),
    ("statistics.interval.ms", "the bridge sets it, as /readyz and /metrics rest on it; leave it out"),
    ("enabled_events", "the bridge has librdkafka call back what it needs; leave it out"),
    ("log_level", "log has its value; set that"),
    ("log.queue", "the bridge's log has librdkafka's; leave it out"),
    ("internal.termination.signal", "the bridge takes its signals itself; leave it out"),
    ("plugin.library.paths", "it would load code that can change or drop records unseen; leave it out"),
    // The bridge has values for the other names of these, and which of the two would hold is not defined.
    ("compression.codec", "its other name is compression.type; use that"),
    ("max.in.flight", "its other name is max.in.flight.requests.per.connection; use that"),
    ("queue.buffering.max.ms", "its other name is linger.ms; use that"),
];

/// Options that librdkafka marks as those of consumers, and takes from producers without effect.
const CONSUMERS: &[&str] = &[
    "auto.commit.enable",
    "auto.commit.interval.ms",
    "auto.offset.reset",
    "check.crcs",
    "consume.callback.max.messages",
    "coordinator.query.interval.ms",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.partition.eof",
    "fetch.error.backoff.ms",
    "fetch.max.bytes",
    "fetch.message.max.bytes",
    "fetch.min.bytes",
    "fetch.queue.backoff.ms",
    "fetch.wait.max.ms",
    "group.id",
    "group.instance.id",
    "group.protocol",
    "group.protocol.type",
    "group.remote.assignor",
    "heartbeat.interval.ms",
    "isolation.level",
    "max.partition.fetch.bytes",
    "max.poll.interval.ms",
    "offset.store.method",
    "offset.store.path",
    "offset.store.sync.interval.ms",
    "partition.assignment.strategy",
    "queued.max.messages.kbytes",
    "queued.min.messages",
    "session.timeout.ms",
];

/// What is wrong with options, each on its own, without their values.
pub(crate) fn check(properties: &[Property]) -> Vec<String> {
    properties.iter().filter_map(|property| property.check().err()).collect()
}

impl Property {
    /// Whether librdkafka has an option of this name.
    pub(super) fn is_known(&self) -> bool {
        !matches!(
            ClientConfig::new().set(&self.name, &self.value).create_native_config(),
            Err(KafkaError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, ..))
        )
    }

    /// Whether this can be passed on.
    ///
    /// # Errors
    /// What is wrong, and the next step, without the value.
    fn check(&self) -> Result<(), String> {
        let name = self.name.as_str();
        if name.is_empty() {
            return Err("wanted NAME=VALUE".to_owned());
        }
        if let Some((_, instead)) = OWNED.iter().find(|(owned, _)| *owned == name) {
            return Err(format!("{name}: {instead}"));
        }
        if CONSUMERS.contains(&name) {
            return Err(format!("{name}: it is for consumers, and the bridge only produces; leave it out"));
        }
        if name == "partitioner" && self.value == "random" {
            return Err(format!(
                "{name}: records with the same key would not keep their order; use any other, or leave it out"
            ));
        }
        if name.starts_with("test.mock.") {
            return Err(format!(
                "{name}: it would put a broker that forgets in the place of yours; --embedded-broker does so openly"
            ));
        }
        match ClientConfig::new().set(name, &self.value).create_native_config() {
            Ok(_) => Ok(()),
            Err(KafkaError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, ..)) => {
                Err(format!("{name}: librdkafka has no such option"))
            }
            // librdkafka's own text repeats the value.
            Err(_)
                if !cfg!(feature = "tls")
                    && ["ssl.", "sasl.", "security."].iter().any(|start| name.starts_with(start)) =>
            {
                Err(format!(
                    "{name}: librdkafka does not take this value, or not in this build: TLS, SCRAM and OAUTHBEARER \
                     take a bridge that is built with --features tls, and OpenID Connect one with --features oidc"
                ))
            }
            Err(_)
                if !cfg!(feature = "oidc")
                    && ["sasl.oauthbearer.", "https."].iter().any(|start| name.starts_with(start)) =>
            {
                Err(format!(
                    "{name}: librdkafka does not take this value, or not in this build: OpenID Connect takes a bridge \
                     that is built with --features oidc"
                ))
            }
            Err(_) => Err(format!(
                "{name}: librdkafka does not take this value, or was built without what it asks for"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<(), String> {
        text.parse::<Property>().unwrap().check()
    }

    #[test]
    fn options_are_passed_on_unless_promises_rest_on_them() {
        for good in
            ["compression.type=gzip", "linger.ms=5", "client.id=a=b", "partitioner=consistent", "debug=msg"]
        {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for (name, instead) in OWNED {
            let error = check(&format!("{name}=1")).unwrap_err();
            assert_eq!(error, format!("{name}: {instead}"));
        }
        assert!(check("test.mock.num.brokers=3").unwrap_err().contains("--embedded-broker"));
        assert!(check("partitioner=random").unwrap_err().contains("keep their order"));
        for name in CONSUMERS {
            assert!(check(&format!("{name}=1")).unwrap_err().contains("for consumers"), "{name}");
        }
    }

    #[test]
    fn what_is_refused_by_its_name_is_an_option_of_librdkafka() {
        for name in OWNED.iter().map(|(name, _)| name).chain(CONSUMERS) {
            if let Err(KafkaError::ClientConfig(result, ..)) =
                ClientConfig::new().set(*name, "x").create_native_config()
            {
                assert_ne!(result, RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, "{name}");
            }
        }
    }

    #[test]
    fn what_takes_code_to_be_set_is_not_taken() {
        for name in
            ["opaque", "interceptors", "dr_msg_cb", "socket_cb", "default_topic_conf", "partitioner_cb"]
        {
            assert!(check(&format!("{name}=1")).is_err(), "{name}");
        }
    }

    #[test]
    fn errors_do_not_show_the_value() {
        for (text, wanted) in [
            ("hunter2", "wanted NAME=VALUE"),
            ("=hunter2", "wanted NAME=VALUE"),
            ("no.such.option=hunter2", "no such option"),
            ("linger.ms=hunter2", "does not take this value"),
            ("security.protocol=hunter2", "does not take this value"),
            ("ssl.endpoint.identification.algorithm=hunter2", "does not take this value"),
            ("acks=hunter2", "promises"),
        ] {
            let error = check(text).unwrap_err();
            assert!(error.contains(wanted) && !error.contains("hunter2"), "{error}");
            assert!(!format!("{:?}", text.parse::<Property>().unwrap()).contains("hunter2"), "{text}");
        }
    }
}
