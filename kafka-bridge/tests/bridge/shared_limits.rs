//! Limits that gateways share, counted in a real Redis.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::common::process::command;
use crate::common::{Answer, Bridge, Cluster, cluster, count, event, until};
use crate::shared::{Redis, Secured, free_port, log_until};

fn limit(name: &str, limit: u64, period: u64, change: &Value) -> Value {
    let mut value =
        json!({"name": name, "key": "k", "limit": limit, "period": period, "burst": limit, "cost": 1});
    value.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    value
}

/// A call with a request of one record for each of these lists of limits.
fn call(requests: &[Vec<Value>]) -> String {
    let records: Vec<Value> = (0..requests.len())
        .map(|index| {
            let event: Value = serde_json::from_str(&event(&format!("e{index}"), 10)).unwrap();
            json!({"topic": "t", "event": event})
        })
        .collect();
    let limits: Vec<Value> = requests
        .iter()
        .enumerate()
        .map(|(index, limits)| json!({"first": index, "count": 1, "limits": limits}))
        .collect();
    json!({"records": records, "limits": limits}).to_string()
}

async fn bridge(cluster: &Cluster, url: &str) -> Bridge {
    let flags = ["--limits-redis", url, "--limits-redis-timeout", "500ms", "--idempotency-entries", "0"];
    Bridge::ready(cluster, &flags).await
}

fn outcomes(answer: &Answer) -> Vec<String> {
    let results = answer.json()["results"].as_array().cloned().unwrap_or_default();
    results.iter().map(|result| result["outcome"].as_str().unwrap().to_owned()).collect()
}

fn taken(answer: &Answer) -> usize {
    outcomes(answer).iter().filter(|outcome| *outcome == "acknowledged").count()
}

#[tokio::test]
async fn bridges_share_a_limit_and_what_is_refused_does_not_reach_kafka() {
    let (cluster, redis) = (cluster(), Redis::start(&[]));
    let bridges = [bridge(&cluster, &redis.url()).await, bridge(&cluster, &redis.url()).await];
    let ten = || vec![limit("a", 10, 3_600, &json!({}))];
    let mut all = 0;
    for turn in 0..8 {
        let answer = bridges[turn % 2].client.records(call(&[ten(), ten(), ten()])).await;
        all += taken(&answer);
        let left = 10_usize.saturating_sub(3 * (turn + 1));
        assert_eq!(answer.json()["limits"][2][0]["remaining"], left, "{answer:?}");
        assert_eq!(answer.json()["limits"].as_array().unwrap().len(), 3);
    }
    assert_eq!((all, count(&cluster, "t")), (10, 10));
    let refused = bridges[0].client.records(call(&[ten()])).await;
    assert_eq!((refused.status.as_u16(), outcomes(&refused)), (429, vec!["limited".to_owned()]));
    let state = &refused.json()["limits"][0][0];
    let wait = state["retry_after"].as_u64().unwrap();
    assert!(state["allowed"] == false && (300_000..=360_000).contains(&wait), "{state}");
    let denied = bridges[0].client.metric("kafka_bridge_limits_denied_total").await
        + bridges[1].client.metric("kafka_bridge_limits_denied_total").await;
    assert_eq!(denied, 15);
    // Another caller has a count of its own, and the keys go when all is back.
    let other = bridges[1].client.records(call(&[vec![limit("a", 10, 3_600, &json!({"key": "x"}))]])).await;
    assert_eq!(taken(&other), 1);
    let left: i64 = redis::cmd("PTTL").arg("wicketgate:limit:a:k").query(&mut redis.connection()).unwrap();
    assert!((3_000_000..=3_600_001).contains(&left), "{left}");
}

#[tokio::test]
async fn many_callers_at_a_time_never_get_more_than_the_bound_nor_much_less() {
    let (cluster, redis) = (cluster(), Redis::start(&[]));
    let bridges = [bridge(&cluster, &redis.url()).await, bridge(&cluster, &redis.url()).await];
    let body = call(&vec![vec![limit("a", 500, 1, &json!({"burst": 200}))]; 4]);
    let started = Instant::now();
    let tasks: Vec<_> = (0..16)
        .map(|index| {
            let (client, body) = (bridges[index % 2].client.clone(), body.clone());
            tokio::spawn(async move {
                let mut all = 0;
                while started.elapsed() < Duration::from_secs(4) {
                    all += taken(&client.records(body.clone()).await);
                }
                all
            })
        })
        .collect();
    let mut all = 0;
    for task in tasks {
        all += task.await.unwrap();
    }
    let bound = 200.0 + 500.0 * started.elapsed().as_secs_f64();
    eprintln!("{all} got through, the bound is {bound:.0}");
    assert!(all as f64 <= bound, "{all} > {bound}");
    assert!(all as f64 >= bound * 0.95, "{all} is much less than {bound}");
    assert_eq!(count(&cluster, "t"), all);
}

#[tokio::test]
async fn a_request_that_one_limit_refuses_is_counted_by_none() {
    let (cluster, redis) = (cluster(), Redis::start(&[]));
    let bridge = bridge(&cluster, &redis.url()).await;
    let both = || vec![limit("wide", 10, 3_600, &json!({})), limit("narrow", 1, 3_600, &json!({}))];
    let answer = bridge.client.records(call(&[both(), both(), both()])).await;
    assert_eq!(outcomes(&answer), ["acknowledged", "limited", "limited"]);
    assert_eq!((answer.status.as_u16(), &answer.json()["limits"][2][0]["remaining"]), (207, &json!(9)));
    // On trial, and by bytes that do not fit.
    let trial = || vec![limit("narrow", 1, 3_600, &json!({"dry_run": true}))];
    let answer = bridge.client.records(call(&[trial()])).await;
    assert_eq!((taken(&answer), &answer.json()["limits"][0][0]["allowed"]), (1, &json!(false)));
    let bytes = |cost: u64| vec![limit("bytes", 1_000_000_000, 1, &json!({"cost": cost}))];
    assert_eq!(taken(&bridge.client.records(call(&[bytes(999_999_999)])).await), 1);
    assert_eq!(taken(&bridge.client.records(call(&[bytes(u64::MAX)])).await), 0);
}

#[tokio::test]
async fn a_redis_that_is_frozen_or_gone_holds_nobody_up_and_is_asked_again() {
    let (cluster, mut redis) = (cluster(), Redis::start(&[]));
    let (port, url) = (redis.port(), redis.url());
    let bridge = bridge(&cluster, &url).await;
    let deny = || vec![limit("a", 1_000, 1, &json!({}))];
    let allow = || vec![limit("a", 1_000, 1, &json!({"allow_uncounted": true}))];
    assert_eq!(taken(&bridge.client.records(call(&[deny()])).await), 1);
    let both = async |within: Duration| {
        let asked = Instant::now();
        let answer = bridge.client.records(call(&[deny(), allow()])).await;
        assert_eq!(outcomes(&answer), ["limited", "acknowledged"], "{answer:?}");
        assert_eq!(answer.json()["limits"][0][0]["allowed"], Value::Null);
        assert!(asked.elapsed() < within, "{:?}", asked.elapsed());
    };
    let counts_again = async || {
        until(async || taken(&bridge.client.records(call(&[deny()])).await) == 1).await;
        assert_eq!(bridge.client.metric("kafka_bridge_limits_redis_up").await, 1);
    };
    redis.freeze(true);
    both(Duration::from_millis(1_500)).await;
    // One has waited; for a second nobody else does.
    for _ in 0..5 {
        both(Duration::from_millis(400)).await;
    }
    assert_eq!(bridge.client.metric("kafka_bridge_limits_redis_up").await, 0);
    redis.freeze(false);
    counts_again().await;
    redis.kill();
    for _ in 0..5 {
        both(Duration::from_millis(1_500)).await;
    }
    let _back = Redis::start_on(port, &[]);
    counts_again().await;
    assert!(bridge.client.metric("kafka_bridge_limits_uncounted_total").await >= 20);
}

#[tokio::test]
async fn a_bridge_without_redis_goes_by_each_limits_own_word() {
    let cluster = cluster();
    let bridge = Bridge::ready(&cluster, &[]).await;
    let requests =
        [vec![limit("a", 1, 1, &json!({}))], vec![limit("a", 1, 1, &json!({"allow_uncounted": true}))]];
    let answer = bridge.client.records(call(&requests)).await;
    assert_eq!(outcomes(&answer), ["limited", "acknowledged"]);
}

#[tokio::test]
async fn calls_whose_limits_no_filter_would_write_are_refused() {
    let cluster = cluster();
    let bridge = Bridge::ready(&cluster, &[]).await;
    for (from, to) in [
        ("\"first\":0", "\"first\":1"),
        ("\"count\":1", "\"count\":2"),
        ("\"name\":\"a\"", "\"name\":\"a*\""),
        ("\"cost\":1", "\"cost\":-1"),
        ("\"cost\":1", "\"price\":1"),
    ] {
        let body = call(&[vec![limit("a", 1, 1, &json!({}))]]);
        assert!(body.contains(from), "{from} {body}");
        let answer = bridge.client.records(body.replacen(from, to, 1)).await;
        assert_eq!(answer.status, 400, "{to} {answer:?}");
    }
}

#[tokio::test]
async fn a_user_of_its_own_needs_four_commands_on_these_keys() {
    let redis = Redis::start(&[]);
    let rights = ["~wicketgate:limit:*", "+eval", "+get", "+set", "+time"];
    redis.command(&[&["ACL", "SETUSER", "limits", "on", ">s3cret"][..], &rights].concat());
    let cluster = cluster();
    let file = std::env::temp_dir().join(format!("wicketgate-limits-{}", std::process::id()));
    std::fs::write(&file, "s3cret\n").unwrap();
    let url = format!("redis://limits@127.0.0.1:{}", redis.port());
    let flags = [
        "--limits-redis",
        &url,
        "--limits-redis-password-file",
        file.to_str().unwrap(),
        "--limits-redis-timeout",
        "500ms",
    ];
    let bridge = Bridge::ready(&cluster, &flags).await;
    let answer = bridge.client.records(call(&[vec![limit("a", 1, 3_600, &json!({}))]])).await;
    assert_eq!(taken(&answer), 1, "{answer:?}");
    let _ = std::fs::remove_file(file);
}

#[tokio::test]
async fn over_tls_with_a_certificate_and_a_user_of_its_own_it_counts() {
    let rights = ["~wicketgate:limit:*", "+eval", "+get", "+set", "+time"];
    let user = ["--user", "default", "off", "--user", "limits", "on", ">s3cret"];
    let (cluster, redis) = (cluster(), Secured::start("limits", &[&user[..], &rights].concat()));
    let identity = redis.authority.issue("bridge", &["bridge.test"]);
    let path = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    let (certificate, key) = (path(&identity.certificate), path(&identity.key));
    let (ca, password) = (path(&redis.authority.certificate), redis.file("password", "s3cret\n"));
    let url = redis.url().replace("://", "://limits@");
    let flags = [
        ["--limits-redis", &url],
        ["--limits-redis-timeout", "5s"],
        ["--limits-redis-ca-file", &ca],
        ["--limits-redis-password-file", &password],
        ["--limits-redis-certificate-file", &certificate],
        ["--limits-redis-key-file", &key],
    ];
    let ask = async |flags: &[[&str; 2]]| {
        let bridge = Bridge::ready(&cluster, &flags.concat()).await;
        bridge.client.records(call(&[vec![limit("a", 2, 3_600, &json!({}))]])).await
    };
    for (index, left) in [(0, 1), (1, 0)] {
        let answer = ask(&flags).await;
        assert_eq!(answer.json()["limits"][0][0]["remaining"], left, "{index} {answer:?}");
        assert_eq!(taken(&answer), 1);
    }
    // Without a certificate of its own, and without an authority that has signed Redis'.
    let (no_authority, no_certificate) = ([&flags[..2], &flags[3..]].concat(), &flags[..4]);
    for flags in [&no_authority, no_certificate] {
        let answer = ask(flags).await;
        assert_eq!(answer.json()["limits"][0][0]["allowed"], Value::Null, "{answer:?}");
    }
}

fn microseconds() -> u128 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_micros()
}

/// A key that was written by a clock that was an hour ahead is what is left when Redis' clock has stepped back.
#[tokio::test]
async fn a_clock_of_redis_that_steps_back_gives_nothing_away_and_locks_nobody_out() {
    let (cluster, redis) = (cluster(), Redis::start(&[]));
    let bridge = bridge(&cluster, &redis.url()).await;
    let ten = || vec![limit("a", 10, 2, &json!({}))];
    let hour = 3_600_000_000_u128;
    // 200 ms a unit, in picoseconds.
    let written = |at: u128| {
        let value = format!("{at} {} 1000", 10 * 200_000_000_000_u64);
        redis.command(&["SET", "wicketgate:limit:a:k", &value, "PX", "7200000"]);
    };
    written(microseconds() + hour);
    let first = Instant::now();
    let answer = bridge.client.records(call(&[ten()])).await;
    let state = &answer.json()["limits"][0][0];
    assert_eq!((taken(&answer), &state["allowed"], &state["remaining"]), (0, &json!(false), &json!(0)));
    assert_eq!(state["retry_after"], 200, "{state}");
    let mut all = 0;
    while first.elapsed() < Duration::from_secs(3) {
        all += taken(&bridge.client.records(call(&[ten()])).await);
    }
    let brought = first.elapsed().as_secs_f64() * 5.0;
    assert!(f64::from(u32::try_from(all).unwrap()) <= brought && all >= 12, "{all} of {brought}");
    // Another limit of the call refuses; what is used counts down all the same.
    written(microseconds() + hour);
    let both = || vec![limit("a", 10, 2, &json!({})), limit("b", 1, 3_600, &json!({"cost": 2}))];
    assert_eq!(taken(&bridge.client.records(call(&[both()])).await), 0);
    tokio::time::sleep(Duration::from_millis(450)).await;
    let answer = bridge.client.records(call(&[both()])).await;
    assert_eq!(answer.json()["limits"][0][0]["allowed"], true, "{answer:?}");
    // Forward: what it has skipped comes back, a burst at most.
    written(microseconds() - hour);
    let answer = bridge.client.records(call(&[ten()])).await;
    assert_eq!((taken(&answer), &answer.json()["limits"][0][0]["remaining"]), (1, &json!(9)));
}

/// A Redis with a replica, and three Sentinels that watch over them.
struct Watched {
    redis: Redis,
    _replica: Redis,
    sentinels: Vec<Redis>,
    folder: PathBuf,
}

const SENTINEL_USER: [&str; 9] =
    ["--user", "limits", "on", ">s3cret", "~wicketgate:limit:*", "+eval", "+get", "+set", "+time"];

impl Watched {
    async fn start() -> Self {
        let folder =
            PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("sentinels-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let user = [&SENTINEL_USER[..], &["+role"]].concat();
        let user = [&user[..], &["--dir", folder.to_str().unwrap()]].concat();
        let redis = Redis::start(&user);
        let primary = redis.port().to_string();
        let follow = ["--repl-diskless-sync-delay", "0", "--replicaof", "127.0.0.1", &primary];
        let replica = Redis::start(&[&follow[..], &user].concat());
        let sentinels = (0..3).map(|index| {
            let port = free_port();
            let file = folder.join(format!("{index}.conf"));
            let text = format!(
                "port {port}\nsentinel monitor quotas 127.0.0.1 {primary} 2\n\
                 sentinel down-after-milliseconds quotas 1000\nsentinel failover-timeout quotas 5000\n"
            );
            std::fs::write(&file, text).unwrap();
            Redis::sentinel(port, file.to_str().unwrap())
        });
        let sentinels: Vec<Redis> = sentinels.collect();
        // Each knows the others and the replica before anything happens.
        for sentinel in &sentinels {
            let info =
                || redis::cmd("INFO").arg("sentinel").query::<String>(&mut sentinel.connection()).unwrap();
            until(async || info().contains("slaves=1,sentinels=3")).await;
        }
        until(async || redis.command(&["WAIT", "1", "100"]) == redis::Value::Int(1)).await;
        Self { redis, _replica: replica, sentinels, folder }
    }

    async fn bridge(&self, cluster: &Cluster) -> Bridge {
        let password = self.folder.join("password");
        std::fs::write(&password, "s3cret\n").unwrap();
        let places: Vec<_> = self.sentinels.iter().map(|one| format!("127.0.0.1:{}", one.port())).collect();
        let flags = [
            ["--limits-redis", "redis://limits@quotas"],
            ["--limits-redis-sentinels", &places.join(",")],
            ["--limits-redis-password-file", password.to_str().unwrap()],
            ["--limits-redis-timeout", "500ms"],
        ];
        Bridge::ready(cluster, &flags.concat()).await
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[tokio::test]
async fn when_sentinels_name_another_redis_it_goes_on_with_what_was_counted() {
    for frozen in [false, true] {
        let (cluster, mut watched) = (cluster(), Watched::start().await);
        let bridges = [watched.bridge(&cluster).await, watched.bridge(&cluster).await];
        let with = |name, allow: bool| vec![limit(name, 10, 3_600, &json!({"allow_uncounted": allow}))];
        let mut all = 0;
        for turn in 0..6 {
            // The first of each bridge may have to wait until Sentinels have named the Redis.
            until(async || taken(&bridges[turn % 2].client.records(call(&[with("a", false)])).await) == 1)
                .await;
            all += 1;
        }
        assert_eq!(watched.redis.command(&["WAIT", "1", "5000"]), redis::Value::Int(1));
        match frozen {
            true => watched.redis.freeze(true),
            false => watched.redis.kill(),
        }
        let gone = Instant::now();
        let (mut slowest, mut uncounted) = (Duration::ZERO, 0);
        for bridge in &bridges {
            until(async || {
                let asked = Instant::now();
                let probe = vec![limit("probe", 1_000_000, 1, &json!({}))];
                let answer = bridge.client.records(call(&[probe, with("b", true)])).await;
                slowest = slowest.max(asked.elapsed());
                match answer.json()["limits"][0][0]["allowed"] {
                    Value::Null => {
                        assert_eq!(outcomes(&answer), ["limited", "acknowledged"], "{answer:?}");
                        uncounted += 1;
                        tokio::time::sleep(Duration::from_millis(20)).await;
                        false
                    }
                    _ => true,
                }
            })
            .await;
        }
        eprintln!(
            "frozen: {frozen}; counted again after {:?}, {uncounted} uncounted, the slowest {slowest:?}",
            gone.elapsed()
        );
        assert!(uncounted > 0 && slowest < Duration::from_millis(1_500), "{uncounted} {slowest:?}");
        for turn in 0..10 {
            all += taken(&bridges[turn % 2].client.records(call(&[with("a", false)])).await);
        }
        assert_eq!(all, 10, "what was counted before still counts");
        if frozen {
            // The old one comes back, as a replica.
            watched.redis.freeze(false);
            tokio::time::sleep(Duration::from_secs(2)).await;
            assert_eq!(taken(&bridges[0].client.records(call(&[with("a", false)])).await), 0);
            assert_eq!(bridges[0].client.metric("kafka_bridge_limits_redis_up").await, 1);
        }
    }
}

#[tokio::test]
async fn a_redis_cluster_is_refused_whatever_is_asked_and_the_log_says_what_is_wanted() {
    let folder =
        PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("redis-cluster-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let nodes: Vec<Redis> = (0..3)
        .map(|index| {
            let dir = folder.join(index.to_string());
            std::fs::create_dir_all(&dir).unwrap();
            Redis::start(&["--cluster-enabled", "yes", "--dir", dir.to_str().unwrap()])
        })
        .collect();
    let places: Vec<_> = nodes.iter().map(|node| format!("127.0.0.1:{}", node.port())).collect();
    let places: Vec<&str> = places.iter().map(String::as_str).collect();
    let create = [&["--cluster", "create"], &places[..], &["--cluster-yes"]].concat();
    let made = std::process::Command::new("redis-cli").args(create).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let cluster = cluster();
    let bridge = bridge(&cluster, &nodes[0].url()).await;
    // Each key would be kept by one node, and each of these by another.
    for key in ["a", "b", "c", "d", "e", "f"] {
        let one = |allow: bool| vec![limit(key, 10, 1, &json!({"key": key, "allow_uncounted": allow}))];
        for (allow, outcome) in [(false, "limited"), (true, "acknowledged")] {
            let answer = bridge.client.records(call(&[one(allow)])).await;
            assert_eq!(
                (outcomes(&answer), &answer.json()["limits"][0][0]["allowed"]),
                (vec![outcome.to_owned()], &Value::Null)
            );
        }
    }
    let servers = cluster.bootstrap_servers();
    log_until(
        "is a node of a Redis Cluster",
        &["--bootstrap-servers", &servers, "--limits-redis", &nodes[0].url()],
    );
    let _ = std::fs::remove_dir_all(&folder);
}

#[test]
fn what_is_wrong_with_sentinels_is_told() {
    let (redis, sentinels) = ("--limits-redis", "--limits-redis-sentinels");
    for (flags, wanted) in [
        (&[sentinels, "one:1"][..], &["--limits-redis-sentinels: wanted --limits-redis with it"][..]),
        (&[redis, "redis://quotas:7000", sentinels, "one:1"], &["wanted no port"]),
        // A command line that cannot be read comes before all else, and ends with the first of its mistakes.
        (&[redis, "redis://quotas", sentinels, "one,:2"], &["got \"one\""]),
        (&[redis, "redis://quotas", sentinels, ":2"], &["got \":2\""]),
        (&[redis, "redis://quotas", sentinels, "three:x"], &["got \"three:x\""]),
        (&[redis, "redis://quotas", sentinels, "::1:4"], &["got \"::1:4\""]),
    ] {
        let output = command(&[&["--embedded-broker", "check"], flags].concat()).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(wanted.iter().all(|wanted| text.contains(wanted)), "{flags:?}: {text}");
    }
    let good = ["--embedded-broker", "check", redis, "rediss://quotas", sentinels, "one:1,[::1]:2"];
    assert!(command(&good).output().unwrap().status.success());
}
