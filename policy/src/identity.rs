//! What makes a request the same as another, besides what its event says: kafka-bridge answers one that comes again
//! with the first receipt, and refuses another one of the same name.
//!
//! An event does not say all that a caller said: the query is not in it, and what is redacted is gone. So a fingerprint
//! of that goes along with each record, made with a key, because what is redacted can often be guessed.

use std::fmt;
use std::rc::Rc;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use wicketgate_envelope::event::Context;

use crate::accept::Format;
use crate::head::RequestHead;
use crate::path;
use crate::plan::Plan;
use crate::redact::Redaction;

/// How much of a fingerprint is kept, in bytes. Nobody finds another request with the same 128 bits.
const LEN: usize = 16;

/// How a route tells one event from another.
#[derive(Clone, Debug)]
pub(crate) struct IdentityPlan {
    /// Whether the id alone decides.
    pub(crate) id_only: bool,
    pub(crate) key: FingerprintKey,
}

/// The key of fingerprints. It never shows itself.
#[derive(Clone)]
pub(crate) struct FingerprintKey {
    mac: Hmac<Sha256>,
    secret: bool,
}

impl FingerprintKey {
    /// From a key that is a secret, or without one. Then nothing that is redacted is in a fingerprint.
    pub(crate) fn new(secret: Option<Hmac<Sha256>>) -> Option<Self> {
        let is_secret = secret.is_some();
        let mac = secret.or_else(|| Hmac::new_from_slice(b"wicketgate").ok())?;
        Some(Self { mac: mac.chain_update(b"fingerprint\0"), secret: is_secret })
    }
}

impl fmt::Debug for FingerprintKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FingerprintKey(not shown)")
    }
}

/// What a request says, field by field.
#[derive(Clone)]
pub(crate) struct Fingerprint {
    mac: Hmac<Sha256>,
    secret: bool,
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprint(not shown)")
    }
}

impl Fingerprint {
    /// Of the head: method, path and query, and the redacted headers that something is made of.
    pub(crate) fn of_head(plan: &Plan, head: &RequestHead, redacted_query: Option<&[u8]>, format: Format) -> Self {
        let FingerprintKey { mac, secret } = plan.identity.key.clone();
        let mut fingerprint = Self { mac, secret };
        fingerprint.add(head.method());
        fingerprint.add(path::without_query(head.target()));
        let query = if secret { path::query(head.target()) } else { redacted_query };
        fingerprint.add_if(query);
        if secret {
            let of_templates = |name: &str| {
                plan.templates().any(|template| template.header_names().any(|header| header == name))
            };
            let is_attribute = |name: &str| format == Format::CloudEventBinary && name.starts_with("ce-");
            for name in plan.redaction.header_names().filter(|name| of_templates(name) || is_attribute(name)) {
                head.all(name).for_each(|value| fingerprint.add(value));
                fingerprint.add_if(None);
            }
        }
        fingerprint
    }

    /// Adds what an event has before it is redacted: attributes that did not come as headers.
    pub(crate) fn add_attributes(&mut self, redaction: &Redaction, context: &Context<'_>) {
        if self.secret {
            redaction.attribute_texts(context).for_each(|text| self.add(text.as_bytes()));
        }
    }

    /// Adds data as it was before it was redacted.
    pub(crate) fn add_unredacted(&mut self, data: &[u8]) {
        if self.secret {
            self.add(data);
        }
    }

    /// Whether what is redacted counts.
    pub(crate) fn is_secret(&self) -> bool {
        self.secret
    }

    /// Adds a field. No two lists of fields have the same fingerprint.
    pub(crate) fn add(&mut self, field: &[u8]) {
        self.mac.update(&[1]);
        self.mac.update(&(field.len() as u64).to_be_bytes());
        self.mac.update(field);
    }

    fn add_if(&mut self, field: Option<&[u8]>) {
        match field {
            Some(field) => self.add(field),
            None => self.mac.update(&[0]),
        }
    }

    /// As 32 hexadecimal digits.
    pub(crate) fn text(&self) -> Rc<str> {
        let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or_default();
        let code = self.mac.clone().finalize().into_bytes();
        code.iter().take(LEN).flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect::<String>().into()
    }
}
