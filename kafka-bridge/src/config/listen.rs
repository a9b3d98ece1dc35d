//! Where the bridge takes connections.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// The longest path that a Unix domain socket can have on Linux, in bytes: `sun_path` of unix(7) without the NUL.
const LONGEST_PATH: usize = 107;

/// A place at which connections are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// An address and a port; port 0 leaves the choice to the operating system.
    Tcp(SocketAddr),
    /// A Unix domain socket.
    Unix(PathBuf),
}

impl Listen {
    /// Whether only one listener can have this.
    pub(super) fn is_taken_by(&self, other: &Self) -> bool {
        self == other && !matches!(self, Self::Tcp(address) if address.port() == 0)
    }
}

impl FromStr for Listen {
    type Err = String;

    /// Reads `ADDRESS:PORT` or `unix:PATH`.
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
        text.parse().map(Self::Tcp).map_err(|_| format!("wanted ADDRESS:PORT or unix:PATH, got {text:?}"))
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
