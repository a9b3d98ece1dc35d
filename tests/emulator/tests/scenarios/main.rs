//! What the filter does with requests, in an emulated Envoy: each scenario natively against the crate, and in the
//! `wicketgate.wasm` that ships. What each costs in the latter is compared with `costs.txt`.

#![allow(
    clippy::unwrap_used,
    clippy::string_slice,
    clippy::panic,
    reason = "these are tests, and a panic is how a test fails"
)]

mod authorities;
mod bodies;
mod bridge;
mod document;
mod limits;
mod methods;
mod passing;
mod worst;

use std::collections::BTreeMap;
use std::{env, fs};

use wicketgate_emulator::{Callout, Costs, Gateway, Kind, Reply, table};

/// A scenario by name.
type Scenario = (&'static str, fn(Kind) -> Costs);

type Run = Box<dyn Fn(Kind) -> Costs>;

fn scenarios() -> Vec<(String, Run)> {
    let all =
        [bridge::SCENARIOS, bodies::SCENARIOS, passing::SCENARIOS, authorities::SCENARIOS, limits::SCENARIOS];
    let run = |(name, scenario): Scenario| -> (String, Run) { (name.to_owned(), Box::new(scenario)) };
    all.concat().into_iter().map(run).chain(methods::scenarios()).collect()
}

/// kafka-bridge has written all records of a call.
fn acknowledge(gateway: &mut Gateway, callout: &Callout) {
    let body = format!(r#"{{"results":[{}]}}"#, receipts(callout));
    gateway.answer(callout, 200, &[("wicketgate-bridge", "1")], &body);
}

/// The results of a call of which all records are written.
fn receipts(callout: &Callout) -> String {
    let value = |text: &str, name: &str| {
        let (_, rest) = text.split_once(&format!(r#""{name}":""#)).unwrap();
        rest.split_once('"').unwrap().0.to_owned()
    };
    let receipt = |record: &str| {
        let (topic, id) = (value(record, "topic"), value(record, "id"));
        format!(
            r#"{{"outcome":"acknowledged","receipt":{{"id":"{id}","topic":"{topic}","partition":0,"offset":7,"timestamp":"2027-01-15T08:00:00Z","ack":"all"}}}}"#
        )
    };
    let records = callout.body.match_indices(r#"{"topic":""#).map(|(at, _)| &callout.body[at..]);
    let results: Vec<_> = records.map(receipt).collect();
    results.join(",")
}

/// The status of an answer and, if it is a problem, its type.
fn problem(reply: &Reply) -> (u32, &str) {
    let kind = reply.body.split_once("urn:wicketgate:problem:").and_then(|(_, rest)| rest.split_once('"'));
    (reply.status, kind.map_or("", |(kind, _)| kind))
}

#[test]
fn natively() {
    for (name, scenario) in scenarios() {
        // Shown with the failure of a scenario.
        println!("{name}");
        scenario(Kind::Native);
    }
}

#[test]
fn in_the_module_that_ships_at_the_cost_that_is_written_down() {
    let mut costs = BTreeMap::new();
    for (name, scenario) in scenarios() {
        println!("{name}");
        let before = costs.insert(name.clone(), scenario(Kind::Wasm));
        assert_eq!(before, None, "two scenarios are called {name}");
    }
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/costs.txt");
    let now = table::write(&costs);
    if env::var_os("WICKETGATE_WRITE_COSTS").is_some() {
        fs::write(file, now).unwrap();
        return;
    }
    let before = fs::read_to_string(file).unwrap_or_default();
    let differences = table::differences(&before, &now);
    assert!(
        differences.is_empty(),
        "scenarios cost something else than tests/emulator/costs.txt says:\n  {}\n\
         If that is meant, run `make costs` and commit the file.",
        differences.join("\n  ")
    );
}

/// A host call costs the same wherever the filter runs. What only the module does is left out.
#[test]
fn natively_and_in_the_module_the_host_is_called_alike() {
    for (name, scenario) in scenarios() {
        let (native, wasm) = (scenario(Kind::Native), scenario(Kind::Wasm));
        assert_eq!(native.callbacks, wasm.callbacks, "{name}");
        assert_eq!(native.calls, wasm.calls, "{name}");
    }
}
