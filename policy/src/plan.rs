//! How a route makes records of requests: everything that its configuration says about that, compiled.

use std::rc::Rc;

use wicketgate_envelope::hop::{Ack, ValueMode};

use crate::accept::Accepted;
use crate::config::document::{ContentEncoding, RepeatedHeader};
use crate::identity::IdentityPlan;
use crate::record_time::RecordTime;
use crate::redact::Redaction;
use crate::template::Template;
use crate::topic::TopicTemplate;

/// The plan of one route.
#[derive(Debug)]
pub struct Plan {
    pub(crate) accepted: Accepted,
    pub(crate) content_encoding: ContentEncoding,
    /// The largest body, decoded and redacted, in bytes.
    pub(crate) max_bytes: usize,
    /// The most bytes that the records of one request may have together.
    pub(crate) max_record_bytes: usize,
    pub(crate) redaction: Redaction,
    /// `None` where each event is one of its own: no caller chooses its id.
    pub(crate) identity: Option<IdentityPlan>,
    /// Headers, in lower case, that nothing is made from.
    pub(crate) withheld: Vec<String>,
    pub(crate) event: EventPlan,
    pub(crate) kafka: KafkaPlan,
}

/// The attributes that an event gets if it does not bring its own.
#[derive(Debug)]
pub(crate) struct EventPlan {
    pub(crate) type_: String,
    pub(crate) source: Rc<str>,
    pub(crate) id: Option<Template>,
    pub(crate) subject: Option<Template>,
    pub(crate) extensions: Vec<(String, Template)>,
    /// Whether the query is carried.
    pub(crate) query: bool,
}

/// Where records go and how they are written.
#[derive(Debug)]
pub(crate) struct KafkaPlan {
    pub(crate) topic: TopicTemplate,
    pub(crate) key: Option<Template>,
    pub(crate) partition: Option<Template>,
    pub(crate) timestamp: Option<RecordTime>,
    pub(crate) headers: Vec<(String, Template)>,
    pub(crate) forward_headers: Vec<ForwardHeader>,
    pub(crate) value: ValueMode,
    pub(crate) tombstone: bool,
    pub(crate) ack: Ack,
    /// The name of the cluster, where it is not the bridge's default one.
    pub(crate) cluster: Option<Rc<str>>,
}

/// A request header that becomes record headers.
#[derive(Debug)]
pub(crate) struct ForwardHeader {
    /// In lower case.
    pub(crate) name: String,
    /// The name of the record header.
    pub(crate) rename: String,
    pub(crate) repeated: RepeatedHeader,
}

impl Plan {
    /// The largest body, decoded and redacted, in bytes.
    pub fn max_bytes(&self) -> usize {
        self.max_bytes
    }

    /// The most events that one request may bring.
    pub fn max_events(&self) -> usize {
        let Accepted { cloudevents_batch, ndjson, json_array, max_events, .. } = self.accepted;
        if cloudevents_batch || ndjson || json_array { max_events } else { 1 }
    }

    /// How far a record has to get before the caller gets a receipt.
    pub fn ack(&self) -> Ack {
        self.kafka.ack
    }

    /// Every template, to ask what it needs.
    pub(crate) fn templates(&self) -> impl Iterator<Item = &Template> {
        let (event, kafka) = (&self.event, &self.kafka);
        let timestamp = kafka.timestamp.iter().map(|time| &time.template);
        let single = [&event.id, &event.subject, &kafka.key, &kafka.partition];
        let named = event.extensions.iter().chain(&kafka.headers).map(|(_, template)| template);
        single.into_iter().flatten().chain(timestamp).chain(named).chain([kafka.topic.template()])
    }
}
