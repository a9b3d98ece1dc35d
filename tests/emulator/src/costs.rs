//! What scenarios cost, as a table that is compared with the one before.

use std::collections::BTreeMap;

/// What one scenario costs in one VM or several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Costs {
    /// Callbacks into the VM, by name.
    pub callbacks: BTreeMap<&'static str, u64>,
    /// Host calls, by name.
    pub calls: BTreeMap<&'static str, u64>,
    /// Wasm instructions, as wasmtime counts its fuel; 0 for a native run.
    pub fuel: u64,
}

/// How far fuel may be from what is written down, in percent: the optimiser moves it a little with changes elsewhere.
const TOLERANCE: u64 = 5;

/// The table of scenarios by name.
pub mod table {
    use std::fmt::Write as _;

    use super::{BTreeMap, Costs, TOLERANCE};

    /// Writes a table.
    pub fn write(costs: &BTreeMap<String, Costs>) -> String {
        let mut text = String::from(
            "# What each scenario costs in the wicketgate.wasm that ships, from a request's first byte on.\n\
             # Written by `make costs`. Counts are compared exactly, fuel (wasm instructions) within 5 percent.\n",
        );
        for (name, Costs { callbacks, calls, fuel }) in costs {
            let _ = write!(text, "\n[{name}]\n");
            for (kind, counts) in [("callback", callbacks), ("call", calls)] {
                for (what, count) in counts {
                    let _ = writeln!(text, "{kind} {what} {count}");
                }
            }
            let _ = writeln!(text, "fuel {fuel}");
        }
        text
    }

    /// Says how two tables differ, line by line; nothing if they do not.
    pub fn differences(before: &str, now: &str) -> Vec<String> {
        let (before, now) = (read(before), read(now));
        let mut lines = Vec::new();
        for key in before.keys().chain(now.keys().filter(|key| !before.contains_key(*key))) {
            let (was, is) = (before.get(key).copied(), now.get(key).copied());
            let what = format!("[{}] {}", key.0, key.1);
            match (was, is) {
                (Some(was), Some(is)) if key.1 == "fuel" => {
                    if was.abs_diff(is) * 100 > was * TOLERANCE {
                        lines.push(format!("{what}: {was} -> {is}, which is {}", change(was, is)));
                    }
                }
                (Some(was), Some(is)) if was == is => {}
                (was, is) => lines.push(format!("{what}: {} -> {}", shown(was), shown(is))),
            }
        }
        lines
    }

    fn shown(count: Option<u64>) -> String {
        count.map_or_else(|| "none".to_owned(), |count| count.to_string())
    }

    fn change(was: u64, is: u64) -> String {
        let percent = was.abs_diff(is) * 100 / was.max(1);
        format!("{percent} % {}", if is > was { "more" } else { "less" })
    }

    /// (scenario, what) and how much.
    fn read(text: &str) -> BTreeMap<(String, String), u64> {
        let mut scenario = String::new();
        let mut counts = BTreeMap::new();
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                name.clone_into(&mut scenario);
                continue;
            }
            let (what, count) = line.rsplit_once(' ').expect("a line has a number at its end");
            let count = count.parse().expect("a line has a number at its end");
            counts.insert((scenario.clone(), what.to_owned()), count);
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn costs(calls: u64, fuel: u64) -> String {
        let costs = Costs { calls: [("proxy_log", calls)].into(), fuel, ..Costs::default() };
        table::write(&[("a".to_owned(), costs)].into())
    }

    #[test]
    fn a_count_is_compared_exactly_and_fuel_within_its_tolerance() {
        let before = costs(1, 1000);
        assert_eq!(table::differences(&before, &costs(1, 1050)), [""; 0]);
        assert_eq!(table::differences(&before, &costs(1, 950)), [""; 0]);
        assert_eq!(table::differences(&before, &costs(2, 1000)), ["[a] call proxy_log: 1 -> 2"]);
        assert_eq!(
            table::differences(&before, &costs(1, 1100)),
            ["[a] fuel: 1000 -> 1100, which is 10 % more"]
        );
    }

    #[test]
    fn a_scenario_that_is_new_or_gone_is_a_difference() {
        let empty = table::write(&BTreeMap::new());
        assert_eq!(
            table::differences(&empty, &costs(1, 9)),
            ["[a] call proxy_log: none -> 1", "[a] fuel: none -> 9"]
        );
        assert_eq!(
            table::differences(&costs(1, 9), &empty),
            ["[a] call proxy_log: 1 -> none", "[a] fuel: 9 -> none"]
        );
    }
}
