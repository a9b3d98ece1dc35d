//! The caller, once known.

use std::rc::Rc;

use crate::claims::Claims;

/// A caller that the document names, and what it says of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Consumer {
    /// The name.
    pub name: String,
    /// The groups that it belongs to.
    pub groups: Vec<String>,
    /// What it may do with a credential that has no scopes of its own.
    pub scopes: Vec<String>,
    /// The claims of callers whose credential has none of its own.
    pub claims: Option<Claims>,
}

/// Who is calling, as a method of authentication found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The name of the method in the document.
    pub method: Rc<str>,
    /// The `authtype` attribute (CloudEvents extensions, Auth Context).
    pub auth_type: &'static str,
    /// The consumer, if the credential is that of one.
    pub consumer: Option<Rc<Consumer>>,
    /// What the credential calls the caller where no consumer is known, such as the subject of a token.
    pub subject: Option<Rc<str>>,
    /// Groups that the credential itself names.
    pub groups: Rc<[String]>,
    /// The scopes of the credential; `None` if it is of a kind that has no scopes.
    pub scopes: Option<Rc<[String]>>,
    /// The claims of the credential; `None` if it is of a kind that has no claims.
    pub claims: Option<Claims>,
    /// What the credential calls the request itself, whenever it is sent again: the id of a webhook's delivery.
    pub delivery: Option<Rc<str>>,
}

impl Principal {
    /// A caller of whom nothing is known but what follows from the method.
    pub fn new(method: Rc<str>, auth_type: &'static str) -> Self {
        Self {
            method,
            auth_type,
            consumer: None,
            subject: None,
            groups: Rc::from([]),
            scopes: None,
            claims: None,
            delivery: None,
        }
    }

    /// A consumer of the document.
    pub fn consumer(method: Rc<str>, auth_type: &'static str, consumer: Rc<Consumer>) -> Self {
        Self { consumer: Some(consumer), ..Self::new(method, auth_type) }
    }

    /// A caller that was asked for nothing.
    pub fn anonymous(method: Rc<str>) -> Self {
        Self::new(method, "unauthenticated")
    }

    /// Whether the caller was asked for nothing.
    pub fn is_anonymous(&self) -> bool {
        self.auth_type == "unauthenticated"
    }

    /// The `authid` attribute: the consumer, or what the credential calls the caller.
    pub fn auth_id(&self) -> Option<&str> {
        match &self.consumer {
            Some(consumer) => Some(&consumer.name),
            None => self.subject.as_deref(),
        }
    }

    /// The claims: those of the credential if it is of a kind that has any, else those of the consumer.
    pub fn claims(&self) -> Option<&Claims> {
        self.claims.as_ref().or_else(|| self.consumer.as_ref()?.claims.as_ref())
    }

    /// Whether the caller belongs to a group, by the document or by the credential.
    pub fn is_in_group(&self, group: &str) -> bool {
        let of_consumer = self.consumer.iter().flat_map(|consumer| &consumer.groups);
        of_consumer.chain(self.groups.iter()).any(|known| known == group)
    }

    /// Whether the caller has a scope: by the credential if it is of a kind that has scopes, else by the document.
    pub fn has_scope(&self, scope: &str) -> bool {
        match (&self.scopes, &self.consumer) {
            (Some(scopes), _) => scopes.iter().any(|known| known == scope),
            (None, Some(consumer)) => consumer.scopes.iter().any(|known| known == scope),
            (None, None) => false,
        }
    }

    /// Adds what a further credential of the same caller says. The identity stays that of the first; returns false if
    /// the other credential is that of another consumer.
    pub(super) fn join(&mut self, other: Self) -> bool {
        match (&self.consumer, other.consumer) {
            (Some(one), Some(two)) if one.name != two.name => return false,
            (None, two @ Some(_)) => self.consumer = two,
            _ => {}
        }
        if self.groups.is_empty() {
            self.groups = other.groups;
        }
        self.scopes = self.scopes.take().or(other.scopes);
        self.claims = self.claims.take().or(other.claims);
        self.delivery = self.delivery.take().or(other.delivery);
        true
    }
}
