//! Settings that cannot hold on the Envoy that `wicketgate render` writes for.

use std::collections::BTreeMap;

use crate::config::document::{AuthenticationMethod, Document, RepeatedHeader, Route};
use crate::envoy;

/// Looks for them in what is said of all routes.
pub(super) fn of_document(document: &Document, warn: &mut impl FnMut(String, &str)) {
    for (name, method) in &document.authentication {
        #[allow(unreachable_patterns, reason = "there will be other methods, without a header of their own")]
        if let AuthenticationMethod::ApiKey { header: Some(header), .. } = method {
            of_name(header, &format!("authentication.{name}.header"), warn);
        }
    }
}

/// Looks for them in a route.
pub(super) fn of_route(route: &Route, path: &str, warn: &mut impl FnMut(String, &str)) {
    for (index, method) in route.matches.methods.iter().enumerate() {
        if !envoy::METHODS.contains(&method.as_str()) {
            warn(
                format!("{path}.match.methods[{index}]"),
                "Envoy answers 400 to a method that it does not know",
            );
        }
    }
    for (place, name) in names(route) {
        of_name(name, &format!("{path}.{place}"), warn);
    }
    for (index, header) in route.kafka.iter().flat_map(|kafka| &kafka.forward_headers).enumerate() {
        let name = header.name.to_ascii_lowercase();
        if header.repeated != RepeatedHeader::All && envoy::JOINED.contains(&name.as_str()) {
            warn(
                format!("{path}.kafka.forward_headers[{index}].repeated"),
                "Envoy joins this header with a comma where it is repeated, so it comes once and this has no effect there",
            );
        }
    }
}

fn of_name(name: &str, path: &str, warn: &mut impl FnMut(String, &str)) {
    let name = name.to_ascii_lowercase();
    if name.contains('_') {
        warn(
            path.to_owned(),
            "a header with an underscore in its name is answered 400 by Envoy, unless its configuration is rendered with \
             --underscores allow",
        );
    }
    if envoy::TAKEN_OUT.contains(&name.as_str()) {
        warn(path.to_owned(), "Envoy takes this header out before the filter sees it");
    }
    if envoy::REPLACED.contains(&name.as_str()) && name != "x-request-id" {
        warn(path.to_owned(), "Envoy gives this header a value of its own, so the caller's is not seen");
    }
}

/// Headers that a route names, by where it does. Each place once: what a template has twice is said once.
fn names(route: &Route) -> BTreeMap<String, &str> {
    let mut names = BTreeMap::new();
    for name in route.matches.headers.keys() {
        names.insert(format!("match.headers.{name}"), name.as_str());
    }
    for name in route.redact.headers.keys() {
        names.insert(format!("redact.headers.{name}"), name.as_str());
    }
    if let Some(cors) = &route.cors {
        for (index, name) in cors.headers.iter().enumerate() {
            names.insert(format!("cors.headers[{index}]"), name.as_str());
        }
    }
    let mut templates: Vec<(String, &String)> = Vec::new();
    if let Some(event) = &route.event {
        let parts = [("subject", &event.subject), ("id", &event.id)];
        templates.extend(
            parts.into_iter().filter_map(|(part, text)| Some((format!("event.{part}"), text.as_ref()?))),
        );
        templates
            .extend(event.extensions.iter().map(|(name, text)| (format!("event.extensions.{name}"), text)));
    }
    if let Some(kafka) = &route.kafka {
        templates.push(("kafka.topic".to_owned(), &kafka.topic));
        let parts = [("key", &kafka.key), ("partition", &kafka.partition), ("timestamp", &kafka.timestamp)];
        templates.extend(
            parts.into_iter().filter_map(|(part, text)| Some((format!("kafka.{part}"), text.as_ref()?))),
        );
        templates.extend(kafka.headers.iter().map(|(name, text)| (format!("kafka.headers.{name}"), text)));
        for (index, header) in kafka.forward_headers.iter().enumerate() {
            names.insert(format!("kafka.forward_headers[{index}]"), header.name.as_str());
        }
    }
    for (place, text) in templates {
        for (number, name) in in_template(text).enumerate() {
            let place = if number == 0 { place.clone() } else { format!("{place} ({name})") };
            names.insert(place, name);
        }
    }
    names
}

/// The headers that a template names.
fn in_template(text: &str) -> impl Iterator<Item = &str> {
    text.split("header:").skip(1).map(|rest| rest.split(['}', '|']).next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use crate::config::Config;

    #[test]
    fn what_cannot_hold_on_envoy_is_told_where_it_is_said() {
        let document = r#"{
            "source": "urn:x", "bridge": {"upstream": "b"}, "unmatched": "reject",
            "authentication": {"keys": {"type": "api_key", "header": "api_key"}},
            "consumers": [{"name": "a", "api_keys": [{"sha256": "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"}]}],
            "routes": [{
                "name": "r",
                "match": {"methods": ["POST", "QUERY"], "path": "/r", "headers": {"X_Kind": null, "x-kind": null}},
                "authentication": {"any_of": ["keys"]}, "authorization": {"authenticated": true},
                "action": "produce",
                "event": {"type": "t", "subject": "{header:device_id}-{header:other_id|lower}"},
                "redact": {"headers": {"x-forwarded-client-cert": "drop", "X-Request-Id": "drop"}},
                "kafka": {
                    "topic": "t", "key": "{header:x-forwarded-proto}",
                    "forward_headers": [
                        {"name": "User-Agent", "repeated": "first"}, {"name": "referer"}, {"name": "x-device", "repeated": "last"},
                        {"name": "via", "repeated": "refuse"}
                    ]
                }
            }]
        }"#;
        let (_, warnings) = Config::with_warnings(document.as_bytes()).unwrap();
        let told: Vec<_> = warnings
            .iter()
            .filter(|warning| warning.text.contains("Envoy"))
            .map(|warning| &*warning.path)
            .collect();
        assert_eq!(
            told,
            [
                "authentication.keys.header",
                "routes[0].match.methods[1]",
                "routes[0].event.subject",
                "routes[0].event.subject (other_id)",
                "routes[0].kafka.key",
                "routes[0].match.headers.X_Kind",
                "routes[0].redact.headers.x-forwarded-client-cert",
                "routes[0].kafka.forward_headers[0].repeated",
                "routes[0].kafka.forward_headers[3].repeated",
            ]
        );
    }
}
