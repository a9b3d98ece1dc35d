//! What callers are told of their limits: `RateLimit-Policy` and `RateLimit`
//! (draft-ietf-httpapi-ratelimit-headers-10), and `X-RateLimit-*` for those who know only these.

use std::cmp::Reverse;
use std::time::Duration;

use super::ledger::{Quota, Report, Verdict};
use super::{Cost, Counts, Kind, seconds_up};
pub use crate::config::document::LimitFields;
use crate::reply::Headers;

/// The names of all fields, in lower case.
pub const NAMES: [&str; 6] = [
    "ratelimit",
    "ratelimit-policy",
    "retry-after",
    "x-ratelimit-limit",
    "x-ratelimit-remaining",
    "x-ratelimit-reset",
];

/// The fields of an answer, the most restrictive limit first.
pub fn fields(reports: &[Report], which: LimitFields) -> Headers {
    let mut shown: Vec<(&Report, Quota)> = reports
        .iter()
        .filter(|report| is_shown(report))
        .filter_map(|report| Some((report, report.quota?)))
        .collect();
    shown.sort_by_key(|(report, quota)| {
        (report.verdict != Verdict::Denied, share_left(quota), Reverse(quota.next))
    });
    let Some((_, tightest)) = shown.first() else { return Headers::new() };
    let mut headers = Headers::new();
    if matches!(which, LimitFields::Ietf | LimitFields::Both) {
        let list = |item: fn(&Report, &Quota) -> String| {
            shown.iter().map(|(report, quota)| item(report, quota)).collect::<Vec<_>>().join(", ")
        };
        headers.push(("ratelimit-policy".into(), list(policy)));
        headers.push(("ratelimit".into(), list(limit)));
    }
    if matches!(which, LimitFields::X | LimitFields::Both) {
        headers.push(("x-ratelimit-limit".into(), tightest.limit.to_string()));
        headers.push(("x-ratelimit-remaining".into(), tightest.remaining.to_string()));
        let reset = tightest.next.map_or(0, seconds_up);
        headers.push(("x-ratelimit-reset".into(), reset.to_string()));
    }
    headers
}

/// Limits on trial say nothing to callers, and those on wrong credentials nothing to who has a right one.
fn is_shown(report: &Report) -> bool {
    let guesses =
        matches!(&report.policy.kind, Kind::Rate(rate) if rate.counts == Counts::FailedAuthentications);
    !report.policy.dry_run && (!guesses || report.verdict == Verdict::Denied)
}

/// What is left, in millionths of a burst.
fn share_left(quota: &Quota) -> u128 {
    u128::from(quota.remaining) * 1_000_000 / u128::from(quota.burst.max(1))
}

fn policy(report: &Report, quota: &Quota) -> String {
    let mut item = format!("\"{}\";q={}", report.policy.name, quota.limit);
    // Events are no unit of the draft's registry, and its own parameters are for what it does not know.
    item.push_str(match &report.policy.kind {
        Kind::InFlight(_) => ";qu=\"concurrent-requests\"",
        Kind::Rate(rate) => match rate.cost {
            Cost::Request => "",
            Cost::BodyBytes => ";qu=\"content-bytes\"",
            Cost::Events => ";wicketgate-unit=\"events\"",
        },
    });
    if let Some(period) = quota.period {
        item.push_str(&format!(";w={}", period.as_secs()));
    }
    item
}

fn limit(report: &Report, quota: &Quota) -> String {
    let mut item = format!("\"{}\";r={}", report.policy.name, quota.remaining);
    if let Some(next) = quota.next.filter(|next| *next > Duration::ZERO) {
        item.push_str(&format!(";t={}", seconds_up(next)));
    }
    item
}

#[cfg(test)]
mod tests;
