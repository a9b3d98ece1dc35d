//! Who a client certificate names, as the proxy that has verified it tells.

use std::fmt;

/// What is known of a verified client certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// URIs among the subject's alternative names.
    pub uris: Vec<String>,
    /// DNS names among them.
    pub dns: Vec<String>,
    /// The subject (RFC 2253), such as `CN=client,O=Example`.
    pub subject: Option<String>,
    /// The SHA-256 of the certificate in DER.
    pub fingerprint: Option<Fingerprint>,
}

/// The SHA-256 of a certificate in DER. It is no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Reads 64 hexadecimal digits, with or without colons between the bytes, as OpenSSL prints them.
    pub fn from_hex(text: &str) -> Option<Self> {
        let digits: Vec<u8> = if text.len() == 95 {
            let colons = text.bytes().skip(2).step_by(3);
            if !colons.clone().all(|byte| byte == b':') {
                return None;
            }
            text.bytes().enumerate().filter(|(index, _)| index % 3 != 2).map(|(_, byte)| byte).collect()
        } else {
            text.bytes().collect()
        };
        let mut bytes = [0; 32];
        if digits.len() != 64 {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let [high, low] = pair else { return None };
            let nibble =
                |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
            *byte = (nibble(*high)? << 4) | nibble(*low)?;
        }
        Some(Self(bytes))
    }
}

/// Why a proxy's word on a certificate can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not in the form that Envoy gives it")
    }
}

/// The attributes of Envoy that are read. It tells the first URI and the first DNS name only.
const MTLS: [&str; 2] = ["connection", "mtls"];
const URI: [&str; 2] = ["connection", "uri_san_peer_certificate"];
const DNS: [&str; 2] = ["connection", "dns_san_peer_certificate"];
const SUBJECT: [&str; 2] = ["connection", "subject_peer_certificate"];
const SHA256: [&str; 2] = ["connection", "sha256_peer_certificate_digest"];

/// The most hops that a header is read for, and the most names of a certificate.
const MAX_HOPS: usize = 16;
const MAX_NAMES: usize = 64;

impl Identity {
    /// What the connection's attributes say; `None` if the client has shown no certificate.
    ///
    /// # Errors
    /// [`Malformed`] when an attribute is not what it should be.
    pub fn of_connection(property: &dyn Fn(&[&str]) -> Option<Vec<u8>>) -> Result<Option<Self>, Malformed> {
        // Nothing but this says that there was a certificate: the others are not there, or empty, without one.
        match property(&MTLS).as_deref() {
            Some([1]) => {}
            Some([0]) | None => return Ok(None),
            Some(_) => return Err(Malformed),
        }
        let text = |path: &[&str]| match property(path) {
            Some(bytes) if !bytes.is_empty() => String::from_utf8(bytes).map(Some).map_err(|_| Malformed),
            _ => Ok(None),
        };
        let fingerprint = text(&SHA256)?;
        let fingerprint = fingerprint.map(|hex| Fingerprint::from_hex(&hex).ok_or(Malformed)).transpose()?;
        let subject = text(&SUBJECT)?;
        Ok(Some(Self {
            uris: text(&URI)?.into_iter().collect(),
            dns: text(&DNS)?.into_iter().collect(),
            subject,
            fingerprint,
        }))
    }

    /// What `x-forwarded-client-cert` says of the certificate that the proxy right before this one has verified, which
    /// is the last of the hops: a proxy appends its own. Those before it are what others have told that proxy.
    ///
    /// # Errors
    /// [`Malformed`] for anything that Envoy would not write, anywhere in the header.
    pub fn of_last_hop(value: &[u8]) -> Result<Self, Malformed> {
        let text = std::str::from_utf8(value).map_err(|_| Malformed)?;
        let mut parser = Parser { rest: text };
        for _ in 0..MAX_HOPS {
            let identity = parser.hop()?;
            match parser.next() {
                None => return Ok(identity),
                Some(',') => {}
                Some(_) => return Err(Malformed),
            }
        }
        Err(Malformed)
    }
}

/// Reads the header: hops with commas between them, each `Key=Value` with semicolons between them, values in double
/// quotes where they have a comma, a semicolon or an equals sign, and a backslash before quotes within.
struct Parser<'t> {
    rest: &'t str,
}

impl Parser<'_> {
    fn next(&mut self) -> Option<char> {
        let mut characters = self.rest.chars();
        let next = characters.next()?;
        self.rest = characters.as_str();
        Some(next)
    }

    /// Reads a hop, up to a comma or the end.
    fn hop(&mut self) -> Result<Identity, Malformed> {
        let mut identity = Identity::default();
        loop {
            let (key, after) = self.rest.split_once('=').ok_or(Malformed)?;
            self.rest = after;
            let key = key.to_ascii_lowercase();
            let value = self.value()?;
            identity.take(&key, value)?;
            match self.rest.chars().next() {
                Some(';') => drop(self.next()),
                Some(',') | None => return Ok(identity),
                Some(_) => return Err(Malformed),
            }
        }
    }

    fn value(&mut self) -> Result<String, Malformed> {
        let Some(quoted) = self.rest.strip_prefix('"') else {
            let end = self.rest.find([',', ';']).unwrap_or(self.rest.len());
            let (value, rest) = self.rest.split_at(end);
            self.rest = rest;
            // Envoy quotes these, so whatever this is, others may read it another way.
            let ambiguous = value.contains(['"', '=', '\\']) || value.chars().any(char::is_control);
            return if ambiguous { Err(Malformed) } else { Ok(value.to_owned()) };
        };
        self.rest = quoted;
        let mut value = String::new();
        loop {
            match self.next().ok_or(Malformed)? {
                '"' => return Ok(value),
                '\\' => match self.next() {
                    Some(escaped @ ('"' | '\\')) => value.push(escaped),
                    // A backslash of RFC 2253 (`O=A\, Inc.`) stands for itself.
                    Some(other) if !other.is_control() => value.extend(['\\', other]),
                    _ => return Err(Malformed),
                },
                control if control.is_control() => return Err(Malformed),
                character => value.push(character),
            }
        }
    }
}

impl Identity {
    fn take(&mut self, key: &str, value: String) -> Result<(), Malformed> {
        let once = |first: bool| if first { Ok(()) } else { Err(Malformed) };
        match key {
            "uri" | "dns" if value.is_empty() => Ok(()),
            "uri" if self.uris.len() < MAX_NAMES => {
                self.uris.push(value);
                Ok(())
            }
            "dns" if self.dns.len() < MAX_NAMES => {
                self.dns.push(value);
                Ok(())
            }
            "subject" => once(self.subject.replace(value).is_none()),
            "hash" => {
                let fingerprint = Fingerprint::from_hex(&value).ok_or(Malformed)?;
                once(self.fingerprint.replace(fingerprint).is_none())
            }
            // What the proxy's own certificate says, and the certificates themselves.
            "by" | "cert" | "chain" => Ok(()),
            _ => Err(Malformed),
        }
    }
}

/// URIs of one SPIFFE trust domain below a path: `spiffe://example.org/partners/*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UriPattern {
    /// With the slash before the star.
    prefix: String,
}

impl UriPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// What was wanted, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wanted = || "spiffe://, a trust domain, and a path that ends in /*".to_owned();
        let prefix = text.strip_suffix('*').filter(|prefix| prefix.ends_with('/')).ok_or_else(wanted)?;
        let (domain, path) =
            prefix.strip_prefix("spiffe://").and_then(|rest| rest.split_once('/')).ok_or_else(wanted)?;
        let legal_domain = !domain.is_empty()
            && domain.bytes().all(|byte| {
                byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.' | b'_')
            });
        let legal_path = path.is_empty() || path.strip_suffix('/').is_some_and(is_spiffe_path);
        if legal_domain && legal_path { Ok(Self { prefix: prefix.to_owned() }) } else { Err(wanted()) }
    }

    /// Whether there can be a URI that is of both.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.prefix.starts_with(&other.prefix) || other.prefix.starts_with(&self.prefix)
    }

    /// Whether the URI is one of them: the star stands for one segment or more.
    pub fn matches(&self, uri: &str) -> bool {
        uri.strip_prefix(&self.prefix).is_some_and(is_spiffe_path)
    }
}

/// Segments as the SPIFFE ID specification, section 2.2, has them: none is empty, `.` or `..`, and nothing is encoded.
fn is_spiffe_path(path: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    path.split('/').all(|segment| !matches!(segment, "" | "." | "..") && segment.bytes().all(legal))
}

#[cfg(test)]
mod tests;
