//! The connection between Envoy and the bridge, in each way that it can be made.

use std::net::SocketAddr;
use std::time::Duration;

use http::Method;
use serde_json::json;
use wicketgate::render::{BridgeAddress, BridgeLink, BridgeTls};
use wicketgate_tests::artefacts;
use wicketgate_tests::bridge::Bridge;
use wicketgate_tests::certificates::{Authority, Identity};
use wicketgate_tests::gateway::{Gateway, KEY, document};
use wicketgate_tests::http_client::{Answer, Client, full};
use wicketgate_tests::kafka;
use wicketgate_tests::ports::free_port;
use wicketgate_tests::topic::Topic;

use crate::expect;

/// A path that is short enough for a socket.
fn socket(name: &str) -> String {
    let path = std::env::temp_dir().join(format!("wicketgate-{name}-{}.sock", std::process::id()));
    path.to_str().unwrap().to_owned()
}

/// Sends `count` requests, all at once, through a gateway with this link to its bridge, and looks for them in Kafka.
/// Returns how many connections Envoy has made to the bridge.
async fn exchange(topic: &Topic<'_>, link: BridgeLink, count: usize) -> u64 {
    let gateway = Gateway::start_before_bridge(&document([("lane", topic.name())], "10s"), link).await;
    let client = gateway.http1();
    let post = |number: usize| {
        let request = client.request(Method::POST, &format!("/e2e/lane/{number}")).header("x-api-key", KEY);
        let client = client.clone();
        async move { client.send(request.body(full(format!("{number}"))).unwrap()).await }
    };
    // One after the other: the connection is kept.
    for number in 0..2 {
        expect::accepted(&post(number).await);
    }
    let calls: Vec<_> = (2..count).map(|number| tokio::spawn(post(number))).collect();
    for call in calls {
        expect::accepted(&call.await.unwrap());
    }
    gateway.envoy.assert_unharmed();
    let stats = gateway.envoy.stats().await;
    stats["cluster.kafka-bridge.upstream_cx_total"]
}

#[tokio::test]
async fn envoy_reaches_the_bridge_over_a_unix_socket_and_tcp_in_both_versions_of_http() {
    const COUNT: usize = 40;
    let socket = socket("hop");
    let listen = format!("unix:{socket}");
    // The harness has given the bridge an address already.
    let bridge = Bridge::start(kafka::shared().bootstrap_servers(), &["--listen", &listen]).await;
    for (name, address) in
        [("unix", listen.parse::<BridgeAddress>().unwrap()), ("tcp", bridge.address().into())]
    {
        for http2 in [false, true] {
            let topic = Topic::create(kafka::shared(), &format!("hop-{name}-{http2}"), 1).await;
            let connections =
                exchange(&topic, BridgeLink { address: address.clone(), http2, tls: None }, COUNT).await;
            let mut keys: Vec<_> =
                topic.records().await.into_iter().map(|record| record.key.unwrap()).collect();
            keys.sort_unstable();
            let mut wanted: Vec<_> = (0..COUNT).map(|number| number.to_string().into_bytes()).collect();
            wanted.sort_unstable();
            assert_eq!(keys, wanted, "{name}, HTTP/2: {http2}");
            // Each worker has one connection of HTTP/2, on which its calls are beside each other.
            assert!(!http2 || connections <= 2, "{connections} connections of HTTP/2 over {name}");
        }
    }
    let path = std::path::Path::new(&socket);
    assert!(path.exists());
    let ended = bridge.process().terminate(Duration::from_secs(20));
    assert!(ended.success() && !path.exists(), "{ended}, the socket is there: {}", path.exists());
}

/// What callers of a gateway get that reaches the bridge in this way.
async fn post_through(topic: &Topic<'_>, link: BridgeLink) -> Answer {
    let gateway = Gateway::start_before_bridge(&document([("lane", topic.name())], "10s"), link).await;
    let client = gateway.http1();
    let request = client.request(Method::POST, "/e2e/lane/1").header("x-api-key", KEY);
    let answer = client.send(request.body(full("over TLS")).unwrap()).await;
    gateway.envoy.assert_unharmed();
    answer
}

#[tokio::test]
async fn a_certificate_opens_a_bridge_in_production_to_one_gateway_alone() {
    let folder = artefacts::run_dir().join("certificates");
    std::fs::create_dir_all(&folder).unwrap();
    let text = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    let authority = Authority::new(&folder, "authority");
    let own = authority.issue("bridge", &["bridge.test", "127.0.0.1"]);
    let topic = Topic::create(kafka::shared(), "mtls", 1).await;
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let flags = [
        "--mode",
        "production",
        "--listen",
        &format!("tls:{address}"),
        "--tls-certificate-file",
        &text(&own.certificate),
        "--tls-key-file",
        &text(&own.key),
        "--tls-client-ca-file",
        &text(&authority.certificate),
        "--tls-client-names",
        "spiffe://test/gateway",
    ];
    let bridge = Bridge::start(kafka::shared().bootstrap_servers(), &flags).await;

    let gateway = authority.issue("gateway", &["spiffe://test/gateway"]);
    let another = authority.issue("another", &["spiffe://test/another"]);
    let stranger = Authority::new(&folder, "stranger").issue("stranger", &["spiffe://test/gateway"]);
    let link = |http2, name: &str, identity: Option<&Identity>| BridgeLink {
        address: address.into(),
        http2,
        tls: Some(BridgeTls {
            authorities: text(&authority.certificate),
            name: name.to_owned(),
            identity: identity.map(|identity| (text(&identity.certificate), text(&identity.key))),
        }),
    };
    // Without a certificate, or with that of another, callers are told no more than that nothing was taken.
    for identity in [None, Some(&another)] {
        let answer = post_through(&topic, link(true, "bridge.test", identity)).await;
        expect::problem(&answer, 503, "bridge-unavailable");
    }
    // To one that it does not trust the bridge does not speak at all, nor Envoy to a bridge that has another name.
    for (name, identity) in [("bridge.test", &stranger), ("other.test", &gateway)] {
        let answer = post_through(&topic, link(false, name, Some(identity))).await;
        assert!((500..600).contains(&answer.status.as_u16()), "{answer:?}");
    }
    // The port without TLS is there for probes.
    let direct = Client::http1(bridge.address());
    let event = json!({"specversion": "1.0", "id": "1", "source": "/s", "type": "t"});
    let path = format!("/v1/topics/{}/events", topic.name());
    let request = direct.request(Method::POST, &path).header("content-type", "application/cloudevents+json");
    assert_eq!(direct.send(request.body(full(event.to_string())).unwrap()).await.status, 401);
    topic.assert_empty().await;

    for (http2, name) in [(false, "bridge.test"), (true, "bridge.test"), (true, "127.0.0.1")] {
        expect::accepted(&post_through(&topic, link(http2, name, Some(&gateway))).await);
    }
    assert_eq!(topic.records().await.len(), 3);
}
