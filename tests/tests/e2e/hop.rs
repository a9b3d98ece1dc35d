//! The connection between Envoy and the bridge, in each way that it can be made.

use http::Method;
use wicketgate::render::{BridgeAddress, BridgeLink};
use wicketgate_tests::bridge::Bridge;
use wicketgate_tests::gateway::{Gateway, KEY, document};
use wicketgate_tests::http_client::full;
use wicketgate_tests::kafka;
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
            let connections = exchange(&topic, BridgeLink { address: address.clone(), http2 }, COUNT).await;
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
    let ended = bridge.process().terminate(std::time::Duration::from_secs(20));
    assert!(ended.success() && !path.exists(), "{ended}, the socket is there: {}", path.exists());
}
