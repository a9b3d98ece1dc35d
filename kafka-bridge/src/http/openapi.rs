//! The OpenAPI 3.1 document: what each route takes and answers, in the words of `docs/bridge.md`.

mod schemas;

use std::sync::LazyLock;

use serde_json::{Map, Value, json};
use wicketgate_envelope::hop::{BRIDGE_HEADER, RECORDS_CONTENT_TYPE};
use wicketgate_envelope::signature::SIGNATURE_HEADER;

use crate::http::ROUTES;
use crate::metrics;
use crate::problem::Kind;

const JSON: &str = "application/json";
const PROBLEM: &str = "application/problem+json";
const TEXT: &str = "text/plain";

/// The document, as it is served.
pub(super) static DOCUMENT: LazyLock<String> = LazyLock::new(|| document().to_string());

fn document() -> Value {
    let mut paths = Map::new();
    for route in &ROUTES {
        let mut operation = (route.describe)();
        if let Some(members) = operation.as_object_mut() {
            // Which of them is asked for is a matter of configuration.
            let security = if route.guarded {
                json!([{"token": []}, {"signature": []}, {"certificate": []}, {}])
            } else {
                json!([])
            };
            members.insert("security".to_owned(), security);
        }
        paths.insert(route.path.to_owned(), json!({ route.method: operation }));
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "kafka-bridge",
            "description": "Takes CloudEvents over HTTP, writes them to Kafka, and answers when Kafka has answered.",
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": env!("CARGO_PKG_LICENSE"), "identifier": env!("CARGO_PKG_LICENSE")},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": schemas::all(),
            "headers": {
                "Bridge": {
                    "description": "The version. A response without it was made by something on the way.",
                    "required": true,
                    "schema": {"type": "string"},
                },
                "Replayed": {
                    "description": "The event had come before; this is its first receipt, and nothing was written again.",
                    "schema": {"const": "true"},
                },
                "RetryAfter": {
                    "description": "Seconds after which a retry makes sense.",
                    "schema": {"type": "integer", "minimum": 0},
                },
                "Challenge": {
                    "description": "The kinds of proof that are taken.",
                    "schema": {"type": "string"},
                },
            },
            "parameters": {
                "RequestId": {
                    "name": "x-request-id",
                    "in": "header",
                    "description": "A name for the request, for problems and the log.",
                    "schema": {"type": "string"},
                },
            },
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "certificate": {"type": "mutualTLS"},
                "signature": {
                    "type": "apiKey",
                    "in": "header",
                    "name": SIGNATURE_HEADER,
                    "description": "t=<time>,n=<nonce>,v1=<HMAC-SHA256>, good for one call.",
                },
            },
        },
    })
}

fn schema(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

fn response(description: &str, content: &[(&str, Value)], headers: &[(&str, &str)]) -> Value {
    let header = |&(name, component): &(&str, &str)| {
        (name.to_owned(), json!({"$ref": format!("#/components/headers/{component}")}))
    };
    let headers: Map<_, _> = headers.iter().chain(&[(BRIDGE_HEADER, "Bridge")]).map(header).collect();
    let content: Map<_, _> = content
        .iter()
        .map(|(media_type, schema)| ((*media_type).to_owned(), json!({"schema": schema})))
        .collect();
    json!({"description": description, "headers": headers, "content": content})
}

/// An answer that is a problem; where all results of a call share its status, it is these instead.
fn problem(kind: Kind, results: Option<&str>) -> (String, Value) {
    let mut content = vec![(PROBLEM, schema("Problem"))];
    let about_records = matches!(
        kind,
        Kind::BadRequest
            | Kind::TooLarge
            | Kind::IdempotencyConflict
            | Kind::QuotaExceeded
            | Kind::Refused
            | Kind::Unavailable
            | Kind::OutcomeUnknown
    );
    content.extend(results.filter(|_| about_records).map(|media_type| (media_type, schema("Results"))));
    let headers: &[(&str, &str)] = match kind {
        Kind::Unavailable => &[("retry-after", "RetryAfter")],
        Kind::Unauthenticated => &[("www-authenticate", "Challenge")],
        _ => &[],
    };
    (kind.status().as_str().to_owned(), response(kind.title(), &content, headers))
}

/// What both ways of writing can end in besides 2xx.
const WRITING: [Kind; 11] = [
    Kind::BadRequest,
    Kind::Unauthenticated,
    Kind::RequestTimeout,
    Kind::TooLarge,
    Kind::HeadersTooLarge,
    Kind::UnsupportedMediaType,
    Kind::IdempotencyConflict,
    Kind::QuotaExceeded,
    Kind::Refused,
    Kind::Unavailable,
    Kind::OutcomeUnknown,
];

fn responses(
    good: impl IntoIterator<Item = (&'static str, Value)>,
    bad: &[Kind],
    results: Option<&str>,
) -> Value {
    let good = good.into_iter().map(|(status, response)| (status.to_owned(), response));
    Value::Object(good.chain(bad.iter().map(|kind| problem(*kind, results))).collect())
}

pub(super) fn records() -> Value {
    let results = |description| response(description, &[(RECORDS_CONTENT_TYPE, schema("Results"))], &[]);
    json!({
        "operationId": "produceRecords",
        "summary": "Writes one record or many, and answers with a result for each, in their order",
        "parameters": [{"$ref": "#/components/parameters/RequestId"}],
        "requestBody": {"required": true, "content": {RECORDS_CONTENT_TYPE: {"schema": schema("Records")}}},
        "responses": responses(
            [("202", results("All were acknowledged")), ("207", results("The results differ"))],
            &WRITING,
            Some(RECORDS_CONTENT_TYPE),
        ),
    })
}

pub(super) fn events() -> Value {
    writing_events(
        "produceEvents",
        "Writes one CloudEvent in structured or binary mode, or a batch",
        &WRITING,
        None,
    )
}

pub(super) fn cluster_events() -> Value {
    let summary = "The same, to the cluster of this name";
    let mut bad = WRITING.to_vec();
    bad.push(Kind::NotFound);
    let cluster = json!({
        "name": "cluster",
        "in": "path",
        "required": true,
        "description": "As the bridge is configured; default is the one that the other paths write.",
        "schema": {"type": "string", "pattern": "^[a-zA-Z0-9._-]{1,64}$"},
    });
    writing_events("produceEventsToCluster", summary, &bad, Some(cluster))
}

fn writing_events(id: &str, summary: &str, bad: &[Kind], parameter: Option<Value>) -> Value {
    let receipt = json!({"anyOf": [schema("Receipt"), schema("Results")]});
    let good = [
        (
            "202",
            response(
                "Acknowledged: the receipt of one event, or the results of a batch",
                &[(JSON, receipt)],
                &[("idempotency-replayed", "Replayed")],
            ),
        ),
        ("207", response("The results of a batch differ", &[(JSON, schema("Results"))], &[])),
    ];
    let mut bad = bad.to_vec();
    bad.push(Kind::Forbidden);
    let topic = json!({"name": "topic", "in": "path", "required": true, "schema": schema("Topic")});
    let request_id = json!({"$ref": "#/components/parameters/RequestId"});
    let ack = json!({
        "name": "ack",
        "in": "query",
        "description": "How far each event has to get before it is acknowledged. spooled takes a bridge with a spool.",
        "schema": schema("Ack"),
    });
    let data = json!({
        "name": "data",
        "in": "query",
        "description": "Whether a body in binary mode has to be JSON where its content-type says so.",
        "schema": {"enum": ["checked", "unchecked"], "default": "checked"},
    });
    let parameters: Vec<Value> = parameter.into_iter().chain([topic, ack, data, request_id]).collect();
    json!({
        "operationId": id,
        "summary": summary,
        "description": "Binary mode is told by the header ce-specversion; ce-id, ce-source and ce-type are then required.",
        "parameters": parameters,
        "requestBody": {
            "content": {
                "application/cloudevents+json": {"schema": schema("CheckedCloudEvent")},
                "application/cloudevents-batch+json": {"schema": {"type": "array", "items": schema("CheckedCloudEvent")}},
                "*/*": {},
            },
        },
        "responses": responses(good, &bad, Some(JSON)),
    })
}

fn text(description: &str, media_type: &str) -> (&'static str, Value) {
    ("200", response(description, &[(media_type, json!({"type": "string"}))], &[]))
}

pub(super) fn live() -> Value {
    json!({
        "operationId": "live",
        "summary": "200 as long as the process answers",
        "responses": responses([text("It does", TEXT)], &[Kind::HeadersTooLarge], None),
    })
}

pub(super) fn ready() -> Value {
    json!({
        "operationId": "ready",
        "summary": "200 if a record could be produced now to each cluster that is required, or spooled where that is enough",
        "responses": responses([text("It could", TEXT)], &[Kind::HeadersTooLarge, Kind::Unavailable], None),
    })
}

pub(super) fn metrics() -> Value {
    json!({
        "operationId": "metrics",
        "summary": "Metrics for Prometheus",
        "responses": responses([text("All of them", metrics::CONTENT_TYPE)], &[Kind::HeadersTooLarge, Kind::Unavailable], None),
    })
}

pub(super) fn itself() -> Value {
    let document = response("The document", &[(JSON, json!({"type": "object"}))], &[]);
    json!({
        "operationId": "openapi",
        "summary": "This document",
        "responses": responses([("200", document)], &[Kind::HeadersTooLarge], None),
    })
}
