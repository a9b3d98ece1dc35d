//! Who is calling.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::rc::Rc;

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::claims::Claims;
use crate::head::RequestHead;

/// The SHA-256 of an API key. Compared in constant time.
#[derive(Clone, Copy)]
pub struct KeyDigest([u8; 32]);

impl KeyDigest {
    /// The digest of a key.
    pub fn of(key: &[u8]) -> Self {
        Self(Sha256::digest(key).into())
    }

    /// Reads 64 hexadecimal digits.
    pub fn from_hex(hex: &str) -> Option<Self> {
        let mut digest = [0; 32];
        if hex.len() != 64 || !hex.is_ascii() {
            return None;
        }
        for (byte, pair) in digest.iter_mut().zip(hex.as_bytes().chunks(2)) {
            let [high, low] = pair else { return None };
            let nibble = |digit: u8| (digit as char).to_digit(16).and_then(|value| u8::try_from(value).ok());
            *byte = (nibble(*high)? << 4) | nibble(*low)?;
        }
        Some(Self(digest))
    }
}

impl std::fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyDigest(not shown)")
    }
}

impl PartialEq for KeyDigest {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for KeyDigest {}

impl Hash for KeyDigest {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

/// API keys and whose they are. The map is keyed by a hash with a secret of its own (the standard library's, random
/// per process), and digests that meet in it are compared in constant time: the time of a look-up says nothing about
/// the digests of real keys.
#[derive(Debug, Default)]
pub struct ApiKeys {
    consumers: HashMap<KeyDigest, Rc<Consumer>>,
}

impl ApiKeys {
    /// Adds a key. Says whose it is already, if it is somebody's.
    pub(crate) fn insert(&mut self, digest: KeyDigest, consumer: Rc<Consumer>) -> Option<Rc<Consumer>> {
        self.consumers.insert(digest, consumer)
    }

    fn consumer(&self, key: &[u8]) -> Option<Rc<Consumer>> {
        self.consumers.get(&KeyDigest::of(key)).cloned()
    }
}

/// Somebody who may call, and what is known of them.
#[derive(Debug, PartialEq, Eq)]
pub struct Consumer {
    /// The name.
    pub name: String,
    /// What the document says of them, if it says anything.
    pub claims: Option<Claims>,
}

/// One way to authenticate, as a route tries it.
#[derive(Clone, Debug)]
pub enum Method {
    /// A key in a header.
    ApiKey {
        /// The header, in lower case.
        header: String,
        /// The keys.
        keys: Rc<ApiKeys>,
    },
    /// Nothing asked.
    Anonymous,
}

/// Who is calling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// A consumer, known by an API key.
    ApiKey(Rc<Consumer>),
    /// Nobody in particular, where the route allows it.
    Anonymous,
}

impl Principal {
    /// The `authtype` attribute (CloudEvents extensions, Auth Context).
    pub fn auth_type(&self) -> &'static str {
        match self {
            Self::ApiKey(_) => "api_key",
            Self::Anonymous => "unauthenticated",
        }
    }

    /// The `authid` attribute.
    pub fn auth_id(&self) -> Option<&str> {
        match self {
            Self::ApiKey(consumer) => Some(&consumer.name),
            Self::Anonymous => None,
        }
    }

    /// What was verified of the caller beside the name.
    pub fn claims(&self) -> Option<&Claims> {
        match self {
            Self::ApiKey(consumer) => consumer.claims.as_ref(),
            Self::Anonymous => None,
        }
    }
}

/// Why nobody was recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthError {
    /// No credential, or a wrong one; which of the two is not said.
    Unauthenticated,
    /// A credential came more than once, in this header.
    RepeatedCredential(String),
}

/// Tries the methods in order. The first credential that is there decides.
///
/// # Errors
/// [`AuthError`] when no method recognises the caller.
pub fn authenticate(methods: &[Method], head: &RequestHead) -> Result<Principal, AuthError> {
    for method in methods {
        match method {
            Method::ApiKey { header, keys } => match head.single(header) {
                Err(_) => return Err(AuthError::RepeatedCredential(header.clone())),
                Ok(None) => {}
                Ok(Some(key)) => {
                    return keys.consumer(key).map(Principal::ApiKey).ok_or(AuthError::Unauthenticated);
                }
            },
            Method::Anonymous => return Ok(Principal::Anonymous),
        }
    }
    Err(AuthError::Unauthenticated)
}

/// The headers, in lower case, in which these methods look for credentials.
pub(crate) fn credential_headers<'m>(methods: impl IntoIterator<Item = &'m Method>) -> Vec<String> {
    let header = |method: &Method| match method {
        Method::ApiKey { header, .. } => Some(header.clone()),
        Method::Anonymous => None,
    };
    methods.into_iter().filter_map(header).collect()
}

/// The value of `WWW-Authenticate` for these methods. The `ApiKey` scheme is not registered; it tells a reader what is
/// asked for (RFC 9110, section 11.6.1, wants at least one challenge).
pub fn challenge(methods: &[Method]) -> String {
    let mut challenges: Vec<String> = Vec::new();
    for method in methods {
        if let Method::ApiKey { header, .. } = method {
            challenges.push(format!("ApiKey realm=\"wicketgate\", header=\"{header}\""));
        }
    }
    challenges.join(", ")
}

#[cfg(test)]
mod tests {
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn alice() -> Rc<Consumer> {
        Rc::new(Consumer { name: "alice".to_owned(), claims: None })
    }

    fn methods(anonymous: bool) -> Vec<Method> {
        let mut keys = ApiKeys::default();
        keys.insert(KeyDigest::of(b"secret"), alice());
        let mut methods = vec![Method::ApiKey { header: "x-api-key".to_owned(), keys: Rc::new(keys) }];
        if anonymous {
            methods.push(Method::Anonymous);
        }
        methods
    }

    fn head(keys: &[&[u8]]) -> RequestHead {
        let mut head = RequestHead::default();
        for key in keys {
            head.push(b"X-Api-Key", key);
        }
        head
    }

    #[test]
    fn the_right_key_names_its_consumer() {
        assert_eq!(authenticate(&methods(false), &head(&[b"secret"])), Ok(Principal::ApiKey(alice())));
    }

    #[test]
    fn anything_else_is_nobody() {
        for keys in [&[][..], &[&b""[..]], &[b"Secret"], &[b"secret "], &[b"\xff"]] {
            assert_eq!(
                authenticate(&methods(false), &head(keys)),
                Err(AuthError::Unauthenticated),
                "{keys:?}"
            );
        }
    }

    #[test]
    fn a_repeated_credential_is_refused_even_if_right() {
        let error = Err(AuthError::RepeatedCredential("x-api-key".to_owned()));
        assert_eq!(authenticate(&methods(true), &head(&[b"secret", b"secret"])), error);
    }

    #[test]
    fn anonymous_is_for_those_without_a_credential_not_for_those_with_a_wrong_one() {
        assert_eq!(authenticate(&methods(true), &head(&[])), Ok(Principal::Anonymous));
        assert_eq!(authenticate(&methods(true), &head(&[b"wrong"])), Err(AuthError::Unauthenticated));
    }

    #[test]
    fn digests_are_read_from_hex() {
        let hex = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
        assert_eq!(KeyDigest::from_hex(hex), Some(KeyDigest::of(b"secret")));
        assert_eq!(KeyDigest::from_hex(&hex.to_uppercase()), Some(KeyDigest::of(b"secret")));
        for wrong in ["", "2b", &hex[1..], &format!("{hex}00"), &hex.replace('2', "g"), &"é".repeat(32)] {
            assert_eq!(KeyDigest::from_hex(wrong), None, "{wrong}");
        }
    }
}
