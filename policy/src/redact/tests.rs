#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use wicketgate_envelope::event::{Context, ContextBuilder, parse};

use super::*;

fn key() -> HashKey {
    HashKey::new(&[0xaa; 131]).unwrap()
}

fn redaction(add: impl Fn(&mut Redaction)) -> Redaction {
    let mut redaction = Redaction::new(Some(key()));
    add(&mut redaction);
    redaction
}

fn of_body(patterns: &[(&str, Treatment)]) -> Redaction {
    redaction(|redaction| {
        for (pattern, treatment) in patterns {
            redaction.add_body(Pattern::parse(pattern).unwrap(), *treatment).unwrap();
        }
    })
}

fn body(json: &str, patterns: &[(&str, Treatment)]) -> String {
    let json: &RawValue = serde_json::from_str(json).unwrap();
    let redacted = of_body(patterns).body(json, usize::MAX).unwrap();
    redacted.map_or("unchanged".to_owned(), |json| json.get().to_owned())
}

fn query(query: &str, names: &[(&str, Treatment)]) -> String {
    let redaction = redaction(|redaction| {
        for (name, treatment) in names {
            redaction.add_query_parameter(name, *treatment).unwrap();
        }
    });
    String::from_utf8(redaction.query(query.as_bytes())).unwrap()
}

#[test]
fn hashes_are_hmac_sha256_and_the_key_does_not_show() {
    // RFC 4231, section 4.7.
    assert_eq!(
        key().hash(b"Test Using Larger Than Block-Size Key - Hash Key First"),
        "hmac-sha256:60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
    );
    let redaction = redaction(|redaction| redaction.add_header("a", Treatment::Hash).unwrap());
    let shown = format!("{redaction:?}");
    assert!(
        shown.contains("HashKey(not shown)") && !shown.contains("170") && !shown.contains("aa"),
        "{shown}"
    );
}

#[test]
fn mistakes_are_told() {
    assert_eq!(HashKey::new(&[0; 31]).unwrap_err(), "a key of at least 32 bytes");
    assert!(HashKey::new(&[0; 32]).is_ok());
    let mut redaction = Redaction::new(None);
    assert_eq!(redaction.add_header("a", Treatment::Hash), Err("a key to hash with".to_owned()));
    assert_eq!(redaction.add_query_parameter("a", Treatment::Hash), Err("a key to hash with".to_owned()));
    let pattern = |text| Pattern::parse(text).unwrap();
    assert_eq!(redaction.add_body(pattern("/a"), Treatment::Hash), Err("a key to hash with".to_owned()));
    assert!(redaction.add_body(pattern(""), Treatment::Drop).unwrap_err().contains("inside the document"));
    assert!(!redaction.touches_body(), "what is refused isn't added");
    redaction.add_header("A", Treatment::Drop).unwrap();
    redaction.add_query_parameter("A", Treatment::Drop).unwrap();
    redaction.add_query_parameter("a", Treatment::Drop).unwrap();
    redaction.add_body(pattern("/a"), Treatment::Drop).unwrap();
    assert!(redaction.touches_body());
    assert!(redaction.add_header("a", Treatment::Mask).unwrap_err().contains("a is repeated"));
    assert!(redaction.add_query_parameter("a", Treatment::Mask).unwrap_err().contains("a is repeated"));
    assert!(redaction.add_body(pattern("/a"), Treatment::Mask).unwrap_err().contains("/a is repeated"));
}

#[test]
fn what_an_event_needs_is_not_taken_from_it() {
    use Treatment::{Drop, Hash, Mask};
    let key = || Redaction::new(Some(key()));
    for (name, allowed) in [
        ("ce-specversion", &[][..]),
        ("CE-DataContentType", &[]),
        ("ce-authid", &[]),
        ("ce-wgroute", &[]),
        ("ce-", &[]),
        ("ce-foo-bar", &[]),
        ("ce-id", &[Hash]),
        ("ce-source", &[Hash]),
        ("ce-type", &[Mask, Hash]),
        ("ce-time", &[Drop]),
        ("ce-dataschema", &[Drop]),
        ("ce-traceparent", &[Drop]),
        ("ce-subject", &[Drop, Mask, Hash]),
        ("ce-partitionkey", &[Drop, Hash]),
        ("ce-anythingthatislongerthantwenty", &[Drop, Mask, Hash]),
        ("cell-id", &[Drop, Mask, Hash]),
    ] {
        for treatment in [Drop, Mask, Hash] {
            let added = key().add_header(name, treatment);
            assert_eq!(added.is_ok(), allowed.contains(&treatment), "{name} {treatment:?} {added:?}");
        }
    }
}

/// The attributes of an event after redaction, as each mode has them.
fn attributes(rules: &[(&str, Treatment)], event: &[(&str, &str)]) -> [Vec<(String, String)>; 2] {
    let redaction = redaction(|redaction| {
        rules.iter().for_each(|(name, treatment)| redaction.add_header(name, *treatment).unwrap());
    });
    let sorted = |context: Context<'_>| {
        let some =
            |name: &str, value: &Option<Cow<'_, str>>| Some((name.to_owned(), value.as_deref()?.to_owned()));
        let mut all: Vec<_> = [
            Some(("id".to_owned(), context.id.to_string())),
            Some(("source".to_owned(), context.source.to_string())),
            Some(("type".to_owned(), context.type_.to_string())),
            some("subject", &context.subject),
            some("time", &context.time),
            some("dataschema", &context.data_schema),
        ]
        .into_iter()
        .flatten()
        .collect();
        let extensions = context.extensions.into_iter();
        all.extend(extensions.map(|(name, value)| (name.into_owned(), value.into_text().into_owned())));
        all.sort();
        all
    };
    let mut json = serde_json::json!({ "specversion": "1.0" });
    event.iter().for_each(|(name, value)| json[*name] = (*value).into());
    json["number"] = 7.into();
    json["yes"] = true.into();
    let json = json.to_string();
    let mut structured = parse(&json).unwrap().context;
    redaction.attributes(&mut structured);

    let mut binary = ContextBuilder::default();
    let fields = event.iter().copied().chain([("specversion", "1.0"), ("number", "7"), ("yes", "true")]);
    for (name, value) in fields {
        let encoded: String = value.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let Some(value) = redaction.header(&format!("ce-{name}"), encoded.as_bytes()) else { continue };
        let value = http_header::decode(&value).unwrap().into_owned();
        binary.set(name.into(), value.into()).unwrap();
    }
    [sorted(structured), sorted(binary.finish().unwrap().0)]
}

#[test]
fn an_attribute_is_redacted_alike_in_every_mode() {
    use Treatment::{Drop, Hash, Mask};
    let event = [
        ("id", "sEcReT é"),
        ("source", "/sEcReT"),
        ("type", "sEcReT"),
        ("subject", "sEcReT"),
        ("time", "2026-03-01T09:30:00Z"),
        ("dataschema", "urn:sEcReT:x"),
        ("partitionkey", "sEcReT"),
        ("foo", "sEcReT"),
        ("kept", "as it is"),
    ];
    let [structured, binary] = attributes(
        &[
            ("Ce-Id", Hash),
            ("ce-source", Hash),
            ("ce-type", Mask),
            ("ce-subject", Drop),
            ("ce-time", Drop),
            ("ce-dataschema", Drop),
            ("ce-partitionkey", Hash),
            ("ce-foo", Drop),
            ("ce-number", Hash),
            ("ce-yes", Mask),
            ("ce-absent", Mask),
        ],
        &event,
    );
    assert_eq!(structured, binary);
    let names: Vec<&str> = structured.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["id", "kept", "number", "partitionkey", "source", "type", "yes"]);
    let hash = |value: &str| key().hash(value.as_bytes());
    for (name, wanted) in [
        ("id", hash("sEcReT é")),
        ("kept", "as it is".to_owned()),
        ("number", hash("7")),
        ("partitionkey", hash("sEcReT")),
        ("source", hash("/sEcReT")),
        ("type", MASK.to_owned()),
        ("yes", MASK.to_owned()),
    ] {
        assert!(structured.contains(&(name.to_owned(), wanted)), "{name}: {structured:?}");
    }
    let [structured, binary] = attributes(&[], &event);
    assert_eq!((structured.len(), &structured), (11, &binary));
}

#[test]
fn headers_are_redacted_by_name() {
    let redaction = redaction(|redaction| {
        redaction.add_header("Authorization", Treatment::Drop).unwrap();
        redaction.add_header("x-card", Treatment::Mask).unwrap();
        redaction.add_header("x-user", Treatment::Hash).unwrap();
    });
    assert_eq!(redaction.header("authorization", b"Bearer x"), None);
    assert_eq!(redaction.header("AUTHORIZATION", b"Bearer x"), None);
    assert_eq!(redaction.header("x-card", b"4111"), Some(Cow::Borrowed(&b"[redacted]"[..])));
    assert_eq!(redaction.header("x-user", b"\xff"), Some(Cow::Owned(key().hash(b"\xff").into_bytes())));
    assert_eq!(redaction.header("x-other", b"\xff"), Some(Cow::Borrowed(&b"\xff"[..])));
}

#[test]
fn query_parameters_are_redacted_in_every_spelling_and_repetition() {
    use Treatment::{Drop, Hash, Mask};
    assert_eq!(query("a=1&token=s&b=2", &[("token", Drop)]), "a=1&b=2");
    assert_eq!(query("token=s", &[("token", Drop)]), "");
    assert_eq!(query("token=s&token=t&%74oke%6E=u&a", &[("token", Drop)]), "a");
    assert_eq!(query("t%6Fken=s&x=%zz&&y", &[("token", Mask)]), "t%6Fken=%5Bredacted%5D&x=%zz&&y");
    assert_eq!(query("token=a=b&token=", &[("token", Mask)]), "token=%5Bredacted%5D&token=%5Bredacted%5D");
    assert_eq!(query("u=%61+b", &[("u", Hash)]), format!("u={}", key().hash(b"a+b")));
    assert_eq!(query("a+b=1&a%20b=2&a%2Bb=3&ab=4", &[("a b", Drop)]), "ab=4");
    assert_eq!(query("a+b=1&a%20b=2&a%2Bb=3", &[("a+b", Drop)]), "a%20b=2");
    assert_eq!(
        query("token&tokens=s&toke=s&x_token=s", &[("token", Mask)]),
        "token&tokens=s&toke=s&x_token=s"
    );
    assert_eq!(query("token&a", &[("token", Drop)]), "a");
    assert_eq!(query("gr%C3%BCn=s&grün=s", &[("grün", Drop)]), "");
    assert_eq!(query("a=1&&=x&", &[("", Drop), ("b", Drop)]), "a=1");
    assert_eq!(query("a=%zz&&", &[]), "a=%zz&&");
    for name in [
        "Token",
        "TOKEN",
        "%54oken",
        "%2574oken",
        "token[]",
        "token[a][b]",
        "token%5b%5d",
        "token%5B0%5D",
        "+token",
        "%20token",
        "token+",
        "token%00",
        "token%00x",
        "to%cc%81ken",
        "%ef%bd%94oken",
        "to%e2%80%8bken",
        "to%e2%84%aaen",
    ] {
        assert_eq!(query(&format!("a=1&{name}=s&b=2"), &[("token", Drop)]), "a=1&b=2", "{name}");
        assert_eq!(query(&format!("a=1;{name}=s"), &[("token", Drop)]), "a=1", "{name}");
    }
    for name in ["card_number", "card.number", "card+number", "Card%20Number", "card%2enumber[]"] {
        assert_eq!(query(&format!("{name}=s&a"), &[("card.number", Drop)]), "a", "{name}");
    }
    assert_eq!(
        query("filter[ssn]=s&Filter[SSN]=s&filter[a]=1&filter=2", &[("filter[ssn]", Drop)]),
        "filter[a]=1&filter=2"
    );
}

#[test]
fn a_semicolon_hides_no_parameter() {
    use Treatment::{Drop, Mask};
    assert_eq!(query("a=1;token=s;t&b=2", &[("token", Mask)]), "a=1;token=%5Bredacted%5D&b=2");
    assert_eq!(query("a=1;token=s;t&b=2", &[("token", Drop)]), "a=1&b=2");
    assert_eq!(query("a;;t%6fken=s", &[("token", Drop)]), "a;");
    assert_eq!(query("token=s;u", &[("token", Mask)]), "token=%5Bredacted%5D");
    assert_eq!(query("a;b=s&c;d", &[("a;b", Mask)]), "a;b=%5Bredacted%5D&c;d");
    assert_eq!(query(&format!("{}=1", ";".repeat(8000)), &[("token", Mask)]).len(), 8002);
}

#[test]
fn members_and_elements_are_dropped_with_one_comma() {
    let drop = |json: &str, pattern: &str| body(json, &[(pattern, Treatment::Drop)]);
    let json = r#"{ "a" : 1 , "b":2,"c" :3 }"#;
    assert_eq!(drop(json, "/a"), r#"{ "b":2,"c" :3 }"#);
    assert_eq!(drop(json, "/b"), r#"{ "a" : 1 , "c" :3 }"#);
    assert_eq!(drop(json, "/c"), r#"{ "a" : 1 , "b":2 }"#);
    assert_eq!(drop(json, "/*"), "{  }");
    assert_eq!(drop(json, "/d"), "unchanged");
    assert_eq!(drop("[1, [2 , 3], [4], 5]", "/*/0"), "[1, [3], [], 5]");
    assert_eq!(drop("[1, 2 , 3]", "/2"), "[1, 2 ]");
    assert_eq!(drop(r#"{"x":1,"a":2,"\u0061":3}"#, "/a"), r#"{"x":1}"#);
    assert_eq!(drop(r#"{"a":2,"x":1,"\u0061":3}"#, "/a"), r#"{"x":1}"#);
    assert_eq!(drop(r#"[",",1]"#, "/1"), r#"[","]"#);
}

#[test]
fn what_is_masked_or_hashed_leaves_the_rest_as_it_was() {
    use Treatment::{Hash, Mask};
    let json = r#"{"n": 1.00e5, "card" : {"no" : "4111"}, "user":"\u00e9\/", "huge": 1e999}"#;
    assert_eq!(
        body(json, &[("/card/no", Mask)]),
        r#"{"n": 1.00e5, "card" : {"no" : "[redacted]"}, "user":"\u00e9\/", "huge": 1e999}"#
    );
    assert_eq!(
        body(json, &[("/user", Hash), ("/n", Hash)]),
        format!(
            r#"{{"n": "{}", "card" : {{"no" : "4111"}}, "user":"{}", "huge": 1e999}}"#,
            key().hash(b"1.00e5"),
            key().hash("é/".as_bytes())
        )
    );
    assert_eq!(body(json, &[("", Mask)]), r#""[redacted]""#);
    assert_eq!(body("7", &[("", Hash)]), format!("\"{}\"", key().hash(b"7")));
    assert_eq!(body(json, &[]), "unchanged");
}

#[test]
fn the_strongest_treatment_counts_in_whatever_order_they_are_named() {
    use Treatment::{Drop, Hash, Mask};
    let json = r#"[1, 2, 3]"#;
    let expected = format!(r#"["[redacted]", "{}"]"#, key().hash(b"3"));
    assert_eq!(body(json, &[("/*", Hash), ("/0", Mask), ("/1", Drop)]), expected);
    assert_eq!(body(json, &[("/1", Drop), ("/0", Mask), ("/*", Hash)]), expected);
    assert_eq!(body(r#"{"a": {"b": 1}}"#, &[("/a/b", Drop), ("/a", Mask)]), r#"{"a": "[redacted]"}"#);
}

#[test]
fn the_redacted_body_is_bounded() {
    let bomb = format!("[{}1]", "1,".repeat(100_000));
    let json: &RawValue = serde_json::from_str(&bomb).unwrap();
    let redaction = of_body(&[("/*", Treatment::Hash)]);
    let error = redaction.body(json, 1000).unwrap_err();
    assert_eq!(error.to_string(), "wanted at most 1000 bytes once redacted, got more");
    let json: &RawValue = serde_json::from_str(r#"[1, "the rest counts too"]"#).unwrap();
    let redaction = of_body(&[("/0", Treatment::Mask)]);
    assert!(matches!(redaction.body(json, 36), Err(BodyError::TooLarge(36))));
    assert_eq!(redaction.body(json, 37).unwrap().unwrap().get().len(), 37);
}

#[cfg(not(target_family = "wasm"))]
mod any_document {
    use proptest::prelude::*;

    use super::*;
    use crate::json_pointer::spelled::{self, Edit, Step, any_node, any_pattern, any_spelled};

    const SECRET: &str = "S\"3CR\\3T";

    fn any_treatment() -> impl Strategy<Value = Treatment> {
        prop::sample::select(vec![Treatment::Drop, Treatment::Mask, Treatment::Hash])
    }

    /// JSON without the whitespace around its tokens.
    fn compact(json: &str) -> String {
        let (mut in_string, mut escaped) = (false, false);
        json.chars()
            .filter(|&character| {
                match character {
                    _ if escaped => escaped = false,
                    '\\' => escaped = true,
                    '"' => in_string = !in_string,
                    _ => {}
                }
                in_string || !character.is_ascii_whitespace()
            })
            .collect()
    }

    /// All escapes undone, wherever they are.
    fn unescaped(json: &str) -> String {
        let strings = json.split('"').map(|part| serde_json::from_str(&format!("\"{part}\"")));
        strings.filter_map(Result::<String, _>::ok).collect::<Vec<_>>().join("\"")
    }

    proptest! {
        #[test]
        fn bodies_lose_the_secret_and_nothing_else(
            mut node in any_node(),
            patterns in prop::collection::btree_map(any_pattern(), any_treatment(), 0..4),
            escapes in any::<u8>(),
        ) {
            let matched = |path: &[Step]| {
                let treatments = patterns.iter().filter(|(pattern, _)| spelled::names(pattern, path));
                treatments.map(|(_, treatment)| *treatment).min()
            };
            let secret = spelled::spell(SECRET.to_owned(), escapes);
            node.replace_leaves(&mut |path| {
                (0..=path.len()).any(|len| matched(&path[..len]).is_some()).then(|| secret.json.clone())
            });
            let mut changed = false;
            let expected = node.write(&mut |path, node| {
                let treatment = matched(path);
                changed |= treatment.is_some();
                match treatment {
                    None => Edit::Keep,
                    Some(Treatment::Drop) => Edit::Drop,
                    Some(Treatment::Mask) => Edit::Replace("\"[redacted]\"".to_owned()),
                    Some(Treatment::Hash) => {
                        let json = node.json();
                        let secret = if json == secret.json { SECRET } else { &json };
                        Edit::Replace(format!("\"{}\"", key().hash(secret.as_bytes())))
                    }
                }
            });
            let json = node.json();
            let patterns: Vec<_> = patterns.iter().map(|(pattern, &treatment)| (pattern.as_str(), treatment)).collect();
            let redacted = body(&json, &patterns);
            if !changed {
                prop_assert_eq!(redacted, "unchanged");
                return Ok(());
            }
            if patterns.iter().any(|(_, treatment)| *treatment == Treatment::Drop) {
                prop_assert_eq!(compact(&redacted), compact(&expected));
            } else {
                prop_assert_eq!(&redacted, &expected);
            }
            prop_assert!(serde_json::from_str::<&RawValue>(&redacted).is_ok());
            prop_assert!(!redacted.contains(&secret.json), "{}", redacted);
            prop_assert!(!unescaped(&redacted).contains("3CR"), "{}", redacted);
        }

        #[test]
        fn a_secret_under_any_name_is_found(name in any_spelled("[a-z/~\"\\\\é𝄞]{1,8}"), treatment in any_treatment()) {
            let pattern = format!("/{}", name.text.replace('~', "~0").replace('/', "~1"));
            let json = format!(r#"[{{"x": 1, {}: "{}", "y": 2}}]"#, name.json, "S3CR3T");
            let redacted = body(&json, &[(&format!("/*{pattern}"), treatment)]);
            prop_assert!(redacted != "unchanged" && !redacted.contains("S3CR3T"), "{}", redacted);
        }

        #[test]
        fn queries_lose_the_secret_and_nothing_else(
            pairs in prop::collection::vec(("[ab=;é]{0,3}", "[xy=+%]{0,3}", any::<u16>(), any::<bool>()), 0..6),
            names in prop::collection::btree_map("[ab=;é]{0,2}", any_treatment(), 0..3),
        ) {
            let encode = |text: &str, how: u16| -> String {
                text.bytes().enumerate().map(|(position, byte)| match how >> (position % 16) & 1 {
                    0 if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
                    0 if byte == b' ' => "+".to_owned(),
                    0 => format!("%{byte:02X}"),
                    _ => format!("%{byte:02x}"),
                }).collect()
            };
            let (mut before, mut after) = (Vec::new(), Vec::new());
            for (name, value, how, alone) in &pairs {
                let treatment = names.get(name).map(|treatment| (name, treatment));
                let raw_name = encode(name, *how);
                if *alone {
                    before.push(raw_name.clone());
                    match treatment {
                        Some((_, Treatment::Drop)) => {}
                        _ => after.push(raw_name),
                    }
                    continue;
                }
                let value = if treatment.is_some() { SECRET } else { value };
                let raw_value = encode(value, how.rotate_left(5));
                before.push(format!("{raw_name}={raw_value}"));
                match treatment.map(|(_, treatment)| treatment) {
                    None => after.push(format!("{raw_name}={raw_value}")),
                    Some(Treatment::Drop) => {}
                    Some(Treatment::Mask) => after.push(format!("{raw_name}=%5Bredacted%5D")),
                    Some(Treatment::Hash) => after.push(format!("{raw_name}={}", key().hash(SECRET.as_bytes()))),
                }
            }
            let names: Vec<_> = names.iter().map(|(name, treatment)| (name.as_str(), *treatment)).collect();
            prop_assert_eq!(query(&before.join("&"), &names), after.join("&"));
        }
    }
}
