//! The answer to a request with many records: a result for each.

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use wicketgate_envelope::hop::{LimitState, RecordResult, RecordsResponse};

use crate::problem::{self, Kind, Problem};

/// The answer with these results, as this media type.
///
/// # Errors
/// A problem, should they not be expressible in JSON.
pub(super) fn answer(
    results: Vec<RecordResult>,
    limits: Vec<Vec<LimitState>>,
    media_type: &'static str,
) -> Result<Response, Problem> {
    let response = RecordsResponse { results, limits };
    let status = problem::status_of(&response.results);
    let body = serde_json::to_vec(&response).map_err(|error| {
        tracing::error!(%error, "an answer cannot be written as JSON");
        Problem::new(Kind::OutcomeUnknown, "the results cannot be told")
    })?;
    let mut answer =
        (status, [(header::CONTENT_TYPE, HeaderValue::from_static(media_type))], body).into_response();
    if status == Kind::Unavailable.status()
        && let Some(seconds) = response.results.iter().filter_map(retry_after).max()
    {
        answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    Ok(answer)
}

fn retry_after(result: &RecordResult) -> Option<u32> {
    if let RecordResult::Unavailable { retry_after } = result { Some(*retry_after) } else { None }
}
