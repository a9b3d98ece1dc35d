//! What the filter adds to Envoy, and what it saves: `make bench` runs it. Requests with a body of one event go through
//! Envoy with the filter, and through an Envoy that merely proxies to the same bridge, in turn and several times over. The
//! numbers are those of this machine, where Envoy, bridge, Kafka and the load generator share the processors; the ratios
//! say more.
//!
//! `BENCH_SECONDS` is the length of a phase, of which each kind has `BENCH_ROUNDS`; `BENCH_CONNECTIONS` how many callers
//! there are (`1,64,256`). Arguments are handed to the bridge.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people"
)]

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use wicketgate_tests::bridge::Bridge;
use wicketgate_tests::envoy::Envoy;
use wicketgate_tests::gateway::{self, KEY};
use wicketgate_tests::kafka;
use wicketgate_tests::process::cpu_time;
use wicketgate_tests::topic::Topic;

const CONNECTIONS: &str = "1,64,256";

/// A way for an event to be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// An Envoy without the filter, to the bridge.
    Plain,
    /// The filter, which asks for an API key and for this many limits, and the bridge.
    Filter { limits: usize },
    /// The same filter, which reads the body, refuses it, and answers by itself. Envoy ends the connection then.
    Refused,
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Self::Plain => "Envoy without the filter, to the bridge",
            Self::Filter { limits: 0 } => "filter: API key",
            Self::Filter { limits: 1 } => "filter: API key, a limit",
            Self::Filter { .. } => "filter: API key, three limits",
            Self::Refused => "filter: API key, a limit; answers by itself, and ends the connection",
        }
    }
}

const ALL: [Way; 5] = [
    Way::Plain,
    Way::Filter { limits: 0 },
    Way::Filter { limits: 1 },
    Way::Filter { limits: 3 },
    Way::Refused,
];

/// What all phases of one kind came to.
#[derive(Debug, Default)]
struct Total {
    latencies: Vec<Duration>,
    took: Duration,
    /// Of Envoy, the bridge, Kafka and this program.
    cpu: [Duration; 4],
}

impl Total {
    fn per_second(&self) -> f64 {
        self.latencies.len() as f64 / self.took.as_secs_f64()
    }

    fn at(&self, percent: usize) -> Duration {
        self.latencies.get(self.latencies.len() * percent / 100).copied().unwrap_or_default()
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let bridge_args: Vec<String> = std::env::args().skip(1).collect();
    let bridge_args: Vec<&str> = bridge_args.iter().map(String::as_str).collect();
    let connections = std::env::var("BENCH_CONNECTIONS").unwrap_or_else(|_| CONNECTIONS.to_owned());
    let connections = connections.split(',').map(|count| count.parse().expect("numbers of connections"));
    let connections: Vec<usize> = connections.collect();
    let (length, rounds) = (Duration::from_secs(setting("BENCH_SECONDS", 2)), setting("BENCH_ROUNDS", 4));
    eprintln!("starting Kafka, the bridge and two Envoys ...");
    let kafka = tokio::task::spawn_blocking(kafka::shared).await.expect("a Kafka");
    let topic = Topic::create(kafka, "bench", 6).await;
    let bridge = Bridge::start(kafka.bootstrap_servers(), &bridge_args).await;
    let document = document(topic.name()).to_string();
    let to_bridge = || bridge.address().into();
    let plain =
        Envoy::start_altered(&document, to_bridge(), bridge.address(), &|yaml| without_filter(&yaml)).await;
    let filter = Envoy::start(&document, to_bridge(), bridge.address()).await;
    let load = Load {
        plain: plain.address(),
        filter: filter.address(),
        topic: topic.name().to_owned(),
        letters: letters(1 << 18),
        next: AtomicU64::new(0),
    };
    let load: &'static Load = Box::leak(Box::new(load));
    let cpu = |way: Way| {
        let envoy = if way == Way::Plain { &plain } else { &filter };
        // Kafka's own is not known if it is somebody else's.
        let kafka = if kafka.is_foreign() { Duration::ZERO } else { kafka.node().process().cpu_time() };
        [envoy.process().cpu_time(), bridge.process().cpu_time(), kafka, cpu_time("self")]
    };
    eprintln!("  warm-up ...");
    for way in ALL {
        load.run(way, 64, 1024, length).await;
    }

    println!("{rounds} rounds of {length:?} each, acks=all");
    println!(
        "| connections | body | what | requests/s | to plain | to its own answer | p50 | to plain | p99 | to plain | \
         processor time a request: Envoy, bridge, Kafka, load |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    let small = connections.iter().map(|count| (*count, 1024, &ALL[..]));
    let large = [(64, 65_536, &[Way::Plain, Way::Filter { limits: 1 }][..])];
    for (connections, bytes, ways) in small.chain(large) {
        eprintln!("  {connections} connections, {bytes} bytes ...");
        let mut totals: Vec<Total> = ways.iter().map(|_| Total::default()).collect();
        for _ in 0..rounds {
            for (way, total) in ways.iter().zip(&mut totals) {
                let (before, began) = (cpu(*way), Instant::now());
                total.latencies.extend(load.run(*way, connections, bytes, length).await);
                total.took += began.elapsed();
                let after = cpu(*way);
                for (sum, (after, before)) in total.cpu.iter_mut().zip(after.iter().zip(before)) {
                    *sum += after.saturating_sub(before);
                }
            }
        }
        totals.iter_mut().for_each(|total| total.latencies.sort_unstable());
        let own = ways.iter().position(|way| *way == Way::Refused).map(|index| totals[index].per_second());
        for (way, total) in ways.iter().zip(&totals) {
            let plain = &totals[0];
            let millis = |percent| total.at(percent).as_secs_f64() * 1e3;
            let to_plain = |percent| total.at(percent).as_secs_f64() / plain.at(percent).as_secs_f64();
            let cpu = total.cpu.map(|time| time.as_secs_f64() * 1e6 / total.latencies.len() as f64);
            println!(
                "| {connections} | {bytes} | {} | {:.0} | {:.2} | {} | {:.2} ms | {:.2} | {:.2} ms | {:.2} | \
                 {:.0}, {:.0}, {:.0}, {:.0} µs |",
                way.name(),
                total.per_second(),
                total.per_second() / plain.per_second(),
                own.map_or_else(String::new, |own| format!("{:.2}", total.per_second() / own)),
                millis(50),
                to_plain(50),
                millis(99),
                to_plain(99),
                cpu[0],
                cpu[1],
                cpu[2],
                cpu[3],
            );
        }
    }
    filter.assert_unharmed();
}

fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect("a whole number"))
}

/// Routes with as many limits as their names say.
fn document(topic: &str) -> Value {
    let mut document = gateway::document([("0", topic), ("1", topic), ("3", topic)], "10s");
    let limit = |key: Value| json!({"limit": 100_000_000, "period": "1s", "key": key});
    document["rate_limits"] = json!({
        "of-consumer": limit(json!(["consumer"])),
        "of-address": limit(json!(["address"])),
        "of-route": limit(json!(["route", "consumer"])),
    });
    // Without a key, as the events that the other Envoy lets through: records of many keys make smaller batches.
    for route in document["routes"].as_array_mut().into_iter().flatten() {
        if let Some(kafka) = route["kafka"].as_object_mut() {
            kafka.remove("key");
        }
    }
    document["routes"][1]["limits"] = json!(["of-consumer"]);
    document["routes"][2]["limits"] = json!(["of-address", "of-consumer", "of-route"]);
    document
}

/// Envoy's configuration without the filter: everything goes on to the upstream.
fn without_filter(yaml: &str) -> String {
    let (before, rest) = yaml.split_once("          - name: wicketgate\n").expect("the filter");
    let (_, after) = rest.split_once("          - name: envoy.filters.http.router\n").expect("the router");
    format!("{before}          - name: envoy.filters.http.router\n{after}")
}

/// Random letters: not one a thousand times, which would be compressed to nothing.
fn letters(count: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let letter = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        b'a' + u8::try_from(state % 26).unwrap_or(0)
    };
    (0..count).map(letter).collect()
}

struct Load {
    plain: SocketAddr,
    filter: SocketAddr,
    topic: String,
    letters: Vec<u8>,
    /// Each event is another one, as it would be.
    next: AtomicU64,
}

impl Load {
    /// Returns how long each request took.
    async fn run(
        &'static self,
        way: Way,
        connections: usize,
        bytes: usize,
        length: Duration,
    ) -> Vec<Duration> {
        let mut callers = JoinSet::new();
        let until = Instant::now() + length;
        for _ in 0..connections {
            callers.spawn(self.call(way, bytes, until));
        }
        callers.join_all().await.into_iter().flatten().collect()
    }

    /// One caller on one connection, who waits for each answer.
    async fn call(&'static self, way: Way, bytes: usize, until: Instant) -> Vec<Duration> {
        let (address, status) = match way {
            Way::Plain => (self.plain, "HTTP/1.1 202"),
            Way::Filter { .. } => (self.filter, "HTTP/1.1 202"),
            Way::Refused => (self.filter, "HTTP/1.1 400"),
        };
        let mut stream = connect(address).await;
        let mut latencies = Vec::new();
        let (mut request, mut answer) = (Vec::new(), Vec::new());
        while Instant::now() < until {
            self.write(way, bytes, &mut request);
            answer.clear();
            let began = Instant::now();
            stream.write_all(&request).await.expect("Envoy takes requests");
            while !is_whole(&answer) {
                let read = stream.read_buf(&mut answer).await;
                let read = read.unwrap_or_else(|error| panic!("{way:?}: Envoy does not answer: {error}"));
                assert!(read > 0, "Envoy has closed the connection: {}", String::from_utf8_lossy(&answer));
            }
            latencies.push(began.elapsed());
            // A benchmark of something else would be none.
            assert!(answer.starts_with(status.as_bytes()), "{way:?}: {}", String::from_utf8_lossy(&answer));
            if answer.windows(17).any(|window| window == b"connection: close") {
                stream = connect(address).await;
            }
        }
        latencies
    }

    /// A request whose event has this much data.
    fn write(&self, way: Way, bytes: usize, request: &mut Vec<u8>) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let spare = self.letters.len() - bytes;
        let start = usize::try_from(number.wrapping_mul(0x9E37_79B9) % spare as u64).unwrap_or(0);
        let data = &self.letters[start..start + bytes];
        // Ten digits, so that the length is known.
        let number = number % 10_000_000_000;
        let (head, before, after) = match way {
            Way::Plain => (
                format!(
                    "POST /v1/topics/{}/events HTTP/1.1\r\ncontent-type: application/cloudevents+json\r\n",
                    self.topic
                ),
                format!(
                    r#"{{"specversion":"1.0","source":"/bench","type":"com.example.bench","id":"{number:010}","data":""#
                ),
                "\"}",
            ),
            Way::Filter { limits } => (filter_head(limits, number), "\"".to_owned(), "\""),
            Way::Refused => (filter_head(1, number), "\"".to_owned(), ""),
        };
        let length = before.len() + bytes + after.len();
        request.clear();
        request.extend(head.bytes());
        request.extend(
            format!("host: gateway\r\nuser-agent: bench\r\ncontent-length: {length}\r\n\r\n").bytes(),
        );
        request.extend(before.bytes());
        request.extend(data);
        request.extend(after.bytes());
    }
}

fn filter_head(limits: usize, number: u64) -> String {
    format!(
        "POST /e2e/{limits}/{number:010} HTTP/1.1\r\nx-api-key: {KEY}\r\ncontent-type: application/json\r\n"
    )
}

async fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).await.expect("a connection to Envoy");
    stream.set_nodelay(true).expect("a socket option");
    stream
}

/// Whether this is all of an answer, by its `content-length`.
fn is_whole(answer: &[u8]) -> bool {
    let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(&answer[..end]);
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.and_then(|length| length.parse().ok()).expect("an answer says how long it is");
    answer.len() >= end + 4 + length
}
