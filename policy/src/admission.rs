//! What is known of a request once its head has been let in, and before its body is there.

use std::borrow::Cow;
use std::rc::Rc;

use wicketgate_envelope::timestamp::Timestamp;

use crate::accept::{Format, Refused};
use crate::auth::Principal;
use crate::claims::Claims;
use crate::config::document::ContentEncoding;
use crate::content_encoding::{self, Coding};
use crate::head::RequestHead;
use crate::identity::Fingerprint;
use crate::path;
use crate::plan::Plan;
use crate::query::Query;
use crate::reply::Problem;
use crate::route::{Action, Route};
use crate::template::Facts;
use crate::unending::Unending;

/// A request that its route has let in.
#[derive(Debug)]
pub struct Admitted {
    /// The route.
    pub route: Rc<Route>,
    /// Who sent it.
    pub principal: Principal,
    /// When it came in.
    pub time: Timestamp,
    /// Its own name, for logs and answers.
    pub request_id: String,
    /// The head, redacted and without credentials: nothing that leaves the gateway is made from any other.
    pub(crate) head: RequestHead,
    pub(crate) path_parameters: Vec<String>,
    /// The query, redacted, as it stands in the request.
    pub(crate) raw_query: Option<Vec<u8>>,
    /// The same, taken apart; only if the route needs it.
    pub(crate) query: Option<Query>,
    /// How the body is encoded, where it is to be decoded; empty for not at all.
    pub(crate) codings: Vec<Coding>,
    /// The names of the codings of a body that stays encoded.
    pub(crate) carried: Option<String>,
    /// Why its body is not waited for, and not copied, if it is not.
    pub(crate) unending: Option<Unending>,
    /// The value of `Idempotency-Key`, where events are told apart.
    pub(crate) idempotency_key: Option<String>,
    /// What the head says, where events are told apart.
    pub(crate) fingerprint: Option<Fingerprint>,
}

impl Admitted {
    /// Takes in the head of a request that is to become records, and refuses what can be refused without its body.
    ///
    /// # Errors
    /// [`Problem`], when a part of the head that the plan depends on can't be read or is not taken.
    pub fn new(
        route: Rc<Route>,
        plan: &Plan,
        path_parameters: Vec<String>,
        principal: Principal,
        head: &RequestHead,
        (request_id, time): (String, Timestamp),
    ) -> Result<Self, Problem> {
        // It means nothing where each event is one of its own, and is then its upstream's to judge; nor where it is dropped.
        let key = match plan.identity {
            Some(_) if plan.redaction.header(IDEMPOTENCY_KEY, b"").is_some() => idempotency_key(head)?,
            _ => None,
        };
        // In quotes or not, it is one key in all that is made of it.
        let unquoted =
            key.as_ref().filter(|key| head.all(IDEMPOTENCY_KEY).any(|value| value != key.as_bytes()));
        let unquoted = unquoted.map(|key| with_key(head, key));
        let sent = unquoted.as_ref().unwrap_or(head);
        let head = redacted_head(sent, plan);
        let raw_query = path::query(head.target()).map(|query| plan.redaction.query(query));
        let query = match &raw_query {
            Some(raw) if plan.templates().any(|template| template.needs_query()) => {
                let query = Query::parse(raw);
                Some(query.map_err(|error| Problem::BadRequest(format!("query: {error}")))?)
            }
            _ => None,
        };
        let unending = Unending::of(sent).filter(|_| matches!(route.action, Action::Tee { .. }));
        let (codings, carried) = codings(&head, plan)?;
        let format = plan.accepted.format(&head)?;
        if carried.is_some() {
            check_carried(format, plan)?;
        }
        let idempotency_key = key.and_then(|key| {
            let kept = plan.redaction.header(IDEMPOTENCY_KEY, key.as_bytes())?;
            String::from_utf8(kept.into_owned()).ok()
        });
        let fingerprint = plan
            .identity
            .as_ref()
            .map(|identity| Fingerprint::of_head(identity, plan, sent, raw_query.as_deref(), format));
        Ok(Self {
            route,
            principal,
            time,
            request_id,
            head,
            path_parameters,
            raw_query,
            query,
            codings,
            carried,
            unending,
            idempotency_key,
            fingerprint,
        })
    }

    /// What templates are filled from; the JSON of an event is the caller's to add.
    pub(crate) fn facts<'a>(&'a self, path_parameters: &'a [&'a str]) -> Facts<'a> {
        Facts {
            path_parameters,
            head: &self.head,
            query: self.query.as_ref(),
            consumer: self.principal.auth_id(),
            claims: self.principal.claims().map(Claims::json),
            json: None,
        }
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::BadRequest(detail) => Self::BadRequest(detail),
            Refused::UnsupportedMediaType(detail) => Self::UnsupportedMediaType(detail),
            Refused::TooManyEvents { max } => Self::TooManyEvents(max),
        }
    }
}

fn redacted_head(head: &RequestHead, plan: &Plan) -> RequestHead {
    head.map_fields(|name, value| match std::str::from_utf8(name) {
        Ok(name) if plan.withheld.iter().any(|withheld| withheld == name) => None,
        Ok(name) => plan.redaction.header(name, value),
        // Not a name that a configuration can have.
        Err(_) => Some(Cow::Borrowed(value)),
    })
}

/// `Accept-Encoding` of a route that takes no coding.
const NO_CODING: &str = "identity";

/// `Accept-Encoding` of a route that takes each.
const ANY_CODING: &str = "*";

/// The codings to undo, and the names of those that stay.
fn codings(head: &RequestHead, plan: &Plan) -> Result<(Vec<Coding>, Option<String>), Problem> {
    let values = || head.all("content-encoding");
    match plan.content_encoding {
        ContentEncoding::Decode => {
            let codings = content_encoding::codings(values()).map_err(|error| {
                let (detail, accepted) = (error.to_string(), content_encoding::ACCEPTED);
                Problem::UnsupportedEncoding { detail, accepted }
            });
            Ok((codings?, None))
        }
        ContentEncoding::Carry => {
            let carried = content_encoding::carried(values()).map_err(|error| Problem::UnsupportedEncoding {
                detail: error.to_string(),
                accepted: ANY_CODING,
            });
            Ok((Vec::new(), carried?))
        }
        ContentEncoding::Refuse => match content_encoding::carried(values()) {
            Ok(None) => Ok((Vec::new(), None)),
            _ => {
                let detail = "wanted none, got one".to_owned();
                Err(Problem::UnsupportedEncoding { detail, accepted: NO_CODING })
            }
        },
    }
}

/// A body that stays encoded is looked into by nobody. So it must be one that nothing has to be looked for in: what an
/// event says of itself is checked and redacted, and a batch is taken apart.
fn check_carried(format: Format, plan: &Plan) -> Result<(), Problem> {
    let refuse = |because: &str| {
        let detail = format!("wanted none, because {because}, got one");
        Err(Problem::UnsupportedEncoding { detail, accepted: NO_CODING })
    };
    match format {
        _ if plan.redaction.touches_body() => refuse("parts of the body are redacted"),
        Format::Raw => Ok(()),
        Format::CloudEventBinary | Format::CloudEventStructured => {
            refuse("a CloudEvent is read before it is taken")
        }
        Format::CloudEventsBatch | Format::Ndjson | Format::JsonArray => {
            refuse("a batch is taken apart before it is taken")
        }
    }
}

const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// The same head with this key.
fn with_key(head: &RequestHead, key: &str) -> RequestHead {
    head.map_fields(|name, value| {
        let is_key = name == IDEMPOTENCY_KEY.as_bytes();
        Some(if is_key { Cow::Owned(key.as_bytes().to_vec()) } else { Cow::Borrowed(value) })
    })
}

/// The key, without the quotes that it has as a structured field (draft-ietf-httpapi-idempotency-key-header, section
/// 2.1) and by custom often has not.
fn idempotency_key(head: &RequestHead) -> Result<Option<String>, Problem> {
    let refuse = |what: &str| Problem::BadRequest(format!("idempotency-key: {what}"));
    let value = head.single(IDEMPOTENCY_KEY).map_err(|repeated| refuse(&repeated.to_string()))?;
    let Some(value) = value else { return Ok(None) };
    let text =
        std::str::from_utf8(value).map_err(|_| refuse("wanted visible ASCII characters, got other bytes"))?;
    match text.strip_prefix('"') {
        None => check_key(text, refuse).map(Some),
        Some(quoted) => match quoted.split_once('"') {
            Some((key, "")) => check_key(key, refuse).map(Some),
            Some((_, rest)) if rest.trim_start().starts_with(';') => {
                Err(refuse("wanted a key in quotes and nothing else, got parameters behind it"))
            }
            Some(_) => Err(refuse("wanted one key in quotes and nothing else, got more behind it")),
            None => Err(refuse("wanted a quote at the end of the key as at its start, got none")),
        },
    }
}

fn check_key(key: &str, refuse: impl Fn(&str) -> Problem) -> Result<String, Problem> {
    let wrong = |byte: &u8| !byte.is_ascii_graphic() || matches!(byte, b'"' | b'\\');
    Err(match key.bytes().find(|byte| wrong(byte)) {
        _ if key.is_empty() => refuse("wanted a key, got nothing"),
        _ if key.len() > MAX_KEY => {
            refuse(&format!("wanted at most {MAX_KEY} characters, got {}", key.len()))
        }
        Some(b' ' | b'\t') => refuse("wanted a key without white space, got some"),
        Some(b'"' | b'\\') => refuse("wanted a key without quotes and backslashes in it, got one"),
        Some(_) => refuse("wanted visible ASCII characters, got others"),
        None => return Ok(key.to_owned()),
    })
}

/// The longest key, in bytes.
const MAX_KEY: usize = 255;
