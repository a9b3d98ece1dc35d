//! Requests as text.

use wicketgate_policy::head::RequestHead;

/// A request, read leniently: every input is one.
///
/// ```text
/// POST /v1/orders/42?a=b
/// content-type: application/json
///
/// {"a":1}
/// ```
#[derive(Debug)]
pub struct Message<'a> {
    /// The head. Pseudo-headers may also stand among the headers, as `:authority: example.com`.
    pub head: RequestHead,
    /// All that follows the first empty line.
    pub body: &'a [u8],
}

impl<'a> Message<'a> {
    /// Reads a request.
    pub fn parse(text: &'a [u8]) -> Self {
        let mut head = RequestHead::default();
        let (request_line, mut rest) = line(text);
        let (method, target) = cut(request_line, b" ");
        head.push(b":method", method);
        head.push(b":path", target);
        while !rest.is_empty() {
            let (field, after) = line(rest);
            rest = after;
            if field.is_empty() {
                break;
            }
            // A pseudo-header begins with a colon of its own.
            let pseudo = usize::from(field.starts_with(b":"));
            let (name, value) = cut(&field[pseudo..], b": ");
            head.push(&field[..pseudo + name.len()], value);
        }
        Self { head, body: rest }
    }
}

/// The first line, and what follows it.
pub fn line(text: &[u8]) -> (&[u8], &[u8]) {
    cut(text, b"\n")
}

/// What is before the first `separator`, and what is after it.
pub fn cut<'a>(text: &'a [u8], separator: &[u8]) -> (&'a [u8], &'a [u8]) {
    match text.windows(separator.len()).position(|window| window == separator) {
        Some(at) => (&text[..at], &text[at + separator.len()..]),
        None => (text, &[]),
    }
}

/// Whether `needle` occurs in `haystack`.
pub fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}
