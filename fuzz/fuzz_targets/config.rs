//! Any bytes are a configuration or a list of mistakes; and what a configuration takes makes events that can be read.
//!
//! An input that begins with `/` changes a document that is right: each line is a JSON pointer, a space, and the value
//! that comes there (JSON, or else text; nothing at all removes it). After an empty line comes a request.
#![no_main]

use std::rc::Rc;

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use wicketgate_fuzz::gateway::{DOCUMENT, send};
use wicketgate_fuzz::message::{Message, line};
use wicketgate_fuzz::record;
use wicketgate_policy::config::Config;
use wicketgate_policy::exchange::Effect;

fuzz_target!(|input: &[u8]| {
    if !input.starts_with(b"/") {
        let _ = load(input);
        return;
    }
    let mut document: Value = serde_json::from_str(DOCUMENT).expect("gateway.json");
    let mut rest = input;
    loop {
        let (change, after) = line(rest);
        rest = after;
        if change.is_empty() {
            break;
        }
        let Ok(text) = std::str::from_utf8(change) else { return };
        let (pointer, value) = text.split_once(' ').unwrap_or((text, ""));
        set(&mut document, pointer, value);
    }
    let json = serde_json::to_vec(&document).expect("JSON");
    if let Some(config) = load(&json)
        && let Effect::Dispatch { records, .. } = send(&Rc::new(config), &Message::parse(rest))
    {
        record::check_all(&records);
    }
});

/// Nothing of a secret field is ever told.
fn load(json: &[u8]) -> Option<Config> {
    match Config::from_json(json) {
        Ok(config) => {
            assert!((100..=300_000).contains(&config.bridge.timeout.as_millis()));
            Some(config)
        }
        Err(errors) => {
            assert!(!errors.0.is_empty());
            let text = errors.to_string();
            let document: Option<Value> = serde_json::from_slice(json).ok();
            for path in ["/consumers/0/api_keys/0/sha256", "/redaction_key"] {
                let secret = document.as_ref().and_then(|document| document.pointer(path)?.as_str());
                // A short one is told by chance, as is one that stands elsewhere too.
                let secret = secret.filter(|secret| secret.len() >= 16 && occurrences(json, secret) == 1);
                assert!(secret.is_none_or(|secret| !text.contains(secret)), "{text}");
            }
            None
        }
    }
}

fn occurrences(json: &[u8], text: &str) -> usize {
    json.windows(text.len()).filter(|window| *window == text.as_bytes()).count()
}

fn set(document: &mut Value, pointer: &str, value: &str) {
    let Some((parent, name)) = pointer.rsplit_once('/') else { return };
    let name = name.replace("~1", "/").replace("~0", "~");
    let value = (!value.is_empty())
        .then(|| serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned())));
    match (document.pointer_mut(parent), value) {
        (Some(Value::Object(members)), Some(value)) => {
            members.insert(name, value);
        }
        (Some(Value::Object(members)), None) => {
            members.remove(&name);
        }
        (Some(Value::Array(elements)), Some(value)) => {
            match name.parse().ok().and_then(|at: usize| elements.get_mut(at)) {
                Some(element) => *element = value,
                None => elements.push(value),
            }
        }
        (Some(Value::Array(elements)), None) => {
            elements.pop();
        }
        _ => {}
    }
}
