//! What one configuration says otherwise than another.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::Config;

/// Values by the names of their settings, as the file has them.
type Settings = BTreeMap<String, Value>;

/// The names of the settings in which `one` and `other` differ.
///
/// # Errors
/// When one of them cannot be compared, because a path in it is not UTF-8.
pub(crate) fn changed(one: &Config, other: &Config) -> Result<BTreeSet<String>, serde_json::Error> {
    let (one, other) = (settings(one)?, settings(other)?);
    let names = one.keys().chain(other.keys());
    Ok(names.filter(|name| one.get(*name) != other.get(*name)).cloned().collect())
}

fn settings(config: &Config) -> Result<Settings, serde_json::Error> {
    let mut settings = Settings::new();
    if let Value::Object(values) = serde_json::to_value(config)? {
        flatten("", values, &mut settings);
    }
    Ok(settings)
}

/// Options of librdkafka, and the settings of each cluster, are settings of their own.
fn flatten(prefix: &str, values: Map<String, Value>, settings: &mut Settings) {
    for (key, value) in values {
        match (key.as_str(), value) {
            ("librdkafka", Value::Object(options)) => {
                settings.extend(
                    options.into_iter().map(|(name, value)| (format!("{prefix}{key}.{name}"), value)),
                );
            }
            ("clusters", Value::Object(clusters)) => {
                for (name, cluster) in clusters {
                    if let Value::Object(cluster) = cluster {
                        flatten(&format!("{prefix}{key}.{name}."), cluster, settings);
                    }
                }
            }
            (_, value) => {
                settings.insert(format!("{prefix}{key}"), value);
            }
        }
    }
}
