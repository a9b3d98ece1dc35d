//! Templates that redaction makes useless: each feature is right alone, and both together give every event one id, or no
//! event any record.

use super::super::error::Mistakes;
use crate::plan::Plan;
use crate::redact::Treatment;
use crate::template::Template;

/// Checks the templates of a plan against its redaction. `path` is that of the route.
pub(super) fn check(plan: &Plan, path: &str, mistakes: &mut Mistakes) {
    let (event, kafka) = (&plan.event, &plan.kafka);
    let timestamp = kafka.timestamp.as_ref().map(|time| &time.template);
    let single = [
        ("event.id", event.id.as_ref()),
        ("event.subject", event.subject.as_ref()),
        ("kafka.topic", Some(kafka.topic.template())),
        ("kafka.key", kafka.key.as_ref()),
        ("kafka.partition", kafka.partition.as_ref()),
        ("kafka.timestamp", timestamp),
    ];
    let single = single.into_iter().filter_map(|(field, template)| Some((field.to_owned(), template?)));
    let extensions =
        event.extensions.iter().map(|(name, template)| (format!("event.extensions.{name}"), template));
    let headers = kafka.headers.iter().map(|(name, template)| (format!("kafka.headers.{name}"), template));
    for (field, template) in single.chain(extensions).chain(headers) {
        check_template(plan, &field, template, path, mistakes);
    }
    if let Some(id) = event.id.as_ref().filter(|id| !id.tells_requests_apart()) {
        let wanted = "a part that differs from event to event and has no default (optional leaves the id to the gateway), \
                      because events with the same id are taken for one";
        let got = if id.is_literal() { "a constant" } else { "none" };
        mistakes.add(format!("{path}.event.id"), wanted, got);
    }
}

fn check_template(plan: &Plan, field: &str, template: &Template, path: &str, mistakes: &mut Mistakes) {
    let refused: &[Treatment] = match field {
        "event.id" | "kafka.key" | "kafka.topic" => &[Treatment::Mask],
        "kafka.partition" | "kafka.timestamp" => &[Treatment::Mask, Treatment::Hash],
        _ => &[],
    };
    let why = match field {
        "event.id" => "are taken for one event, and all but the first are thrown away",
        "kafka.key" => "have one key, and are put into one partition or replace each other",
        "kafka.topic" => "have what can be in no topic's name",
        "kafka.partition" => "have no number",
        _ => "have no time",
    };
    let at = format!("{path}.{field}");
    for (part, treatment) in template.redacted(&plan.redaction).filter(|(_, how)| refused.contains(how)) {
        let how = if treatment == Treatment::Mask { "masks" } else { "hashes" };
        let wanted =
            format!("parts that tell events apart once they are redacted, because otherwise they {why}");
        mistakes.add(at.clone(), wanted, format!("{part}, which redact {how}"));
    }
    if let Some(part) = template.never_there(&plan.redaction, field == "event.id") {
        let wanted = "parts that are there once the request is redacted";
        mistakes.add(at, wanted, format!("{part}, which redact drops"));
    }
}
