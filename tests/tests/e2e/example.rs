//! An example of `envoy/examples` on a gateway of its own, and `wicketgate explain` beside it.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde_json::{Value, json};
use wicketgate_tests::artefacts;
use wicketgate_tests::authority::{Authority, Behaviour};
use wicketgate_tests::http_client::{Answer, full};
use wicketgate_tests::kafka::MAX_RECORD_BYTES;

use crate::explained::{TOKEN_IS_ACTIVE, assert_answered, assert_recorded, explanation};
use crate::rig::Rig;
use crate::webhooks::hmac;

/// What is known of an example beside its files.
pub(crate) struct Plan {
    pub(crate) name: &'static str,
    /// The topics that it writes to.
    topics: &'static [&'static str],
    /// What makes its request one that is denied, with this status: a text in it, and what takes its place.
    denied: (&'static str, &'static str, u16),
}

const fn plan(
    name: &'static str,
    topics: &'static [&'static str],
    denied: (&'static str, &'static str, u16),
) -> Plan {
    Plan { name, topics, denied }
}

const NO_KEY: (&str, &str, u16) = ("X-Api-Key: demo-key\n", "", 401);

/// Every example.
pub(crate) const PLANS: [Plan; 13] = [
    plan("audit-tee", &["audit"], ("demo-key", "wrong-key", 401)),
    plan("clickstream", &["clicks"], ("[{", "[{\"visitor\": ", 400)),
    plan("cloudevents-relay", &["events"], NO_KEY),
    plan("github-webhook", &["github-webhooks"], ("sha256=", "sha256=00", 401)),
    plan("machines", &["stock"], ("Authorization: Bearer opaque-demo-token\n", "", 401)),
    plan("multi-tenant", &["tenant.acme.events", "tenant.globex.events", "eu.metrics", "us.metrics"], NO_KEY),
    plan("orders", &["orders"], NO_KEY),
    plan(
        "partner-mtls",
        &["shipments"],
        ("URI=spiffe://partners.example.com/acme", "URI=spiffe://x.example/acme", 401),
    ),
    plan("payments", &["payments"], NO_KEY),
    plan("profiles", &["profiles"], NO_KEY),
    plan("single-page-app", &["page-events"], ("Bearer e", "Bearer f", 401)),
    plan("stripe-webhook", &["stripe-events"], (",v1=", ",v1=00", 401)),
    plan("telemetry", &["telemetry"], ("X-Device-Key: demo-key\n", "", 401)),
];

/// Where the examples are.
pub(crate) fn folder() -> PathBuf {
    artefacts::root().join("envoy/examples")
}

/// The text of a file there.
pub(crate) fn read(file: &str) -> String {
    fs::read_to_string(folder().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// A gateway with an example's document, after its own request.
pub(crate) struct Example {
    /// The gateway.
    pub(crate) rig: Rig,
    /// Its own request, as the file has it.
    pub(crate) request: String,
    /// The answer to that.
    pub(crate) answer: Answer,
}

impl Example {
    /// Sends the request of an example and a variant that is denied, and holds both against what is explained.
    pub(crate) async fn start(name: &str) -> Self {
        let Plan { topics, denied: (from, to, denied), .. } =
            PLANS.into_iter().find(|plan| plan.name == name).unwrap();
        let mut document: Value = serde_json::from_str(&read(&format!("{name}.json"))).unwrap();
        if name == "machines" {
            let server = Authority::start(Behaviour::Answer(200, Bytes::from_static(TOKEN_IS_ACTIVE)));
            document["authentication"]["tokens"]["upstream"] = json!(server.upstream());
        }
        let topics: Vec<_> = topics.iter().map(|topic| (*topic, 1, MAX_RECORD_BYTES)).collect();
        let rig = Rig::start_with(document, &topics).await;
        let request = signed_now(read(&format!("{name}.http")));

        let variant = request.replacen(from, to, 1);
        assert_ne!(variant, request, "{from:?} is not in {name}.http");
        let explained = explanation(&rig.document, variant.as_bytes());
        let answer = send(&rig, &variant, None).await;
        assert_eq!(
            (explained.decision, explained.records.len(), answer.status.as_u16()),
            ("reply", 0, denied)
        );
        assert_answered(explained.reply.as_ref().unwrap(), &answer);
        rig.assert_nothing_happened().await;

        let answer = agrees(&rig, &request).await;
        Self { rig, request, answer }
    }

    /// Its request with a change.
    pub(crate) fn changed(&self, from: &str, to: &str) -> String {
        assert!(self.request.contains(from), "{from:?} is not in {}", self.request);
        self.request.replacen(from, to, 1)
    }
}

/// The request as Stripe would sign it now, if it is one of Stripe's: what was signed long ago is refused.
pub(crate) fn signed_now(request: String) -> String {
    let Some((before, _)) = request.split_once("Stripe-Signature: ") else { return request };
    let (_, after) = request[before.len()..].split_once('\n').unwrap();
    let (_, body) = request.split_once("\n\n").unwrap();
    let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let signature = hmac("demo-webhook-secret", format!("{at}.{body}").as_bytes());
    format!("{before}Stripe-Signature: t={at},v1={signature}\n{after}")
}

/// Sends a request as a file has it.
pub(crate) async fn send(rig: &Rig, text: &str, body: Option<Vec<u8>>) -> Answer {
    let (head, body_text) = text.split_once("\n\n").expect("an empty line ends the head");
    let mut lines = head.lines();
    let mut line = lines.next().unwrap().split(' ');
    let (method, target) = (line.next().unwrap(), line.next().unwrap());
    let mut request = rig.client.request(method.parse().unwrap(), target);
    for (name, value) in lines.map(|line| line.split_once(": ").expect("name and value")) {
        request = request.header(name, value);
    }
    let body = body.unwrap_or_else(|| body_text.as_bytes().to_vec());
    rig.client.send(request.body(full(body)).unwrap()).await
}

/// Sends a request that is taken, and holds what becomes of it against what is explained.
pub(crate) async fn agrees(rig: &Rig, request: &str) -> Answer {
    let explained = explanation(&rig.document, request.as_bytes());
    let topics: BTreeSet<&str> = explained.records.iter().map(|record| rig.plain(&record.topic)).collect();
    let mut before = HashMap::new();
    for topic in &topics {
        before.insert(*topic, rig.topic(topic).records().await.len());
    }
    let seen_before = rig.gateway.upstream.seen().len();
    let answer = send(rig, request, None).await;
    assert!(answer.status.is_success(), "{answer:?}");
    for topic in topics {
        let records = rig.topic(topic).records().await.split_off(before[topic]);
        let wanted: Vec<_> =
            explained.records.iter().filter(|record| rig.plain(&record.topic) == topic).collect();
        assert_eq!(wanted.len(), records.len(), "{records:?}");
        wanted.into_iter().zip(&records).for_each(|(wanted, record)| assert_recorded(wanted, record));
    }
    let seen = rig.gateway.upstream.seen().split_off(seen_before);
    match explained.decision {
        "produce" => assert!(seen.is_empty(), "{seen:?}"),
        "tee" | "pass" => {
            assert_eq!((seen.len(), &answer.body[..]), (1, &b"upstream"[..]));
            for name in &explained.stripped_headers {
                assert!(!seen[0].headers.contains_key(name), "{name} reached the upstream");
            }
        }
        other => panic!("{other} is not what the example is for"),
    }
    answer
}
