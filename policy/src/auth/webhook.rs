//! Signatures of webhooks: [`crate::webhook`] checks them, this file says who the caller is.

use std::rc::Rc;

use wicketgate_envelope::timestamp::Timestamp;

use super::{Checked, Consumer, Place, Principal, REALM, Rejected, Request};
use crate::webhook::{self, Engine, Verified};

/// Deliveries of one provider.
#[derive(Debug)]
pub struct Webhook {
    pub(crate) engine: Engine,
    /// Whose deliveries they are; without it they are those of the method, by its name.
    pub(crate) consumer: Option<Rc<Consumer>>,
    /// Whether an upstream gets the signature.
    pub(crate) forward: bool,
}

impl Webhook {
    pub(super) fn check(&self, name: &Rc<str>, request: &Request<'_>, now: Timestamp) -> Checked {
        let pending = match self.engine.check_head(request.head, now) {
            Ok(Some(pending)) => pending,
            Ok(None) => return Checked::Absent,
            Err(rejected) => return Checked::Rejected(rejected.into()),
        };
        let Some(body) = request.body else { return Checked::Body };
        match self.engine.check_body(&pending, body) {
            Ok(Verified { challenge: Some(challenge), .. }) => Checked::Challenge(challenge),
            Ok(Verified { delivery_id, challenge: None }) => {
                let mut principal = Principal::new(Rc::clone(name), "service_account");
                principal.consumer.clone_from(&self.consumer);
                principal.subject = Some(Rc::clone(name));
                principal.delivery = delivery_id.map(Rc::from);
                Checked::Known(principal)
            }
            Err(rejected) => Checked::Rejected(rejected.into()),
        }
    }

    /// The `Signature` scheme is not registered; it tells a reader what is asked for.
    pub(super) fn challenge(&self) -> String {
        format!("Signature realm=\"{REALM}\", header=\"{}\"", self.engine.header())
    }

    pub(super) fn place(&self) -> Place {
        Place::Header(self.engine.header().to_owned())
    }
}

impl From<webhook::Rejected> for Rejected {
    fn from(rejected: webhook::Rejected) -> Self {
        match rejected {
            webhook::Rejected::Repeated(header) => Self::Repeated(format!("header {header}")),
            webhook::Rejected::Missing(_) => Self::Invalid("what the signature is over is missing"),
            webhook::Rejected::Malformed(_) => Self::Invalid("malformed"),
            webhook::Rejected::TooManySignatures => Self::Invalid("too many signatures"),
            webhook::Rejected::NoSignature => Self::Invalid("no signature of a kind that is checked"),
            webhook::Rejected::TooOld => Self::Invalid("signed too long ago"),
            webhook::Rejected::InTheFuture => Self::Invalid("signed too far in the future"),
            webhook::Rejected::Mismatch => Self::Invalid("no signature by one of the secrets over this body"),
        }
    }
}
