//! Secrets that a document names instead of holding them: a string that is `${env:NAME}` or `${file:PATH}` as a whole
//! stands for the value of an environment variable or the content of a file, without the line end at its end.
//!
//! Gateways take documents as they are, so this happens before: when a gateway's configuration is rendered, and when a
//! document is looked at.

use std::collections::BTreeSet;

/// Puts in what the document names. `environment` and `file` look things up, and say what is wrong if they can't.
///
/// # Errors
/// Every name that could not be looked up, a line each.
pub fn put_in(
    document: &str,
    environment: impl Fn(&str) -> Result<String, String>,
    file: impl Fn(&str) -> Result<String, String>,
) -> Result<String, String> {
    let mut out = String::with_capacity(document.len());
    let mut missing = BTreeSet::new();
    let mut rest = document;
    while let Some((before, after)) = rest.split_once("\"${") {
        out.push_str(before);
        let Some((name, end)) = after.split_once("}\"") else {
            out.push_str("\"${");
            rest = after;
            continue;
        };
        let value = match name.split_once(':') {
            Some(("env", name)) => environment(name).map_err(|why| format!("${{env:{name}}}: {why}")),
            Some(("file", path)) => file(path)
                .map(|text| text.trim_end_matches(['\r', '\n']).to_owned())
                .map_err(|why| format!("${{file:{path}}}: {why}")),
            _ => Err(format!("${{{name}}}: wanted ${{env:NAME}} or ${{file:PATH}}")),
        };
        match value {
            Ok(value) => out.push_str(&serde_json::Value::String(value).to_string()),
            Err(error) => drop(missing.insert(error)),
        }
        rest = end;
    }
    out.push_str(rest);
    if missing.is_empty() { Ok(out) } else { Err(missing.into_iter().collect::<Vec<_>>().join("\n")) }
}

/// As [`put_in`], from this process's environment and files.
///
/// # Errors
/// As [`put_in`].
pub fn put_in_from_here(document: &str) -> Result<String, String> {
    let environment = |name: &str| std::env::var(name).map_err(|error| error.to_string());
    let file = |path: &str| std::fs::read_to_string(path).map_err(|error| error.to_string());
    put_in(document, environment, file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(document: &str) -> Result<String, String> {
        let known = |name: &str| match name {
            "A" => Ok("a\"b".to_owned()),
            "f" => Ok("secret\r\n".to_owned()),
            _ => Err("not there".to_owned()),
        };
        put_in(document, known, known)
    }

    #[test]
    fn whole_strings_are_put_in_and_nothing_else() {
        assert_eq!(
            with(r#"{"a": "${env:A}", "b": "${file:f}"}"#).unwrap(),
            r#"{"a": "a\"b", "b": "secret"}"#
        );
        for untouched in [r#"{"a": "x${env:A}"}"#, r#"{"a": "{x}"}"#, r#"{"a": "${env:A"#, ""] {
            assert_eq!(with(untouched).unwrap(), untouched);
        }
    }

    #[test]
    fn all_that_is_missing_is_told_at_once() {
        let error = with(r#"["${env:B}", "${file:g}", "${x}", "${env:A}"]"#).unwrap_err();
        assert_eq!(error.lines().count(), 3, "{error}");
        assert!(!error.contains("a\"b"));
    }
}
