//! What the Envoy that `render` writes for makes of a request before the filter sees it.

use std::net::{IpAddr, Ipv4Addr};

use wicketgate_policy::envoy::{JOINED, MAX_FIELD_BYTES, MAX_FIELDS, METHODS, REPLACED, TAKEN_OUT};

use crate::message::Message;
use crate::render::Underscores;

/// The Envoy in front of the filter, as far as `render` lets it vary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envoy {
    /// What is done with header fields that have an underscore in their name.
    pub underscores: Underscores,
    /// Whether HTTP/1.0 is accepted.
    pub http10: bool,
    /// The address of the caller.
    pub client: IpAddr,
}

impl Default for Envoy {
    /// As `render` has it if nothing is said, and a caller from a network for documentation (RFC 5737).
    fn default() -> Self {
        let client = IpAddr::from(Ipv4Addr::new(192, 0, 2, 1));
        Self { underscores: Underscores::default(), http10: false, client }
    }
}

/// Why Envoy answers by itself, and with which status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The status.
    pub status: u16,
    /// Why, in words.
    pub because: &'static str,
}

const fn refuse(status: u16, because: &'static str) -> Result<(), Refused> {
    Err(Refused { status, because })
}

impl Envoy {
    /// Changes a request to what the filter sees. `request_id` is the one that Envoy gives it;
    /// `forwards_certificates` tells whether it hands on what the proxy in front says of certificates.
    ///
    /// # Errors
    /// [`Refused`], where the filter sees nothing of it.
    pub fn hand_over(
        &self,
        message: &mut Message,
        request_id: &str,
        forwards_certificates: bool,
    ) -> Result<(), Refused> {
        self.check(message)?;
        if !message.fields.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            // Envoy answers 400, but every client sends one: it was left out where the request was written down.
            message.fields.insert(0, ("host".to_owned(), b"localhost".to_vec()));
        }
        absolute_target(message);
        let mut named_by_connection: Vec<String> = Vec::new();
        for (name, value) in &mut message.fields {
            name.make_ascii_lowercase();
            if name == "connection" {
                let names = String::from_utf8_lossy(value).to_ascii_lowercase();
                named_by_connection.extend(names.split(',').map(|name| name.trim().to_owned()));
            }
        }
        let trailers = |value: &[u8]| value.eq_ignore_ascii_case(b"trailers");
        message.fields.retain(|(name, value)| {
            let dropped = name.contains('_') && self.underscores == Underscores::Drop;
            let handed_on = forwards_certificates && name == "x-forwarded-client-cert";
            let own = TAKEN_OUT.contains(&name.as_str()) || REPLACED.contains(&name.as_str());
            let own = own && !handed_on;
            let hop = if name == "te" { !trailers(value) } else { named_by_connection.contains(name) };
            !(dropped || own || hop)
        });
        join(&mut message.fields);
        let client = self.client.to_string();
        match message.fields.iter_mut().find(|(name, _)| name == "x-forwarded-for") {
            Some((_, addresses)) => addresses.extend(format!(",{client}").bytes()),
            None => message.fields.push(("x-forwarded-for".to_owned(), client.clone().into_bytes())),
        }
        for (name, value) in [
            ("x-forwarded-proto", "http"),
            ("x-envoy-external-address", &client),
            ("x-request-id", request_id),
        ] {
            message.fields.push((name.to_owned(), value.as_bytes().to_vec()));
        }
        Ok(())
    }

    fn check(&self, message: &Message) -> Result<(), Refused> {
        if !METHODS.contains(&message.method.as_str()) {
            return refuse(400, "it does not know the method");
        }
        if self.underscores == Underscores::Reject
            && message.fields.iter().any(|(name, _)| name.contains('_'))
        {
            return refuse(
                400,
                "a header has an underscore in its name; render with --underscores to take it",
            );
        }
        let lengths: Vec<_> =
            message.fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case("content-length")).collect();
        if lengths.len() > 1 || lengths.iter().any(|(_, value)| !value.iter().all(u8::is_ascii_digit)) {
            return refuse(400, "it cannot read content-length");
        }
        let bytes: usize = message.fields.iter().map(|(name, value)| name.len() + value.len()).sum();
        if message.fields.len() > MAX_FIELDS || bytes >= MAX_FIELD_BYTES {
            return refuse(431, "there are more than 100 header fields, or 60 KiB of them");
        }
        if message.http10 && !self.http10 {
            return refuse(426, "it is HTTP/1.0; render with --http10 to take it");
        }
        Ok(())
    }
}

/// A target with a host in it, as for a proxy, is taken apart.
fn absolute_target(message: &mut Message) {
    let Some(rest) = message.target.strip_prefix("http://") else { return };
    let (host, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    let host = ("host".to_owned(), host.as_bytes().to_vec());
    message.fields.retain(|(name, _)| !name.eq_ignore_ascii_case("host"));
    message.fields.push(host);
    message.target = path;
}

/// Joins what is repeated of the headers that Envoy joins.
fn join(fields: &mut Vec<(String, Vec<u8>)>) {
    let mut joined: Vec<(String, Vec<u8>)> = Vec::with_capacity(fields.len());
    for (name, value) in fields.drain(..) {
        let earlier =
            joined.iter_mut().find(|(earlier, _)| *earlier == name && JOINED.contains(&name.as_str()));
        match earlier {
            Some((_, earlier)) if earlier.is_empty() => *earlier = value,
            Some((_, earlier)) => {
                earlier.push(b',');
                earlier.extend(value);
            }
            None => joined.push((name, value)),
        }
    }
    *fields = joined;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the filter sees of a request with these lines, or the status of Envoy's own answer.
    fn handed_over(envoy: &Envoy, lines: &str) -> Result<Vec<String>, u16> {
        let mut message = Message::parse(format!("{lines}\n\n").as_bytes()).unwrap();
        envoy.hand_over(&mut message, "id", false).map_err(|refused| refused.status)?;
        let mut fields: Vec<String> = message
            .fields
            .iter()
            .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value)))
            .filter(|field| {
                !field.starts_with("x-envoy-ext")
                    && field != "x-forwarded-proto: http"
                    && field != "x-request-id: id"
            })
            .collect();
        fields.insert(0, message.target);
        Ok(fields)
    }

    #[test]
    fn heads_are_changed_as_envoy_changes_them() {
        let envoy = Envoy::default();
        for (lines, wanted) in [
            (
                "GET / HTTP/1.1\nHost: h\nUser-Agent: a\nX-A: 1\nUSER-AGENT: b\nX-A: 2",
                &["/", "host: h", "user-agent: a,b", "x-a: 1", "x-a: 2", "x-forwarded-for: 192.0.2.1"][..],
            ),
            (
                "GET / HTTP/1.1\nHost: h\nX-Forwarded-For: 9.9.9.9\nX-Forwarded-For: 8.8.8.8\nX-Forwarded-Proto: https\nX-Request-Id: mine",
                &["/", "host: h", "x-forwarded-for: 9.9.9.9,8.8.8.8,192.0.2.1"],
            ),
            (
                "GET / HTTP/1.1\nHost: h\nConnection: close, X-Gone\nX-Gone: 1\nTE: gzip\nUpgrade: h2c\nKeep-Alive: 1",
                &["/", "host: h", "x-forwarded-for: 192.0.2.1"],
            ),
            (
                "GET / HTTP/1.1\nHost: h\nTE: trailers\nAccept:\nAccept: x",
                &["/", "host: h", "te: trailers", "accept: x", "x-forwarded-for: 192.0.2.1"],
            ),
            ("GET http://x/y?z HTTP/1.1\nHost: h", &["/y?z", "host: x", "x-forwarded-for: 192.0.2.1"]),
            ("GET / HTTP/1.1", &["/", "host: localhost", "x-forwarded-for: 192.0.2.1"]),
            ("GET / HTTP/1.1\nHost: h\nHost: i", &["/", "host: h,i", "x-forwarded-for: 192.0.2.1"]),
        ] {
            assert_eq!(handed_over(&envoy, lines).unwrap(), wanted, "{lines}");
        }
    }

    #[test]
    fn what_envoy_answers_itself_is_not_handed_over() {
        let many = "\nX: a".repeat(100);
        let large = format!("\nX: {}", "a".repeat(61_440));
        for (lines, status) in [
            ("GET / HTTP/1.0\nHost: h", 426),
            ("QUERY / HTTP/1.1\nHost: h", 400),
            ("GET / HTTP/1.1\nHost: h\nx_y: 1", 400),
            ("GET / HTTP/1.1\nHost: h\nContent-Length: 0\nContent-Length: 0", 400),
            (&format!("GET / HTTP/1.1\nHost: h{many}"), 431),
            (&format!("GET / HTTP/1.1\nHost: h{large}"), 431),
        ] {
            assert_eq!(handed_over(&Envoy::default(), lines), Err(status), "{lines:.60}");
        }
        let lax = |underscores| Envoy { underscores, http10: true, ..Envoy::default() };
        let request = "GET / HTTP/1.0\nHost: h\nx_y: 1";
        assert_eq!(handed_over(&lax(Underscores::Allow), request).unwrap().len(), 4);
        assert_eq!(handed_over(&lax(Underscores::Drop), request).unwrap().len(), 3);
    }
}
