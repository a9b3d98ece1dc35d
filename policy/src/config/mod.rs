//! Configuration: a JSON document, checked as a whole, then compiled into what requests are decided by.

mod compile;
pub mod document;
mod error;
mod json;
mod structure;
mod warning;

use std::rc::Rc;
use std::time::Duration;

use wicketgate_envelope::json_fault;

pub use self::document::Unmatched;
use self::error::Mistakes;
pub use self::error::{ConfigError, ConfigErrors};
use self::json::Json;
pub use self::warning::Warning;
use crate::auth::{CredentialPlaces, Method, NamedMethod};
use crate::limit::address::ClientAddress;
use crate::limit::fields::LimitFields;
use crate::route::{Action, Routes};
use crate::signing::SigningKey;

/// The JSON Schema of the document, as committed. `wicketgate schema` prints it from the types.
pub const SCHEMA: &str = include_str!("../../schema/wicketgate.schema.json");

/// A compiled configuration: all of it is right, and nothing is left to look up or parse per request.
#[derive(Debug)]
pub struct Config {
    /// Where kafka-bridge is.
    pub bridge: Bridge,
    /// The largest body as it is sent, in bytes.
    pub max_body_bytes: usize,
    /// What happens to a request that no route matches.
    pub(crate) unmatched: Unmatched,
    /// What the host calls the authorities by that methods of authentication ask: on Envoy, names of clusters.
    pub authorities: Vec<String>,
    /// The names of all limits.
    pub limit_names: Vec<String>,
    /// Whose address counts where a limit counts by address.
    pub(crate) client_address: ClientAddress,
    /// What tells callers of their limits.
    pub(crate) limit_fields: LimitFields,
    pub(crate) routes: Routes,
    /// Where credentials stand that no upstream gets.
    pub(crate) stripped: Rc<CredentialPlaces>,
}

/// Where kafka-bridge is and how long to wait for it.
#[derive(Clone, Debug)]
pub struct Bridge {
    /// What the host calls it by: on Envoy, the name of a cluster.
    pub upstream: String,
    /// Its `Host`.
    pub authority: String,
    /// How long to wait for an answer.
    pub timeout: Duration,
    /// What calls are signed with.
    pub signing_key: Option<SigningKey>,
}

impl Config {
    /// Whether any request goes on to an upstream.
    pub fn lets_pass(&self) -> bool {
        let produces = |action: &Action| matches!(action, Action::Produce { .. });
        self.unmatched == Unmatched::Pass || self.routes.iter().any(|route| !produces(&route.action))
    }

    /// Whether a route believes what the proxy in front says of a client's certificate.
    pub fn trusts_forwarded_certificates(&self) -> bool {
        let trusts =
            |named: &NamedMethod| matches!(&named.method, Method::Mtls(method) if method.is_forwarded());
        self.routes.iter().any(|route| route.requirement.methods().iter().any(trusts))
    }

    /// Parses, checks and compiles a document.
    ///
    /// # Errors
    /// [`ConfigErrors`], every mistake in one go.
    pub fn from_json(json: &[u8]) -> Result<Self, ConfigErrors> {
        Self::with_warnings(json).map(|(config, _)| config)
    }

    /// As [`Config::from_json`], and says what is legal in the document and unwise all the same.
    ///
    /// # Errors
    /// [`ConfigErrors`], every mistake in one go.
    pub fn with_warnings(json: &[u8]) -> Result<(Self, Vec<Warning>), ConfigErrors> {
        let mut mistakes = Mistakes::default();
        let document = match parse(json, &mut mistakes) {
            Ok(document) => document,
            Err(error) => {
                mistakes.add(
                    "",
                    "a configuration document",
                    format!("none: {}", json_fault::of_body(json, &error)),
                );
                return Err(mistakes.into());
            }
        };
        let broken = mistakes.paths();
        let config = compile::compile(&document, &mut mistakes);
        // What was repaired is wrong already, and not to be blamed a second time.
        mistakes.forgive(&broken);
        if mistakes.is_empty() {
            {
                let warnings = warning::warnings(&document, &config);
                Ok((config, warnings))
            }
        } else {
            Err(mistakes.into())
        }
    }
}

/// Reads the document, repaired where its structure is wrong.
fn parse(json: &[u8], mistakes: &mut Mistakes) -> Result<document::Document, serde_json::Error> {
    let mut json: Json = serde_json::from_slice(json)?;
    let schema: serde_json::Value = serde_json::from_str(SCHEMA)?;
    let consumers = take_consumers(&mut json);
    let repaired = structure::check(&json, &schema, &schema, "", mistakes);
    drop(json);
    let mut document: document::Document = serde_json::from_value(repaired)?;
    let of_consumer = schema.pointer("/properties/consumers/items").unwrap_or(&schema);
    document.consumers.reserve_exact(consumers.len());
    for (index, consumer) in consumers.into_iter().enumerate() {
        let path = format!("consumers[{index}]");
        let repaired = structure::check(&consumer, of_consumer, &schema, &path, mistakes);
        document.consumers.push(serde_json::from_value(repaired)?);
    }
    Ok(document)
}

/// Takes the consumers out of the document. There may be very many, and repaired values take several times the memory of
/// what they become, so they are looked at one by one.
fn take_consumers<'de>(document: &mut Json<'de>) -> Vec<Json<'de>> {
    let Json::Object(members) = document else { return Vec::new() };
    match members.iter_mut().find(|(name, _)| name == "consumers") {
        Some((_, Json::Array(consumers))) => std::mem::take(consumers),
        _ => Vec::new(),
    }
}

/// The JSON Schema of the document, generated from its types.
#[cfg(feature = "schema")]
pub fn generated_schema() -> serde_json::Value {
    let generator = schemars::generate::SchemaSettings::draft07().into_generator();
    let mut schema = generator.into_root_schema_for::<document::Document>().into();
    refuse_null(&mut schema);
    schema
}

/// Takes null out of what fields may be: whoever writes it has lost what was to be there, and does not mean the default,
/// which may be everybody or forever.
#[cfg(feature = "schema")]
fn refuse_null(schema: &mut serde_json::Value) {
    use serde_json::Value;

    if let Some(fields) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        for field in fields.values_mut().filter_map(Value::as_object_mut) {
            if field.get("default") == Some(&Value::Null) {
                field.remove("default");
            }
            if let Some(types) = field.get_mut("type").and_then(Value::as_array_mut) {
                types.retain(|name| name != "null");
                if let [one] = types.as_slice() {
                    let one = one.clone();
                    field.insert("type".to_owned(), one);
                }
            }
            if let Some(mut alternatives) = field.remove("anyOf") {
                let of_null = |schema: &Value| schema.get("type").is_some_and(|name| name == "null");
                alternatives.as_array_mut().into_iter().for_each(|all| all.retain(|schema| !of_null(schema)));
                field.insert("allOf".to_owned(), alternatives);
            }
        }
    }
    match schema {
        Value::Object(members) => members.values_mut().for_each(refuse_null),
        Value::Array(items) => items.iter_mut().for_each(refuse_null),
        _ => {}
    }
}

#[cfg(test)]
mod tests;
