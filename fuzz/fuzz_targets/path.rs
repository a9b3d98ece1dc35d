//! A request target becomes the one path that it means, or none; so does the path of a route.
#![no_main]

use libfuzzer_sys::fuzz_target;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use wicketgate_policy::path::{CanonicalPath, MAX_SEGMENTS, MAX_TARGET_BYTES};
use wicketgate_policy::path_pattern::PathPattern;
use wicketgate_policy::query::Query;

fuzz_target!(|target: &[u8]| {
    if let Ok(path) = CanonicalPath::from_target(target) {
        check(path.segments());
    }
    let _ = Query::parse(target);
    if let Ok(template) = std::str::from_utf8(target)
        && let Ok(pattern) = PathPattern::parse(template)
    {
        // Every parameter is a segment of its own.
        assert_eq!(pattern.parameters().len(), template.matches('{').count());
    }
});

fn check(segments: &[String]) {
    assert!((1..=MAX_SEGMENTS).contains(&segments.len()));
    let (last, others) = segments.split_last().expect("a segment");
    assert!(others.iter().all(|segment| !segment.is_empty()));
    for segment in others.iter().chain([last]) {
        let illegal = |character: char| matches!(character, '/' | '\\') || character.is_control();
        assert!(!segment.contains(illegal) && segment != "." && segment != "..", "{segment:?}");
    }
    // Decoding is done once: what is spelled with escapes throughout is the same path.
    let encoded: String = segments
        .iter()
        .flat_map(|segment| ["/".into(), utf8_percent_encode(segment, NON_ALPHANUMERIC).to_string()])
        .collect();
    if encoded.len() <= MAX_TARGET_BYTES {
        let again = CanonicalPath::from_target(encoded.as_bytes()).expect("a path");
        assert_eq!(again.segments(), segments, "{encoded}");
    }
}
