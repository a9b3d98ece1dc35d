//! The clusters that reach authorities: issuers of tokens, and servers that are asked about tokens.

use std::fmt;
use std::str::FromStr;

use super::envoy::HostPort;

/// The certificates of authorities where Debian and Envoy's images have them.
const SYSTEM_CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// A cluster by the name that the document calls it by, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    /// The name: an `upstream` of the document.
    pub name: String,
    /// Where it is.
    pub address: HostPort,
    /// Whether TLS is spoken to it, with a certificate that has to be its own.
    pub tls: bool,
}

impl FromStr for Authority {
    type Err = String;

    /// Reads `NAME=https://HOST[:PORT]`, or `http://` for a server on a network that can be trusted.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wanted = || format!("wanted NAME=https://HOST[:PORT], got {text:?}");
        let (name, url) = text.split_once('=').ok_or_else(wanted)?;
        let (scheme, rest) = url.split_once("://").ok_or_else(wanted)?;
        let (tls, port) = match scheme {
            "https" => (true, 443),
            "http" => (false, 80),
            _ => return Err(wanted()),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let has_port =
            rest.rsplit_once(':').is_some_and(|(_, port)| !port.is_empty() && !port.ends_with(']'));
        let address = if has_port { rest.to_owned() } else { format!("{rest}:{port}") };
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        if name.is_empty() || !name.bytes().all(legal) {
            return Err(wanted());
        }
        Ok(Self { name: name.to_owned(), address: address.parse().map_err(|_| wanted())?, tls })
    }
}

impl Authority {
    /// The cluster, as an element of the list of clusters.
    pub(super) fn cluster(&self) -> String {
        let Self { name, address, .. } = self;
        let (host, port) = (address.host(), address.port);
        format!(
            "  # An authority that the filter asks (--authority {self}).
  - name: \"{name}\"
    type: STRICT_DNS
    connect_timeout: 2s
{}    load_assignment:
      cluster_name: \"{name}\"
      endpoints:
      - lb_endpoints:
        - endpoint:
            address:
              socket_address: {{ address: \"{host}\", port_value: {port} }}
",
            if self.tls { tls(host) } else { String::new() }
        )
    }
}

fn tls(host: &str) -> String {
    format!(
        "    transport_socket:
      name: envoy.transport_sockets.tls
      typed_config:
        \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
        sni: \"{host}\"
        common_tls_context:
          validation_context:
            trusted_ca: {{ filename: \"{SYSTEM_CERTIFICATES}\" }}
            match_typed_subject_alt_names:
            - {{ san_type: DNS, matcher: {{ exact: \"{host}\" }} }}
"
    )
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{}={scheme}://{}", self.name, self.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_is_read() {
        for (text, wanted) in [
            ("idp=https://idp.example", "idp=https://idp.example:443"),
            ("idp=https://idp.example/", "idp=https://idp.example:443"),
            ("idp=https://idp.example:8443", "idp=https://idp.example:8443"),
            ("idp=http://127.0.0.1:8080", "idp=http://127.0.0.1:8080"),
            ("idp=http://[::1]", "idp=http://[::1]:80"),
        ] {
            assert_eq!(text.parse::<Authority>().unwrap().to_string(), wanted);
        }
        for text in
            ["idp", "=https://a", "idp=a", "idp=ftp://a", "a b=https://a", "idp=https://", "idp=https://a\"b"]
        {
            assert!(text.parse::<Authority>().is_err(), "{text}");
        }
    }

    #[test]
    fn tls_names_and_checks_the_host() {
        let cluster = |text: &str| text.parse::<Authority>().unwrap().cluster();
        let tls = cluster("idp=https://idp.example");
        for wanted in
            ["sni: \"idp.example\"", "{ exact: \"idp.example\" }", "port_value: 443", SYSTEM_CERTIFICATES]
        {
            assert_eq!(tls.matches(wanted).count(), 1, "{wanted}");
        }
        assert!(!cluster("idp=http://127.0.0.1:8080").contains("transport_socket"));
    }
}
