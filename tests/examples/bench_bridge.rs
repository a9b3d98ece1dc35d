//! How many events the bridge takes, one a call and a hundred a call: `make bench` runs it. The numbers are those of
//! this machine, where bridge, Kafka and the load generator share the processors; the ratios say more.
//!
//! Arguments are handed to the bridge, such as `--librdkafka linger.ms=1`. `BENCH_SECONDS` is the length of a phase,
//! `BENCH_CONNECTIONS` how many there are in each (`1,64,256`), `BENCH_PARTITIONS` the number of the topic's partitions;
//! `BENCH_SINGLES=1` leaves out the calls with a hundred.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people"
)]

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use wicketgate_tests::bridge::Bridge;
use wicketgate_tests::http_client::Client;
use wicketgate_tests::kafka;
use wicketgate_tests::process::cpu_time;
use wicketgate_tests::topic::Topic;

const CONNECTIONS: &str = "1,64,256";
const BATCH: usize = 100;
/// Bytes of an event's data.
const DATA_BYTES: usize = 1024;

/// What a phase came to.
struct Phase {
    events_per_second: f64,
    p50: Duration,
    p99: Duration,
    records_per_request: f64,
    /// Time on the processors, per event: of the bridge, of Kafka, of this program.
    cpu: [Duration; 3],
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let bridge_args: Vec<String> = std::env::args().skip(1).collect();
    let bridge_args: Vec<&str> = bridge_args.iter().map(String::as_str).collect();
    let singles = setting("BENCH_SINGLES", 0) > 0;
    let connections = std::env::var("BENCH_CONNECTIONS").unwrap_or_else(|_| CONNECTIONS.to_owned());
    let connections = connections.split(',').map(|count| count.parse().expect("numbers of connections"));
    let connections: Vec<usize> = connections.collect();
    let length = Duration::from_secs(setting("BENCH_SECONDS", 4));
    let partitions = i32::try_from(setting("BENCH_PARTITIONS", 6)).expect("a number of partitions");
    eprintln!("starting Kafka and the bridge ...");
    let kafka = tokio::task::spawn_blocking(kafka::shared).await.expect("a Kafka");
    let topic = Topic::create(kafka, "bench", partitions).await;
    let bridge = Bridge::start(kafka.bootstrap_servers(), &bridge_args).await;
    let load = Load { address: bridge.address(), topic: topic.name().to_owned(), next: AtomicU64::new(0) };
    let load: &'static Load = Box::leak(Box::new(load));
    // Kafka's own is not known if it is somebody else's.
    let cpu = || {
        let kafka = if kafka.is_foreign() { Duration::ZERO } else { kafka.node().process().cpu_time() };
        [bridge.process().cpu_time(), kafka, cpu_time("self")]
    };
    // Kafka is compiled while it runs.
    progress("warm-up");
    load.run(64, 1, length, &cpu).await;

    println!("events of {DATA_BYTES} bytes, acks=all, {partitions} partitions, {length:?} each");
    println!(
        "| connections | events a call | events/s | to single | p50 | p99 | records a batch | \
         processor time an event: bridge, Kafka, load | bridge's, single to this |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for connections in connections {
        let (mut single, mut single_cpu) = (None, None);
        for events in [1, BATCH].into_iter().take(if singles { 1 } else { 2 }) {
            progress(&format!("{connections} connections, {events} events a call"));
            let phase = load.run(connections, events, length, &cpu).await;
            let to_single = phase.events_per_second / *single.get_or_insert(phase.events_per_second);
            let from_single =
                single_cpu.get_or_insert(phase.cpu[0]).as_secs_f64() / phase.cpu[0].as_secs_f64();
            let [bridge, kafka, load] = phase.cpu.map(|time| time.as_secs_f64() * 1e6);
            println!(
                "| {connections} | {events} | {:.0} | {to_single:.1} | {:.2} ms | {:.2} ms | {:.1} | {bridge:.0}, {kafka:.0}, {load:.0} µs | {from_single:.1} |",
                phase.events_per_second,
                phase.p50.as_secs_f64() * 1e3,
                phase.p99.as_secs_f64() * 1e3,
                phase.records_per_request,
            );
        }
    }
}

fn progress(what: &str) {
    eprintln!("  {what} ...");
    let _ = std::io::stderr().flush();
}

fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect("a whole number"))
}

struct Load {
    address: SocketAddr,
    topic: String,
    /// Each event is another one, as it would be.
    next: AtomicU64,
}

impl Load {
    async fn run(
        &'static self,
        connections: usize,
        events: usize,
        length: Duration,
        cpu: &impl Fn() -> [Duration; 3],
    ) -> Phase {
        let (before, cpu_before) = (self.produced().await, cpu());
        let mut callers = JoinSet::new();
        let began = Instant::now();
        for _ in 0..connections {
            callers.spawn(self.call(events, began + length));
        }
        let mut latencies: Vec<Duration> = callers.join_all().await.into_iter().flatten().collect();
        let (took, cpu_after) = (began.elapsed(), cpu());
        // The bridge hears of them from librdkafka, twice a second.
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        let after = self.produced().await;
        latencies.sort_unstable();
        let at = |share: usize| latencies.get(latencies.len() * share / 100).copied().unwrap_or_default();
        #[allow(clippy::cast_precision_loss, reason = "far fewer")]
        let (events, records, requests) = (
            (latencies.len() * events) as f64,
            after.0.saturating_sub(before.0) as f64,
            after.1.saturating_sub(before.1) as f64,
        );
        Phase {
            events_per_second: events / took.as_secs_f64(),
            p50: at(50),
            p99: at(99),
            records_per_request: records / requests,
            cpu: std::array::from_fn(|index| {
                cpu_after[index].saturating_sub(cpu_before[index]).div_f64(events.max(1.0))
            }),
        }
    }

    /// One caller on one connection, who waits for each answer; returns how long each took.
    async fn call(&self, events: usize, until: Instant) -> Vec<Duration> {
        let stream = TcpStream::connect(self.address).await.expect("a connection to the bridge");
        stream.set_nodelay(true).expect("a socket option");
        let (mut sender, connection) =
            http1::handshake::<_, Full<Bytes>>(TokioIo::new(stream)).await.expect("HTTP");
        let connection = tokio::spawn(connection);
        let mut latencies = Vec::new();
        while Instant::now() < until {
            let request = self.request(events);
            let began = Instant::now();
            let answer = sender.send_request(request).await.expect("an answer");
            let status = answer.status();
            answer.into_body().collect().await.expect("all of the answer");
            latencies.push(began.elapsed());
            assert_eq!(status, StatusCode::ACCEPTED, "a benchmark of refusals would be none");
        }
        drop(sender);
        let _ = connection.await;
        latencies
    }

    fn request(&self, events: usize) -> Request<Full<Bytes>> {
        let mut body = String::with_capacity(events * (DATA_BYTES + 200) + 2);
        let first = self.next.fetch_add(events as u64, Ordering::Relaxed);
        for id in first..first + events as u64 {
            body.push(if id == first { '[' } else { ',' });
            body.push_str(r#"{"specversion":"1.0","source":"/bench","type":"com.example.bench","id":""#);
            body.push_str(&id.to_string());
            body.push_str(r#"","data":""#);
            // Not one letter a thousand times, which would be compressed to nothing.
            let mut state = id.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
            for _ in 0..DATA_BYTES {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                body.push(char::from(b'a' + u8::try_from(state % 26).unwrap_or(0)));
            }
            body.push_str("\"}");
        }
        let (content_type, body) = if events == 1 {
            ("application/cloudevents+json", Bytes::from(body).slice(1..))
        } else {
            body.push(']');
            ("application/cloudevents-batch+json", Bytes::from(body))
        };
        Request::post(format!("/v1/topics/{}/events", self.topic))
            .header("host", "bridge")
            .header("content-type", content_type)
            .body(Full::new(body))
            .expect("a valid request")
    }

    /// How many records, in how many requests, the bridge's producer has sent.
    async fn produced(&self) -> (u64, u64) {
        let text = Client::http1(self.address).try_get("/metrics").await.expect("metrics").body;
        let text = String::from_utf8_lossy(&text).into_owned();
        let value = |name: &str| {
            let line = text.lines().find(|line| line.starts_with(&format!("{name}{{")));
            line.and_then(|line| line.rsplit_once(' ')?.1.parse().ok()).unwrap_or_default()
        };
        (value("kafka_bridge_producer_records_sent"), value("kafka_bridge_producer_batches_sent"))
    }
}
