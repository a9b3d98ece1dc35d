//! An event as a Kafka record (CloudEvents Kafka Protocol Binding 1.0.2): headers and value, in each mode.

use std::borrow::Cow;

use crate::STRUCTURED_CONTENT_TYPE;
use crate::event::{InvalidEvent, ParsedEvent, SPEC_VERSION, parse};
use crate::hop::ValueMode;

/// The name of the record header that has the media type of the value.
pub const CONTENT_TYPE: &str = "content-type";

/// What the record headers of an attribute start with.
const PREFIX: &str = "ce_";

/// Headers and value of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// In the order in which they are written, before the headers that the record has of its own.
    pub headers: Vec<(Cow<'static, str>, Cow<'a, str>)>,
    /// `None` is a null value: a tombstone.
    pub value: Option<Cow<'a, [u8]>>,
}

/// An event taken apart for binary mode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BinaryParts<'a> {
    /// `ce_<name>` for each attribute but `datacontenttype`, in the order in which the envelope has them.
    pub headers: Vec<(Cow<'static, str>, Cow<'a, str>)>,
    /// `datacontenttype`, given or implied.
    pub content_type: Option<Cow<'a, str>>,
    /// `data` as bytes; `None` when the event has none.
    pub value: Option<Cow<'a, [u8]>>,
}

/// Makes headers and value of a record from an event in JSON.
///
/// | | `structured` | `binary` | `raw` |
/// |---|---|---|---|
/// | headers | `content-type` of the event | `ce_<name>`, `content-type` of `data` | `content-type` of `data` |
/// | value | the event as it stands | `data` | `data` |
/// | value without `data` | the event as it stands | empty | empty |
/// | tombstone | as binary, null value | null value | null value |
///
/// The binding has no value where there is no `data`. Here the value is then empty and not null, because a null
/// deletes its key from a compacted topic, and a request that lost its body must not: only `tombstone` does that.
///
/// # Errors
/// [`InvalidEvent`] when `event` has to be read and is not a CloudEvent. In structured mode, tombstones excepted, it
/// is taken as it is.
pub fn message(mode: ValueMode, tombstone: bool, event: &str) -> Result<Message<'_>, InvalidEvent> {
    if mode == ValueMode::Structured && !tombstone {
        return Ok(Message {
            headers: vec![(CONTENT_TYPE.into(), STRUCTURED_CONTENT_TYPE.into())],
            value: Some(Cow::Borrowed(event.as_bytes())),
        });
    }
    let parts = binary_parts(event)?;
    let mut headers = if mode == ValueMode::Raw { Vec::with_capacity(1) } else { parts.headers };
    headers.extend(parts.content_type.map(|content_type| (CONTENT_TYPE.into(), content_type)));
    let value = (!tombstone).then(|| parts.value.unwrap_or_default());
    Ok(Message { headers, value })
}

/// Takes an event in JSON apart for binary mode.
///
/// # Errors
/// [`InvalidEvent`] when `event` is not a CloudEvent.
pub fn binary_parts(event: &str) -> Result<BinaryParts<'_>, InvalidEvent> {
    parse(event).map(BinaryParts::from)
}

impl<'a> From<ParsedEvent<'a>> for BinaryParts<'a> {
    /// Header values are UTF-8 as they are (section 3.2.3 of the binding), not percent-encoded as in HTTP.
    fn from(event: ParsedEvent<'a>) -> Self {
        let ParsedEvent { context, data_content_type, data } = event;
        let mut headers = Vec::with_capacity(8 + context.extensions.len());
        headers.push((Cow::Borrowed("ce_specversion"), Cow::Borrowed(SPEC_VERSION)));
        headers.push((Cow::Borrowed("ce_id"), context.id));
        headers.push((Cow::Borrowed("ce_source"), context.source));
        headers.push((Cow::Borrowed("ce_type"), context.type_));
        headers.extend(context.subject.map(|value| (Cow::Borrowed("ce_subject"), value)));
        headers.extend(context.time.map(|value| (Cow::Borrowed("ce_time"), value)));
        headers.extend(context.data_schema.map(|value| (Cow::Borrowed("ce_dataschema"), value)));
        headers.extend(
            context
                .extensions
                .into_iter()
                .map(|(name, value)| (Cow::Owned([PREFIX, name.as_ref()].concat()), value.into_text())),
        );
        Self { headers, content_type: data_content_type, value: data.into_bytes() }
    }
}

#[cfg(test)]
mod tests;
