//! The head of a request, copied once from the host and kept as bytes.

use std::borrow::Cow;
use std::fmt;

use crate::host::{self, HostError};

/// More header fields than any gateway lets through by default; a host that hands over more is not believed.
pub const MAX_FIELDS: usize = 1024;

/// Request line and header fields. Field names are lower-case, values are bytes, repeated fields are kept apart
/// and in order.
#[derive(Clone, Debug, Default)]
pub struct RequestHead {
    method: Vec<u8>,
    path: Vec<u8>,
    authority: Option<Vec<u8>>,
    client_address: Option<String>,
    fields: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A field that may occur once occurred more often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeated;

impl RequestHead {
    /// Takes a field or pseudo-header field (`:method`, `:path`, `:authority`) from the host. Other
    /// pseudo-header fields are of no use here and are dropped.
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        match name {
            b":method" => self.method = value.to_vec(),
            b":path" => self.path = value.to_vec(),
            b":authority" => self.authority = Some(value.to_vec()),
            _ if name.starts_with(b":") => {}
            _ => self.fields.push((name.to_ascii_lowercase(), value.to_vec())),
        }
    }

    /// Sets the IP address of the client, without a port.
    pub fn set_client_address(&mut self, address: String) {
        self.client_address = Some(address);
    }

    /// The method, such as `POST`.
    pub fn method(&self) -> &[u8] {
        &self.method
    }

    /// The request target as the client sent it, with its query.
    pub fn target(&self) -> &[u8] {
        &self.path
    }

    /// The host that the request is for, from `:authority` or else `Host`: a name without a final dot, or an address;
    /// without a port; in whatever case it came. `None` if the request names none.
    ///
    /// # Errors
    /// [`HostError`] when what is there is no host, or is not one host.
    pub fn host(&self) -> Result<Option<&str>, HostError> {
        let field = self.single("host").map_err(|Repeated| HostError::Repeated)?;
        let field = field.map(host::parse).transpose()?;
        let authority = self.authority.as_deref().map(host::parse).transpose()?;
        match (authority, field) {
            (Some(one), Some(other)) => {
                let same = one.unwrap_or_default().eq_ignore_ascii_case(other.unwrap_or_default());
                if same { Ok(one) } else { Err(HostError::Contradiction) }
            }
            (one, other) => Ok(one.or(other).flatten()),
        }
    }

    /// The IP address of the client as the proxy knows it.
    pub fn client_address(&self) -> Option<&str> {
        self.client_address.as_deref()
    }

    /// How many header fields there are.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Whether there is no header field.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// All header fields, in order: lower-case names, and values.
    pub fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.fields.iter().map(|(name, value)| (name.as_slice(), value.as_slice()))
    }

    /// The same head with each field's value as `map` has it, or without the field.
    pub(crate) fn map_fields<'a>(
        &'a self,
        map: impl Fn(&'a [u8], &'a [u8]) -> Option<Cow<'a, [u8]>>,
    ) -> Self {
        let field =
            |(name, value): &'a (Vec<u8>, Vec<u8>)| Some((name.clone(), map(name, value)?.into_owned()));
        Self {
            method: self.method.clone(),
            path: self.path.clone(),
            authority: self.authority.clone(),
            client_address: self.client_address.clone(),
            fields: self.fields.iter().filter_map(field).collect(),
        }
    }

    /// All values of a field, in order. `name` is lower-case.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.fields
            .iter()
            .filter(move |(field, _)| field == name.as_bytes())
            .map(|(_, value)| value.as_slice())
    }

    /// The value of a field that may occur once. `name` is lower-case.
    ///
    /// # Errors
    /// [`Repeated`] when it occurs more often: proxies and services disagree about which one counts, and that
    /// disagreement is a way around a check.
    pub fn single<'a>(&'a self, name: &'a str) -> Result<Option<&'a [u8]>, Repeated> {
        let mut values = self.all(name);
        let first = values.next();
        if values.next().is_some() { Err(Repeated) } else { Ok(first) }
    }
}

/// Whether a header field can have this name (RFC 9110, section 5.1: a token).
pub fn is_field_name(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

impl fmt::Display for Repeated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("wanted at most once, got it repeated")
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn names_are_lowered_values_are_bytes_and_repetition_shows() {
        let mut head = RequestHead::default();
        head.push(b":method", b"POST");
        head.push(b":path", b"/a?b");
        head.push(b":authority", b"x");
        head.push(b"X-One", b"\xff");
        head.push(b"x-two", b"a");
        head.push(b"X-TWO", b"b");
        assert_eq!((head.method(), head.target(), head.len()), (&b"POST"[..], &b"/a?b"[..], 3));
        assert_eq!(head.single("x-one"), Ok(Some(&b"\xff"[..])));
        assert_eq!(head.single("x-two"), Err(Repeated));
        assert_eq!(head.single("x-three"), Ok(None));
        assert_eq!(head.all("x-two").collect::<Vec<_>>(), [b"a", b"b"]);
    }

    #[test]
    fn the_host_is_one() {
        let host = |fields: &[(&str, &str)]| {
            let mut head = RequestHead::default();
            fields.iter().for_each(|(name, value)| head.push(name.as_bytes(), value.as_bytes()));
            head.host().map(|host| host.map(str::to_owned))
        };
        for (fields, wanted) in [
            (&[][..], Ok(None)),
            (&[("host", "")], Ok(None)),
            (&[(":authority", "A.b:1")], Ok(Some("A.b"))),
            (&[("Host", "a.b")], Ok(Some("a.b"))),
            (&[(":authority", "a.b:1"), ("host", "A.B.")], Ok(Some("a.b"))),
            (&[(":authority", "a"), ("host", "b")], Err(HostError::Contradiction)),
            (&[(":authority", "a"), ("host", "")], Err(HostError::Contradiction)),
            (&[("host", "a"), ("host", "a")], Err(HostError::Repeated)),
            (&[("host", "a,b")], Err(HostError::Illegal)),
            (&[(":authority", "a"), ("host", "a/b")], Err(HostError::Illegal)),
        ] {
            assert_eq!(host(fields), wanted.map(|host| host.map(str::to_owned)), "{fields:?}");
        }
    }

    #[test]
    fn names_of_fields_are_tokens() {
        assert!(["a", "X-One", "x_1.~"].into_iter().all(is_field_name));
        assert!(!["", ":path", "a b", "a:", "ü", "a,b", "a\n"].into_iter().any(is_field_name));
    }
}
