//! How Envoy reaches kafka-bridge.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
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
    /// TLS, or none.
    pub tls: Option<BridgeTls>,
}

/// How Envoy and kafka-bridge know each other. All files are as Envoy sees them, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BridgeTls {
    /// The authorities of the bridge's certificate.
    pub authorities: String,
    /// The name of a host, or the address, that the bridge's certificate must have.
    pub name: String,
    /// The file of Envoy's own certificate and that of its key, if it is to present one.
    pub identity: Option<(String, String)>,
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

    /// The transport socket of the cluster, as lines of YAML at its indentation; nothing without TLS.
    pub(super) fn transport_socket(&self) -> String {
        let Some(BridgeTls { authorities, name, identity }) = &self.tls else { return String::new() };
        let (server_name, name_type) = match name.parse::<IpAddr>() {
            // An address is no name that a server could be asked for (RFC 6066, section 3).
            Ok(_) => (String::new(), "IP_ADDRESS"),
            Err(_) => (format!("        sni: \"{name}\"\n"), "DNS"),
        };
        let protocol = if self.http2 { "h2" } else { "http/1.1" };
        let identity = identity.as_ref().map_or(String::new(), |(certificate, key)| {
            format!(
                "          tls_certificates:
          - certificate_chain: {{ filename: \"{certificate}\" }}
            private_key: {{ filename: \"{key}\" }}
"
            )
        });
        format!(
            "    transport_socket:
      name: envoy.transport_sockets.tls
      typed_config:
        \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
{server_name}        common_tls_context:
          alpn_protocols: [\"{protocol}\"]
{identity}          validation_context:
            trusted_ca: {{ filename: \"{authorities}\" }}
            match_typed_subject_alt_names:
            - san_type: {name_type}
              matcher: {{ exact: \"{name}\" }}
"
        )
    }

    /// What of it cannot stand in YAML as it is.
    pub(super) fn unfit(&self) -> Option<&str> {
        let tls = self.tls.as_ref()?;
        let identity = tls.identity.iter().flat_map(|(certificate, key)| [certificate, key]);
        [&tls.authorities, &tls.name]
            .into_iter()
            .chain(identity)
            .find(|text| !is_plain(text))
            .map(|text| &**text)
    }

    /// The field of `explicit_http_config` that chooses the version of HTTP.
    pub(super) fn protocol_options(&self) -> &'static str {
        if self.http2 { "http2_protocol_options" } else { "http_protocol_options" }
    }
}

impl<A: Into<BridgeAddress>> From<A> for BridgeLink {
    /// HTTP/1.1 at this address, without TLS.
    fn from(address: A) -> Self {
        Self { address: address.into(), http2: false, tls: None }
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
        if !path.starts_with('/') || path.len() > LONGEST_PATH || !is_plain(path) {
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

/// Whether a text can stand between quotes in YAML as it is.
pub(super) fn is_plain(text: &str) -> bool {
    !text.chars().any(|character| character.is_control() || matches!(character, '"' | '\\'))
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
