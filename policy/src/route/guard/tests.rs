#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::super::tests::{find, guarded, route};
use super::*;
use crate::head::RequestHead;
use crate::path::CanonicalPath;

/// Targets that some service takes for `/admin/x`, which is guarded: by what it decodes, folds, cuts off or resolves.
const SPELLINGS: [&str; 112] = [
    "/admin/x",
    "/admin/x/",
    "/admin/x?a=b",
    "/Admin/x",
    "/ADMIN/x",
    "/aDMIN/X",
    "/admin/X",
    "/%61dmin/x",
    "/%41dmin/x",
    "/%2561dmin/x",
    "/%252561dmin/x",
    "/%25252561dmin/x",
    "/%2525252561dmin/x",
    "/%25252525252561dmin/x",
    "/admin%20/x",
    "/%20admin/x",
    "/admin%2520/x",
    "/admin%09/x",
    "/admin%0a/x",
    "/admin%0d%0a/x",
    "/admin%00/x",
    "/admin%2500/x",
    "/admin/x%00",
    "/admin/x%2500.css",
    "/admin./x",
    "/admin../x",
    "/admin.../x",
    "/admin%2e/x",
    "/admin%252e/x",
    "/admin.%20/x",
    "/admin%20./x",
    "/admin;/x",
    "/admin;a=b/x",
    "/admin/x;a=b",
    "/admin%3b/x",
    "/admin%3ba=b/x",
    "/admin%253b/x",
    "/admin%253Ba/x",
    "/admin%25253b/x",
    "/admin/x%3b.css",
    "/admin%3f/x",
    "/admin%253f/x",
    "/admin%23/x",
    "/admin%2523a/x",
    "/admin//x",
    "//admin/x",
    "/admin/./x",
    "/./admin/x",
    "/admin/y/../x",
    "/y/../admin/x",
    "/y/..;/admin/x",
    "/y/..%3b/admin/x",
    "/y/..%253b/admin/x",
    "/y/%2e%2e/admin/x",
    "/y/%252e%252e/admin/x",
    "/y/.%252e/admin/x",
    "/y/%25252e%25252e/admin/x",
    "/%252e/admin/x",
    "/y/..%20/admin/x",
    "/admin/y/%252e%252e/x",
    "/admin%2fx",
    "/admin%252fx",
    "/admin%252Fx",
    "/admin%25252fx",
    "/y%252f..%252fadmin/x",
    "/y/..%252fadmin/x",
    "/..%252fadmin%252fx",
    "/%252fadmin/x",
    "/admin\\x",
    "/admin%5cx",
    "/admin%255cx",
    "/y%255c..%255cadmin/x",
    "/y\\..\\admin/x",
    "/%c0%afadmin/x",
    "/admin%c0%afx",
    "/admin%25c0%25afx",
    "/%25c1%25a1dmin/x",
    "/admin%u002fx",
    "/admin%25u002fx",
    "/%25u0061dmin/x",
    "/%25U0061dmin/x",
    "/adm%c4%b1n/x",
    "/ADM%C4%B0N/x",
    "/adm%25c4%25b1n/x",
    "/%ef%bd%81dmin/x",
    "/%ef%bc%a1%ef%bc%a4%ef%bc%ad%ef%bc%a9%ef%bc%ae/x",
    "/%25ef%25bd%2581dmin/x",
    "/%f0%9d%90%9admin/x",
    "/%e2%93%90dmin/x",
    "/%c2%aadmin/x",
    "/%c3%a1dmin/x",
    "/a%cc%81dmin/x",
    "/admi%c5%84/x",
    "/admin%e2%80%8b/x",
    "/ad%c2%admin/x",
    "/%ef%bb%bfadmin/x",
    "/admin%e2%80%ae/x",
    "/admin%c2%a0/x",
    "/admin%e3%80%80/x",
    "/admin%ef%bc%9b/x",
    "/admin%e2%80%a6/x",
    "/admin%e2%80%a4/x",
    "/admin%ef%bc%8e/x",
    "/admin%ef%bc%8fx",
    "/admin%ef%bc%bcx",
    "/admin::$DATA/x",
    "/admin%3a%3a%24data/x",
    "/admin%253a%253a$DATA/x",
    "/%EF%BC%85%36%31dmin/x",
    "/admin/%20x",
    "/admin/x%25",
    "/admin/x%2F..%2Fx",
];

/// Targets that are nobody's name for `/admin/x`.
const NEIGHBOURS: [&str; 14] = [
    "/public/x",
    "/administer/x",
    "/admins/x",
    "/admin-x/x",
    "/x/admin",
    "/a%20dmin/x",
    "/admin:x/x",
    "/admin.css/x",
    "/100%25/x",
    "/%e6%97%a5%e6%9c%ac/%e8%aa%9e.txt",
    "/a%253Ab/x",
    "/public/x?path=/admin/x",
    "/public/x?..%2f..%2fadmin",
    "/public/admin%20x",
];

const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "DELETE", "OPTIONS", "PROPFIND"];

#[test]
fn no_spelling_and_no_method_is_a_way_around_a_guarded_route() {
    let open = |path: &str| route(path, &format!("{} any {path}", METHODS.join(",")), &[]);
    let mut with_catch_all = vec![guarded("admin", "GET,POST any /admin/{x}", &["keys"])];
    with_catch_all.extend(["/{a}", "/{a}/{b}", "/{a}/{b}/", "/{a}/{b}/{c}", "/{a}/{b}/{c}/{d}"].map(open));
    let with_catch_all = Routes::new(&with_catch_all);
    let alone = Routes::new(&[guarded("admin", "GET any /admin/{x}", &["keys"])]);
    let mut refused = 0;
    for target in SPELLINGS {
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
    assert!(refused < SPELLINGS.len() / 3, "{refused}");
    for target in NEIGHBOURS {
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
