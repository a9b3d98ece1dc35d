//! The configuration file.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use toml::{Table, Value};

use crate::producer::Property;

/// Far more than there is to say.
const LARGEST: u64 = 1 << 20;

/// What a file says, as far as it can be read.
#[derive(Debug, Default)]
pub(super) struct Contents {
    /// Settings by their names in the file.
    pub(super) settings: Vec<(String, Setting)>,
    /// Options of librdkafka.
    pub(super) properties: Vec<Property>,
    /// The tables in the table `clusters`, by their names.
    pub(super) clusters: Vec<(String, Contents)>,
    /// What is wrong, without values.
    pub(super) errors: Vec<String>,
}

/// The value of a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Setting {
    /// As a flag would have it.
    Text(String),
    /// Several, each as a flag would have it.
    List(Vec<String>),
    /// For what is on or off.
    Switch(bool),
}

/// Reads a configuration file.
pub(super) fn read(path: &Path) -> Contents {
    match text_of(path) {
        Ok(text) => parse(&text),
        Err(error) => Contents { errors: vec![error], ..Contents::default() },
    }
}

fn text_of(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(LARGEST + 1).read_to_string(&mut text))
        .map_err(|error| error.to_string())?;
    if text.len() as u64 > LARGEST { Err(format!("wanted at most {LARGEST} bytes")) } else { Ok(text) }
}

fn parse(text: &str) -> Contents {
    let mut table = match text.parse::<Table>() {
        Ok(table) => table,
        Err(error) => {
            // The error's own text shows the line, and whatever secret is in it.
            let start = error.span().map_or(0, |span| span.start);
            let line = text.bytes().take(start).filter(|byte| *byte == b'\n').count() + 1;
            let error = format!("line {line}: not TOML: {}", error.message());
            return Contents { errors: vec![error], ..Contents::default() };
        }
    };
    let clusters = table.remove("clusters");
    let mut contents = section(table);
    match clusters {
        None => {}
        Some(Value::Table(clusters)) => {
            for (name, cluster) in clusters {
                match cluster {
                    Value::Table(cluster) => contents.clusters.push((name, section(cluster))),
                    other => contents.errors.push(format!("clusters.{name}: {}", not_a_table(&other))),
                }
            }
        }
        Some(other) => contents.errors.push(format!("clusters: {}", not_a_table(&other))),
    }
    contents
}

fn not_a_table(value: &Value) -> String {
    format!("wanted a table, got {}", kind_of(value))
}

/// Settings, and options of librdkafka in a table of that name.
fn section(table: Table) -> Contents {
    let mut contents = Contents::default();
    for (key, value) in table {
        if let ("librdkafka", Value::Table(options)) = (key.as_str(), &value) {
            flatten("", options, &mut contents);
            continue;
        }
        match setting(value) {
            Ok(value) => contents.settings.push((key, value)),
            Err(wanted) => contents.errors.push(format!("{key}: {wanted}")),
        }
    }
    contents
}

fn setting(value: Value) -> Result<Setting, String> {
    match value {
        Value::Boolean(on) => Ok(Setting::Switch(on)),
        Value::Array(values) => values
            .iter()
            .map(|value| match value {
                Value::String(text) => Ok(text.clone()),
                other => Err(format!("wanted strings in the array, got {}", kind_of(other))),
            })
            .collect::<Result<_, _>>()
            .map(Setting::List),
        value => scalar(&value).map(Setting::Text),
    }
}

fn scalar(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Integer(number) => Ok(number.to_string()),
        other => Err(format!("wanted a string or an integer, got {}", kind_of(other))),
    }
}

/// What a value is, as TOML calls it.
fn kind_of(value: &Value) -> String {
    let kind = value.type_str();
    let article = if kind.starts_with(['a', 'i']) { "an" } else { "a" };
    format!("{article} {kind}")
}

/// Reads `"a.b" = 1`, and `a.b = 1`, which TOML takes for a table in a table.
fn flatten(prefix: &str, options: &Table, contents: &mut Contents) {
    for (key, value) in options {
        let name = format!("{prefix}{key}");
        let read = match value {
            Value::Boolean(on) => Ok(on.to_string()),
            Value::Table(table) => match (table.len(), table.get("file")) {
                (1, Some(Value::String(path))) => secret(Path::new(path)),
                _ => {
                    flatten(&format!("{name}."), table, contents);
                    continue;
                }
            },
            value => scalar(value),
        };
        match read {
            Ok(value) => contents.properties.push(Property { name, value }),
            Err(error) => contents.errors.push(format!("librdkafka.{name}: {error}")),
        }
    }
}

/// A value that is in a file of its own, without the end of its last line.
fn secret(path: &Path) -> Result<String, String> {
    let text = text_of(path).map_err(|error| format!("file {}: {error}", path.display()))?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_may_be_quoted_dotted_or_elsewhere() {
        let path = std::env::temp_dir().join(format!("kafka-bridge-secret-{}", std::process::id()));
        std::fs::write(&path, "hunter2\n").unwrap();
        let contents = parse(&format!(
            "delivery_timeout = \"3s\"\nmax_records = 7\nallowed_topics = [\"a\", \"b.*\"]\nembedded_broker = true\n\
             [librdkafka]\n\"client.id\" = \"x\"\nlinger.ms = 5\nsocket.keepalive.enable = false\n\
             sasl.password = {{ file = {:?} }}\n",
            path.display().to_string()
        ));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(contents.errors, Vec::<String>::new());
        let text = |text: &str| Setting::Text(text.to_owned());
        let settings: Vec<_> =
            contents.settings.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
        assert_eq!(
            settings,
            [
                ("allowed_topics", Setting::List(vec!["a".to_owned(), "b.*".to_owned()])),
                ("delivery_timeout", text("3s")),
                ("embedded_broker", Setting::Switch(true)),
                ("max_records", text("7"))
            ]
        );
        let properties: Vec<_> = contents
            .properties
            .iter()
            .map(|property| (property.name.as_str(), property.value.as_str()))
            .collect();
        assert_eq!(
            properties,
            [
                ("client.id", "x"),
                ("linger.ms", "5"),
                ("sasl.password", "hunter2"),
                ("socket.keepalive.enable", "false")
            ]
        );
    }

    #[test]
    fn what_cannot_be_read_is_told_by_its_path_and_without_its_value() {
        for (text, wanted) in [
            ("a = 1\nb = \"hunter2", "line 2: not TOML: "),
            ("a = 1\na = 2", "line 2: not TOML: "),
            ("a = 1.5", "a: wanted a string or an integer, got a float"),
            ("a = [1]", "a: wanted strings in the array, got an integer"),
            ("[a]\nb = \"hunter2\"", "a: wanted a string or an integer, got a table"),
            ("librdkafka = \"hunter2\"\n[x]", "x: wanted"),
            (
                "[librdkafka]\nx.y = [\"hunter2\"]",
                "librdkafka.x.y: wanted a string or an integer, got an array",
            ),
            (
                "[librdkafka]\nx = { file = \"/nonexistent/hunter\" }",
                "librdkafka.x: file /nonexistent/hunter: No such",
            ),
        ] {
            let errors = parse(text).errors;
            assert!(errors[0].starts_with(wanted) && !errors[0].contains("hunter2"), "{text}: {errors:?}");
        }
    }
}
