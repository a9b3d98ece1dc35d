//! What each outcome looks like over HTTP: the one table of statuses, and problem details (RFC 9457).

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use wicketgate_envelope::hop::RecordResult;

/// The media type of an error.
const PROBLEM_CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/problem+json");

/// Every way in which a call, or a record in a call, can fail. The URN of a kind is part of the interface: it is
/// never renamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The body or the path cannot be read.
    BadRequest,
    /// The request brings no proof of who sent it, or a wrong one.
    Unauthenticated,
    /// It is known who sent it, and it is not allowed.
    Forbidden,
    /// No such path.
    NotFound,
    /// The path exists, the method does not.
    MethodNotAllowed,
    /// The body did not arrive in time.
    RequestTimeout,
    /// Body or record larger than what is taken.
    TooLarge,
    /// The head is larger than what is taken.
    HeadersTooLarge,
    /// The body is not of a media type that this path takes.
    UnsupportedMediaType,
    /// The event has the name of another one that came before.
    IdempotencyConflict,
    /// A limit that gateways share is exceeded.
    QuotaExceeded,
    /// Kafka will not take the record, now or later.
    Refused,
    /// Nothing was written; a retry is safe.
    Unavailable,
    /// The record may be written, or may yet be.
    OutcomeUnknown,
}

impl Kind {
    /// Status, URN and title: the only place that knows them.
    const fn row(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::BadRequest => {
                (StatusCode::BAD_REQUEST, "urn:wicketgate:problem:bad-request", "The request cannot be read")
            }
            Self::Unauthenticated => (
                StatusCode::UNAUTHORIZED,
                "urn:wicketgate:problem:unauthenticated",
                "The request does not prove who sent it",
            ),
            Self::Forbidden => {
                (StatusCode::FORBIDDEN, "urn:wicketgate:problem:forbidden", "The request is not allowed")
            }
            Self::NotFound => (StatusCode::NOT_FOUND, "urn:wicketgate:problem:not-found", "No such path"),
            Self::MethodNotAllowed => (
                StatusCode::METHOD_NOT_ALLOWED,
                "urn:wicketgate:problem:method-not-allowed",
                "The path does not take this method",
            ),
            Self::RequestTimeout => (
                StatusCode::REQUEST_TIMEOUT,
                "urn:wicketgate:problem:request-timeout",
                "The body did not arrive in time",
            ),
            Self::TooLarge => {
                (StatusCode::PAYLOAD_TOO_LARGE, "urn:wicketgate:problem:too-large", "Too large")
            }
            Self::HeadersTooLarge => (
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "urn:wicketgate:problem:headers-too-large",
                "The request's head is too large",
            ),
            Self::UnsupportedMediaType => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "urn:wicketgate:problem:unsupported-media-type",
                "The path does not take this media type",
            ),
            Self::IdempotencyConflict => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "urn:wicketgate:problem:idempotency-conflict",
                "Another event has this id",
            ),
            Self::QuotaExceeded => (
                StatusCode::TOO_MANY_REQUESTS,
                "https://iana.org/assignments/http-problem-types#quota-exceeded",
                "Too many requests",
            ),
            Self::Refused => {
                (StatusCode::BAD_GATEWAY, "urn:wicketgate:problem:refused", "Kafka does not take the record")
            }
            Self::Unavailable => (
                StatusCode::SERVICE_UNAVAILABLE,
                "urn:wicketgate:problem:unavailable",
                "Nothing was written; try again",
            ),
            Self::OutcomeUnknown => (
                StatusCode::GATEWAY_TIMEOUT,
                "urn:wicketgate:problem:outcome-unknown",
                "Kafka has not answered; the record may or may not be written",
            ),
        }
    }

    /// What is wrong, in a few words.
    pub const fn title(self) -> &'static str {
        self.row().2
    }

    /// The HTTP status.
    pub const fn status(self) -> StatusCode {
        self.row().0
    }
}

/// What a result is as a problem; `None` for one that is none.
pub const fn kind_of(result: &RecordResult) -> Option<Kind> {
    match result {
        RecordResult::Acknowledged { .. } => None,
        RecordResult::Invalid { .. } => Some(Kind::BadRequest),
        RecordResult::TooLarge => Some(Kind::TooLarge),
        RecordResult::Limited => Some(Kind::QuotaExceeded),
        RecordResult::Conflict => Some(Kind::IdempotencyConflict),
        RecordResult::Refused => Some(Kind::Refused),
        RecordResult::Unavailable { .. } => Some(Kind::Unavailable),
        RecordResult::Unknown => Some(Kind::OutcomeUnknown),
    }
}

/// The status of an answer that carries these results: the one that all share, else 207.
pub fn status_of(results: &[RecordResult]) -> StatusCode {
    let mut statuses =
        results.iter().map(|result| kind_of(result).map_or(StatusCode::ACCEPTED, Kind::status));
    let Some(first) = statuses.next() else { return StatusCode::ACCEPTED };
    if statuses.all(|status| status == first) { first } else { StatusCode::MULTI_STATUS }
}

/// An error on its way to the caller. It holds nothing that a caller may not see. As a response it has no body
/// yet; [`Problem::render`] writes one once the request id is known.
#[derive(Clone, Debug)]
pub struct Problem {
    kind: Kind,
    detail: String,
    event_id: Option<String>,
    retry_after: Option<u32>,
    challenge: Option<HeaderValue>,
}

#[derive(Serialize)]
struct Body<'a> {
    #[serde(rename = "type")]
    type_: &'static str,
    title: &'static str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_id: Option<&'a str>,
}

impl Problem {
    /// A problem of this kind; `detail` is read by whoever made the request.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), event_id: None, retry_after: None, challenge: None }
    }

    /// [`Kind::Unavailable`], with the number of seconds after which a retry makes sense.
    pub fn unavailable(detail: impl Into<String>, retry_after: u32) -> Self {
        Self { retry_after: Some(retry_after), ..Self::new(Kind::Unavailable, detail) }
    }

    /// [`Kind::Unauthenticated`], with the kinds of proof that there are.
    pub fn unauthenticated(challenge: HeaderValue) -> Self {
        let detail = "the bridge takes requests with a valid token, signature or client certificate only";
        Self { challenge: Some(challenge), ..Self::new(Kind::Unauthenticated, detail) }
    }

    /// Names the event that the problem is about, so that a retry can be recognised.
    #[must_use]
    pub fn about_event(mut self, id: impl Into<String>) -> Self {
        self.event_id = Some(id.into());
        self
    }

    /// What whoever made the request is told.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// Gives `response`, which this problem was made into, its body.
    pub fn render(&self, response: Response, request_id: Option<&str>) -> Response {
        let (status, type_, title) = self.kind.row();
        let body = Body {
            type_,
            title,
            status: status.as_u16(),
            detail: &self.detail,
            request_id,
            event_id: self.event_id.as_deref(),
        };
        let (mut head, _) = response.into_parts();
        let (body_head, body) = Json(body).into_response().into_parts();
        head.headers.extend(body_head.headers);
        // What the framework computed for the empty body no longer holds.
        head.headers.remove(header::CONTENT_LENGTH);
        head.headers.insert(header::CONTENT_TYPE, PROBLEM_CONTENT_TYPE);
        Response::from_parts(head, body)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.kind.status().into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(challenge) = &self.challenge {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge.clone());
        }
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wicketgate_envelope::hop::{Ack, Receipt};

    fn acknowledged() -> RecordResult {
        RecordResult::Acknowledged {
            receipt: Receipt {
                id: "1".into(),
                topic: "t".into(),
                partition: Some(0),
                offset: Some(0),
                timestamp: None,
                ack: Ack::All,
            },
            replayed: false,
        }
    }

    #[test]
    fn each_outcome_has_its_status() {
        for (result, status) in [
            (acknowledged(), 202),
            (RecordResult::Invalid { detail: String::new() }, 400),
            (RecordResult::TooLarge, 413),
            (RecordResult::Limited, 429),
            (RecordResult::Conflict, 422),
            (RecordResult::Refused, 502),
            (RecordResult::Unavailable { retry_after: 1 }, 503),
            (RecordResult::Unknown, 504),
        ] {
            assert_eq!(status_of(std::slice::from_ref(&result)), status, "{result:?}");
            assert_eq!(status_of(&[result.clone(), result.clone()]), status, "{result:?} twice");
        }
    }

    #[test]
    fn outcomes_that_differ_are_a_multi_status() {
        assert_eq!(status_of(&[acknowledged(), RecordResult::Unknown]), 207);
        assert_eq!(status_of(&[RecordResult::Refused, RecordResult::TooLarge]), 207);
    }
}
