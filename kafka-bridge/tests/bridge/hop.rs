//! Who is let in.

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::common::process::Process;
use crate::common::{Answer, Bridge, EVENT, RECORDS, VERSION, cluster, count, event};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use wicketgate_envelope::signature::{SIGNATURE_HEADER, Signature, Signed};

pub const TOKEN: &str = "token-0123456789-0123456789-0123456789";
pub const SECRET: &str = "secret-0123456789-0123456789-0123456789";
const NEXT_SECRET: &str = "next-secret-0123456789-0123456789-0123456789";

/// A file that is there as long as this value.
pub struct Secrets(PathBuf);

impl Secrets {
    pub fn new(name: &str, text: &str) -> Self {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Secrets {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

pub fn now() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

pub fn sign(secret: &str, timestamp: u64, nonce: &str, path: &str, body: &str) -> String {
    let body_sha256 = Sha256::digest(body).into();
    let signed = Signed { timestamp, nonce, method: "POST", path, body_sha256 };
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    let mac = mac.chain_update(signed.to_string().as_bytes()).finalize().into_bytes().into();
    Signature { timestamp, nonce, mac }.to_string()
}

pub async fn post(bridge: &Bridge, path: &str, proof: &[(&str, &str)], body: &str) -> Answer {
    let content_type = if path == "/v1/records" { RECORDS } else { EVENT };
    let headers: Vec<_> =
        std::iter::once(("content-type", content_type)).chain(proof.iter().copied()).collect();
    bridge.client.send("POST", path, &headers, body.to_owned()).await
}

const PATHS: [&str; 2] = ["/v1/records", "/v1/topics/t/events"];

fn body(path: &str, id: &str) -> String {
    if path == "/v1/records" {
        format!(r#"{{"records":[{{"topic":"t","event":{}}}]}}"#, event(id, 10))
    } else {
        event(id, 10)
    }
}

#[tokio::test]
async fn a_token_opens_all_that_writes_and_nothing_else_does() {
    let cluster = cluster();
    let tokens = Secrets::new("tokens", &format!("{TOKEN}\n{TOKEN}-next\n"));
    let bridge = Bridge::ready(&cluster, &["--hop-token-file", tokens.path()]).await;
    let mut refused = None;
    for path in PATHS {
        let body = body(path, "1");
        let signature = sign(TOKEN, now(), "0123456789abcdef", path, &body);
        for proof in [
            &[][..],
            &[("authorization", "Bearer wrong")],
            &[("authorization", TOKEN)],
            &[("authorization", "Basic dXNlcjpwYXNz")],
            &[("authorization", &format!("Bearer {TOKEN}")), ("authorization", "Bearer wrong")],
            &[(SIGNATURE_HEADER, &signature)],
        ] {
            let answer = post(&bridge, path, proof, &body).await;
            let problem = answer.assert_problem(401, "unauthenticated");
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"), "{proof:?}");
            // Whatever was wrong, the answer is the same.
            assert_eq!(*refused.get_or_insert(problem.clone()), problem, "{proof:?}");
        }
        for token in [TOKEN, &format!("{TOKEN}-next")] {
            let answer = post(&bridge, path, &[("authorization", &format!("Bearer {token}"))], &body).await;
            assert_eq!(answer.status, 202, "{answer:?}");
        }
        // Not even what is wrong with the rest is told without a proof.
        let answer = bridge.client.send("POST", path, &[("content-type", "text/plain")], "{").await;
        answer.assert_problem(401, "unauthenticated");
    }
    for path in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(bridge.client.get(path).await.status, 200, "{path}");
    }
    assert_eq!(count(&cluster, "t"), 4);
    assert_eq!(bridge.client.metric(r#"kafka_bridge_hop_refusals_total{reason="token"}"#).await, 2);
    assert_eq!(bridge.client.metric(r#"kafka_bridge_hop_refusals_total{reason="missing"}"#).await, 12);
}

#[tokio::test]
async fn a_signature_opens_for_one_call() {
    let cluster = cluster();
    let secrets = Secrets::new("secrets", &format!("{SECRET}\n\n{NEXT_SECRET}\n"));
    let bridge = Bridge::ready(&cluster, &["--hop-secret-file", secrets.path()]).await;
    for (index, path) in PATHS.into_iter().enumerate() {
        let sent = body(path, "1");
        let nonce = |n: usize| format!("nonce-0123456789-{index}-{n}");
        for (n, secret) in [SECRET, NEXT_SECRET].into_iter().enumerate() {
            let good = sign(secret, now(), &nonce(n), path, &sent);
            assert_eq!(post(&bridge, path, &[(SIGNATURE_HEADER, &good)], &sent).await.status, 202);
            // Again, as it was.
            let answer = post(&bridge, path, &[(SIGNATURE_HEADER, &good)], &sent).await;
            answer.assert_problem(401, "unauthenticated");
            assert_eq!(answer.header("www-authenticate"), Some("Wicketgate-Signature"));
        }
        let other_path = PATHS[1 - index];
        for (n, bad) in [
            sign("another-secret-0123456789-0123456789", now(), &nonce(2), path, &sent),
            sign(SECRET, now(), &nonce(3), path, &body(path, "2")),
            sign(SECRET, now(), &nonce(4), other_path, &sent),
            sign(SECRET, now() - 61_000, &nonce(5), path, &sent),
            sign(SECRET, now() + 62_000, &nonce(6), path, &sent),
            sign(SECRET, now(), &nonce(7), path, &sent).replace("n=", "n=x"),
            "t=1".to_owned(),
        ]
        .into_iter()
        .enumerate()
        {
            let answer = post(&bridge, path, &[(SIGNATURE_HEADER, &bad)], &sent).await;
            assert_eq!(answer.status, 401, "{path} {n}");
        }
        let answer = post(&bridge, path, &[("authorization", &format!("Bearer {SECRET}"))], &sent).await;
        answer.assert_problem(401, "unauthenticated");
    }
    // Attributes in headers are not covered.
    let signature = sign(SECRET, now(), "nonce-0123456789-binary", PATHS[1], "data");
    let headers = [
        (SIGNATURE_HEADER, signature.as_str()),
        ("ce-specversion", "1.0"),
        ("ce-id", "1"),
        ("ce-source", "/s"),
        ("ce-type", "t"),
    ];
    let answer = bridge.client.send("POST", PATHS[1], &headers, "data").await;
    let problem = answer.assert_problem(403, "forbidden");
    assert!(problem["detail"].as_str().unwrap().contains("structured mode, or a token"), "{problem}");
    assert_eq!(count(&cluster, "t"), 4);
    for (reason, times) in [("replayed", 4), ("signature", 8), ("time", 4), ("malformed", 2), ("missing", 2)]
    {
        let name = format!(r#"kafka_bridge_hop_refusals_total{{reason="{reason}"}}"#);
        assert_eq!(bridge.client.metric(&name).await, times, "{reason}");
    }
}

#[tokio::test]
async fn concurrent_copies_of_a_signed_call_are_let_in_once() {
    let cluster = cluster();
    let secrets = Secrets::new("copies", SECRET);
    let bridge = Bridge::ready(&cluster, &["--hop-secret-file", secrets.path()]).await;
    let sent = event("1", 100_000);
    let path = "/v1/topics/t/events";
    let signature = sign(SECRET, now(), "0123456789abcdef", path, &sent);
    let calls: Vec<_> = (0..20)
        .map(|_| {
            let (client, sent, signature) = (bridge.client.clone(), sent.clone(), signature.clone());
            tokio::spawn(async move {
                let headers = [("content-type", EVENT), (SIGNATURE_HEADER, signature.as_str())];
                client.send("POST", path, &headers, sent).await.status.as_u16()
            })
        })
        .collect();
    let mut statuses = Vec::new();
    for call in calls {
        statuses.push(call.await.unwrap());
    }
    statuses.sort_unstable();
    assert_eq!((statuses[0], &statuses[1..]), (202, &[401; 19][..]));
    assert_eq!(count(&cluster, "t"), 1);
}

#[tokio::test]
async fn what_cannot_be_remembered_is_not_let_in() {
    let cluster = cluster();
    let secrets = Secrets::new("full", SECRET);
    let tokens = Secrets::new("full-token", TOKEN);
    let flags =
        ["--hop-secret-file", secrets.path(), "--hop-token-file", tokens.path(), "--hop-replay-memory", "1"];
    let bridge = Bridge::ready(&cluster, &flags).await;
    let path = "/v1/topics/t/events";
    let (sent, made) = (event("1", 10), now());
    for (nonce, status) in [("0123456789abcdef", 202), ("fedcba9876543210", 503), ("0123456789abcdef", 401)] {
        let signature = sign(SECRET, made, nonce, path, &sent);
        let answer = post(&bridge, path, &[(SIGNATURE_HEADER, &signature)], &sent).await;
        assert_eq!(answer.status, status, "{nonce}: {answer:?}");
        assert_eq!(answer.header("retry-after").is_some(), status == 503);
    }
    let answer = post(&bridge, path, &[("authorization", &format!("Bearer {TOKEN}"))], &sent).await;
    assert_eq!(answer.status, 202);
    assert_eq!(count(&cluster, "t"), 2);
    tokio::time::timeout(Duration::from_secs(5), bridge.stop()).await.unwrap();
}

#[tokio::test]
async fn topics_that_are_not_allowed_are_not_written() {
    let cluster = cluster();
    let bridge = Bridge::ready(&cluster, &["--allowed-topics", "orders,shop.*"]).await;
    for (topic, allowed) in [("orders", true), ("shop.a", true), ("orders2", false), ("shop", false)] {
        let sent = event("1", 10);
        let answer = bridge.client.event(topic, sent.clone()).await;
        let hop =
            bridge.client.records(format!(r#"{{"records":[{{"topic":"{topic}","event":{sent}}}]}}"#)).await;
        if allowed {
            assert_eq!((answer.status.as_u16(), hop.status.as_u16()), (202, 202), "{topic}");
        } else {
            answer.assert_problem(403, "forbidden");
            assert_eq!((hop.status.as_u16(), &hop.json()["results"][0]["outcome"]), (502, &"refused".into()));
        }
        assert_eq!(count(&cluster, topic), if allowed { 2 } else { 0 }, "{topic}");
    }
    // In a call with others, those are written.
    let records =
        ["orders", "secret"].map(|topic| format!(r#"{{"topic":"{topic}","event":{}}}"#, event("2", 1)));
    let answer = bridge.client.records(format!(r#"{{"records":[{}]}}"#, records.join(","))).await;
    assert_eq!(answer.status, 207, "{answer:?}");
    assert_eq!(count(&cluster, "secret"), 0);
}

/// Whoever runs the bridge reads in its log what each refusal is about and what mends it, in one line however many calls
/// are refused, and nothing of any secret.
#[tokio::test]
async fn the_log_says_why_a_call_is_refused_and_what_mends_it() {
    let secrets = Secrets::new("logged-secrets", SECRET);
    let bridge = Process::start(&["--embedded-broker", "--hop-secret-file", secrets.path()]);
    bridge.client.until_ready(true, Duration::from_secs(10)).await;
    let path = PATHS[0];
    let sent = body(path, "1");
    let good = sign(SECRET, now(), "nonce-0123456789-log", path, &sent);
    let answer = bridge
        .client
        .send("POST", path, &[("content-type", RECORDS), (SIGNATURE_HEADER, &good)], sent.clone())
        .await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let other = "another-secret-0123456789-0123456789";
    for (reason, signature, remedy) in [
        ("missing", String::new(), "bridge.secret"),
        ("malformed", "t=1".to_owned(), "of one release"),
        ("time", sign(SECRET, now() - 61_000, "nonce-0123456789-time", path, &sent), "clocks"),
        ("signature", sign(other, now(), "nonce-0123456789-other", path, &sent), "--hop-secret-file"),
        ("replayed", good, "sends a call again"),
    ] {
        for attempt in 0..50 {
            let id = format!("{reason}-{attempt}");
            let mut headers = vec![("content-type", RECORDS), ("x-request-id", id.as_str())];
            headers.extend((!signature.is_empty()).then_some((SIGNATURE_HEADER, signature.as_str())));
            let answer = bridge.client.send("POST", path, &headers, sent.clone()).await;
            answer.assert_problem(401, "unauthenticated");
        }
        let line = bridge.logged(&format!(r#""reason":"{reason}""#)).await;
        assert_eq!(
            (&line["level"], &line["fields"]["request_id"]),
            (&"WARN".into(), &format!("{reason}-0").into())
        );
        assert!(line["fields"]["remedy"].as_str().unwrap().contains(remedy), "{line}");
    }
    // A call that is let in and cannot be read comes from another release.
    let unreadable = r#"{"records":[],"later":1}"#;
    let signature = sign(SECRET, now(), "nonce-0123456789-later", path, unreadable);
    let headers = [("content-type", RECORDS), (SIGNATURE_HEADER, &signature)];
    bridge.client.send("POST", path, &headers, unreadable).await.assert_problem(400, "bad-request");
    let line = bridge.logged("have to be of one release, and no proxy").await;
    assert_eq!((&line["fields"]["status"], &line["fields"]["version"]), (&400.into(), &VERSION.into()));
    let log = bridge.log();
    let lines = log.lines().filter(|line| line.contains("is refused for want of a good proof")).count();
    assert!((5..100).contains(&lines), "{lines} lines for 250 refusals:\n{log}");
    assert!(!log.contains(SECRET) && !log.contains(other), "{log}");
}
