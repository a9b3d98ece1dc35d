//! What bridges share in a real Redis: an event that one of them has written, none of them writes again.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::{Answer, Bridge, Cluster, cluster, count, event};

/// A Redis of one test, gone with it.
struct Redis {
    child: Child,
    port: u16,
}

impl Redis {
    fn start(flags: &[&str]) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self::start_on(port, flags)
    }

    fn start_on(port: u16, flags: &[&str]) -> Self {
        let child = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .args(flags)
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("redis-server cannot be started ({error}), and this test needs it. Install it (Debian, Ubuntu: apt-get install redis-server).")
            });
        let redis = Self { child, port };
        let started = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(started.elapsed() < Duration::from_secs(10), "Redis does not listen on {port}");
            std::thread::sleep(Duration::from_millis(10));
        }
        redis
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    fn connection(&self) -> redis::Connection {
        redis::Client::open(self.url()).unwrap().get_connection().unwrap()
    }

    fn keys(&self) -> Vec<String> {
        redis::cmd("KEYS").arg("*").query(&mut self.connection()).unwrap()
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A bridge that shares what it remembers. How long Redis has to answer is far more than it takes, so that a busy
/// machine makes no difference.
async fn bridge(cluster: &Cluster, url: &str, flags: &[&str]) -> Bridge {
    let shared =
        ["--idempotency-entries", "1000", "--idempotency-redis", url, "--idempotency-redis-timeout", "5s"];
    Bridge::ready(cluster, &[&shared, flags].concat()).await
}

fn replayed(answer: &Answer) -> bool {
    assert_eq!(answer.status, 202, "{answer:?}");
    answer.header("idempotency-replayed") == Some("true")
}

#[tokio::test]
async fn what_one_bridge_has_written_another_does_not_write_again() {
    let (cluster, redis) = (cluster(), Redis::start(&[]));
    let one = bridge(&cluster, &redis.url(), &[]).await;
    let two = bridge(&cluster, &redis.url(), &[]).await;
    let first = one.client.event("t", event("secret-id", 10)).await;
    let again = two.client.event("t", event("secret-id", 10)).await;
    assert_eq!((replayed(&first), replayed(&again), &first.body), (false, true, &again.body));
    two.client.event("t", event("secret-id", 11)).await.assert_problem(422, "idempotency-conflict");
    // Another topic, so another event.
    assert!(!replayed(&two.client.event("u", event("secret-id", 10)).await));

    // A call with known ones, new ones and a twin is in order, and each is written once.
    let record = |id: &str| format!(r#"{{"topic":"t","event":{}}}"#, event(id, 10));
    let records = ["a", "secret-id", "b", "a", "c"].map(record).join(",");
    for (bridge, news) in [(&two, [true, false, true, false, true]), (&one, [false; 5])] {
        let results = bridge.client.records(format!(r#"{{"records":[{records}]}}"#)).await.json();
        let results = results["results"].as_array().unwrap();
        let found: Vec<_> = results.iter().map(|result| result.get("replayed").is_none()).collect();
        assert_eq!(found, news, "{results:?}");
        assert!(results.iter().all(|result| result["outcome"] == "acknowledged"), "{results:?}");
    }
    assert_eq!((count(&cluster, "t"), count(&cluster, "u")), (4, 1));

    // Nothing of an event is in Redis in clear, and all of it expires.
    let keys = redis.keys();
    assert_eq!(keys.len(), 5, "{keys:?}");
    for key in keys {
        let value: String = redis::cmd("GET").arg(&key).query(&mut redis.connection()).unwrap();
        let left: i64 = redis::cmd("PTTL").arg(&key).query(&mut redis.connection()).unwrap();
        assert!(
            key.starts_with("wicketgate:idempotency:1:")
                && !key.contains("secret")
                && !value.contains("secret")
        );
        assert!((1..=600_000).contains(&left), "{key}: {left}");
    }
}

#[tokio::test]
async fn of_those_that_come_to_several_bridges_at_once_one_is_written() {
    let (cluster, redis) = (cluster(), Redis::start(&[]));
    let one = bridge(&cluster, &redis.url(), &[]).await;
    let two = bridge(&cluster, &redis.url(), &[]).await;
    for bridge in [&one, &two] {
        assert_eq!(bridge.client.event("warm-up", event("0", 1)).await.status, 202);
    }
    cluster.broker_round_trip_time(1, Duration::from_millis(300)).unwrap();
    for id in ["1", "2", "3"] {
        let calls: Vec<_> = (0..20)
            .map(|number| {
                let client = if number % 2 == 0 { one.client.clone() } else { two.client.clone() };
                tokio::spawn(async move { client.event("t", event(id, 10)).await })
            })
            .collect();
        let mut answers = Vec::new();
        for call in calls {
            answers.push(call.await.unwrap());
        }
        assert_eq!(answers.iter().filter(|answer| !replayed(answer)).count(), 1);
        assert!(answers.iter().all(|answer| answer.body == answers[0].body));
    }
    assert_eq!(count(&cluster, "t"), 3);
}

#[tokio::test]
async fn what_came_to_another_end_may_be_tried_again_at_any_bridge() {
    let (cluster, redis) = (cluster(), Redis::start(&[]));
    let one = bridge(&cluster, &redis.url(), &[]).await;
    let two = bridge(&cluster, &redis.url(), &["--max-record-bytes", "100000"]).await;
    two.client.event("t", event("1", 200_000)).await.assert_problem(413, "too-large");
    assert!(!replayed(&one.client.event("t", event("1", 200_000)).await));
    // What another bridge began and never ended is nobody's to write until its claim expires, and then it is.
    let key = redis.keys().pop().unwrap();
    let value: String = redis::cmd("GET").arg(&key).query(&mut redis.connection()).unwrap();
    let content = value.split(' ').nth(1).unwrap();
    let () = redis::cmd("SET")
        .arg(&key)
        .arg(format!("p {content} another"))
        .arg("PX")
        .arg(60_000)
        .query(&mut redis.connection())
        .unwrap();
    let fresh = bridge(&cluster, &redis.url(), &["--delivery-timeout", "1s"]).await;
    fresh.client.event("t", event("1", 200_000)).await.assert_problem(504, "outcome-unknown");
    let () = redis::cmd("PEXPIRE").arg(&key).arg(1).query(&mut redis.connection()).unwrap();
    while redis.keys().contains(&key) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(count(&cluster, "t"), 1);
    assert!(!replayed(&fresh.client.event("t", event("1", 200_000)).await));
    assert_eq!(count(&cluster, "t"), 2);
}

#[tokio::test]
async fn the_window_ends_for_all() {
    let (cluster, redis) = (cluster(), Redis::start(&[]));
    let one = bridge(&cluster, &redis.url(), &["--idempotency-window", "200ms"]).await;
    let two = bridge(&cluster, &redis.url(), &["--idempotency-window", "200ms"]).await;
    assert!(!replayed(&one.client.event("t", event("1", 10)).await));
    while !redis.keys().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(!replayed(&two.client.event("t", event("1", 10)).await));
    assert_eq!(count(&cluster, "t"), 2);
}

/// Redis dies and comes back. Nobody waits for it meanwhile, and events are written or not as it is set.
#[tokio::test]
async fn while_redis_is_gone_events_are_let_through_or_refused_as_set() {
    for (on_error, allowed) in [("allow", true), ("deny", false)] {
        let (cluster, mut redis) = (cluster(), Redis::start(&[]));
        let bridge = bridge(&cluster, &redis.url(), &["--idempotency-on-error", on_error]).await;
        assert!(!replayed(&bridge.client.event("t", event("before", 10)).await));
        assert_eq!(bridge.client.metric("kafka_bridge_idempotency_redis_up").await, 1);
        redis.kill();
        for number in 0..20 {
            let id = format!("during-{number}");
            let answer = bridge.client.event("t", event(&id, 10)).await;
            if allowed {
                assert!(!replayed(&answer));
                // By what this bridge alone knows.
                assert!(replayed(&bridge.client.event("t", event(&id, 10)).await));
            } else {
                answer.assert_problem(503, "unavailable");
                assert!(answer.header("retry-after").is_some());
            }
        }
        // What this bridge knows itself is no question.
        assert!(replayed(&bridge.client.event("t", event("before", 10)).await));
        assert_eq!(count(&cluster, "t"), if allowed { 21 } else { 1 });
        assert_eq!(bridge.client.metric("kafka_bridge_idempotency_redis_up").await, 0);
        assert_eq!(bridge.client.metric("kafka_bridge_idempotency_unshared_total").await, 20);

        let redis = Redis::start_on(redis.port, &[]);
        let started = Instant::now();
        for number in 0.. {
            assert!(started.elapsed() < Duration::from_secs(20), "Redis is back, and not used");
            let answer = bridge.client.event("t", event(&format!("after-{number}"), 10)).await;
            if answer.status == 202 && !redis.keys().is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(bridge.client.metric("kafka_bridge_idempotency_redis_up").await, 1);
    }
}

/// A Redis that takes connections and never answers holds nobody up for longer than it is allowed to, and then nobody.
#[tokio::test]
async fn a_redis_that_hangs_is_not_waited_for() {
    let cluster = cluster();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", silent.local_addr().unwrap());
    let flags =
        ["--idempotency-entries", "1000", "--idempotency-redis", &url, "--idempotency-on-error", "allow"];
    let bridge =
        Bridge::ready(&cluster, &[&flags[..], &["--idempotency-redis-timeout", "200ms"]].concat()).await;
    let started = Instant::now();
    for number in 0..50 {
        assert!(!replayed(&bridge.client.event("t", event(&number.to_string(), 10)).await));
    }
    // Had each waited for the claim and once more for its receipt, that would have been 20 s.
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    assert_eq!(count(&cluster, "t"), 50);
}

#[tokio::test]
async fn redis_may_ask_for_a_password() {
    let (cluster, redis) = (cluster(), Redis::start(&["--requirepass", "hunter2-hunter2"]));
    let path = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("redis-password-{}", std::process::id()));
    std::fs::write(&path, "hunter2-hunter2\n").unwrap();
    let file = ["--idempotency-redis-password-file", path.to_str().unwrap()];
    let one = bridge(&cluster, &redis.url(), &file).await;
    let two = bridge(&cluster, &redis.url(), &file).await;
    let without = bridge(&cluster, &redis.url(), &[]).await;
    std::fs::remove_file(&path).unwrap();
    assert!(!replayed(&one.client.event("t", event("1", 10)).await));
    assert!(replayed(&two.client.event("t", event("1", 10)).await));
    without.client.event("t", event("2", 10)).await.assert_problem(503, "unavailable");
}
