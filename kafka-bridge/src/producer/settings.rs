//! How librdkafka is set up (`CONFIGURATION.md` in its sources).

use std::time::Duration;

use rdkafka::ClientConfig;

use crate::config::{Cluster, Config};

/// How often statistics come: the age of what `/readyz` says.
const STATISTICS_INTERVAL: Duration = Duration::from_millis(500);

/// The settings of the producer of records that were refused together with others: the same, but with batches of one
/// record each.
pub(super) fn isolated(config: &Config, cluster: &Cluster) -> ClientConfig {
    let mut settings = producer(config, cluster);
    settings.set("batch.num.messages", "1").set("statistics.interval.ms", "0");
    settings
}

/// The settings of the producer whose records are acknowledged by leaders alone. It cannot be idempotent, so one
/// request at a time keeps records in order when one is repeated; and what is repeated may be there twice.
pub(super) fn leader(config: &Config, cluster: &Cluster) -> ClientConfig {
    let mut settings = producer(config, cluster);
    settings
        .set("enable.idempotence", "false")
        .set("acks", "1")
        .set("max.in.flight.requests.per.connection", "1")
        .set("statistics.interval.ms", "0");
    // Takes idempotence.
    settings.remove("enable.gapless.guarantee");
    settings
}

/// The settings of a client that asks about topics. Asking must not create them, which a cluster may do for who does not
/// say otherwise.
pub(super) fn asker(config: &Config, cluster: &Cluster) -> ClientConfig {
    let mut settings = producer(config, cluster);
    settings
        .set("enable.idempotence", "false")
        .set("allow.auto.create.topics", "false")
        .set("statistics.interval.ms", "0");
    // Takes idempotence.
    settings.remove("enable.gapless.guarantee");
    settings
}

/// The producer's settings.
pub(super) fn producer(config: &Config, cluster: &Cluster) -> ClientConfig {
    let delivery = config.delivery_timeout.as_millis();
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
        // what arrives while a request to the broker is under way.
        .set("linger.ms", "0")
        // A broker measures a topic's max.message.bytes on whole batches. Batches well below Kafka's default of
        // 1 MiB keep small records from being refused for the company they are in.
        .set("batch.size", "262144")
        .set("message.max.bytes", config.max_record_bytes.to_string())
        .set(
            "queue.buffering.max.messages",
            cluster.queue_records.unwrap_or(config.queue_records).to_string(),
        )
        .set("queue.buffering.max.kbytes", cluster.queue_kbytes.unwrap_or(config.queue_kbytes).to_string())
        .set("delivery.timeout.ms", delivery.to_string())
        // A topic that does not exist is reported as such before the delivery timeout makes it "unknown".
        .set("topic.metadata.propagation.max.ms", (delivery / 2).clamp(1, 5_000).to_string())
        // After an outage a broker is tried again within a second.
        .set("reconnect.backoff.ms", "100")
        .set("reconnect.backoff.max.ms", "1000")
        .set("socket.keepalive.enable", "true")
        .set("socket.nagle.disable", "true")
        .set("statistics.interval.ms", STATISTICS_INTERVAL.as_millis().to_string());
    // They have been checked not to be among those that the bridge's promises rest on.
    for property in &cluster.librdkafka {
        settings.set(&property.name, &property.value);
    }
    settings
}
