//! What the gateway answers by itself.

use std::borrow::Cow;

use serde::Serialize;

use crate::auth::REALM;
use crate::cors::Denial;

/// Header fields of an answer.
pub type Headers = Vec<(Cow<'static, str>, String)>;

/// An answer that ends the request at the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalReply {
    /// The HTTP status.
    pub status: u16,
    /// Header fields; names are lower-case, values visible ASCII.
    pub headers: Headers,
    /// The content.
    pub body: Vec<u8>,
    /// What it tells the caller, in a word.
    pub told: Told,
}

/// What an answer tells the caller, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// All of its events are acknowledged.
    Acknowledged,
    /// Some of its events are acknowledged.
    PartlyAcknowledged,
    /// A problem of this kind ([`Problem::kind`]).
    Problem(&'static str),
    /// What it asked of the gateway itself, such as a preflight.
    Answer,
}

/// What a caller is told instead of a receipt. Each kind has one status, one title and one stable type,
/// `urn:wicketgate:problem:<kind>` unless it is a registered one (RFC 9457); `docs/errors.md` lists them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// The request cannot be read; the text says which part.
    BadRequest(String),
    /// No credential or a wrong one; the text is the value of `WWW-Authenticate`.
    Unauthenticated(String),
    /// The caller is known, and may not do this.
    Forbidden {
        /// The scopes that are needed, separated by spaces, if one of them is what is missing.
        scopes: Option<String>,
    },
    /// Who is calling cannot be found out now, because an authority does not answer.
    AuthorityUnavailable,
    /// No route has this path.
    NotFound,
    /// A route has this path, with these methods.
    MethodNotAllowed(Vec<String>),
    /// The body is larger than this many bytes.
    TooLarge(usize),
    /// There are more events in the body than this many.
    TooManyEvents(usize),
    /// What would be made of the request is larger than this many bytes.
    RecordsTooLarge(usize),
    /// The event is larger than Kafka takes.
    EventTooLarge,
    /// The body is of a type that the route does not take; the text says which it does.
    UnsupportedMediaType(String),
    /// The body has a content encoding that the route does not take.
    UnsupportedEncoding {
        /// What was wanted, and what came.
        detail: String,
        /// The codings that the route takes, as the value of `Accept-Encoding` (RFC 9110, section 15.5.16).
        accepted: &'static str,
    },
    /// The event has the name of another one that came before.
    IdempotencyConflict,
    /// Limits are exceeded.
    QuotaExceeded {
        /// Their names.
        policies: Vec<String>,
        /// When to try again, in seconds; `None` where that would not help.
        retry_after: Option<u64>,
    },
    /// A limit cannot be counted, and nothing goes on uncounted.
    LimitUnavailable {
        /// Its name.
        policy: String,
    },
    /// A page of another origin asks for more than the route allows.
    CorsRefused(Denial),
    /// The gateway itself cannot go on.
    Internal,
    /// kafka-bridge or Kafka will not take the event, now or later.
    Refused,
    /// The gateway or kafka-bridge is saturated, or it is known that Kafka is down. Nothing was written.
    Unavailable {
        /// When to try again, in seconds.
        retry_after: u32,
    },
    /// kafka-bridge cannot be reached, does not let the gateway in, or does not understand it. Nothing was written.
    BridgeUnavailable {
        /// When to try again, in seconds.
        retry_after: u32,
    },
    /// The event may be in Kafka, or not.
    OutcomeUnknown {
        /// What made it unknown.
        cause: UnknownCause,
        /// The `id` that the event has if it is in Kafka.
        event_id: String,
    },
}

/// Why an outcome is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownCause {
    /// No answer in time.
    Timeout,
    /// The connection to kafka-bridge broke, or its answer could not be read.
    Broken,
}

impl Problem {
    /// The same problem, of one event of a batch, counted from 0.
    pub(crate) fn of_event(self, index: usize) -> Self {
        let place = |detail: String| format!("event {index}: {detail}");
        match self {
            Self::BadRequest(detail) => Self::BadRequest(place(detail)),
            Self::UnsupportedMediaType(detail) => Self::UnsupportedMediaType(place(detail)),
            other => other,
        }
    }
}

/// The members of a problem (RFC 9457, section 3.1), and two of ours.
#[derive(Debug, Serialize)]
pub(crate) struct Content<'a> {
    #[serde(rename = "type")]
    type_: String,
    title: &'static str,
    status: u16,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_id: Option<&'a str>,
    /// The names of limits (draft-ietf-httpapi-ratelimit-headers-10, section 5).
    #[serde(rename = "violated-policies", skip_serializing_if = "<[String]>::is_empty")]
    violated_policies: &'a [String],
}

impl Problem {
    /// The HTTP status.
    pub fn status(&self) -> u16 {
        match self {
            Self::BadRequest(_) => 400,
            Self::Unauthenticated(_) => 401,
            Self::Forbidden { .. } | Self::CorsRefused(_) => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed(_) => 405,
            Self::TooLarge(_) | Self::TooManyEvents(_) | Self::RecordsTooLarge(_) | Self::EventTooLarge => {
                413
            }
            Self::UnsupportedMediaType(_) | Self::UnsupportedEncoding { .. } => 415,
            Self::IdempotencyConflict => 422,
            Self::QuotaExceeded { .. } => 429,
            Self::Internal => 500,
            Self::Refused | Self::OutcomeUnknown { cause: UnknownCause::Broken, .. } => 502,
            Self::Unavailable { .. }
            | Self::BridgeUnavailable { .. }
            | Self::AuthorityUnavailable
            | Self::LimitUnavailable { .. } => 503,
            Self::OutcomeUnknown { cause: UnknownCause::Timeout, .. } => 504,
        }
    }

    /// The last part of the `type`, stable.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::BadRequest(_) => "bad-request",
            Self::Unauthenticated(_) => "unauthenticated",
            Self::Forbidden { .. } => "forbidden",
            Self::AuthorityUnavailable => "authority-unavailable",
            Self::QuotaExceeded { .. } => "quota-exceeded",
            Self::LimitUnavailable { .. } => "temporary-reduced-capacity",
            Self::CorsRefused(_) => "cors-refused",
            Self::NotFound => "not-found",
            Self::MethodNotAllowed(_) => "method-not-allowed",
            Self::TooLarge(_) | Self::TooManyEvents(_) | Self::RecordsTooLarge(_) | Self::EventTooLarge => {
                "too-large"
            }
            Self::UnsupportedMediaType(_) => "unsupported-media-type",
            Self::UnsupportedEncoding { .. } => "unsupported-encoding",
            Self::IdempotencyConflict => "idempotency-conflict",
            Self::Internal => "internal",
            Self::Refused => "refused",
            Self::Unavailable { .. } => "unavailable",
            Self::BridgeUnavailable { .. } => "bridge-unavailable",
            Self::OutcomeUnknown { .. } => "outcome-unknown",
        }
    }

    /// Those of limits are registered names (draft-ietf-httpapi-ratelimit-headers-10, section 5), which clients may know.
    fn type_uri(&self) -> String {
        let base = match self {
            Self::QuotaExceeded { .. } | Self::LimitUnavailable { .. } => {
                "https://iana.org/assignments/http-problem-types#"
            }
            _ => "urn:wicketgate:problem:",
        };
        format!("{base}{}", self.kind())
    }

    fn title(&self) -> &'static str {
        match self {
            Self::BadRequest(_) => "The request cannot be read",
            Self::Unauthenticated(_) => "Not authenticated",
            Self::Forbidden { .. } => "Not allowed",
            Self::AuthorityUnavailable => "Credentials cannot be checked now",
            Self::QuotaExceeded { .. } => "Too many requests",
            Self::LimitUnavailable { .. } => "Requests cannot be counted now",
            Self::CorsRefused(_) => "Not from this origin",
            Self::NotFound => "Nothing is here",
            Self::MethodNotAllowed(_) => "Not with this method",
            Self::TooLarge(_) | Self::TooManyEvents(_) | Self::RecordsTooLarge(_) | Self::EventTooLarge => {
                "Too large"
            }
            Self::UnsupportedMediaType(_) => "The media type is not taken here",
            Self::UnsupportedEncoding { .. } => "The content encoding is not taken here",
            Self::IdempotencyConflict => "Another event has this id",
            Self::Internal => "The gateway failed",
            Self::Refused => "Kafka refused the event",
            Self::Unavailable { .. } => "The event cannot be taken now",
            Self::BridgeUnavailable { .. } => "The gateway cannot use its bridge to Kafka now",
            Self::OutcomeUnknown { .. } => "The outcome is unknown",
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::BadRequest(detail) => detail.clone(),
            Self::Unauthenticated(_) => "Send one valid credential, as WWW-Authenticate says.".to_owned(),
            Self::Forbidden { scopes: Some(_) } => {
                "The credential is valid and lacks a scope that is needed, as WWW-Authenticate says.".to_owned()
            }
            Self::Forbidden { scopes: None } => {
                "The credential is valid and does not allow this request.".to_owned()
            }
            Self::AuthorityUnavailable => {
                "The authority that knows the credential does not answer, or too many credentials are being checked. The \
                 request was not forwarded, and no event was written. Trying again later is safe."
                    .to_owned()
            }
            Self::QuotaExceeded { policies, retry_after } => {
                let which = policies.join(", ");
                match retry_after {
                    Some(_) => format!("Exceeded: {which}. No event was written. Retry-After says when to try again."),
                    None => format!("Exceeded: {which}. No event was written."),
                }
            }
            Self::LimitUnavailable { policy } => {
                format!("The limit {policy} cannot be counted. No event was written. Trying again later is safe.")
            }
            Self::CorsRefused(denial) => denial.to_string(),
            Self::NotFound => "No route has this path.".to_owned(),
            Self::MethodNotAllowed(allowed) => format!("This path takes {}.", allowed.join(", ")),
            Self::TooLarge(max) => format!("The body may have {max} bytes."),
            Self::TooManyEvents(max) => format!("The body may bring {max} events."),
            Self::RecordsTooLarge(max) => format!(
                "What is made of this request may have {max} bytes: its events, and what each of them has of the head."
            ),
            Self::EventTooLarge => "The event that this request makes is larger than Kafka takes.".to_owned(),
            Self::UnsupportedMediaType(detail) => detail.clone(),
            Self::UnsupportedEncoding { detail, .. } => format!("content-encoding: {detail}"),
            Self::IdempotencyConflict => {
                "Another event with the same id (or Idempotency-Key) came before. This one was not written."
                    .to_owned()
            }
            Self::Internal => "The request was not forwarded, and no event was written.".to_owned(),
            Self::Refused => {
                "No event was written, and trying again will not help before an operator has.".to_owned()
            }
            Self::Unavailable { .. } => "No event was written. Trying again later is safe.".to_owned(),
            Self::BridgeUnavailable { .. } => {
                "The fault is between the gateway and kafka-bridge, whose logs name it; neither the request nor Kafka is the \
                 cause. No event was written. Trying again later is safe."
                    .to_owned()
            }
            Self::OutcomeUnknown { .. } => {
                "The event may have been written, or may yet be. Trying again may write it twice; \
                 event_id tells whether it is there."
                    .to_owned()
            }
        }
    }

    /// The answer that says so. `request_id` is told in a header and in the content.
    pub fn reply(&self, request_id: &str) -> LocalReply {
        self.reply_with(request_id, &self.content(Some(request_id), None))
    }

    /// The answer that says so, in other words.
    pub(crate) fn reply_with(&self, request_id: &str, content: &impl Serialize) -> LocalReply {
        let mut headers = headers("application/problem+json", request_id);
        let more = match self {
            Self::Unauthenticated(challenge) => Some(("www-authenticate", challenge.clone())),
            // RFC 6750, section 3.1.
            Self::Forbidden { scopes: Some(scopes) } => Some((
                "www-authenticate",
                format!("Bearer realm=\"{REALM}\", error=\"insufficient_scope\", scope=\"{scopes}\""),
            )),
            Self::AuthorityUnavailable | Self::LimitUnavailable { .. } => {
                Some(("retry-after", "1".to_owned()))
            }
            Self::QuotaExceeded { retry_after: Some(seconds), .. } => {
                Some(("retry-after", seconds.to_string()))
            }
            Self::MethodNotAllowed(allowed) => Some(("allow", allowed.join(", "))),
            Self::UnsupportedEncoding { accepted, .. } => Some(("accept-encoding", (*accepted).to_owned())),
            Self::Unavailable { retry_after } | Self::BridgeUnavailable { retry_after } => {
                Some(("retry-after", retry_after.to_string()))
            }
            _ => None,
        };
        headers.extend(more.map(|(name, value)| (Cow::Borrowed(name), value)));
        LocalReply { status: self.status(), headers, body: json(content), told: Told::Problem(self.kind()) }
    }

    /// The members. `event_id` is told where the problem itself has none.
    pub(crate) fn content<'a>(
        &'a self,
        request_id: Option<&'a str>,
        event_id: Option<&'a str>,
    ) -> Content<'a> {
        Content {
            type_: self.type_uri(),
            title: self.title(),
            status: self.status(),
            detail: self.detail(),
            request_id,
            event_id: match self {
                Self::OutcomeUnknown { event_id, .. } => Some(event_id),
                _ => event_id,
            },
            violated_policies: match self {
                Self::QuotaExceeded { policies, .. } => policies,
                Self::LimitUnavailable { policy } => std::slice::from_ref(policy),
                _ => &[],
            },
        }
    }
}

/// The header fields that every answer has.
pub(crate) fn headers(content_type: &str, request_id: &str) -> Headers {
    vec![
        (Cow::Borrowed("content-type"), content_type.to_owned()),
        (Cow::Borrowed("x-request-id"), request_id.to_owned()),
    ]
}

pub(crate) fn json(content: &impl Serialize) -> Vec<u8> {
    // What is answered consists of strings and numbers, which cannot fail to serialise.
    serde_json::to_vec(content).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn a_problem_says_it_all_and_no_more() {
        let problem = Problem::OutcomeUnknown { cause: UnknownCause::Timeout, event_id: "e1".to_owned() };
        let reply = problem.reply("r1");
        let content: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(reply.status, 504);
        assert_eq!(content["type"], "urn:wicketgate:problem:outcome-unknown");
        assert_eq!(
            (&content["status"], &content["event_id"], &content["request_id"]),
            (&504.into(), &"e1".into(), &"r1".into())
        );
        assert!(reply.headers.contains(&("content-type".into(), "application/problem+json".to_owned())));
    }

    #[test]
    fn headers_that_a_status_needs_are_there() {
        for (problem, name, value) in [
            (
                Problem::Unauthenticated("ApiKey realm=\"x\"".to_owned()),
                "www-authenticate",
                "ApiKey realm=\"x\"",
            ),
            (Problem::MethodNotAllowed(vec!["POST".to_owned(), "PUT".to_owned()]), "allow", "POST, PUT"),
            (Problem::Unavailable { retry_after: 3 }, "retry-after", "3"),
            (Problem::BridgeUnavailable { retry_after: 10 }, "retry-after", "10"),
        ] {
            assert!(problem.reply("r").headers.contains(&(name.into(), value.to_owned())), "{name}");
        }
    }
}
