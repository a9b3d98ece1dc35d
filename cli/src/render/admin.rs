//! Envoy's admin interface.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use super::bridge::is_plain;

/// Where Envoy's admin interface is. It can end Envoy, and it shows the configuration with the secrets in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admin {
    /// At this address, for whoever can reach it.
    Tcp(SocketAddr),
    /// In this file, a Unix domain socket, for Envoy's own user.
    Unix(String),
    /// There is none.
    None,
}

/// The longest path that a socket's address has room for on Linux, in bytes.
const MAX_PATH: usize = 107;

impl Admin {
    /// The section of the configuration, with its line ends.
    pub(super) fn section(&self) -> String {
        let address = match self {
            Self::None => return "\n# No admin interface. (--admin)\n".to_owned(),
            Self::Tcp(address) => {
                format!("socket_address: {{ address: \"{}\", port_value: {} }}", address.ip(), address.port())
            }
            Self::Unix(path) => format!("pipe: {{ path: \"{path}\", mode: 384 }}"),
        };
        let who = match self {
            Self::Unix(_) => "It is for Envoy's own user alone.",
            _ => {
                "Whoever can reach this address can read them: in production, use\n# --admin unix:PATH, which is for Envoy's own \
                 user, or --no-admin."
            }
        };
        format!(
            "\n# The admin interface can end Envoy, and /config_dump shows the document with its secrets (bridge.secret,\n# \
             redaction_key). {who}\nadmin:\n  ignore_global_conn_limit: true\n  address:\n    {address}\n"
        )
    }
}

impl Default for Admin {
    fn default() -> Self {
        Self::Tcp(SocketAddr::from(([127, 0, 0, 1], 9901)))
    }
}

impl From<SocketAddr> for Admin {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

impl FromStr for Admin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix("unix:") {
            Some(path) if path.starts_with('/') && path.len() <= MAX_PATH && is_plain(path) => {
                Ok(Self::Unix(path.to_owned()))
            }
            Some(_) => {
                Err(format!("wanted unix: and an absolute path of at most {MAX_PATH} bytes, got {text:?}"))
            }
            None => {
                text.parse().map(Self::Tcp).map_err(|_| format!("wanted IP:PORT or unix:PATH, got {text:?}"))
            }
        }
    }
}

impl fmt::Display for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{path}"),
            Self::None => f.write_str("none"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_where_it_is_said_to_be() {
        for text in ["127.0.0.1:9901", "[::1]:9901", "unix:/run/envoy/admin.sock"] {
            assert_eq!(text.parse::<Admin>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "9901",
            "localhost:9901",
            "unix:",
            "unix:x",
            "unix:/a\"b",
            &format!("unix:/{}", "x".repeat(107)),
        ] {
            assert!(text.parse::<Admin>().is_err(), "{text}");
        }
        let unix = Admin::Unix("/run/a.sock".to_owned()).section();
        assert!(unix.contains("pipe: { path: \"/run/a.sock\", mode: 384 }") && !unix.contains("--no-admin"));
        assert!(Admin::default().section().contains("--no-admin"));
        assert!(!Admin::None.section().contains("admin:"));
    }
}
