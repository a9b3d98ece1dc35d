//! The whole chain but Kafka: Envoy, the bridge, and a service behind the gateway that should see nothing.

use serde_json::{Value, json};
use wicketgate::render::BridgeLink;

use crate::bridge::Bridge;
use crate::envoy::Envoy;
use crate::http_client::Client;
use crate::upstream::Upstream;

/// The key of the consumer `alice` in [`document`].
pub const KEY: &str = "e2e-key-alice";
/// The key of the consumer `bob` in [`document`].
pub const OTHER_KEY: &str = "e2e-key-bob";

/// The largest body that [`document`] allows, in bytes.
pub const MAX_BODY_BYTES: usize = 1_048_576;

/// Envoy in front of a bridge, with a service behind it.
#[derive(Debug)]
pub struct Gateway {
    /// The bridge that Envoy's filter calls; `None` where a test has none, or one of its own.
    pub bridge: Option<Bridge>,
    /// Envoy.
    pub envoy: Envoy,
    /// The service behind Envoy.
    pub upstream: Upstream,
}

impl Gateway {
    /// Starts all of it.
    pub async fn start(document: &Value, bridge: Bridge) -> Self {
        let address = bridge.address();
        Self { bridge: Some(bridge), ..Self::start_before_bridge(document, address).await }
    }

    /// The same without a bridge: `bridge` is where one may be later, or how a test reaches its own.
    pub async fn start_before_bridge(document: &Value, bridge: impl Into<BridgeLink>) -> Self {
        let upstream = Upstream::start();
        let document = format!("{document:#}");
        let envoy = Envoy::start(&document, bridge.into(), upstream.address()).await;
        Self { bridge: None, envoy, upstream }
    }

    /// The same with an Envoy whose configuration a test changes.
    pub async fn start_altered(
        document: &Value,
        bridge: impl Into<BridgeLink>,
        alter: &dyn Fn(String) -> String,
    ) -> Self {
        let upstream = Upstream::start();
        let document = format!("{document:#}");
        let envoy = Envoy::start_altered(&document, bridge.into(), upstream.address(), alter).await;
        Self { bridge: None, envoy, upstream }
    }

    /// The bridge.
    pub fn bridge(&self) -> &Bridge {
        self.bridge.as_ref().expect("this gateway was started with a bridge")
    }

    /// A caller that speaks HTTP/1.1.
    pub fn http1(&self) -> Client {
        Client::http1(self.envoy.address())
    }

    /// A caller that speaks HTTP/2.
    pub fn http2(&self) -> Client {
        Client::http2(self.envoy.address())
    }

    /// The ends of all logs, for the text of a failure.
    pub fn log_tails(&self) -> String {
        let bridge = self.bridge.as_ref().map(|bridge| bridge.process().log_tail()).unwrap_or_default();
        format!("{}{bridge}", self.envoy.process().log_tail())
    }
}

/// A filter document with one route, `route`, for each pair of name and topic.
pub fn document<'r>(routes: impl IntoIterator<Item = (&'r str, &'r str)>, timeout: &str) -> Value {
    json!({
        "source": "urn:wicketgate:e2e",
        "bridge": {"upstream": "kafka-bridge", "timeout": timeout},
        "limits": {"body_bytes": MAX_BODY_BYTES},
        "authentication": {"keys": {"type": "api_key", "header": "x-api-key"}},
        "consumers": [
            // printf %s e2e-key-alice | sha256sum
            {"name": "alice", "api_keys": [{"sha256": "079f99cd3a9717243e63083cc02447cb6fc9ac280a98aa2f8e8d7ba399784e34"}]},
            {"name": "bob", "api_keys": [{"sha256": "cc86dd4e7cf9b78c5c566be4279ee9b481b9ff9b4b7301b3c70ea70a8ec3c7f8"}]},
        ],
        "unmatched": "reject",
        "routes": routes.into_iter().map(|(name, topic)| route(name, topic)).collect::<Vec<_>>(),
    })
}

/// `POST` and `PUT` of `/e2e/<name>/{id}`, with the key `{id}`.
fn route(name: &str, topic: &str) -> Value {
    json!({
        "name": name,
        "match": {"methods": ["POST", "PUT"], "path": format!("/e2e/{name}/{{id}}")},
        "authentication": {"any_of": ["keys"]},
        "action": "produce",
        "event": {"type": "com.example.e2e", "subject": "thing/{id}"},
        "kafka": {
            "topic": topic,
            "key": "{id}",
            "forward_headers": [{"name": "x-device"}, {"name": "x-raw"}, {"name": "x-github-event"}, {"name": "x-github-delivery"}, {"name": "x-hub-signature-256"}],
        },
    })
}
