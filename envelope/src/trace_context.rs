//! What W3C Trace Context (sections 3.2 and 3.3) takes for `traceparent` and `tracestate`. What is not is to be
//! dropped rather than handed on (section 4.3).

/// The name of the attribute, HTTP header or record header that has the trace and the parent.
pub const TRACEPARENT: &str = "traceparent";

/// The name of the one that has the state of tracing systems.
pub const TRACESTATE: &str = "tracestate";

/// Whether `text` is a `traceparent` of version 00, the only one that there is.
pub fn is_traceparent(text: &str) -> bool {
    let mut fields = text.split('-');
    let mut field = |len: usize| {
        fields.next().filter(|text| {
            text.len() == len && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        })
    };
    let (version, trace, parent, flags) = (field(2), field(32), field(16), field(2));
    let not_zero = |text: &str| text.bytes().any(|byte| byte != b'0');
    version == Some("00")
        && trace.is_some_and(not_zero)
        && parent.is_some_and(not_zero)
        && flags.is_some()
        && fields.next().is_none()
}

/// Whether `text` can be handed on as `tracestate`: visible ASCII and spaces, and no longer than everybody has to take
/// (section 3.3.1.5). A tab may stand around a comma, but in no attribute of an event.
pub fn is_tracestate(text: &str) -> bool {
    (1..=512).contains(&text.len()) && text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

#[cfg(test)]
mod tests {
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn a_traceparent_names_a_trace_and_a_parent() {
        const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert!(is_traceparent(GOOD));
        for bad in [
            "",
            "00",
            "00-0AF7651916CD43DD8448EB211C80319C-B7AD6B7169203331-01",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
        ] {
            assert!(!is_traceparent(bad), "{bad}");
        }
    }

    #[test]
    fn a_tracestate_is_short_and_visible() {
        assert!(is_tracestate("a=1, b=2") && is_tracestate(&"x".repeat(512)));
        for bad in ["", "a=1,\tb=2", "a=\u{1}", "a=ü", &"x".repeat(513)] {
            assert!(!is_tracestate(bad), "{bad}");
        }
    }
}
