//! Values in error messages.

/// More characters than this say no more about what is wrong.
const MAX_CHARS: usize = 40;

/// `text` in quotes and on one line, cut where it is long: enough to recognise it by, and never a payload.
pub fn quote(text: &str) -> String {
    match text.char_indices().nth(MAX_CHARS).and_then(|(end, _)| text.get(..end)) {
        None => format!("{text:?}"),
        Some(start) => format!("{start:?}… ({} bytes)", text.len()),
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn long_values_are_cut_between_characters() {
        assert_eq!(quote("a\n\"b\""), r#""a\n\"b\"""#);
        assert_eq!(quote(&"ü".repeat(40)), format!("\"{}\"", "ü".repeat(40)));
        assert_eq!(quote(&"ü".repeat(41)), format!("\"{}\"… (82 bytes)", "ü".repeat(40)));
    }
}
