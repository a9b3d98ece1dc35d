//! The few attributes that decide where an event goes, without a look at the rest.

use std::borrow::Cow;

use serde::Deserialize;

use super::{InvalidEvent, SPEC_VERSION};
use crate::quote::quote;

/// The attributes of an event that decide where it goes and what its receipt says; everything else is passed
/// over unread, and stays in the record as it came.
#[derive(Clone, Debug, Deserialize)]
#[serde(expecting = "a CloudEvent, which is an object")]
pub struct Attributes<'a> {
    /// Must be [`SPEC_VERSION`].
    #[serde(borrow)]
    pub specversion: Cow<'a, str>,
    /// Unique together with `source`.
    #[serde(borrow)]
    pub id: Cow<'a, str>,
    /// The context in which the event happened.
    #[serde(borrow)]
    pub source: Cow<'a, str>,
    /// What kind of event it is.
    #[serde(borrow, rename = "type")]
    pub type_: Cow<'a, str>,
    /// The partitioning extension (CloudEvents extensions, `partitionkey`).
    #[serde(borrow, default)]
    pub partitionkey: Option<Cow<'a, str>>,
}

impl<'a> Attributes<'a> {
    /// Reads the attributes of an event in JSON and checks those that CloudEvents requires.
    ///
    /// # Errors
    /// [`InvalidEvent`] when CloudEvents 1.0.2, section 3, does not hold.
    pub fn from_json(json: &'a str) -> Result<Self, InvalidEvent> {
        let attributes: Self = serde_json::from_str(json).map_err(InvalidEvent::Json)?;
        // serde reads a struct from an array as well, taking its elements for the fields in order.
        if !json.trim_ascii_start().starts_with('{') {
            return Err(InvalidEvent::NotAnObject);
        }
        if attributes.specversion != SPEC_VERSION {
            return Err(InvalidEvent::new("specversion", "\"1.0\"", quote(&attributes.specversion)));
        }
        for (name, value) in
            [("id", &attributes.id), ("source", &attributes.source), ("type", &attributes.type_)]
        {
            if value.is_empty() {
                return Err(InvalidEvent::new(name, "a non-empty string", "\"\""));
            }
        }
        Ok(attributes)
    }
}
