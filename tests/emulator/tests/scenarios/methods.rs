//! What each way to authenticate costs, with a credential that is new and with one that is remembered.

use wicketgate_emulator::{Costs, Kind, METHODS, Method};

use super::Run;

pub(crate) fn scenarios() -> Vec<(String, Run)> {
    let mut scenarios: Vec<(String, Run)> = Vec::new();
    for method in METHODS {
        let name = format!("authentication: {}", method.name);
        if method.remembers {
            scenarios.push((format!("{name}, new"), Box::new(move |kind| first(&method, kind))));
            scenarios.push((format!("{name}, remembered"), Box::new(move |kind| second(&method, kind))));
        } else {
            scenarios.push((name, Box::new(move |kind| second(&method, kind))));
        }
    }
    scenarios
}

fn first(method: &Method, kind: Kind) -> Costs {
    let mut gateway = method.start(kind);
    method.send(&mut gateway);
    gateway.finish()
}

fn second(method: &Method, kind: Kind) -> Costs {
    let mut gateway = method.start(kind);
    method.send(&mut gateway);
    gateway.count_from_here();
    let asked = method.send(&mut gateway);
    assert!(!asked, "{} asks about what it knows", method.name);
    gateway.finish()
}
