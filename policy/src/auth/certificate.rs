//! Client certificates: [`crate::certificate`] reads what the proxy says of them, this file says whose they are.

use std::collections::HashMap;
use std::rc::Rc;

use super::{Checked, Consumer, Place, Principal, REALM, Rejected, Request};
use crate::certificate::{Fingerprint, Identity, UriPattern};
use crate::env::Env;

/// The header in which a proxy tells of a certificate that it has verified.
pub(crate) const FORWARDED: &str = "x-forwarded-client-cert";

/// Whose certificates are whose.
#[derive(Debug, Default)]
pub(crate) struct Certificates {
    pub(crate) uris: HashMap<String, Rc<Consumer>>,
    pub(crate) patterns: Vec<(UriPattern, Rc<Consumer>)>,
    pub(crate) dns: HashMap<String, Rc<Consumer>>,
    pub(crate) subjects: HashMap<String, Rc<Consumer>>,
    pub(crate) fingerprints: HashMap<Fingerprint, Rc<Consumer>>,
}

impl Certificates {
    /// All consumers that the document gives this certificate to. A name that is given to one as it is counts before
    /// the patterns that cover it.
    fn owners<'c>(&'c self, identity: &'c Identity) -> impl Iterator<Item = &'c Rc<Consumer>> {
        let uris = identity.uris.iter().flat_map(|uri| {
            let exact = self.uris.get(uri);
            let patterns =
                self.patterns.iter().filter(move |(pattern, _)| exact.is_none() && pattern.matches(uri));
            exact.into_iter().chain(patterns.map(|(_, consumer)| consumer))
        });
        // Names of hosts have no case.
        let dns = identity.dns.iter().filter_map(|name| self.dns.get(&name.to_ascii_lowercase()));
        let subject = identity.subject.iter().filter_map(|subject| self.subjects.get(subject));
        let fingerprint = identity.fingerprint.iter().filter_map(|sha256| self.fingerprints.get(sha256));
        uris.chain(dns).chain(subject).chain(fingerprint)
    }
}

/// Where a verified certificate is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// By this proxy, of the connection.
    Connection,
    /// By the proxy before this one, in [`FORWARDED`].
    Forwarded,
}

/// A client certificate that a proxy has verified.
#[derive(Clone, Debug)]
pub struct Mtls {
    pub(crate) certificates: Rc<Certificates>,
    pub(crate) source: Source,
}

impl Mtls {
    pub(super) fn check(&self, name: &Rc<str>, request: &Request<'_>, env: &dyn Env) -> Checked {
        let identity = match self.source {
            Source::Connection => Identity::of_connection(&|path| env.property(path)),
            Source::Forwarded => match Place::Header(FORWARDED.to_owned()).read(request.head) {
                Ok(value) => value.map(|value| Identity::of_last_hop(&value)).transpose(),
                Err(repeated) => return Checked::Rejected(repeated),
            },
        };
        let identity = match identity {
            Ok(Some(identity)) => identity,
            Ok(None) => return Checked::Absent,
            Err(_) => {
                return Checked::Rejected(Rejected::Invalid(
                    "what the proxy says of the certificate is malformed",
                ));
            }
        };
        let mut owners = self.certificates.owners(&identity);
        let Some(consumer) = owners.next() else {
            return Checked::Rejected(Rejected::Invalid("the certificate is no consumer's"));
        };
        if owners.any(|other| other.name != consumer.name) {
            return Checked::Rejected(Rejected::Invalid("the certificate is that of two consumers"));
        }
        Checked::Known(Principal::consumer(Rc::clone(name), "service_account", Rc::clone(consumer)))
    }

    /// Whether the proxy in front of this one is who tells of the certificate.
    pub(crate) fn is_forwarded(&self) -> bool {
        self.source == Source::Forwarded
    }

    /// The header that must not get to anybody else, who might believe it.
    pub(super) fn place(&self) -> Option<Place> {
        (self.source == Source::Forwarded).then(|| Place::Header(FORWARDED.to_owned()))
    }

    /// The scheme is not registered; it tells a reader what is asked for.
    pub(super) fn challenge() -> String {
        format!("ClientCertificate realm=\"{REALM}\"")
    }
}

#[cfg(test)]
mod tests;
