//! A secret is put wherever it is to be taken out: it never gets out, in no spelling of its place, and all else stays.
//!
//! A line for each rule, `drop /json/pointer` (or `mask`, `hash`); or `?` and a query. After an empty line comes a JSON
//! document.
#![no_main]

use std::borrow::Cow;

use libfuzzer_sys::fuzz_target;
use percent_encoding::percent_decode;
use serde_json::value::RawValue;
use wicketgate_fuzz::gateway::{config, send};
use wicketgate_fuzz::json::Json;
use wicketgate_fuzz::message::{Message, contains, cut, line};
use wicketgate_fuzz::record;
use wicketgate_policy::exchange::Effect;
use wicketgate_policy::head::RequestHead;
use wicketgate_policy::json_pointer::Pattern;
use wicketgate_policy::redact::{BodyError, HashKey, MASK, Redaction, Treatment};

const SECRET: &str = "s3cr3t";
const SECRET_NUMBER: &str = "31415926535897";
/// What stands for every hash, so that documents with hashes can be compared.
const ANY_HASH: &str = "hmac-sha256:";
/// As in `src/gateway.json`.
const QUERY: [(&str, Treatment); 3] =
    [("token", Treatment::Mask), ("pass word", Treatment::Drop), ("käse", Treatment::Hash)];

struct Rule {
    /// `None` is the `*`.
    tokens: Vec<Option<String>>,
    treatment: Treatment,
}

fuzz_target!(|input: &[u8]| {
    // It must be known where it comes from.
    if contains(input, SECRET.as_bytes()) || contains(input, SECRET_NUMBER.as_bytes()) {
        return;
    }
    let mut redaction = redaction();
    let (mut rules, mut query, mut rest) = (Vec::new(), Vec::new(), input);
    while !rest.is_empty() {
        let (text, after) = line(rest);
        rest = after;
        if text.is_empty() {
            break;
        }
        match text.strip_prefix(b"?") {
            Some(text) => query = text.to_vec(),
            None => rules.extend(rule(text, &mut redaction)),
        }
    }
    let query = plant_in_query(&query);
    check_query(&redaction, &query);
    let mut bits = input.iter().cycle().map(|byte| byte.count_ones() % 2 == 1);
    let mut quirk = || bits.next().unwrap_or_default();
    if let Some(document) = Json::parse(rest) {
        check_body(&redaction, &rules, &document, &mut quirk);
        check_gateway(&query, document, &mut quirk);
    }
});

fn redaction() -> Redaction {
    let key = HashKey::new(&[7; HashKey::MIN_BYTES]).expect("a key");
    let mut redaction = Redaction::new(Some(key));
    for (name, treatment) in QUERY {
        redaction.add_query_parameter(name, treatment).expect("a rule");
    }
    redaction
}

fn rule(text: &[u8], redaction: &mut Redaction) -> Option<Rule> {
    let (treatment, pointer) = std::str::from_utf8(text).ok()?.split_once(' ')?;
    let treatment = match treatment {
        "drop" => Treatment::Drop,
        "mask" => Treatment::Mask,
        "hash" => Treatment::Hash,
        _ => return None,
    };
    redaction.add_body(Pattern::parse(pointer).ok()?, treatment).ok()?;
    Some(Rule { tokens: tokens(pointer), treatment })
}

fn tokens(pointer: &str) -> Vec<Option<String>> {
    let token = |text: &str| (text != "*").then(|| text.replace("~1", "/").replace("~0", "~"));
    pointer.split('/').skip(1).map(token).collect()
}

/// Does `change` to every value that a rule names, the outermost first. Those for which it says so are taken away.
fn at_targets(
    json: &mut Json,
    rules: &[&Rule],
    depth: usize,
    change: &mut dyn FnMut(&mut Json, Treatment) -> bool,
) -> bool {
    let here = rules.iter().filter(|rule| rule.tokens.len() == depth).map(|rule| rule.treatment).min();
    if let Some(treatment) = here {
        return change(json, treatment);
    }
    let mut child = |name: &str, child: &mut Json| {
        let matches = |rule: &&&Rule| rule.tokens[depth].as_deref().is_none_or(|token| token == name);
        let inside: Vec<&Rule> = rules.iter().filter(matches).copied().collect();
        !at_targets(child, &inside, depth + 1, change)
    };
    match json {
        Json::Array(elements) => {
            let mut index = 0..;
            elements.retain_mut(|element| child(&index.next().unwrap_or(0usize).to_string(), element));
        }
        Json::Object(members) => members.retain_mut(|(name, member)| child(name, member)),
        Json::Text(_) | Json::Other(_) => {}
    }
    false
}

fn plant(document: &mut Json, rules: &[&Rule], quirk: &mut dyn FnMut() -> bool) {
    at_targets(document, rules, 0, &mut |value, _| {
        *value = match (quirk(), quirk()) {
            (true, true) => Json::Other(SECRET_NUMBER.to_owned()),
            (true, false) => Json::Object(vec![(SECRET.to_owned(), Json::Text("x".to_owned()))]),
            (false, true) => {
                Json::Array(vec![Json::Text(format!("\"{SECRET}\\")), Json::Other("null".to_owned())])
            }
            (false, false) => Json::Text(SECRET.to_owned()),
        };
        false
    });
}

fn written(document: &Json, quirk: &mut dyn FnMut() -> bool) -> String {
    let mut text = String::new();
    document.write(quirk, &mut text);
    text
}

fn hides_secret(text: &[u8]) -> bool {
    !contains(text, SECRET.as_bytes()) && !contains(text, SECRET_NUMBER.as_bytes())
}

fn check_body(redaction: &Redaction, rules: &[Rule], document: &Json, quirk: &mut dyn FnMut() -> bool) {
    let rules: Vec<&Rule> = rules.iter().collect();
    let mut document = document.clone();
    plant(&mut document, &rules, quirk);
    let text = written(&document, quirk);
    let raw = RawValue::from_string(text.clone()).expect("JSON");
    at_targets(&mut document, &rules, 0, &mut |value, treatment| {
        *value = Json::Text(if treatment == Treatment::Hash { ANY_HASH } else { MASK }.to_owned());
        treatment == Treatment::Drop
    });
    let redacted = redaction.body(&raw, usize::MAX).expect("JSON");
    let out = redacted.as_ref().map_or(text.as_str(), |redacted| redacted.get());
    let mut got = Json::parse(out.as_bytes()).unwrap_or_else(|| panic!("{out} is made of {text}"));
    [&mut got, &mut document].into_iter().for_each(forget_hashes);
    assert!(got == document && hides_secret(out.as_bytes()), "{out} is made of {text}");
    if redacted.is_some() {
        let result = redaction.body(&raw, out.len() - 1);
        assert!(matches!(result, Err(BodyError::TooLarge(_))), "{} bytes of {text}", out.len());
    }
}

fn forget_hashes(json: &mut Json) {
    match json {
        Json::Text(text) if text.starts_with(ANY_HASH) => text.truncate(ANY_HASH.len()),
        Json::Text(_) | Json::Other(_) => {}
        Json::Array(elements) => elements.iter_mut().for_each(forget_hashes),
        Json::Object(members) => members.iter_mut().for_each(|(_, value)| forget_hashes(value)),
    }
}

/// Puts the secret into each parameter that is to be redacted, for those who split at `&` and those who split at `;`.
fn plant_in_query(query: &[u8]) -> Vec<u8> {
    let pairs = query.split(|&byte| byte == b'&').map(|pair| {
        if is_redacted(cut(pair, b"=").0) {
            return with_secret(pair);
        }
        let parts: Vec<Vec<u8>> = pair
            .split(|&byte| byte == b';')
            .map(|part| if is_redacted(cut(part, b"=").0) { with_secret(part) } else { part.to_vec() })
            .collect();
        parts.join(&b';')
    });
    pairs.collect::<Vec<_>>().join(&b'&')
}

fn with_secret(pair: &[u8]) -> Vec<u8> {
    [cut(pair, b"=").0, b"=", SECRET.as_bytes()].concat()
}

fn is_redacted(name: &[u8]) -> bool {
    treatment(name).is_some()
}

fn treatment(name: &[u8]) -> Option<Treatment> {
    let spaced: Vec<u8> = name.iter().map(|&byte| if byte == b'+' { b' ' } else { byte }).collect();
    let name: Cow<'_, [u8]> = percent_decode(&spaced).into();
    QUERY.iter().find(|(wanted, _)| wanted.as_bytes() == name.as_ref()).map(|(_, treatment)| *treatment)
}

fn check_query(redaction: &Redaction, query: &[u8]) {
    let redacted = redaction.query(query);
    let shown = || String::from_utf8_lossy(query);
    assert!(hides_secret(&redacted), "{} is made of {}", String::from_utf8_lossy(&redacted), shown());
    if query.contains(&b';') {
        return;
    }
    if redacted.is_empty() {
        return;
    }
    // A name that some reader takes for one of these is redacted as well, so more may be missing than `treatment` says;
    // but nothing is made up, and what is left stands in its order.
    let kept = |pair: &&[u8]| treatment(cut(pair, b"=").0) != Some(Treatment::Drop);
    let mut left = query.split(|&byte| byte == b'&').filter(kept);
    for got in redacted.split(|&byte| byte == b'&') {
        let (name, value) = cut(got, b"=");
        let hidden = value == b"%5Bredacted%5D" || value.starts_with(b"hmac-sha256");
        let is_got = |pair: &[u8]| pair == got && !is_redacted(name) || cut(pair, b"=").0 == name && hidden;
        assert!(left.any(is_got), "{} is made of {}", String::from_utf8_lossy(&redacted), shown());
    }
}

/// The same through a whole gateway: head, query and body.
fn check_gateway(query: &[u8], document: Json, quirk: &mut dyn FnMut() -> bool) {
    let rules =
        [("/card/number", Treatment::Mask), ("/items/*/pin", Treatment::Drop), ("/*/hash", Treatment::Hash)]
            .map(|(pointer, treatment)| Rule { tokens: tokens(pointer), treatment });
    let rules: Vec<&Rule> = rules.iter().collect();
    let (mut whole, mut elements) = (document.clone(), document);
    plant(&mut whole, &rules, quirk);
    // As a batch, each element is an event.
    match &mut elements {
        Json::Array(events) => events.iter_mut().for_each(|event| plant(event, &rules, quirk)),
        single => plant(single, &rules, quirk),
    }
    let whole = written(&whole, quirk);
    let event = format!(r#"{{"specversion":"1.0","id":"1","source":"/s","type":"t","data":{whole}}}"#);
    let head = |content_type: &str| {
        let mut head = RequestHead::default();
        let target = [b"/produce/redacted/1?", query].concat();
        head.push(b":method", b"POST");
        head.push(b":path", &target);
        head.push(b"content-type", content_type.as_bytes());
        for name in ["x-mask", "x-drop", "x-hash", "ce-token"] {
            head.push(name.as_bytes(), SECRET.as_bytes());
        }
        head
    };
    for (content_type, body) in [
        ("application/json", written(&elements, quirk)),
        ("application/cloudevents+json", event.clone()),
        ("application/cloudevents-batch+json", format!("[{event}]")),
    ] {
        let message = Message { head: head(content_type), body: body.as_bytes() };
        match send(&config(), &message) {
            Effect::Dispatch { records, .. } => {
                let hidden = records.iter().all(|record| hides_secret(&record.bytes));
                assert!(hidden, "{records:?} is made of {body}");
                record::check_all(&records);
            }
            Effect::Reply(reply) => assert!(hides_secret(&reply.body), "{reply:?}"),
            effect => panic!("{effect:?}"),
        }
    }
}
