//! A complete Envoy configuration around a document. Envoy takes the configuration of a plugin inline only, so the
//! document and the file that Envoy reads are two; this makes the second from the first.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use wicketgate_policy::config::{Config, ConfigErrors};

use super::admin::Admin;
use super::authority::Authority;
use super::bridge::{BridgeLink, is_plain};

/// The file, with a `@NAME@` for everything that varies.
const TEMPLATE: &str = include_str!("envoy.yaml.in");

const MEBIBYTE: u64 = 1024 * 1024;
/// What the streams of a connection may hold in memory, together.
const CONNECTION_BYTES: u64 = 128 * MEBIBYTE;
/// What a peer may count on is 100 (RFC 9113, section 6.5.2), where the memory allows for it.
const STREAMS: std::ops::RangeInclusive<u64> = 8..=100;

/// What varies between one Envoy and the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvoyOptions {
    /// Where Envoy takes requests.
    pub listen: SocketAddr,
    /// Where Envoy's admin interface is, if it has one.
    pub admin: Admin,
    /// Where kafka-bridge is, and how it is spoken to.
    pub bridge: BridgeLink,
    /// The filter, `wicketgate.wasm`, as Envoy's process sees it.
    pub wasm: String,
    /// Where requests go that the document lets pass.
    pub upstream: HostPort,
    /// What is done with header fields that have an underscore in their name.
    pub underscores: Underscores,
    /// Whether HTTP/1.0 is accepted.
    pub http10: bool,
    /// Whether WebSockets get through.
    pub websocket: bool,
    /// How long a sender may take for a whole request, in seconds; 0 for as long as it likes. `None` for what fits the
    /// document.
    pub request_timeout: Option<u32>,
    /// The most memory that Envoy allocates before it refuses and ends requests, in bytes.
    pub max_heap: u64,
    /// The most connections of callers.
    pub max_connections: u32,
    /// The authorities that the document names.
    pub authorities: Vec<Authority>,
}

/// What is done with header fields that have an underscore in their name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Underscores {
    /// The request is answered with 400.
    #[default]
    Reject,
    /// The field is left out.
    Drop,
    /// The field is a field like any other.
    Allow,
}

impl Default for EnvoyOptions {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 10000)),
            admin: Admin::default(),
            bridge: SocketAddr::from(([127, 0, 0, 1], 8080)).into(),
            wasm: "target/wicketgate.wasm".to_owned(),
            upstream: HostPort { host: "127.0.0.1".to_owned(), port: 8081 },
            underscores: Underscores::default(),
            http10: false,
            websocket: false,
            request_timeout: None,
            max_heap: MEBIBYTE * 1024,
            max_connections: 1024,
            authorities: Vec::new(),
        }
    }
}

/// `host:port`, where the host is a name or an address (an IPv6 address in brackets).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    pub(super) host: String,
    pub(super) port: u16,
}

impl HostPort {
    /// The host, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }
}

impl From<SocketAddr> for HostPort {
    fn from(address: SocketAddr) -> Self {
        Self { host: address.ip().to_string(), port: address.port() }
    }
}

impl FromStr for HostPort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wanted = || format!("wanted HOST:PORT, got {text:?}");
        let (host, port) = text.rsplit_once(':').ok_or_else(wanted)?;
        let port = port.parse().map_err(|_| wanted())?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte);
        if host.is_empty() || !host.bytes().all(legal) {
            return Err(wanted());
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Why there is no configuration.
#[derive(Debug, PartialEq, Eq)]
pub enum RenderError {
    /// The document has mistakes; the filter would refuse it.
    Document(ConfigErrors),
    /// A path or a name cannot stand in YAML as it is: which option's, and the text.
    Text(&'static str, String),
    /// The document names an authority of which no option says where it is.
    UnknownAuthority(String),
}

impl fmt::Display for RenderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Document(errors) => errors.fmt(f),
            Self::UnknownAuthority(name) => {
                write!(
                    f,
                    "the document asks the upstream {name:?}: say where it is with --authority {name}=https://HOST"
                )
            }
            Self::Text(option, text) => {
                write!(
                    f,
                    "{option}: wanted a text without quotes, backslashes and control characters, got {text:?}"
                )
            }
        }
    }
}

impl std::error::Error for RenderError {}

impl From<ConfigErrors> for RenderError {
    fn from(errors: ConfigErrors) -> Self {
        Self::Document(errors)
    }
}

/// What a document asks of its Envoy.
struct Needs {
    /// The largest body, in bytes.
    body_bytes: u64,
    /// Whether anything goes on to the service behind the gateway.
    passes: bool,
    /// Whether what the proxy in front says of certificates counts.
    forwarded_certificates: bool,
}

/// Renders a complete Envoy configuration around a document.
///
/// # Errors
/// [`RenderError`] when the filter would refuse the document.
pub fn envoy(document: &str, options: &EnvoyOptions) -> Result<String, RenderError> {
    let config = Config::from_json(document.as_bytes())?;
    let known = |name: &&String| options.authorities.iter().any(|authority| authority.name == **name);
    if let Some(name) = config.authorities.iter().find(|name| !known(name)) {
        return Err(RenderError::UnknownAuthority(name.clone()));
    }
    let needs = Needs {
        body_bytes: config.max_body_bytes as u64,
        passes: config.lets_pass(),
        forwarded_certificates: config.trusts_forwarded_certificates(),
    };
    render(document, &needs, options)
}

/// As [`envoy()`], around a document that may have mistakes: for tests of how a gateway refuses it.
///
/// # Errors
/// [`RenderError::Text`].
pub fn envoy_unchecked(document: &str, options: &EnvoyOptions) -> Result<String, RenderError> {
    render(document, &Needs { body_bytes: MEBIBYTE, passes: false, forwarded_certificates: false }, options)
}

fn render(document: &str, needs: &Needs, options: &EnvoyOptions) -> Result<String, RenderError> {
    if !is_plain(&options.wasm) {
        return Err(RenderError::Text("wasm", options.wasm.clone()));
    }
    if let Some(text) = options.bridge.unfit() {
        return Err(RenderError::Text("TLS of the bridge", text.to_owned()));
    }
    let mut yaml = TEMPLATE.to_owned();
    for (name, value) in placeholders(needs, options) {
        yaml = yaml.replace(name, &value);
    }
    // Last, so that nothing in the document is taken for a placeholder.
    Ok(embed(&yaml, document))
}

fn placeholders(needs: &Needs, options: &EnvoyOptions) -> Vec<(&'static str, String)> {
    let buffer = needs.body_bytes + MEBIBYTE;
    let streams = (CONNECTION_BYTES / buffer).clamp(*STREAMS.start(), *STREAMS.end());
    let request_timeout = options.request_timeout.unwrap_or(if needs.passes { 0 } else { 60 });
    let (ignored, upgrades) = match options.websocket {
        true => ("[^wW].*", "          upgrade_configs: [{ upgrade_type: websocket }]\n"),
        false => (".*", ""),
    };
    let underscores = match options.underscores {
        Underscores::Reject => "REJECT_REQUEST",
        Underscores::Drop => "DROP_HEADER",
        Underscores::Allow => "ALLOW",
    };
    vec![
        ("@LISTEN_ADDRESS@", options.listen.ip().to_string()),
        ("@LISTEN_PORT@", options.listen.port().to_string()),
        ("@BUFFER_BYTES@", buffer.to_string()),
        ("@STREAMS@", streams.to_string()),
        ("@ACCOUNT_POWER@", buffer.ilog2().saturating_sub(8).max(10).to_string()),
        ("@CONNECTION_MEBIBYTES@", (streams * buffer).div_ceil(MEBIBYTE).to_string()),
        ("@REQUEST_TIMEOUT@", format!("{request_timeout}s")),
        ("@HTTP10@", options.http10.to_string()),
        ("@IGNORED_UPGRADES@", ignored.to_owned()),
        ("@UPGRADES@\n", upgrades.to_owned()),
        (
            "@CERTIFICATES@",
            if needs.forwarded_certificates { "ALWAYS_FORWARD_ONLY" } else { "SANITIZE" }.to_owned(),
        ),
        ("@UNDERSCORES@", underscores.to_owned()),
        ("@MAX_HEAP_BYTES@", options.max_heap.to_string()),
        ("@MAX_CONNECTIONS@", options.max_connections.to_string()),
        ("@ADMIN@\n", options.admin.section()),
        ("@AUTHORITIES@\n", options.authorities.iter().map(Authority::cluster).collect()),
        ("@BRIDGE_CLUSTER_TYPE@", options.bridge.cluster_type().to_owned()),
        ("@BRIDGE_PROTOCOL_OPTIONS@", options.bridge.protocol_options().to_owned()),
        ("@BRIDGE_TRANSPORT_SOCKET@\n", options.bridge.transport_socket()),
        ("@BRIDGE_ADDRESS@", options.bridge.address()),
        ("@UPSTREAM_HOST@", options.upstream.host.clone()),
        ("@UPSTREAM_PORT@", options.upstream.port.to_string()),
        ("@WASM@", options.wasm.clone()),
    ]
}

/// Puts the document, line by line, where the template has `@DOCUMENT@`, at that line's indentation: the text of a
/// YAML block scalar (YAML 1.2, section 8.1.2).
fn embed(yaml: &str, document: &str) -> String {
    let mut out = String::with_capacity(yaml.len() + 2 * document.len());
    for line in yaml.lines() {
        match line.strip_suffix("@DOCUMENT@") {
            None => out.push_str(line),
            Some(indentation) => {
                let lines: Vec<String> =
                    document
                        .lines()
                        .map(|line| {
                            if line.trim().is_empty() {
                                String::new()
                            } else {
                                format!("{indentation}{line}")
                            }
                        })
                        .collect();
                out.push_str(&lines.join("\n"));
            }
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::BridgeTls;

    #[test]
    fn addresses_are_read() {
        for (text, wanted) in [
            ("kafka-bridge:8080", "kafka-bridge:8080"),
            ("[::1]:80", "[::1]:80"),
            ("127.0.0.1:1", "127.0.0.1:1"),
        ] {
            assert_eq!(text.parse::<HostPort>().unwrap().to_string(), wanted);
        }
        for text in ["", "x", "x:", ":1", "x:65536", "x y:1", "x\":1"] {
            assert!(text.parse::<HostPort>().is_err(), "{text}");
        }
    }

    #[test]
    fn nothing_is_left_of_the_template() {
        let yaml = envoy_unchecked("{\n  \"a\": \"@WASM@\"\n}\n", &EnvoyOptions::default()).unwrap();
        assert_eq!(
            yaml.matches('@').count(),
            "\"@type\"".matches('@').count() * yaml.matches("\"@type\"").count() + 2
        );
        assert!(yaml.contains("  \"a\": \"@WASM@\""));
    }

    #[test]
    fn the_bridge_is_reached_as_it_is_said() {
        let rendered = |address: &str, http2, tls: Option<BridgeTls>| {
            let bridge = BridgeLink { address: address.parse().unwrap(), http2, tls };
            envoy_unchecked("{}", &EnvoyOptions { bridge, ..EnvoyOptions::default() }).unwrap()
        };
        let unix = rendered("unix:/run/bridge.sock", true, None);
        for wanted in [
            "type: STATIC",
            "pipe: { path: \"/run/bridge.sock\" }",
            "http_config: { http2_protocol_options: {} }",
        ] {
            assert_eq!(unix.matches(wanted).count(), 1, "{wanted}");
        }
        let tcp = rendered("[::1]:80", false, None);
        for wanted in ["{ address: \"::1\", port_value: 80 }", "http_config: { http_protocol_options: {} }"] {
            assert_eq!(tcp.matches(wanted).count(), 1, "{wanted}");
        }
        assert!(!tcp.contains("STATIC") && !tcp.contains("pipe") && !tcp.contains("tls"));

        let tls = |name: &str| BridgeTls {
            authorities: "/tls/ca.pem".to_owned(),
            name: name.to_owned(),
            identity: Some(("/tls/own.pem".to_owned(), "/tls/own.key".to_owned())),
        };
        let named = rendered("bridge:8443", true, Some(tls("bridge")));
        for wanted in [
            "sni: \"bridge\"",
            "[\"h2\"]",
            "san_type: DNS",
            "{ exact: \"bridge\" }",
            "trusted_ca: { filename: \"/tls/ca.pem\" }",
            "private_key: { filename: \"/tls/own.key\" }",
        ] {
            assert_eq!(named.matches(wanted).count(), 1, "{wanted}");
        }
        let address = rendered("[::1]:8443", false, Some(BridgeTls { identity: None, ..tls("::1") }));
        assert!(address.contains("IP_ADDRESS") && address.contains("http/1.1"));
        assert!(!address.contains("sni") && !address.contains("private_key"));

        let bridge = BridgeLink { tls: Some(tls("a\"b")), ..EnvoyOptions::default().bridge };
        let refused = envoy_unchecked("{}", &EnvoyOptions { bridge, ..EnvoyOptions::default() });
        assert!(refused.unwrap_err().to_string().contains("without quotes"));
    }

    #[test]
    fn what_a_document_needs_is_what_envoy_allows() {
        let rendered = |change: fn(String) -> String, options: EnvoyOptions| {
            let demo = include_str!("../../../envoy/demo.json").to_owned();
            envoy(&change(demo), &options).unwrap()
        };
        let demo = rendered(|demo| demo, EnvoyOptions::default());
        for wanted in [
            "per_connection_buffer_limit_bytes: 2097152",
            "initial_stream_window_size: 2097152",
            "request_timeout: 60s",
            "max_concurrent_streams: 64",
            "at most 128 MiB a connection",
            "accept_http_10: false",
            "action: REJECT_REQUEST",
            "regex: \".*\"",
            "max_heap_size_bytes: 1073741824",
            "port_value: 9901",
        ] {
            assert_eq!(demo.matches(wanted).count(), 1, "{wanted}");
        }
        assert!(!demo.contains("upgrade_configs"));
        let large = rendered(|demo| demo.replace("1048576", "33554432"), EnvoyOptions::default());
        assert!(large.contains("limit_bytes: 34603008") && large.contains("max_concurrent_streams: 8\n"));
        let passing = rendered(|demo| demo.replace("\"reject\"", "\"pass\""), EnvoyOptions::default());
        assert!(passing.contains("request_timeout: 0s"));
        let all = EnvoyOptions {
            admin: Admin::None,
            underscores: Underscores::Drop,
            http10: true,
            websocket: true,
            request_timeout: Some(7),
            ..EnvoyOptions::default()
        };
        let all = rendered(|demo| demo, all);
        for wanted in [
            "request_timeout: 7s",
            "accept_http_10: true",
            "DROP_HEADER\n",
            "upgrade_type: websocket",
            "[^wW].*",
        ] {
            assert_eq!(all.matches(wanted).count(), 1, "{wanted}");
        }
        assert!(!all.contains("\nadmin:"));
    }

    #[test]
    fn a_document_with_mistakes_is_refused() {
        let error = envoy("{}", &EnvoyOptions::default()).unwrap_err();
        assert!(error.to_string().contains("routes: wanted an array, got nothing"), "{error}");
    }
}
