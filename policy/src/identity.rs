//! What makes a request the same as another, besides what its event says: kafka-bridge answers one that comes again
//! with the first receipt, and refuses another one of the same name.
//!
//! An event does not say all that a caller said: the query is not in it, and what is redacted is gone. So a fingerprint
//! of that goes along with each record, made with a key, because what is redacted can often be guessed.

use std::cell::OnceCell;
use std::fmt;

use hmac::digest::Key;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use wicketgate_envelope::hop::Identity;

use crate::accept::{Batch, Format};
use crate::admission::Admitted;
use crate::head::RequestHead;
use crate::path;
use crate::plan::Plan;

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
    pub(crate) fn new(secret: Option<Hmac<Sha256>>) -> Self {
        let is_secret = secret.is_some();
        let mac = secret.unwrap_or_else(|| Hmac::new(&Key::<Hmac<Sha256>>::default()));
        Self { mac: mac.chain_update(b"fingerprint\0"), secret: is_secret }
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
    /// Whether the key is a secret, so that what is redacted counts.
    secret: bool,
    key: Hmac<Sha256>,
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprint(not shown)")
    }
}

impl Fingerprint {
    /// Of the head: method, path and query, and the redacted headers that something is made of.
    pub(crate) fn of_head(
        identity: &IdentityPlan,
        plan: &Plan,
        head: &RequestHead,
        redacted_query: Option<&[u8]>,
        format: Format,
    ) -> Self {
        let FingerprintKey { mac, secret } = identity.key.clone();
        let mut fingerprint = Self { mac: mac.clone(), secret, key: mac };
        fingerprint.add(head.method());
        fingerprint.add(path::without_query(head.target()));
        let query = if secret { path::query(head.target()) } else { redacted_query };
        fingerprint.add_if(query);
        if secret {
            let of_templates = |name: &str| {
                plan.templates().any(|template| template.header_names().any(|header| header == name))
            };
            let is_attribute = |name: &str| format == Format::CloudEventBinary && name.starts_with("ce-");
            for name in plan.redaction.header_names().filter(|name| of_templates(name) || is_attribute(name))
            {
                head.all(name).for_each(|value| fingerprint.add(value));
                fingerprint.add_if(None);
            }
        }
        fingerprint
    }

    /// Adds a field. No two lists of fields have the same fingerprint.
    fn add(&mut self, field: &[u8]) {
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
    fn text(&self) -> String {
        let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or_default();
        let code = self.mac.clone().finalize().into_bytes();
        code.iter().take(LEN).flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
    }
}

/// What tells the events of a request from others.
#[derive(Debug)]
pub(crate) struct Identities<'a> {
    admitted: &'a Admitted,
    id_only: bool,
    /// The fingerprint of each event, or of all of them.
    events: Vec<String>,
    /// The whole body, decoded, and how many events there are in it.
    body: &'a [u8],
    count: usize,
    /// Whether parts of `body` are redacted.
    redacted: bool,
    /// The fingerprint of the batch and the name of its key.
    batch: OnceCell<(String, String)>,
}

impl<'a> Identities<'a> {
    /// Takes fingerprints of events that have not been redacted yet.
    pub(crate) fn new(admitted: &'a Admitted, plan: &Plan, batch: &Batch<'_>, body: &'a [u8]) -> Self {
        let redaction = &plan.redaction;
        let of_attributes = matches!(batch.format, Format::CloudEventStructured | Format::CloudEventsBatch)
            && redaction.header_names().any(|name| name.starts_with("ce-"));
        let redacted = redaction.touches_body() || of_attributes;
        let id_only = plan.identity.as_ref().is_some_and(|identity| identity.id_only);
        let mut events = Vec::new();
        match admitted.fingerprint.as_ref().filter(|_| !id_only) {
            None => {}
            Some(head) if !redacted || !head.secret => events.push(head.text()),
            Some(head) => events.extend(batch.events.iter().map(|event| {
                let mut fingerprint = head.clone();
                if redaction.touches_body() {
                    fingerprint.add_if(event.data.clone().into_bytes().as_deref());
                }
                if let Some(context) = event.claimed.as_ref().filter(|_| of_attributes) {
                    redaction.attribute_texts(context).for_each(|text| fingerprint.add(text.as_bytes()));
                }
                fingerprint.text()
            })),
        }
        let (count, batch) = (batch.events.len(), OnceCell::new());
        Self { admitted, id_only, events, body, count, redacted, batch }
    }

    /// Of an event whose id somebody gave.
    pub(crate) fn of_event(&self, index: usize) -> Identity<'_> {
        let event = self.events.get(index).or_else(|| self.events.first());
        Identity { id_only: self.id_only, request: event.map(String::as_str), batch: None }
    }

    /// Of an event whose id is made of this key, which all events of its batch share.
    pub(crate) fn of_batch(&self, key: &str) -> Identity<'_> {
        let Some(head) = &self.admitted.fingerprint else { return Identity::default() };
        let (batch, name) = self.batch.get_or_init(|| {
            let mut batch = head.clone();
            batch.add(&(self.count as u64).to_be_bytes());
            // Without a secret what is redacted stays out of it, and the events themselves are compared.
            batch.add_if((head.secret || !self.redacted).then_some(self.body));
            let mut name = Fingerprint { mac: head.key.clone(), secret: head.secret, key: head.key.clone() };
            name.add(self.admitted.route.name.as_bytes());
            name.add(key.as_bytes());
            (batch.text(), name.text())
        });
        Identity { id_only: false, request: Some(batch), batch: Some(name) }
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn no_two_lists_of_fields_have_one_fingerprint() {
        let key = FingerprintKey::new(None);
        let of = |fields: &[Option<&[u8]>]| {
            let mut fingerprint =
                Fingerprint { mac: key.mac.clone(), secret: key.secret, key: key.mac.clone() };
            fields.iter().for_each(|field| fingerprint.add_if(*field));
            fingerprint.text()
        };
        let lists: [&[Option<&[u8]>]; 7] = [
            &[],
            &[None],
            &[Some(b"")],
            &[Some(b"ab")],
            &[Some(b"a"), Some(b"b")],
            &[Some(b""), Some(b"ab")],
            &[None, Some(b"ab")],
        ];
        for (index, list) in lists.iter().enumerate() {
            assert_eq!(of(list).len(), 32);
            assert!(lists.iter().take(index).all(|other| of(other) != of(list)), "{list:?}");
        }
    }
}
