//! What became of a request, for those who count.

use super::Effect;
use crate::reply::Told;

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decided {
    /// All of its events are acknowledged.
    Accepted,
    /// Some of its events are acknowledged.
    PartlyAccepted,
    /// The gateway has answered a question about itself, such as a preflight.
    Answered,
    /// It was let go on to its upstream.
    Passed,
    /// It ended with a problem of this kind ([`crate::reply::Problem::kind`]) and this status.
    Problem(&'static str, u16),
    /// Its caller has gone before it was decided.
    Abandoned,
}

impl Decided {
    /// What an effect that ends the gateway's part in a request makes of it.
    pub(super) fn by(effect: &Effect) -> Self {
        match effect {
            Effect::Reply(reply) => match reply.told {
                Told::Acknowledged => Self::Accepted,
                Told::PartlyAcknowledged => Self::PartlyAccepted,
                Told::Answer => Self::Answered,
                Told::Problem(kind) => Self::Problem(kind, reply.status),
            },
            Effect::Continue | Effect::Resume => Self::Passed,
            _ => Self::Abandoned,
        }
    }

    /// The problem, if it is one.
    pub fn problem(self) -> Option<&'static str> {
        match self {
            Self::Problem(kind, _) => Some(kind),
            _ => None,
        }
    }

    /// In a word: `denied` is a problem of the request (4xx), `failed` one of the gateway or of what is behind it (5xx),
    /// `unknown` one after which the events may be in Kafka or not.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::PartlyAccepted => "partly_accepted",
            Self::Answered => "answered",
            Self::Passed => "passed",
            Self::Problem("outcome-unknown", _) => "unknown",
            Self::Problem(_, 500..) => "failed",
            Self::Problem(..) => "denied",
            Self::Abandoned => "abandoned",
        }
    }
}
