//! How librdkafka is set up (`CONFIGURATION.md` in its sources).

use std::time::Duration;

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::KafkaResult;
use rdkafka::producer::{BaseProducer, DefaultProducerContext};
use rdkafka::{ClientConfig, ClientContext};

use crate::producer::{ClusterOptions, Options};

/// How often statistics come: the age of what `/readyz` says.
const STATISTICS_INTERVAL: Duration = Duration::from_millis(500);

/// How much of the spool is on its way to Kafka, at most.
const DRAIN_RECORDS: u32 = 20_000;
const DRAIN_KBYTES: u32 = 64 << 10;

/// How long a topic that is new to librdkafka may yet turn up, such as one that is being created. The drainer waits longer
/// than that, without others having to wait.
const DRAIN_PROPAGATION: Duration = Duration::from_secs(2);

/// How long a record that is sent by itself may take, and how often it is tried, before it comes back with what it met.
const ALONE_TIMEOUT: Duration = Duration::from_secs(30);
const ALONE_RETRIES: u32 = 2;

/// How much longer than its caller waits librdkafka keeps a record. Far more than Kafka takes to do without a broker that
/// says nothing (`broker.session.timeout.ms`, 9 s, and `replica.lag.time.max.ms`, 30 s): giving a record up makes duplicates
/// of others, see `overdue`.
const KEPT: Duration = Duration::from_secs(300);

/// How long a broker has for its answer to one request, and to be connected to, at least. A broker that has vanished without a
/// reset is given up by then, and its records go to whoever leads now. librdkafka's own values are 60 and 30 s.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// The most that librdkafka takes for `socket.timeout.ms`.
const SOCKET_TIMEOUT_LIMIT_MS: u128 = 300_000;

/// How long it is until a broker is tried again, at first and at most, in milliseconds.
pub(super) const RECONNECT_BACKOFF_MS: (u32, u32) = (100, 1_000);

/// Makes a client.
///
/// # Errors
/// When librdkafka does not take the settings or cannot start its threads.
pub(super) fn make<C, P>(settings: &ClientConfig, context: C) -> KafkaResult<P>
where
    C: ClientContext,
    P: FromClientConfigAndContext<C>,
{
    try_without_tokens(settings)?;
    settings.create_with_context(context)
}

/// Whether librdkafka takes the settings. Nothing is connected to.
///
/// # Errors
/// When it does not.
pub(super) fn try_out(settings: &ClientConfig) -> KafkaResult<()> {
    const ENDPOINT: &str = "sasl.oauthbearer.token.endpoint.url";
    // No broker is known to it, so there is nowhere to connect to.
    let mut settings = settings.clone();
    settings.remove("bootstrap.servers");
    if settings.get(ENDPOINT).is_some()
        || settings.get("sasl.oauthbearer.metadata.authentication.type").is_some()
    {
        // Nor is anybody asked for a token: there is no such protocol, which it finds out by itself.
        settings.set(ENDPOINT, "nowhere:");
    }
    make::<_, BaseProducer<_>>(&settings, DefaultProducerContext).map(|_| ())
}

/// A client that fetches tokens has a thread for it, and librdkafka 2.12 ends the process if anything else is wrong once
/// it has that, such as a certificate that cannot be read. So it is asked without tokens first.
fn try_without_tokens(settings: &ClientConfig) -> KafkaResult<()> {
    if !settings.get("sasl.oauthbearer.method").is_some_and(|method| method.eq_ignore_ascii_case("oidc")) {
        return Ok(());
    }
    let mut without = ClientConfig::new();
    for (name, value) in settings.config_map() {
        let value = match name {
            "security.protocol" if value.eq_ignore_ascii_case("sasl_ssl") => "ssl",
            "security.protocol" => "plaintext",
            name if name.starts_with("sasl.") || name == "bootstrap.servers" => continue,
            _ => value,
        };
        without.set(name, value);
    }
    without.create_with_context::<_, BaseProducer<_>>(DefaultProducerContext).map(|_| ())
}

/// The settings of the producer of records that were refused together with others: the same, but with batches of one
/// record each.
pub(super) fn isolated(options: &Options, cluster: &ClusterOptions) -> ClientConfig {
    let mut settings = producer(options, cluster);
    settings.set("batch.num.messages", "1").set("statistics.interval.ms", "0");
    settings
}

/// Has a client not be idempotent, nor be anything that takes idempotence.
fn without_idempotence(settings: &mut ClientConfig) -> &mut ClientConfig {
    settings.remove("enable.gapless.guarantee");
    settings.set("enable.idempotence", "false")
}

/// The settings of the producer whose records are acknowledged by leaders alone. It cannot be idempotent, so one
/// request at a time keeps records in order when one is repeated; and what is repeated may be there twice.
pub(super) fn leader(options: &Options, cluster: &ClusterOptions) -> ClientConfig {
    let mut settings = producer(options, cluster);
    without_idempotence(&mut settings)
        .set("acks", "1")
        // Without an epoch, giving a record up does nothing to others.
        .set("delivery.timeout.ms", options.delivery_timeout.as_millis().to_string())
        .set("max.in.flight.requests.per.connection", "1")
        .set("statistics.interval.ms", "0");
    settings
}

/// The settings of a client that asks about topics.
pub(super) fn asker(options: &Options, cluster: &ClusterOptions) -> ClientConfig {
    let mut settings = producer(options, cluster);
    only_asking(&mut settings);
    settings
}

/// Has a client ask, and nothing else. Asking must not create topics, which a cluster may do for who does not say
/// otherwise.
pub(super) fn only_asking(settings: &mut ClientConfig) -> &mut ClientConfig {
    without_idempotence(settings).set("allow.auto.create.topics", "false").set("statistics.interval.ms", "0")
}

/// The settings of the producer that drains the spool: the same, but a record is never given up, and less is taken into
/// memory, since the spool has it on disk.
pub(super) fn drain(options: &Options, cluster: &ClusterOptions) -> ClientConfig {
    let mut settings = producer(options, cluster);
    let kbytes = options.queue_kbytes.min(DRAIN_KBYTES).max(options.max_record_bytes.div_ceil(1024));
    settings
        .set("delivery.timeout.ms", "0")
        .set("topic.metadata.propagation.max.ms", DRAIN_PROPAGATION.as_millis().to_string())
        .set("queue.buffering.max.messages", options.queue_records.min(DRAIN_RECORDS).to_string())
        .set("queue.buffering.max.kbytes", kbytes.to_string())
        // Nobody waits, so batches may form.
        .set("linger.ms", "5")
        .set("statistics.interval.ms", "0");
    // With it, a single record that is refused ends the producer.
    settings.remove("enable.gapless.guarantee");
    settings
}

/// The settings of the producer of spooled records that have to be sent by themselves: the same as [`drain`]'s, but it
/// gives up, so as to learn what is the matter. librdkafka goes on for ever with some errors that a record may be to blame for.
pub(super) fn drain_alone(drain: &ClientConfig) -> ClientConfig {
    let mut settings = drain.clone();
    settings
        .set("batch.num.messages", "1")
        .set("linger.ms", "0")
        .set("delivery.timeout.ms", ALONE_TIMEOUT.as_millis().to_string())
        .set("retries", ALONE_RETRIES.to_string());
    settings
}

/// How many records the producer's queue has room for, and how many bytes.
pub(super) fn room(options: &Options, cluster: &ClusterOptions) -> (u32, u64) {
    let kbytes = cluster.queue_kbytes.unwrap_or(options.queue_kbytes);
    (cluster.queue_records.unwrap_or(options.queue_records), u64::from(kbytes) << 10)
}

/// How long librdkafka keeps a record.
pub(crate) fn kept(options: &Options) -> Duration {
    options.delivery_timeout + KEPT
}

/// The producer's settings.
pub(super) fn producer(options: &Options, cluster: &ClusterOptions) -> ClientConfig {
    let (records, bytes) = room(options, cluster);
    let request = REQUEST_TIMEOUT.max(options.delivery_timeout).as_millis().min(SOCKET_TIMEOUT_LIMIT_MS);
    let mut settings = ClientConfig::new();
    settings
        .set("bootstrap.servers", &cluster.bootstrap_servers)
        .set("client.id", concat!("kafka-bridge/", env!("CARGO_PKG_VERSION")))
        // An acknowledged record is on every in-sync replica, once, and in the order in which it was enqueued.
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("compression.type", "lz4")
        // The same partition for the same key as Java's clients choose; librdkafka's default differs.
        .set("partitioner", "murmur2_random")
        // A caller waits for each record, so no record waits for company. Under load batches form anyway, from
        // what arrives while requests to the broker are under way (librdkafka makes no further request while one
        // is still to be written). One request at a time (max.in.flight=1) makes them hardly larger, and would let
        // the partitions of a broker wait for each other.
        .set("linger.ms", "0")
        // For this long, records without a key go to the same partition, instead of each to another one, where each
        // would be a batch of its own. Without linger, librdkafka would not do so unless told.
        .set("sticky.partitioning.linger.ms", "10")
        // A broker measures a topic's max.message.bytes on whole batches. Batches well below Kafka's default of
        // 1 MiB keep small records from being refused for the company they are in.
        .set("batch.size", "262144")
        .set("message.max.bytes", options.max_record_bytes.to_string())
        .set("queue.buffering.max.messages", records.to_string())
        .set("queue.buffering.max.kbytes", (bytes >> 10).to_string())
        .set("delivery.timeout.ms", kept(options).as_millis().to_string())
        .set("socket.timeout.ms", request.to_string())
        .set("socket.connection.setup.timeout.ms", REQUEST_TIMEOUT.as_millis().to_string())
        // A topic that does not exist is reported as such before its breaker takes it for one that stalls, and before the
        // delivery timeout makes it "unknown".
        .set(
            "topic.metadata.propagation.max.ms",
            (options.breaker_stall().as_millis() / 2).clamp(1, 5_000).to_string(),
        )
        // After an outage a broker is tried again within a second.
        .set("reconnect.backoff.ms", RECONNECT_BACKOFF_MS.0.to_string())
        .set("reconnect.backoff.max.ms", RECONNECT_BACKOFF_MS.1.to_string())
        .set("socket.keepalive.enable", "true")
        .set("socket.nagle.disable", "true")
        .set("statistics.interval.ms", STATISTICS_INTERVAL.as_millis().to_string());
    // They have been checked not to be among those that the bridge's promises rest on.
    for property in &cluster.librdkafka {
        settings.set(&property.name, &property.value);
    }
    settings
}
