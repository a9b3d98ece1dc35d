#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

/// The document of RFC 6901, section 5.
const RFC: &str = r#"{ "foo": ["bar", "baz"], "": 0, "a/b": 1, "c%d": 2, "e^f": 3, "g|h": 4, "i\\j": 5, "k\"l": 6,
  " ": 7, "m~n": 8 }"#;

fn raw(json: &str) -> &RawValue {
    serde_json::from_str(json).unwrap()
}

fn found<'a>(json: &'a str, pointer: &str) -> Result<Option<&'a str>, String> {
    let pointer = Pointer::parse(pointer).unwrap();
    find(raw(json), &pointer).map(|value| value.map(RawValue::get)).map_err(|ambiguous| ambiguous.pointer)
}

fn targets(json: &str, patterns: &[&str]) -> Vec<Target> {
    let patterns: Vec<Pattern> = patterns.iter().map(|text| Pattern::parse(text).unwrap()).collect();
    let mut targets = Vec::new();
    visit_targets(raw(json), &patterns.iter().collect::<Vec<_>>(), &mut |target| targets.push(target))
        .unwrap();
    targets
}

fn target_values<'a>(json: &'a str, patterns: &[&str]) -> Vec<(usize, &'a str)> {
    targets(json, patterns).into_iter().map(|target| (target.pattern, &json[target.value])).collect()
}

#[test]
fn the_examples_of_the_rfc_are_found() {
    for (pointer, value) in [
        ("", RFC),
        ("/foo", r#"["bar", "baz"]"#),
        ("/foo/0", r#""bar""#),
        ("/", "0"),
        ("/a~1b", "1"),
        ("/c%d", "2"),
        ("/e^f", "3"),
        ("/g|h", "4"),
        ("/i\\j", "5"),
        ("/k\"l", "6"),
        ("/ ", "7"),
        ("/m~0n", "8"),
    ] {
        assert_eq!(found(RFC, pointer), Ok(Some(value)), "{pointer}");
        assert_eq!(Pointer::parse(pointer).unwrap().to_string(), pointer);
        assert_eq!(Pattern::parse(pointer).unwrap().to_string(), pointer);
    }
}

#[test]
fn what_is_not_a_pointer_is_refused_in_words() {
    for (text, wanted) in [
        ("foo", "a slash before each token"),
        ("#/foo", "a slash before each token"),
        ("$.foo", "a slash before each token"),
        ("/~", "~0 is ~ itself"),
        ("/~2", "~0 is ~ itself"),
        ("/a/b~/c", "~0 is ~ itself"),
        (&"/a".repeat(MAX_TOKENS + 1), "at most 64 tokens"),
    ] {
        assert!(Pointer::parse(text).unwrap_err().contains(wanted), "{text}");
        assert!(Pattern::parse(text).unwrap_err().contains(wanted), "{text}");
    }
    assert!(Pointer::parse(&"/a".repeat(MAX_TOKENS)).is_ok());
    assert_eq!(found(r#"{"~1": 1, "/": 2}"#, "/~01"), Ok(Some("1")), "~0 is decoded last");
}

#[test]
fn values_keep_their_spelling() {
    let json = r#"{"big": 12345678901234567890.10, "huge":1e999 , "text": "\u0061\/", "o": { "x" :1 }}"#;
    assert_eq!(found(json, "/big"), Ok(Some("12345678901234567890.10")));
    assert_eq!(found(json, "/huge"), Ok(Some("1e999")));
    assert_eq!(found(json, "/text"), Ok(Some(r#""\u0061\/""#)));
    assert_eq!(found(json, "/o"), Ok(Some(r#"{ "x" :1 }"#)));
    assert_eq!(found(r#"{"\u0061": 1}"#, "/a"), Ok(Some("1")));
}

#[test]
fn an_index_is_digits_without_leading_zeros() {
    let json = r#"[[1], {"01": 2, "-": 3}, null]"#;
    assert_eq!(found(json, "/0/0"), Ok(Some("1")));
    assert_eq!(found(json, "/2"), Ok(Some("null")));
    assert_eq!(found(json, "/1/01"), Ok(Some("2")));
    assert_eq!(found(json, "/1/-"), Ok(Some("3")));
    for pointer in
        ["/00", "/01", "/+1", "/-", "/-1", "/1e0", "/3", "/", "/99999999999999999999", "/2/0", "/0/0/0"]
    {
        assert_eq!(found(json, pointer), Ok(None), "{pointer}");
    }
}

#[test]
fn a_member_that_is_repeated_on_the_way_is_ambiguous() {
    let json = r#"{"a": 1, "\u0061": 1, "b": {"c": 1, "d": [{"c": 2, "c": 3}]}, "e": {"x": 1, "x": 2}}"#;
    assert_eq!(found(json, "/a"), Err("/a".to_owned()));
    assert_eq!(found(json, "/a/x"), Err("/a".to_owned()));
    assert_eq!(found(json, "/b/d/0/c"), Err("/b/d/0/c".to_owned()));
    assert_eq!(found(json, "/b/d/0/c/x/y"), Err("/b/d/0/c".to_owned()));
    assert_eq!(found(json, "/b/c"), Ok(Some("1")), "what is repeated elsewhere doesn't matter");
    assert_eq!(found(json, "/e"), Ok(Some(r#"{"x": 1, "x": 2}"#)));
    let message = Ambiguous { pointer: "/a".to_owned() }.to_string();
    assert_eq!(message, "/a: wanted this member at most once, got it repeated");
}

#[test]
fn a_star_is_a_name_in_a_pointer_and_everything_in_a_pattern() {
    let json = r#"{"*": [1, 2], "x": [3], "y": 4}"#;
    assert_eq!(found(json, "/*/1"), Ok(Some("2")));
    assert_eq!(target_values(json, &["/*/*"]), [(0, "1"), (0, "2"), (0, "3")]);
    assert_eq!(target_values(json, &["/*"]), [(0, "[1, 2]"), (0, "[3]"), (0, "4")]);
    assert_eq!(target_values(json, &["/**"]), []);
}

#[test]
fn targets_come_from_front_to_back_and_the_outer_covers_the_inner() {
    let json = r#"{"a": {"b": 1, "c": 2}, "a": 3, "d": [{"b": 4}, {"\u0062": 5}]}"#;
    assert_eq!(target_values(json, &["/d/*/b", "/a/c"]), [(1, "2"), (0, "4"), (0, "5")]);
    assert_eq!(target_values(json, &["/a/c", "/a"]), [(1, r#"{"b": 1, "c": 2}"#), (1, "3")]);
    assert_eq!(target_values(json, &["/d/1/b", "/d/*/b"]), [(1, "4"), (0, "5")]);
    assert_eq!(target_values(json, &["/x", ""]), [(1, json)]);
    assert_eq!(target_values("3", &["/x", ""]), [(1, "3")]);
    assert_eq!(target_values("3", &["/x"]), []);
    assert_eq!(target_values(json, &[]), []);
}

#[test]
fn a_target_says_where_its_member_begins_and_what_follows() {
    let json = r#"{ "a" : 1 , "b":[ 2 ,3 ] }"#;
    assert_eq!(
        targets(json, &["/a", "/b/*"]),
        [
            Target { pattern: 0, start: 2, value: 8..9, next: Some(12) },
            Target { pattern: 1, start: 18, value: 18..19, next: Some(21) },
            Target { pattern: 1, start: 21, value: 21..22, next: None },
        ]
    );
}

#[test]
fn depth_costs_no_stack_and_halves_of_surrogates_no_failure() {
    let deep = format!(r#"{{"x": {}1{}, "\ud800": 2, "a": 3}}"#, "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(found(&deep, "/a"), Ok(Some("3")));
    assert_eq!(target_values(&deep, &["/a"]), [(0, "3")]);
    assert_eq!(found(&deep, &format!("/x{}", "/0".repeat(MAX_TOKENS - 1))).unwrap().unwrap().len(), 199_875);
    assert_eq!(string_bytes(r#""\u0061\ud800""#).unwrap().unwrap(), b"a\xed\xa0\x80");
    assert_eq!(string_bytes(r#""é\n""#).unwrap().unwrap(), "é\n".as_bytes());
    assert_eq!(string_bytes("1").unwrap(), None);
}

#[cfg(not(target_family = "wasm"))]
mod any_document {
    use proptest::prelude::*;

    use super::super::spelled::{self, Edit, any_node, any_pattern, any_pointer};
    use super::*;

    proptest! {
        #[test]
        fn targets_are_what_the_definition_says(
            node in any_node(), patterns in prop::collection::vec(any_pattern(), 0..4),
        ) {
            let json = node.json();
            let patterns: Vec<&str> = patterns.iter().map(String::as_str).collect();
            let mut marked = Vec::new();
            let with_marks = node.write(&mut |path, _| {
                match patterns.iter().position(|pattern| spelled::names(pattern, path)) {
                    Some(pattern) => {
                        marked.push(pattern);
                        Edit::Replace("@".to_owned())
                    }
                    None => Edit::Keep,
                }
            });
            let mut rebuilt = String::new();
            let mut end = 0;
            for target in targets(&json, &patterns) {
                rebuilt.push_str(&json[end..target.value.start]);
                rebuilt.push('@');
                end = target.value.end;
                if let Some(next) = target.next {
                    let between = json[end..next].trim();
                    prop_assert_eq!(between, ",");
                }
            }
            rebuilt.push_str(&json[end..]);
            prop_assert_eq!(rebuilt, with_marks);
            prop_assert_eq!(marked, targets(&json, &patterns).iter().map(|t| t.pattern).collect::<Vec<_>>());
        }

        #[test]
        fn what_is_found_is_what_the_definition_says(node in any_node(), pointer in any_pointer()) {
            let json = node.json();
            let prefixes = pointer.match_indices('/').skip(1).map(|(end, _)| &pointer[..end]);
            let mut ambiguous = None;
            for prefix in prefixes.chain([pointer.as_str()]) {
                let mut count = 0;
                node.write(&mut |path, _| {
                    count += usize::from(spelled::names(prefix, path));
                    Edit::Keep
                });
                if count > 1 {
                    ambiguous = Some(prefix.to_owned());
                    break;
                }
            }
            let with_mark = node.write(&mut |path, _| match spelled::names(&pointer, path) {
                true => Edit::Replace("@".to_owned()),
                false => Edit::Keep,
            });
            match found(&json, &pointer) {
                Ok(None) => prop_assert_eq!((ambiguous, with_mark), (None, json)),
                Ok(Some(value)) => {
                    let start = value.as_ptr().addr() - json.as_ptr().addr();
                    let found = format!("{}@{}", &json[..start], &json[start + value.len()..]);
                    prop_assert_eq!((ambiguous, with_mark), (None, found));
                }
                Err(pointer) => prop_assert_eq!(ambiguous, Some(pointer)),
            }
        }

        #[test]
        fn any_text_is_parsed_or_refused(text in "[/~01*a-]{0,12}") {
            if let Ok(pointer) = Pointer::parse(&text) {
                prop_assert_eq!(pointer.to_string(), text);
            }
        }
    }
}
