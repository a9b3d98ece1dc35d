//! From text to the parts of a template.

use super::{Filter, Hole, MAX_BYTES, Part, Scope, Source, Unit, is_disallowed};
use crate::claims::ClaimPath;
use crate::head::is_field_name;
use crate::json_pointer::Pointer;

pub(super) fn parts(text: &str, scope: &Scope<'_>) -> Result<Vec<Part>, String> {
    if text.len() > MAX_BYTES {
        return Err(format!("a template of at most {MAX_BYTES} bytes"));
    }
    if text.chars().any(is_disallowed) {
        return Err("text without control characters and noncharacters".to_owned());
    }
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
            let Some((text, after)) = after.split_once('}') else {
                return Err("a closing brace for every opening one ({{ for a brace itself)".to_owned());
            };
            if !literal.is_empty() {
                parts.push(Part::Literal(std::mem::take(&mut literal)));
            }
            parts.push(Part::Hole(hole(text, scope)?));
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
    Ok(parts)
}

fn hole(text: &str, scope: &Scope<'_>) -> Result<Hole, String> {
    let mut texts = text.split('|').peekable();
    let mut hole = Hole {
        source: source(texts.next().unwrap_or_default(), scope)?,
        filters: Vec::new(),
        optional: false,
    };
    while let Some(text) = texts.next() {
        let complete = hole.default().is_some();
        if text == "optional" {
            if complete {
                return Err(
                    "either a default or optional, because what has a default is never left out".to_owned()
                );
            }
            if texts.peek().is_some() {
                return Err("optional behind all other filters".to_owned());
            }
            hole.optional = true;
            continue;
        }
        let filter = filter(text, scope)?;
        if complete && matches!(filter, Filter::Or(_) | Filter::Default(_)) {
            return Err("one default, behind every or:, because nothing is looked for after it".to_owned());
        }
        hole.filters.push(filter);
    }
    Ok(hole)
}

fn source(text: &str, scope: &Scope<'_>) -> Result<Source, String> {
    let Some((kind, name)) = text.split_once(':') else { return short_source(text, scope) };
    match kind {
        "path" => path_parameter(name, scope),
        "query" if name.is_empty() => Err("the name of a query parameter after query:".to_owned()),
        "query" => Ok(Source::Query(name.to_owned())),
        "header" if !is_field_name(name) => Err("the name of a header after header:".to_owned()),
        "header" => Ok(Source::Header(name.to_ascii_lowercase())),
        "pointer" if !scope.json => Err("no pointer:, because there is no JSON body to point into here".to_owned()),
        "pointer" => Pointer::parse(name).map(Source::Pointer).map_err(|wanted| format!("after pointer:, {wanted}")),
        "claim" if !scope.claims => Err("no claim:, because only anonymous callers are let in, who have none".to_owned()),
        "claim" => ClaimPath::parse(name).map(Source::Claim).map_err(|wanted| format!("after claim:, {wanted}")),
        _ => Err("a source: path:, query:, header:, claim: or pointer: with a name, consumer, method, or the name of a path \
                  parameter"
            .to_owned()),
    }
}

/// A source without a colon: a path parameter, or one of the sources that need no name.
fn short_source(text: &str, scope: &Scope<'_>) -> Result<Source, String> {
    let built_in = match text {
        "consumer" => Source::Consumer,
        "method" => Source::Method,
        name => return path_parameter(name, scope),
    };
    if scope.path_parameters.iter().any(|parameter| parameter == text) {
        return Err(format!(
            "{{path:{text}}} for the path parameter, because {{{text}}} could also be the {text} of the request; \
             give the parameter another name to use both"
        ));
    }
    Ok(built_in)
}

fn path_parameter(name: &str, scope: &Scope<'_>) -> Result<Source, String> {
    let names = scope.path_parameters;
    match names.iter().position(|parameter| parameter == name) {
        Some(index) => Ok(Source::Path { index, name: name.to_owned() }),
        None if names.is_empty() => Err("no parameter, because the route's path has none".to_owned()),
        None => Err(format!("a parameter of the route's path ({})", names.join(", "))),
    }
}

fn filter(text: &str, scope: &Scope<'_>) -> Result<Filter, String> {
    match text.split_once(':') {
        None if text == "lower" => Ok(Filter::Lower),
        None if text == "upper" => Ok(Filter::Upper),
        None if text == "sha256" => Ok(Filter::Sha256),
        Some(("default", text)) => Ok(Filter::Default(text.to_owned())),
        Some(("or", text)) => source(text, scope).map(Filter::Or),
        _ => Unit::named(text).map(Filter::Unit).ok_or_else(|| {
            "a filter: lower, upper, sha256, seconds, millis, micros, nanos, or:source, default:text or optional"
                .to_owned()
        }),
    }
}
