//! CloudEvents in binary mode.

use wicketgate_envelope::event::ParsedEvent;
use wicketgate_envelope::http_event::read_binary;

use super::{Incoming, Place, Refused, check_claims};
use crate::head::RequestHead;

/// Reads the attributes from header fields, and the payload from the body.
pub(super) fn read<'a>(
    head: &'a RequestHead,
    content_type: Option<&'a str>,
    body: &'a [u8],
) -> Result<Incoming<'a>, Refused> {
    let event = read_binary(head.fields(), content_type, body).map_err(Refused::BadRequest)?;
    let ParsedEvent { context, data_content_type, data } = event;
    check_claims(&context, Place::Head)?;
    Ok(Incoming { data, data_content_type, claimed: Some(Box::new(context)) })
}
