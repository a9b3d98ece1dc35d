//! What a request brings: one event or many, in one of the forms that its route takes.
//!
//! [`Accepted::format`] decides by the head alone, so that a form that is not taken is refused before its body is
//! read; [`accept`] reads the body. Nothing is copied that stands in the request as it is, `data` is never made a
//! tree, and how deep the input nests makes no difference.

use std::borrow::Cow;

use wicketgate_envelope::data::Data;
use wicketgate_envelope::event::{Context, InvalidEvent, parse};
use wicketgate_envelope::json_fault::{self, BYTE_ORDER_MARK};
use wicketgate_envelope::media_type;

use crate::head::RequestHead;

mod batch;
mod binary;
mod format;

pub use format::{Accepted, Format, InvalidMediaRange, MediaRange, ReadAs, content_type};

/// The most extension attributes that a CloudEvent may come with. Together with those that the gateway and the route
/// add it has to stay within [`wicketgate_envelope::event::MAX_EXTENSIONS`].
pub const MAX_CLAIMED_EXTENSIONS: usize = 128;

/// What the elements of a JSON batch are.
const JSON: &str = "application/json";

/// An event as it came in.
#[derive(Clone, Debug)]
pub struct Incoming<'a> {
    /// The payload.
    pub data: Data<'a>,
    /// The media type of the payload.
    pub data_content_type: Option<Cow<'a, str>>,
    /// What a CloudEvent says of itself; `None` for what came as no CloudEvent. It has none of the attributes that
    /// only the gateway may set: those are refused.
    pub claimed: Option<Box<Context<'a>>>,
}

/// All that a request brings.
#[derive(Clone, Debug)]
pub struct Batch<'a> {
    /// The form in which it came. [`Format::is_batch`] tells whether the caller expects one result or a list.
    pub format: Format,
    /// Exactly one where the format is no batch; a batch of CloudEvents may have none.
    pub events: Vec<Incoming<'a>>,
}

/// Why a request is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It can't be read; the text names the part, what was wanted and what came.
    BadRequest(String),
    /// It has a form that the route does not take; the text says which it does.
    UnsupportedMediaType(String),
    /// It brings more events than the route takes at once.
    TooManyEvents {
        /// How many the route takes.
        max: usize,
    },
}

/// Reads what a request brings. `body` is the whole body, without content encoding.
///
/// # Errors
/// [`Refused`] when the route does not take it or it is not what it says it is. One bad event spoils its batch.
pub fn accept<'a>(accepted: &Accepted, head: &'a RequestHead, body: &'a [u8]) -> Result<Batch<'a>, Refused> {
    let content_type = content_type(head)?;
    let format = accepted.format(head)?;
    let body = if accepted.strips_mark && accepted.reads_json(format, content_type) {
        body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body)
    } else {
        body
    };
    let format = match format {
        // A route that takes single bodies too takes a JSON value that is no array as one.
        Format::JsonArray if accepted.raw && !batch::is_array(body) => Format::Raw,
        format => format,
    };
    let events = match format {
        Format::Raw => vec![raw(content_type, accepted.read_as(content_type), body)?],
        Format::CloudEventBinary => vec![binary::read(head, content_type, body)?],
        Format::CloudEventStructured => {
            let text = std::str::from_utf8(body).map_err(|_| {
                let fault = json_fault::by_its_start(body).map(|fault| format!("body: {fault}"));
                Refused::BadRequest(fault.unwrap_or_else(|| "body: wanted UTF-8, got other bytes".to_owned()))
            })?;
            vec![structured(text, Place::Body)?]
        }
        // Which may be empty (CloudEvents JSON Format 1.0.2, section 4).
        Format::CloudEventsBatch => batch::array(body, accepted.max_events)?
            .into_iter()
            .enumerate()
            .map(|(index, raw)| structured(raw.get(), Place::Element(index)))
            .collect::<Result<_, _>>()?,
        Format::Ndjson => batch::lines(body, accepted.max_events)?.into_iter().map(Incoming::json).collect(),
        Format::JsonArray => {
            let elements = batch::not_empty(batch::array(body, accepted.max_events)?)?;
            elements.into_iter().map(Incoming::json).collect()
        }
    };
    for (index, event) in events.iter().enumerate() {
        let (place, media_type) = match format {
            Format::Raw | Format::CloudEventBinary => (Place::Head, content_type),
            Format::CloudEventStructured => (Place::Body, event.data_content_type.as_deref()),
            Format::CloudEventsBatch => (Place::Element(index), event.data_content_type.as_deref()),
            Format::Ndjson | Format::JsonArray if accepted.read_as(content_type).is_some() => {
                (Place::Head, content_type)
            }
            // Decided by the head.
            Format::Ndjson | Format::JsonArray => break,
        };
        if !matches!(event.data, Data::Absent) {
            accepted.check_media_type(&place.name("datacontenttype"), media_type)?;
        }
    }
    Ok(Batch { format, events })
}

impl<'a> Incoming<'a> {
    fn json(value: &'a serde_json::value::RawValue) -> Self {
        Self { data: Data::Json(value), data_content_type: Some(Cow::Borrowed(JSON)), claimed: None }
    }
}

fn raw<'a>(
    content_type: Option<&'a str>,
    read_as: Option<ReadAs>,
    body: &'a [u8],
) -> Result<Incoming<'a>, Refused> {
    // JSON in `data` has a media type of JSON, whatever it came with (CloudEvents JSON Format 1.0.2, section 3.1).
    let is_json = content_type.is_some_and(media_type::is_json);
    let (content_type, data) = match read_as {
        None => (content_type, payload(content_type, body)?),
        Some(ReadAs::Binary) => (content_type, Data::from_body(None, body).unwrap_or(Data::Absent)),
        Some(ReadAs::Json | ReadAs::Ndjson) => {
            let data = Data::from_body(Some(JSON), body).map_err(|error| {
                Refused::BadRequest(format!("bodies of this content-type are read as JSON here, but {error}"))
            })?;
            (content_type.filter(|_| is_json).or(Some(JSON)), data)
        }
    };
    let content_type = content_type.filter(|_| !matches!(data, Data::Absent));
    Ok(Incoming { data, data_content_type: content_type.map(Cow::Borrowed), claimed: None })
}

fn payload<'a>(content_type: Option<&str>, body: &'a [u8]) -> Result<Data<'a>, Refused> {
    Data::from_body(content_type, body)
        .map_err(|error| Refused::BadRequest(format!("content-type says JSON, but {error}")))
}

fn structured(text: &str, place: Place) -> Result<Incoming<'_>, Refused> {
    let event = parse(text).map_err(|error| place.refuse(&error))?;
    check_claims(&event.context, place)?;
    Ok(Incoming {
        data: event.data,
        data_content_type: event.data_content_type,
        claimed: Some(Box::new(event.context)),
    })
}

/// An event leaves room for what the gateway adds. And only the gateway says who called and what it saw. An event that says so itself is refused, rather than taken
/// without: its sender would believe that it had been believed.
fn check_claims(context: &Context<'_>, place: Place) -> Result<(), Refused> {
    let reserved =
        |name: &str| name.starts_with("wg") || matches!(name, "authtype" | "authid" | "authclaims");
    if context.extensions.len() > MAX_CLAIMED_EXTENSIONS {
        let place = place.itself();
        return Err(Refused::BadRequest(format!(
            "{place}: wanted at most {MAX_CLAIMED_EXTENSIONS} extension attributes, got more"
        )));
    }
    match context.extensions.iter().find(|(name, _)| reserved(name)) {
        None => Ok(()),
        Some((name, _)) => {
            let name = place.name(name.get(..40).unwrap_or(name));
            Err(Refused::BadRequest(format!("{name}: wanted none, as only the gateway sets it, got one")))
        }
    }
}

/// Where the attributes of an event stand, for error messages.
#[derive(Clone, Copy, Debug)]
enum Place {
    Head,
    Body,
    Element(usize),
}

impl Place {
    fn name(self, attribute: &str) -> String {
        match self {
            Self::Head if attribute == "datacontenttype" => "content-type".to_owned(),
            Self::Head => format!("ce-{attribute}"),
            Self::Body => format!("body.{attribute}"),
            Self::Element(index) => format!("body[{index}].{attribute}"),
        }
    }

    fn refuse(self, error: &InvalidEvent) -> Refused {
        Refused::BadRequest(match error {
            InvalidEvent::Attribute { name, wanted, got } => {
                format!("{}: wanted {wanted}, got {got}", self.name(name))
            }
            _ => format!("{}: {error}", self.itself()),
        })
    }

    /// Where the event as a whole stands.
    fn itself(self) -> String {
        match self {
            Self::Head => "headers".to_owned(),
            Self::Body => "body".to_owned(),
            Self::Element(index) => format!("body[{index}]"),
        }
    }
}

#[cfg(test)]
mod tests;
