//! Where the bridge takes connections.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// The longest path that a Unix domain socket can have on Linux, in bytes: `sun_path` of unix(7) without the NUL.
const LONGEST_PATH: usize = 107;

/// A place at which connections are taken.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub enum Listen {
    /// An address and a port; port 0 leaves the choice to the operating system.
    Tcp(SocketAddr),
    /// The same, with TLS.
    Tls(SocketAddr),
    /// A Unix domain socket.
    Unix(PathBuf),
}

impl Listen {
    /// Whether only one listener can have this.
    pub(super) fn is_taken_by(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Unix(path), Self::Unix(other)) => path == other,
            (Self::Tcp(address) | Self::Tls(address), Self::Tcp(other) | Self::Tls(other)) => {
                address == other && address.port() != 0
            }
            _ => false,
        }
    }
}

impl FromStr for Listen {
    type Err = String;

    /// Reads `ADDRESS:PORT`, `tls:ADDRESS:PORT` or `unix:PATH`.
    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return match path.len() {
                0 => Err(format!("wanted unix:PATH, got {text:?}")),
                1..=LONGEST_PATH => Ok(Self::Unix(path.into())),
                length => {
                    Err(format!("wanted a path of at most {LONGEST_PATH} bytes, got {length}: {path:?}"))
                }
            };
        }
        let (address, make): (_, fn(SocketAddr) -> Self) = match text.strip_prefix("tls:") {
            Some(address) => (address, Self::Tls),
            None => (text, Self::Tcp),
        };
        address
            .parse()
            .map(make)
            .map_err(|_| format!("wanted ADDRESS:PORT, tls:ADDRESS:PORT or unix:PATH, got {text:?}"))
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Tls(address) => write!(f, "tls:{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
