//! A document with many consumers, in the `wicketgate.wasm` that ships.

#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests, and a panic is how a test fails")]

use wicketgate_emulator::{Gateway, Kind, consumers};

/// What consumers cost in a VM.
#[derive(Debug)]
struct Cost {
    /// Wasm instructions until the document is accepted.
    load: u64,
    /// The VM's memory then, in bytes. It never shrinks, so this is the most that it has needed.
    memory: usize,
    /// Wasm instructions of a request with a key that is known, and with one that is not.
    known: u64,
    unknown: u64,
}

fn cost(count: usize) -> Cost {
    let (mut gateway, accepted) = Gateway::try_start(Kind::Wasm, &consumers::document(count), 1);
    assert!(accepted, "{:?}", gateway.logs());
    let load = gateway.fuel();
    let mut fuel = |key: &str, is_let_in: bool| {
        // The first one of a kind makes what the others find.
        assert_eq!(consumers::send(&mut gateway, key), is_let_in);
        gateway.count_from_here();
        assert_eq!(consumers::send(&mut gateway, key), is_let_in);
        gateway.fuel()
    };
    let known = fuel(&consumers::key(count - 1), true);
    let unknown = fuel(&consumers::key(count), false);
    Cost { load, memory: gateway.memory(0), known, unknown }
}

#[test]
fn a_hundred_thousand_consumers_fit_and_a_request_costs_what_it_does_with_ten() {
    let [ten, ten_thousand, hundred_thousand] = [10, 10_000, 100_000].map(cost);
    let all = format!("{ten:#?}, {ten_thousand:#?}, {hundred_thousand:#?}");
    assert!(hundred_thousand.memory < 100_000_000, "{all}");
    assert!(hundred_thousand.load < ten_thousand.load * 11, "loading is not linear: {all}");
    for more in [&ten_thousand, &hundred_thousand] {
        for (few, many) in [(ten.known, more.known), (ten.unknown, more.unknown)] {
            // Where a key lies in its table differs a little.
            assert!(few.abs_diff(many) * 20 <= few, "a request costs 5 % more or less: {all}");
        }
    }
}
