//! Checks a document against its JSON Schema, to find every structural mistake in one go: a deserializer stops
//! at the first. It knows the part of JSON Schema that the types of [`super::document`] produce, and a test holds
//! it to that.
//!
//! What is wrong is replaced by the least that is right, so that the rest of the document can still be looked at for
//! mistakes of other kinds.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use super::error::Mistakes;
use super::json::Json;

/// Checks `json` against `schema`, whose `$ref`s point into `root`, and returns it repaired.
pub(super) fn check(
    json: &Json<'_>,
    schema: &Value,
    root: &Value,
    path: &str,
    mistakes: &mut Mistakes,
) -> Value {
    let schema = resolve(schema, root);
    if let Some(alternatives) = schema.get("anyOf").and_then(Value::as_array) {
        // An optional field: null, or what the other alternative says.
        let value = alternatives.iter().find(|schema| !types(schema).any(|name| name == "null"));
        return match (json, value) {
            (Json::Null, _) | (_, None) => Value::Null,
            (json, Some(schema)) => check(json, schema, root, path, mistakes),
        };
    }
    if let Some(alternatives) = schema.get("oneOf").and_then(Value::as_array) {
        return check_one_of(json, schema, alternatives, root, path, mistakes);
    }
    let wrong = |mistakes: &mut Mistakes, wanted: String| {
        mistakes.add(path, wanted, shown(json, schema));
        least(schema, root)
    };
    if types(schema).next().is_some() && !types(schema).any(|name| has_type(json, name)) {
        let wanted: Vec<&str> = types(schema).filter(|name| *name != "null").map(article).collect();
        return wrong(mistakes, wanted.join(" or "));
    }
    match json {
        Json::Object(members) => check_object(members, schema, root, path, mistakes),
        Json::Array(items) => {
            if u64_of(schema, "minItems").is_some_and(|min| (items.len() as u64) < min) {
                mistakes.add(path, "at least one item", "none");
                return least(schema, root);
            }
            if let Some(max) = u64_of(schema, "maxItems").filter(|max| (items.len() as u64) > *max) {
                mistakes.add(path, format!("at most {max} items"), items.len().to_string());
            }
            let item_schema = schema.get("items").unwrap_or(&Value::Null);
            let item = |(index, item)| check(item, item_schema, root, &format!("{path}[{index}]"), mistakes);
            items.iter().enumerate().map(item).collect()
        }
        Json::String(text) => match allowed(schema) {
            Some(allowed) if !allowed.contains(&text.as_ref()) => {
                wrong(mistakes, format!("one of {}", allowed.join(", ")))
            }
            _ if u64_of(schema, "minLength").is_some_and(|min| (text.len() as u64) < min) => {
                wrong(mistakes, "a string that is not empty".to_owned())
            }
            _ => json!(text),
        },
        Json::Number(number) => {
            let (min, max) = (number_of(schema, "minimum"), number_of(schema, "maximum"));
            let value = number.as_f64().unwrap_or(f64::NAN);
            if min.is_some_and(|min| value < min) || max.is_some_and(|max| value > max) {
                return wrong(
                    mistakes,
                    match (min, max) {
                        (Some(min), Some(max)) => format!("a number from {min} to {max}"),
                        (Some(min), None) => format!("a number of {min} or more"),
                        (_, max) => format!("a number up to {}", max.unwrap_or_default()),
                    },
                );
            }
            Value::Number(number.clone())
        }
        Json::Bool(value) => json!(value),
        Json::Null => Value::Null,
    }
}

fn check_object(
    members: &[(Cow<'_, str>, Json<'_>)],
    schema: &Value,
    root: &Value,
    path: &str,
    mistakes: &mut Mistakes,
) -> Value {
    let properties = schema.get("properties").and_then(Value::as_object);
    let property = |name: &str| properties.and_then(|properties| properties.get(name));
    let mut repaired = Map::new();
    for (name, value) in members {
        let member_path = join(path, name);
        if repaired.contains_key(name.as_ref()) {
            mistakes.add(member_path, "this field once", "it repeated");
            continue;
        }
        let member_schema = match (property(name), schema.get("additionalProperties")) {
            (Some(schema), _) => schema,
            (None, Some(schema @ Value::Object(_))) => schema,
            (None, _) => {
                let known: Vec<&str> =
                    properties.into_iter().flat_map(|map| map.keys().map(String::as_str)).collect();
                // A secret that stands where a name should is a secret all the same.
                let member_path = if is_secret(schema) { path.to_owned() } else { member_path };
                mistakes.add(member_path, format!("one of {}", known.join(", ")), "an unknown field");
                continue;
            }
        };
        let is_required = required(schema).any(|required| required == name);
        let bound = resolve(member_schema, root);
        if matches!(value, Json::Array(items) if items.is_empty() && !is_required)
            && u64_of(bound, "minItems").is_some()
        {
            // Whoever writes a list of nothing does not mean everything.
            mistakes.add(member_path, "at least one item (leave the field out for its default)", "none");
            continue;
        }
        repaired.insert(name.to_string(), check(value, member_schema, root, &member_path, mistakes));
    }
    for name in required(schema) {
        if !repaired.contains_key(name) {
            let member_schema = property(name).map_or(&Value::Null, |schema| resolve(schema, root));
            let wanted = allowed(member_schema).map(|allowed| format!("one of {}", allowed.join(", ")));
            let wanted = wanted.or_else(|| types(member_schema).next().map(|name| article(name).to_owned()));
            mistakes.add(
                join(path, name),
                wanted.unwrap_or_else(|| "a value".to_owned()),
                "nothing (the field is missing)",
            );
            repaired.insert(name.to_owned(), least(member_schema, root));
        }
    }
    Value::Object(repaired)
}

/// Alternatives are either strings, or objects told apart by a field with a constant value.
fn check_one_of(
    json: &Json<'_>,
    schema: &Value,
    alternatives: &[Value],
    root: &Value,
    path: &str,
    mistakes: &mut Mistakes,
) -> Value {
    if let Some(allowed) = allowed(schema) {
        return match json {
            Json::String(text) if allowed.contains(&text.as_ref()) => json!(text),
            _ => {
                mistakes.add(path, format!("one of {}", allowed.join(", ")), shown(json, schema));
                least(schema, root)
            }
        };
    }
    let Json::Object(members) = json else {
        mistakes.add(path, "an object", shown(json, schema));
        return least(schema, root);
    };
    let tags: Vec<(&str, &str)> = alternatives.iter().filter_map(tag).collect();
    let tag_name = tags.first().map_or("", |(name, _)| name);
    let got = members.iter().find(|(name, _)| name == tag_name).map(|(_, value)| value);
    let chosen = alternatives.iter().find(
        |schema| matches!((tag(schema), got), (Some((_, value)), Some(Json::String(text))) if value == text),
    );
    match chosen {
        Some(alternative) => check_object(members, alternative, root, path, mistakes),
        None => {
            let values: Vec<&str> = tags.iter().map(|(_, value)| *value).collect();
            let got = got.map_or("nothing (the field is missing)".to_owned(), Json::describe);
            mistakes.add(join(path, tag_name), format!("one of {}", values.join(", ")), got);
            least(schema, root)
        }
    }
}

/// The least that a schema takes.
fn least(schema: &Value, root: &Value) -> Value {
    let schema = resolve(schema, root);
    if let Some(alternative) = schema.get("oneOf").and_then(|alternatives| alternatives.get(0)) {
        return least(alternative, root);
    }
    if let Some(text) = allowed(schema).and_then(|allowed| allowed.first().copied()) {
        return json!(text);
    }
    match types(schema).next() {
        Some("string") => json!("x"),
        Some("integer" | "number") => schema.get("minimum").cloned().unwrap_or(json!(0)),
        Some("boolean") => json!(false),
        Some("array") if u64_of(schema, "minItems").is_some() => {
            json!([schema.get("items").map_or(Value::Null, |schema| least(schema, root))])
        }
        Some("array") => json!([]),
        Some("object") => {
            let properties = schema.get("properties");
            let member = |name: &str| {
                let property = properties.and_then(|properties| properties.get(name));
                (name.to_owned(), property.map_or(Value::Null, |schema| least(schema, root)))
            };
            Value::Object(required(schema).map(member).collect())
        }
        _ => Value::Null,
    }
}

fn required(schema: &Value) -> impl Iterator<Item = &str> {
    schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

/// The member whose value is constant in this alternative.
fn tag(schema: &Value) -> Option<(&str, &str)> {
    schema
        .get("properties")?
        .as_object()?
        .iter()
        .find_map(|(name, property)| Some((name.as_str(), property.get("const")?.as_str()?)))
}

/// The strings that a schema allows, if it limits them: by one constant, or by alternatives that are constants.
fn allowed(schema: &Value) -> Option<Vec<&str>> {
    let constant = |schema: &'_ Value| schema.get("const").and_then(Value::as_str).is_some();
    match (schema.get("const"), schema.get("enum"), schema.get("oneOf")) {
        (Some(value), _, _) => Some(value.as_str().into_iter().collect()),
        (_, Some(Value::Array(values)), _) => Some(values.iter().filter_map(Value::as_str).collect()),
        (_, _, Some(Value::Array(alternatives))) if alternatives.iter().all(constant) => {
            Some(alternatives.iter().filter_map(|schema| schema.get("const")?.as_str()).collect())
        }
        _ => None,
    }
}

/// Follows a reference, which stands alone or, where it has a description beside it, in an `allOf` of one.
fn resolve<'a>(schema: &'a Value, root: &'a Value) -> &'a Value {
    let inner = schema.get("allOf").and_then(|all| all.get(0)).unwrap_or(schema);
    inner
        .get("$ref")
        .and_then(Value::as_str)
        .and_then(|reference| reference.strip_prefix('#'))
        .and_then(|pointer| root.pointer(pointer))
        .unwrap_or(inner)
}

fn types(schema: &Value) -> impl Iterator<Item = &str> {
    let (one, many) = match schema.get("type") {
        Some(Value::String(name)) => (Some(name.as_str()), [].as_slice()),
        Some(Value::Array(names)) => (None, names.as_slice()),
        _ => (None, [].as_slice()),
    };
    one.into_iter().chain(many.iter().filter_map(Value::as_str))
}

fn has_type(json: &Json<'_>, name: &str) -> bool {
    match (json, name) {
        (Json::Null, "null")
        | (Json::Bool(_), "boolean")
        | (Json::Number(_), "number")
        | (Json::String(_), "string")
        | (Json::Array(_), "array")
        | (Json::Object(_), "object") => true,
        (Json::Number(number), "integer") => number.is_u64() || number.is_i64(),
        _ => false,
    }
}

fn article(name: &str) -> &str {
    match name {
        "boolean" => "true or false",
        "integer" => "an integer",
        "number" => "a number",
        "string" => "a string",
        "array" => "an array",
        "object" => "an object",
        other => other,
    }
}

fn shown(json: &Json<'_>, schema: &Value) -> String {
    if is_secret(schema) { json.kind().to_owned() } else { json.describe() }
}

/// Whether nothing of a value may be shown, whatever it is.
fn is_secret(schema: &Value) -> bool {
    schema.get("writeOnly") == Some(&Value::Bool(true))
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn u64_of(schema: &Value, keyword: &str) -> Option<u64> {
    schema.get(keyword).and_then(Value::as_u64)
}

fn number_of(schema: &Value, keyword: &str) -> Option<f64> {
    schema.get(keyword).and_then(Value::as_f64)
}

#[cfg(test)]
mod tests {
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    /// Every keyword that constrains must be one that is checked here; a new one must not go unnoticed.
    #[test]
    fn the_schema_uses_no_keyword_that_is_not_checked() {
        const KNOWN: [&str; 24] = [
            "$ref",
            "$schema",
            "additionalProperties",
            "allOf",
            "anyOf",
            "const",
            "default",
            "definitions",
            "description",
            "enum",
            "format",
            "items",
            "maxItems",
            "maximum",
            "minItems",
            "minLength",
            "minimum",
            "oneOf",
            "properties",
            "required",
            "title",
            "type",
            "writeOnly",
            "uniqueItems",
        ];
        fn walk(schema: &Value, path: &str) {
            let Some(members) = schema.as_object() else { return };
            for (keyword, value) in members {
                assert!(KNOWN.contains(&keyword.as_str()), "{path}: {keyword}");
                let path = format!("{path}/{keyword}");
                match keyword.as_str() {
                    "properties" | "definitions" => {
                        value
                            .as_object()
                            .unwrap()
                            .iter()
                            .for_each(|(name, schema)| walk(schema, &format!("{path}/{name}")));
                    }
                    "allOf" | "anyOf" | "oneOf" => {
                        value.as_array().unwrap().iter().for_each(|schema| walk(schema, &path))
                    }
                    "items" | "additionalProperties" => walk(value, &path),
                    _ => {}
                }
            }
            assert!(members.get("allOf").is_none_or(|all| all.as_array().unwrap().len() == 1), "{path}");
        }
        walk(&serde_json::from_str(super::super::SCHEMA).unwrap(), "");
    }
}
