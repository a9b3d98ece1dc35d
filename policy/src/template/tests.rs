#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use sha2::{Digest as _, Sha256};

use super::hole::hex;
use super::*;

const HEAD: [(&str, &[u8]); 10] = [
    (":method", b"POST"),
    (":authority", b"API.example.com:443"),
    ("x-tenant", b"Acme"),
    ("x-empty", b""),
    ("x-twice", b"a"),
    ("x-twice", b"a"),
    ("x-bytes", b"\xff"),
    ("x-tab", b"a\tb"),
    ("x-c1", b"a\xc2\x85b"),
    ("x-umlaut", "Grün".as_bytes()),
];

const BODY: &str = r#"{"s":"a\u00e9\"b","plain":"p","n":1.50e+3,"big":12345678901234567890,"t":true,"nil":null,
    "o":{"x":1},"l":[7],"twice":1,"twice":1,"half":"\ud800","nul":"\u0000","non":"\ufdd0","empty":"","a/b":"slash"}"#;

const CLAIMS: &str = r#"{"tenant":"acme","level":3,"admin":false,"org":{"id":"o-1"},"groups":["a","b"],"org.id":"dotted",
    "https://example.com/t~1":"by its URI","nil":null,"tab":"a\tb","two":1,"two":1}"#;

/// Parses and fills in a request for `/acme/42?q=1&r=1&r=2&e=` with [`HEAD`] and [`BODY`] from alice.
fn fill(template: &str) -> Result<String, String> {
    let names = ["tenant".to_owned(), "id".to_owned()];
    let template = Template::parse(template, &Scope { path_parameters: &names, claims: true, json: true })?;
    let mut head = RequestHead::default();
    HEAD.iter().for_each(|(name, value)| head.push(name.as_bytes(), value));
    let query = Query::parse(b"q=1&r=1&r=2&e=").unwrap();
    let json: &RawValue = serde_json::from_str(BODY).unwrap();
    let claims: &RawValue = serde_json::from_str(CLAIMS).unwrap();
    let facts = Facts {
        path_parameters: &["acme", "42"],
        head: &head,
        query: Some(&query),
        consumer: Some("alice"),
        claims: Some(claims),
        json: Some(json),
    };
    let filled = template.fill(&facts).map_err(|error| error.to_string())?;
    Ok(filled.map_or_else(|| LEFT_OUT.to_owned(), Cow::into_owned))
}

/// Stands for what an optional template makes of nothing.
const LEFT_OUT: &str = "(left out)";

#[test]
fn holes_are_filled() {
    for (template, wanted) in [
        ("{id}", "42"),
        ("{path:tenant}-{id}/é", "acme-42/é"),
        ("{{{id}}}", "{42}"),
        ("plain", "plain"),
        ("", ""),
        ("{query:q}{query:e}", "1"),
        ("{header:X-Tenant}", "Acme"),
        ("{header:host}", "api.example.com"),
        ("{consumer}:{method}", "alice:POST"),
        ("{claim:tenant}.{claim:level}.{claim:admin}", "acme.3.false"),
        ("{claim:/org/id} {claim:/groups/1} {claim:/tenant}", "o-1 b acme"),
        ("{claim:org.id}, {claim:https://example.com/t~1}", "dotted, by its URI"),
        ("{pointer:/s}", "aé\"b"),
        ("{pointer:/plain}{pointer:/a~1b}", "pslash"),
        (
            "{pointer:/n} {pointer:/big} {pointer:/t} {pointer:/o/x} {pointer:/l/0}",
            "1.50e+3 12345678901234567890 true 1 7",
        ),
    ] {
        assert_eq!(fill(template).as_deref(), Ok(wanted), "{template}");
    }
}

#[test]
fn filters_work_from_left_to_right() {
    for (template, wanted) in [
        ("{header:x-tenant|lower}", "acme"),
        ("{header:x-umlaut|upper}", "GRÜN"),
        ("{header:x-tenant|lower|default:none}", "acme"),
        ("{header:nope|lower|default:None}", "None"),
        ("{header:nope|default:None|lower}", "none"),
        ("{header:x-empty|default:none}", "none"),
        ("{pointer:/nil|default:none}{pointer:/nope|default:}", "none"),
        ("{query:nope|default:a b:c}", "a b:c"),
        (
            "{claim:nope|default:none}-{claim:nil|default:none}-{claim:tenant|upper|default:none}",
            "none-none-ACME",
        ),
        ("{id|sha256}", "73475cb40a568e8da8a045ced110137e159f890ac4da883b6b17dc651b3a8049"),
    ] {
        assert_eq!(fill(template).as_deref(), Ok(wanted), "{template}");
    }
    // What cannot stand in a text can be hashed.
    assert_eq!(fill("{header:x-tab|sha256|upper}"), Ok(hex(&Sha256::digest(b"a\tb")).to_uppercase()));
}

#[test]
fn the_first_that_is_there_counts() {
    for (template, wanted) in [
        ("{pointer:/nope|or:pointer:/plain}", "p"),
        ("{pointer:/plain|or:pointer:/n}", "p"),
        ("{pointer:/nil|or:pointer:/empty|or:header:x-empty|or:query:e|or:query:q}", "1"),
        ("{pointer:/nope|or:tenant}-{query:nope|or:path:id}", "acme-42"),
        ("{claim:nope|or:claim:tenant}/{header:nope|or:consumer}/{query:nope|or:method}", "acme/alice/POST"),
        // Filters work on what has been found before them.
        ("{pointer:/nope|upper|or:pointer:/plain}", "p"),
        ("{pointer:/nope|or:pointer:/plain|upper}", "P"),
        ("{pointer:/plain|upper|or:header:x-tenant|lower}", "p"),
        ("{header:x-empty|sha256|or:pointer:/plain}", "p"),
        ("{pointer:/nope|or:query:nope|default:none}", "none"),
    ] {
        assert_eq!(fill(template).as_deref(), Ok(wanted), "{template}");
    }
    for (template, wanted) in [
        ("{pointer:/nope|or:query:nope}", "JSON pointer \"/nope\" or query parameter nope is missing"),
        ("{query:nope|or:pointer:/nil}", "query parameter nope or JSON pointer \"/nil\" is missing"),
        // What is there and will not do is not passed over for another.
        ("{query:r|or:query:q}", "query parameter r occurs more than once"),
        ("{pointer:/o|or:pointer:/plain}", "JSON pointer \"/o\" is an array or an object"),
        ("{query:nope|or:header:x-twice|default:x}", "header x-twice occurs more than once"),
    ] {
        assert_eq!(fill(template), Err(wanted.to_owned()), "{template}");
    }
}

#[test]
fn what_is_optional_is_left_out_where_nothing_is_there() {
    for (template, wanted) in [
        ("{pointer:/plain|optional}", "p"),
        ("{pointer:/nope|optional}", LEFT_OUT),
        ("{pointer:/nil|optional}", LEFT_OUT),
        ("{pointer:/empty|optional}", LEFT_OUT),
        ("{header:x-empty|sha256|optional}", LEFT_OUT),
        ("{query:nope|or:query:e|upper|optional}", LEFT_OUT),
        ("{query:nope|or:query:q|optional}", "1"),
        // All of it, whatever stands around it.
        ("order/{pointer:/nope|optional}", LEFT_OUT),
        ("{id}-{pointer:/nope|optional}", LEFT_OUT),
        ("{pointer:/nope|optional}{pointer:/o}", LEFT_OUT),
    ] {
        assert_eq!(fill(template).as_deref(), Ok(wanted), "{template}");
    }
    for (template, wanted) in [
        ("{query:r|optional}", "query parameter r occurs more than once"),
        ("{pointer:/l|optional}", "JSON pointer \"/l\" is an array or an object"),
        ("{header:x-bytes|optional}", "header x-bytes is not UTF-8"),
        ("{pointer:/nope}{pointer:/nope|optional}", "JSON pointer \"/nope\" is missing"),
    ] {
        assert_eq!(fill(template), Err(wanted.to_owned()), "{template}");
    }
}

#[test]
fn what_cannot_be_filled_names_its_part_and_no_value() {
    for (template, wanted) in [
        ("a-{header:nope}", "header nope is missing"),
        ("{query:r}", "query parameter r occurs more than once"),
        ("{query:r|default:x}", "query parameter r occurs more than once"),
        ("{header:x-twice|default:x}", "header x-twice occurs more than once"),
        ("{header:x-bytes|default:x}", "header x-bytes is not UTF-8"),
        ("{header:x-tab}", "header x-tab has a control character or a noncharacter"),
        ("{header:x-c1|lower}", "header x-c1 has a control character or a noncharacter"),
        ("{pointer:/o}", "JSON pointer \"/o\" is an array or an object"),
        ("{pointer:/l|default:x}", "JSON pointer \"/l\" is an array or an object"),
        ("{pointer:}", "JSON pointer \"\" is an array or an object"),
        ("{pointer:/nil}", "JSON pointer \"/nil\" is null"),
        ("{pointer:/o/y}", "JSON pointer \"/o/y\" is missing"),
        ("{pointer:/twice}", "JSON pointer \"/twice\" occurs more than once"),
        ("{pointer:/half}", "JSON pointer \"/half\" is not UTF-8"),
        ("{claim:nope}", "claim nope is missing"),
        ("{claim:/org/nope|lower}", "claim /org/nope is missing"),
        ("{claim:org}", "claim org is an array or an object"),
        ("{claim:groups|default:x}", "claim groups is an array or an object"),
        ("{claim:nil}", "claim nil is null"),
        ("{claim:two|default:x}", "claim two occurs more than once"),
        ("{claim:tab}", "claim tab has a control character or a noncharacter"),
        ("{pointer:/nul}", "JSON pointer \"/nul\" has a control character or a noncharacter"),
        ("{pointer:/non}", "JSON pointer \"/non\" has a control character or a noncharacter"),
    ] {
        assert_eq!(fill(template), Err(wanted.to_owned()), "{template}");
    }
}

#[test]
fn what_is_not_known_is_missing() {
    let head = RequestHead::default();
    let facts =
        Facts { path_parameters: &[], head: &head, query: None, consumer: None, claims: None, json: None };
    for (text, part, reason) in [
        ("{header:host}", "header host", Reason::Missing),
        ("{query:a}", "query parameter a", Reason::Missing),
        ("{consumer}", "consumer", Reason::Missing),
        ("{claim:a}", "claim a", Reason::Missing),
        ("{pointer:/a}", "JSON pointer \"/a\"", Reason::NotRead),
    ] {
        let template =
            Template::parse(text, &Scope { path_parameters: &[], claims: true, json: true }).unwrap();
        let wanted = Unfillable { part: part.to_owned(), reason };
        assert_eq!(template.fill(&facts), Err(wanted), "{text}");
    }
}

#[test]
fn size_is_bounded() {
    let fill = |template: &str, value: &str| {
        let names = ["a".to_owned()];
        let template =
            Template::parse(template, &Scope { path_parameters: &names, ..Scope::default() }).unwrap();
        let head = RequestHead::default();
        let facts = Facts {
            path_parameters: &[value],
            head: &head,
            query: None,
            consumer: None,
            claims: None,
            json: None,
        };
        template.fill(&facts).map(|text| text.unwrap().len()).map_err(|error| error.reason)
    };
    let text = "a".repeat(MAX_BYTES);
    assert_eq!(fill("{a}", &text), Ok(MAX_BYTES));
    assert_eq!(fill("{a}-", &text), Err(Reason::TooLong));
    assert_eq!(fill("{a}{a}", &text[1..]), Err(Reason::TooLong));
    assert_eq!(fill("{a|sha256}-", &text), Ok(65));
    assert!(Template::parse(&text, &Scope::default()).is_ok());
    assert!(Template::parse(&(text + "a"), &Scope::default()).is_err());
}

#[test]
fn mistakes_are_told() {
    for (template, wanted) in [
        ("{", "closing"),
        ("}", "opening"),
        ("{id", "closing"),
        ("{nope}", "tenant, id"),
        ("{path:nope}", "tenant, id"),
        ("{}", "tenant, id"),
        ("{ id}", "tenant, id"),
        ("{a{{b}", "tenant, id"),
        ("{nope:x}", "path:, query:, header:, claim: or pointer:"),
        ("{query:}", "query parameter"),
        ("{header:}", "name of a header"),
        ("{header::path}", "name of a header"),
        ("{pointer:a}", "a slash before each token"),
        ("{claim:}", "after claim:, the name of a claim"),
        ("{claim:/a~}", "after claim:, 0 or 1 after each ~"),
        ("{id|}", "a filter: lower"),
        ("{id|trim}", "a filter: lower"),
        ("{id|lower:x}", "a filter: lower"),
        ("{id|default}", "a filter: lower"),
        ("{id|optional:x}", "a filter: lower"),
        ("{id|or}", "a filter: lower"),
        ("{id|or:nope}", "tenant, id"),
        ("{id|or:pointer:a}", "a slash before each token"),
        ("{id|optional|lower}", "optional behind all other filters"),
        ("{id|optional|optional}", "optional behind all other filters"),
        ("{id|default:x|optional}", "either a default or optional"),
        ("{id|default:|optional}", "either a default or optional"),
        ("{id|default:x|or:tenant}", "one default, behind every or:"),
        ("{id|default:x|default:y}", "one default, behind every or:"),
        ("a\nb", "control characters"),
        ("{id|default:\u{1}}", "control characters"),
    ] {
        let error = fill(template).unwrap_err();
        assert!(error.contains(wanted), "{template}: {error}");
    }
}

#[test]
fn names_that_could_be_two_things_are_refused() {
    let names = ["consumer".to_owned(), "method".to_owned()];
    let scope = Scope { path_parameters: &names, ..Scope::default() };
    assert!(Template::parse("{consumer}", &scope).unwrap_err().contains("{path:consumer}"));
    assert!(Template::parse("{method|lower}", &scope).unwrap_err().contains("{path:method}"));
    assert!(Template::parse("{path:consumer}{path:method}", &scope).is_ok());
    assert!(Template::parse("{pointer:/a}", &scope).unwrap_err().contains("no JSON body"));
    assert!(Template::parse("{claim:a}", &scope).unwrap_err().contains("only anonymous callers"));
    assert!(Template::parse("{id}", &Scope::default()).unwrap_err().contains("has none"));
}

#[test]
fn a_template_tells_what_it_needs() {
    let names = ["id".to_owned()];
    let parse =
        |text| Template::parse(text, &Scope { path_parameters: &names, claims: true, json: true }).unwrap();
    let (literal, mixed) = (parse("a{{"), parse("a.{id}-{header:X-A}{query:q}{pointer:/a}{header:b}"));
    assert_eq!((literal.literal_prefix(), literal.is_literal()), ("a{", true));
    assert_eq!((mixed.literal_prefix(), mixed.is_literal()), ("a.", false));
    assert_eq!((parse("{id}").literal_prefix(), parse("").is_literal()), ("", true));
    assert_eq!(mixed.header_names().collect::<Vec<_>>(), ["x-a", "b"]);
    assert_eq!(mixed.query_names().collect::<Vec<_>>(), ["q"]);
    assert!(mixed.needs_body() && mixed.needs_query());
    let other = parse("{id|or:header:X-A|or:query:q|or:pointer:/a}");
    assert!(other.needs_body() && other.needs_query() && other.header_names().eq(["x-a"]));
    for text in ["{id|default:}", "{id|default:}{query:q|lower|default:}"] {
        assert!(parse(text).may_be_empty(), "{text}");
    }
    for text in ["a{id|default:}", "{id|default:}{id}", "{id|default:x}", "{id|optional}", "a"] {
        assert!(!parse(text).may_be_empty(), "{text}");
    }
    assert!(!parse("{id}{header:a}").needs_body() && !parse("{id}{header:a}").needs_query());
}

#[cfg(not(target_family = "wasm"))]
mod properties {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused_and_keeps_its_bounds(text in "[{}|:a-z/~\"\\u{0}-\\u{9f}]{0,24}") {
            if let Ok(filled) = fill(&text) {
                prop_assert!(filled.len() <= MAX_BYTES && !filled.chars().any(is_disallowed));
            }
        }

        #[test]
        fn braces_are_literal_when_doubled(text in "\\PC{0,24}") {
            let doubled = text.replace('{', "{{").replace('}', "}}");
            if !text.chars().any(is_disallowed) {
                prop_assert_eq!(fill(&doubled), Ok(text));
            }
        }

        /// Whatever stands in the body is filled in as it is, or not at all.
        #[test]
        fn strings_come_out_as_they_are(value in any::<String>()) {
            let json = serde_json::json!({ "a": value.clone() }).to_string();
            let template = Template::parse("{pointer:/a}", &Scope { path_parameters: &[], claims: true, json: true }).unwrap();
            let head = RequestHead::default();
            let json: &RawValue = serde_json::from_str(&json).unwrap();
            let facts = Facts { path_parameters: &[], head: &head, query: None, consumer: None, claims: None, json: Some(json) };
            match template.fill(&facts) {
                Ok(filled) => prop_assert_eq!(filled.as_deref(), Some(value.as_str())),
                Err(error) => {
                    prop_assert_eq!(error.reason, Reason::Character);
                    prop_assert!(value.chars().any(is_disallowed));
                }
            }
        }
    }
}
