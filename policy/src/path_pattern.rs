//! Path templates of routes.

use std::borrow::Cow;

use crate::path::CanonicalPath;
use crate::spelling;

/// A path template, by segments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPattern {
    segments: Vec<Segment>,
}

/// A segment, for an index.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step<'s> {
    /// This text.
    Literal(Cow<'s, str>),
    /// Any text but none.
    Parameter,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Literal(String),
    Parameter(String),
}

impl PathPattern {
    /// Parses a template such as `/v1/orders/{order_id}`.
    ///
    /// # Errors
    /// What was wanted, in words.
    pub fn parse(template: &str) -> Result<Self, String> {
        let Some(path) = template.strip_prefix('/') else {
            return Err("a path that begins with a slash".to_owned());
        };
        let mut segments: Vec<Segment> = Vec::new();
        for text in path.split('/') {
            let segment = match text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) {
                Some(name) => {
                    if !is_parameter_name(name) {
                        return Err(
                            "names of path parameters made of letters, digits and underscores".to_owned()
                        );
                    }
                    if segments
                        .iter()
                        .any(|segment| matches!(segment, Segment::Parameter(other) if other == name))
                    {
                        return Err("each path parameter once".to_owned());
                    }
                    Segment::Parameter(name.to_owned())
                }
                None if text.contains(['{', '}']) => {
                    return Err("braces only around a whole segment".to_owned());
                }
                None => Segment::Literal(text.to_owned()),
            };
            segments.push(segment);
        }
        // A literal that a request's path can never have would be a route that never matches. Literals are written
        // decoded, so they are encoded here to be put to the same rule.
        let literals = segments.iter().map(|segment| match segment {
            Segment::Literal(text) => {
                percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC)
                    .to_string()
                    .replace("%2E", ".")
            }
            Segment::Parameter(_) => "x".to_owned(),
        });
        let example = literals.fold(String::new(), |path, segment| path + "/" + &segment);
        match CanonicalPath::from_target(example.as_bytes()) {
            Ok(_) => Ok(Self { segments }),
            Err(error) => Err(format!("a path that a request can have; {error}")),
        }
    }

    /// The names of the parameters, in order.
    pub fn parameters(&self) -> Vec<String> {
        self.segments
            .iter()
            .filter_map(|segment| match segment {
                Segment::Parameter(name) => Some(name.clone()),
                Segment::Literal(_) => None,
            })
            .collect()
    }

    /// The segments. Two patterns with the same match the same paths.
    pub(crate) fn steps(&self) -> impl Iterator<Item = Step<'_>> + Clone {
        self.segments.iter().map(|segment| match segment {
            Segment::Literal(text) => Step::Literal(Cow::Borrowed(text)),
            Segment::Parameter(_) => Step::Parameter,
        })
    }

    /// The segments as [`spelling::Spelling`] has those of a path that matches.
    pub(crate) fn spelled_steps(&self) -> impl Iterator<Item = Step<'_>> + Clone {
        let slash = matches!(self.segments.as_slice(), [_, .., Segment::Literal(last)] if last.is_empty());
        let root = matches!(self.segments.as_slice(), [Segment::Literal(only)] if only.is_empty());
        self.steps().take(self.segments.len() - usize::from(slash || root)).map(|step| match step {
            Step::Literal(text) => Step::Literal(spelling::fold(&text).map_or(text, Cow::Owned)),
            Step::Parameter => Step::Parameter,
        })
    }

    /// The values of the parameters in a path that matches.
    pub(crate) fn values<'p>(&self, path: &'p CanonicalPath) -> Vec<&'p str> {
        let segments = self.segments.iter().zip(path.segments());
        segments
            .filter(|(segment, _)| matches!(segment, Segment::Parameter(_)))
            .map(|(_, text)| text.as_str())
            .collect()
    }

    /// Whether nothing that both match is more specific to the other: from the left, a literal before a parameter.
    pub(crate) fn is_as_specific_as(&self, other: &Self) -> bool {
        let literal = |segment: &Segment| matches!(segment, Segment::Literal(_));
        let pairs = self.segments.iter().map(literal).zip(other.segments.iter().map(literal));
        pairs.into_iter().find(|(own, others)| own != others).is_none_or(|(own, _)| own)
    }
}

fn is_parameter_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn patterns_that_cannot_be_are_refused() {
        for pattern in ["", "v1", "/a//b", "/a/../b", "/{}", "/{a b}", "/{a}/{a}", "/a{b}", "/a\\b", "/{a"] {
            assert!(PathPattern::parse(pattern).is_err(), "{pattern}");
        }
        for pattern in ["/", "/a/", "/grün/{x}", "/a b", "/a.b/..c"] {
            assert!(PathPattern::parse(pattern).is_ok(), "{pattern}");
        }
    }
}
