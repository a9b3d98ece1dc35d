#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::auth::Memory;
use crate::env::testing::TestEnv;

/// Several VMs of one gateway: one shared store, a memory each.
struct Gateway {
    env: TestEnv,
    memories: Vec<Memory>,
}

impl Gateway {
    fn new(vms: usize) -> Self {
        Self { env: TestEnv::default(), memories: (0..vms).map(|_| Memory::default()).collect() }
    }

    fn at<T>(&mut self, vm: usize, work: impl FnOnce(&mut TestEnv) -> T) -> T {
        std::mem::swap(&mut self.env.memory, &mut self.memories[vm]);
        let result = work(&mut self.env);
        std::mem::swap(&mut self.env.memory, &mut self.memories[vm]);
        result
    }

    fn acquire(&mut self, vm: usize, limit: &InFlight, key: &str) -> Option<Lease> {
        self.at(vm, |env| limit.acquire(key.as_bytes(), env).unwrap().1)
    }

    fn wait(&mut self, time: Duration) {
        let nanos = self.env.now.as_nanos() + u64::try_from(time.as_nanos()).unwrap();
        self.env.now = Timestamp::from_nanos(nanos);
    }
}

fn limit(limit: u32) -> InFlight {
    InFlight::new("f", limit, Duration::from_secs(60))
}

#[test]
fn all_workers_together_have_no_more_in_flight_than_the_limit() {
    let (mut gateway, limit) = (Gateway::new(4), limit(5));
    let mut held: Vec<(usize, Lease)> = Vec::new();
    for turn in 0..12 {
        held.extend(gateway.acquire(turn % 4, &limit, "k").map(|lease| (turn % 4, lease)));
    }
    assert_eq!(held.len(), 5);
    assert!(gateway.acquire(0, &limit, "other").is_some());
    for (vm, lease) in held.drain(..3) {
        gateway.at(vm, |env| lease.release(env));
    }
    let again = (0..12).filter(|turn| gateway.acquire(turn % 4, &limit, "k").is_some()).count();
    assert_eq!(again, 3);
}

#[test]
fn what_a_worker_had_that_died_is_forgotten_when_its_time_is_up() {
    let (mut gateway, limit) = (Gateway::new(2), limit(2));
    assert!(gateway.acquire(0, &limit, "k").is_some() && gateway.acquire(0, &limit, "k").is_some());
    gateway.memories[0] = Memory::default();
    gateway.wait(Duration::from_secs(59));
    assert!(gateway.acquire(1, &limit, "k").is_none());
    gateway.wait(Duration::from_secs(1));
    assert!(gateway.acquire(1, &limit, "k").is_some() && gateway.acquire(1, &limit, "k").is_some());
}

#[test]
fn a_worker_that_lives_is_believed_for_longer_than_a_lease() {
    let (mut gateway, limit) = (Gateway::new(2), limit(3));
    let _long = gateway.acquire(0, &limit, "k").unwrap();
    for _ in 0..5 {
        gateway.wait(Duration::from_secs(50));
        let short = gateway.acquire(0, &limit, "k").unwrap();
        gateway.at(0, |env| short.release(env));
    }
    assert!(gateway.acquire(1, &limit, "k").is_some() && gateway.acquire(1, &limit, "k").is_some());
    assert!(gateway.acquire(1, &limit, "k").is_none());
}

#[test]
fn a_clock_that_is_set_back_holds_nothing_for_longer_than_a_lease() {
    let (mut gateway, limit) = (Gateway::new(2), limit(1));
    let start = gateway.env.now;
    gateway.wait(Duration::from_secs(3_600));
    assert!(gateway.acquire(0, &limit, "k").is_some());
    gateway.env.now = start;
    assert!(gateway.acquire(1, &limit, "k").is_none());
    // Another key's write takes the clock's word.
    let other = gateway.acquire(1, &InFlight::new("f", 9, Duration::from_secs(60)), "k").unwrap();
    gateway.at(1, |env| other.release(env));
    gateway.wait(Duration::from_secs(60));
    assert!(gateway.acquire(1, &limit, "k").is_some());
}

#[test]
fn nothing_is_left_where_nothing_is_in_flight() {
    let (mut gateway, limit) = (Gateway::new(2), limit(100));
    let mut held = Vec::new();
    for key in 0..40 {
        held.push((key % 2, gateway.acquire(key % 2, &limit, &key.to_string()).unwrap()));
    }
    let shared_keys: Vec<String> = held.iter().map(|(_, lease)| lease.place.shared_key.clone()).collect();
    for (vm, lease) in held {
        gateway.at(vm, |env| lease.release(env));
    }
    for key in shared_keys {
        assert_eq!(crate::env::SharedStore::get(&mut gateway.env.shared, &key).unwrap().unwrap().0, b"");
    }
    assert!(gateway.memories.iter().all(|memory| memory.limits.in_flight.is_empty()));
}
