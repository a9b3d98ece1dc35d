//! An event made of any parts is written as JSON; if the parts are legal, it reads as what was written.
//!
//! A line for each attribute, `name=value` (`name#value` for an integer, `name?` for true), an empty line, the body.
#![no_main]

use std::borrow::Cow;

use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;
use wicketgate_envelope::data::Data;
use wicketgate_envelope::event::{self, Context, ContextBuilder, Event, Extension, Time};
use wicketgate_envelope::timestamp::Timestamp;
use wicketgate_fuzz::message::line;

type Attribute<'a> = (&'a str, Extension<'a>);

fuzz_target!(|input: &[u8]| {
    let mut rest = input;
    let mut attributes: Vec<Attribute<'_>> = Vec::new();
    while !rest.is_empty() {
        let (attribute, after) = line(rest);
        rest = after;
        if attribute.is_empty() {
            break;
        }
        let Ok(text) = std::str::from_utf8(attribute) else { return };
        let Some(attribute) = read(text) else { return };
        attributes.push(attribute);
    }
    check(&attributes, rest);
});

fn read(text: &str) -> Option<Attribute<'_>> {
    let at = text.find(['=', '#', '?'])?;
    let (name, value) = text.split_at(at);
    // The writer is given names by this project's own code, not by callers.
    let legal = !name.is_empty()
        && name != "data"
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let value = match value.split_at(1) {
        ("=", text) => Extension::Text(Cow::Borrowed(text)),
        ("#", number) => Extension::Integer(number.parse().ok()?),
        (_, text) => Extension::Boolean(text.is_empty()),
    };
    legal.then_some((name, value))
}

fn check(attributes: &[Attribute<'_>], body: &[u8]) {
    let text = |wanted: &str| {
        attributes.iter().find_map(|(name, value)| match value {
            Extension::Text(text) if *name == wanted => Some(text.as_ref()),
            _ => None,
        })
    };
    let content_type = text("datacontenttype");
    let Ok(data) = Data::from_body(content_type, body) else { return };
    let extensions: Vec<_> = attributes
        .iter()
        .filter(|(name, _)| {
            !matches!(*name, "id" | "source" | "type" | "subject" | "time" | "datacontenttype" | "dataschema")
        })
        .cloned()
        .collect();
    let written = Event {
        id: text("id").unwrap_or_default(),
        source: text("source").unwrap_or_default(),
        type_: text("type").unwrap_or_default(),
        subject: text("subject"),
        time: text("time").map_or(Time::At(Timestamp::from_nanos(u64::MAX)), Time::Claimed),
        data_content_type: content_type,
        data_schema: text("dataschema"),
        extensions: &extensions,
        data,
    };
    let mut json = Vec::new();
    written.write_json(&mut json);
    let json = std::str::from_utf8(&json).expect("not UTF-8");
    let _: &RawValue = serde_json::from_str(json).unwrap_or_else(|error| panic!("{error} in {json}"));
    match (legal(&written), event::parse(json)) {
        (None, read) => assert!(read.is_err(), "{json}"),
        (Some(wanted), read) => {
            let read = read.unwrap_or_else(|error| panic!("{error} in {json}"));
            assert_eq!(read.context, wanted);
            assert_eq!(read.data_content_type.as_deref(), content_type);
            assert_eq!(read.data.into_bytes(), written.data.into_bytes());
        }
    }
}

/// What the event says, if all that it says is legal. Asked of the one place that decides it.
fn legal<'a>(event: &Event<'a>) -> Option<Context<'a>> {
    let mut builder = ContextBuilder::default();
    let time = match event.time {
        Time::At(time) => time.to_string(),
        Time::Claimed(text) => text.to_owned(),
    };
    let required = [
        ("specversion", event::SPEC_VERSION),
        ("id", event.id),
        ("source", event.source),
        ("type", event.type_),
    ];
    for (name, text) in required {
        builder.set(name.into(), text.into()).ok()?;
    }
    builder.set("time".into(), time.into()).ok()?;
    let optional = [
        ("subject", event.subject),
        ("datacontenttype", event.data_content_type),
        ("dataschema", event.data_schema),
    ];
    for (name, text) in optional {
        if let Some(text) = text {
            builder.set(name.into(), text.into()).ok()?;
        }
    }
    for (name, value) in event.extensions {
        builder.set((*name).into(), value.clone()).ok()?;
    }
    builder.finish().ok().map(|(context, _)| context)
}
