//! Which pages in browsers may call a route (Fetch Standard, section 3.3, "CORS protocol").
//!
//! A preflight is granted exactly what it asks for: a browser keeps a grant for the whole URL, and what it was not
//! asked about may belong to another route.

use std::fmt;

use crate::head::{RequestHead, is_field_name};
use crate::host;

/// Header fields of an answer; names are lower-case. `vary` is to be added to what the answer has of it, the others
/// replace what it has.
pub type Fields = Vec<(&'static str, String)>;

/// The fields by which an answer lets pages read it (Fetch Standard, section 3.3.3). Where a route says who may, an
/// upstream's own have no say.
pub const RESPONSE_FIELDS: [&str; 7] = [
    "access-control-allow-credentials",
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-origin",
    "access-control-allow-private-network",
    "access-control-expose-headers",
    "access-control-max-age",
];

/// What a route allows, as configured.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Origins such as `https://app.example.com`, or `*` alone for any.
    pub origins: Vec<String>,
    /// Methods of the route that pages may use. All of them if empty.
    pub methods: Vec<String>,
    /// Request headers that pages may set, such as `content-type`, which JSON needs.
    pub headers: Vec<String>,
    /// Response headers that pages may read.
    pub expose: Vec<String>,
    /// For how long a browser may keep the answer to a preflight, in seconds.
    pub max_age: Option<u32>,
    /// Whether pages may send cookies and the like.
    pub credentials: bool,
}

/// What is wrong with [`Rules`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Where, such as `origins[0]`.
    pub path: String,
    /// What was wanted.
    pub wanted: String,
    /// The text that came.
    pub got: String,
}

/// What a route allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cors {
    origins: Origins,
    methods: Vec<String>,
    /// In lower case.
    headers: Vec<String>,
    expose: String,
    max_age: Option<u32>,
    credentials: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Origins {
    Any,
    These(Vec<String>),
}

/// The answer to a preflight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Preflight {
    /// 204 with these fields, and no content.
    Granted(Fields),
    /// 403 with these fields, which let no page read it.
    Denied(Denial, Fields),
}

/// Why a preflight was denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// The origin may not call.
    Origin,
    /// Not with this method.
    Method,
    /// Not with one of these headers.
    Headers,
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Origin => "Pages of this origin may not call this.",
            Self::Method => "Pages of other origins may not call this with this method.",
            Self::Headers => "Pages of other origins may not call this with one of these headers.",
        })
    }
}

impl Cors {
    /// Compiles the rules of a route with these methods.
    ///
    /// # Errors
    /// Every [`Mistake`].
    pub fn compile(rules: &Rules, route_methods: &[String]) -> Result<Self, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        let any = rules.origins.iter().any(|origin| origin == "*");
        check(&mut mistakes, "origins", &rules.origins, |origin| {
            if any && rules.origins.len() > 1 {
                return (origin == "*").then_some("* alone, because it covers all others");
            }
            (!any && !is_origin(origin))
                .then_some("an origin as browsers send it, such as https://app.example.com, or *")
        });
        if any && rules.credentials {
            mistakes.push(Mistake {
                path: "credentials".to_owned(),
                wanted: "false where any origin may call (name the origins to allow credentials)".to_owned(),
                got: "true".to_owned(),
            });
        }
        check(&mut mistakes, "methods", &rules.methods, |method| {
            (!route_methods.contains(method)).then_some("a method of the route")
        });
        let not_a_name =
            |name: &String| (!is_field_name(name) || name == "*").then_some("the name of a header");
        check(&mut mistakes, "headers", &rules.headers, not_a_name);
        check(&mut mistakes, "expose", &rules.expose, not_a_name);
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let methods = if rules.methods.is_empty() { route_methods } else { &rules.methods };
        Ok(Self {
            origins: if any { Origins::Any } else { Origins::These(rules.origins.clone()) },
            methods: methods.to_vec(),
            headers: rules.headers.iter().map(|name| name.to_ascii_lowercase()).collect(),
            expose: rules.expose.join(", "),
            max_age: rules.max_age,
            credentials: rules.credentials,
        })
    }

    /// The answer to a preflight; `None` if the request is none (see [`requested_method`]).
    pub fn preflight(&self, head: &RequestHead) -> Option<Preflight> {
        let method = requested_method(head)?;
        let origin = head.single("origin").ok()?;
        let denied = |denial| Some(Preflight::Denied(denial, self.vary()));
        let Some(mut fields) = self.grant(origin) else { return denied(Denial::Origin) };
        let Some(method) = self.methods.iter().find(|known| known.as_bytes() == method) else {
            return denied(Denial::Method);
        };
        let mut headers = Vec::new();
        for name in requested_headers(head) {
            match self.headers.iter().find(|known| known.as_bytes().eq_ignore_ascii_case(name)) {
                None => return denied(Denial::Headers),
                Some(name) if headers.contains(&name.as_str()) => {}
                Some(name) => headers.push(name.as_str()),
            }
        }
        fields.push(("access-control-allow-methods", method.clone()));
        if !headers.is_empty() {
            fields.push(("access-control-allow-headers", headers.join(", ")));
        }
        fields.extend(self.max_age.map(|seconds| ("access-control-max-age", seconds.to_string())));
        Some(Preflight::Granted(fields))
    }

    /// The fields of every other answer of the route, errors as well. `origin` is the request's, if it has one.
    pub fn fields(&self, origin: Option<&[u8]>) -> Fields {
        let Some(mut fields) = self.grant(origin) else { return self.vary() };
        if !self.expose.is_empty() {
            fields.push(("access-control-expose-headers", self.expose.clone()));
        }
        fields
    }

    /// The fields that let pages of this origin read the answer, if they may.
    fn grant(&self, origin: Option<&[u8]>) -> Option<Fields> {
        let mut fields = self.vary();
        match &self.origins {
            Origins::Any => fields.push(("access-control-allow-origin", "*".to_owned())),
            Origins::These(origins) => {
                let origin = origins.iter().find(|known| Some(known.as_bytes()) == origin)?;
                fields.push(("access-control-allow-origin", origin.clone()));
            }
        }
        if self.credentials {
            fields.push(("access-control-allow-credentials", "true".to_owned()));
        }
        Some(fields)
    }

    /// Where the answer depends on the origin, a cache must know it, also of an answer without any grant.
    fn vary(&self) -> Fields {
        match self.origins {
            Origins::Any => Vec::new(),
            Origins::These(_) => vec![("vary", "origin".to_owned())],
        }
    }
}

/// The method that a preflight asks for: `OPTIONS` with one `Origin` and one `Access-Control-Request-Method`. `None`
/// for every other request.
pub fn requested_method(head: &RequestHead) -> Option<&[u8]> {
    if head.method() != b"OPTIONS" {
        return None;
    }
    head.single("origin").ok()??;
    head.single("access-control-request-method").ok()?
}

fn requested_headers(head: &RequestHead) -> impl Iterator<Item = &[u8]> {
    head.all("access-control-request-headers")
        .flat_map(|value| value.split(|&byte| byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|name| !name.is_empty())
}

fn check(
    mistakes: &mut Vec<Mistake>,
    field: &str,
    texts: &[String],
    wrong: impl Fn(&String) -> Option<&'static str>,
) {
    for (index, text) in texts.iter().enumerate() {
        let repeated = || texts.iter().take(index).any(|earlier| earlier.eq_ignore_ascii_case(text));
        if let Some(wanted) = wrong(text).or_else(|| repeated().then_some("each once")) {
            let path = format!("{field}[{index}]");
            mistakes.push(Mistake { path, wanted: wanted.to_owned(), got: text.clone() });
        }
    }
}

/// Whether a browser can send this as an origin (HTML Standard, "serialization of an origin"). Not `null`, which is
/// every page that hides where it comes from.
fn is_origin(text: &str) -> bool {
    let Some((scheme, authority)) = text.split_once("://") else { return false };
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_lowercase())
        && scheme.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'+' | b'-' | b'.'));
    let Ok(Some(host)) = host::parse(authority.as_bytes()) else { return false };
    let port = match authority.strip_prefix(host) {
        Some("") => return is_scheme && !has_upper(authority),
        Some(port) => port.strip_prefix(':').unwrap_or_default(),
        None => return false,
    };
    let default_port = matches!((scheme, port), ("http", "80") | ("https", "443"));
    is_scheme
        && !has_upper(authority)
        && !default_port
        && !port.starts_with('0')
        && port.parse::<u16>().is_ok()
}

fn has_upper(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_uppercase())
}

#[cfg(test)]
mod tests;
