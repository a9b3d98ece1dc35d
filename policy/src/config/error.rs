//! Mistakes in a configuration document, all of them at once.

use std::fmt;

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Where: a path such as `routes[1].kafka.topic`; empty for the document itself.
    pub path: String,
    /// What was wanted.
    pub wanted: String,
    /// What came. Values of secret fields are never in it.
    pub got: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path.is_empty() { "document" } else { &self.path };
        write!(f, "{path}: wanted {}, got {}", self.wanted, self.got)
    }
}

/// All mistakes of a document, in the order of the document as far as it has one. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// Gathers mistakes while a document is checked.
#[derive(Debug, Default)]
pub(crate) struct Mistakes(Vec<ConfigError>);

impl Mistakes {
    pub(crate) fn add(&mut self, path: impl Into<String>, wanted: impl Into<String>, got: impl Into<String>) {
        self.0.push(ConfigError { path: path.into(), wanted: wanted.into(), got: got.into() });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Where the mistakes are that have been found so far.
    pub(crate) fn paths(&self) -> Vec<String> {
        self.0.iter().map(|mistake| mistake.path.clone()).collect()
    }

    /// Drops the mistakes found since, as far as they are at or within `paths`. Of a way to authenticate whose type is
    /// not known nothing else can be wrong.
    pub(crate) fn forgive(&mut self, paths: &[String]) {
        let within = |path: &str, outer: &str| {
            path.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        let of_type = |path: &String| {
            path.starts_with("authentication.")
                .then(|| path.strip_suffix(".type"))
                .flatten()
                .map(str::to_owned)
        };
        let typeless: Vec<String> = paths.iter().filter_map(of_type).collect();
        let mut index = 0;
        self.0.retain(|mistake| {
            index += 1;
            index <= paths.len() || !paths.iter().chain(&typeless).any(|outer| within(&mistake.path, outer))
        });
    }
}

impl From<Mistakes> for ConfigErrors {
    fn from(mistakes: Mistakes) -> Self {
        Self(mistakes.0)
    }
}

/// A value from the document as an error shows it: quoted, and cut when it is long.
pub(crate) fn quoted(text: &str) -> String {
    const SHOWN: usize = 60;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{:?}…", text.get(..end).unwrap_or_default()),
        None => format!("{text:?}"),
    }
}
