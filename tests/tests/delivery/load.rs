//! Callers that send all the time, and keep what they were told of each event.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use wicketgate_tests::gateway::KEY;
use wicketgate_tests::http_client::{Answer, Body, Client, full};
use wicketgate_tests::wait::until;

/// How long a caller that was told "not now" waits.
const PAUSE: Duration = Duration::from_millis(100);
/// How long one who was told good news does.
const BREATH: Duration = Duration::from_millis(20);
/// Connections of the callers who do not wait for each other; each carries many requests at once.
const SHARED_CONNECTIONS: usize = 8;
/// Events in one call of `/v1/records`.
const BATCH: usize = 4;
/// No condition takes longer than this, unless it never comes true.
const LIMIT: Duration = Duration::from_secs(60);

/// Who is called, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    /// The bridge: single events and batches.
    Bridge,
    /// A gateway with the route `lane`, whose bridge writes to the topic.
    Gateway,
}

/// What the callers do.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) door: Door,
    /// Callers take turns over these.
    pub(crate) servers: Vec<SocketAddr>,
    pub(crate) topic: String,
    /// Callers who wait for each answer before they send on, each with a key of its own.
    pub(crate) waiting: usize,
    /// Events a second besides, each from a caller of its own who waits for nobody.
    pub(crate) per_second: u32,
    /// Bytes of data in each event.
    pub(crate) data: usize,
    /// Every so many events one has as many bytes as this instead.
    pub(crate) now_and_then: Option<(u64, usize)>,
    /// Whether what was not acknowledged is sent again, as it is, until it is.
    pub(crate) insist: bool,
    /// Callers who wait for nobody leave after so long, whether or not they have an answer.
    pub(crate) leave_after: Option<Duration>,
    /// The acknowledgement that is asked for; `None` leaves it to the bridge.
    pub(crate) ack: Option<&'static str>,
}

impl Plan {
    pub(crate) fn of(door: Door, servers: &[SocketAddr], topic: &str) -> Self {
        Self {
            door,
            servers: servers.to_vec(),
            topic: topic.to_owned(),
            waiting: 8,
            per_second: 100,
            data: 200,
            now_and_then: None,
            insist: false,
            leave_after: None,
            ack: None,
        }
    }
}

/// What a caller was told of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Acknowledged {
        partition: Option<i32>,
        offset: Option<i64>,
        ack: String,
        replayed: bool,
    },
    /// With this status; Kafka does not have it.
    NotWritten(u16),
    /// Kafka may have it. `None`: no answer came.
    Unknown(Option<u16>),
    /// There was no connection to send it on.
    Unsent,
}

/// One attempt to have an event written.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) id: String,
    /// Events with the same one were sent by one caller, who waited for each answer; so were those with the same
    /// `turn`, together.
    pub(crate) lane: Option<usize>,
    pub(crate) turn: u64,
    pub(crate) answered: Instant,
    pub(crate) told: Told,
}

/// Callers at work.
#[derive(Debug)]
pub(crate) struct Load {
    log: Arc<Log>,
    stop: watch::Sender<bool>,
    callers: JoinSet<()>,
}

#[derive(Debug)]
struct Log {
    plan: Plan,
    next: AtomicU64,
    attempts: Mutex<Vec<Attempt>>,
}

/// An event to be sent.
#[derive(Clone, Debug)]
struct Event {
    id: String,
    key: String,
    data: usize,
}

impl Load {
    pub(crate) fn start(plan: Plan) -> Self {
        let (stop, told) = watch::channel(false);
        let mut callers = JoinSet::new();
        let log = Arc::new(Log { plan, next: AtomicU64::new(0), attempts: Mutex::default() });
        for lane in 0..log.plan.waiting {
            callers.spawn(wait_for_each(Arc::clone(&log), lane, told.clone()));
        }
        if log.plan.per_second > 0 {
            callers.spawn(wait_for_nobody(Arc::clone(&log), told));
        }
        Self { log, stop, callers }
    }

    /// All attempts that are over.
    pub(crate) fn attempts(&self) -> Vec<Attempt> {
        self.log.attempts.lock().unwrap().clone()
    }

    /// Waits until so many attempts from now on have ended in a way that is `wanted`.
    pub(crate) async fn until_told(&self, count: usize, what: &str, wanted: impl Fn(&Told) -> bool) {
        self.until(count, what, |attempt| wanted(&attempt.told)).await;
    }

    /// How many callers wait for each answer.
    pub(crate) fn lanes(&self) -> usize {
        self.log.plan.waiting
    }

    /// Waits until such a caller is acknowledged one more event.
    pub(crate) async fn until_lane_acknowledged(&self, lane: usize) {
        let what = format!("acknowledged in lane {lane}");
        let wanted = |attempt: &Attempt| {
            attempt.lane == Some(lane) && matches!(attempt.told, Told::Acknowledged { .. })
        };
        self.until(1, &what, wanted).await;
    }

    async fn until(&self, count: usize, what: &str, wanted: impl Fn(&Attempt) -> bool) {
        let start = self.log.attempts.lock().unwrap().len();
        let enough = || {
            let attempts = self.log.attempts.lock().unwrap();
            attempts[start..].iter().filter(|attempt| wanted(attempt)).count() >= count
        };
        let reached = until(LIMIT, || async { enough().then_some(()) }).await;
        assert!(reached.is_ok(), "no {count} times {what} within {LIMIT:?}: {}", self.tally(start));
    }

    /// Waits until so many more events are acknowledged.
    pub(crate) async fn until_acknowledged(&self, count: usize) {
        self.until_told(count, "acknowledged", |told| matches!(told, Told::Acknowledged { .. })).await;
    }

    /// Waits until a caller is told, from now on, that nothing was written and to come again.
    pub(crate) async fn until_unavailable(&self) {
        self.until_told(1, "503", |told| *told == Told::NotWritten(503)).await;
    }

    /// Sends everything once more, to this server, that callers who wait for each answer were acknowledged by then; returns
    /// what they were told of each event, then and now.
    pub(crate) async fn send_again(&self, server: SocketAddr, by_then: &[Attempt]) -> Vec<(Told, Told)> {
        let client = Client::http1(server);
        let acknowledged = by_then.iter().filter(|attempt| matches!(attempt.told, Told::Acknowledged { .. }));
        let mut told = Vec::new();
        for attempt in acknowledged {
            let Some(lane) = attempt.lane else { continue };
            let (id, key) = (attempt.id.clone(), format!("lane-{lane}"));
            let event = Event { id, key, data: self.log.plan.data };
            let now = self.log.send_batch(&client, &[event]).await.remove(0);
            told.push((attempt.told.clone(), now));
        }
        told
    }

    /// Waits until every caller has its answer, or, of those who insist, the one that they want.
    pub(crate) async fn finish(mut self) -> Vec<Attempt> {
        self.stop.send_replace(true);
        let finishing = async {
            while let Some(ended) = self.callers.join_next().await {
                ended.expect("a caller does not panic");
            }
        };
        let finished = tokio::time::timeout(LIMIT, finishing).await;
        assert!(finished.is_ok(), "callers still wait after {LIMIT:?}: {}", self.tally(0));
        self.attempts()
    }

    fn tally(&self, start: usize) -> String {
        let mut tally = std::collections::BTreeMap::<String, usize>::new();
        for attempt in &self.log.attempts.lock().unwrap()[start..] {
            let what = match &attempt.told {
                Told::Acknowledged { .. } => "acknowledged".to_owned(),
                other => format!("{other:?}"),
            };
            *tally.entry(what).or_default() += 1;
        }
        format!("{tally:?}")
    }
}

async fn wait_for_each(log: Arc<Log>, lane: usize, stop: watch::Receiver<bool>) {
    let plan = &log.plan;
    let mut servers = plan.servers.iter().cycle().skip(lane % plan.servers.len());
    let mut client = Client::http1(*servers.next().unwrap());
    let mut turn = 0;
    while !*stop.borrow() {
        turn += 1;
        let count = if plan.door == Door::Bridge { BATCH } else { 1 };
        let mut events: Vec<Event> = (0..count).map(|_| log.event(format!("lane-{lane}"))).collect();
        loop {
            let told = if plan.door == Door::Bridge {
                log.send_batch(&client, &events).await
            } else {
                vec![log.send_one(&client, &events[0]).await]
            };
            let mut wait = false;
            let mut left = Vec::new();
            for (event, told) in events.into_iter().zip(told) {
                let acknowledged = matches!(told, Told::Acknowledged { .. });
                wait |= !acknowledged;
                log.add(&event, Some(lane), turn, told);
                if !acknowledged && plan.insist {
                    left.push(event);
                }
            }
            // So that a fault does not turn callers into a flood.
            tokio::time::sleep(if wait { PAUSE } else { BREATH }).await;
            events = left;
            if events.is_empty() {
                break;
            }
            // As from behind a load balancer.
            if plan.servers.len() > 1 {
                client = Client::http1(*servers.next().unwrap());
            }
        }
    }
}

async fn wait_for_nobody(log: Arc<Log>, stop: watch::Receiver<bool>) {
    let servers = &log.plan.servers;
    let clients: Vec<Client> =
        (0..SHARED_CONNECTIONS).map(|index| Client::http2(servers[index % servers.len()])).collect();
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / log.plan.per_second);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut sending = JoinSet::new();
    for client in clients.iter().cycle() {
        ticks.tick().await;
        if *stop.borrow() {
            break;
        }
        while let Some(sent) = sending.try_join_next() {
            sent.expect("a caller does not panic");
        }
        let (log, client) = (Arc::clone(&log), client.clone());
        sending.spawn(async move {
            let event = log.event(format!("free-{}", log.next.load(Ordering::Relaxed) % 64));
            loop {
                let sent = log.send_one(&client, &event);
                let told = match log.plan.leave_after {
                    Some(patience) => {
                        tokio::time::timeout(patience, sent).await.unwrap_or(Told::Unknown(None))
                    }
                    None => sent.await,
                };
                let done = !log.plan.insist || matches!(told, Told::Acknowledged { .. });
                log.add(&event, None, 0, told);
                if done {
                    break;
                }
                tokio::time::sleep(PAUSE).await;
            }
        });
    }
    while let Some(sent) = sending.join_next().await {
        sent.expect("a caller does not panic");
    }
}

impl Log {
    fn event(&self, key: String) -> Event {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let data = match self.plan.now_and_then {
            Some((every, bytes)) if number % every == every - 1 => bytes,
            _ => self.plan.data,
        };
        Event { id: format!("event-{number}"), key, data }
    }

    fn add(&self, event: &Event, lane: Option<usize>, turn: u64, told: Told) {
        let attempt = Attempt { id: event.id.clone(), lane, turn, answered: Instant::now(), told };
        self.attempts.lock().unwrap().push(attempt);
    }

    async fn send_one(&self, client: &Client, event: &Event) -> Told {
        let request = match self.plan.door {
            Door::Bridge => self.for_bridge(client, event),
            Door::Gateway => client
                .request(Method::POST, &format!("/e2e/lane/{}", event.key))
                .header("x-api-key", KEY)
                .header("idempotency-key", &event.id)
                .header("content-type", "text/plain")
                .body(full(text(&event.id, event.data)))
                .unwrap(),
        };
        match client.try_send(request).await {
            Ok(answer) => told_by(&answer),
            Err(error) if !error.connected => Told::Unsent,
            Err(_) => Told::Unknown(None),
        }
    }

    fn for_bridge(&self, client: &Client, event: &Event) -> Request<Body> {
        let query = self.plan.ack.map(|ack| format!("?ack={ack}")).unwrap_or_default();
        client
            .request(Method::POST, &format!("/v1/topics/{}/events{query}", self.plan.topic))
            .header("content-type", "application/cloudevents+json")
            .body(full(cloud_event(event).to_string()))
            .unwrap()
    }

    async fn send_batch(&self, client: &Client, events: &[Event]) -> Vec<Told> {
        let records: Vec<Value> = events
            .iter()
            .map(|event| {
                let mut record =
                    json!({"topic": self.plan.topic, "key": event.key, "event": cloud_event(event)});
                if let Some(ack) = self.plan.ack {
                    record["ack"] = ack.into();
                }
                record
            })
            .collect();
        let request = client
            .request(Method::POST, "/v1/records")
            .header("content-type", "application/vnd.wicketgate.records+json")
            .body(full(Bytes::from(json!({"records": records}).to_string())))
            .unwrap();
        let all = |told: Told| vec![told; events.len()];
        match client.try_send(request).await {
            Ok(answer) => match answer.json().get("results").and_then(Value::as_array) {
                Some(results) => {
                    assert_eq!(results.len(), events.len(), "{answer:?}");
                    results.iter().map(told_by_result).collect()
                }
                None => all(told_by(&answer)),
            },
            Err(error) if !error.connected => all(Told::Unsent),
            Err(_) => all(Told::Unknown(None)),
        }
    }
}

fn cloud_event(event: &Event) -> Value {
    json!({
        "specversion": "1.0",
        "id": event.id,
        "source": "/delivery",
        "type": "com.example.delivery",
        "partitionkey": event.key,
        "data": text(&event.id, event.data),
    })
}

/// Letters without a pattern, which compression makes little smaller; the same ones for the same seed.
fn text(seed: &str, len: usize) -> String {
    let mut state = seed.bytes().fold(0x9e37_79b9_7f4a_7c15_u64, |state, byte| {
        (state ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    });
    let mut next = || {
        // xorshift64
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b'a' + state.to_le_bytes()[4] % 26)
    };
    (0..len).map(|_| next()).collect()
}

/// What an answer about a single event says. Panics at one that no document promises.
fn told_by(answer: &Answer) -> Told {
    let content = answer.json();
    let status = answer.status.as_u16();
    if status == 202 {
        return acknowledged(&content, answer.header("idempotency-replayed") == "true");
    }
    let kind = content["type"].as_str().and_then(|kind| kind.strip_prefix("urn:wicketgate:problem:"));
    match (status, kind) {
        (502 | 504, Some("outcome-unknown")) => Told::Unknown(Some(status)),
        (400 | 413 | 422 | 502 | 503, Some(_)) => Told::NotWritten(status),
        _ => panic!("no document promises {answer:?}"),
    }
}

fn told_by_result(result: &Value) -> Told {
    match result["outcome"].as_str() {
        Some("acknowledged") => acknowledged(&result["receipt"], result["replayed"] == true),
        Some("invalid") => Told::NotWritten(400),
        Some("too_large") => Told::NotWritten(413),
        Some("conflict") => Told::NotWritten(422),
        Some("refused") => Told::NotWritten(502),
        Some("unavailable") => Told::NotWritten(503),
        Some("unknown") => Told::Unknown(Some(504)),
        _ => panic!("no document promises {result}"),
    }
}

fn acknowledged(receipt: &Value, replayed: bool) -> Told {
    Told::Acknowledged {
        partition: receipt["partition"].as_i64().map(|partition| i32::try_from(partition).unwrap()),
        offset: receipt["offset"].as_i64(),
        ack: receipt["ack"].as_str().unwrap_or_else(|| panic!("no ack in {receipt}")).to_owned(),
        replayed,
    }
}
