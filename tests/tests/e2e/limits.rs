//! How often and how many at once, over all workers of a real Envoy.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use wicketgate_tests::artefacts;
use wicketgate_tests::bridge::Bridge;
use wicketgate_tests::envoy::Envoy;
use wicketgate_tests::gateway::{Gateway, KEY, OTHER_KEY};
use wicketgate_tests::http_client::{Answer, Client, full};
use wicketgate_tests::kafka::{self, MAX_RECORD_BYTES};
use wicketgate_tests::ports::free_port;
use wicketgate_tests::redis::Redis;
use wicketgate_tests::topic::{Topic, unique_prefix};
use wicketgate_tests::upstream::Upstream;
use wicketgate_tests::wait::until;

const WORKERS: u32 = 4;
const WAIT: Duration = Duration::from_secs(20);

/// Envoy and a service behind it; nothing here needs Kafka.
struct Scene {
    document: Value,
    envoy: Envoy,
    upstream: Upstream,
}

/// A document with these limits, and a route that passes `/pass/{tenant}` on for each of these lists of them.
fn document(rate_limits: Value, concurrency_limits: Value, routes: &[(&str, &[&str], &[&str])]) -> Value {
    let route = |(name, methods, limits): &(&str, &[&str], &[&str])| {
        json!({
            "name": name,
            "match": {"methods": ["GET", "POST"], "path": format!("/{name}/{{tenant}}")},
            "authentication": {"any_of": methods},
            "action": "pass",
            "limits": limits,
        })
    };
    let mut document = crate::rig::document(routes.iter().map(route).collect());
    document["rate_limits"] = rate_limits;
    document["concurrency_limits"] = concurrency_limits;
    // Envoy adds the address of the connection; the entry before it is what the test says.
    document["client_address"] = json!({"trusted_hops": 2});
    document
}

impl Scene {
    async fn start(document: Value) -> Self {
        let upstream = Upstream::start();
        let bridge = std::net::SocketAddr::from(([127, 0, 0, 1], free_port()));
        let text = format!("{document:#}");
        let envoy = Envoy::start_reloadable(&text, bridge.into(), upstream.address(), WORKERS).await;
        Self { document, envoy, upstream }
    }

    fn client(&self) -> Client {
        Client::http1(self.envoy.address())
    }

    async fn get(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let request = self.client().request(Method::GET, path);
        let request = fields.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        self.client().send(request.body(full("")).unwrap()).await
    }

    /// How many of as many requests as there are sets of fields get through.
    async fn allowed<'f>(&self, path: &str, all: impl IntoIterator<Item = Vec<(&'f str, String)>>) -> usize {
        let mut allowed = 0;
        for fields in all {
            let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let answer = self.get(path, &fields).await;
            assert!([200, 429].contains(&answer.status.as_u16()), "{answer:?}");
            allowed += usize::from(answer.status == StatusCode::OK);
        }
        allowed
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.envoy.process().log_tail());
        } else {
            self.envoy.assert_unharmed();
        }
    }
}

/// Sends so many requests over so many connections, and counts those that get through.
async fn flood(scene: &Scene, path: &'static str, requests: usize, connections: usize) -> (u64, Duration) {
    let started = Instant::now();
    let senders: Vec<_> = (0..connections)
        .map(|_| {
            let client = scene.client();
            tokio::spawn(async move {
                let mut allowed = 0;
                for _ in 0..requests / connections {
                    let request = client.request(Method::GET, path).body(full("")).unwrap();
                    let answer = client.send(request).await;
                    match answer.status.as_u16() {
                        200 => allowed += 1,
                        429 => assert!(answer.header("retry-after").parse::<u64>().unwrap() >= 1),
                        _ => panic!("{answer:?}"),
                    }
                }
                allowed
            })
        })
        .collect();
    let mut allowed = 0;
    for sender in senders {
        allowed += sender.await.unwrap();
    }
    (allowed, started.elapsed())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_requests_over_four_workers_never_exceed_the_bound_nor_fall_short_of_it() {
    let (limit, burst) = (400_u64, 800_u64);
    let limits = json!({"all": {"limit": limit, "period": "1s", "burst": burst}});
    let scene = Scene::start(document(limits, json!({}), &[("pass", &["anonymous"], &["all"])])).await;
    let (allowed, elapsed) = flood(&scene, "/pass/a", 100_000, 64).await;
    let bound = burst as f64 + limit as f64 * elapsed.as_secs_f64();
    let by_worker = scene.envoy.connections_by_worker().await;
    eprintln!(
        "{allowed} of 100,000 in {elapsed:?}, the bound is {bound:.0}; connections by worker {by_worker:?}"
    );
    assert!(by_worker.iter().filter(|count| **count > 0).count() > 1, "{by_worker:?}");
    assert!(allowed as f64 <= bound, "{allowed} > {bound}");
    assert!(allowed as f64 >= bound * 0.98, "{allowed} is less than 98 % of {bound}");
    assert_eq!(scene.upstream.seen().len() as u64, allowed);
}

#[tokio::test]
async fn a_refusal_names_its_limit_and_says_when_and_nothing_gets_past_it() {
    let limits = json!({
        "address": {"limit": 5, "period": "1h", "key": ["address"]},
        "consumer": {"limit": 2, "period": "1h", "key": ["consumer"]},
    });
    let routes: &[(&str, &[&str], &[&str])] = &[("pass", &["keys"], &["address", "consumer"])];
    let scene = Scene::start(document(limits, json!({}), routes)).await;
    for left in [1, 0] {
        let answer = scene.get("/pass/a", &[("x-api-key", KEY)]).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(answer.header("ratelimit").starts_with(&format!("\"consumer\";r={left};t=")), "{answer:?}");
        assert_eq!(answer.header("ratelimit-policy"), "\"consumer\";q=2;w=3600, \"address\";q=5;w=3600");
    }
    for _ in 0..5 {
        let answer = scene.get("/pass/a", &[("x-api-key", KEY)]).await;
        let content = answer.json();
        assert_eq!(answer.status, 429, "{answer:?}");
        assert_eq!(content["type"], "https://iana.org/assignments/http-problem-types#quota-exceeded");
        assert_eq!(content["violated-policies"], json!(["consumer"]));
        let wait: u64 = answer.header("retry-after").parse().unwrap();
        assert!((1_790..=1_800).contains(&wait), "{wait}");
    }
    // What the consumer's limit refused was not counted by the address's.
    for status in [200, 200, 429] {
        assert_eq!(scene.get("/pass/a", &[("x-api-key", OTHER_KEY)]).await.status, status);
    }
    assert_eq!(scene.get("/pass/a", &[("x-forwarded-for", "192.0.2.1")]).await.status, 401);
    assert_eq!(scene.upstream.seen().len(), 4);
}

#[tokio::test]
async fn guessing_keys_ends_with_429_and_the_address_is_what_counts() {
    let limits = json!({"guesses": {
        "limit": 3, "period": "1h", "key": ["address"], "counts": "failed_authentications"
    }});
    let scene = Scene::start(document(limits, json!({}), &[("pass", &["keys"], &["guesses"])])).await;
    let from = |address: &'static str, key: &'static str| [("x-forwarded-for", address), ("x-api-key", key)];
    for status in [401, 401, 401, 429, 429] {
        assert_eq!(scene.get("/pass/a", &from("192.0.2.1", "guess")).await.status, status);
    }
    assert_eq!(scene.get("/pass/a", &from("192.0.2.1", KEY)).await.status, 429);
    assert_eq!(scene.get("/pass/a", &from("192.0.2.2", KEY)).await.status, 200);
    assert_eq!(scene.upstream.seen().len(), 1);
}

#[tokio::test]
async fn spelling_it_in_another_way_is_no_way_around_a_limit() {
    let limit = |key: &str| json!({"limit": 3, "period": "1h", "key": [key]});
    let limits = json!({
        "header": limit("header:x-tenant"), "address": limit("address"), "path": limit("path:tenant"),
    });
    let routes: &[(&str, &[&str], &[&str])] = &[
        ("header", &["anonymous"], &["header"]),
        ("address", &["anonymous"], &["address"]),
        ("path", &["anonymous"], &["path"]),
    ];
    let scene = Scene::start(document(limits, json!({}), routes)).await;
    let one = |name, value: &str| vec![(name, value.to_owned())];
    let cases = ["acme", "ACME", "aCme", " acme ", "acmE"];
    assert_eq!(scene.allowed("/header/a", cases.map(|value| one("x-tenant", value))).await, 3);
    assert_eq!(scene.allowed("/header/a", cases.map(|value| one("X-Tenant", value))).await, 0);
    let prefix = (0..20).map(|host| one("x-forwarded-for", &format!("2001:db8:0:7:{host:x}::{host:x}")));
    assert_eq!(scene.allowed("/address/a", prefix).await, 3);
    let mapped = ["192.0.2.9", "::ffff:192.0.2.9", "::ffff:c000:209", "192.0.2.9:80", "[::ffff:192.0.2.9]:1"];
    assert_eq!(scene.allowed("/address/a", mapped.map(|value| one("x-forwarded-for", value))).await, 3);
    // What stands further left is what callers say.
    let forged = (0..6).map(|host| one("x-forwarded-for", &format!("198.51.100.{host}, 192.0.2.10")));
    assert_eq!(scene.allowed("/address/a", forged).await, 3);
    let mut allowed = 0;
    for path in ["/path/acme", "/path/%61cme", "/path/acm%65", "/path/acme?x", "/path/%61%63%6d%65"] {
        allowed += usize::from(scene.get(path, &[]).await.status == 200);
    }
    assert_eq!(allowed, 3);
}

#[tokio::test]
async fn a_table_that_is_full_does_as_its_limit_says_and_takes_no_more_memory() {
    let limit = |on_error: &str| json!({"limit": 1, "period": "1h", "key": ["header:x-tenant"], "slots": 64, "on_error": on_error});
    let limits = json!({"deny": limit("deny"), "allow": limit("allow")});
    let routes: &[(&str, &[&str], &[&str])] =
        &[("deny", &["anonymous"], &["deny"]), ("allow", &["anonymous"], &["allow"])];
    let scene = Scene::start(document(limits, json!({}), routes)).await;
    let mut statuses = [0_u32; 3];
    for (path, over) in [("/deny/a", 1), ("/allow/a", 2)] {
        for tenant in 0..300 {
            let answer = scene.get(path, &[("x-tenant", &tenant.to_string())]).await;
            match answer.status.as_u16() {
                200 if over == 1 => statuses[0] += 1,
                200 => statuses[2] += 1,
                503 if over == 1 => {
                    assert_eq!(answer.json()["violated-policies"], json!(["deny"]), "{answer:?}");
                    statuses[1] += 1;
                }
                _ => panic!("{answer:?}"),
            }
        }
    }
    let page = scene.envoy.prometheus().await;
    for (limit, verdict, count) in
        [("deny", "denied_uncounted", statuses[1]), ("allow", "allowed_uncounted", 300 - statuses[0])]
    {
        let line =
            format!("wicketgate_limit_requests_total{{limit=\"{limit}\",verdict=\"{verdict}\"}} {count}");
        assert!(page.contains(&line), "{line}\n{page}");
    }
    let line = format!("wicketgate_limit_slots{{limit=\"deny\"}} {}", statuses[0]);
    assert!(page.contains(&line), "{line}\n{page}");
    // Sets fill up unevenly, and none has more than its share.
    assert!((40..=64).contains(&statuses[0]) && statuses[0] + statuses[1] == 300, "{statuses:?}");
    assert_eq!(statuses[2], 300);
}

#[tokio::test]
async fn a_new_document_and_new_vms_keep_what_was_counted() {
    let limits = json!({"all": {"limit": 10, "period": "1h"}});
    let scene = Scene::start(document(limits, json!({}), &[("pass", &["anonymous"], &["all"])])).await;
    let left = |answer: &Answer| answer.header("ratelimit").split([';', '=']).nth(2).map(str::to_owned);
    let mut document = scene.document.clone();
    let mut wanted = 10;
    for (round, new_vms) in [(0, false), (1, true), (2, false)] {
        for _ in 0..3 {
            wanted -= 1;
            let answer = scene.get("/pass/a", &[]).await;
            assert_eq!(
                (answer.status.as_u16(), left(&answer)),
                (200, Some(wanted.to_string())),
                "{answer:?}"
            );
        }
        document["source"] = json!(format!("urn:round:{round}"));
        scene.envoy.reload(&format!("{document:#}"), new_vms).await;
    }
    assert_eq!(scene.get("/pass/a", &[]).await.status, 200);
    assert_eq!(scene.get("/pass/a", &[]).await.status, 429);
}

#[tokio::test]
async fn what_is_in_flight_comes_free_when_it_is_answered_and_when_its_caller_goes() {
    let flight = json!({"flight": {"limit": 2, "key": ["path:tenant"]}});
    let scene = Scene::start(document(json!({}), flight, &[("pass", &["anonymous"], &["flight"])])).await;
    let hold = || {
        let client = scene.client();
        let (sender, receiver) = tokio::sync::mpsc::channel::<Bytes>(1);
        let request =
            client.request(Method::POST, "/pass/a").body(wicketgate_tests::http_client::open(receiver));
        (sender, tokio::spawn(async move { client.try_send(request.unwrap()).await }))
    };
    let free = || async { (scene.get("/pass/a", &[]).await.status == 200).then_some(()) };
    let taken = || async { (scene.get("/pass/a", &[]).await.status == 429).then_some(()) };
    // One that asks whether they are taken would take the place of one that has not come yet.
    let arrived = async |count: u64| {
        let active = || async {
            let stats = scene.envoy.stats().await;
            (stats.get("http.gateway.downstream_rq_active") == Some(&count)).then_some(())
        };
        until(WAIT, active).await.expect("as many requests as were begun");
    };
    let (one, first) = hold();
    let (_two, second) = hold();
    arrived(2).await;
    until(WAIT, taken).await.expect("two that have not ended are in flight");
    let answer = scene.get("/pass/a", &[]).await;
    assert_eq!(
        (answer.header("ratelimit"), answer.header("retry-after")),
        ("\"flight\";r=0", "1"),
        "{answer:?}"
    );
    assert_eq!(scene.get("/pass/b", &[]).await.status, 200);
    // One is answered.
    drop(one);
    assert_eq!(first.await.unwrap().unwrap().status, 200);
    until(WAIT, free).await.expect("the one that was answered has come free");
    let (three, third) = hold();
    arrived(2).await;
    until(WAIT, taken).await.expect("two are in flight again");
    // The caller of the other goes away.
    second.abort();
    until(WAIT, free).await.expect("the one whose caller is gone has come free");
    drop(three);
    assert_eq!(third.await.unwrap().unwrap().status, 200);
}

/// Two gateways with a bridge each, before one Kafka and one Redis.
async fn two_gateways(redis: &Redis, timeout: &str, topic: &str, limit: &Value) -> [Gateway; 2] {
    let mut document = crate::rig::document(json!([{
        "name": "orders",
        "match": {"methods": ["POST"], "path": "/orders"},
        "authentication": {"any_of": ["keys"]},
        "action": "produce",
        "limits": ["shared"],
        "event": {"type": "com.example.order"},
        "kafka": {"topic": topic},
    }]));
    document["rate_limits"] = json!({"shared": limit});
    let url = redis.url();
    let mut gateways = Vec::new();
    for _ in 0..2 {
        let flags = ["--limits-redis", &url, "--limits-redis-timeout", timeout];
        let bridge = Bridge::start(kafka::shared().bootstrap_servers(), &flags).await;
        gateways.push(Gateway::start(&document, bridge).await);
    }
    gateways.try_into().expect("two")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_gateways_with_a_bridge_each_share_one_bound_and_kafka_has_no_more() {
    let redis = Redis::start();
    let name = format!("{}shared", unique_prefix());
    let topics = Topic::create_named(kafka::shared(), &[(name.clone(), 1, MAX_RECORD_BYTES)]).await;
    let limit = json!({"limit": 100, "period": "1s", "burst": 200, "key": ["consumer"], "scope": "global"});
    let gateways = two_gateways(&redis, "1s", &name, &limit).await;
    let started = Instant::now();
    let senders: Vec<_> = (0..16)
        .map(|index| {
            let client = gateways[index % 2].http1();
            tokio::spawn(async move {
                let mut accepted = 0_u32;
                while started.elapsed() < Duration::from_secs(8) {
                    let request = client.request(Method::POST, "/orders").header("x-api-key", KEY);
                    let answer = client.send(request.body(full("{}")).unwrap()).await;
                    match answer.status.as_u16() {
                        202 => accepted += 1,
                        429 => {
                            assert_eq!(answer.json()["violated-policies"], json!(["shared"]));
                            assert_eq!(answer.header("retry-after"), "1");
                            assert_eq!(answer.header("ratelimit-policy"), "\"shared\";q=100;w=1");
                        }
                        _ => panic!("{answer:?}"),
                    }
                }
                accepted
            })
        })
        .collect();
    let mut accepted = 0;
    for sender in senders {
        accepted += sender.await.unwrap();
    }
    let bound = 200.0 + 100.0 * started.elapsed().as_secs_f64();
    eprintln!("two gateways let {accepted} through together, the bound is {bound:.0}");
    assert!(f64::from(accepted) <= bound, "{accepted} > {bound}");
    assert!(f64::from(accepted) >= bound * 0.95, "{accepted} is much less than {bound}");
    assert_eq!(u32::try_from(topics[0].records().await.len()), Ok(accepted));
}

#[tokio::test]
async fn without_redis_a_shared_limit_does_as_it_says() {
    for (on_error, status) in [("deny", 503), ("allow", 202)] {
        let redis = Redis::start();
        let name = format!("{}shared", unique_prefix());
        let topics = Topic::create_named(kafka::shared(), &[(name.clone(), 1, MAX_RECORD_BYTES)]).await;
        let limit = json!({"limit": 5, "period": "1h", "scope": "global", "on_error": on_error});
        let gateways = two_gateways(&redis, "1s", &name, &limit).await;
        let post = async |gateway: &Gateway| {
            let client = gateway.http1();
            let request = client.request(Method::POST, "/orders").header("x-api-key", KEY);
            client.send(request.body(full("{}")).unwrap()).await
        };
        for (index, left) in [(0, 4), (1, 3), (0, 2)] {
            let answer = post(&gateways[index]).await;
            assert_eq!(answer.status, 202, "{answer:?}");
            assert!(answer.header("ratelimit").starts_with(&format!("\"shared\";r={left};t=")), "{answer:?}");
        }
        drop(redis);
        for gateway in &gateways {
            for _ in 0..5 {
                let answer = post(gateway).await;
                assert_eq!(answer.status, status, "{answer:?}");
                if status == 503 {
                    assert_eq!(answer.json()["violated-policies"], json!(["shared"]));
                }
            }
        }
        let written = if status == 202 { 13 } else { 3 };
        assert_eq!(topics[0].records().await.len(), written);
    }
}

/// One answer of a flood: when it came, counted from the start, how long it took, and its status.
type Answered = (Duration, Duration, u16);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_frozen_killed_and_back_under_load_holds_nobody_up_and_the_bound_holds() {
    const TIMEOUT: Duration = Duration::from_millis(500);
    let seconds = Duration::from_secs;
    for on_error in ["deny", "allow"] {
        let mut redis = Redis::start_durable();
        let name = format!("{}shared", unique_prefix());
        let topics = Topic::create_named(kafka::shared(), &[(name.clone(), 1, MAX_RECORD_BYTES)]).await;
        let limit = json!({
            "limit": 100, "period": "1s", "burst": 200, "key": ["consumer"], "scope": "global", "on_error": on_error
        });
        let gateways = two_gateways(&redis, "500ms", &name, &limit).await;
        let started = Instant::now();
        let senders: Vec<_> = (0..8)
            .map(|index| {
                let client = gateways[index % 2].http1();
                tokio::spawn(async move {
                    let mut all: Vec<Answered> = Vec::new();
                    while started.elapsed() < seconds(14) {
                        let request = client.request(Method::POST, "/orders").header("x-api-key", KEY);
                        let asked = Instant::now();
                        let answer = client.send(request.body(full("{}")).unwrap()).await;
                        all.push((started.elapsed(), asked.elapsed(), answer.status.as_u16()));
                    }
                    all
                })
            })
            .collect();
        let at = async |second| tokio::time::sleep(seconds(second).saturating_sub(started.elapsed())).await;
        at(2).await;
        redis.process().freeze();
        at(4).await;
        redis.process().thaw();
        at(7).await;
        redis.process().kill();
        at(9).await;
        redis.start_again();
        let back = started.elapsed();
        let mut all: Vec<Answered> = Vec::new();
        for sender in senders {
            all.extend(sender.await.unwrap());
        }
        all.sort_unstable();
        let count = |status: u16, from: Duration, to: Duration| {
            all.iter().filter(|(at, _, is)| (from..to).contains(at) && *is == status).count()
        };
        let of = |status| count(status, Duration::ZERO, Duration::MAX);
        let slowest = all.iter().map(|(_, took, _)| *took).max().unwrap_or_default();
        let counted = |from: Duration| {
            all.iter().find(|(at, _, status)| *at > from && *status == 429).map(|(at, ..)| *at - from)
        };
        let (thawed, restarted) = (counted(seconds(4)), counted(back));
        let bound = 200.0 + 100.0 * started.elapsed().as_secs_f64();
        let (accepted, limited, unavailable) = (of(202), of(429), of(503));
        eprintln!(
            "{on_error}: {accepted} accepted, {limited} limited, {unavailable} unavailable of {}; the bound is {bound:.0}; \
             the slowest took {slowest:?}; counted again {thawed:?} after it was thawed, {restarted:?} after it was back",
            all.len()
        );
        assert_eq!(accepted + limited + unavailable, all.len());
        assert!(slowest < TIMEOUT + seconds(1), "{slowest:?}");
        for recovered in [thawed, restarted] {
            assert!(recovered.is_some_and(|after| after < Duration::from_secs(6)), "{recovered:?}");
        }
        // While Redis is away, after those that it was last asked by.
        for (from, to) in [(seconds(3), seconds(4)), (seconds(8), seconds(9))] {
            let (through, none) = (count(202, from, to), count(503, from, to));
            match on_error {
                "deny" => assert!(through == 0 && none > 100, "{through} {none}"),
                _ => assert!(through > 100 && none == 0, "{through} {none}"),
            }
            assert_eq!(count(429, from, to), 0);
        }
        // Once it is back, the bound holds, also for what was let through uncounted: a burst, and what the rate brings.
        let late = count(202, seconds(12), seconds(14));
        assert!((150..=400).contains(&late), "{late}");
        if on_error == "deny" {
            assert!(accepted as f64 <= bound, "{accepted} > {bound}");
        } else {
            assert_eq!(unavailable, 0);
        }
        assert_eq!(topics[0].records().await.len(), accepted);
    }
}

/// The filter that ships, in a memory that cannot grow beyond so many pages of 64 KiB.
fn in_little_memory(pages: u8) -> String {
    const MEMORY: u8 = 5;
    let wasm = std::fs::read(artefacts::wasm()).unwrap();
    let length = |at: usize| {
        wasm[at..].iter().enumerate().try_fold(0, |length, (index, byte)| {
            let length = length | usize::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 { Err((length, at + index + 1)) } else { Ok(length) }
        })
    };
    let mut section = 8;
    let bounded = loop {
        let (size, content) = length(section + 1).unwrap_err();
        if wasm[section] == MEMORY {
            // One memory, without a most, and of less than 128 pages to begin with.
            let [1, 0, first] = wasm[content..content + size] else { panic!("another memory") };
            let new = [MEMORY, 4, 1, 1, first, pages];
            break [&wasm[..section], &new, &wasm[content + size..]].concat();
        }
        section = content + size;
    };
    let file = artefacts::run_dir().join("little-memory.wasm");
    std::fs::write(&file, bounded).unwrap();
    file.to_string_lossy().into_owned()
}

#[tokio::test]
async fn a_vm_that_fails_loses_no_counts_and_what_it_had_in_flight_comes_free() {
    const FAILED: &str = "proxy_on_memory_allocate failed: Uncaught";
    let mut document = document(
        json!({"all": {"limit": 100, "period": "1h"}}),
        json!({"flight": {"limit": 1, "key": ["path:tenant"], "lease": "4s"}}),
        &[("pass", &["anonymous"], &["all", "flight"])],
    );
    document["routes"].as_array_mut().unwrap().push(json!({
        "name": "large",
        "match": {"methods": ["POST"], "path": "/large"},
        "authentication": {"any_of": ["anonymous"]},
        "action": "produce",
        "event": {"type": "com.example.large"},
        "kafka": {"topic": "large"},
    }));
    document["limits"]["body_bytes"] = json!(16 << 20);
    let upstream = Upstream::start();
    let bridge = std::net::SocketAddr::from(([127, 0, 0, 1], free_port()));
    let listen = std::net::SocketAddr::from(([127, 0, 0, 1], free_port()));
    let mut options = Envoy::options(listen, bridge.into(), upstream.address());
    options.wasm = in_little_memory(96);
    let envoy = Envoy::start_with(&format!("{document:#}"), &options).await;
    // All on one connection, so in one VM.
    let client = Client::http2(envoy.address());
    let get = async |path: &str| {
        let request = Client::http1(envoy.address()).request(Method::GET, path).body(full("")).unwrap();
        Client::http1(envoy.address()).send(request).await
    };
    let left = |answer: &Answer| {
        let fields = answer.header("ratelimit");
        let (_, left) = fields.split_once("\"all\";r=").unwrap_or_else(|| panic!("{answer:?}"));
        left.split(';').next().unwrap().parse::<u32>().unwrap()
    };
    assert_eq!(left(&get("/pass/other").await), 99);
    let (open, receiver) = tokio::sync::mpsc::channel::<Bytes>(1);
    let held =
        client.request(Method::POST, "/pass/a").body(wicketgate_tests::http_client::open(receiver)).unwrap();
    let held = tokio::spawn({
        let client = client.clone();
        async move { client.try_send(held).await }
    });
    // One that asks too early would be in flight itself, and the other be refused for it.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let refused = get("/pass/a").await;
    assert_eq!(refused.status, 429, "the one that has not ended is in flight");
    assert_eq!(refused.json()["violated-policies"], json!(["flight"]));
    assert!(!envoy.process().log().contains(FAILED));

    // A body for which there is no memory.
    let large = client.request(Method::POST, "/large").body(full(vec![b' '; 8 << 20])).unwrap();
    let answer = client.try_send(large).await.map(|answer| answer.status.as_u16());
    let failed_at = Instant::now();
    let failed = || async { envoy.process().log().contains(FAILED).then_some(()) };
    until(WAIT, failed).await.unwrap_or_else(|_| panic!("{answer:?}\n{}", envoy.process().log_tail()));
    assert!(!matches!(answer, Ok(200..300)), "{answer:?}");
    // What is in flight ends, and its VM can no longer say so.
    drop(open);
    tokio::time::timeout(WAIT, held).await.expect("what was in flight ends").unwrap().ok();

    // Until its lease is up, what was in flight counts; no more are let in by a new VM.
    let (mut refused, mut statuses) = (0, Vec::new());
    let answer = loop {
        let answer = get("/pass/a").await;
        match answer.status.as_u16() {
            200 => break answer,
            429 => refused += 1,
            other => statuses.push(other),
        }
        assert!(failed_at.elapsed() < WAIT, "{answer:?} {statuses:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    eprintln!(
        "free again {:?} after its VM failed; refused {refused} times, and otherwise {statuses:?}",
        failed_at.elapsed()
    );
    assert!(refused > 0 && statuses.iter().all(|status| *status == 503), "{refused} {statuses:?}");
    // One before, the one that was held, and this one.
    assert_eq!(left(&answer), 97);
    assert_eq!(left(&get("/pass/other").await), 96);
}
