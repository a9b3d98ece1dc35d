//! Path templates of routes.

use crate::path::CanonicalPath;

/// A path template, by segments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPattern {
    segments: Vec<Segment>,
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

    /// Whether both match the same paths.
    pub(crate) fn same_paths(&self, other: &Self) -> bool {
        self.specificity().eq(other.specificity())
    }

    /// Whether the path matches. A parameter never matches an empty segment.
    pub(crate) fn matches(&self, path: &CanonicalPath) -> bool {
        self.segments.len() == path.segments().len()
            && self.segments.iter().zip(path.segments()).all(|(segment, text)| match segment {
                Segment::Literal(literal) => literal == text,
                Segment::Parameter(_) => !text.is_empty(),
            })
    }

    /// Whether a service that cares neither for a slash at the end nor for the case of letters would take the path for
    /// one that matches.
    pub(crate) fn resembles(&self, path: &CanonicalPath) -> bool {
        let without_slash =
            |len: usize, last_is_empty: bool| if last_is_empty && len > 1 { len - 1 } else { len };
        let last_is_empty = matches!(self.segments.last(), Some(Segment::Literal(text)) if text.is_empty());
        let len = without_slash(self.segments.len(), last_is_empty);
        let path_len =
            without_slash(path.segments().len(), path.segments().last().is_some_and(String::is_empty));
        len == path_len
            && self.segments.iter().zip(path.segments()).take(len).all(|(segment, text)| match segment {
                Segment::Literal(literal) => literal.to_lowercase() == text.to_lowercase(),
                Segment::Parameter(_) => !text.is_empty(),
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

    /// Sorts the more specific first: from the left, a literal segment before a parameter.
    pub(crate) fn specificity(&self) -> impl Iterator<Item = (bool, &str)> {
        self.segments.iter().map(|segment| match segment {
            Segment::Literal(text) => (false, text.as_str()),
            Segment::Parameter(_) => (true, ""),
        })
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
