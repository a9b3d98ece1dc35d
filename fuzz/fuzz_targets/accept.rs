//! A request is taken apart into events, within what its route takes, or refused.
//!
//! The first line says what the route takes, such as `raw cloudevents ndjson max=3 type=image/*`; then comes the
//! request.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wicketgate_envelope::event::ParsedEvent;
use wicketgate_fuzz::message::{Message, line};
use wicketgate_fuzz::record::check_round_trip;
use wicketgate_policy::accept::{Accepted, Format, Refused, accept};

fuzz_target!(|input: &[u8]| {
    let (taken, rest) = line(input);
    let Ok(taken) = std::str::from_utf8(taken) else { return };
    let accepted = accepted(taken);
    let Message { head, body } = Message::parse(rest);
    match accept(&accepted, &head, body) {
        Ok(batch) => {
            let takes = match batch.format {
                Format::Raw => accepted.raw,
                Format::CloudEventBinary | Format::CloudEventStructured => accepted.cloudevents,
                Format::CloudEventsBatch => accepted.cloudevents_batch,
                Format::Ndjson => accepted.ndjson,
                Format::JsonArray => accepted.json_array,
            };
            assert!(takes);
            let most = if batch.format.is_batch() { accepted.max_events } else { 1 };
            // A batch of CloudEvents may be empty (CloudEvents JSON Format 1.0.2, section 4).
            let least = usize::from(batch.format != Format::CloudEventsBatch);
            assert!((least..=most).contains(&batch.events.len()));
            for event in batch.events {
                let Some(context) = event.claimed else { continue };
                let reserved = |name: &str| {
                    name.starts_with("wg") || ["authtype", "authid", "authclaims"].contains(&name)
                };
                assert!(!context.extensions.iter().any(|(name, _)| reserved(name)));
                check_round_trip(&ParsedEvent {
                    context: *context,
                    data_content_type: event.data_content_type,
                    data: event.data,
                });
            }
        }
        Err(Refused::TooManyEvents { max }) => assert_eq!(max, accepted.max_events),
        Err(Refused::BadRequest(detail) | Refused::UnsupportedMediaType(detail)) => {
            assert!((1..1000).contains(&detail.len()) && !detail.contains('\n'), "{detail:?}");
        }
    }
});

fn accepted(text: &str) -> Accepted {
    let mut accepted = Accepted { raw: false, cloudevents: false, max_events: 3, ..Accepted::default() };
    for word in text.split(' ') {
        match word.split_once('=') {
            None => match word {
                "raw" => accepted.raw = true,
                "cloudevents" => accepted.cloudevents = true,
                "batch" => accepted.cloudevents_batch = true,
                "ndjson" => accepted.ndjson = true,
                "json_array" => accepted.json_array = true,
                _ => {}
            },
            Some(("max", number)) => accepted.max_events = number.parse().unwrap_or(3),
            // A refusal lists them, so it is as long as they are.
            Some(("type", range)) if accepted.media_types.len() < 4 && range.len() < 100 => {
                accepted.media_types.extend(range.parse().ok())
            }
            Some(_) => {}
        }
    }
    accepted
}
