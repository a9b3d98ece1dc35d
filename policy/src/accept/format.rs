//! Which form a request has, told by its head, and which forms a route takes.

use std::fmt;
use std::str::FromStr;

use wicketgate_envelope::http_event::{Mode, UnknownFormat};
use wicketgate_envelope::media_type::{essence, is_json, is_media_type};
use wicketgate_envelope::quote::quote;

use super::{JSON, Refused};
use crate::head::RequestHead;

/// The form of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// A body that is the payload.
    Raw,
    /// A CloudEvent whose attributes are header fields `ce-<name>` and whose payload is the body.
    CloudEventBinary,
    /// A CloudEvent in JSON.
    CloudEventStructured,
    /// CloudEvents in a JSON array.
    CloudEventsBatch,
    /// JSON values, one a line; each is a payload.
    Ndjson,
    /// A JSON array; each element is a payload.
    JsonArray,
}

impl Format {
    /// Whether it brings any number of events.
    pub fn is_batch(self) -> bool {
        matches!(self, Self::CloudEventsBatch | Self::Ndjson | Self::JsonArray)
    }
}

/// How bodies of a media type are read, whatever the type says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadAs {
    /// As JSON.
    Json,
    /// As JSON values, one a line.
    Ndjson,
    /// Not at all: as bytes.
    Binary,
}

/// What a route takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Bodies that are payloads.
    pub raw: bool,
    /// Single CloudEvents, in binary and in structured mode.
    pub cloudevents: bool,
    /// CloudEvents in batched mode.
    pub cloudevents_batch: bool,
    /// JSON values, one a line.
    pub ndjson: bool,
    /// JSON arrays as batches.
    pub json_array: bool,
    /// How many events one request may bring.
    pub max_events: usize,
    /// Whether a byte order mark before JSON is passed over.
    pub strips_mark: bool,
    /// Which media types a payload may have; empty is any.
    pub media_types: Vec<MediaRange>,
    /// How bodies that are no CloudEvents are read, where it is not their media type that decides: the first range that
    /// matches does. `None` matches each, and no media type at all.
    pub read_as: Vec<(Option<MediaRange>, ReadAs)>,
}

impl Default for Accepted {
    /// Any body, and single CloudEvents. No batch, because CloudEvents wants that to be asked for.
    fn default() -> Self {
        Self {
            raw: true,
            cloudevents: true,
            cloudevents_batch: false,
            ndjson: false,
            json_array: false,
            max_events: 1000,
            strips_mark: false,
            media_types: Vec::new(),
            read_as: Vec::new(),
        }
    }
}

impl Accepted {
    /// Decides what form a request has. All that can be refused without its body is refused here.
    ///
    /// # Errors
    /// [`Refused`] when the route does not take that form, or the head contradicts itself.
    pub fn format(&self, head: &RequestHead) -> Result<Format, Refused> {
        let content_type = content_type(head)?;
        let has_specversion = head.all("ce-specversion").next().is_some();
        let mode = Mode::of(content_type, has_specversion);
        let format = match mode.map_err(|UnknownFormat| self.refuse("content-type", content_type))? {
            None => None,
            Some(Mode::Binary) if self.cloudevents => {
                self.check_given(content_type)?;
                Some(Format::CloudEventBinary)
            }
            // Taken as it is, it would lose what it says of itself.
            Some(Mode::Binary) => return Err(self.refuse("ce-specversion", content_type)),
            Some(Mode::Structured) if self.cloudevents => Some(Format::CloudEventStructured),
            Some(Mode::Batched) if self.cloudevents_batch => Some(Format::CloudEventsBatch),
            Some(_) => return Err(self.refuse("content-type", content_type)),
        };
        match format {
            Some(format) => Ok(format),
            None => self.format_of_data(content_type),
        }
    }

    /// Of a request that is no CloudEvent.
    fn format_of_data(&self, content_type: Option<&str>) -> Result<Format, Refused> {
        let essence = content_type.map(essence).unwrap_or_default();
        let is_any = |names: &[&str]| names.iter().any(|name| essence.eq_ignore_ascii_case(name));
        if let Some(read_as) = self.read_as(content_type) {
            self.check_given(content_type)?;
            match read_as {
                ReadAs::Ndjson if self.ndjson => Ok(Format::Ndjson),
                ReadAs::Json if self.json_array => Ok(Format::JsonArray),
                ReadAs::Json | ReadAs::Binary if self.raw => Ok(Format::Raw),
                _ => Err(self.refuse("content-type", content_type)),
            }
        } else if self.ndjson && is_any(&["application/x-ndjson", "application/ndjson", "application/jsonl"])
        {
            self.check_media_type("body", Some(JSON))?;
            Ok(Format::Ndjson)
        } else if self.json_array && is_json(essence) {
            self.check_given(content_type)?;
            Ok(Format::JsonArray)
        } else if self.raw {
            self.check_given(content_type)?;
            Ok(Format::Raw)
        } else {
            Err(self.refuse("content-type", content_type))
        }
    }

    /// How a body of this media type is read, if the route says so. Not to be asked about CloudEvents, which say it
    /// themselves.
    pub(super) fn read_as(&self, content_type: Option<&str>) -> Option<ReadAs> {
        let matches = |range: &Option<MediaRange>| match range {
            None => true,
            Some(range) => content_type.is_some_and(|content_type| range.matches(content_type)),
        };
        self.read_as.iter().find_map(|(range, read_as)| matches(range).then_some(*read_as))
    }

    /// Whether the body of a request with this format is read as JSON.
    pub(super) fn reads_json(&self, format: Format, content_type: Option<&str>) -> bool {
        match (format, self.read_as(content_type)) {
            (Format::Raw, Some(ReadAs::Binary)) => false,
            (Format::Raw, None) | (Format::CloudEventBinary, _) => content_type.is_some_and(is_json),
            _ => true,
        }
    }

    /// A missing `Content-Type` is no fault before there is a body.
    fn check_given(&self, content_type: Option<&str>) -> Result<(), Refused> {
        if content_type.is_none() { Ok(()) } else { self.check_media_type("content-type", content_type) }
    }

    /// Checks the media type of a payload; `field` is where it stands.
    pub(crate) fn check_media_type(&self, field: &str, content_type: Option<&str>) -> Result<(), Refused> {
        let matches =
            |range: &MediaRange| content_type.is_some_and(|content_type| range.matches(content_type));
        if self.media_types.is_empty() || self.media_types.iter().any(matches) {
            return Ok(());
        }
        let wanted: Vec<_> = self.media_types.iter().map(|range| range.0.as_str()).collect();
        let got = content_type.map_or_else(|| "none".to_owned(), quote);
        Err(Refused::UnsupportedMediaType(format!("{field}: wanted {}, got {got}", wanted.join(", "))))
    }

    fn refuse(&self, field: &str, content_type: Option<&str>) -> Refused {
        let forms = [
            (self.raw, "a body that is no CloudEvent"),
            (self.cloudevents, "a CloudEvent (application/cloudevents+json in UTF-8, or ce- headers)"),
            (self.cloudevents_batch, "application/cloudevents-batch+json in UTF-8"),
            (self.ndjson, "application/x-ndjson"),
            (self.json_array, "a JSON array (application/json)"),
        ];
        let wanted: Vec<_> = forms.into_iter().filter_map(|(taken, form)| taken.then_some(form)).collect();
        let got = match (field, content_type) {
            ("content-type", Some(content_type)) => quote(content_type),
            ("content-type", None) => "none".to_owned(),
            _ => "one".to_owned(),
        };
        Refused::UnsupportedMediaType(format!("{field}: wanted {}, got {got}", wanted.join(" or ")))
    }
}

/// A media type without parameters, or all of a kind: `application/json`, `image/*`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MediaRange(String);

/// Text that is no [`MediaRange`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidMediaRange;

impl fmt::Display for InvalidMediaRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("wanted a media type without parameters, such as \"application/json\" or \"image/*\"")
    }
}

impl std::error::Error for InvalidMediaRange {}

impl FromStr for MediaRange {
    type Err = InvalidMediaRange;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let star = text.find('*').is_none_or(|at| at + 1 == text.len() && text.ends_with("/*") && at > 1);
        // Nothing but the two tokens: no parameters, and no white space around them.
        let bare = text.bytes().all(|byte| byte != b';' && byte != b' ');
        if star && bare && is_media_type(text) {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err(InvalidMediaRange)
        }
    }
}

impl MediaRange {
    /// Whether it is all of a kind.
    pub(crate) fn is_wide(&self) -> bool {
        self.0.ends_with("/*")
    }

    /// Whether `media_type`, without its parameters, is in the range.
    pub fn matches(&self, media_type: &str) -> bool {
        let essence = essence(media_type);
        match self.0.strip_suffix("/*") {
            Some(kind) => essence.split_once('/').is_some_and(|(given, _)| given.eq_ignore_ascii_case(kind)),
            None => essence.eq_ignore_ascii_case(&self.0),
        }
    }
}

/// The media type of the body, once or not at all (RFC 9110, section 8.3). It becomes `datacontenttype`, which
/// CloudEvents wants to be one.
///
/// # Errors
/// [`Refused::BadRequest`] when it is repeated or is no media type.
pub fn content_type(head: &RequestHead) -> Result<Option<&str>, Refused> {
    let value = head
        .single("content-type")
        .map_err(|repeated| Refused::BadRequest(format!("content-type: {repeated}")))?
        .filter(|value| !value.is_empty());
    let Some(value) = value else { return Ok(None) };
    let refuse = |got: &str| Refused::BadRequest(format!("content-type: wanted a media type, got {got}"));
    match std::str::from_utf8(value) {
        Ok(text) if is_media_type(text) => Ok(Some(text)),
        Ok(text) => Err(refuse(&quote(text))),
        Err(_) => Err(refuse("other bytes")),
    }
}
