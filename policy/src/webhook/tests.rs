#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

/// A secret, headers, a body and the time at which it all is right.
struct Delivery {
    preset: Preset,
    form: KeyForm,
    secret: &'static str,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    now: i64,
}

impl Delivery {
    fn engine(&self, keys: &[&str]) -> Engine {
        let keys = keys.iter().map(|key| Key::parse(key, self.form).unwrap()).collect();
        Engine::new(Layout::preset(self.preset), keys, DEFAULT_TOLERANCE).unwrap()
    }

    fn check(&self) -> Result<Option<Verified>, Rejected> {
        check(&self.engine(&[self.secret]), &self.headers, &self.body, self.now)
    }

    fn with(mut self, header: &str, value: &str) -> Self {
        self.headers
            .iter_mut()
            .filter(|(name, _)| *name == header)
            .for_each(|(_, own)| *own = value.to_owned());
        self
    }

    fn without(mut self, header: &str) -> Self {
        self.headers.retain(|(name, _)| *name != header);
        self
    }

    fn repeated(mut self, header: &str) -> Self {
        let again = self.headers.iter().find(|(name, _)| *name == header).unwrap().clone();
        self.headers.push(again);
        self
    }

    fn at(mut self, now: i64) -> Self {
        self.now = now;
        self
    }

    fn sent(mut self, body: &[u8]) -> Self {
        self.body = body.to_vec();
        self
    }
}

fn check<V: AsRef<str>>(
    engine: &Engine,
    headers: &[(&str, V)],
    body: &[u8],
    now: i64,
) -> Result<Option<Verified>, Rejected> {
    let mut head = RequestHead::default();
    headers.iter().for_each(|(name, value)| head.push(name.as_bytes(), value.as_ref().as_bytes()));
    let pending = engine.check_head(&head, Timestamp::from_millis(now * 1000))?;
    pending.map(|pending| engine.check_body(&pending, body)).transpose()
}

/// From GitHub's "Validating webhook deliveries".
fn github() -> Delivery {
    let signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    Delivery {
        preset: Preset::Github,
        form: KeyForm::Text,
        secret: "It's a Secret to Everybody",
        headers: vec![
            ("x-hub-signature-256", signature.to_owned()),
            ("x-github-delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958".to_owned()),
        ],
        body: b"Hello, World!".to_vec(),
        now: 1_700_000_000,
    }
}

/// From Slack's "Verifying requests from Slack".
fn slack() -> Delivery {
    let signature = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503";
    Delivery {
        preset: Preset::Slack,
        form: KeyForm::Text,
        secret: "8f742231b10e8888abcd99yyyzzz85a5",
        headers: vec![
            ("x-slack-request-timestamp", "1531420618".to_owned()),
            ("x-slack-signature", signature.to_owned()),
        ],
        body:
            b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&\
            channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&\
            response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F\
            96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
                .to_vec(),
        now: 1_531_420_618,
    }
}

/// Stripe publishes the form and no example that can be checked: `printf '1492774577.{"id":"evt_1"}' | openssl dgst
/// -sha256 -hmac whsec_0123456789abcdef`.
fn stripe() -> Delivery {
    Delivery {
        preset: Preset::Stripe,
        form: KeyForm::Text,
        secret: "whsec_0123456789abcdef",
        headers: vec![("stripe-signature", format!("t=1492774577,{STRIPE_V1},v0={}", "6f".repeat(32)))],
        body: br#"{"id":"evt_1"}"#.to_vec(),
        now: 1_492_774_577,
    }
}

const STRIPE_V1: &str = "v1=c5d42d7dd5598cf53c4dc40893eabe2528694c55fd419bc87cb6d84060d6dbf9";

/// As Stripe's: `printf '{"id":820982911946154508}' | openssl dgst -sha256 -hmac hush-hush-hush-hush -binary | base64`.
fn shopify() -> Delivery {
    Delivery {
        preset: Preset::Shopify,
        form: KeyForm::Text,
        secret: "hush-hush-hush-hush",
        headers: vec![
            ("x-shopify-hmac-sha256", "aDPQjbkrpNlMdy9Xpgse3eKgANQc2Yx/Najj029WpLU=".to_owned()),
            ("x-shopify-webhook-id", "b54557e4-bdd9-4b37-8a5f-bf7d70bcd043".to_owned()),
        ],
        body: br#"{"id":820982911946154508}"#.to_vec(),
        now: 1_700_000_000,
    }
}

/// From the specification of Standard Webhooks.
fn standard() -> Delivery {
    Delivery {
        preset: Preset::StandardWebhooks,
        form: KeyForm::StandardWebhooks,
        secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        headers: vec![
            ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek".to_owned()),
            ("webhook-timestamp", "1614265330".to_owned()),
            ("webhook-signature", STANDARD_V1.to_owned()),
        ],
        body: br#"{"test": 2432232314}"#.to_vec(),
        now: 1_614_265_330,
    }
}

const STANDARD_V1: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

/// The same delivery, signed by OpenSSL with the first key of RFC 8032, section 7.1.
fn standard_asymmetric() -> Delivery {
    let delivery = Delivery { secret: "whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=", ..standard() };
    delivery.with("webhook-signature", STANDARD_V1A)
}

const STANDARD_V1A: &str =
    "v1a,fldxM4gAKugP6nnt1hdz3sgGfZ6d99nzrMFnZOELIxbzEHoVmAb2ADpkJK7zgPePmPsle0zV9jSeGlHFG2NVAw==";

fn deliveries() -> Vec<Delivery> {
    vec![github(), slack(), stripe(), shopify(), standard(), standard_asymmetric()]
}

fn verified(id: Option<&str>) -> Result<Option<Verified>, Rejected> {
    Ok(Some(Verified { delivery_id: id.map(str::to_owned), challenge: None }))
}

#[test]
fn what_a_provider_signed_is_let_in_under_its_id() {
    for (delivery, id) in [
        (github(), Some("72d3162e-cc78-11e3-81ab-4c9367dc0958")),
        (github().without("x-github-delivery"), None),
        (slack(), None),
        (stripe(), Some("evt_1")),
        (shopify(), Some("b54557e4-bdd9-4b37-8a5f-bf7d70bcd043")),
        (standard(), Some("msg_p5jXN8AQM9LWM0D4loKWxJek")),
        (standard_asymmetric(), Some("msg_p5jXN8AQM9LWM0D4loKWxJek")),
    ] {
        assert_eq!(delivery.check(), verified(id), "{:?}", delivery.preset);
    }
}

#[test]
fn a_request_without_a_signature_has_no_credential() {
    for delivery in deliveries() {
        let header = delivery.engine(&[delivery.secret]).header().to_owned();
        let preset = delivery.preset;
        assert_eq!(delivery.without(&header).check(), Ok(None), "{preset:?}");
    }
}

#[test]
fn an_altered_body_is_refused_in_whatever_way_it_was_altered() {
    for delivery in deliveries() {
        let (body, preset) = (delivery.body.clone(), delivery.preset);
        let engine = delivery.engine(&[delivery.secret]);
        let mut flipped = body.clone();
        *flipped.last_mut().unwrap() ^= 1;
        let longer = [body.as_slice(), b"\n"].concat();
        for altered in [&flipped[..], &longer, &body[1..], b""] {
            let result = check(&engine, &delivery.headers, altered, delivery.now);
            assert_eq!(result, Err(Rejected::Mismatch), "{preset:?}");
        }
    }
}

#[test]
fn any_of_the_live_secrets_will_do_and_no_other() {
    for delivery in deliveries() {
        let other = match delivery.form {
            KeyForm::Text => "another-secret-another-secret",
            KeyForm::StandardWebhooks => "whsec_YW5vdGhlci1zZWNyZXQtYW5vdGhlci1zZWNyZXQ=",
        };
        for (keys, right) in [
            (&[other][..], false),
            (&[delivery.secret, other], true),
            (&[other, delivery.secret], true),
            (&[other, other], false),
        ] {
            let result = check(&delivery.engine(keys), &delivery.headers, &delivery.body, delivery.now);
            assert_eq!(matches!(result, Ok(Some(_))), right, "{:?}", delivery.preset);
            assert_eq!(result == Err(Rejected::Mismatch), !right, "{:?}", delivery.preset);
        }
    }
}

#[test]
fn a_signed_time_is_near_the_clock_in_both_directions() {
    for delivery in [slack, stripe, standard, standard_asymmetric] {
        let signed = delivery().now;
        for (now, wanted) in [
            (signed + 300, None),
            (signed + 301, Some(Rejected::TooOld)),
            (signed + 100_000_000, Some(Rejected::TooOld)),
            (signed - 300, None),
            (signed - 301, Some(Rejected::InTheFuture)),
            (0, Some(Rejected::InTheFuture)),
        ] {
            assert_eq!(delivery().at(now).check().err(), wanted, "{:?} {now}", delivery().preset);
        }
    }
}

#[test]
fn an_altered_time_or_id_is_refused() {
    for altered in [
        slack().with("x-slack-request-timestamp", "1531420619"),
        stripe().with("stripe-signature", &format!("t=1492774578,{STRIPE_V1}")),
        standard().with("webhook-timestamp", "1614265331"),
        standard_asymmetric().with("webhook-timestamp", "1614265331"),
        standard().with("webhook-timestamp", "01614265330"),
        standard().with("webhook-id", "msg_other"),
        standard_asymmetric().with("webhook-id", "msg_other"),
    ] {
        assert_eq!(altered.check(), Err(Rejected::Mismatch), "{:?}", altered.headers);
    }
}

#[test]
fn a_signed_time_is_a_number_of_seconds() {
    for time in ["", "1531420618.0", "+1531420618", "-1", " ", "now", "1531420618123", "99999999999999999999"]
    {
        assert_eq!(
            slack().with("x-slack-request-timestamp", time).check(),
            Err(Rejected::Malformed("x-slack-request-timestamp".to_owned())),
            "{time}"
        );
        assert_eq!(
            stripe().with("stripe-signature", &format!("t={time},{STRIPE_V1}")).check(),
            Err(Rejected::Malformed("stripe-signature".to_owned())),
            "{time}"
        );
    }
}

#[test]
fn what_is_signed_is_there_once() {
    for (delivery, wanted) in [
        (
            slack().without("x-slack-request-timestamp"),
            Rejected::Missing("x-slack-request-timestamp".to_owned()),
        ),
        (stripe().with("stripe-signature", STRIPE_V1), Rejected::Missing("stripe-signature".to_owned())),
        (standard().without("webhook-timestamp"), Rejected::Missing("webhook-timestamp".to_owned())),
        (standard().without("webhook-id"), Rejected::Missing("webhook-id".to_owned())),
        (slack().repeated("x-slack-signature"), Rejected::Repeated("x-slack-signature".to_owned())),
        (
            slack().repeated("x-slack-request-timestamp"),
            Rejected::Repeated("x-slack-request-timestamp".to_owned()),
        ),
        (github().repeated("x-hub-signature-256"), Rejected::Repeated("x-hub-signature-256".to_owned())),
        (github().repeated("x-github-delivery"), Rejected::Repeated("x-github-delivery".to_owned())),
        (standard().repeated("webhook-id"), Rejected::Repeated("webhook-id".to_owned())),
        (
            stripe().with("stripe-signature", &format!("t=1492774577,t=1492774577,{STRIPE_V1}")),
            Rejected::Repeated("stripe-signature".to_owned()),
        ),
    ] {
        assert_eq!(delivery.check(), Err(wanted), "{:?}", delivery.headers);
    }
}

#[test]
fn a_lone_signature_has_the_form_that_is_wanted() {
    let hex = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    for signature in [
        String::new(),
        "sha256=".to_owned(),
        hex.to_owned(),
        format!("sha1={hex}"),
        format!("SHA256={hex}"),
        format!("sha256={}", &hex[1..]),
        format!("sha256={hex}0"),
        format!("sha256={hex}00"),
        format!("sha256= {hex}"),
        format!("sha256={hex},sha256={hex}"),
        format!("sha256={}", hex.replace('e', "g")),
    ] {
        let wanted = Err(Rejected::Malformed("x-hub-signature-256".to_owned()));
        assert_eq!(github().with("x-hub-signature-256", &signature).check(), wanted, "{signature}");
    }
    let upper = format!("sha256={}", hex.to_uppercase());
    assert!(matches!(github().with("x-hub-signature-256", &upper).check(), Ok(Some(_))));
    for signature in [
        "aDPQjbkrpNlMdy9Xpgse3eKgANQc2Yx/Najj029WpLU",
        "aDPQjbkrpNlMdy9Xpgse3eKgANQc2Yx_Najj029WpLU=",
        // The same bytes, with bits that base64 does not use.
        "aDPQjbkrpNlMdy9Xpgse3eKgANQc2Yx/Najj029WpLV=",
        "aDPQjbkrpNlMdy9Xpgse3eKgANQc2Yx/Najj029WpLUA",
    ] {
        let wanted = Err(Rejected::Malformed("x-shopify-hmac-sha256".to_owned()));
        assert_eq!(shopify().with("x-shopify-hmac-sha256", signature).check(), wanted, "{signature}");
    }
}

#[test]
fn of_several_signatures_one_is_right() {
    let wrong = format!("v1={}", "00".repeat(32));
    for (list, wanted) in [
        (format!("t=1492774577,{wrong},{STRIPE_V1}"), None),
        (format!("t=1492774577,{STRIPE_V1},{wrong}"), None),
        (format!("{STRIPE_V1},{wrong},t=1492774577"), None),
        (format!("t=1492774577, {STRIPE_V1}"), None),
        (format!("t=1492774577,v1=short,,v2=x,{STRIPE_V1}"), None),
        (format!("t=1492774577,{wrong}"), Some(Rejected::Mismatch)),
        (format!("t=1492774577,{}", STRIPE_V1.replace("v1", "v0")), Some(Rejected::NoSignature)),
        (format!("t=1492774577,{}", STRIPE_V1.replace("v1=", "")), Some(Rejected::NoSignature)),
        ("t=1492774577,v1=short".to_owned(), Some(Rejected::NoSignature)),
        ("t=1492774577".to_owned(), Some(Rejected::NoSignature)),
        (",,".to_owned(), Some(Rejected::NoSignature)),
        (String::new(), Some(Rejected::NoSignature)),
        (format!("t=1492774577,{}{STRIPE_V1}", format!("{wrong},").repeat(7)), None),
        (
            format!("t=1492774577,{}{STRIPE_V1}", format!("{wrong},").repeat(8)),
            Some(Rejected::TooManySignatures),
        ),
        (
            format!("t=1492774577,{STRIPE_V1}{}", ",".repeat(MAX_HEADER_BYTES)),
            Some(Rejected::Malformed("stripe-signature".to_owned())),
        ),
    ] {
        assert_eq!(stripe().with("stripe-signature", &list).check().err(), wanted, "{list}");
    }
}

#[test]
fn a_signature_counts_for_its_own_kind_of_key_only() {
    let as_v1a = STANDARD_V1.replace("v1,", "v1a,");
    let as_v1 = STANDARD_V1A.replace("v1a,", "v1,");
    let both = format!("{STANDARD_V1A} {STANDARD_V1}");
    for (delivery, list, wanted) in [
        (standard(), both.as_str(), None),
        (standard_asymmetric(), &both, None),
        (standard(), STANDARD_V1A, Some(Rejected::Mismatch)),
        (standard_asymmetric(), STANDARD_V1, Some(Rejected::Mismatch)),
        (standard(), &as_v1a, Some(Rejected::NoSignature)),
        (standard_asymmetric(), &as_v1, Some(Rejected::NoSignature)),
        (standard_asymmetric(), &format!("v1a,{}==", "A".repeat(86)), Some(Rejected::Mismatch)),
    ] {
        assert_eq!(delivery.with("webhook-signature", list).check().err(), wanted, "{list}");
    }
}

#[test]
fn no_two_deliveries_have_the_same_signed_text() {
    // `msg.1614265330.x` could be the id `msg`, or the id `msg.1614265330`.
    for id in ["msg_p5jX.N8AQM9LWM0D4loKWxJek", ".", "", "a b", "ü", &"x".repeat(MAX_ID_BYTES + 1)] {
        let wanted = Err(Rejected::Malformed("webhook-id".to_owned()));
        assert_eq!(standard().with("webhook-id", id).check(), wanted, "{id}");
    }
    assert!(matches!(github().with("x-github-delivery", "a.b").check(), Ok(Some(_))));
}

#[test]
fn a_body_is_asked_for_its_id_only_once_it_is_signed() {
    let signed = |body: &[u8]| {
        let text = [b"1492774577.", body].concat();
        let mac =
            <hmac::Hmac<sha2::Sha256> as hmac::KeyInit>::new_from_slice(stripe().secret.as_bytes()).unwrap();
        let mac = hmac::Mac::finalize(hmac::Mac::chain_update(mac, text)).into_bytes();
        let hex: String = mac.iter().map(|byte| format!("{byte:02x}")).collect();
        stripe().with("stripe-signature", &format!("t=1492774577,v1={hex}")).sent(body)
    };
    for (body, id) in [
        (&br#"{"id": "evt_2"}"#[..], Some("evt_2")),
        (br#"{"id": 1}"#, None),
        (br#"{"id": "a b"}"#, None),
        (br#"{"id": "evt_1", "id": "evt_2"}"#, None),
        (br#"{"object": {"id": "evt_2"}}"#, None),
        (b"not JSON", None),
        (b"\xff", None),
    ] {
        assert_eq!(signed(body).check(), verified(id), "{body:?}");
    }
}

#[test]
fn slack_is_answered_its_challenge_once_it_has_signed_it() {
    let sent = |body: &[u8], secret: &str| {
        let text = [b"v0:1531420618:", body].concat();
        let mac = <hmac::Hmac<sha2::Sha256> as hmac::KeyInit>::new_from_slice(secret.as_bytes()).unwrap();
        let mac = hmac::Mac::finalize(hmac::Mac::chain_update(mac, text)).into_bytes();
        let hex: String = mac.iter().map(|byte| format!("{byte:02x}")).collect();
        slack().with("x-slack-signature", &format!("v0={hex}")).sent(body).check()
    };
    let secret = slack().secret;
    let challenge = |text: &str| Verified { delivery_id: None, challenge: Some(text.to_owned()) };
    let asked = br#"{"token": "Jhj5dZrVaK7ZwHHjRyZWjbDl", "challenge": "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P", "type": "url_verification"}"#;
    assert_eq!(
        sent(asked, secret),
        Ok(Some(challenge("3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P")))
    );
    assert_eq!(sent(asked, "some other secret"), Err(Rejected::Mismatch));
    let event = Verified { delivery_id: Some("Ev08MFMKH6".to_owned()), challenge: None };
    assert_eq!(sent(br#"{"type": "event_callback", "event_id": "Ev08MFMKH6"}"#, secret), Ok(Some(event)));
    for body in [
        &br#"{"type": "event_callback", "challenge": "x"}"#[..],
        br#"{"type": "url_verification"}"#,
        br#"{"type": "url_verification", "challenge": 1}"#,
        br#"{"type": "url_verification", "challenge": "<script> "}"#,
        br#"{"type": "url_verification", "challenge": "x", "challenge": "y"}"#,
    ] {
        assert_eq!(sent(body, secret), verified(None), "{body:?}");
    }
}

#[test]
fn a_secret_has_to_be_one_and_is_never_shown() {
    for (text, form) in [
        ("", KeyForm::Text),
        ("fifteen bytes..", KeyForm::Text),
        ("", KeyForm::StandardWebhooks),
        ("whsec_", KeyForm::StandardWebhooks),
        ("whsec_c2hvcnQ=", KeyForm::StandardWebhooks),
        ("whsec_not base64 at all!", KeyForm::StandardWebhooks),
        ("whpk_c2hvcnQ=", KeyForm::StandardWebhooks),
        // Points of small order, which anybody can sign for.
        ("whpk_AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", KeyForm::StandardWebhooks),
        ("whpk_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", KeyForm::StandardWebhooks),
    ] {
        let error = Key::parse(text, form).unwrap_err();
        assert!(text.is_empty() || text == "whsec_" || !error.contains(text), "{error}");
    }
    let bare = Key::parse("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", KeyForm::StandardWebhooks).unwrap();
    assert_eq!(format!("{bare:?}"), "Key(not shown)");
    let engine =
        Engine::new(Layout::preset(Preset::StandardWebhooks), vec![bare.clone()], DEFAULT_TOLERANCE).unwrap();
    assert!(matches!(check(&engine, &standard().headers, &standard().body, standard().now), Ok(Some(_))));
    for count in [0, MAX_KEYS + 1] {
        assert!(
            Engine::new(Layout::preset(Preset::Github), vec![bare.clone(); count], DEFAULT_TOLERANCE)
                .is_err()
        );
    }
}

const GENERIC: Generic<'_> = Generic {
    header: "X-Signature",
    prefix: "v1=",
    encoding: Encoding::Hex,
    separator: Some(","),
    signed: "{timestamp}.{body}",
    timestamp_header: None,
    timestamp_prefix: Some("t="),
    id_header: Some("X-Id"),
};

#[test]
fn a_described_layout_does_what_a_preset_does() {
    let keys = vec![Key::parse(stripe().secret, KeyForm::Text).unwrap()];
    let engine = Engine::new(Layout::generic(&GENERIC).unwrap(), keys, DEFAULT_TOLERANCE).unwrap();
    assert_eq!(engine.credential_headers().collect::<Vec<_>>(), ["x-signature"]);
    let signature = stripe().headers.remove(0).1;
    let headers = [("x-signature", signature.as_str()), ("x-id", "7")];
    assert_eq!(check(&engine, &headers, &stripe().body, stripe().now), verified(Some("7")));
    assert_eq!(check(&engine, &headers, b"", stripe().now), Err(Rejected::Mismatch));

    let like_standard = Generic {
        header: "svix-signature",
        prefix: "v1,",
        encoding: Encoding::Base64,
        separator: Some(" "),
        signed: "{id}.{timestamp}.{body}",
        timestamp_header: Some("svix-timestamp"),
        timestamp_prefix: None,
        id_header: Some("svix-id"),
    };
    let keys = vec![Key::parse(standard().secret, KeyForm::StandardWebhooks).unwrap()];
    let engine = Engine::new(Layout::generic(&like_standard).unwrap(), keys, DEFAULT_TOLERANCE).unwrap();
    let headers: Vec<_> = standard()
        .headers
        .into_iter()
        .map(|(name, value)| (name.replace("webhook", "svix"), value))
        .collect();
    let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let id = Some("msg_p5jXN8AQM9LWM0D4loKWxJek");
    assert_eq!(check(&engine, &headers, &standard().body, standard().now), verified(id));
}

#[test]
fn every_mistake_of_a_description_is_reported() {
    for (generic, fields) in [
        (Generic { header: "x y", id_header: Some(""), ..GENERIC }, &["id_header", "header"][..]),
        (Generic { separator: Some("ab"), ..GENERIC }, &["separator"]),
        (Generic { separator: Some(""), ..GENERIC }, &["separator"]),
        (Generic { separator: Some("a"), ..GENERIC }, &["separator"]),
        (Generic { separator: None, ..GENERIC }, &["timestamp_prefix"]),
        (Generic { timestamp_prefix: Some(""), ..GENERIC }, &["timestamp_prefix"]),
        (Generic { timestamp_header: Some("x-t"), ..GENERIC }, &["timestamp_prefix"]),
        (Generic { timestamp_prefix: None, ..GENERIC }, &["signed"]),
        (Generic { timestamp_prefix: None, timestamp_header: Some(" "), ..GENERIC }, &["timestamp_header"]),
        (Generic { signed: "{body}", ..GENERIC }, &["signed"]),
        (Generic { signed: "{timestamp}.", ..GENERIC }, &["signed", "signed"]),
        (Generic { signed: "{body}.{timestamp}", ..GENERIC }, &["signed", "signed"]),
        (Generic { signed: "{body}.{timestamp}.{body}", ..GENERIC }, &["signed", "signed"]),
        (Generic { signed: "{timestamp}{body}", ..GENERIC }, &["signed"]),
        (Generic { signed: "{timestamp}0{body}", ..GENERIC }, &["signed"]),
        (Generic { signed: "{id}{timestamp}.{body}", ..GENERIC }, &["signed"]),
        (Generic { signed: "{timestamp}.{timestamp}.{body}", ..GENERIC }, &["signed"]),
        (Generic { signed: "{id}.{timestamp}.{body}", id_header: None, ..GENERIC }, &["signed"]),
        (Generic { signed: "{time}.{timestamp}.{body}", ..GENERIC }, &["signed", "signed"]),
    ] {
        let mistakes = Layout::generic(&generic).unwrap_err();
        assert_eq!(mistakes.iter().map(|mistake| mistake.field).collect::<Vec<_>>(), fields, "{generic:?}");
    }
}
