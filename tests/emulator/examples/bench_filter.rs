//! How long the `wicketgate.wasm` that ships takes for each way to authenticate, and for documents with many consumers:
//! `make bench` runs it. Under wasmtime, on one thread, in an emulated Envoy; what Envoy itself does for a request is not
//! in it. The numbers are those of this machine, and the ratios say more.

#![allow(clippy::expect_used, clippy::print_stdout, clippy::print_stderr, reason = "a program for people")]

use std::time::{Duration, Instant};

use wicketgate_emulator::{Gateway, Kind, METHODS, Method, consumers};

/// Requests of each kind, of which the median counts.
const ROUNDS: usize = 400;

fn main() {
    eprintln!("measuring ways to authenticate ...");
    let costs = METHODS.map(|method| {
        let known = known(&method);
        let new = if method.remembers { new(&method) } else { known };
        (method, new, known)
    });
    let key = costs.iter().find(|(method, ..)| method.name == "API key").expect("API keys are a method").2;
    println!("| method | credential is new | to an API key | credential is remembered | to an API key |");
    println!("|---|---|---|---|---|");
    for (method, new, known) in costs {
        let shown = |time: Duration| {
            let (micros, ratio) = (time.as_secs_f64() * 1e6, time.as_secs_f64() / key.as_secs_f64());
            if micros < 100.0 {
                format!("{micros:.1} µs | {ratio:.1}")
            } else {
                format!("{micros:.0} µs | {ratio:.0}")
            }
        };
        let new = shown(new);
        let known = if method.remembers { shown(known) } else { "the same |".to_owned() };
        println!("| {} | {new} | {known} |", method.name);
    }
    println!(
        "\n| consumers | document | time to load | memory of the VM | a request |\n|---|---|---|---|---|"
    );
    for count in [10, 10_000, 100_000] {
        let document = consumers::document(count);
        let began = Instant::now();
        let mut gateway = Gateway::start(Kind::WasmUncounted, &document);
        let loaded = began.elapsed();
        let time = median(|| {
            let before = gateway.busy();
            assert!(consumers::send(&mut gateway, &consumers::key(count - 1)), "its key is good");
            gateway.busy() - before
        });
        println!(
            "| {count} | {:.1} MB | {:.2} s | {:.1} MB | {:.1} µs |",
            megabytes(document.len()),
            loaded.as_secs_f64(),
            megabytes(gateway.memory(0)),
            time.as_secs_f64() * 1e6
        );
    }
}

#[allow(clippy::cast_precision_loss, reason = "far fewer")]
fn megabytes(bytes: usize) -> f64 {
    bytes as f64 / 1e6
}

/// With a credential that the VM has not seen.
fn new(method: &Method) -> Duration {
    let mut gateway = method.start(Kind::WasmUncounted);
    method.send(&mut gateway);
    median(|| {
        gateway.configure_again(0);
        let before = gateway.busy();
        let asked = method.send(&mut gateway);
        let time = gateway.busy() - before;
        assert!(asked || method.name != "introspection", "the credential is not new");
        time
    })
}

/// With one that it has seen.
fn known(method: &Method) -> Duration {
    let mut gateway = method.start(Kind::WasmUncounted);
    method.send(&mut gateway);
    median(|| {
        let before = gateway.busy();
        method.send(&mut gateway);
        gateway.busy() - before
    })
}

fn median(mut measure: impl FnMut() -> Duration) -> Duration {
    let mut times: Vec<Duration> = (0..ROUNDS).map(|_| measure()).collect();
    times.sort_unstable();
    times.get(ROUNDS / 2).copied().unwrap_or_default()
}
