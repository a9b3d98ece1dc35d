//! What bodies look like, as JSON Schema.

use serde_json::{Value, json};

/// By name.
pub(super) fn all() -> Value {
    json!({
        "Ack": {
            "description": "How far a record gets before it is acknowledged.",
            "enum": ["all", "leader", "none", "spooled"],
        },
        "CloudEvent": cloud_event(),
        "Octets": {
            "description": "Bytes: a string where they are UTF-8.",
            "oneOf": [
                {"type": "string"},
                {
                    "type": "object",
                    "required": ["base64"],
                    "properties": {"base64": {"type": "string", "contentEncoding": "base64"}},
                    "additionalProperties": false,
                },
            ],
        },
        "Problem": {
            "description": "RFC 9457. Members of type are stable.",
            "type": "object",
            "required": ["type", "title", "status", "detail"],
            "properties": {
                "type": {"type": "string", "pattern": "^urn:wicketgate:problem:[a-z-]+$"},
                "title": {"type": "string"},
                "status": {"type": "integer", "minimum": 400, "maximum": 599},
                "detail": {"type": "string"},
                "request_id": {"type": "string"},
                "event_id": {"type": "string"},
            },
        },
        "Receipt": {
            "description": "Who has a record, and where, as far as that is known: partition, offset and timestamp are absent \
                            if Kafka had not answered yet.",
            "type": "object",
            "required": ["id", "topic", "ack"],
            "properties": {
                "id": {"description": "The event's.", "type": "string"},
                "topic": {"type": "string"},
                "partition": {"type": "integer", "minimum": 0},
                "offset": {"description": "-1 if Kafka no longer knows.", "type": "integer", "minimum": -1},
                "timestamp": {"description": "The record's own.", "type": "string", "format": "date-time"},
                "ack": {"$ref": "#/components/schemas/Ack"},
            },
            "additionalProperties": false,
        },
        "Record": record(),
        "Records": {
            "type": "object",
            "required": ["records"],
            "properties": {
                "records": {"type": "array", "minItems": 1, "items": {"$ref": "#/components/schemas/Record"}},
            },
            "additionalProperties": false,
        },
        "Result": result(),
        "Results": {
            "description": "One for each record, in their order.",
            "type": "object",
            "required": ["results"],
            "properties": {"results": {"type": "array", "items": {"$ref": "#/components/schemas/Result"}}},
            "additionalProperties": false,
        },
        "Topic": {
            "description": "Neither . nor ..",
            "type": "string",
            "minLength": 1,
            "maxLength": 249,
            "pattern": "^[a-zA-Z0-9._-]+$",
            "not": {"enum": [".", ".."]},
        },
    })
}

fn cloud_event() -> Value {
    json!({
        "description": "CloudEvents 1.0, JSON format. Further members are extension attributes. In structured mode the required \
                        members and partitionkey are checked, and the rest is taken as it is.",
        "type": "object",
        "required": ["specversion", "id", "source", "type"],
        "properties": {
            "specversion": {"const": "1.0"},
            "id": {"type": "string", "minLength": 1},
            "source": {"description": "A URI reference.", "type": "string", "minLength": 1},
            "type": {"type": "string", "minLength": 1},
            "subject": {"type": ["string", "null"]},
            "time": {"description": "RFC 3339.", "type": ["string", "null"]},
            "datacontenttype": {"type": ["string", "null"]},
            "dataschema": {"description": "An absolute URI.", "type": ["string", "null"]},
            "partitionkey": {"description": "The record's key.", "type": ["string", "null"]},
            "data": {},
            "data_base64": {"type": ["string", "null"], "contentEncoding": "base64"},
        },
    })
}

fn record() -> Value {
    json!({
        "type": "object",
        "required": ["topic", "event"],
        "properties": {
            "topic": {"$ref": "#/components/schemas/Topic"},
            "key": {"anyOf": [{"$ref": "#/components/schemas/Octets"}, {"type": "null"}]},
            "headers": {
                "type": "array",
                "items": {
                    "type": "array",
                    "prefixItems": [{"type": "string"}, {"$ref": "#/components/schemas/Octets"}],
                    "minItems": 2,
                    "maxItems": 2,
                },
            },
            "partition": {"type": ["integer", "null"], "format": "int32", "minimum": 0},
            "timestamp": {
                "description": "Milliseconds since 1970-01-01T00:00:00Z.",
                "type": ["integer", "null"],
                "format": "int64",
                "minimum": 1,
            },
            "mode": {"enum": ["structured", "binary", "raw"]},
            "tombstone": {"type": "boolean"},
            "ack": {"$ref": "#/components/schemas/Ack"},
            "cluster": {
                "description": "The name of a cluster; null or absent is the default one.",
                "type": ["string", "null"],
                "pattern": "^[a-zA-Z0-9._-]{1,64}$",
            },
            "event": {"$ref": "#/components/schemas/CloudEvent"},
        },
        "additionalProperties": false,
    })
}

fn result() -> Value {
    let outcome = |name: &str, member: Option<(&str, Value)>| {
        let mut properties = json!({"outcome": {"const": name}});
        let mut required = vec!["outcome"];
        if let Some((member, schema)) = member {
            required.push(member);
            if let Some(properties) = properties.as_object_mut() {
                properties.insert(member.to_owned(), schema);
            }
        }
        json!({"type": "object", "required": required, "properties": properties})
    };
    let acknowledged = json!({
        "type": "object",
        "required": ["outcome", "receipt"],
        "properties": {
            "outcome": {"const": "acknowledged"},
            "receipt": {"$ref": "#/components/schemas/Receipt"},
            "replayed": {"description": "The event had come before.", "type": "boolean"},
        },
    });
    json!({
        "oneOf": [
            acknowledged,
            outcome("invalid", Some(("detail", json!({"type": "string"})))),
            outcome("too_large", None),
            outcome("conflict", None),
            outcome("refused", None),
            outcome("unavailable", Some(("retry_after", json!({"type": "integer", "minimum": 0})))),
            outcome("unknown", None),
        ],
    })
}
