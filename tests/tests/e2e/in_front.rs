//! What Envoy makes of requests before the filter sees them, and what it takes of the machine for them: as `explain`
//! has it, and as the rendered file says.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};
use wicketgate::explain::envoy::Envoy as InFront;
use wicketgate::explain::{ExplainedRecord, Explanation, Options, explain};
use wicketgate::message::Message;
use wicketgate::render::Underscores;
use wicketgate_policy::config::Config;
use wicketgate_policy::envoy::{JOINED, MAX_FIELDS, METHODS, REPLACED, TAKEN_OUT};
use wicketgate_tests::envoy::Envoy;
use wicketgate_tests::gateway::{Gateway, KEY, MAX_BODY_BYTES};
use wicketgate_tests::http_client::{Client, full, open};
use wicketgate_tests::ports::free_port;
use wicketgate_tests::raw_http;
use wicketgate_tests::topic::Record;
use wicketgate_tests::upstream::Upstream;
use wicketgate_tests::wait::until;

use crate::example::read;
use crate::explained::assert_recorded;
use crate::rig::{Rig, document};

/// Headers that Envoy treats like any other.
const PLAIN: [&str; 12] = [
    "accept-language",
    "cookie",
    "forwarded",
    "x-api-keys",
    "x-b3-traceid",
    "x-device",
    "x-envoy-of-our-own",
    "x-github-event",
    "x-http-method-override",
    "x-original-url",
    "x-real-ip",
    "x-requested-with",
];

/// What is asked about with a value that means something to somebody else.
const NOT_HERE: [&str; 6] = ["authorization", "connection", "content-encoding", "cookie", "expect", "host"];

fn forwarding() -> Value {
    let names: BTreeSet<&str> =
        JOINED.iter().chain(&REPLACED).chain(&TAKEN_OUT).chain(&PLAIN).copied().collect();
    // Two more are the record's own and the connection's.
    let forwarded: Vec<_> = names
        .into_iter()
        .filter(|name| !NOT_HERE.contains(name) && !["content-type", "keep-alive"].contains(name))
        .map(|name| json!({"name": name}))
        .collect();
    document(json!([{
        "name": "heads",
        "match": {"methods": METHODS[..].iter().filter(|method| **method != "CONNECT").collect::<Vec<_>>(), "path": "/heads"},
        "authentication": {"any_of": ["keys"]},
        "authorization": {"authenticated": true},
        "action": "produce",
        "event": {"type": "com.example.head"},
        "kafka": {"topic": "heads", "forward_headers": forwarded},
    }]))
}

fn explained(rig: &Rig, request: &str) -> Explanation {
    let config = Config::from_json(rig.document.as_bytes()).unwrap();
    let envoy = InFront { client: SocketAddr::from(([127, 0, 0, 1], 0)).ip(), ..InFront::default() };
    let options = Options { envoy, ..Options::default() };
    explain(config, Message::parse(request.as_bytes()).unwrap(), &options)
}

/// The address of the gateway, which takes the place of the caller's where that is on the same machine, and what is
/// another each time, are left out of the comparison.
fn assert_heads(explained: &mut ExplainedRecord, mut record: Record) {
    let before_last = |value: &[u8]| value.rsplitn(2, |byte| *byte == b',').nth(1).map(<[u8]>::to_vec);
    let of_record: Vec<_> = record
        .headers
        .iter()
        .filter(|(name, _)| name == "x-forwarded-for")
        .map(|(_, value)| before_last(value.as_deref().unwrap()))
        .collect();
    let of_explained: Vec<_> = explained
        .headers
        .iter()
        .filter(|(name, _)| name == "x-forwarded-for")
        .map(|(_, value)| before_last(&value.0))
        .collect();
    assert_eq!(of_record, of_explained);
    let passing = |name: &str| ["x-forwarded-for", "x-request-id"].contains(&name);
    record.headers.retain(|(name, _)| !passing(name));
    explained.headers.retain(|(name, _)| !passing(name));
    assert_recorded(explained, &record);
}

#[tokio::test]
async fn heads_reach_the_filter_as_explain_has_them() {
    let rig = Rig::start(forwarding(), &["heads"]).await;
    let mut requests: Vec<String> = Vec::new();
    let mut add = |method: &str, version: &str, lines: &str| {
        requests.push(format!("{method} /heads HTTP/{version}\r\nHost: gateway\r\nX-Api-Key: {KEY}\r\nConnection: close\r\n{lines}\r\n"));
    };
    for name in
        JOINED.iter().chain(&REPLACED).chain(&TAKEN_OUT).chain(&PLAIN).filter(|name| !NOT_HERE.contains(name))
    {
        add("POST", "1.1", &format!("{name}: 12\r\n{name}: 34\r\n"));
        add("POST", "1.1", &format!("{name}:\r\nX-Device: a\r\n{}: 3\r\n", name.to_uppercase()));
    }
    for method in
        METHODS.iter().chain(&["QUERY", "PATCHY"]).filter(|method| !["CONNECT", "HEAD"].contains(method))
    {
        add(method, "1.1", "");
    }
    add("POST", "1.0", "");
    for lines in [
        "X_Y: 1\r\n",
        "Upgrade: h2c\r\n",
        "Upgrade: foo/2\r\n",
        "TE: gzip\r\n",
        "Content-Length: 0\r\n",
        "Host: other\r\n",
    ] {
        add("POST", "1.1", lines);
    }
    // There are three already, and Envoy counts what it makes of them.
    for more in [MAX_FIELDS - 3, MAX_FIELDS - 2] {
        add("POST", "1.1", &"X-Device: a\r\n".repeat(more));
    }
    for size in [60_000, 62_000] {
        add("POST", "1.1", &format!("X-Device: {}\r\n", "a".repeat(size)));
    }
    let mut wanted = Vec::new();
    for request in &requests {
        let explained = explained(&rig, request);
        let answer = raw_http::exchange(rig.gateway.envoy.address(), request.as_str()).await;
        let status = explained.reply.as_ref().map_or(202, |reply| reply.status);
        let shown = String::from_utf8_lossy(&answer);
        assert_eq!(raw_http::status(&answer), status, "{request:.300}\n{explained}\n{shown}");
        assert_eq!(
            explained.decision == "envoy",
            !shown.contains("urn:wicketgate") && status != 202,
            "{request:.300}\n{shown}"
        );
        wanted.extend(explained.records);
    }
    let records = rig.topic("heads").records().await;
    assert_eq!(records.len(), wanted.len());
    wanted.iter_mut().zip(records).for_each(|(wanted, record)| assert_heads(wanted, record));
    assert!(rig.gateway.upstream.seen().is_empty());
}

/// The example asks for the first of several user agents; Envoy makes one of them.
#[tokio::test]
async fn two_user_agents_are_one_and_explain_says_so() {
    let document = serde_json::from_str(&read("clickstream.json")).unwrap();
    let rig = Rig::start(document, &["clicks"]).await;
    let request = include_str!("../../fixtures/clickstream-two-user-agents.http");
    let request = request.replacen("Host:", "Connection: close\r\nHost:", 1);
    let explained = explained(&rig, &request);
    let answer = raw_http::exchange(rig.gateway.envoy.address(), request).await;
    assert_eq!(raw_http::status(&answer), 202, "{}", String::from_utf8_lossy(&answer));
    let record = rig.topic("clicks").record().await;
    assert_eq!(record.header("user-agent"), [b"first/1.0,second/2.0"]);
    assert_recorded(&explained.records[0], &record);
    let (_, warnings) = Config::with_warnings(rig.document.as_bytes()).unwrap();
    assert!(warnings.iter().all(|warning| !warning.text.contains("joins")), "{warnings:?}");
}

/// A service behind an Envoy with these options, before which everything passes.
async fn passing(change: impl FnOnce(&mut wicketgate::render::EnvoyOptions)) -> (Envoy, Upstream) {
    let upstream = Upstream::start();
    let nowhere = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let listen = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let mut options = Envoy::options(listen, nowhere.into(), upstream.address());
    change(&mut options);
    let mut document = document(json!([{
        "name": "guarded",
        "match": {"methods": ["GET"], "path": "/guarded"},
        "authentication": {"any_of": ["keys"]},
        "authorization": {"authenticated": true},
        "action": "pass",
    }]));
    document["unmatched"] = "pass".into();
    let envoy = Envoy::start_with(&document.to_string(), &options).await;
    (envoy, upstream)
}

async fn status_of(envoy: &Envoy, version: &str, lines: &str) -> u16 {
    let request = format!("GET /else HTTP/{version}\r\nHost: h\r\nConnection: close\r\n{lines}\r\n");
    raw_http::status(&raw_http::exchange(envoy.address(), request).await)
}

#[tokio::test]
async fn what_envoy_takes_is_what_its_options_say() {
    let (strict, upstream) = passing(|_| ()).await;
    assert_eq!(status_of(&strict, "1.0", "").await, 426);
    assert_eq!(status_of(&strict, "1.1", "x_y: 1\r\n").await, 400);
    assert!(upstream.seen().is_empty());
    for upgrade in ["h2c", "TLS/1.2", "foo/2, bar", "websocket"] {
        let request = format!(
            "GET /else HTTP/1.1\r\nHost: h\r\nConnection: upgrade, close\r\nUpgrade: {upgrade}\r\n\r\n"
        );
        assert_eq!(raw_http::status(&raw_http::exchange(strict.address(), request).await), 200, "{upgrade}");
    }
    assert!(upstream.seen().iter().all(|seen| !seen.headers.contains_key("upgrade")));

    let (lax, upstream) = passing(|options| {
        options.underscores = Underscores::Allow;
        options.http10 = true;
        options.websocket = true;
    })
    .await;
    assert_eq!(status_of(&lax, "1.0", "").await, 200);
    assert_eq!(status_of(&lax, "1.1", "x_y: 1\r\n").await, 200);
    assert!(upstream.seen()[1].headers.contains_key("x_y"));
}

const METHODS_TRIED: [&str; 4] = ["GET", "POST", "DELETE", "PROPFIND"];

/// A path that a route guards is never reached unguarded, however it is spelled and by whatever method.
#[tokio::test]
async fn no_spelling_and_no_method_gets_past_a_guarded_route() {
    let spellings = include_str!("../../../policy/src/route/guard/spellings.txt");
    let neighbours = include_str!("../../../policy/src/route/guard/neighbours.txt");
    let guard = |path: &str| {
        json!({
            "name": "guard",
            "match": {"methods": ["GET", "POST"], "path": path},
            "authentication": {"any_of": ["keys"]},
            "authorization": {"authenticated": true},
            "action": "pass",
        })
    };
    let open = |path: &str| {
        json!({
            "name": path,
            "match": {"methods": ["GET", "POST", "DELETE", "PROPFIND"], "path": path},
            "authentication": {"any_of": ["anonymous"]},
            "action": "pass",
        })
    };
    let mut routes = vec![guard("/admin/{x}")];
    routes.extend(["/{a}", "/{a}/{b}", "/{a}/{b}/{c}", "/{a}/{b}/{c}/{d}"].map(open));
    let mut alone = document(json!([guard("/admin/{x}")]));
    alone["unmatched"] = "pass".into();
    for document in [document(routes.into()), alone] {
        let nowhere = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let gateway = Gateway::start_before_bridge(&document, nowhere).await;
        let address = gateway.envoy.address();
        let all = spellings.lines().flat_map(|target| METHODS_TRIED.map(|method| (method, target)));
        // Envoy takes a second to close a connection, so they are asked at once.
        let asked: Vec<_> = all
            .map(|(method, target)| {
                let request = format!(
                    "{method} {target} HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
                );
                (method, target, tokio::spawn(raw_http::exchange(address, request)))
            })
            .collect();
        for (method, target, answer) in asked {
            let status = raw_http::status(&answer.await.unwrap());
            assert!([400, 401, 404, 405].contains(&status), "{method} {target}: {status}");
        }
        let seen = gateway.upstream.seen();
        assert!(seen.is_empty(), "{seen:?}");
        for target in neighbours.lines() {
            let request = format!(
                "DELETE {target} HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\nx-api-key: {KEY}\r\nx-original-url: /admin/x\r\n\r\n"
            );
            let answer = raw_http::exchange(address, request).await;
            assert_eq!(raw_http::status(&answer), 200, "{target}");
        }
        let seen = gateway.upstream.seen();
        assert_eq!(seen.len(), neighbours.lines().count());
        for header in ["x-api-key", "x-original-url"] {
            assert!(seen.iter().all(|seen| !seen.headers.contains_key(header)), "{header}");
        }
    }
}

/// Bodies that nobody finishes, from callers that nobody knows.
#[tokio::test]
async fn what_callers_fill_is_bounded_and_given_back() {
    const MAX_HEAP: u64 = 300 << 20;
    let upstream = Upstream::start();
    let nowhere = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let listen = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let options = wicketgate::render::EnvoyOptions {
        max_heap: MAX_HEAP,
        max_connections: 60,
        ..Envoy::options(listen, nowhere.into(), upstream.address())
    };
    let document = document(json!([
        {
            "name": "open",
            "match": {"methods": ["POST"], "path": "/open"},
            "authentication": {"any_of": ["anonymous"]},
            "action": "produce",
            "event": {"type": "com.example.open"},
            "kafka": {"topic": "open"},
        },
        {
            "name": "normal",
            "match": {"methods": ["GET"], "path": "/normal"},
            "authentication": {"any_of": ["keys"]},
            "authorization": {"authenticated": true},
            "action": "pass",
        },
    ]));
    let envoy = Envoy::start_with(&document.to_string(), &options).await;
    let idle = envoy.process().memory();
    let heap = |stats: &std::collections::BTreeMap<String, u64>| stats["server.memory_allocated"];

    // Three times what there is: 16 connections with 60 MiB each, and 20 with one.
    let mut senders = Vec::new();
    let mut most = 0;
    for connection in 0..36 {
        let (client, streams) = match connection {
            ..16 => (Client::http2(envoy.address()), 64),
            _ => (Client::http1(envoy.address()), 1),
        };
        for _ in 0..streams {
            let (sender, receiver) = tokio::sync::mpsc::channel(64);
            let request = client.request(Method::POST, "/open").body(open(receiver)).unwrap();
            let client = client.clone();
            tokio::spawn(async move { client.try_send(request).await });
            senders.push(tokio::spawn(async move {
                for _ in 0..15 {
                    if sender.send(Bytes::from(vec![0; MAX_BODY_BYTES / 16])).await.is_err() {
                        return;
                    }
                }
                // The body stays open, and what came of it with it.
                sender.closed().await;
            }));
        }
        most = most.max(heap(&envoy.stats().await));
    }
    for _ in 0..40 {
        most = most.max(heap(&envoy.stats().await));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let grown = envoy.process().memory().saturating_sub(idle);
    eprintln!("idle {idle}, grown by {grown}, heap at most {most}, bound {MAX_HEAP}");
    assert!(most < MAX_HEAP, "heap of {most} bytes");
    let stats = envoy.stats().await;
    let resets = stats["envoy.overload_actions.reset_high_memory_stream.count"];
    assert!(resets > 0, "no stream was reset");
    senders.iter().for_each(tokio::task::JoinHandle::abort);
    drop(senders);

    // Normal service returns.
    let served = until(Duration::from_secs(30), || async {
        let request = Client::http1(envoy.address()).request(Method::GET, "/normal").header("x-api-key", KEY);
        let answer = Client::http1(envoy.address()).try_send(request.body(full("")).unwrap()).await.ok()?;
        (answer.status == 200).then_some(())
    });
    assert!(served.await.is_ok(), "{}", envoy.process().log_tail());
    envoy.assert_unharmed();
}
