//! Which route a request takes.

use std::rc::Rc;

use crate::auth::Method;
use crate::path::CanonicalPath;
use crate::template::Template;

/// A compiled route.
#[derive(Debug)]
pub struct Route {
    /// Its name.
    pub name: String,
    pub(crate) methods: Vec<String>,
    pub(crate) pattern: PathPattern,
    pub(crate) authentication: Vec<Method>,
    /// The value of `WWW-Authenticate` in a denial.
    pub(crate) challenge: String,
    pub(crate) event_type: String,
    pub(crate) subject: Option<Template>,
    pub(crate) topic: String,
    pub(crate) key: Option<Template>,
    /// Names of request headers, in lower case, in the order in which they become record headers.
    pub(crate) forward_headers: Vec<String>,
}

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

    /// The values of the parameters if the path matches. A parameter never matches an empty segment.
    fn matches<'p>(&self, path: &'p CanonicalPath) -> Option<Vec<&'p str>> {
        if self.segments.len() != path.segments().len() {
            return None;
        }
        let mut values = Vec::new();
        for (segment, text) in self.segments.iter().zip(path.segments()) {
            match segment {
                Segment::Literal(literal) if literal == text => {}
                Segment::Parameter(_) if !text.is_empty() => values.push(text.as_str()),
                _ => return None,
            }
        }
        Some(values)
    }

    /// Sorts the more specific first: from the left, a literal segment before a parameter.
    fn specificity(&self) -> impl Iterator<Item = (bool, &str)> {
        self.segments.iter().map(|segment| match segment {
            Segment::Literal(text) => (false, text.as_str()),
            Segment::Parameter(_) => (true, ""),
        })
    }
}

fn is_parameter_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// All routes, the more specific first.
#[derive(Debug, Default)]
pub struct Routes {
    routes: Vec<Rc<Route>>,
}

/// What the routes say to a request.
#[derive(Debug)]
pub enum Matched<'p> {
    /// This route takes it, with these path parameters.
    Route(Rc<Route>, Vec<&'p str>),
    /// Its path is known, but only with these methods.
    MethodNotAllowed(Vec<String>),
    /// No route has its path.
    NotFound,
}

impl Routes {
    pub(crate) fn new(mut routes: Vec<Rc<Route>>) -> Self {
        routes.sort_by(|one, other| one.pattern.specificity().cmp(other.pattern.specificity()));
        Self { routes }
    }

    /// Finds the route for a request.
    pub fn find<'p>(&self, method: &[u8], path: &'p CanonicalPath) -> Matched<'p> {
        let mut allowed: Vec<String> = Vec::new();
        for route in &self.routes {
            let Some(parameters) = route.pattern.matches(path) else { continue };
            if route.methods.iter().any(|allowed| allowed.as_bytes() == method) {
                return Matched::Route(Rc::clone(route), parameters);
            }
            for method in &route.methods {
                if !allowed.contains(method) {
                    allowed.push(method.clone());
                }
            }
        }
        if allowed.is_empty() { Matched::NotFound } else { Matched::MethodNotAllowed(allowed) }
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn route(name: &str, methods: &[&str], path: &str) -> Rc<Route> {
        Rc::new(Route {
            name: name.to_owned(),
            methods: methods.iter().map(|&method| method.to_owned()).collect(),
            pattern: PathPattern::parse(path).unwrap(),
            authentication: Vec::new(),
            challenge: String::new(),
            event_type: String::new(),
            subject: None,
            topic: String::new(),
            key: None,
            forward_headers: Vec::new(),
        })
    }

    fn find(routes: &Routes, method: &str, target: &str) -> String {
        let path = CanonicalPath::from_target(target.as_bytes()).unwrap();
        match routes.find(method.as_bytes(), &path) {
            Matched::Route(route, parameters) => format!("{}({})", route.name, parameters.join(",")),
            Matched::MethodNotAllowed(allowed) => format!("405 {}", allowed.join(",")),
            Matched::NotFound => "404".to_owned(),
        }
    }

    #[test]
    fn literals_win_from_the_left_whatever_the_order() {
        let routes = Routes::new(vec![
            route("any", &["POST"], "/{a}/{b}"),
            route("right", &["POST"], "/{a}/x"),
            route("left", &["POST", "PUT"], "/x/{b}"),
            route("both", &["PUT"], "/x/x"),
        ]);
        for (method, target, wanted) in [
            ("POST", "/x/x", "left(x)"),
            ("PUT", "/x/x", "both()"),
            ("POST", "/x/y", "left(y)"),
            ("POST", "/y/x", "right(y)"),
            ("POST", "/y/%7a", "any(y,z)"),
            ("GET", "/x/x", "405 PUT,POST"),
            ("post", "/y/y", "405 POST"),
            ("POST", "/x", "404"),
            ("POST", "/x/", "404"),
            ("POST", "/x/x/", "404"),
            ("POST", "/", "404"),
        ] {
            assert_eq!(find(&routes, method, target), wanted, "{method} {target}");
        }
    }

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
