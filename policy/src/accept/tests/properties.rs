use proptest::prelude::*;

use super::*;

proptest! {
    /// Whatever comes, the answer is events or a short refusal, and never more events than allowed.
    #[test]
    fn nothing_breaks_it(
        fields in proptest::collection::vec(("(ce-[a-z]{0,4}|content-type)", ".{0,12}"), 0..6),
        kind in proptest::sample::select(vec![STRUCTURED, BATCH, NDJSON, JSON_BODY, BINARY[0]]),
        body in "([\\[\\]{}\":,0-9a-z \\n\\\\]|\"id\":|\"data\":|\"specversion\":\"1.0\"){0,60}",
    ) {
        let mut fields: Vec<(&str, &str)> =
            fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        fields.push(kind);
        let accepted = Accepted { max_events: 3, ..everything() };
        match accept(&accepted, &head(&fields), body.as_bytes()) {
            Ok(batch) => prop_assert!((1..=3).contains(&batch.events.len())),
            Err(Refused::BadRequest(detail) | Refused::UnsupportedMediaType(detail)) => {
                prop_assert!(!detail.is_empty() && detail.len() < 500, "{detail}");
            }
            Err(Refused::TooManyEvents { max }) => prop_assert_eq!(max, 3),
        }
    }

    /// What a sender percent-encodes as the binding says arrives as it was.
    #[test]
    fn percent_encoding_is_undone(subject in "[^\\p{Cc}\\p{Cn}]{1,20}") {
        let encoded: String = subject.bytes().map(|byte| match byte {
            b'!' | b'#'..=b'$' | b'&'..=b'~' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        }).collect();
        let fields = [&BINARY[..], &[("ce-subject", encoded.as_str())]].concat();
        let head = head(&fields);
        let batch = accept(&everything(), &head, b"").unwrap();
        let claimed = batch.events[0].claimed.as_deref().unwrap();
        prop_assert_eq!(claimed.subject.as_deref(), Some(subject.as_str()));
    }
}
