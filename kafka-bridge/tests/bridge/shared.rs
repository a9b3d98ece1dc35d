//! What bridges share in a real Redis: an event that one of them has written, none of them writes again.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::certificates::Authority;
use crate::common::process::command;
use crate::common::{Answer, Bridge, Cluster, cluster, count, event, read, until};

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A Redis of one test, gone with it.
pub(crate) struct Redis {
    child: Child,
    port: u16,
}

impl Redis {
    pub(crate) fn start(flags: &[&str]) -> Self {
        let port = free_port();
        Self::start_on(port, flags)
    }

    pub(crate) fn start_on(port: u16, flags: &[&str]) -> Self {
        Self::listening_on(port, &[&["--port", &port.to_string()], flags].concat())
    }

    /// With these flags, by which it listens on this port.
    pub(crate) fn listening_on(port: u16, flags: &[&str]) -> Self {
        let own = ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
        Self::run(port, &[&own[..], flags].concat())
    }

    /// A Sentinel with this file of settings, which it rewrites.
    pub(crate) fn sentinel(port: u16, file: &str) -> Self {
        Self::run(port, &[file, "--sentinel"])
    }

    fn run(port: u16, arguments: &[&str]) -> Self {
        let child = Command::new("redis-server")
            .args(arguments)
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

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn connection(&self) -> redis::Connection {
        redis::Client::open(self.url()).unwrap().get_connection().unwrap()
    }

    pub(crate) fn command(&self, words: &[&str]) -> redis::Value {
        let (command, arguments) = words.split_first().unwrap();
        redis::cmd(command).arg(arguments).query(&mut self.connection()).unwrap()
    }

    /// Has all that write wait, until `CLIENT UNPAUSE`.
    fn pause_writes(&self) {
        self.command(&["CLIENT", "PAUSE", "60000", "WRITE"]);
    }

    /// Waits until so many clients wait for an answer.
    async fn until_waiting(&self, clients: usize) {
        until(async || {
            let list: String = redis::cmd("CLIENT").arg("LIST").query(&mut self.connection()).unwrap();
            list.lines().filter(|client| client.contains(" flags=b ")).count() == clients
        })
        .await;
    }

    fn keys(&self) -> Vec<String> {
        redis::cmd("KEYS").arg("*").query(&mut self.connection()).unwrap()
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Stops the process where it is, or lets it go on.
    pub(crate) fn freeze(&self, stop: bool) {
        let signal = if stop { "-STOP" } else { "-CONT" };
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    pub(crate) fn kill(&mut self) {
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
async fn what_may_yet_be_written_by_one_bridge_is_not_written_by_another() {
    let (cluster, redis) = (cluster(), Redis::start(&[]));
    let flags = ["--delivery-timeout", "500ms"];
    let one = bridge(&cluster, &redis.url(), &flags).await;
    let two = bridge(&cluster, &redis.url(), &flags).await;
    assert_eq!(one.client.event("t", event("before", 10)).await.status, 202);
    // Longer than a claim lasts whose bridge has said nothing more.
    cluster.broker_round_trip_time(1, Duration::from_secs(6)).unwrap();
    one.client.event("t", event("late", 10)).await.assert_problem(504, "outcome-unknown");
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(4) {
        two.client.event("t", event("late", 10)).await.assert_problem(504, "outcome-unknown");
    }
    cluster.broker_round_trip_time(1, Duration::ZERO).unwrap();
    until(async || {
        let answer = two.client.event("t", event("late", 10)).await;
        answer.status == 202 && replayed(&answer)
    })
    .await;
    assert_eq!(count(&cluster, "t"), 2);
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

/// A claim that lasts longer than this test, so that nothing ends by itself.
const PATIENT: [&str; 2] = ["--delivery-timeout", "120s"];

#[tokio::test]
async fn a_caller_that_leaves_while_redis_is_asked_leaves_no_claim_behind() {
    let (cluster, redis) = (cluster(), Redis::start(&[]));
    let one = bridge(&cluster, &redis.url(), &PATIENT).await;
    let two = bridge(&cluster, &redis.url(), &PATIENT).await;
    // Each is connected, and done with its checks.
    for (bridge, id) in [(&one, "0"), (&two, "1")] {
        assert!(!replayed(&bridge.client.event("t", event(id, 10)).await));
    }
    let before = redis.keys().len();
    redis.pause_writes();
    let client = one.client.clone();
    let leaving = tokio::spawn(async move { client.event("t", event("2", 10)).await });
    redis.until_waiting(1).await;
    leaving.abort();
    assert!(leaving.await.unwrap_err().is_cancelled());
    redis.command(&["CLIENT", "UNPAUSE"]);
    assert!(!replayed(&two.client.event("t", event("2", 10)).await));
    assert_eq!((redis.keys().len(), count(&cluster, "t")), (before + 1, 3));
}

/// Of two with one event only one leaves: what it leaves behind is the other's.
#[tokio::test]
async fn a_caller_that_leaves_takes_nothing_from_one_that_stays() {
    let (cluster, redis) = (cluster(), Redis::start(&[]));
    let one = bridge(&cluster, &redis.url(), &PATIENT).await;
    let two = bridge(&cluster, &redis.url(), &PATIENT).await;
    for (bridge, id) in [(&one, "0"), (&two, "1")] {
        assert!(!replayed(&bridge.client.event("t", event(id, 10)).await));
    }
    redis.pause_writes();
    let calls = [(); 2].map(|()| {
        let client = one.client.clone();
        tokio::spawn(async move { client.event("t", event("2", 10)).await })
    });
    redis.until_waiting(1).await;
    let [leaving, staying] = calls;
    leaving.abort();
    cluster.broker_round_trip_time(1, Duration::from_secs(1)).unwrap();
    redis.command(&["CLIENT", "UNPAUSE"]);
    let (first, again) = tokio::join!(staying, two.client.event("t", event("2", 10)));
    let first = first.unwrap();
    assert_eq!((first.status, again.status), (hyper::StatusCode::ACCEPTED, hyper::StatusCode::ACCEPTED));
    assert_eq!(first.body, again.body);
    cluster.broker_round_trip_time(1, Duration::ZERO).unwrap();
    assert_eq!(count(&cluster, "t"), 3);
}

/// A bridge whose own memory is full of events in flight still tells the others.
#[tokio::test]
async fn what_a_bridge_has_no_room_to_remember_others_do() {
    let (cluster, redis) = (cluster(), Redis::start(&[]));
    let flags = ["--idempotency-redis", &redis.url(), "--idempotency-redis-timeout", "5s"];
    let one = Bridge::ready(&cluster, &[&["--idempotency-entries", "1"], &flags[..]].concat()).await;
    let two = bridge(&cluster, &redis.url(), &[]).await;
    for (bridge, id) in [(&one, "0"), (&two, "1")] {
        assert!(!replayed(&bridge.client.event("t", event(id, 10)).await));
    }
    cluster.broker_round_trip_time(1, Duration::from_millis(800)).unwrap();
    // Sent together, they are in flight together.
    let record = |id: &str| format!(r#"{{"topic":"t","event":{}}}"#, event(id, 10));
    let records = ["2", "3", "3"].map(record).join(",");
    let results = one.client.records(format!(r#"{{"records":[{records}]}}"#)).await.json();
    let results = results["results"].as_array().unwrap();
    assert!(results.iter().all(|result| result["outcome"] == "acknowledged"), "{results:?}");
    // Its own copies, too.
    assert_eq!((&results[2]["replayed"], &results[2]["receipt"]), (&true.into(), &results[1]["receipt"]));
    for id in ["2", "3"] {
        assert!(replayed(&two.client.event("t", event(id, 10)).await), "{id}");
    }
    cluster.broker_round_trip_time(1, Duration::ZERO).unwrap();
    assert_eq!(count(&cluster, "t"), 4);
}

/// A claim that this bridge has from an earlier attempt lasts as long as a new one.
#[tokio::test]
async fn a_claim_that_is_made_again_has_all_its_time_again() {
    let (cluster, redis) = (cluster(), Redis::start(&[]));
    let flags = ["--idempotency-redis", &redis.url(), "--idempotency-redis-timeout", "5s"];
    let bridge = Bridge::ready(&cluster, &[&["--idempotency-entries", "1"], &flags[..]].concat()).await;
    cluster.broker_round_trip_time(1, Duration::from_millis(1500)).unwrap();
    let value = |key: &str| -> String { redis::cmd("GET").arg(key).query(&mut redis.connection()).unwrap() };
    let send = |id: &'static str| {
        let client = bridge.client.clone();
        tokio::spawn(async move { client.event("t", event(id, 10)).await })
    };
    let first = send("1");
    until(async || redis.keys().iter().any(|key| value(key).starts_with("p "))).await;
    let key = redis.keys().into_iter().find(|key| value(key).starts_with("p ")).unwrap();
    let claim = value(&key);
    assert!(!replayed(&first.await.unwrap()));
    // So that the bridge asks about the first again.
    assert!(!replayed(&send("2").await.unwrap()));
    redis.command(&["SET", &key, &claim, "PX", "4000"]);
    let again = send("1");
    until(async || {
        let left: i64 = redis::cmd("PTTL").arg(&key).query(&mut redis.connection()).unwrap();
        value(&key) == claim && left > 5000
    })
    .await;
    assert!(!replayed(&again.await.unwrap()));
}

/// What is wrong with one key says nothing of the others, and Redis is not taken for gone.
#[tokio::test]
async fn one_key_that_cannot_be_read_is_about_one_event() {
    let (cluster, redis) = (cluster(), Redis::start(&[]));
    let deny = bridge(&cluster, &redis.url(), &[]).await;
    let allow = bridge(&cluster, &redis.url(), &["--idempotency-on-error", "allow"]).await;
    for (number, spoil) in [&["LPUSH", "KEY", "x"][..], &["SET", "KEY", "x"], &["SET", "KEY", "\u{7f}p c"]]
        .into_iter()
        .enumerate()
    {
        let (bad, good) = (format!("bad-{number}"), format!("good-{number}"));
        let first = bridge(&cluster, &redis.url(), &[]).await;
        let known = redis.keys();
        assert!(!replayed(&first.client.event("t", event(&bad, 10)).await));
        let key = redis.keys().into_iter().find(|key| !known.contains(key)).unwrap();
        redis.command(&["DEL", &key]);
        let spoil: Vec<_> =
            spoil.iter().map(|word| if *word == "KEY" { key.as_str() } else { word }).collect();
        redis.command(&spoil);
        let record = |id: &str| format!(r#"{{"topic":"t","event":{}}}"#, event(id, 10));
        let records = format!(r#"{{"records":[{},{}]}}"#, record(&bad), record(&good));
        let results = deny.client.records(records).await.json();
        let outcome = |index: usize| results["results"][index]["outcome"].as_str().unwrap().to_owned();
        assert_eq!((outcome(0).as_str(), outcome(1).as_str()), ("unavailable", "acknowledged"), "{spoil:?}");
        assert!(!replayed(&allow.client.event("t", event(&bad, 10)).await), "{spoil:?}");
        assert!(replayed(&allow.client.event("t", event(&good, 10)).await), "{spoil:?}");
        // Written, it is one that can be read.
        assert!(replayed(&deny.client.event("t", event(&bad, 10)).await), "{spoil:?}");
    }
    for bridge in [&deny, &allow] {
        assert_eq!(bridge.client.metric("kafka_bridge_idempotency_redis_up").await, 1);
        assert_eq!(bridge.client.metric("kafka_bridge_idempotency_unshared_total").await, 3);
    }
}

/// The log of a bridge with these flags, up to the first line that has this in it.
pub(crate) fn log_until(text: &str, flags: &[&str]) -> String {
    let mut child = command(flags).args(["--listen", "127.0.0.1:0"]).spawn().unwrap();
    let (sender, lines) = std::sync::mpsc::channel();
    let stderr = std::io::BufReader::new(child.stderr.take().unwrap());
    std::thread::spawn(move || {
        use std::io::BufRead as _;
        stderr.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
    });
    let mut log = String::new();
    let deadline = Instant::now() + Duration::from_secs(20);
    while !log.contains(text) {
        let left = deadline.saturating_duration_since(Instant::now());
        let line = lines.recv_timeout(left).unwrap_or_else(|_| panic!("{text:?} is not in the log:\n{log}"));
        log.push_str(&line);
        log.push('\n');
    }
    child.kill().unwrap();
    child.wait().unwrap();
    log
}

#[tokio::test]
async fn a_command_that_redis_does_not_permit_is_told_at_the_start() {
    let (cluster, redis) = (cluster(), Redis::start(&[]));
    redis.command(&["ACL", "SETUSER", "default", "-eval"]);
    let bridge = bridge(&cluster, &redis.url(), &["--max-record-bytes", "100000"]).await;
    for number in 0..3 {
        let large = event(&format!("large-{number}"), 200_000);
        bridge.client.event("t", large).await.assert_problem(413, "too-large");
        assert!(!replayed(&bridge.client.event("t", event(&number.to_string(), 10)).await));
    }
    assert_eq!(bridge.client.metric("kafka_bridge_idempotency_redis_up").await, 1);
    let servers = cluster.bootstrap_servers();
    let flags = ["--bootstrap-servers", &servers, "--idempotency-redis", &redis.url()];
    let log = log_until("Redis refuses EVAL", &flags);
    assert!(log.contains("+set +get +eval +del") && !log.contains("Redis refuses SET"), "{log}");
    redis.command(&["ACL", "SETUSER", "default", "-set", "+eval"]);
    log_until("Redis refuses SET", &flags);
    bridge.client.event("t", event("another", 10)).await.assert_problem(503, "unavailable");
}

/// A Redis that says that it can't write, whatever it is asked, is as good as gone.
#[tokio::test]
async fn a_replica_is_no_redis_to_claim_in() {
    let (cluster, redis) = (cluster(), Redis::start(&[]));
    let bridge = bridge(&cluster, &redis.url(), &["--idempotency-on-error", "allow"]).await;
    assert!(!replayed(&bridge.client.event("t", event("1", 10)).await));
    redis.command(&["REPLICAOF", "127.0.0.1", "1"]);
    assert!(!replayed(&bridge.client.event("t", event("2", 10)).await));
    assert_eq!(bridge.client.metric("kafka_bridge_idempotency_redis_up").await, 0);
    redis.command(&["REPLICAOF", "NO", "ONE"]);
    let mut number = 3;
    until(async || {
        number += 1;
        assert!(!replayed(&bridge.client.event("t", event(&number.to_string(), 10)).await));
        bridge.client.metric("kafka_bridge_idempotency_redis_up").await == 1
    })
    .await;
}

/// One bridge has it on its disk; that Kafka has it then, all know.
#[tokio::test]
async fn what_one_bridge_has_spooled_and_drained_is_in_kafka_for_all() {
    let (cluster, redis) = (cluster(), Redis::start(&[]));
    let directory = std::env::temp_dir().join(format!("kafka-bridge-shared-spool-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&directory);
    let one = bridge(&cluster, &redis.url(), &["--spool-dir", directory.to_str().unwrap()]).await;
    let two = bridge(&cluster, &redis.url(), &[]).await;
    let headers = [("content-type", crate::common::EVENT)];
    let path = "/v1/topics/t/events?ack=spooled";
    assert!(!replayed(&one.client.send("POST", path, &headers, event("1", 10)).await));
    let key = redis.keys().pop().unwrap();
    until(async || {
        let value: String = redis::cmd("GET").arg(&key).query(&mut redis.connection()).unwrap();
        value.contains(" all ")
    })
    .await;
    let left: i64 = redis::cmd("PTTL").arg(&key).query(&mut redis.connection()).unwrap();
    assert!((1..=600_000).contains(&left), "{left}");
    for bridge in [&one, &two] {
        let answer = bridge.client.event("t", event("1", 10)).await;
        assert!(replayed(&answer));
        let json = answer.json();
        assert_eq!((&json["ack"], &json["offset"]), (&"all".into(), &0.into()), "{json}");
        let timestamp = read(&cluster, "t", 1).remove(0).timestamp;
        let timestamp = wicketgate_envelope::timestamp::Timestamp::from_millis(timestamp);
        assert_eq!(json["timestamp"], timestamp.to_string());
    }
    assert_eq!(count(&cluster, "t"), 1);
    one.stop().await;
    std::fs::remove_dir_all(&directory).unwrap();
}

/// A Redis with TLS and users, in a folder that goes with it.
pub(crate) struct Secured {
    pub(crate) redis: Redis,
    folder: std::path::PathBuf,
    pub(crate) authority: Authority,
}

impl Drop for Secured {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Secured {
    pub(crate) fn start(name: &str, flags: &[&str]) -> Self {
        let folder = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("redis-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let authority = Authority::new(&folder, "authority");
        let server = authority.issue("server", &["localhost", "127.0.0.1"]);
        let port = free_port();
        let path = |path: &std::path::Path| path.to_str().unwrap().to_owned();
        let (certificate, key) = (path(&server.certificate), path(&server.key));
        let (ca, number) = (path(&authority.certificate), port.to_string());
        let tls = [
            &["--port", "0", "--tls-port", &number, "--tls-cert-file", &certificate][..],
            &["--tls-key-file", &key, "--tls-ca-cert-file", &ca],
            flags,
        ];
        Self { redis: Redis::listening_on(port, &tls.concat()), folder, authority }
    }

    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.folder.join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    pub(crate) fn url(&self) -> String {
        format!("rediss://localhost:{}", self.redis.port)
    }

    fn ca(&self) -> [String; 2] {
        ["--idempotency-redis-ca-file".to_owned(), self.authority.certificate.to_str().unwrap().to_owned()]
    }
}

#[tokio::test]
async fn redis_may_be_reached_over_tls_if_it_has_a_certificate_of_the_authority() {
    let (cluster, redis) = (cluster(), Secured::start("tls", &["--tls-auth-clients", "no"]));
    let ca = redis.ca();
    let ca: Vec<&str> = ca.iter().map(String::as_str).collect();
    let one = bridge(&cluster, &redis.url(), &ca).await;
    let two = bridge(&cluster, &redis.url(), &ca).await;
    assert!(!replayed(&one.client.event("t", event("1", 10)).await));
    assert!(replayed(&two.client.event("t", event("1", 10)).await));
    assert_eq!(two.client.metric("kafka_bridge_idempotency_redis_up").await, 1);

    // Another authority, another name of the server, and no authority but those of the machine.
    let folder = redis.folder.join("other");
    std::fs::create_dir_all(&folder).unwrap();
    let other = Authority::new(&folder, "other");
    let other = ["--idempotency-redis-ca-file", other.certificate.to_str().unwrap()];
    let named = redis.url().replace("localhost", "127.0.0.2");
    for (url, flags) in [(redis.url(), &other[..]), (named, &ca), (redis.url(), &[])] {
        let stranger = bridge(&cluster, &url, flags).await;
        stranger.client.event("t", event("2", 10)).await.assert_problem(503, "unavailable");
        assert_eq!(stranger.client.metric("kafka_bridge_idempotency_redis_up").await, 0);
    }
}

#[tokio::test]
async fn redis_may_ask_for_a_certificate_and_a_user() {
    const PASSWORD: &str = "hunter2-hunter2";
    let user = format!(">{PASSWORD}");
    let keys = "~wicketgate:idempotency:1:*";
    let users =
        ["--user", "default", "off", "--user", "bridge", "on", &user, keys, "+set", "+get", "+eval", "+del"];
    let (cluster, redis) = (cluster(), Secured::start("users", &users));
    let identity = redis.authority.issue("bridge", &["bridge.test"]);
    let (certificate, key) = (identity.certificate.to_str().unwrap(), identity.key.to_str().unwrap());
    let file = redis.file("password", &format!("{PASSWORD}\n"));
    let ca = redis.ca();
    let ca: Vec<&str> = ca.iter().map(String::as_str).collect();
    let shown = ["--idempotency-redis-certificate-file", certificate, "--idempotency-redis-key-file", key];
    let password = ["--idempotency-redis-password-file", &file];
    let url = redis.url().replace("://", "://bridge@");
    let all = [&ca[..], &shown, &password].concat();
    let one = bridge(&cluster, &url, &all).await;
    let two = bridge(&cluster, &url, &all).await;
    assert!(!replayed(&one.client.event("t", event("1", 10)).await));
    assert!(replayed(&two.client.event("t", event("1", 10)).await));
    // Nothing that is sent is forbidden: what failed is given up.
    one.client.event("t", event("large", 9_000_000)).await.assert_problem(413, "too-large");
    assert_eq!(count(&cluster, "t"), 1);

    let no_certificate = bridge(&cluster, &url, &[&ca[..], &password].concat()).await;
    no_certificate.client.event("t", event("2", 10)).await.assert_problem(503, "unavailable");
    let wrong = redis.file("wrong", "hunter3-hunter3");
    let wrong = ["--idempotency-redis-password-file", &wrong];
    let flags = [&ca[..], &shown, &wrong].concat();
    let wrong_password = bridge(&cluster, &url, &flags).await;
    wrong_password.client.event("t", event("2", 10)).await.assert_problem(503, "unavailable");

    // The log says why, and shows no password.
    let servers = cluster.bootstrap_servers();
    let bridge = ["--bootstrap-servers", &servers, "--log", "trace", "--idempotency-redis", &url];
    let log = log_until("Redis does not answer", &[&bridge[..], &flags].concat());
    assert!(log.contains("uthentication failed") && !log.contains("hunter"), "{log}");
}

#[test]
fn what_is_wrong_with_the_way_to_redis_is_told_all_at_once_and_without_the_password() {
    let folder = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("redis-wrong-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let junk = folder.join("junk");
    std::fs::write(&junk, "hunter4").unwrap();
    let junk = junk.to_str().unwrap();
    let (ca, certificate, key) = (
        "--idempotency-redis-ca-file",
        "--idempotency-redis-certificate-file",
        "--idempotency-redis-key-file",
    );
    let (redis, password) = ("--idempotency-redis", "--idempotency-redis-password-file");
    for (flags, wanted) in [
        (
            &[redis, "rediss://bridge:hunter2@localhost:1/#insecure", ca, junk, certificate, junk, key, junk]
                [..],
            &[
                "wanted no password in it",
                "no #insecure",
                "ca-file",
                "certificate-file",
                "a private key in PEM",
            ][..],
        ),
        (&[redis, "redis://:hunter2@localhost:1/x"], &["wanted redis://HOST:PORT, or rediss://"]),
        (&[redis, "redis://localhost:1", ca, junk], &["no --idempotency-redis rediss://HOST:PORT uses it"]),
        (&[redis, "redis://bridge@localhost:1"], &["wanted --idempotency-redis-password-file with it"]),
        (&[redis, "rediss://localhost:1", key, "/none"], &["certificate-file with it", "No such file"]),
        (
            &[ca, junk, password, junk],
            &["ca-file: wanted --idempotency-redis with it", "password-file: wanted --idempotency-redis"],
        ),
    ] {
        let output = command(&[&["--embedded-broker", "check"], flags].concat()).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap() + &String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(wanted.iter().all(|wanted| text.contains(wanted)), "{flags:?}: {text}");
        assert!(!text.contains("hunter"), "{text}");
    }
    let good = command(&["--embedded-broker", "check", redis, "rediss://localhost:1"]).output().unwrap();
    assert!(good.status.success(), "{good:?}");
    std::fs::remove_dir_all(&folder).unwrap();
}
