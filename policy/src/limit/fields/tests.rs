use std::rc::Rc;

#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::super::gcra::Rate;
use super::super::in_flight::InFlight;
use super::super::table::Table;
use super::super::{OnError, Policy, RatePolicy};
use super::*;

fn report(name: &str, limit: u64, seconds: u64, remaining: u64, next: u64, verdict: Verdict) -> Report {
    let rate = Rate::new(limit, Duration::from_secs(seconds), limit).unwrap();
    let kind = Kind::Rate(RatePolicy {
        rate,
        overrides: Vec::new(),
        cost: Cost::Request,
        counts: Counts::Requests,
        global: false,
        table: Table::new(name, 16),
    });
    let policy = Rc::new(Policy { name: Rc::from(name), kind, dry_run: false, on_error: OnError::Deny });
    let period = Some(rate.period());
    let quota = Quota { limit, burst: limit, period, remaining, next: Some(Duration::from_millis(next)) };
    Report { policy, verdict, quota: Some(quota) }
}

fn value(headers: &Headers, name: &str) -> Option<String> {
    headers.iter().find(|(field, _)| field == name).map(|(_, value)| value.clone())
}

#[test]
fn the_limit_of_which_the_least_is_left_comes_first() {
    let reports = [
        report("daily", 1_000, 86_400, 999, 86_400, Verdict::Allowed),
        report("burst", 100, 60, 50, 1, Verdict::Allowed),
    ];
    let headers = fields(&reports, LimitFields::Both);
    let wanted = r#""burst";q=100;w=60, "daily";q=1000;w=86400"#;
    assert_eq!(value(&headers, "ratelimit-policy").as_deref(), Some(wanted));
    assert_eq!(value(&headers, "ratelimit").as_deref(), Some(r#""burst";r=50;t=1, "daily";r=999;t=87"#));
    for (name, wanted) in
        [("x-ratelimit-limit", "100"), ("x-ratelimit-remaining", "50"), ("x-ratelimit-reset", "1")]
    {
        assert_eq!(value(&headers, name).as_deref(), Some(wanted), "{name}");
    }
}

#[test]
fn a_limit_that_refuses_comes_before_one_that_is_just_used_up() {
    let reports =
        [report("a", 9, 9, 0, 500, Verdict::Allowed), report("b", 1_000, 60, 3, 1, Verdict::Denied)];
    let headers = fields(&reports, LimitFields::Ietf);
    assert_eq!(value(&headers, "ratelimit").as_deref(), Some(r#""b";r=3;t=1, "a";r=0;t=1"#));
    assert_eq!(headers.len(), 2);
}

#[test]
fn units_are_told_where_they_are_not_requests() {
    let mut bytes = report("bytes", 10, 1, 10, 0, Verdict::Allowed);
    let mut events = report("bytes", 10, 1, 10, 0, Verdict::Allowed);
    for (report, cost) in [(&mut bytes, Cost::BodyBytes), (&mut events, Cost::Events)] {
        if let Kind::Rate(rate) = &mut Rc::get_mut(&mut report.policy).unwrap().kind {
            rate.cost = cost;
        }
    }
    let kind = Kind::InFlight(InFlight::new("f", 5, Duration::from_secs(1)));
    let policy = Rc::new(Policy { name: Rc::from("f"), kind, dry_run: false, on_error: OnError::Deny });
    let quota = Quota { limit: 5, burst: 5, period: None, remaining: 4, next: None };
    let flight = Report { policy, verdict: Verdict::Allowed, quota: Some(quota) };
    for (report, policy, limit) in [
        (bytes, r#""bytes";q=10;qu="content-bytes";w=1"#, r#""bytes";r=10"#),
        (events, r#""bytes";q=10;wicketgate-unit="events";w=1"#, r#""bytes";r=10"#),
        (flight, r#""f";q=5;qu="concurrent-requests""#, r#""f";r=4"#),
    ] {
        let headers = fields(&[report], LimitFields::Ietf);
        assert_eq!(value(&headers, "ratelimit-policy").as_deref(), Some(policy));
        assert_eq!(value(&headers, "ratelimit").as_deref(), Some(limit));
    }
}

#[test]
fn nothing_is_told_of_limits_on_trial_of_those_uncounted_and_where_nothing_is_wanted() {
    let told = report("a", 9, 9, 5, 500, Verdict::Allowed);
    assert_eq!(fields(std::slice::from_ref(&told), LimitFields::None), Headers::new());
    let mut uncounted = told.clone();
    uncounted.quota = None;
    let trial = {
        let Report { verdict, quota, .. } = told;
        let kind = Kind::InFlight(InFlight::new("f", 5, Duration::from_secs(1)));
        let policy = Rc::new(Policy { name: Rc::from("f"), kind, dry_run: true, on_error: OnError::Deny });
        Report { policy, verdict, quota }
    };
    assert_eq!(fields(&[uncounted, trial], LimitFields::Both), Headers::new());
}
