//! CloudEvents in binary mode (CloudEvents HTTP Protocol Binding 1.0.2, section 3.1).

use std::borrow::Cow;

use wicketgate_envelope::event::{ContextBuilder, Extension};
use wicketgate_envelope::http_header;

use super::{Incoming, Place, Refused, check_claims, payload};
use crate::head::RequestHead;

/// Reads the attributes from header fields, and the payload from the body.
pub(super) fn read<'a>(
    head: &'a RequestHead,
    content_type: Option<&'a str>,
    body: &'a [u8],
) -> Result<Incoming<'a>, Refused> {
    let refuse = |error| Place::Head.refuse(&error);
    let mut context = ContextBuilder::default();
    for (name, value) in head.fields() {
        let Some(name) = name.strip_prefix(http_header::PREFIX.as_bytes()) else { continue };
        let name = String::from_utf8_lossy(name);
        if name == "datacontenttype" {
            let detail = "ce-datacontenttype: wanted none, as content-type says it, got one";
            return Err(Refused::BadRequest(detail.to_owned()));
        }
        let value = http_header::decode(value).map_err(|fault| {
            let field = Place::Head.name(name.get(..40).unwrap_or(&name));
            Refused::BadRequest(format!("{field}: {fault}"))
        })?;
        context.set(name, Extension::Text(value)).map_err(refuse)?;
    }
    if let Some(content_type) = content_type {
        context.set(Cow::Borrowed("datacontenttype"), content_type.into()).map_err(refuse)?;
    }
    let (context, data_content_type) = context.finish().map_err(refuse)?;
    check_claims(&context, Place::Head)?;
    let data = payload(content_type, body)?;
    Ok(Incoming { data, data_content_type, claimed: Some(Box::new(context)) })
}
