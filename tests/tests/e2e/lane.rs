//! One gateway for all tests that break nothing, with a route and a topic for each of them.

use std::collections::HashMap;
use std::sync::Mutex;

use http::Method;
use http::request::Builder;
use tokio::sync::OnceCell;
use wicketgate_tests::bridge::Bridge;
use wicketgate_tests::gateway::{Gateway, KEY, document};
use wicketgate_tests::http_client::Client;
use wicketgate_tests::kafka::{self, MAX_RECORD_BYTES};
use wicketgate_tests::topic::{Record, Topic};

/// Name and number of partitions. A test has a lane to itself, so that what it finds there is its own.
const LANES: [(&str, i32); 22] = [
    ("json", 1),
    ("text", 1),
    ("binary", 1),
    ("empty", 1),
    ("not-json", 1),
    ("size", 1),
    ("small-topic", 1),
    ("headers", 1),
    ("odd-headers", 1),
    ("pieces", 1),
    ("trailers", 1),
    ("http1-trailers", 1),
    ("http2", 1),
    ("expect", 1),
    ("callers", 3),
    ("workers", 3),
    ("fixtures", 1),
    ("keys", 7),
    ("no-key", 1),
    ("methods", 1),
    ("paths", 1),
    ("consumers", 1),
];

/// What the topic of the lane `small-topic` takes, in bytes.
pub(crate) const SMALL_TOPIC_BYTES: usize = 50_000;

type Topics = HashMap<&'static str, Mutex<Option<Topic<'static>>>>;
static SHARED: OnceCell<(Gateway, Topics)> = OnceCell::const_new();

/// A route of the shared gateway and its topic.
#[derive(Debug)]
pub(crate) struct Lane {
    name: &'static str,
    /// Where the records of this lane are.
    pub(crate) topic: Topic<'static>,
    /// The gateway.
    pub(crate) gateway: &'static Gateway,
}

impl Lane {
    /// Takes a lane; each can be taken once.
    pub(crate) async fn take(name: &'static str) -> Self {
        let (gateway, topics) = SHARED.get_or_init(start).await;
        let topic = topics[name].lock().unwrap().take();
        Self { name, topic: topic.unwrap_or_else(|| panic!("lane {name} is taken by another test")), gateway }
    }

    /// The path of a thing in this lane. `id` is as it stands in a path.
    pub(crate) fn path(&self, id: &str) -> String {
        format!("/e2e/{}/{id}", self.name)
    }

    /// The start of an authenticated request.
    pub(crate) fn post(&self, client: &Client, id: &str) -> Builder {
        client.request(Method::POST, &self.path(id)).header("x-api-key", KEY)
    }

    /// The head of an authenticated HTTP/1.1 request on a connection of its own, up to further header fields.
    pub(crate) fn raw_post(&self, id: &str) -> String {
        format!(
            "POST {} HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\nx-api-key: {KEY}\r\n",
            self.path(id)
        )
    }

    /// The one record of this lane.
    pub(crate) async fn record(&self) -> Record {
        self.topic.record().await
    }

    /// Panics unless nothing came of any request in this lane, here or behind the gateway.
    pub(crate) async fn assert_nothing_happened(&self) {
        self.topic.assert_empty().await;
        let seen = self.gateway.upstream.seen();
        assert!(seen.is_empty(), "the service behind the gateway saw {seen:?}");
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("lane {}\n{}", self.name, self.gateway.log_tails());
        } else {
            self.gateway.envoy.assert_unharmed();
        }
    }
}

async fn start() -> (Gateway, Topics) {
    let kafka = kafka::shared();
    let plans = LANES.map(|(name, partitions)| {
        (name, partitions, if name == "small-topic" { SMALL_TOPIC_BYTES } else { MAX_RECORD_BYTES })
    });
    let topics = Topic::create_all(kafka, plans).await;
    let routes = LANES.iter().zip(&topics).map(|(&(name, _), topic)| (name, topic.name()));
    let document = document(routes, "10s");
    let gateway = Gateway::start(&document, Bridge::start(kafka.bootstrap_servers(), &[]).await).await;
    let names = LANES.into_iter().map(|(name, _)| name);
    (gateway, names.zip(topics.map(|topic| Mutex::new(Some(topic)))).collect())
}
