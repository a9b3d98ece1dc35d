//! Why a template could not be filled.

use std::fmt;

use super::{MAX_BYTES, Unit};

/// Why a template could not be filled: which part, and what is wrong with it. What the part holds is never in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfillable {
    /// The part of the request, such as `header x-tenant`.
    pub part: String,
    /// What is wrong with it.
    pub reason: Reason,
}

/// What is wrong with a part of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It is not there.
    Missing,
    /// It is JSON's null.
    Null,
    /// It is the empty text, where that will not do.
    Empty,
    /// It is there more than once.
    Repeated,
    /// It would be in the body, which is not read as JSON.
    NotRead,
    /// It is not UTF-8, or has half a surrogate pair.
    NotUtf8,
    /// It is an array or an object.
    NotScalar,
    /// It is no time, told in this unit.
    Time(Unit),
    /// It has a character that a CloudEvents string cannot have.
    Character,
    /// It has the character that parts it from what is beside it, where what is beside it must stay what it is.
    Separator(char),
    /// It makes the text longer than [`MAX_BYTES`].
    TooLong,
}

impl fmt::Display for Unfillable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { part, reason } = self;
        match reason {
            Reason::Missing => write!(f, "{part} is missing"),
            Reason::Null => write!(f, "{part} is null"),
            Reason::Empty => write!(f, "{part} is empty"),
            Reason::NotRead => write!(
                f,
                "{part} finds nothing: the body was not looked into, because it is empty or its content-type is not JSON \
                 (a route can have other types read as JSON with accept.read_as)"
            ),
            Reason::Repeated => write!(f, "{part} occurs more than once"),
            Reason::NotUtf8 => write!(f, "{part} is not UTF-8"),
            Reason::NotScalar => write!(f, "{part} is an array or an object"),
            Reason::Time(unit) => write!(
                f,
                "{part} is neither an RFC 3339 time nor a number of {unit} from 1970 to 2554; is it in another unit?"
            ),
            Reason::Character => write!(f, "{part} has a control character or a noncharacter"),
            Reason::Separator(separator) => write!(
                f,
                "{part} has a {separator:?}, which parts it from what is known of the caller; wanted none"
            ),
            Reason::TooLong => write!(f, "{part} is too long: what is made of it may have {MAX_BYTES} bytes"),
        }
    }
}

impl std::error::Error for Unfillable {}
