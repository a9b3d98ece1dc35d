//! How Envoy reaches kafka-bridge.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use super::envoy::HostPort;

/// The longest path that Envoy takes for a Unix domain socket, in bytes: `sun_path` of unix(7) without the NUL.
const LONGEST_PATH: usize = 107;

/// Where kafka-bridge is, and how it is spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BridgeLink {
    /// Where it listens.
    pub address: BridgeAddress,
    /// Whether HTTP/2 is spoken, else HTTP/1.1.
    pub http2: bool,
}

/// Where kafka-bridge listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BridgeAddress {
    /// `HOST:PORT`.
    Tcp(HostPort),
    /// The path of a Unix domain socket, as Envoy sees it.
    Unix(String),
}

impl BridgeLink {
    /// The type of Envoy's cluster: names are looked up again and again, paths never.
    pub(super) fn cluster_type(&self) -> &'static str {
        match self.address {
            BridgeAddress::Tcp(_) => "STRICT_DNS",
            BridgeAddress::Unix(_) => "STATIC",
        }
    }

    /// The address, as YAML in one line.
    pub(super) fn address(&self) -> String {
        match &self.address {
            BridgeAddress::Tcp(HostPort { host, port }) => {
                format!("socket_address: {{ address: \"{host}\", port_value: {port} }}")
            }
            BridgeAddress::Unix(path) => format!("pipe: {{ path: \"{path}\" }}"),
        }
    }

    /// The field of `explicit_http_config` that chooses the version of HTTP.
    pub(super) fn protocol_options(&self) -> &'static str {
        if self.http2 { "http2_protocol_options" } else { "http_protocol_options" }
    }
}

impl<A: Into<BridgeAddress>> From<A> for BridgeLink {
    /// HTTP/1.1 at this address.
    fn from(address: A) -> Self {
        Self { address: address.into(), http2: false }
    }
}

impl From<SocketAddr> for BridgeAddress {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address.into())
    }
}

impl FromStr for BridgeAddress {
    type Err = String;

    /// Reads `HOST:PORT` or `unix:PATH`.
    fn from_str(text: &str) -> Result<Self, String> {
        let Some(path) = text.strip_prefix("unix:") else {
            return text
                .parse()
                .map(Self::Tcp)
                .map_err(|_| format!("wanted HOST:PORT or unix:PATH, got {text:?}"));
        };
        let illegal = |character: char| character.is_control() || matches!(character, '"' | '\\');
        if !path.starts_with('/') || path.len() > LONGEST_PATH || path.contains(illegal) {
            return Err(format!(
                "wanted unix: and an absolute path of at most {LONGEST_PATH} bytes, without quotes, backslashes and \
                 control characters, got {text:?}"
            ));
        }
        Ok(Self::Unix(path.to_owned()))
    }
}

impl fmt::Display for BridgeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{path}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        for text in ["kafka-bridge:8080", "[::1]:80", "unix:/run/bridge.sock"] {
            assert_eq!(text.parse::<BridgeAddress>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "x",
            "unix:",
            "unix:x",
            "unix:/a\"b",
            "unix:/a\\b",
            "unix:/a\nb",
            &format!("unix:/{}", "x".repeat(107)),
        ] {
            assert!(text.parse::<BridgeAddress>().is_err(), "{text}");
        }
    }
}
