//! Events whose attributes are in header fields.

use axum::http::{HeaderMap, header};
use wicketgate_envelope::data::Data;
use wicketgate_envelope::event::ParsedEvent;
use wicketgate_envelope::http_event::read_binary;

/// Reads attributes from header fields. The body is the data, byte for byte; if `checks_data`, it has to be JSON where
/// `content-type` says so.
///
/// # Errors
/// Which header is wrong, and why.
pub(super) fn read<'a>(
    headers: &'a HeaderMap,
    body: &'a [u8],
    checks_data: bool,
) -> Result<ParsedEvent<'a>, String> {
    let mut content_types = headers.get_all(header::CONTENT_TYPE).iter();
    let content_type = content_types.next().filter(|value| !value.is_empty());
    let content_type = content_type.map(|value| value.to_str());
    let content_type = content_type.transpose().map_err(|_| "content-type: wanted ASCII, got other bytes")?;
    if content_types.next().is_some() {
        return Err("content-type: wanted it at most once, got it repeated".to_owned());
    }
    let fields = headers.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
    let event = read_binary(fields, content_type, if checks_data { body } else { b"" })?;
    Ok(ParsedEvent { data: Data::Binary(body.into()), ..event })
}
