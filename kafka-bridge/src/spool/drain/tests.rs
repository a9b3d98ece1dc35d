use std::fs;
use std::sync::mpsc::channel;

use segment_log::{Disk, Writer, inspect};

use super::super::Metrics;
use super::super::clock::now_millis;
use super::super::record::Entry;
use super::super::state::State;
use super::setting_aside::ASIDE_RECORDS;
use super::*;
use crate::producer;
use prometheus_client::registry::Registry;

const RECORDS: u64 = 2_500;
const NOWHERE: &str = "127.0.0.1:1";

/// A drainer of a spool all of whose records are to be set aside, with Kafka at `servers`.
fn drainer(directory: &std::path::Path, servers: &str) -> Drainer {
    let log = inspect(directory, &mut |_| true).unwrap().open(&Disk::default(), 1 << 30).unwrap();
    let entry = Entry { spooled_at: now_millis(), ..Entry::with_value(b"v") };
    let frames: Vec<_> = (1..=RECORDS).map(|_| entry.encode()).collect();
    Writer::new(log.clone()).append(frames.iter()).unwrap();
    let options = producer::Options::example();
    let settings = DrainSettings::new(&options, &options.default_cluster(servers));
    let mut registry = Registry::default();
    let records = Arc::new(producer::Metrics::register(&mut registry));
    let (sender, events) = channel();
    let mut drainer = Drainer::new(
        Arc::new(Shared::new(log, State::default())),
        records.of_cluster("c"),
        Metrics::register(&mut registry).of("c"),
        settings,
        None,
        events,
        sender,
    );
    while let Some(record) = drainer.next_record().unwrap() {
        drainer.to_set_aside.push_back((record.sequence, "why".to_owned()));
    }
    drainer
}

/// Dead letters on disk.
fn refused(directory: &std::path::Path) -> u64 {
    let mut count = 0;
    inspect(directory, &mut |visited| {
        count += u64::from(matches!(visited, segment_log::Visited::DeadLetter { .. }));
        true
    })
    .unwrap();
    count
}

#[test]
fn a_stop_does_not_wait_for_what_is_to_be_set_aside() {
    let directory = std::env::temp_dir().join(format!("kafka-bridge-aside-{}", std::process::id()));
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).unwrap();
    let (mut first, now) = (drainer(&directory, NOWHERE), Instant::now());
    let shared = Arc::clone(&first.shared);
    // Between two of these there is time to hear of a stop.
    assert!(first.set_aside());
    assert_eq!(shared.lock().dead_letters.records, ASIDE_RECORDS as u64);
    first.end(now);
    // The rest stays where it is, and is known to.
    assert_eq!(refused(&directory), ASIDE_RECORDS as u64);
    assert_eq!(shared.log.lock().records(), RECORDS - ASIDE_RECORDS as u64);

    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).unwrap();
    let second = drainer(&directory, NOWHERE);
    let shared = Arc::clone(&second.shared);
    second.end(Instant::now() + Duration::from_secs(60));
    assert_eq!(refused(&directory), RECORDS);
    assert_eq!(shared.log.lock().records(), 0);
    let _ = fs::remove_dir_all(&directory);
}

#[test]
fn a_stop_does_not_wait_for_kafka_to_be_asked_for_many_topics() {
    let directory = std::env::temp_dir().join(format!("kafka-bridge-ask-{}", std::process::id()));
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).unwrap();
    // It makes topics that it is asked for.
    let broker = crate::embedded::EmbeddedBroker::start().unwrap();
    let mut drainer = drainer(&directory, &broker.bootstrap_servers());
    let topics = ["a", "b", "c"];
    for (sequence, topic) in (1..).zip(topics) {
        drainer.held.missing(&topic.into(), sequence, "gone".to_owned(), Instant::now());
    }
    let deadline = Instant::now() + Duration::from_secs(30);
    let (mut waiting, mut more) = (topics.len(), true);
    while waiting > 0 {
        assert!(Instant::now() < deadline, "{waiting} wait");
        more = drainer.tend_held();
        let left = topics.iter().filter(|topic| drainer.held.holds(topic)).count();
        // Between two of them there is time to hear of a stop, and only for that.
        assert!(left == waiting || (left == waiting - 1 && more == (left > 0)), "{left} {waiting} {more}");
        waiting = left;
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(!more);
    drainer.end(Instant::now());
    let _ = fs::remove_dir_all(&directory);
}
