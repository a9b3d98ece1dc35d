#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

/// A route that takes `METHOD,METHOD host,host /path`, on conditions `name` or `name=value`, from anybody.
pub(super) fn route(name: &str, takes: &str, headers: &[&str]) -> Rc<Route> {
    let [methods, hosts, path] = takes.split(' ').collect::<Vec<_>>().try_into().unwrap();
    let mut conditions = Conditions::default();
    for header in headers {
        let (name, value) =
            header.split_once('=').map_or((*header, None), |(name, value)| (name, Some(value)));
        conditions.add(name, value).unwrap();
    }
    let host = |host| if host == "any" { HostPattern::Any } else { HostPattern::parse(host).unwrap() };
    Rc::new(Route {
        name: name.to_owned(),
        matcher: Matcher {
            hosts: hosts.split(',').map(host).collect(),
            methods: methods.split(',').map(str::to_owned).collect(),
            pattern: PathPattern::parse(path).unwrap(),
            conditions,
        },
        cors: None,
        handshake: None,
        limits: Vec::new(),
        requirement: Requirement::AnyOf(Vec::new()),
        authorization: None,
        guard: Guard::any_of(["anonymous"], "anonymous"),
        credentials: Rc::default(),
        action: Action::Pass,
    })
}

/// The same, from those who have one of these credentials.
pub(super) fn guarded(name: &str, takes: &str, any_of: &[&str]) -> Rc<Route> {
    let mut route = Rc::into_inner(route(name, takes, &[])).unwrap();
    route.guard = Guard::any_of(any_of.iter().copied(), "anonymous");
    Rc::new(route)
}

/// What becomes of `METHOD host /path`.
pub(super) fn find(routes: &Routes, request: &str, headers: &[(&str, &str)]) -> String {
    let [method, host, target] = request.split(' ').collect::<Vec<_>>().try_into().unwrap();
    let mut head = RequestHead::default();
    for (name, value) in [(":method", method), (":authority", host)].iter().chain(headers) {
        head.push(name.as_bytes(), value.as_bytes());
    }
    let path = CanonicalPath::from_target(target.as_bytes()).unwrap();
    match routes.find(&head, head.host().unwrap(), &path) {
        Matched::Route(route, parameters) => format!("{}({})", route.name, parameters.join(",")),
        Matched::MethodNotAllowed(allowed) => format!("405 {}", allowed.join(",")),
        Matched::Unclear => "400".to_owned(),
        Matched::NotFound => "404".to_owned(),
    }
}

#[test]
fn literals_win_from_the_left_whatever_the_order() {
    let routes = Routes::new(&[
        route("any", "POST any /{a}/{b}", &[]),
        route("right", "POST any /{a}/x", &[]),
        route("left", "POST,PUT any /x/{b}", &[]),
        route("both", "PUT any /x/x", &[]),
    ]);
    for (request, wanted) in [
        ("POST h /x/x", "left(x)"),
        ("PUT h /x/x", "both()"),
        ("POST h /x/y", "left(y)"),
        ("POST h /y/x", "right(y)"),
        ("POST h /y/%7a", "any(y,z)"),
        ("GET h /x/x", "405 PUT,POST"),
        ("post h /y/y", "405 POST"),
        ("POST h /x", "404"),
        ("POST h /x/", "404"),
        ("POST h /x/x/", "404"),
        ("POST h /", "404"),
    ] {
        assert_eq!(find(&routes, request, &[]), wanted, "{request}");
    }
}

#[test]
fn the_host_counts_more_than_the_path() {
    let routes = Routes::new(&[
        route("any", "POST any /a", &[]),
        route("wild", "POST *.example.com /a", &[]),
        route("deep", "POST *.eu.example.com,eu.example.org /{a}", &[]),
        route("exact", "POST,GET api.eu.example.com /{a}", &[]),
    ]);
    for (request, wanted) in [
        ("POST api.eu.example.com /a", "exact(a)"),
        ("POST API.EU.example.com.:8443 /a", "exact(a)"),
        ("POST b.eu.example.com /a", "deep(a)"),
        ("POST eu.example.org /a", "deep(a)"),
        ("POST eu.example.com /a", "wild()"),
        ("POST example.com /a", "any()"),
        ("POST [::1]:80 /a", "any()"),
        ("POST b.example.com /b", "404"),
        ("PUT api.eu.example.com /a", "405 POST,GET"),
        ("GET b.eu.example.com /a", "405 POST"),
    ] {
        assert_eq!(find(&routes, request, &[]), wanted, "{request}");
    }
}

#[test]
fn conditions_on_headers_come_last_and_more_of_them_first() {
    let routes = Routes::new(&[
        route("none", "POST any /a", &[]),
        route("there", "POST any /a", &["x"]),
        route("one", "POST any /a", &["x=1"]),
        route("both", "POST any /a", &["x=1", "y"]),
        route("put", "PUT any /{b}", &["z"]),
    ]);
    for (headers, wanted) in [
        (&[][..], "none()"),
        (&[("x", "2")], "there()"),
        (&[("x", "1")], "one()"),
        (&[("x", "1"), ("x", "1")], "there()"),
        (&[("x", "1"), ("y", "")], "both()"),
        (&[("y", "")], "none()"),
    ] {
        assert_eq!(find(&routes, "POST h /a", headers), wanted, "{headers:?}");
    }
    assert_eq!(find(&routes, "PUT h /a", &[]), "405 POST");
    assert_eq!(find(&routes, "PUT h /a", &[("z", "")]), "put(a)");
    assert_eq!(find(&routes, "GET h /a", &[("z", "")]), "405 POST,PUT");
    assert_eq!(find(&routes, "GET h /b", &[]), "404");
}

#[test]
fn conflicts_are_overlaps_without_an_order() {
    for (one, other, wanted) in [
        (("POST any /a", &[][..]), ("GET,POST any /a", &[][..]), true),
        (("POST any /{a}", &[]), ("POST any /{b}", &[]), true),
        (("POST a.b /a", &[]), ("POST c.d,A.B /a", &[]), true),
        (("POST any /a", &["x"]), ("POST any /a", &["y"]), true),
        (("POST any /a", &[]), ("GET any /a", &[]), false),
        (("POST any /a", &[]), ("POST any /{a}", &[]), false),
        (("POST a.b /a", &[]), ("POST *.b /a", &[]), false),
        (("POST any /a", &["x"]), ("POST any /a", &[]), false),
        (("POST any /a", &["x=1"]), ("POST any /a", &["x=2"]), false),
    ] {
        let (first, second) = (route("one", one.0, one.1), route("other", other.0, other.1));
        assert_eq!(first.matcher.conflicts_with(&second.matcher), wanted, "{one:?} {other:?}");
        assert_eq!(second.matcher.conflicts_with(&first.matcher), wanted, "{other:?} {one:?}");
    }
}

#[test]
fn a_preflight_is_for_the_routes_that_the_request_could_take() {
    let with_cors = |name, takes, headers: &[&str], origins: &[&str]| {
        let mut route = Rc::into_inner(route(name, takes, headers)).unwrap();
        let origins = origins.iter().map(|&origin| origin.to_owned()).collect();
        let rules = cors::Rules { origins, headers: vec!["x".to_owned()], ..cors::Rules::default() };
        route.cors = Some(Cors::compile(&rules, &route.matcher.methods).unwrap());
        Rc::new(route)
    };
    let routes = Routes::new(&[
        with_cors("any", "POST,PUT any /{a}", &[], &["http://a", "http://b"]),
        route("silent", "PUT any /a", &[]),
        with_cors("one", "POST any /b", &["x=1"], &["http://a"]),
        route("half", "POST any /c", &["x=1"]),
        with_cors("host", "POST h.i /d", &[], &["http://h"]),
    ]);
    let answer = |origin: &str, request: &str| {
        let [method, host, target] = request.split(' ').collect::<Vec<_>>().try_into().unwrap();
        let mut head = RequestHead::default();
        for (name, value) in [
            (":method", "OPTIONS"),
            ("origin", origin),
            ("access-control-request-method", method),
            ("access-control-request-headers", "x"),
        ] {
            head.push(name.as_bytes(), value.as_bytes());
        }
        let path = CanonicalPath::from_target(target.as_bytes()).unwrap();
        match routes.preflight(&head, Some(host), &path) {
            None => "none",
            Some(Preflight::Granted(_)) => "granted",
            Some(Preflight::Denied(..)) => "denied",
        }
    };
    for (origin, request, wanted) in [
        ("http://a", "POST h /x", "granted"),
        ("http://c", "POST h /x", "denied"),
        ("http://a", "DELETE h /x", "none"),
        ("http://a", "POST h /x/y", "none"),
        // Shadowed by a route without CORS.
        ("http://a", "PUT h /a", "none"),
        // With x: 1 it goes to one route, without to another.
        ("http://a", "POST h /b", "granted"),
        ("http://b", "POST h /b", "denied"),
        ("http://a", "POST h /c", "denied"),
        ("http://h", "POST h.i /d", "granted"),
        ("http://h", "POST h /d", "denied"),
        ("http://a", "POST h.i /d", "denied"),
    ] {
        assert_eq!(answer(origin, request), wanted, "{origin} {request}");
    }
}

#[cfg(not(target_family = "wasm"))]
mod properties {
    use proptest::prelude::*;

    use super::*;

    fn any_route() -> impl Strategy<Value = (String, Vec<&'static str>)> {
        let methods = prop::sample::select(vec!["POST", "PUT", "POST,PUT"]);
        let hosts = prop::sample::select(vec!["any", "a.b", "*.b", "*.a.b", "a.b,*.c"]);
        let path = prop::sample::select(vec!["/x", "/{p}", "/x/{p}", "/{p}/x", "/{p}/{q}"]);
        let headers = prop::sample::subsequence(vec!["h", "i=1", "j"], 0..3);
        (methods, hosts, path, headers).prop_map(|(m, h, p, headers)| (format!("{m} {h} {p}"), headers))
    }

    proptest! {
        /// Routes among which compilation finds no conflict need no order of their own.
        #[test]
        fn without_conflicts_the_order_of_routes_says_nothing(
            candidates in prop::collection::vec(any_route(), 1..12),
            method in prop::sample::select(vec!["POST", "PUT", "GET"]),
            host in prop::sample::select(vec!["a.b", "c.a.b", "d.c", "e"]),
            path in prop::sample::select(vec!["/x", "/y", "/x/x", "/y/x", "/x/y"]),
            headers in prop::sample::subsequence(vec![("h", "1"), ("i", "1"), ("i", "2"), ("j", "")], 0..4),
        ) {
            let mut routes: Vec<Rc<Route>> = Vec::new();
            for (index, (takes, headers)) in candidates.iter().enumerate() {
                let candidate = route(&index.to_string(), takes, headers);
                if !routes.iter().any(|route| route.matcher.conflicts_with(&candidate.matcher)) {
                    routes.push(candidate);
                }
            }
            let request = format!("{method} {host} {path}");
            let forwards = find(&Routes::new(&routes), &request, &headers);
            routes.reverse();
            let mut backwards = find(&Routes::new(&routes), &request, &headers);
            if let Some(allowed) = forwards.strip_prefix("405 ") {
                // Which methods are allowed is a set.
                let sorted = |text: &str| { let mut all: Vec<_> = text.split(',').map(str::to_owned).collect(); all.sort(); all };
                prop_assert_eq!(sorted(allowed), sorted(backwards.split_off(4).as_str()));
            } else {
                prop_assert_eq!(forwards, backwards);
            }
        }
    }
}
