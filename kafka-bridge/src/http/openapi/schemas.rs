//! What bodies look like, as JSON Schema.

use serde_json::{Value, json};

/// By name.
pub(super) fn all() -> Value {
    json!({
        "Ack": {
            "description": "How far a record gets before it is acknowledged.",
            "enum": ["all", "leader", "none", "spooled"],
        },
        "CheckedCloudEvent": checked_cloud_event(),
        "CloudEvent": cloud_event(),
        "Octets": {
            "description": "Bytes: a string where they are UTF-8.",
            "oneOf": [
                {"type": "string"},
                {
                    "type": "object",
                    "required": ["base64"],
                    "properties": {"base64": {"type": "string", "contentEncoding": "base64", "pattern": BASE64}},
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
                "limits": {
                    "description": "What requests ask of limits that gateways share, in the order of their records.",
                    "type": "array",
                    "items": {"$ref": "#/components/schemas/LimitedRequest"},
                },
            },
            "additionalProperties": false,
        },
        "Result": result(),
        "Results": {
            "description": "One for each record, in their order.",
            "type": "object",
            "required": ["results"],
            "properties": {
                "results": {"type": "array", "items": {"$ref": "#/components/schemas/Result"}},
                "limits": {
                    "description": "What the limits of each request have said, in the order of the call.",
                    "type": "array",
                    "items": {"type": "array", "items": {"$ref": "#/components/schemas/LimitState"}},
                },
            },
            "additionalProperties": false,
        },
        "LimitedRequest": limited_request(),
        "LimitState": {
            "description": "What a limit has said.",
            "type": "object",
            "required": ["name", "allowed", "remaining", "next"],
            "properties": {
                "name": {"type": "string"},
                "allowed": {"description": "null: it could not be counted.", "type": ["boolean", "null"]},
                "remaining": {"description": "Units that are left.", "type": "integer", "minimum": 0},
                "next": {"description": "Milliseconds until there is one more.", "type": "integer", "minimum": 0},
                "retry_after": {"description": "Milliseconds until it would be let through.", "type": "integer", "minimum": 0},
            },
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

/// Padded base64 (RFC 4648, section 4), in which no bit is left over.
const BASE64: &str = "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?$";

/// What is checked of an event that is written as it stands.
fn cloud_event() -> Value {
    let text = json!({"type": "string", "minLength": 1});
    json!({
        "description": "CloudEvents 1.0, JSON format. Required members and partitionkey are checked; the rest is taken as it is.",
        "type": "object",
        "required": ["specversion", "id", "source", "type"],
        "properties": {
            "specversion": {"const": "1.0"},
            "id": text,
            "source": text,
            "type": text,
            "partitionkey": {"description": "The record's key.", "type": ["string", "null"]},
        },
    })
}

/// What is checked of an event that is taken apart.
fn checked_cloud_event() -> Value {
    // CloudEvents 1.0.2, section 3, "Type System": neither control characters nor, in any plane, noncharacters.
    let mut unwanted = "\\u0000-\\u001f\\u007f-\\u009f\\ufdd0-\\ufdef".to_owned();
    unwanted.extend(
        (0..=16).flat_map(|plane| [plane << 16 | 0xfffe, plane << 16 | 0xffff]).filter_map(char::from_u32),
    );
    let text = format!("^[^{unwanted}]*$");
    let required = json!({"type": "string", "minLength": 1, "pattern": text});
    let optional = json!({"type": ["string", "null"], "minLength": 1, "pattern": text});
    let token = "[A-Za-z0-9!#$%&'*+.^_`|~-]+";
    json!({
        "description": "CloudEvents 1.0, JSON format. All of it is checked. Data that is not JSON by its datacontenttype is a \
                        string, or data_base64 where it has another charset than UTF-8. At most 256 extension attributes.",
        "type": "object",
        "required": ["specversion", "id", "source", "type"],
        "properties": {
            "specversion": {"const": "1.0"},
            "id": required,
            "source": {"type": "string", "minLength": 1, "format": "uri-reference"},
            "type": required,
            "subject": optional,
            "time": {"type": ["string", "null"], "format": "date-time"},
            "datacontenttype": {"type": ["string", "null"], "pattern": format!("^{token}/{token}(?: *;[ -~]*)?$")},
            "dataschema": {"type": ["string", "null"], "minLength": 1, "format": "uri"},
            "partitionkey": optional,
            "data": {},
            "data_base64": {"type": ["string", "null"], "contentEncoding": "base64", "pattern": BASE64},
        },
        "propertyNames": {"pattern": "^(?:[a-z0-9]+|data_base64)$"},
        "additionalProperties": {
            "type": ["string", "boolean", "integer", "null"],
            "format": "int32",
            "minimum": i32::MIN,
            "maximum": i32::MAX,
            "pattern": text,
        },
        "anyOf": [
            {"not": {"required": ["data"]}},
            {
                "description": "JSON, which it also is without datacontenttype",
                "required": ["data"],
                "properties": {
                    "datacontenttype": {"type": ["string", "null"], "pattern": "^[^;]*[/+][Jj][Ss][Oo][Nn] *(?:;.*)?$"},
                    "data_base64": {"type": "null"},
                },
            },
            {
                "description": "Text",
                "required": ["data", "datacontenttype"],
                "properties": {
                    "datacontenttype": {"type": "string", "pattern": "^[^;]*(?:;.*[Uu][Tt][Ff]-8.*)?$"},
                    "data": {"type": "string"},
                    "data_base64": {"type": "null"},
                },
            },
        ],
    })
}

/// What one request of a call asks of limits that gateways share.
fn limited_request() -> Value {
    let positive = json!({"type": "integer", "minimum": 1});
    let name = json!({"type": "string", "pattern": "^[a-zA-Z0-9._-]{1,64}$"});
    json!({
        "type": "object",
        "required": ["first", "count", "limits"],
        "properties": {
            "first": {"description": "The place of its first record.", "type": "integer", "minimum": 0},
            "count": positive,
            "limits": {"type": "array", "minItems": 1, "maxItems": 8, "items": {
                "type": "object",
                "required": ["name", "key", "limit", "period", "burst", "cost"],
                "properties": {
                    "name": name,
                    "key": name,
                    "limit": positive,
                    "period": positive,
                    "burst": positive,
                    "cost": {"type": "integer", "minimum": 0},
                    "dry_run": {"type": "boolean"},
                    "allow_uncounted": {"type": "boolean"},
                },
                "additionalProperties": false,
            }},
        },
        "additionalProperties": false,
    })
}

/// A record; what its mode is decides what else there may be.
fn record() -> Value {
    let variant = |required: &[&str], own: Value| {
        let mut properties = json!({
            "topic": {"$ref": "#/components/schemas/Topic"},
            "key": {"anyOf": [{"$ref": "#/components/schemas/Octets"}, {"type": "null"}]},
            "headers": {
                "type": "array",
                "items": {
                    "type": "array",
                    "prefixItems": [
                        {"type": "string", "pattern": "^[^\\u0000]+$"},
                        {"$ref": "#/components/schemas/Octets"},
                    ],
                    "minItems": 2,
                    "maxItems": 2,
                },
            },
            "partition": {"type": ["integer", "null"], "format": "int32", "minimum": 0, "maximum": i32::MAX},
            "timestamp": {
                "description": "Milliseconds since 1970-01-01T00:00:00Z.",
                "type": ["integer", "null"],
                "format": "int64",
                "minimum": 1,
                "maximum": 18_446_744_073_709_i64,
            },
            "ack": {"$ref": "#/components/schemas/Ack"},
            "cluster": {
                "description": "The name of a cluster; null or absent is the default one.",
                "type": ["string", "null"],
                "pattern": "^[a-zA-Z0-9._-]{1,64}$",
            },
            "identity": {
                "description": "What tells the record from others, besides its event.",
                "type": "object",
                "properties": {
                    "id_only": {"type": "boolean"},
                    "request": {"type": ["string", "null"], "pattern": "^[a-zA-Z0-9._-]*$"},
                    "batch": {"type": ["string", "null"], "pattern": "^[a-zA-Z0-9._-]*$"},
                },
                "additionalProperties": false,
            },
        });
        if let (Some(properties), Value::Object(own)) = (properties.as_object_mut(), own) {
            properties.extend(own);
        }
        json!({"type": "object", "required": required, "properties": properties, "additionalProperties": false})
    };
    let taken_apart = json!({"enum": ["binary", "raw"]});
    json!({
        "oneOf": [
            variant(&["topic", "event"], json!({
                "mode": {"const": "structured"},
                "tombstone": {"const": false},
                "event": {"$ref": "#/components/schemas/CloudEvent"},
            })),
            variant(&["topic", "mode", "event"], json!({
                "mode": taken_apart,
                "tombstone": {"const": false},
                "event": {"$ref": "#/components/schemas/CheckedCloudEvent"},
            })),
            variant(&["topic", "key", "mode", "tombstone", "event"], json!({
                "key": {"$ref": "#/components/schemas/Octets"},
                "mode": taken_apart,
                "tombstone": {"const": true},
                "event": {"$ref": "#/components/schemas/CheckedCloudEvent"},
            })),
        ],
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
            outcome("limited", None),
            outcome("conflict", None),
            outcome("refused", None),
            outcome("unavailable", Some(("retry_after", json!({"type": "integer", "minimum": 0})))),
            outcome("unknown", None),
        ],
    })
}
