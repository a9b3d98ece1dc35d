//! What becomes of records that Kafka does not take as they come, in front of a cluster whose faults the test chooses.

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};

use super::*;
use crate::producer::Patience;

type Cluster = MockCluster<'static, DefaultProducerContext>;

const SHORT: Patience = Patience {
    stall: Duration::from_secs(1),
    proof: Duration::from_millis(500),
    missing: Duration::from_secs(2),
    pause: Duration::from_millis(50),
    spent: Duration::from_secs(300),
};

fn start(directory: &Directory, cluster: &Cluster, patience: Patience) -> Spool {
    start_within(directory, cluster, patience, LIMITS)
}

fn start_within(directory: &Directory, cluster: &Cluster, patience: Patience, limits: Limits) -> Spool {
    let options = producer::Options::example();
    let mut drain = DrainSettings::new(&options, &options.default_cluster(&cluster.bootstrap_servers()));
    drain.patience = patience;
    open_draining(&directory.0, &Disk::default(), limits, drain).unwrap().0
}

fn append_to(spool: &Spool, topic: &str, value: &str) -> Result<Delivery, Outcome> {
    let record = Outgoing {
        topic,
        key: Some(b"k"),
        // That is more than there are.
        partition: (topic == "wrong-partition").then_some(99),
        timestamp: None,
        headers: &[],
        value: Some(value.as_bytes()),
        ack: Ack::Spooled,
        request_id: None,
    };
    spool.append(&record, None, None)
}

fn spooled(spool: &Spool, topic: &str, values: &[&str]) {
    let all: Vec<_> = values.iter().map(|value| append_to(spool, topic, value)).collect();
    assert!(all.into_iter().all(|delivery| outcome(delivery) == SPOOLED));
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "in vain waited until {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn refused(spool: &Spool) -> u64 {
    spool.shared.lock().dead_letters.records
}

fn waiting(spool: &Spool) -> u64 {
    spool.shared.log.lock().records()
}

fn drained(spool: &Spool) -> u64 {
    spool.counts.drained_so_far()
}

/// The values that Kafka has in a topic, which all have the same key.
fn in_kafka(cluster: &Cluster, topic: &str) -> Vec<String> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", cluster.bootstrap_servers())
        .set("group.id", "test")
        .set("enable.partition.eof", "true")
        .create()
        .unwrap();
    let mut all = TopicPartitionList::new();
    for partition in 0..4 {
        all.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&all).unwrap();
    let (mut values, mut ends) = (Vec::new(), 0);
    while ends < 4 {
        match consumer.poll(Duration::from_secs(10)).expect("the end of each partition in time") {
            Ok(message) => values.push(String::from_utf8(message.payload().unwrap().to_vec()).unwrap()),
            Err(rdkafka::error::KafkaError::PartitionEOF(_)) => ends += 1,
            Err(error) => panic!("{error}"),
        }
    }
    values
}

fn reasons(directory: &Directory) -> String {
    let mut out = Vec::new();
    list_refused(&directory.0, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

const UNKNOWN_SERVER_ERROR: RDKafkaRespErr = RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN;
const CORRUPT_MESSAGE: RDKafkaRespErr = RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_MSG;

#[test]
fn an_error_that_passes_costs_neither_the_order_nor_a_second_copy() {
    let (directory, cluster) = (Directory::new("passes"), Cluster::new(1).unwrap());
    let spool = start(&directory, &cluster, SHORT);
    spooled(&spool, "t", &["0"]);
    until("it is drained", || waiting(&spool) == 0);
    cluster.request_errors(RDKafkaApiKey::Produce, &[UNKNOWN_SERVER_ERROR; 3]);
    spooled(&spool, "t", &["1", "2", "3", "4", "5"]);
    until("all are drained", || waiting(&spool) == 0);
    assert_eq!(in_kafka(&cluster, "t"), ["0", "1", "2", "3", "4", "5"]);
    assert_eq!(refused(&spool), 0);
    stop(&spool);
}

#[test]
fn an_error_that_stays_has_the_record_set_aside_after_a_few_attempts() {
    let (directory, cluster) = (Directory::new("stays"), Cluster::new(1).unwrap());
    let spool = start(&directory, &cluster, SHORT);
    spooled(&spool, "t", &["0"]);
    until("it is drained", || waiting(&spool) == 0);
    // With others, and five times by itself.
    cluster.request_errors(RDKafkaApiKey::Produce, &[UNKNOWN_SERVER_ERROR; 6]);
    spooled(&spool, "t", &["bad"]);
    until("it is set aside", || refused(&spool) == 1);
    spooled(&spool, "t", &["1"]);
    spooled(&spool, "u", &["2"]);
    until("the others are drained", || waiting(&spool) == 0);
    assert_eq!(
        (in_kafka(&cluster, "t"), in_kafka(&cluster, "u")),
        (vec!["0".into(), "1".into()], vec!["2".into()])
    );
    let reasons = reasons(&directory);
    assert!(reasons.contains("Unknown broker error") && reasons.contains(r#""value":"bad""#), "{reasons}");
    stop(&spool);
}

#[test]
fn what_librdkafka_would_try_for_ever_is_set_aside_too() {
    let (directory, cluster) = (Directory::new("corrupt"), Cluster::new(1).unwrap());
    // Each record has all of its attempts.
    let spool = start(&directory, &cluster, Patience { spent: Duration::ZERO, ..SHORT });
    spooled(&spool, "t", &["0"]);
    until("it is drained", || waiting(&spool) == 0);
    cluster.request_errors(RDKafkaApiKey::Produce, &[CORRUPT_MESSAGE; 10_000]);
    spooled(&spool, "t", &["bad", "1", "2", "3"]);
    until("it is set aside", || refused(&spool) == 1);
    cluster.clear_request_errors(RDKafkaApiKey::Produce);
    until("the others are drained", || waiting(&spool) == 0);
    assert_eq!(in_kafka(&cluster, "t"), ["0", "1", "2", "3"]);
    let reasons = reasons(&directory);
    assert!(refused(&spool) == 1 && reasons.contains(r#""value":"bad""#), "{reasons}");
    stop(&spool);
}

#[test]
fn an_outage_sets_nothing_aside_and_keeps_the_order() {
    let (directory, cluster) = (Directory::new("outage"), Cluster::new(1).unwrap());
    let spool = start(&directory, &cluster, SHORT);
    spooled(&spool, "t", &["0"]);
    until("it is drained", || waiting(&spool) == 0);
    let errors = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS; 10_000];
    cluster.request_errors(RDKafkaApiKey::Produce, &errors);
    spooled(&spool, "t", &["1", "2", "3"]);
    // It is asked more than once what is the matter with the first.
    std::thread::sleep(4 * SHORT.stall);
    assert_eq!((waiting(&spool), refused(&spool)), (3, 0));
    cluster.clear_request_errors(RDKafkaApiKey::Produce);
    until("all are drained", || waiting(&spool) == 0);
    let mut values = in_kafka(&cluster, "t");
    // The copy by which it was asked may be there as well.
    values.dedup();
    assert!(values == ["0", "1", "2", "3"] || values == ["0", "1", "2", "3", "1"], "{values:?}");
    assert_eq!(refused(&spool), 0);
    stop(&spool);
}

#[test]
fn a_topic_that_is_missing_keeps_only_itself_waiting_and_goes_out_in_order_when_it_is_there() {
    let (directory, cluster) = (Directory::new("missing"), Cluster::new(1).unwrap());
    let missing = RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
    cluster.topic_error("gone", missing).unwrap();
    let long = Duration::from_secs(30);
    let patient = Patience { missing: long, stall: long, ..SHORT };
    let spool = start(&directory, &cluster, patient);
    spooled(&spool, "gone", &["1", "2", "3"]);
    // librdkafka has to find out first, and hears of more from then on.
    for _ in 0..40 {
        spooled(&spool, "gone", &["later"]);
        spooled(&spool, "t", &["x"]);
        std::thread::sleep(Duration::from_millis(100));
    }
    until("the others are drained", || drained(&spool) == 40);
    assert_eq!(refused(&spool), 0);
    cluster.topic_error("gone", RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR).unwrap();
    until("all are drained", || waiting(&spool) == 0);
    let values = in_kafka(&cluster, "gone");
    assert_eq!((&values[..3], values.len()), (&["1", "2", "3"].map(str::to_owned)[..], 43));
    assert_eq!(refused(&spool), 0);
    stop(&spool);
}

#[test]
fn a_topic_that_stays_missing_is_set_aside() {
    let (directory, cluster) = (Directory::new("absent"), Cluster::new(1).unwrap());
    cluster.topic_error("gone", RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART).unwrap();
    let spool = start(&directory, &cluster, SHORT);
    let started = Instant::now();
    spooled(&spool, "gone", &["1", "2"]);
    until("they are set aside", || refused(&spool) == 2);
    assert!(started.elapsed() >= SHORT.missing, "{:?}", started.elapsed());
    until("none waits", || waiting(&spool) == 0);
    let reasons = reasons(&directory);
    assert!(reasons.to_lowercase().contains("unknown topic"), "{reasons}");
    stop(&spool);
}

#[test]
fn what_kafka_refuses_takes_no_room_from_other_topics() {
    let (directory, cluster) = (Directory::new("share"), Cluster::new(1).unwrap());
    let spool = start_within(&directory, &cluster, SHORT, Limits { bytes: 40_000, ..LIMITS });
    spooled(&spool, "t", &["0"]);
    until("it is drained", || waiting(&spool) == 0);
    let large = "x".repeat(1_000);
    let mut taken = 0;
    while outcome(append_to(&spool, "wrong-partition", &large)) == SPOOLED {
        taken += 1;
        until("it is set aside", || refused(&spool) == taken);
    }
    // That is half of the room, and the rest is for others.
    assert!((17..22).contains(&taken), "{taken}");
    let full = spool.counts.full_so_far("refused");
    assert_eq!(full, 1);
    for _ in 0..50 {
        spooled(&spool, "t", &[&large]);
        until("it is drained", || waiting(&spool) == 0);
    }
    stop(&spool);
    // It is known after a start, too.
    let spool = start_within(&directory, &cluster, SHORT, Limits { bytes: 40_000, ..LIMITS });
    assert_eq!(outcome(append_to(&spool, "wrong-partition", &large)), Outcome::Unavailable);
    assert_eq!(refused(&spool), taken);
    stop(&spool);
}

#[test]
fn a_file_that_goes_missing_or_is_cut_short_is_damage() {
    let header = segment_log::SEGMENT_HEADER as u64;
    for left in [None, Some(header), Some(header + 7), Some(header + segment_log::FRAME_HEADER as u64 + 7)] {
        let (directory, cluster) = (Directory::new("vanishes"), Cluster::new(1).unwrap());
        cluster.broker_down(1).unwrap();
        // The producer has room for one, so that nothing is read before the file is gone.
        let options = producer::Options { queue_records: 1, ..producer::Options::example() };
        let drain = DrainSettings::new(&options, &options.default_cluster(&cluster.bootstrap_servers()));
        let (spool, _) = open_draining(&directory.0, &Disk::default(), LIMITS, drain).unwrap();
        let value = "x".repeat(200);
        spooled(&spool, "t", &[value.as_str(); 20]);
        spooled(&spool, "t", &[value.as_str(); 20]);
        let files = segment_log::list_segments(&directory.0).unwrap();
        let (first, path) = &files[1];
        match left {
            None => fs::remove_file(path).unwrap(),
            Some(len) => fs::File::options().write(true).open(path).unwrap().set_len(len).unwrap(),
        }
        cluster.broker_up(1).unwrap();
        until("it is noticed", || spool.counts.is_damaged());
        assert_eq!(outcome(append_to(&spool, "t", "behind")), Outcome::Unavailable);
        // What comes before it goes on.
        until("that is drained", || drained(&spool) == first - 1);
        assert_eq!(waiting(&spool), 41 - first, "{left:?}");
        stop(&spool);
    }
}
