//! How the requests of a route become records.

use std::rc::Rc;
use std::time::Duration;

use wicketgate_envelope::event::{is_attribute_name, is_uri_reference};
use wicketgate_envelope::hop::{Ack, MAX_CALL_BYTES, ValueMode, is_cluster_name};
use wicketgate_envelope::timestamp::parse_millis;

use super::super::document::{
    self, ByteOrderMark, ContentEncoding, EventAttributes, Format, Identity, Kafka,
};
use super::super::error::{Mistakes, quoted};
use super::is_plain_text;
use super::route::Surroundings;
use crate::accept::{Accepted, MediaRange, ReadAs};
use crate::head::is_field_name;
use crate::identity::IdentityPlan;
use crate::json_pointer::Pattern;
use crate::plan::{EventPlan, ForwardHeader, KafkaPlan, Plan};
use crate::record_time::{AHEAD_MILLIS, EARLIEST_MILLIS, RecordTime};
use crate::redact::{Redaction, Treatment};
use crate::template::{Scope, Template};
use crate::topic::{self, TopicTemplate};

/// Headers of the connection, and those that would contradict the record's own (`content-type` is the envelope's; the
/// body's is the event's `datacontenttype`). Those that carry credentials are known elsewhere.
const NEVER_FORWARDED: [&str; 7] =
    ["connection", "content-length", "content-type", "host", "keep-alive", "te", "transfer-encoding"];

/// The most attributes that a route may add to an event, which must not have more than its readers take.
const MAX_EXTENSIONS: usize = 64;

/// The furthest that a timestamp may be ahead. Even that is no time in another unit.
const MAX_AHEAD: Duration = Duration::from_secs(3_650 * 86_400);

/// Attributes of an event that are set by the gateway, or have a field of their own in the document.
const OWN_ATTRIBUTES: [&str; 15] = [
    "authclaims",
    "authid",
    "authtype",
    "data",
    "database64",
    "datacontenttype",
    "dataschema",
    "id",
    "partitionkey",
    "source",
    "specversion",
    "subject",
    "time",
    "traceparent",
    "tracestate",
];

/// What the records of a request may have beside twice its body, in bytes.
const DEFAULT_RECORD_BYTES: usize = 4 << 20;

/// The most that they have unless the document says otherwise: what fits into a call that kafka-bridge takes, with what stands
/// around and between the records.
const CALL_RECORD_BYTES: usize = MAX_CALL_BYTES as usize - (64 << 10);

/// Compiles the plan of one route.
pub(super) struct Planner<'p> {
    pub(super) surroundings: &'p Surroundings<'p>,
    /// Where the route is in the document.
    pub(super) path: &'p str,
    /// The parameters of the route's path.
    pub(super) parameters: &'p [String],
    /// Whether they are known. Otherwise templates are not looked at, because what is wrong with the path would be told
    /// again with each.
    pub(super) path_known: bool,
    /// Whether there are callers that can have claims.
    pub(super) claims: bool,
}

impl Planner<'_> {
    pub(super) fn compile(&self, route: &document::Route, mistakes: &mut Mistakes) -> Option<Plan> {
        let missing = |field: &str, mistakes: &mut Mistakes| {
            let got = "nothing (the field is missing)";
            mistakes.add(self.at(field), "an object, because the action is not pass", got);
        };
        if route.event.is_none() {
            missing("event", mistakes);
        }
        if route.kafka.is_none() {
            missing("kafka", mistakes);
        }
        let accepted = self.accepted(&route.accept, mistakes);
        let redaction = self.redaction(&route.redact, mistakes);
        let event = route.event.as_ref().and_then(|event| self.event(event, mistakes));
        let kafka = route.kafka.as_ref().and_then(|kafka| self.kafka(kafka, mistakes));
        let default_max = self.surroundings.document.limits.body_bytes;
        let max_bytes = route.accept.decoded_bytes.unwrap_or(default_max) as usize;
        let max_record_bytes = match self.surroundings.document.limits.record_bytes {
            Some(bytes) => bytes as usize,
            None => max_bytes.saturating_mul(2).saturating_add(DEFAULT_RECORD_BYTES).min(CALL_RECORD_BYTES),
        };
        let content_encoding = route.accept.content_encoding;
        let withheld = self.surroundings.withheld_headers();
        let (event, kafka) = (event?, kafka?);
        let identity = self.identity(route, mistakes);
        let plan = Plan {
            identity,
            accepted,
            content_encoding,
            max_bytes,
            max_record_bytes,
            redaction,
            withheld,
            event,
            kafka,
        };
        super::redacted::check(&plan, self.path, mistakes);
        if content_encoding == ContentEncoding::Carry && plan.templates().any(Template::needs_body) {
            let wanted = "decode or refuse, because a template needs the body";
            mistakes.add(self.at("accept.content_encoding"), wanted, "\"carry\"");
        }
        if content_encoding == ContentEncoding::Carry && !plan.accepted.raw {
            let wanted =
                "decode or refuse, because accept.formats has no raw, and only raw bodies are carried";
            mistakes.add(self.at("accept.content_encoding"), wanted, "\"carry\"");
        }
        Some(plan)
    }

    /// What tells events apart. None can be told from a copy: that is to be the one of its request, whatever a caller
    /// says.
    fn identity(&self, route: &document::Route, mistakes: &mut Mistakes) -> Option<IdentityPlan> {
        let event = route.event.as_ref()?;
        if route.action == document::Action::Tee {
            let fields =
                [("event.id", event.id.is_some()), ("event.identity", event.identity != Identity::Content)];
            for (field, _) in fields.into_iter().filter(|(_, given)| *given) {
                let wanted =
                    "it only where the action is produce, because no caller chooses the id of a copy";
                mistakes.add(self.at(field), wanted, "it where the action is tee");
            }
            return None;
        }
        let key = self.surroundings.fingerprint_key.clone();
        Some(IdentityPlan { id_only: event.identity == Identity::Id, key })
    }

    fn at(&self, field: &str) -> String {
        format!("{}.{field}", self.path)
    }

    fn scope(&self) -> Scope<'_> {
        Scope { path_parameters: self.parameters, claims: self.claims, json: true }
    }

    fn accepted(&self, accept: &document::Accept, mistakes: &mut Mistakes) -> Accepted {
        let takes = |format| accept.formats.contains(&format);
        let mut media_types = Vec::new();
        for (index, text) in accept.media_types.iter().enumerate() {
            match text.parse::<MediaRange>() {
                Ok(range) => media_types.push(range),
                Err(_) => mistakes.add(
                    self.at(&format!("accept.media_types[{index}]")),
                    "a media type without parameters, such as application/json or image/*",
                    quoted(text),
                ),
            }
        }
        Accepted {
            raw: takes(Format::Raw),
            cloudevents: takes(Format::Cloudevent),
            cloudevents_batch: takes(Format::CloudeventsBatch),
            ndjson: takes(Format::Ndjson),
            json_array: takes(Format::JsonArray),
            max_events: accept.batch_events as usize,
            strips_mark: accept.byte_order_mark == ByteOrderMark::Strip,
            media_types,
            read_as: self.read_as(accept, mistakes),
        }
    }

    /// The narrowest range first.
    fn read_as(
        &self,
        accept: &document::Accept,
        mistakes: &mut Mistakes,
    ) -> Vec<(Option<MediaRange>, ReadAs)> {
        let mut ranges = Vec::with_capacity(accept.read_as.len());
        for (text, read_as) in &accept.read_as {
            let path = self.at(&format!("accept.read_as[{}]", quoted(text)));
            let range = if text == "*/*" { None } else { text.parse::<MediaRange>().ok() };
            if text != "*/*" && range.is_none() {
                let wanted = "a media type without parameters, such as text/plain, all of a kind, such as text/*, or */*";
                mistakes.add(path, wanted, quoted(text));
                continue;
            }
            if text.get(..23).is_some_and(|start| start.eq_ignore_ascii_case("application/cloudevents")) {
                mistakes.add(
                    path,
                    "media types that are not CloudEvents', which say how they are read",
                    quoted(text),
                );
                continue;
            }
            let takes = |formats: &[Format]| formats.iter().any(|format| accept.formats.contains(format));
            let (read_as, takes, wanted) = match read_as {
                document::ReadAs::Json => {
                    let takes = takes(&[Format::Raw, Format::JsonArray]);
                    (ReadAs::Json, takes, "it only where accept.formats has raw or json_array")
                }
                document::ReadAs::Ndjson => {
                    (ReadAs::Ndjson, takes(&[Format::Ndjson]), "it only where accept.formats has ndjson")
                }
                document::ReadAs::Binary => {
                    (ReadAs::Binary, takes(&[Format::Raw]), "it only where accept.formats has raw")
                }
            };
            if !takes {
                mistakes.add(path, wanted, "it where it has not");
            }
            ranges.push((range, read_as));
        }
        ranges.sort_by_key(|(range, _)| range.as_ref().map_or(2, |range| u8::from(range.is_wide())));
        ranges
    }

    fn redaction(&self, redact: &document::Redact, mistakes: &mut Mistakes) -> Redaction {
        let mut redaction = Redaction::new(self.surroundings.redaction_key.clone());
        let treatment = |treatment: &document::Treatment| match treatment {
            document::Treatment::Drop => Treatment::Drop,
            document::Treatment::Mask => Treatment::Mask,
            document::Treatment::Hash => Treatment::Hash,
        };
        for (name, how) in &redact.headers {
            let added = if is_field_name(name) {
                redaction.add_header(name, treatment(how))
            } else {
                Err("the name of a header".to_owned())
            };
            self.note(added, "headers", name, mistakes);
        }
        for (name, how) in &redact.query {
            self.note(redaction.add_query_parameter(name, treatment(how)), "query", name, mistakes);
        }
        for name in &self.surroundings.credentials.query {
            // Adding fails only where the document has its own rule for it.
            let added = redaction.add_query_parameter(name, Treatment::Drop);
            if added.is_err() {
                let wanted = "no rule of its own, because it is a credential, which is always dropped";
                let path = self.at(&format!("redact.query[{}]", quoted(name)));
                mistakes.add(path, wanted, quoted(name));
            }
        }
        for (pointer, how) in &redact.body {
            let added =
                Pattern::parse(pointer).and_then(|pattern| redaction.add_body(pattern, treatment(how)));
            self.note(added, "body", pointer, mistakes);
        }
        redaction
    }

    fn note(&self, added: Result<(), String>, part: &str, name: &str, mistakes: &mut Mistakes) {
        if let Err(wanted) = added {
            mistakes.add(self.at(&format!("redact.{part}[{}]", quoted(name))), wanted, quoted(name));
        }
    }

    fn event(&self, event: &EventAttributes, mistakes: &mut Mistakes) -> Option<EventPlan> {
        if !is_plain_text(&event.type_) {
            mistakes.add(self.at("event.type"), "text without control characters", quoted(&event.type_));
        }
        let source = event.source.as_deref();
        if let Some(source) = source.filter(|source| !is_uri_reference(source)) {
            let wanted = "a URI reference, such as https://api.example.com";
            mistakes.add(self.at("event.source"), wanted, quoted(source));
        }
        if event.extensions.len() > MAX_EXTENSIONS {
            let got = event.extensions.len().to_string();
            mistakes.add(self.at("event.extensions"), format!("at most {MAX_EXTENSIONS} attributes"), got);
        }
        for name in event.extensions.keys() {
            if !is_attribute_name(name) || name.starts_with("wg") || OWN_ATTRIBUTES.contains(&name.as_str()) {
                mistakes.add(
                    self.at(&format!("event.extensions.{name}")),
                    "1 to 20 lower-case letters and digits that are no attribute of CloudEvents' or the gateway's own",
                    quoted(name),
                );
            }
        }
        Some(EventPlan {
            type_: event.type_.clone(),
            source: source.map_or_else(|| Rc::clone(&self.surroundings.source), Rc::from),
            id: self.template("event.id", event.id.as_deref(), mistakes),
            subject: self.template("event.subject", event.subject.as_deref(), mistakes),
            extensions: self.named("event.extensions", &event.extensions, mistakes),
            query: event.query,
        })
    }

    fn kafka(&self, kafka: &Kafka, mistakes: &mut Mistakes) -> Option<KafkaPlan> {
        for (index, name) in kafka.allowed_topics.iter().enumerate() {
            if !topic::is_legal(name) {
                mistakes.add(self.at(&format!("kafka.allowed_topics[{index}]")), topic::WANTED, quoted(name));
            }
        }
        let value = match kafka.value {
            document::Value::Structured => ValueMode::Structured,
            document::Value::Binary => ValueMode::Binary,
            document::Value::Raw => ValueMode::Raw,
        };
        if kafka.tombstone && value == ValueMode::Structured {
            let wanted =
                "it only where the value is binary or raw, because an event in JSON is never nothing";
            mistakes.add(self.at("kafka.tombstone"), wanted, "true");
        }
        if kafka.tombstone && kafka.key.is_none() {
            let wanted = "it only where there is a key, because it deletes what the key stands for";
            mistakes.add(self.at("kafka.tombstone"), wanted, "true");
        }
        if let Some(name) = kafka.cluster.as_deref().filter(|name| !is_cluster_name(name)) {
            let wanted =
                "1 to 64 of the characters a-z A-Z 0-9 . _ - (leave the field out for the default cluster)";
            mistakes.add(self.at("kafka.cluster"), wanted, quoted(name));
        }
        for name in kafka.headers.keys() {
            if name.is_empty() || !is_plain_text(name) || is_the_records_own(name) {
                mistakes.add(
                    self.at(&format!("kafka.headers.{name}")),
                    "a name that is neither content-type nor begins with ce_, which are the record's own",
                    quoted(name),
                );
            }
        }
        Some(KafkaPlan {
            key: self.template("kafka.key", kafka.key.as_deref(), mistakes),
            partition: self.template("kafka.partition", kafka.partition.as_deref(), mistakes),
            timestamp: self.record_time(kafka, mistakes),
            headers: self.named("kafka.headers", &kafka.headers, mistakes),
            forward_headers: self.forward_headers(kafka, mistakes),
            topic: self.topic(kafka, mistakes)?,
            value,
            tombstone: kafka.tombstone,
            ack: match kafka.ack {
                document::Ack::All => Ack::All,
                document::Ack::Leader => Ack::Leader,
                document::Ack::None => Ack::None,
                document::Ack::Spooled => Ack::Spooled,
            },
            cluster: kafka.cluster.as_deref().map(Rc::from),
        })
    }

    fn record_time(&self, kafka: &Kafka, mistakes: &mut Mistakes) -> Option<RecordTime> {
        const FIELD: &str = "kafka.timestamp";
        let bounds = [
            ("kafka.timestamp_earliest", &kafka.timestamp_earliest),
            ("kafka.timestamp_ahead", &kafka.timestamp_ahead),
        ];
        for (field, text) in bounds {
            if let (None, Some(text)) = (&kafka.timestamp, text) {
                mistakes.add(self.at(field), "it only where there is a timestamp", quoted(text));
            }
        }
        let earliest = kafka.timestamp_earliest.as_ref().map_or(Some(EARLIEST_MILLIS), |text| {
            let millis = parse_millis(text).filter(|millis| *millis >= 0);
            if millis.is_none() {
                let wanted = "a time from 1970 on, such as 1990-01-01T00:00:00Z (RFC 3339)";
                mistakes.add(self.at("kafka.timestamp_earliest"), wanted, quoted(text));
            }
            millis
        });
        let ahead = kafka.timestamp_ahead.as_ref().map_or(Some(AHEAD_MILLIS), |text| {
            let ahead = humantime::parse_duration(text).ok().filter(|ahead| *ahead <= MAX_AHEAD);
            if ahead.is_none() {
                mistakes.add(
                    self.at("kafka.timestamp_ahead"),
                    "a duration up to 3650d, such as 1h",
                    quoted(text),
                );
            }
            ahead.and_then(|ahead| u64::try_from(ahead.as_millis()).ok())
        });
        let template = self.template(FIELD, kafka.timestamp.as_deref(), mistakes)?;
        let (earliest, ahead) = (earliest?, ahead?);
        if earliest < EARLIEST_MILLIS && !template.states_units() {
            let wanted = "a unit (seconds, millis, micros, nanos) behind every source, because timestamp_earliest takes \
                          times that are numbers in another unit";
            mistakes.add(self.at(FIELD), wanted, quoted(kafka.timestamp.as_deref().unwrap_or_default()));
        }
        Some(RecordTime { template, earliest, ahead })
    }

    fn topic(&self, kafka: &Kafka, mistakes: &mut Mistakes) -> Option<TopicTemplate> {
        let allowed = (!kafka.allowed_topics.is_empty()).then_some(kafka.allowed_topics.as_slice());
        if !self.path_known && kafka.topic.contains('{') {
            return None;
        }
        match TopicTemplate::parse(&kafka.topic, allowed, &self.scope()) {
            Ok(topic) => self.without_credentials(topic.template(), "kafka.topic", mistakes).then_some(topic),
            Err(wanted) => {
                mistakes.add(self.at("kafka.topic"), wanted, quoted(&kafka.topic));
                None
            }
        }
    }

    fn named(
        &self,
        field: &str,
        templates: &std::collections::BTreeMap<String, String>,
        mistakes: &mut Mistakes,
    ) -> Vec<(String, Template)> {
        let template = |(name, text): (&String, &String)| {
            Some((name.clone(), self.template(&format!("{field}.{name}"), Some(text), mistakes)?))
        };
        templates.iter().filter_map(template).collect()
    }

    fn template(&self, field: &str, text: Option<&str>, mistakes: &mut Mistakes) -> Option<Template> {
        let text = text?;
        if text.is_empty() {
            let wanted = "a template that is not empty (leave the field out for none)";
            mistakes.add(self.at(field), wanted, quoted(text));
            return None;
        }
        if !is_plain_text(text) {
            mistakes.add(self.at(field), "text without control characters", quoted(text));
            return None;
        }
        if !self.path_known && text.contains('{') {
            return None;
        }
        match Template::parse(text, &self.scope()) {
            Ok(template) if template.may_be_empty() && !takes_empty(field) => {
                let wanted = "a template that makes text in any case (optional instead of an empty default leaves the \
                              field out)";
                mistakes.add(self.at(field), wanted, quoted(text));
                None
            }
            Ok(template) => self.without_credentials(&template, field, mistakes).then_some(template),
            Err(wanted) => {
                mistakes.add(self.at(field), wanted, quoted(text));
                None
            }
        }
    }

    fn without_credentials(&self, template: &Template, field: &str, mistakes: &mut Mistakes) -> bool {
        let credential = template.header_names().find(|name| self.surroundings.carries_credential(name));
        if let Some(name) = credential {
            mistakes.add(self.at(field), "headers that carry no credential", quoted(name));
        }
        let places = &self.surroundings.credentials;
        let parameter = template.query_names().find(|name| places.query.iter().any(|query| query == name));
        if let Some(name) = parameter {
            mistakes.add(self.at(field), "query parameters that carry no credential", quoted(name));
        }
        credential.is_none() && parameter.is_none()
    }

    fn forward_headers(&self, kafka: &Kafka, mistakes: &mut Mistakes) -> Vec<ForwardHeader> {
        let mut forward: Vec<ForwardHeader> = Vec::with_capacity(kafka.forward_headers.len());
        for (index, header) in kafka.forward_headers.iter().enumerate() {
            let path = self.at(&format!("kafka.forward_headers[{index}]"));
            let name = header.name.to_ascii_lowercase();
            let rename = header.rename.clone().unwrap_or_else(|| name.clone());
            if !is_field_name(&name) {
                mistakes.add(format!("{path}.name"), "the name of a header", quoted(&header.name));
            } else if self.surroundings.carries_credential(&name) || NEVER_FORWARDED.contains(&name.as_str())
            {
                mistakes.add(
                    format!("{path}.name"),
                    "a header that carries no credential and is neither the connection's nor the record's own",
                    quoted(&header.name),
                );
            } else if rename.is_empty() || !is_plain_text(&rename) || is_the_records_own(&rename) {
                mistakes.add(
                    format!("{path}.as"),
                    "a name that is neither content-type nor begins with ce_, which are the record's own",
                    quoted(&rename),
                );
            } else if forward.iter().any(|earlier| earlier.name == name) {
                mistakes.add(format!("{path}.name"), "each header once", quoted(&header.name));
            }
            forward.push(ForwardHeader { name, rename, repeated: header.repeated });
        }
        forward
    }
}

/// Whether a field can be there and empty: record headers and extensions can.
fn takes_empty(field: &str) -> bool {
    field.starts_with("kafka.headers.") || field.starts_with("event.extensions.")
}

/// Whether a record header, in whatever case, is one of those that say what an event says. Readers that care nothing for
/// case would take it for that.
fn is_the_records_own(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name == "content-type" || name.starts_with("ce_")
}
