//! What an OpenID provider says of itself (OpenID Connect Discovery 1.0, section 4).

use std::fmt;

use super::json::{Flaw, Object};

/// The most bytes of an address.
const MAX_ADDRESS_BYTES: usize = 2048;

/// Where the keys of an issuer are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discovery {
    /// The host of `jwks_uri`, with its port if it has one.
    pub authority: String,
    /// The path of `jwks_uri`, with its query if it has one.
    pub path: String,
}

/// Why a text does not say where the keys of the issuer are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiscoveryError {
    /// Not an object that every reader reads the same.
    Json(Flaw),
    /// `issuer` is missing or another one, which section 4.3 does not allow.
    WrongIssuer,
    /// `jwks_uri` is missing, or not an https address without user and fragment.
    Address,
}

impl Discovery {
    /// The path of the document, below the issuer's own path.
    pub const WELL_KNOWN: &'static str = "/.well-known/openid-configuration";

    /// Reads the document of an issuer. Its bytes are bounded by whoever fetched it.
    ///
    /// # Errors
    /// [`DiscoveryError`] where the document is another issuer's or has no address of keys.
    pub fn parse(json: &[u8], issuer: &str) -> Result<Self, DiscoveryError> {
        let document = Object::parse(json).map_err(DiscoveryError::Json)?;
        match document.read::<String>("issuer") {
            Ok(Some(claimed)) if claimed == issuer => {}
            _ => return Err(DiscoveryError::WrongIssuer),
        }
        let address: Option<String> = document.read("jwks_uri").ok().flatten();
        address.and_then(|address| Self::at(&address)).ok_or(DiscoveryError::Address)
    }

    /// The parts of an https address; `None` if it is none.
    pub fn at(address: &str) -> Option<Self> {
        split(address)
    }
}

fn split(address: &str) -> Option<Discovery> {
    let rest = address.strip_prefix("https://").filter(|_| address.len() <= MAX_ADDRESS_BYTES)?;
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let legal = |byte: u8| byte.is_ascii_graphic() && !br##""#<>\^`{|}"##.contains(&byte);
    let host = authority.split(':').next().unwrap_or_default();
    if !rest.bytes().all(legal) || authority.contains('@') || host.is_empty() {
        return None;
    }
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    Some(Discovery { authority: authority.to_owned(), path })
}

impl fmt::Display for DiscoveryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(flaw) => write!(f, "the discovery document is {flaw}"),
            Self::WrongIssuer => f.write_str("the discovery document is not the issuer's (issuer)"),
            Self::Address => {
                f.write_str("the discovery document has no https address of a key set (jwks_uri)")
            }
        }
    }
}

impl std::error::Error for DiscoveryError {}
