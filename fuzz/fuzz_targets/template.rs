//! A template is refused or parsed; what fills it stays within bounds, and a topic stays where it is confined.
//!
//! The first line is the template, the second the topics that it may make (by spaces), and then comes a request, the
//! segments of whose path are the parameters `a`, `b` and `c`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;
use wicketgate_fuzz::message::{Message, line};
use wicketgate_policy::path::{self, CanonicalPath};
use wicketgate_policy::query::Query;
use wicketgate_policy::template::{Facts, MAX_BYTES, Scope, Template};
use wicketgate_policy::topic::{self, TopicTemplate};

fuzz_target!(|input: &[u8]| {
    let (template, rest) = line(input);
    let (allowed, rest) = line(rest);
    let (Ok(text), Ok(allowed)) = (std::str::from_utf8(template), std::str::from_utf8(allowed)) else {
        return;
    };
    let message = Message::parse(rest);
    let path = CanonicalPath::from_target(message.head.target());
    let parameters: Vec<&str> =
        path.iter().flat_map(CanonicalPath::segments).map(String::as_str).take(3).collect();
    let names: Vec<String> = ["a", "b", "c"].into_iter().take(parameters.len()).map(str::to_owned).collect();
    let scope = Scope { path_parameters: &names, claims: true, json: true };
    let query = path::query(message.head.target()).and_then(|query| Query::parse(query).ok());
    let facts = Facts {
        path_parameters: &parameters,
        head: &message.head,
        query: query.as_ref(),
        consumer: Some("alice"),
        claims: serde_json::from_slice::<&RawValue>(message.body).ok(),
        json: serde_json::from_slice::<&RawValue>(message.body).ok(),
    };
    match Template::parse(text, &scope) {
        Ok(template) => check_template(&template, &facts),
        Err(wanted) => assert!(!wanted.is_empty()),
    }
    check_topic(text, allowed, &scope, &facts);
});

fn check_template(template: &Template, facts: &Facts<'_>) {
    match template.fill(facts) {
        Ok(None) => assert!(!template.is_literal()),
        Ok(Some(filled)) => {
            assert!(filled.len() <= MAX_BYTES && !filled.chars().any(char::is_control));
            assert!(filled.starts_with(template.literal_prefix()));
        }
        Err(unfillable) => {
            assert!(!template.is_literal());
            assert!(unfillable.to_string().starts_with(&unfillable.part));
        }
    }
}

fn check_topic(text: &str, allowed: &str, scope: &Scope<'_>, facts: &Facts<'_>) {
    let allowed: Vec<String> =
        allowed.split(' ').filter(|name| topic::is_legal(name)).map(str::to_owned).collect();
    let allowed = (!allowed.is_empty()).then_some(allowed);
    let Ok(template) = TopicTemplate::parse(text, allowed.as_deref(), scope) else { return };
    let Ok(topic) = template.fill(facts) else { return };
    assert!(topic::is_legal(&topic), "{topic:?}");
    match allowed {
        Some(allowed) => assert!(allowed.contains(&topic.into_owned())),
        None => {
            let prefix = template.template().literal_prefix();
            assert!(!prefix.is_empty() && topic.starts_with(prefix));
            assert!(template.template().is_literal() || topic != prefix);
            assert!(!topic.starts_with("__") || prefix.starts_with("__"));
        }
    }
}
