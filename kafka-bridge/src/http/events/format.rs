//! In which of the HTTP binding's modes a request carries events.

use axum::http::{HeaderMap, header};
use wicketgate_envelope::http_event::Mode;

use crate::http::shortened::shortened;
use crate::problem::{Kind, Problem};

/// Told by `content-type`; if that is not of events, then by `ce-specversion`.
///
/// # Errors
/// 415 when it is none of the three.
pub(super) fn of(headers: &HeaderMap) -> Result<Mode, Problem> {
    const EVENTS: &str = "application/cloudevents";
    let content_type = headers.get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or("(not text)"));
    if let Ok(Some(mode)) = Mode::of(content_type, headers.contains_key("ce-specversion")) {
        return Ok(mode);
    }
    let got = content_type.map_or("neither".to_owned(), |text| format!("{:?}", shortened(text)));
    Err(Problem::new(
        Kind::UnsupportedMediaType,
        format!(
            "content-type: wanted {EVENTS}+json or {EVENTS}-batch+json in UTF-8, or the header ce-specversion, got {got}"
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_is_told_but_not_all_of_it() {
        let mut headers = HeaderMap::new();
        assert!(format!("{:?}", of(&headers).unwrap_err()).contains("got neither"));
        headers.insert("content-type", "x".repeat(9_000).parse().unwrap());
        let problem = format!("{:?}", of(&headers).unwrap_err());
        assert!(problem.contains(&"x".repeat(80)) && problem.len() < 500, "{problem}");
    }
}
