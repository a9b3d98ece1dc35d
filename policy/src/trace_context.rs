//! W3C Trace Context.

use std::borrow::Cow;

use wicketgate_envelope::trace_context::{is_traceparent, is_tracestate};

use crate::head::RequestHead;

/// `traceparent` and `tracestate`, if they are as W3C Trace Context (sections 3.2 and 3.3) has them. What is not is
/// dropped, as section 4.3 says.
pub(crate) fn trace_context(head: &RequestHead) -> Option<(&str, Option<Cow<'_, str>>)> {
    let traceparent = std::str::from_utf8(head.single("traceparent").ok()??).ok()?;
    if !is_traceparent(traceparent) {
        return None;
    }
    let members: Vec<&str> =
        head.all("tracestate").map(std::str::from_utf8).collect::<Result<_, _>>().unwrap_or_default();
    let tracestate = match members.as_slice() {
        [] => None,
        [one] if !one.contains('\t') => Some(Cow::Borrowed(*one)),
        // A tab may stand around a comma, but in no attribute of an event.
        many => Some(Cow::Owned(many.join(",").replace('\t', " "))),
    };
    Some((traceparent, tracestate.filter(|text| is_tracestate(text))))
}

#[cfg(test)]
mod tests {
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn head(fields: &[(&str, &str)]) -> RequestHead {
        let mut head = RequestHead::default();
        for (name, value) in fields {
            head.push(name.as_bytes(), value.as_bytes());
        }
        head
    }

    #[test]
    fn trace_context_is_kept_whole_or_dropped() {
        assert_eq!(trace_context(&head(&[("traceparent", TRACE)])), Some((TRACE, None)));
        let with_state = head(&[("traceparent", TRACE), ("tracestate", "a=1"), ("tracestate", "b=2")]);
        assert_eq!(trace_context(&with_state), Some((TRACE, Some(Cow::Borrowed("a=1,b=2")))));
        let with_tab = head(&[("traceparent", TRACE), ("tracestate", "a=1\t,b=2")]);
        assert_eq!(trace_context(&with_tab), Some((TRACE, Some(Cow::Borrowed("a=1 ,b=2")))));
        for wrong in [
            "",
            "00-0AF7651916CD43DD8448EB211C80319C-B7AD6B7169203331-01",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
        ] {
            assert_eq!(trace_context(&head(&[("traceparent", wrong)])), None, "{wrong}");
        }
        assert_eq!(trace_context(&head(&[("traceparent", TRACE), ("traceparent", TRACE)])), None);
        let control = head(&[("traceparent", TRACE), ("tracestate", "a=\u{1}")]);
        assert_eq!(trace_context(&control), Some((TRACE, None)));
    }
}
