//! Who is calling: ways to authenticate, one file each, and how a route combines them.
//!
//! A method says of a request whether it carries a credential of its kind and whose it is ([`Checked`]). It owns no I/O:
//! where an authority has to be asked, or where the body is signed, it says so, and is asked again with what came. A
//! [`Requirement`] combines methods; the first credential that is present decides, and a wrong one is never passed over
//! for a weaker one.

pub mod api_key;
mod authorization;
mod basic;
mod bearer;
mod cache;
mod certificate;
mod credentials;
mod envoy_jwt;
mod introspection;
mod jwt;
mod key_sets;
mod memory;
mod principal;
mod webhook;

use std::rc::Rc;

use self::api_key::ApiKey;
pub use self::authorization::{Authorization, ClaimRule, ClaimTest, Forbidden, RequestRule};
pub use self::basic::Basic;
pub(crate) use self::basic::{MAX_PASSWORDS, Users};
pub(crate) use self::bearer::Bearer;
pub use self::certificate::Mtls;
pub(crate) use self::certificate::{Certificates, Source as CertificateSource};
pub(crate) use self::credentials::Place;
pub use self::credentials::{CredentialPlaces, HeadChanges};
pub use self::envoy_jwt::EnvoyJwt;
pub use self::introspection::Introspection;
pub(crate) use self::introspection::Server as IntrospectionServer;
pub use self::jwt::Jwt;
pub(crate) use self::jwt::{KeySource, TokenIdentity};
pub(crate) use self::key_sets::{Location, Source};
pub use self::memory::{Errands, Memory};
pub use self::principal::{Consumer, Principal};
pub use self::webhook::Webhook;
use crate::env::Env;
use crate::fetch::Fetch;
use crate::head::RequestHead;

/// The realm of every challenge (RFC 9110, section 11.5).
pub(crate) const REALM: &str = "wicketgate";

/// What a method looks at.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The head, as it came.
    pub head: &'a RequestHead,
    /// The whole body as it was sent, still encoded; `None` as long as it has not been read.
    pub body: Option<&'a [u8]>,
}

/// What a method says of a request.
#[derive(Debug)]
pub enum Checked {
    /// The credential is right.
    Known(Principal),
    /// The request carries no credential of this kind.
    Absent,
    /// The request carries a credential that will not do.
    Rejected(Rejected),
    /// The request carries, in this method's place, a credential of another authority. A further method that looks in the
    /// same place may know it; nothing else lets the request in.
    Foreign(Rejected),
    /// An authority has to be asked; the method is to be asked again once it has answered.
    Fetch(Box<Fetch>),
    /// The body is part of the credential; the method is to be asked again with it.
    Body,
    /// The credential is right, and the request is nothing but a question, which this text answers.
    Challenge(String),
}

/// Why a credential will not do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejected {
    /// It came more than once; the text says where, such as `header x-api-key`.
    Repeated(String),
    /// It is not valid. The reason is for operators (`explain`, metrics); callers are not told it.
    Invalid(&'static str),
    /// It cannot be checked now, because an authority does not answer.
    Unavailable,
}

/// One way to authenticate.
#[derive(Clone, Debug)]
pub enum Method {
    /// A key that the consumer was given.
    ApiKey(ApiKey),
    /// A user name and a password.
    Basic(Basic),
    /// A client certificate.
    Mtls(Mtls),
    /// A signature over the body.
    Webhook(Rc<Webhook>),
    /// A token that its issuer has signed.
    Jwt(Rc<Jwt>),
    /// A token that Envoy has verified.
    EnvoyJwt(Rc<EnvoyJwt>),
    /// A token that an authorisation server is asked about.
    Introspection(Rc<Introspection>),
    /// No credential is asked for.
    Anonymous,
}

impl Method {
    fn check(&self, name: &Rc<str>, request: &Request<'_>, env: &mut dyn Env) -> Checked {
        match self {
            Self::ApiKey(method) => method.check(name, request, env.now()),
            Self::Basic(method) => method.check(name, request, env),
            Self::Mtls(method) => method.check(name, request, env),
            Self::Webhook(method) => method.check(name, request, env.now()),
            Self::Jwt(method) => method.check(name, request, env),
            Self::EnvoyJwt(method) => method.check(name, env),
            Self::Introspection(method) => method.check(name, request, env),
            Self::Anonymous => Checked::Known(Principal::anonymous(Rc::clone(name))),
        }
    }

    /// Where the credential is looked for; `None` if there is none.
    pub(crate) fn place(&self) -> Option<Place> {
        match self {
            Self::ApiKey(method) => Some(method.place.clone()),
            Self::Basic(method) => Some(method.place()),
            Self::Mtls(method) => method.place(),
            Self::Webhook(method) => Some(method.place()),
            Self::Jwt(method) => Some(method.bearer.place.clone()),
            Self::EnvoyJwt(_) => None,
            Self::Introspection(method) => Some(method.bearer.place.clone()),
            Self::Anonymous => None,
        }
    }

    /// The upstream that is asked about credentials, if one is.
    pub(crate) fn authority(&self) -> Option<&str> {
        match self {
            Self::Jwt(method) => match &method.keys {
                KeySource::Remote(source) => Some(&source.upstream),
                KeySource::Inline(_) => None,
            },
            Self::Introspection(method) => Some(&method.server.upstream),
            _ => None,
        }
    }

    /// Whether an upstream gets the credential.
    pub(crate) fn is_forwarded(&self) -> bool {
        match self {
            Self::ApiKey(method) => method.forward,
            Self::Basic(method) => method.forward,
            Self::Mtls(_) => false,
            Self::Webhook(method) => method.forward,
            Self::Jwt(method) => method.forward,
            Self::EnvoyJwt(_) => false,
            Self::Introspection(method) => method.forward,
            Self::Anonymous => false,
        }
    }

    /// The challenge of this method in `WWW-Authenticate` (RFC 9110, section 11.6.1). `rejected` tells whether its own
    /// credential came and was wrong.
    fn challenge(&self, rejected: bool) -> Option<String> {
        match self {
            Self::ApiKey(method) => Some(method.challenge()),
            Self::Basic(_) => Some(Basic::challenge()),
            Self::Mtls(_) => Some(Mtls::challenge()),
            Self::Webhook(method) => Some(method.challenge()),
            Self::Jwt(_) | Self::EnvoyJwt(_) | Self::Introspection(_) => Some(Bearer::challenge(rejected)),
            Self::Anonymous => None,
        }
    }
}

/// A method by the name that the document gives it.
#[derive(Clone, Debug)]
pub struct NamedMethod {
    /// The name.
    pub name: Rc<str>,
    /// The method.
    pub method: Method,
}

/// What a route asks of its callers.
#[derive(Clone, Debug)]
pub enum Requirement {
    /// The first credential that is present, in this order, has to be right.
    AnyOf(Vec<NamedMethod>),
    /// All of these have to be present and right. The first says who the caller is.
    AllOf(Vec<NamedMethod>),
}

/// What a route's requirement says of a request.
#[derive(Debug)]
pub enum Verdict {
    /// The caller is known.
    Known(Principal),
    /// The caller is not let in.
    Denied(Denial),
    /// An authority has to be asked first.
    Fetch(Box<Fetch>),
    /// The body is needed first.
    Body,
    /// The request is nothing but a question, and this text is the answer.
    Challenge(String),
}

/// Why a caller is not let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The value of `WWW-Authenticate`.
    pub challenge: String,
    /// What was wrong with the credential that decided; `None` if there was none.
    pub rejected: Option<Rejected>,
}

impl Requirement {
    /// The methods, in order.
    pub fn methods(&self) -> &[NamedMethod] {
        match self {
            Self::AnyOf(methods) | Self::AllOf(methods) => methods,
        }
    }

    /// Says who the caller is, or what is needed to tell.
    pub fn check(&self, request: &Request<'_>, env: &mut dyn Env) -> Verdict {
        match self {
            Self::AnyOf(methods) => self.any_of(methods, request, env),
            Self::AllOf(methods) => self.all_of(methods, request, env),
        }
    }

    fn any_of(&self, methods: &[NamedMethod], request: &Request<'_>, env: &mut dyn Env) -> Verdict {
        let mut foreign: Option<(&NamedMethod, Rejected)> = None;
        for named in methods {
            // A credential that nobody has known yet is not passed over for another one.
            if foreign.as_ref().is_some_and(|(earlier, _)| earlier.method.place() != named.method.place()) {
                continue;
            }
            let NamedMethod { name, method } = named;
            match method.check(name, request, env) {
                Checked::Known(principal) => return Verdict::Known(principal),
                Checked::Absent => {}
                Checked::Foreign(rejected) => foreign = foreign.or(Some((named, rejected))),
                Checked::Rejected(rejected) => return self.denied(Some((name, rejected))),
                Checked::Fetch(fetch) => return Verdict::Fetch(fetch),
                Checked::Body => return Verdict::Body,
                Checked::Challenge(answer) => return Verdict::Challenge(answer),
            }
        }
        self.denied(foreign.map(|(named, rejected)| (&named.name, rejected)))
    }

    /// The body is asked for last, so that no body is buffered for a request that its head denies.
    fn all_of(&self, methods: &[NamedMethod], request: &Request<'_>, env: &mut dyn Env) -> Verdict {
        let mut known: Option<Principal> = None;
        let mut body = false;
        let mut challenge = None;
        for NamedMethod { name, method } in methods {
            match method.check(name, request, env) {
                Checked::Known(principal) => match &mut known {
                    None => known = Some(principal),
                    Some(first) => {
                        if !first.join(principal) {
                            let rejected = Rejected::Invalid("the credentials are of two consumers");
                            return self.denied(Some((name, rejected)));
                        }
                    }
                },
                Checked::Absent => return self.denied(None),
                Checked::Rejected(rejected) | Checked::Foreign(rejected) => {
                    return self.denied(Some((name, rejected)));
                }
                Checked::Fetch(fetch) => return Verdict::Fetch(fetch),
                Checked::Body => body = true,
                Checked::Challenge(answer) => challenge = Some(answer),
            }
        }
        match (challenge, known) {
            _ if body => Verdict::Body,
            (Some(answer), _) => Verdict::Challenge(answer),
            (None, Some(principal)) => Verdict::Known(principal),
            (None, None) => self.denied(None),
        }
    }

    fn denied(&self, rejected: Option<(&Rc<str>, Rejected)>) -> Verdict {
        let by = rejected.as_ref().map(|(name, _)| Rc::clone(name));
        let mut challenges: Vec<String> = Vec::new();
        for NamedMethod { name, method } in self.methods() {
            let challenge = method.challenge(by.as_ref() == Some(name));
            // Two issuers ask for a token in the same words.
            challenges.extend(challenge.filter(|challenge| !challenges.contains(challenge)));
        }
        Verdict::Denied(Denial {
            challenge: challenges.join(", "),
            rejected: rejected.map(|(_, rejected)| rejected),
        })
    }

    /// What each method says of the request, in order, for people to read.
    pub fn tried(&self, request: &Request<'_>, env: &mut dyn Env) -> Vec<Tried> {
        let mut tried = Vec::new();
        for NamedMethod { name, method } in self.methods() {
            let checked = method.check(name, request, env);
            let decided =
                matches!(self, Self::AnyOf(_)) && !matches!(checked, Checked::Absent | Checked::Foreign(_));
            let said = match checked {
                Checked::Known(_) => "accepted".to_owned(),
                Checked::Absent => "no credential of this kind".to_owned(),
                Checked::Rejected(Rejected::Repeated(place)) => format!("rejected: {place} is repeated"),
                Checked::Rejected(Rejected::Invalid(reason)) => format!("rejected: {reason}"),
                Checked::Rejected(Rejected::Unavailable) => "cannot be checked now".to_owned(),
                Checked::Foreign(Rejected::Invalid(reason)) => format!("not of this authority: {reason}"),
                Checked::Foreign(_) => "not of this authority".to_owned(),
                Checked::Fetch(fetch) => format!("asks {} {}", fetch.upstream, fetch.path),
                Checked::Body => "needs the body".to_owned(),
                Checked::Challenge(_) => "accepted, and only asks whether somebody is there".to_owned(),
            };
            tried.push(Tried { method: Rc::clone(name), said });
            if decided {
                break;
            }
        }
        tried
    }
}

/// What one method says of a request, for people to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// The name of the method.
    pub method: Rc<str>,
    /// What it says. Nothing of a credential is in it.
    pub said: String,
}

#[cfg(test)]
mod tests;
