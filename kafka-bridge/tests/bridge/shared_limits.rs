//! Limits that gateways share, counted in a real Redis.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::common::{Answer, Bridge, Cluster, cluster, count, event, until};
use crate::shared::Redis;

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
