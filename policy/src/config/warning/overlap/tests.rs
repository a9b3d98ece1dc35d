#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::config::Config;

/// A route `METHOD host /path`, from those of `any_of`, with conditions on headers.
fn route(name: usize, (takes, any_of, headers): (&str, &str, &str)) -> String {
    let [method, host, path] = takes.split(' ').collect::<Vec<_>>().try_into().unwrap();
    let hosts = if host == "any" { String::new() } else { format!(r#""hosts": ["{host}"], "#) };
    format!(
        r#"{{"name": "{name}", "match": {{"methods": ["{method}"], {hosts}"path": "{path}", "headers": {{{headers}}}}},
            "authentication": {{"any_of": ["{any_of}"]}}, "action": "pass"}}"#
    )
}

fn warnings(routes: &[(&str, &str, &str)]) -> Vec<String> {
    let routes: Vec<_> = routes.iter().enumerate().map(|(name, takes)| route(name, *takes)).collect();
    let document = format!(
        r#"{{"source": "urn:x", "bridge": {{"upstream": "b"}}, "unmatched": "reject",
            "authentication": {{"keys": {{"type": "api_key", "header": "x-api-key"}}}},
            "routes": [{}]}}"#,
        routes.join(",")
    );
    let (_, warnings) = Config::with_warnings(document.as_bytes()).unwrap();
    let of_overlaps = warnings.into_iter().filter(|warning| warning.text.contains("with less than"));
    of_overlaps.map(|warning| warning.to_string()).collect()
}

#[test]
fn a_less_strict_route_is_told_which_stricter_ones_it_shares_requests_with() {
    let guard = ("GET any /admin/{x}", "keys", "");
    for (other, wanted) in [
        (
            ("DELETE any /{a}/{b}", "anonymous", ""),
            Some("routes[0] asks for, so whatever could be meant for"),
        ),
        (("GET any /{a}/{b}", "anonymous", ""), Some("so whatever could be meant")),
        (("GET any /{a}/x", "anonymous", ""), Some("so whatever could be meant")),
        (("GET any /admin/{x}", "anonymous", r#""x-open": null"#), Some("differs in headers alone")),
        // Another method or a longer literal is no accident.
        (("DELETE any /admin/{x}", "anonymous", ""), None),
        (("GET any /admin/health", "anonymous", ""), None),
        (("GET any /{a}", "anonymous", ""), None),
        (("GET any /other/{x}", "anonymous", ""), None),
        (("GET any /{a}/{b}", "keys", ""), None),
    ] {
        let warnings = warnings(&[guard, other]);
        match wanted {
            None => assert_eq!(warnings, [""; 0], "{other:?}"),
            Some(wanted) => {
                assert_eq!(warnings.len(), 1, "{other:?}: {warnings:?}");
                assert!(
                    warnings[0].starts_with("routes[1]: lets callers in with less than routes[0]"),
                    "{warnings:?}"
                );
                assert!(warnings[0].contains(wanted), "{other:?}: {warnings:?}");
            }
        }
    }
}

#[test]
fn hosts_of_the_stricter_route_alone_are_a_gap() {
    let open = ("GET any /{a}/{b}", "anonymous", "");
    for host in ["h.i", "*.i"] {
        let warnings = warnings(&[(&format!("GET {host} /admin/{{x}}"), "keys", ""), open]);
        assert!(warnings.iter().any(|text| text.contains("at other hosts")), "{warnings:?}");
    }
    let routes: Vec<String> = (0..7).map(|index| format!("GET any /a{index}/{{x}}")).collect();
    let mut routes: Vec<_> = routes.iter().map(|takes| (takes.as_str(), "keys", "")).collect();
    routes.push(open);
    assert!(warnings(&routes)[0].contains("routes[4] (and 2 more) asks for"));
}
