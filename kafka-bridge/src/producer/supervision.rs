//! Keeps the clients of librdkafka alive: replaces those that have failed for good.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rdkafka::error::KafkaResult;
use rdkafka::producer::Producer as _;

use crate::producer::{Client, Producer};

/// How long a producer that has failed for good keeps to itself between replacements, at first and at most.
const REBUILD_PAUSE: RangeInclusive<Duration> = Duration::from_millis(200)..=Duration::from_secs(15);

impl Producer {
    /// Keeps the producer alive: replaces one that has failed for good. Never returns.
    pub async fn supervise(self: Arc<Self>) {
        let (first_pause, longest_pause) = REBUILD_PAUSE.into_inner();
        let mut pause = first_pause;
        let mut replaced = Instant::now();
        loop {
            tokio::select! {
                () = self.common.suspect.notified() => {}
                () = self.isolation.wanted() => {
                    self.start_isolation().await;
                    continue;
                }
                () = self.renewal.notified() => {
                    let producer = Arc::clone(&self);
                    match tokio::task::spawn_blocking(move || producer.renew()).await {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => {
                            tracing::error!(cluster = self.cluster(), %error, "no new producer could be made, and no topics forgotten");
                        }
                        Err(error) => {
                            tracing::error!(cluster = self.cluster(), %error, "replacing the producer was cut short")
                        }
                    }
                    continue;
                }
            }
            let isolated = self.isolation.client.fatal_error();
            let Some(code) = self.main.fatal_error().or(isolated) else { continue };
            tracing::error!(cluster = self.cluster(), %code, "the producer has failed for good and is being replaced");
            // A cluster that fences each new producer at once must not be flooded with them.
            pause = if replaced.elapsed() > 2 * longest_pause {
                first_pause
            } else {
                (pause * 2).min(longest_pause)
            };
            tokio::time::sleep(pause).await;
            replaced = Instant::now();
            let producer = Arc::clone(&self);
            match tokio::task::spawn_blocking(move || producer.replace()).await {
                Ok(Ok(())) => tracing::info!(cluster = self.cluster(), "the producer has been replaced"),
                Ok(Err(error)) => {
                    tracing::error!(cluster = self.cluster(), %error, "no new producer could be made; trying again");
                    self.common.suspect.notify_one();
                }
                Err(error) => {
                    tracing::error!(cluster = self.cluster(), %error, "replacing the producer was cut short")
                }
            }
        }
    }

    async fn start_isolation(&self) {
        let isolation = Arc::clone(&self.isolation);
        match tokio::task::spawn_blocking(move || isolation.client.start()).await {
            Ok(Ok(())) => {}
            // It is wanted again with the next statistics.
            Ok(Err(error)) => {
                tracing::error!(cluster = self.cluster(), %error, "no producer could be made for records that are refused with others");
            }
            Err(error) => {
                tracing::error!(cluster = self.cluster(), %error, "making a producer was cut short")
            }
        }
    }

    /// Replaces what has failed for good.
    fn replace(&self) -> KafkaResult<()> {
        if self.main.fatal_error().is_some() {
            let previous = self.replace_main()?;
            self.common.metrics.producer_rebuilt();
            previous.into_iter().for_each(|client| self.retire(client));
        }
        let isolated = &self.isolation.client;
        if isolated.fatal_error().is_some() {
            let previous = isolated.replace(isolated.make(0)?);
            self.common.metrics.producer_rebuilt();
            previous.into_iter().for_each(|client| self.retire(client));
        }
        Ok(())
    }

    /// Makes another main client, and has readiness follow it; returns the previous one.
    pub(super) fn replace_main(&self) -> KafkaResult<Option<Arc<Client>>> {
        let generation = self.generation.fetch_add(1, Ordering::AcqRel) + 1;
        let next = self.main.make(generation)?;
        self.common.health.follow(generation);
        Ok(self.main.replace(next))
    }

    /// Replaces all clients, so that topics that nobody writes any more make room for others. What the old ones have is still
    /// delivered by them.
    fn renew(&self) -> KafkaResult<()> {
        let now = Instant::now();
        if !self.names.can_forget(now) {
            return Ok(());
        }
        let clients = [self.replace_main()?, self.isolation.client.take(), self.leader.take()];
        for client in clients.into_iter().flatten() {
            self.retire_within(client, self.kept);
        }
        let topics = self.names.forget(now);
        tracing::info!(
            cluster = self.cluster(),
            topics,
            "the producer has been replaced, to forget topics that nobody writes any more"
        );
        Ok(())
    }

    /// Has the records of a client get their answers; those that never will are reported as such when it is dropped.
    /// That takes as long as a delivery may, so nobody waits for it.
    fn retire(&self, client: Arc<Client>) {
        self.retire_within(client, self.flush_timeout);
    }

    fn retire_within(&self, client: Arc<Client>, flush_timeout: Duration) {
        let mut retiring = self.retiring();
        retiring.retain(|client| client.strong_count() > 0);
        retiring.push(Arc::downgrade(&client));
        drop(retiring);
        tokio::task::spawn_blocking(move || {
            let _ = client.flush(flush_timeout);
            drop(client);
        });
    }
}

#[cfg(test)]
mod tests {
    use wicketgate_envelope::hop::Ack;

    use super::*;
    use crate::breaker;
    use crate::breaker::Breaker;
    use crate::delivery::{Observers, Outcome};
    use crate::health::Health;
    use crate::producer::Metrics;
    use crate::producer::{Options, Outgoing};
    use prometheus_client::registry::Registry;

    fn health(options: &Options) -> Arc<Health> {
        let metrics = Arc::new(breaker::Metrics::register(&mut Registry::default())).of_cluster("default");
        Arc::new(Health::new(Breaker::new(options.breaker_stall(), metrics)))
    }

    /// librdkafka keeps each topic that it was told of until its client ends.
    #[tokio::test]
    async fn topics_that_nobody_writes_any_more_make_room_and_what_was_enqueued_is_delivered() {
        let broker = crate::embedded::EmbeddedBroker::start().unwrap();
        let servers = &broker.bootstrap_servers();
        let options = Options { max_topics: 2, ..Options::example() };
        let metrics = Arc::new(Metrics::register(&mut Registry::default())).of_cluster("default");
        let health = health(&options);
        let mut producer =
            Producer::new(&options, &options.default_cluster(servers), health, metrics).unwrap();
        producer.names.rest = Duration::ZERO;
        let producer = Arc::new(producer);
        let supervising = tokio::spawn(Arc::clone(&producer).supervise());
        let send = |topic: &'static str, ack| {
            let record = Outgoing {
                topic,
                key: None,
                partition: None,
                timestamp: None,
                headers: &[],
                value: None,
                ack,
                request_id: None,
            };
            producer.enqueue(&record, Observers::default())
        };
        let first = [send("a", Ack::All), send("b", Ack::Leader)].map(Result::unwrap);
        let mut refused = 0;
        let third = loop {
            match send("c", Ack::All) {
                Ok(delivery) => break delivery,
                Err(outcome) => assert_eq!(outcome, Outcome::Unavailable),
            }
            refused += 1;
            assert!(refused < 1_000, "there is no room after all that time");
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        assert!(refused > 0, "there was room for a third");
        for delivery in first.into_iter().chain([third]) {
            assert!(matches!(delivery.await.unwrap(), Outcome::Acknowledged { .. }));
        }
        supervising.abort();
    }

    #[tokio::test]
    async fn records_of_a_client_that_has_been_replaced_are_among_those_that_a_stop_waits_for() {
        // A broker that takes connections and says nothing, so that the record stays and there is nothing else to tell.
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let servers = &silent.local_addr().unwrap().to_string();
        let options = Options { delivery_timeout: Duration::from_secs(1), ..Options::example() };
        let metrics = Arc::new(Metrics::register(&mut Registry::default())).of_cluster("default");
        let health = health(&options);
        let producer = Producer::new(&options, &options.default_cluster(servers), health, metrics).unwrap();
        let record = Outgoing {
            topic: "t",
            key: None,
            partition: None,
            timestamp: None,
            headers: &[],
            value: None,
            ack: Ack::All,
            request_id: None,
        };
        let mut delivery = producer.enqueue(&record, Observers::default()).unwrap();
        let previous = producer.replace_main().unwrap();
        producer.retire(previous.unwrap());
        assert!(delivery.try_recv().is_err(), "it has an answer already");
        assert_eq!(producer.flush(Duration::ZERO), 1);
        // It is counted until it has its answer, and no longer.
        delivery.await.unwrap();
        assert_eq!(producer.flush(Duration::from_secs(5)), 0);
    }
}
