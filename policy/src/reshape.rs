//! From a request to the records that kafka-bridge is asked to produce.

use std::borrow::Cow;
use std::rc::Rc;

use serde_json::value::RawValue;
use wicketgate_envelope::ENVELOPE_VERSION;
use wicketgate_envelope::data::Data;
use wicketgate_envelope::event::{Event, Extension, Time};
use wicketgate_envelope::hop::{self, Ack, Destination, SharedLimit, ValueMode};

use crate::accept::{self, Batch, Format, Incoming};
use crate::admission::Admitted;
use crate::config::document::RepeatedHeader;
use crate::content_encoding::{self, DecodeError};
use crate::env::{Env, fresh_id};
use crate::identity::Identities;
use crate::path;
use crate::plan::{ForwardHeader, Plan};
use crate::redact::BodyError;
use crate::reply::Problem;
use crate::template::{Facts, Template, is_disallowed};
use crate::trace_context::trace_context;

/// What a request sends.
#[derive(Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// In the order of the request; none for a batch of no events.
    pub records: Vec<Record>,
    /// Whether the caller expects a list of results, however long.
    pub batch: bool,
}

/// One record, ready for the call to kafka-bridge.
#[derive(Debug, PartialEq, Eq)]
pub struct Record {
    /// The `id` of its event.
    pub event_id: String,
    /// The topic that it is for.
    pub topic: String,
    /// How far it has to get before its caller gets a receipt.
    pub ack: Ack,
    /// The cluster that it is for, where it is not the bridge's default one.
    pub cluster: Option<Rc<str>>,
    /// As [`hop::write_record`] made it.
    pub bytes: Vec<u8>,
    /// What its request asks of limits that gateways share; with the first record only. The records of such a request
    /// travel together, whatever their topics.
    pub limits: Vec<SharedLimit>,
}

/// Makes records of a request and its whole body. Either all can be made, or none is.
///
/// # Errors
/// [`Problem`] names the part of the request that will not do.
pub fn reshape(
    admitted: &Admitted,
    plan: &Plan,
    body: &[u8],
    env: &mut dyn Env,
) -> Result<Outgoing, Problem> {
    let body = decoded(admitted, plan, body)?;
    let mut batch = match &body {
        Body::Readable(body) => accept::accept(&plan.accepted, &admitted.head, body)?,
        Body::Encoded(body) => carried(admitted, plan, body)?,
    };
    let bytes = match &body {
        Body::Readable(bytes) => bytes.as_ref(),
        Body::Encoded(bytes) => bytes,
    };
    let identities = Identities::new(admitted, plan, &batch, bytes);
    // In the other modes attributes are header fields, or there are none.
    if matches!(batch.format, Format::CloudEventStructured | Format::CloudEventsBatch) {
        let claimed = batch.events.iter_mut().filter_map(|event| event.claimed.as_deref_mut());
        claimed.for_each(|context| plan.redaction.attributes(context));
    }
    let path_parameters: Vec<&str> = admitted.path_parameters.iter().map(String::as_str).collect();
    let mut room = Room { max: plan.max_record_bytes, left: plan.max_record_bytes };
    // What each event repeats is counted before any is made.
    room.check(repeated_bytes(admitted, plan).saturating_mul(batch.events.len()))?;
    let mut records = Vec::with_capacity(batch.events.len());
    for (index, incoming) in batch.events.iter().enumerate() {
        let place = batch.format.is_batch().then_some(index);
        room.check(incoming.data.len())?;
        let identity = identities.of_event(index);
        let reshaper = Reshaper {
            admitted,
            plan,
            incoming,
            path_parameters: &path_parameters,
            place,
            identity,
            identities: &identities,
        };
        let record = reshaper.record(env).map_err(|problem| match place {
            Some(index) => problem.of_event(index),
            None => problem,
        })?;
        room.take(record.bytes.len())?;
        records.push(record);
    }
    Ok(Outgoing { records, batch: batch.format.is_batch() })
}

/// How much may still be made of a request, in bytes.
struct Room {
    max: usize,
    left: usize,
}

impl Room {
    fn check(&self, bytes: usize) -> Result<(), Problem> {
        if bytes <= self.left { Ok(()) } else { Err(Problem::RecordsTooLarge(self.max)) }
    }

    fn take(&mut self, bytes: usize) -> Result<(), Problem> {
        self.check(bytes)?;
        self.left -= bytes;
        Ok(())
    }
}

/// What every record of a request has of its head, at the least.
fn repeated_bytes(admitted: &Admitted, plan: &Plan) -> usize {
    let forwarded = plan.kafka.forward_headers.iter().map(|forward| {
        let lens = admitted.head.all(&forward.name).map(<[u8]>::len);
        match forward.repeated {
            RepeatedHeader::First | RepeatedHeader::Last => lens.min().unwrap_or(0),
            RepeatedHeader::All | RepeatedHeader::Refuse => lens.sum(),
        }
    });
    let query = admitted.raw_query.as_ref().filter(|_| plan.event.query).map_or(0, Vec::len);
    forwarded.sum::<usize>() + path::without_query(admitted.head.target()).len() + query
}

enum Body<'a> {
    Readable(Cow<'a, [u8]>),
    /// With a content encoding that the route carries on.
    Encoded(&'a [u8]),
}

fn decoded<'a>(admitted: &Admitted, plan: &Plan, body: &'a [u8]) -> Result<Body<'a>, Problem> {
    if body.is_empty() {
        return Ok(Body::Readable(Cow::Borrowed(body)));
    }
    if admitted.carried.is_some() {
        return Ok(Body::Encoded(body));
    }
    if admitted.codings.is_empty() {
        return Ok(Body::Readable(Cow::Borrowed(body)));
    }
    match content_encoding::decode(&admitted.codings, body, plan.max_bytes) {
        Ok(body) => Ok(Body::Readable(Cow::Owned(body))),
        Err(DecodeError::TooLarge(_)) => Err(Problem::TooLarge(plan.max_bytes)),
        Err(error) => Err(Problem::BadRequest(format!("body: {error}"))),
    }
}

/// A body that stays encoded is bytes, whatever it was before. Its head has been found to be that of a raw body.
fn carried<'a>(admitted: &'a Admitted, plan: &Plan, body: &'a [u8]) -> Result<Batch<'a>, Problem> {
    let content_type = accept::content_type(&admitted.head)?;
    plan.accepted.check_media_type("content-type", content_type)?;
    let data_content_type = content_type.map(Cow::Borrowed);
    let event = Incoming { data: Data::Binary(Cow::Borrowed(body)), data_content_type, claimed: None };
    Ok(Batch { format: Format::Raw, events: vec![event] })
}

/// A record header.
type Header<'a> = (&'a str, Cow<'a, [u8]>);

/// The id of an event, and what tells the event from others with the same.
struct EventId<'a> {
    id: String,
    identity: hop::Identity<'a>,
}

/// Makes one record of one event.
struct Reshaper<'a> {
    admitted: &'a Admitted,
    plan: &'a Plan,
    incoming: &'a Incoming<'a>,
    path_parameters: &'a [&'a str],
    /// Which event of a batch it is.
    place: Option<usize>,
    /// What tells it from others, if its id is one that somebody gave.
    identity: hop::Identity<'a>,
    identities: &'a Identities<'a>,
}

impl Reshaper<'_> {
    fn record(&self, env: &mut dyn Env) -> Result<Record, Problem> {
        let (admitted, plan, claimed) = (self.admitted, self.plan, self.incoming.claimed.as_deref());
        let redacted = self.redacted_data()?;
        let data = redacted.as_deref().map_or_else(|| self.incoming.data.clone(), Data::Json);
        let empty = matches!(data, Data::Absent);
        let json = match data {
            Data::Json(json) => Some(json),
            _ => None,
        };
        let facts = Facts { json, ..admitted.facts(self.path_parameters) };
        let EventId { id: event_id, identity } = self.event_id(&facts, env)?;
        let subject = match claimed.and_then(|claimed| claimed.subject.as_deref()) {
            Some(subject) => Some(Cow::Borrowed(subject)),
            None => fill_some("subject", plan.event.subject.as_ref(), &facts)?,
        };
        let claimed_key = claimed.and_then(|claimed| {
            let attribute = claimed.extensions.iter().find(|(name, _)| name == "partitionkey");
            attribute.map(|(_, value)| value.clone().into_text())
        });
        let key = match fill_some("key", plan.kafka.key.as_ref(), &facts)? {
            Some(key) => Some(key),
            None => claimed_key,
        };
        let extensions = self.extensions(key.as_deref(), &facts)?;
        let event = Event {
            id: &event_id,
            source: claimed.map_or(&plan.event.source, |claimed| &claimed.source),
            type_: claimed.map_or(&plan.event.type_, |claimed| &claimed.type_),
            subject: subject.as_deref(),
            time: match claimed.and_then(|claimed| claimed.time.as_deref()) {
                Some(time) => Time::Claimed(time),
                None => Time::At(admitted.time),
            },
            data_content_type: self.incoming.data_content_type.as_deref(),
            data_schema: claimed.and_then(|claimed| claimed.data_schema.as_deref()),
            extensions: &extensions,
            data,
        };
        let topic =
            plan.kafka.topic.fill(&facts).map_err(|error| Problem::BadRequest(format!("topic: {error}")))?;
        let destination = Destination {
            topic: &topic,
            key: key.as_deref().map(str::as_bytes),
            partition: self.partition(&facts)?,
            timestamp: self.timestamp(&facts)?,
            mode: plan.kafka.value,
            tombstone: plan.kafka.tombstone && empty && plan.kafka.value != ValueMode::Structured,
            ack: plan.kafka.ack,
            cluster: plan.kafka.cluster.as_deref(),
            identity,
        };
        let headers = self.headers(&facts)?;
        let headers = headers.iter().map(|(name, value)| (*name, value.as_ref()));
        let bytes = hop::write_record(&destination, headers, |out| event.write_json(out));
        let topic = topic.into_owned();
        Ok(Record {
            event_id,
            topic,
            ack: plan.kafka.ack,
            cluster: plan.kafka.cluster.clone(),
            bytes,
            limits: Vec::new(),
        })
    }

    fn redacted_data(&self) -> Result<Option<Box<RawValue>>, Problem> {
        let redaction = &self.plan.redaction;
        match self.incoming.data {
            // What a reader may parse once more can hold what no pointer finds.
            Data::Json(json) if redaction.touches_body() && json.get().starts_with('"') => {
                Err(Problem::BadRequest(
                    "body: wanted an object or an array, because parts of it are redacted, got a string"
                        .to_owned(),
                ))
            }
            Data::Json(json) if redaction.touches_body() => {
                redaction.body(json, self.plan.max_bytes).map_err(|error| match error {
                    BodyError::TooLarge(max) => Problem::TooLarge(max),
                    BodyError::NotJson(_) => Problem::BadRequest(format!("body: {error}")),
                })
            }
            Data::Text(_) | Data::Binary(_) if redaction.touches_body() => {
                Err(Problem::UnsupportedMediaType(
                    "content-type: wanted JSON, because parts of the body are redacted, got something else (a route can \
                     have other types read as JSON with accept.read_as)"
                        .to_owned(),
                ))
            }
            _ => Ok(None),
        }
    }

    /// The first of: what a CloudEvent says, what the route makes, the id of a webhook's delivery, the idempotency key, a
    /// fresh one. A copy has a fresh one: a caller that could choose it could have a copy taken for another's.
    fn event_id(&self, facts: &Facts<'_>, env: &mut dyn Env) -> Result<EventId<'_>, Problem> {
        if self.plan.identity.is_none() {
            return Ok(EventId { id: fresh_id(env), identity: self.identity });
        }
        if let Some(claimed) = &self.incoming.claimed {
            return Ok(EventId { id: claimed.id.clone().into_owned(), identity: self.identity });
        }
        let made = fill_some("id", self.plan.event.id.as_ref(), facts)?.map(Cow::into_owned);
        // What the body decides is each event's own already; what the head decides, all of a batch share.
        let from_body = made.is_some()
            && self.plan.event.id.as_ref().filter(|template| template.needs_body()).is_some_and(|template| {
                let shared = template.fill(&Facts { json: None, ..*facts });
                shared.ok().flatten().as_deref() != made.as_deref()
            });
        let delivery = || self.admitted.principal.delivery.as_deref().map(str::to_owned);
        let id = made.or_else(delivery).or_else(|| self.admitted.idempotency_key.clone());
        Ok(match (id, self.place) {
            (Some(id), Some(index)) if !from_body => {
                let identity = self.identities.of_batch(&id);
                EventId { id: format!("{id}-{index}"), identity }
            }
            (Some(id), _) => EventId { id, identity: self.identity },
            (None, _) => EventId { id: fresh_id(env), identity: self.identity },
        })
    }

    fn extensions(
        &self,
        key: Option<&str>,
        facts: &Facts<'_>,
    ) -> Result<Vec<(&str, Extension<'_>)>, Problem> {
        let (admitted, plan) = (self.admitted, self.plan);
        let mut extensions: Vec<(&str, Extension<'_>)> = Vec::with_capacity(16);
        if let Some(claimed) = &self.incoming.claimed {
            let claimed = claimed.extensions.iter();
            extensions.extend(claimed.map(|(name, value)| (name.as_ref(), value.clone())));
        }
        let own =
            |extensions: &[(&str, Extension<'_>)], name: &str| extensions.iter().any(|(own, _)| *own == name);
        if let Some(key) = key
            && !own(&extensions, "partitionkey")
        {
            extensions.push(("partitionkey", key.to_owned().into()));
        }
        // An event that has begun its way elsewhere keeps the trace that it began (CloudEvents extensions,
        // Distributed Tracing).
        if let Some((traceparent, tracestate)) = trace_context(&admitted.head)
            && !own(&extensions, "traceparent")
        {
            extensions.retain(|(name, _)| *name != "tracestate");
            extensions.push(("traceparent", traceparent.into()));
            extensions.extend(tracestate.map(|tracestate| ("tracestate", tracestate.into())));
        }
        for (name, template) in &plan.event.extensions {
            if !own(&extensions, name)
                && let Some(value) = fill(name, Some(template), facts)?
            {
                extensions.push((name, value.into_owned().into()));
            }
        }
        if let (None, Some(claimed)) = (&plan.identity, &self.incoming.claimed) {
            extensions.push(("wgeventid", claimed.id.as_ref().into()));
        }
        extensions.push(("authtype", admitted.principal.auth_type.into()));
        extensions.extend(admitted.principal.auth_id().map(|id| ("authid", id.into())));
        extensions.push(("wgversion", Extension::Integer(ENVELOPE_VERSION.cast_signed())));
        extensions.push(("wgroute", admitted.route.name.as_str().into()));
        extensions.push(("wgmethod", lossy(admitted.head.method())));
        // Without the query, which is where secrets end up.
        extensions.push(("wgpath", lossy(path::without_query(admitted.head.target()))));
        if let Some(query) = admitted.raw_query.as_ref().filter(|_| plan.event.query) {
            extensions.push(("wgquery", lossy(query)));
        }
        extensions.extend(admitted.unending.map(|unending| ("wgstream", unending.as_str().into())));
        extensions.extend(admitted.carried.as_deref().map(|codings| ("wgencoding", codings.into())));
        extensions.extend(admitted.head.client_address().map(|address| ("wgclientip", address.into())));
        // It is the caller's header as much as it is the gateway's.
        let request_id = plan.redaction.header("x-request-id", admitted.request_id.as_bytes());
        extensions.extend(request_id.map(|id| ("wgrequestid", lossy(&id))));
        Ok(extensions)
    }

    fn partition(&self, facts: &Facts<'_>) -> Result<Option<i32>, Problem> {
        let Some(text) = fill("partition", self.plan.kafka.partition.as_ref(), facts)? else {
            return Ok(None);
        };
        let partition = text.parse::<i32>().ok().filter(|partition| *partition >= 0);
        partition.map(Some).ok_or_else(|| {
            Problem::BadRequest(
                "partition: wanted a whole number of 0 or more, got something else".to_owned(),
            )
        })
    }

    fn timestamp(&self, facts: &Facts<'_>) -> Result<Option<i64>, Problem> {
        let Some(time) = &self.plan.kafka.timestamp else { return Ok(None) };
        let Some(text) = fill("timestamp", Some(&time.template), facts)? else { return Ok(None) };
        let millis = time.millis(&text, self.admitted.time);
        millis.map(Some).map_err(|error| Problem::BadRequest(format!("timestamp: {error}")))
    }

    fn headers(&self, facts: &Facts<'_>) -> Result<Vec<Header<'_>>, Problem> {
        let kafka = &self.plan.kafka;
        let mut headers = Vec::with_capacity(kafka.headers.len() + kafka.forward_headers.len());
        for forward in &kafka.forward_headers {
            self.forward(forward, &mut headers)?;
        }
        for (name, template) in &kafka.headers {
            if let Some(value) = fill(name, Some(template), facts)? {
                headers.push((name.as_str(), Cow::Owned(value.into_owned().into_bytes())));
            }
        }
        Ok(headers)
    }

    fn forward<'s>(
        &'s self,
        forward: &'s ForwardHeader,
        headers: &mut Vec<Header<'s>>,
    ) -> Result<(), Problem> {
        let values: Vec<&[u8]> = self.admitted.head.all(&forward.name).collect();
        let kept = match (forward.repeated, values.as_slice()) {
            (RepeatedHeader::Refuse, [_, _, ..]) => {
                return Err(Problem::BadRequest(format!("{}: {}", forward.name, crate::head::Repeated)));
            }
            (RepeatedHeader::First, values) => values.get(..1).unwrap_or_default(),
            (RepeatedHeader::Last, values) => values.last().map(std::slice::from_ref).unwrap_or_default(),
            (RepeatedHeader::All | RepeatedHeader::Refuse, values) => values,
        };
        headers.extend(kept.iter().map(|value| (forward.rename.as_str(), Cow::Borrowed(*value))));
        Ok(())
    }
}

fn fill<'a>(
    what: &str,
    template: Option<&'a Template>,
    facts: &Facts<'a>,
) -> Result<Option<Cow<'a, str>>, Problem> {
    let filled = template.map(|template| template.fill(facts)).transpose();
    filled.map(Option::flatten).map_err(|error| Problem::BadRequest(format!("{what}: {error}")))
}

/// As [`fill`], for what must not be empty: a key that is empty is not the same as none, and CloudEvents has no empty
/// attributes (1.0.2, section 3.1). Only what the template says is optional is left out.
fn fill_some<'a>(
    what: &str,
    template: Option<&'a Template>,
    facts: &Facts<'a>,
) -> Result<Option<Cow<'a, str>>, Problem> {
    match fill(what, template, facts)? {
        Some(text) if text.is_empty() => {
            Err(Problem::BadRequest(format!("{what}: wanted text, but what the request makes is empty")))
        }
        filled => Ok(filled),
    }
}

/// What an attribute can hold: control characters and noncharacters would make an event that no CloudEvents reader
/// takes.
fn lossy(bytes: &[u8]) -> Extension<'static> {
    let text = String::from_utf8_lossy(bytes);
    Extension::Text(Cow::Owned(text.chars().map(|c| if is_disallowed(c) { '\u{fffd}' } else { c }).collect()))
}

#[cfg(test)]
mod tests;
