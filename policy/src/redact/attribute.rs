//! Redaction of what a CloudEvent says of itself. Its attributes are header fields in binary mode and members of the
//! body in the others; a rule for the header `ce-<name>` is one for the attribute, in whichever mode it comes.

use std::borrow::Cow;

use wicketgate_envelope::event::{Context, Extension};
use wicketgate_envelope::http_header;

use super::{Action, MASK, Redaction, Treatment};

/// The attribute that a header, in lower case, stands for; `None` if it is no CloudEvent's.
pub(super) fn of_header(header: &str) -> Option<&str> {
    header.strip_prefix(http_header::PREFIX)
}

/// Whether an attribute may be treated so: what comes of it must be an event still, and must tell it from others.
///
/// # Errors
/// What was wanted, in words.
pub(super) fn check(attribute: &str, treatment: Treatment) -> Result<(), String> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    match (attribute, treatment) {
        ("specversion" | "datacontenttype" | "data", _) => {
            Err("another header, because without this one no event can be read".to_owned())
        }
        ("authtype" | "authid" | "authclaims", _) => Err(GATEWAYS_OWN.to_owned()),
        (name, _) if name.starts_with("wg") => Err(GATEWAYS_OWN.to_owned()),
        ("id" | "source", Treatment::Drop | Treatment::Mask) => {
            Err("hash for this header, because no event is without, and it must tell events apart".to_owned())
        }
        ("partitionkey", Treatment::Mask) => {
            Err("hash or drop for this header, because it tells records apart".to_owned())
        }
        ("type", Treatment::Drop) => {
            Err("mask or hash for this header, because no event is without".to_owned())
        }
        ("time" | "dataschema" | "traceparent" | "tracestate", Treatment::Mask | Treatment::Hash) => {
            Err("drop for this header, whose value has a form that neither a mask nor a hash has".to_owned())
        }
        (name, _) if name.is_empty() || !name.bytes().all(plain) => {
            Err("lower-case letters and digits after ce-, as the names of attributes have them".to_owned())
        }
        _ => Ok(()),
    }
}

const GATEWAYS_OWN: &str = "another header, because only the gateway sets this attribute";

impl Redaction {
    /// The attributes of an event that are to be redacted, as they are; those that are not there are empty.
    pub(crate) fn attribute_texts<'a>(
        &'a self,
        context: &'a Context<'_>,
    ) -> impl Iterator<Item = Cow<'a, str>> {
        let optional = |value: &'a Option<Cow<'_, str>>| Cow::Borrowed(value.as_deref().unwrap_or_default());
        self.header_names().filter_map(of_header).map(move |name| match name {
            "id" => Cow::Borrowed(context.id.as_ref()),
            "source" => Cow::Borrowed(context.source.as_ref()),
            "type" => Cow::Borrowed(context.type_.as_ref()),
            "subject" => optional(&context.subject),
            "time" => optional(&context.time),
            "dataschema" => optional(&context.data_schema),
            name => {
                let own = context.extensions.iter().find(|(own, _)| own == name);
                own.map_or(Cow::Borrowed(""), |(_, value)| Cow::Owned(value.clone().into_text().into_owned()))
            }
        })
    }

    /// Redacts the attributes of an event that did not come in header fields. What is hashed is the text that binary
    /// mode would carry, so that the same value has the same hash in every mode.
    pub fn attributes(&self, context: &mut Context<'_>) {
        let rules = self.headers.iter().filter_map(|(name, action)| Some((of_header(name)?, action)));
        for (name, action) in rules {
            match name {
                "id" => required(&mut context.id, action),
                "source" => required(&mut context.source, action),
                "type" => required(&mut context.type_, action),
                "subject" => optional(&mut context.subject, action),
                "time" => optional(&mut context.time, action),
                "dataschema" => optional(&mut context.data_schema, action),
                name => extension(&mut context.extensions, name, action),
            }
        }
    }
}

fn required(value: &mut Cow<'_, str>, action: &Action) {
    if let Some(redacted) = redacted(value, action) {
        *value = Cow::Owned(redacted);
    }
}

fn optional(value: &mut Option<Cow<'_, str>>, action: &Action) {
    *value = value.take().and_then(|value| redacted(&value, action)).map(Cow::Owned);
}

fn extension(extensions: &mut Vec<(Cow<'_, str>, Extension<'_>)>, name: &str, action: &Action) {
    let Some(place) = extensions.iter().position(|(own, _)| own == name) else { return };
    let (own, value) = extensions.remove(place);
    if let Some(redacted) = redacted(&value.into_text(), action) {
        extensions.insert(place, (own, redacted.into()));
    }
}

/// `None` if nothing is left of it.
fn redacted(text: &str, action: &Action) -> Option<String> {
    match action {
        Action::Drop => None,
        Action::Mask => Some(MASK.to_owned()),
        Action::Hash(key) => Some(key.hash(text.as_bytes())),
    }
}
