use std::time::Duration;

#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::super::address::ClientAddress;
use super::super::key::Part;
use super::super::table::Table;
use super::super::{Override, RatePolicy};
use super::*;
use crate::auth::{Consumer, Principal};
use crate::env::testing::TestEnv;
use crate::env::{SharedError, SharedStore, Version};
use crate::head::RequestHead;

fn limit(
    name: &str,
    limit: u64,
    seconds: u64,
    change: impl FnOnce(&mut Policy, &mut RatePolicy),
) -> RouteLimit {
    let mut rate = RatePolicy {
        rate: Rate::new(limit, Duration::from_secs(seconds), limit).unwrap(),
        overrides: Vec::new(),
        cost: Cost::Request,
        counts: Counts::Requests,
        global: false,
        table: Table::new(name, 16),
    };
    let mut policy = Policy {
        name: Rc::from(name),
        kind: Kind::InFlight(InFlight::new("", 0, Duration::ZERO)),
        dry_run: false,
        on_error: OnError::Deny,
    };
    change(&mut policy, &mut rate);
    policy.kind = Kind::Rate(rate);
    RouteLimit { policy: Rc::new(policy), key: vec![Part::Address] }
}

fn in_flight(name: &str, limit: u32) -> RouteLimit {
    let policy = Policy {
        name: Rc::from(name),
        kind: Kind::InFlight(InFlight::new(name, limit, Duration::from_secs(60))),
        dry_run: false,
        on_error: OnError::Deny,
    };
    RouteLimit { policy: Rc::new(policy), key: Vec::new() }
}

/// One request from an address.
fn charge(
    ledger: &mut Ledger,
    limits: &[RouteLimit],
    stage: Stage,
    principal: Option<&Principal>,
    env: &mut dyn Env,
) -> Result<(), Refusal> {
    let mut head = RequestHead::default();
    head.set_client_address("192.0.2.1".to_owned());
    let client_address = ClientAddress::default();
    let facts =
        Facts { head: &head, client_address: &client_address, route: "r", parameters: &[], principal };
    ledger.charge(limits, stage, &facts, None, env)
}

fn ask(limits: &[RouteLimit], env: &mut dyn Env) -> (Result<(), Refusal>, Ledger) {
    let mut ledger = Ledger::default();
    let result = charge(&mut ledger, limits, Stage::BeforeAuthentication, None, env);
    (result, ledger)
}

fn remaining(ledger: &Ledger) -> Vec<(String, &'static str, u64)> {
    let report = |report: &Report| {
        (
            report.policy.name.to_string(),
            report.verdict.as_str(),
            report.quota.map_or(99, |quota| quota.remaining),
        )
    };
    let mut reports: Vec<_> = ledger.reports().iter().map(report).collect();
    reports.sort();
    reports
}

fn exceeded(policies: &[&str], retry_after: u64) -> Result<(), Refusal> {
    Err(Refusal::Exceeded {
        policies: policies.iter().map(|name| (*name).to_owned()).collect(),
        retry_after: Some(retry_after),
    })
}

#[test]
fn a_request_that_one_limit_refuses_uses_nothing_up_of_the_others() {
    let mut env = TestEnv::default();
    let limits = [limit("wide", 10, 10, |_, _| {}), limit("narrow", 2, 60, |_, _| {})];
    for _ in 0..2 {
        assert_eq!(ask(&limits, &mut env).0, Ok(()));
    }
    for _ in 0..20 {
        let (result, ledger) = ask(&limits, &mut env);
        assert_eq!(result, exceeded(&["narrow"], 30));
        assert_eq!(
            remaining(&ledger),
            [("narrow".to_owned(), "denied", 0), ("wide".to_owned(), "allowed", 8)]
        );
    }
    // The other way round, too.
    let limits = [limits[1].clone(), limits[0].clone()];
    assert_eq!(ask(&limits, &mut env).0, exceeded(&["narrow"], 30));
    assert_eq!(remaining(&ask(&limits[1..], &mut env).1), [("wide".to_owned(), "allowed", 7)]);
}

#[test]
fn a_refusal_of_a_later_stage_gives_back_what_earlier_ones_took() {
    let mut env = TestEnv::default();
    let caller = Principal::consumer("m".into(), "api_key", Rc::new(Consumer::default()));
    let mut consumer = limit("consumer", 1, 60, |_, _| {});
    consumer.key = vec![Part::Consumer];
    let limits = [limit("address", 5, 5, |_, _| {}), consumer];
    for turn in 0..4 {
        let mut ledger = Ledger::default();
        assert_eq!(charge(&mut ledger, &limits, Stage::BeforeAuthentication, None, &mut env), Ok(()));
        let result = charge(&mut ledger, &limits, Stage::AfterAuthentication, Some(&caller), &mut env);
        assert_eq!(result.is_ok(), turn == 0, "{turn}");
        assert_eq!(remaining(&ledger)[0].2, 4, "{turn}");
    }
}

#[test]
fn a_limit_on_trial_refuses_nothing_and_says_that_it_would() {
    let mut env = TestEnv::default();
    let limits = [limit("trial", 1, 60, |policy, _| policy.dry_run = true), limit("real", 2, 60, |_, _| {})];
    for (verdict, left) in [("allowed", 1), ("would_deny", 0)] {
        let (result, ledger) = ask(&limits, &mut env);
        assert_eq!(result, Ok(()));
        assert_eq!(remaining(&ledger)[0].2, left);
        assert_eq!(remaining(&ledger)[1].1, verdict);
    }
    assert_eq!(ask(&limits, &mut env).0, exceeded(&["real"], 30));
}

#[test]
fn the_first_override_for_a_caller_counts() {
    let mut env = TestEnv::default();
    let rate = |limit| Rate::new(limit, Duration::from_secs(60), limit).unwrap();
    let mut by_consumer = limit("c", 1, 60, |_, policy| {
        policy.overrides = vec![
            Override { consumers: vec!["big".to_owned()], groups: Vec::new(), rate: rate(3) },
            Override { consumers: Vec::new(), groups: vec!["gold".to_owned()], rate: rate(2) },
        ];
    });
    by_consumer.key = vec![Part::Consumer];
    for (name, groups, wanted) in
        [("big", &["gold"][..], 3), ("other", &["gold"], 2), ("third", &["silver"], 1), ("gold", &[], 1)]
    {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        let consumer = Consumer { name: name.to_owned(), groups, ..Consumer::default() };
        let caller = Principal::consumer("m".into(), "api_key", Rc::new(consumer));
        let mut allowed = 0;
        for _ in 0..5 {
            let mut ledger = Ledger::default();
            let limits = std::slice::from_ref(&by_consumer);
            allowed += u32::from(
                charge(&mut ledger, limits, Stage::AfterAuthentication, Some(&caller), &mut env).is_ok(),
            );
        }
        assert_eq!(allowed, wanted, "{name}");
    }
}

#[test]
fn a_cost_that_is_not_known_yet_is_counted_when_it_is() {
    let mut env = TestEnv::default();
    let limits =
        [limit("bytes", 100, 100, |_, rate| rate.cost = Cost::BodyBytes), limit("requests", 9, 9, |_, _| {})];
    let (result, mut ledger) = ask(&limits, &mut env);
    assert_eq!(result, Ok(()));
    assert_eq!(remaining(&ledger)[0].2, 100);
    assert_eq!(ledger.settle(|cost| (cost == Cost::BodyBytes).then_some(60), &mut env), Ok(()));
    assert_eq!(remaining(&ledger)[0].2, 40);
    let (_, mut ledger) = ask(&limits, &mut env);
    assert_eq!(ledger.settle(|_| Some(41), &mut env), exceeded(&["bytes"], 1));
    assert_eq!(
        remaining(&ledger),
        [("bytes".to_owned(), "denied", 40), ("requests".to_owned(), "allowed", 8)]
    );
    let (_, mut ledger) = ask(&limits, &mut env);
    assert_eq!(ledger.settle(|_| Some(40), &mut env), Ok(()));
    // Nothing is left, so the next is refused before its body is read.
    assert_eq!(ask(&limits, &mut env).0, exceeded(&["bytes"], 1));
}

#[test]
fn only_wrong_credentials_count_as_failures_and_then_nobody_is_let_in() {
    let mut env = TestEnv::default();
    let limits = [limit("guesses", 3, 600, |_, rate| rate.counts = Counts::FailedAuthentications)];
    let mut ask = |fails: bool| {
        let mut ledger = Ledger::default();
        charge(&mut ledger, &limits, Stage::FailedAuthentication, None, &mut env)?;
        if fails { ledger.failed_authentication(&mut env) } else { ledger.settle(|_| Some(1), &mut env) }
    };
    (0..50).for_each(|_| assert_eq!(ask(false), Ok(())));
    (0..3).for_each(|_| assert_eq!(ask(true), Ok(())));
    assert_eq!((ask(true), ask(false)), (exceeded(&["guesses"], 200), exceeded(&["guesses"], 200)));
}

#[test]
fn guesses_that_are_made_at_the_same_time_are_counted_one_by_one() {
    let mut env = TestEnv::default();
    let limits = [limit("guesses", 3, 600, |_, rate| rate.counts = Counts::FailedAuthentications)];
    let mut ledgers: Vec<Ledger> = Vec::new();
    for _ in 0..10 {
        let mut ledger = Ledger::default();
        assert_eq!(charge(&mut ledger, &limits, Stage::FailedAuthentication, None, &mut env), Ok(()));
        ledgers.push(ledger);
    }
    let answered =
        ledgers.iter_mut().filter_map(|ledger| ledger.failed_authentication(&mut env).ok()).count();
    assert_eq!(answered, 3);
}

#[test]
fn what_is_in_flight_is_given_back_when_the_request_ends_and_when_it_is_refused() {
    let mut env = TestEnv::default();
    let limits = [in_flight("two", 2), in_flight("one", 1)];
    let ask = |env: &mut TestEnv| {
        let mut ledger = Ledger::default();
        let result = charge(&mut ledger, &limits, Stage::AfterAuthentication, None, env);
        (result, ledger)
    };
    let (first, mut held) = ask(&mut env);
    assert_eq!(first, Ok(()));
    for _ in 0..5 {
        let (result, ledger) = ask(&mut env);
        assert_eq!(result, exceeded(&["one"], 1));
        assert_eq!(remaining(&ledger)[0].2, 0);
    }
    held.close(&mut env);
    held.close(&mut env);
    assert_eq!(ask(&mut env).0, Ok(()));
}

/// A host whose shared data does not do its part, or at which others are always faster.
struct Broken {
    env: TestEnv,
    store: Store,
}

enum Store {
    Fails,
    Contended(crate::env::LocalStore),
}

impl SharedStore for Store {
    fn get(&mut self, key: &str) -> Result<Option<(Vec<u8>, Version)>, SharedError> {
        match self {
            Self::Fails => Err(SharedError),
            Self::Contended(store) => store.get(key),
        }
    }

    fn create(&mut self, key: &str, value: &[u8]) -> Result<bool, SharedError> {
        match self {
            Self::Fails => Err(SharedError),
            Self::Contended(store) if key.ends_with("seed") => store.create(key, value),
            Self::Contended(_) => Ok(false),
        }
    }

    fn compare_and_swap(&mut self, _: &str, _: &[u8], _: Version) -> Result<bool, SharedError> {
        if matches!(self, Self::Fails) { Err(SharedError) } else { Ok(false) }
    }
}

impl Env for Broken {
    fn now(&self) -> Timestamp {
        self.env.now()
    }

    fn fill_random(&mut self, buffer: &mut [u8]) {
        self.env.fill_random(buffer);
    }

    fn memory(&mut self) -> &mut crate::auth::Memory {
        self.env.memory()
    }

    fn property(&self, _: &[&str]) -> Option<Vec<u8>> {
        None
    }

    fn shared(&mut self) -> &mut dyn SharedStore {
        &mut self.store
    }
}

#[test]
fn what_cannot_be_counted_goes_as_the_limit_says() {
    for store in [|| Store::Fails, || Store::Contended(crate::env::LocalStore::default())] {
        let mut env = Broken { env: TestEnv::default(), store: store() };
        let deny = [limit("a", 1, 1, |_, _| {})];
        let allow = [limit("a", 1, 1, |policy, _| policy.on_error = OnError::Allow)];
        let trial = [limit("a", 1, 1, |policy, _| policy.dry_run = true)];
        assert_eq!(ask(&deny, &mut env).0, Err(Refusal::Unavailable { policy: "a".to_owned() }));
        for limits in [allow, trial] {
            let (result, ledger) = ask(&limits, &mut env);
            assert_eq!(result, Ok(()));
            assert_eq!(remaining(&ledger)[0].1, "allowed_uncounted");
        }
        let mut ledger = Ledger::default();
        let result = charge(&mut ledger, &[in_flight("f", 1)], Stage::AfterAuthentication, None, &mut env);
        assert_eq!(result, Err(Refusal::Unavailable { policy: "f".to_owned() }));
    }
}

/// A worker that is held up while it asks for shared data, and another that is not.
struct HeldUp {
    env: TestEnv,
    store: Busy,
}

/// Shared data that another worker uses first, once it is told of what.
struct Busy {
    now: Rc<std::cell::Cell<Timestamp>>,
    shared: crate::env::LocalStore,
    others: Vec<RouteLimit>,
}

impl Busy {
    /// Two seconds later, another worker lets through what it may.
    fn use_up(&mut self) {
        let others = std::mem::take(&mut self.others);
        if others.is_empty() {
            return;
        }
        self.now.set(Timestamp::from_nanos(self.now.get().as_nanos() + 2_000_000_000));
        let shared = std::mem::take(&mut self.shared);
        let mut env = TestEnv { now: self.now.get(), shared, ..TestEnv::default() };
        while ask(&others, &mut env).0.is_ok() {}
        self.shared = env.shared;
    }
}

impl SharedStore for Busy {
    fn get(&mut self, key: &str) -> Result<Option<(Vec<u8>, Version)>, SharedError> {
        self.use_up();
        self.shared.get(key)
    }

    fn create(&mut self, key: &str, value: &[u8]) -> Result<bool, SharedError> {
        self.shared.create(key, value)
    }

    fn compare_and_swap(&mut self, key: &str, value: &[u8], version: Version) -> Result<bool, SharedError> {
        self.shared.compare_and_swap(key, value, version)
    }
}

impl Env for HeldUp {
    fn now(&self) -> Timestamp {
        self.store.now.get()
    }

    fn fill_random(&mut self, buffer: &mut [u8]) {
        self.env.fill_random(buffer);
    }

    fn memory(&mut self) -> &mut crate::auth::Memory {
        self.env.memory()
    }

    fn property(&self, _: &[&str]) -> Option<Vec<u8>> {
        None
    }

    fn shared(&mut self) -> &mut dyn SharedStore {
        &mut self.store
    }
}

#[test]
fn a_worker_that_is_held_up_takes_another_s_work_for_no_step_of_the_clock() {
    let limits = [limit("a", 10, 10, |_, _| {})];
    let env = TestEnv::default();
    let now = Rc::new(std::cell::Cell::new(env.now));
    let store = Busy { now, shared: crate::env::LocalStore::default(), others: Vec::new() };
    let mut env = HeldUp { env, store };
    for _ in 0..5 {
        assert_eq!(ask(&limits, &mut env).0, Ok(()));
    }
    env.store.others = limits.to_vec();
    // Five before, two seconds, and seven by the other worker: nothing is left, for either of them.
    for _ in 0..2 {
        assert!(matches!(ask(&limits, &mut env).0, Err(Refusal::Exceeded { .. })));
    }
}
