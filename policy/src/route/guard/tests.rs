#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::super::tests::{find, guarded, route};
use super::*;
use crate::head::RequestHead;
use crate::path::CanonicalPath;

/// Targets that some service takes for `/admin/x`, which is guarded: by what it decodes, folds, cuts off or resolves. The
/// end-to-end tests send them.
const SPELLINGS: &str = include_str!("spellings.txt");
/// Targets that are nobody's name for `/admin/x`.
const NEIGHBOURS: &str = include_str!("neighbours.txt");

const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "DELETE", "OPTIONS", "PROPFIND"];

#[test]
fn no_spelling_and_no_method_is_a_way_around_a_guarded_route() {
    let open = |path: &str| route(path, &format!("{} any {path}", METHODS.join(",")), &[]);
    let mut with_catch_all = vec![guarded("admin", "GET,POST any /admin/{x}", &["keys"])];
    with_catch_all.extend(["/{a}", "/{a}/{b}", "/{a}/{b}/", "/{a}/{b}/{c}", "/{a}/{b}/{c}/{d}"].map(open));
    let with_catch_all = Routes::new(&with_catch_all);
    let alone = Routes::new(&[guarded("admin", "GET any /admin/{x}", &["keys"])]);
    assert!(SPELLINGS.lines().count() > 100);
    let mut refused = 0;
    for target in SPELLINGS.lines() {
        let Ok(path) = CanonicalPath::from_target(target.as_bytes()) else {
            refused += 1;
            continue;
        };
        assert!(alone.obstacle(Some("h"), &path).is_some(), "{target}");
        for method in METHODS {
            let found = find(&with_catch_all, &format!("{method} h {target}"), &[]);
            let kept_in =
                found.starts_with("admin(") || ["400", "404", "405 GET,POST"].contains(&found.as_str());
            assert!(kept_in, "{method} {target}: {found}");
        }
    }
    // The rest is up to what is tested here.
    assert!(refused < SPELLINGS.lines().count() / 3, "{refused}");
    for target in NEIGHBOURS.lines() {
        let path = CanonicalPath::from_target(target.as_bytes()).unwrap();
        assert_eq!(alone.obstacle(Some("h"), &path), None, "{target}");
        let found = find(&with_catch_all, &format!("DELETE h {target}"), &[]);
        assert!(found.starts_with("/{a}/{b}("), "{target}: {found}");
    }
}

#[test]
fn a_less_strict_route_takes_what_is_its_own() {
    let routes = Routes::new(&[
        guarded("write", "POST any /orders/{id}", &["keys"]),
        route("read", "GET any /orders/{id}", &[]),
        guarded("report", "GET any /orders/report", &["keys"]),
        route("health", "GET any /orders/health", &[]),
        guarded("signed", "GET,POST any /{a}/signed", &["signature"]),
        guarded("keyed", "GET,POST,PUT any /{a}/{b}", &["keys"]),
        guarded("either", "GET any /either/{b}", &["keys", "signature"]),
        guarded("host", "GET h.i /{a}/{b}", &["keys"]),
        route("conditional", "GET any /orders/report", &["x-public"]),
    ]);
    for (request, wanted) in [
        // The same path is named with another method; that is no accident.
        ("GET h /orders/1", "read(1)"),
        ("POST h /orders/1", "write(1)"),
        ("GET h /orders/health", "health()"),
        ("GET h /orders/Health", "read(Health)"),
        ("GET h /orders/report", "report()"),
        ("GET h /orders/REPORT", "404"),
        ("GET h /orders/report;a", "400"),
        ("GET h /orders/report%3ba", "404"),
        ("PUT h /orders/report", "keyed(orders,report)"),
        ("PUT h /orders/health", "keyed(orders,health)"),
        // The first literal decides, and "orders" comes first.
        ("GET h /orders/signed", "read(signed)"),
        ("GET h /x/signed", "signed(x)"),
        ("PUT h /x/signed", "405 GET,POST"),
        ("PUT h /x/Signed", "404"),
        // Who has a key is let in by both.
        ("PUT h /either/1", "keyed(either,1)"),
        ("PUT h /orders/1", "keyed(orders,1)"),
        ("GET h.i /orders/1", "host(orders,1)"),
        ("GET h.i /orders/health", "host(orders,health)"),
    ] {
        let target = request.split(' ').next_back().unwrap();
        let found = match CanonicalPath::from_target(target.as_bytes()) {
            Ok(_) => find(&routes, request, &[]),
            Err(_) => "400".to_owned(),
        };
        assert_eq!(found, wanted, "{request}");
    }
    assert_eq!(find(&routes, "GET h /orders/report", &[("x-public", "")]), "conditional()");
}

#[test]
fn who_is_let_in_by_all_of_one_is_let_in_by_the_other() {
    let guards = [Guard::any_of(["keys"], "anonymous"), Guard::any_of(["keys", "anonymous"], "anonymous")];
    let [keys, open] = guards;
    assert!(keys.is_as_strict_as(&open) && keys.is_as_strict_as(&keys) && open.is_as_strict_as(&open));
    assert!(!open.is_as_strict_as(&keys) && open.is_open() && !keys.is_open());
    let two = Guard::any_of(["keys", "signature"], "anonymous");
    assert!(keys.is_as_strict_as(&two) && !two.is_as_strict_as(&keys));
    let (both, one) = (Guard::all_of(["keys", "signature"]), Guard::all_of(["keys"]));
    assert!(both.is_as_strict_as(&keys) && both.is_as_strict_as(&two) && both.is_as_strict_as(&one));
    assert!(!keys.is_as_strict_as(&both) && !two.is_as_strict_as(&both) && keys.is_as_strict_as(&one));
    let mut admins = keys.clone();
    admins.add_rule("groups [\"admins\"]".to_owned());
    assert!(
        admins.is_as_strict_as(&keys) && !keys.is_as_strict_as(&admins) && !both.is_as_strict_as(&admins)
    );
}

#[test]
fn a_request_for_another_host_is_not_for_this_one() {
    let routes = Routes::new(&[guarded("admin", "GET h.i,*.j /admin", &["keys"])]);
    let path = CanonicalPath::from_target(b"/admin").unwrap();
    for (host, wanted) in [("h.i", true), ("a.j", true), ("j", false), ("x.h.i", false)] {
        assert_eq!(routes.obstacle(Some(host), &path).is_some(), wanted, "{host}");
    }
    assert!(matches!(routes.find(&RequestHead::default(), None, &path), super::super::Matched::NotFound));
}
