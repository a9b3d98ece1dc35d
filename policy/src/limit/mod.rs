//! How often: rate limits and limits on what is in flight.
//!
//! A [`Policy`] is a limit as the document names it; a route counts its requests by one or more of them. All are asked
//! first; only if none refuses is anything counted, so that a request that one limit refuses uses nothing up of the others.

pub mod address;
pub mod fields;
pub mod gcra;
pub mod in_flight;
pub mod key;
mod ledger;
mod local;
pub mod table;

use std::rc::Rc;
use std::time::Duration;

use self::gcra::Rate;
use self::in_flight::InFlight;
use self::key::Part;
pub use self::ledger::{Ledger, Refusal, Report, Verdict};
pub use self::local::Local;
use self::table::Table;
use crate::auth::Principal;
pub use crate::config::document::{LimitCost as Cost, LimitCounts as Counts, LimitOnError as OnError};

/// A limit, as the document names it. Routes that share it share its counts.
#[derive(Debug)]
pub struct Policy {
    /// Its name.
    pub name: Rc<str>,
    /// What it limits.
    pub kind: Kind,
    /// Whether it only says what it would do.
    pub dry_run: bool,
    /// What happens to a request that it cannot count.
    pub on_error: OnError,
}

/// What a limit limits.
#[derive(Debug)]
pub enum Kind {
    /// Units in a time.
    Rate(RatePolicy),
    /// Requests that are in flight.
    InFlight(InFlight),
}

/// Units in a time.
#[derive(Debug)]
pub struct RatePolicy {
    /// How many for callers for whom nothing else is said.
    pub rate: Rate,
    /// How many for others.
    pub overrides: Vec<Override>,
    /// How many units a request is.
    pub cost: Cost,
    /// Which requests are counted.
    pub counts: Counts,
    /// Whether gateways share the counts.
    pub global: bool,
    pub(crate) table: Table,
}

/// Another rate for some callers.
#[derive(Debug)]
pub struct Override {
    /// Names of consumers.
    pub consumers: Vec<String>,
    /// Names of groups.
    pub groups: Vec<String>,
    /// Their rate.
    pub rate: Rate,
}

impl Override {
    fn is_for(&self, principal: &Principal) -> bool {
        let consumer = principal.consumer.as_ref().map(|consumer| consumer.name.as_str());
        consumer.is_some_and(|name| self.consumers.iter().any(|known| known == name))
            || self.groups.iter().any(|group| principal.is_in_group(group))
    }
}

impl RatePolicy {
    /// The rate for a caller: that of the first override that is for it.
    fn rate_for(&self, principal: Option<&Principal>) -> Rate {
        let special =
            principal.and_then(|principal| self.overrides.iter().find(|special| special.is_for(principal)));
        special.map_or(self.rate, |special| special.rate)
    }

    /// How far ahead of now a TAT in the table can be, in picoseconds.
    fn capacity(&self) -> u128 {
        let rates = self.overrides.iter().map(|special| special.rate).chain([self.rate]);
        rates.map(|rate| rate.capacity()).max().unwrap_or_default()
    }
}

/// A limit as a route uses it.
#[derive(Clone, Debug)]
pub struct RouteLimit {
    /// The limit.
    pub policy: Rc<Policy>,
    /// What it counts by.
    pub key: Vec<Part>,
}

/// When a limit is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Before the caller is known.
    BeforeAuthentication,
    /// Before the caller is known, and counted only when its credential is wrong.
    FailedAuthentication,
    /// Once the caller is known and allowed.
    AfterAuthentication,
    /// With the records, by kafka-bridge.
    WithRecords,
}

impl RouteLimit {
    /// When it is asked: as early as what it counts by is known. What is in flight is counted last, because it has to be
    /// given back.
    pub fn stage(&self) -> Stage {
        match &self.policy.kind {
            Kind::Rate(rate) if rate.global => Stage::WithRecords,
            Kind::Rate(rate) if rate.counts == Counts::FailedAuthentications => Stage::FailedAuthentication,
            Kind::InFlight(_) => Stage::AfterAuthentication,
            Kind::Rate(_) if self.key.iter().any(Part::needs_principal) => Stage::AfterAuthentication,
            Kind::Rate(_) => Stage::BeforeAuthentication,
        }
    }
}

/// Whole seconds, rounded up.
fn seconds_up(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}
