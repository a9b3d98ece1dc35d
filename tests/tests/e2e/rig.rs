//! A gateway around a document of the test's own, with the topics that it names.

use std::collections::HashMap;

use bytes::Bytes;
use http::Method;
use http::request::Builder;
use serde_json::Value;
use tokio::sync::OnceCell;
use wicketgate_tests::bridge::Bridge;
use wicketgate_tests::gateway::{self, Gateway, KEY};
use wicketgate_tests::http_client::{Answer, Client, full};
use wicketgate_tests::kafka::{self, MAX_RECORD_BYTES};
use wicketgate_tests::topic::{Topic, unique_prefix};

static BRIDGE: OnceCell<Bridge> = OnceCell::const_new();

/// A gateway of one test. Topics have the names that the test gives them, here and in the document; in Kafka they
/// have a prefix before them that makes them the test's own.
#[derive(Debug)]
pub(crate) struct Rig {
    prefix: String,
    topics: HashMap<String, Topic<'static>>,
    /// The document as the gateway has it.
    pub(crate) document: String,
    /// The gateway.
    pub(crate) gateway: Gateway,
    /// A caller that speaks HTTP/1.1.
    pub(crate) client: Client,
}

/// A document with these routes; the consumers `alice` and `bob` have their keys in `x-api-key`.
pub(crate) fn document(routes: Value) -> Value {
    let mut document = gateway::document([], "10s");
    document["routes"] = routes;
    document
}

impl Rig {
    /// Starts a gateway, with one partition in each of these topics.
    pub(crate) async fn start(document: Value, topics: &[&str]) -> Self {
        let plans: Vec<_> = topics.iter().map(|name| (*name, 1, MAX_RECORD_BYTES)).collect();
        Self::start_with(document, &plans).await
    }

    /// Starts a gateway, with topics of this name, number of partitions and size in bytes of what they take.
    pub(crate) async fn start_with(document: Value, topics: &[(&str, i32, usize)]) -> Self {
        Self::start_altered(document, topics, &|configuration| configuration).await
    }

    /// The same, with an Envoy whose configuration the test changes.
    pub(crate) async fn start_altered(
        mut document: Value,
        topics: &[(&str, i32, usize)],
        alter: &dyn Fn(String) -> String,
    ) -> Self {
        let prefix = unique_prefix();
        prefix_topics(&mut document, &prefix);
        let plans: Vec<_> = topics
            .iter()
            .map(|&(name, partitions, bytes)| (format!("{prefix}{name}"), partitions, bytes))
            .collect();
        let made = Topic::create_named(kafka::shared(), &plans).await;
        let start = || Bridge::start(kafka::shared().bootstrap_servers(), &[]);
        let bridge = BRIDGE.get_or_init(start).await.address();
        let gateway = Gateway::start_altered(&document, bridge, alter).await;
        let names = topics.iter().map(|(name, _, _)| (*name).to_owned());
        let (client, document) = (gateway.http1(), format!("{document:#}"));
        Self { prefix, topics: names.zip(made).collect(), document, gateway, client }
    }

    /// A topic by the name that the test gave it.
    pub(crate) fn topic(&self, name: &str) -> &Topic<'static> {
        &self.topics[name]
    }

    /// The name without the prefix.
    pub(crate) fn plain<'n>(&self, name_in_kafka: &'n str) -> &'n str {
        name_in_kafka.strip_prefix(&self.prefix).expect("a topic of this test")
    }

    /// The start of an authenticated POST.
    pub(crate) fn post(&self, path: &str) -> Builder {
        self.client.request(Method::POST, path).header("x-api-key", KEY)
    }

    /// The same for JSON.
    pub(crate) fn post_json(&self, path: &str) -> Builder {
        self.post(path).header("content-type", "application/json")
    }

    /// Sends a request with this body.
    pub(crate) async fn send(&self, request: Builder, body: impl Into<Bytes>) -> Answer {
        self.client.send(request.body(full(body)).unwrap()).await
    }

    /// Panics unless nothing came of any request, in Kafka or behind the gateway.
    pub(crate) async fn assert_nothing_happened(&self) {
        for topic in self.topics.values() {
            topic.assert_empty().await;
        }
        let seen = self.gateway.upstream.seen();
        assert!(seen.is_empty(), "the service behind the gateway saw {seen:?}");
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let bridge = BRIDGE.get().map(|bridge| bridge.process().log_tail()).unwrap_or_default();
            eprintln!("{}{bridge}", self.gateway.log_tails());
        } else {
            self.gateway.envoy.assert_unharmed();
        }
    }
}

/// Puts the prefix before every topic of a document. It is a literal one, so what was confined stays so.
fn prefix_topics(document: &mut Value, prefix: &str) {
    let prefixed =
        |name: &Value| Value::from(format!("{prefix}{}", name.as_str().expect("topics are strings")));
    for route in document["routes"].as_array_mut().expect("routes are a list") {
        let Some(kafka) = route.get_mut("kafka") else { continue };
        kafka["topic"] = prefixed(&kafka["topic"]);
        if let Some(allowed) = kafka.get_mut("allowed_topics").and_then(Value::as_array_mut) {
            allowed.iter_mut().for_each(|name| *name = prefixed(name));
        }
    }
}
