#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

const APP: &str = "https://app.example.com";

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

fn rules(origins: &[&str]) -> Rules {
    Rules {
        origins: strings(origins),
        headers: strings(&["Content-Type", "x-api-key"]),
        expose: strings(&["x-request-id", "retry-after"]),
        max_age: Some(600),
        ..Rules::default()
    }
}

fn compile(rules: &Rules) -> Cors {
    Cors::compile(rules, &strings(&["POST", "PUT"])).unwrap()
}

fn head(fields: &[(&str, &str)]) -> RequestHead {
    let mut head = RequestHead::default();
    fields.iter().for_each(|(name, value)| head.push(name.as_bytes(), value.as_bytes()));
    head
}

fn preflight(cors: &Cors, origin: &str, method: &str, headers: &[&str]) -> Preflight {
    let mut fields =
        vec![(":method", "OPTIONS"), ("Origin", origin), ("Access-Control-Request-Method", method)];
    fields.extend(headers.iter().map(|&value| ("Access-Control-Request-Headers", value)));
    cors.preflight(&head(&fields)).unwrap()
}

fn fields(fields: &[(&'static str, &str)]) -> Fields {
    fields.iter().map(|&(name, value)| (name, value.to_owned())).collect()
}

#[test]
fn a_preflight_is_granted_what_it_asks_for_and_no_more() {
    let cors = compile(&rules(&["http://localhost:3000", APP]));
    let granted = [
        ("vary", "origin"),
        ("access-control-allow-origin", APP),
        ("access-control-allow-methods", "PUT"),
        ("access-control-allow-headers", "content-type, x-api-key"),
        ("access-control-max-age", "600"),
    ];
    for headers in [
        &["content-type,x-api-key"][..],
        &["Content-Type, X-API-Key,,content-type"],
        &["content-type", "x-api-key"],
    ] {
        assert_eq!(
            preflight(&cors, APP, "PUT", headers),
            Preflight::Granted(fields(&granted)),
            "{headers:?}"
        );
    }
    let without = [granted[0], granted[1], granted[2], granted[4]];
    assert_eq!(preflight(&cors, APP, "PUT", &[]), Preflight::Granted(fields(&without)));
}

#[test]
fn what_is_denied_carries_no_grant() {
    let cors = compile(&Rules { methods: strings(&["PUT"]), ..rules(&[APP]) });
    for (origin, method, headers, denial) in [
        ("https://app.example.com.evil.test", "PUT", "", Denial::Origin),
        ("https://App.example.com", "PUT", "", Denial::Origin),
        ("http://app.example.com", "PUT", "", Denial::Origin),
        ("https://app.example.com/", "PUT", "", Denial::Origin),
        ("null", "PUT", "", Denial::Origin),
        ("", "PUT", "", Denial::Origin),
        (APP, "POST", "", Denial::Method),
        (APP, "put", "", Denial::Method),
        (APP, "DELETE", "", Denial::Method),
        (APP, "PUT", "content-type,x-other", Denial::Headers),
        (APP, "PUT", "*", Denial::Headers),
        (APP, "PUT", "content type", Denial::Headers),
    ] {
        let wanted = Preflight::Denied(denial, fields(&[("vary", "origin")]));
        assert_eq!(preflight(&cors, origin, method, &[headers]), wanted, "{origin} {method} {headers}");
    }
}

#[test]
fn other_requests_are_no_preflights() {
    let cors = compile(&rules(&["*"]));
    let all = [(":method", "OPTIONS"), ("origin", APP), ("access-control-request-method", "PUT")];
    assert!(cors.preflight(&head(&all)).is_some());
    for without in 0..3 {
        let fields: Vec<_> = (0..3).filter(|index| *index != without).map(|index| all[index]).collect();
        assert_eq!(cors.preflight(&head(&fields)), None, "{fields:?}");
    }
    assert_eq!(cors.preflight(&head(&[all[0], all[1], all[2], all[2]])), None);
    assert_eq!(cors.preflight(&head(&[all[0], all[1], all[1], all[2]])), None);
    assert_eq!(cors.preflight(&head(&[(":method", "POST"), all[1], all[2]])), None);
}

#[test]
fn answers_can_be_read_by_those_who_may_call() {
    let (origin, expose) =
        ("access-control-allow-origin", ("access-control-expose-headers", "x-request-id, retry-after"));
    let (vary, credentials) = (("vary", "origin"), ("access-control-allow-credentials", "true"));
    let these = compile(&Rules { credentials: true, ..rules(&[APP]) });
    assert_eq!(these.fields(Some(APP.as_bytes())), fields(&[vary, (origin, APP), credentials, expose]));
    assert_eq!(these.fields(Some(b"https://evil.test")), fields(&[vary]));
    assert_eq!(these.fields(None), fields(&[vary]));
    let any = compile(&rules(&["*"]));
    assert_eq!(any.fields(Some(b"https://evil.test")), fields(&[(origin, "*"), expose]));
    let none = compile(&rules(&[]));
    assert_eq!(none.fields(Some(APP.as_bytes())), fields(&[vary]));
}

#[test]
fn mistakes_are_told_with_their_place() {
    let mistakes = |rules: Rules| -> Vec<String> {
        let mistakes = Cors::compile(&rules, &strings(&["POST"])).err().unwrap_or_default();
        mistakes.into_iter().map(|mistake| format!("{} {}", mistake.path, mistake.wanted)).collect()
    };
    let any = mistakes(Rules { credentials: true, ..rules(&["*"]) });
    assert!(any.len() == 1 && any[0].starts_with("credentials false where any origin"), "{any:?}");
    assert!(mistakes(rules(&[APP, "*"]))[0].starts_with("origins[1] * alone"));
    assert_eq!(mistakes(rules(&[APP, APP])), ["origins[1] each once"]);
    let wrong = Rules {
        methods: strings(&["GET"]),
        headers: strings(&["a", "A", "b c", "*"]),
        expose: strings(&[""]),
        ..Rules::default()
    };
    assert_eq!(
        mistakes(wrong),
        [
            "methods[0] a method of the route",
            "headers[1] each once",
            "headers[2] the name of a header",
            "headers[3] the name of a header",
            "expose[0] the name of a header",
        ]
    );
}

#[test]
fn origins_are_as_browsers_send_them() {
    for origin in [
        APP,
        "http://localhost:3000",
        "https://a.b:8443",
        "http://[::1]:8080",
        "chrome-extension://ab",
        "http://a:443",
    ] {
        assert!(is_origin(origin), "{origin}");
    }
    for origin in [
        "",
        "null",
        "a.b",
        "//a.b",
        "https://",
        "https://a.b/",
        "https://a.b/c",
        "https://A.b",
        "HTTPS://a.b",
        "https://a.b:443",
        "http://a.b:80",
        "https://a.b:",
        "https://a.b:0",
        "https://a.b:080",
        "https://a.b.",
        "https://*.a.b",
        "https://u@a.b",
        "https://a b",
        "https://a.b?c",
        "1://a",
        "https://a.b:65536",
    ] {
        assert!(!is_origin(origin), "{origin}");
    }
}
