//! Events whose attributes are in header fields.

use axum::http::{HeaderMap, header};
use wicketgate_envelope::data::Data;
use wicketgate_envelope::event::{ContextBuilder, Extension, InvalidEvent, ParsedEvent};
use wicketgate_envelope::http_header;

/// Reads attributes from header fields; the body is the data, whatever it is.
///
/// # Errors
/// Which header is wrong, and why.
pub(super) fn read<'a>(headers: &'a HeaderMap, body: &'a [u8]) -> Result<ParsedEvent<'a>, String> {
    let mut context = ContextBuilder::default();
    for (field, value) in headers {
        let Some(name) = field.as_str().strip_prefix(http_header::PREFIX) else { continue };
        if name == "datacontenttype" {
            return Err("ce-datacontenttype: wanted none, as content-type says it, got one".to_owned());
        }
        let value = http_header::decode(value.as_bytes())
            .map_err(|fault| format!("ce-{}: {fault}", name.get(..40).unwrap_or(name)))?;
        context.set(name.into(), Extension::Text(value)).map_err(|error| told(&error))?;
    }
    let mut content_types = headers.get_all(header::CONTENT_TYPE).iter();
    if let Some(value) = content_types.next() {
        let text = value.to_str().map_err(|_| "content-type: wanted ASCII, got other bytes")?;
        if content_types.next().is_some() {
            return Err("content-type: wanted it at most once, got it repeated".to_owned());
        }
        context.set("datacontenttype".into(), text.into()).map_err(|error| told(&error))?;
    }
    let (context, data_content_type) = context.finish().map_err(|error| told(&error))?;
    Ok(ParsedEvent { context, data_content_type, data: Data::Binary(body.into()) })
}

/// An error by the name of the header that it is about.
fn told(error: &InvalidEvent) -> String {
    match error {
        InvalidEvent::Attribute { name, wanted, got } if name == "datacontenttype" => {
            format!("content-type: wanted {wanted}, got {got}")
        }
        InvalidEvent::Attribute { name, wanted, got } => format!("ce-{name}: wanted {wanted}, got {got}"),
        other => format!("headers ce-: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(more: &[(&'static str, &'static [u8])]) -> HeaderMap {
        let least =
            [("ce-specversion", &b"1.0"[..]), ("ce-id", b"1"), ("ce-source", b"/s"), ("ce-type", b"t")];
        let mut headers = HeaderMap::new();
        for (name, value) in least.iter().chain(more) {
            headers.append(*name, header::HeaderValue::from_bytes(value).unwrap());
        }
        headers
    }

    #[test]
    fn what_is_wrong_is_told_by_the_name_of_the_header() {
        for (more, wanted) in [
            (("ce-id", &b"2"[..]), "ce-id: wanted it at most once"),
            (("ce-time", b"noon"), "ce-time: wanted a time"),
            (("ce-x", b"%ff"), "ce-x: wanted percent-encoded UTF-8"),
            (("ce-x", b"gr\xc3\xbcn"), "ce-x: wanted visible ASCII"),
            (("ce-my-ext", b"1"), "headers ce-: wanted attribute names"),
            (("ce-data", b"1"), "headers ce-: wanted attribute names"),
            (("ce-datacontenttype", b"a/b"), "ce-datacontenttype: wanted none"),
            (("content-type", b"json"), "content-type: wanted a media type"),
        ] {
            let error = read(&fields(&[more]), b"").unwrap_err();
            assert!(error.starts_with(wanted), "{more:?}: {error}");
        }
        for missing in ["ce-id", "ce-source", "ce-type", "ce-specversion"] {
            let mut headers = fields(&[]);
            headers.remove(missing);
            let error = read(&headers, b"").unwrap_err();
            assert!(error.starts_with(&format!("{missing}: wanted")), "{error}");
        }
    }
}
