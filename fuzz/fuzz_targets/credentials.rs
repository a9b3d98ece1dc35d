//! Credentials as callers, proxies and authorisation servers write them. The first line of an input says what the rest is:
//!
//! * `signature`: a value of a webhook's signature header, a line, and the body. Without the secret nothing is accepted,
//!   whatever the provider.
//! * `hops`: a value of `x-forwarded-client-cert`. What a proxy appends to it counts, and nothing before it does.
//! * `basic`: a value of `Authorization`. A user and a password are written in one way only.
//! * `answer`: what an authorisation server says of a token. Only `"active": true`, once, says that it is good.
#![no_main]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use libfuzzer_sys::fuzz_target;
use wicketgate_envelope::timestamp::Timestamp;
use wicketgate_policy::certificate::Identity;
use wicketgate_policy::head::RequestHead;
use wicketgate_policy::introspection::Answer;
use wicketgate_policy::password::Credentials;
use wicketgate_policy::webhook::{DEFAULT_TOLERANCE, Engine, Key, KeyForm, Layout, Preset};

fuzz_target!(|input: &[u8]| {
    let (kind, rest) = line(input);
    match kind {
        b"signature" => signature(rest),
        b"hops" => hops(rest),
        b"basic" => basic(rest),
        b"answer" => answer(rest),
        _ => {}
    }
});

fn line(input: &[u8]) -> (&[u8], &[u8]) {
    let end = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
    let (line, rest) = input.split_at(end);
    (line, rest.get(1..).unwrap_or_default())
}

fn signature(rest: &[u8]) {
    let (value, body) = line(rest);
    for preset in [Preset::Github, Preset::Stripe, Preset::Slack, Preset::Shopify, Preset::StandardWebhooks] {
        let keys = if preset == Preset::StandardWebhooks {
            let keys = [
                "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
                "whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
            ];
            keys.map(|key| Key::parse(key, KeyForm::StandardWebhooks).expect("a key")).to_vec()
        } else {
            vec![Key::parse("a secret that no input has", KeyForm::Text).expect("a key")]
        };
        let engine = Engine::new(Layout::preset(preset), keys, DEFAULT_TOLERANCE).expect("an engine");
        let mut head = RequestHead::default();
        head.push(engine.header().as_bytes(), value);
        head.push(b"webhook-id", b"msg_1");
        head.push(b"webhook-timestamp", b"1614265330");
        head.push(b"x-slack-request-timestamp", b"1614265330");
        if let Ok(pending) = engine.check_head(&head, Timestamp::from_millis(1_614_265_330_000)) {
            let pending = pending.expect("there is a signature");
            assert!(engine.check_body(&pending, body).is_err());
        }
    }
}

fn hops(value: &[u8]) {
    let parsed = Identity::of_last_hop(value);
    let appended = [value, b",URI=spiffe://t/last"].concat();
    if let Ok(identity) = Identity::of_last_hop(&appended) {
        let wanted = Identity { uris: vec!["spiffe://t/last".to_owned()], ..Identity::default() };
        // A quote that is left open takes in what a proxy appends, and makes all of it malformed.
        assert_eq!(identity, wanted);
        assert!(parsed.is_ok());
    }
}

fn basic(value: &[u8]) {
    if let Ok(Some(credentials)) = Credentials::parse(value) {
        let (user, password) = (credentials.user(), credentials.password());
        assert!(!user.contains(':'));
        let again = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
        let encoded = value[5..].trim_ascii();
        assert_eq!(again.as_bytes()[6..], *encoded);
    }
}

fn answer(body: &[u8]) {
    if let Answer::Active(active) = Answer::read(200, body) {
        // What is passed over unread may be more than a tree of JSON can hold, such as 1e999.
        let Ok(json) = serde_json::from_slice::<serde_json::Value>(body) else { return };
        assert_eq!(json["active"], true);
        if let Some(expires) = active.expires {
            assert_eq!(json["exp"], expires);
        }
        for text in active.subject.iter().chain(&active.audiences).chain(&active.issuer) {
            assert!(json.to_string().contains(&serde_json::to_string(text).expect("JSON")));
        }
    }
}
