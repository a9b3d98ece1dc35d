//! Text with holes that a request fills: `{name}` is the path parameter of that name, `{{` and `}}` are braces.

use std::borrow::Cow;

/// A parsed template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    /// Index into the path parameters of the route.
    PathParameter(usize),
}

impl Template {
    /// Parses `text`. `path_parameters` are the names that the route's path declares, in order.
    ///
    /// # Errors
    /// What was wanted, in words.
    pub fn parse(text: &str, path_parameters: &[String]) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(character) = rest.chars().next() {
            if let Some(after) = rest.strip_prefix("{{") {
                literal.push('{');
                rest = after;
            } else if let Some(after) = rest.strip_prefix("}}") {
                literal.push('}');
                rest = after;
            } else if let Some(after) = rest.strip_prefix('{') {
                let Some((name, after)) = after.split_once('}') else {
                    return Err("a closing brace for every opening one ({{ for a brace itself)".to_owned());
                };
                let Some(index) = path_parameters.iter().position(|parameter| parameter == name) else {
                    return Err(unknown_parameter(path_parameters));
                };
                if !literal.is_empty() {
                    parts.push(Part::Literal(std::mem::take(&mut literal)));
                }
                parts.push(Part::PathParameter(index));
                rest = after;
            } else if character == '}' {
                return Err("an opening brace for every closing one (}} for a brace itself)".to_owned());
            } else {
                literal.push(character);
                rest = rest.get(character.len_utf8()..).unwrap_or_default();
            }
        }
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        Ok(Self { parts })
    }

    /// Fills the holes. `path_parameters` are the values, in the order of the names given to [`Template::parse`].
    /// A template that is one literal or one hole costs no allocation.
    pub fn fill<'a>(&'a self, path_parameters: &[&'a str]) -> Cow<'a, str> {
        let value = |part: &'a Part| match part {
            Part::Literal(text) => text.as_str(),
            Part::PathParameter(index) => path_parameters.get(*index).copied().unwrap_or_default(),
        };
        match self.parts.as_slice() {
            [part] => Cow::Borrowed(value(part)),
            parts => Cow::Owned(parts.iter().map(value).collect()),
        }
    }
}

fn unknown_parameter(path_parameters: &[String]) -> String {
    if path_parameters.is_empty() {
        "no parameter, because the route's path has none".to_owned()
    } else {
        format!("a parameter of the route's path ({})", path_parameters.join(", "))
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn fill(template: &str) -> Result<String, String> {
        let names = ["tenant".to_owned(), "id".to_owned()];
        Ok(Template::parse(template, &names)?.fill(&["acme", "42"]).into_owned())
    }

    #[test]
    fn holes_are_filled() {
        assert_eq!(fill("{id}").unwrap(), "42");
        assert_eq!(fill("{tenant}-{id}/é").unwrap(), "acme-42/é");
        assert_eq!(fill("{{{id}}}").unwrap(), "{42}");
        assert_eq!(fill("plain").unwrap(), "plain");
        assert_eq!(fill("").unwrap(), "");
    }

    #[test]
    fn mistakes_are_told() {
        for (template, wanted) in [
            ("{", "closing"),
            ("}", "opening"),
            ("{nope}", "tenant, id"),
            ("{}", "tenant, id"),
            ("{id", "closing"),
        ] {
            assert!(fill(template).unwrap_err().contains(wanted), "{template}");
        }
    }
}
