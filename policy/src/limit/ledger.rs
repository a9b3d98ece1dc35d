//! What one request has used up of its limits.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use wicketgate_envelope::hop::{LimitState, SharedLimit};
use wicketgate_envelope::timestamp::Timestamp;

use super::gcra::{Decision, Rate};
use super::in_flight::{InFlight, Lease};
use super::key::{Facts, key};
use super::local::Local;
use super::table::{MAX_RETRIES, Place, Set, TableError};
use super::{Cost, Counts, Kind, OnError, Policy, RouteLimit, Stage, seconds_up};
use crate::env::{Count, Env};

/// What one request has used up, and what its limits have said.
#[derive(Debug, Default)]
pub struct Ledger {
    /// What has been counted, and when.
    spent: Vec<(Charge, Timestamp)>,
    /// Limits whose cost is not known yet.
    open: Vec<Charge>,
    leases: Vec<Lease>,
    /// Limits that kafka-bridge is to ask, with the caller's key.
    shared: Vec<(Rc<Policy>, Rate, String)>,
    reports: Vec<Report>,
    /// Milliseconds until limits that gateways share would let the request through.
    shared_wait: Option<u64>,
    /// What has been used before, by the names of limits.
    used: BTreeMap<String, u64>,
}

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// These limits are exceeded.
    Exceeded {
        /// Their names.
        policies: Vec<String>,
        /// When all of them would let the request through, in whole seconds; `None` if that is not known.
        retry_after: Option<u64>,
    },
    /// This limit cannot be counted now, and says that nothing goes on without it.
    Unavailable {
        /// Its name.
        policy: String,
    },
}

/// What a limit has said.
#[derive(Clone, Debug)]
pub struct Report {
    /// The limit.
    pub policy: Rc<Policy>,
    /// What it has said.
    pub verdict: Verdict,
    /// What is left of it, where that is known.
    pub quota: Option<Quota>,
}

/// What is left of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Units in a period; or how many may be in flight.
    pub limit: u64,
    /// Units at once.
    pub burst: u64,
    /// The period; `None` for what is in flight.
    pub period: Option<Duration>,
    /// Units that are left.
    pub remaining: u64,
    /// When there is one more; zero if none is missing, `None` if that is not known.
    pub next: Option<Duration>,
}

/// What a limit has said, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The request may go on.
    Allowed,
    /// It may not.
    Denied,
    /// It might not, if the limit were not on trial.
    WouldDeny,
    /// The limit could not be counted, and the request goes on.
    AllowedUncounted,
    /// The limit could not be counted, and the request does not go on.
    DeniedUncounted,
}

impl Verdict {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::WouldDeny => "would_deny",
            Self::AllowedUncounted => "allowed_uncounted",
            Self::DeniedUncounted => "denied_uncounted",
        }
    }
}

/// One limit on the way to being counted.
#[derive(Clone, Debug)]
struct Charge {
    policy: Rc<Policy>,
    rate: Rate,
    place: Place,
    /// How many units; `None` as long as that is not known.
    cost: Option<u64>,
}

/// What a limit says before it is counted.
struct Asked {
    set: Set,
    decision: Decision,
    at: Timestamp,
}

impl Ledger {
    /// As if so many units had just been used of these limits by whoever sends the request, for those who want to see what
    /// the limits then say.
    pub fn with_used(used: BTreeMap<String, u64>) -> Self {
        Self { used, ..Self::default() }
    }

    /// Asks all limits of a stage. If none refuses, what the request costs is used up, as far as its head says what that
    /// is. `length` is the length of the body, if the head says it.
    ///
    /// # Errors
    /// [`Refusal`]. Then nothing is used up, of limits of earlier stages either.
    pub fn charge(
        &mut self,
        limits: &[RouteLimit],
        stage: Stage,
        facts: &Facts<'_>,
        length: Option<u64>,
        env: &mut dyn Env,
    ) -> Result<(), Refusal> {
        let mut charges = Vec::new();
        for limit in limits.iter().filter(|limit| limit.stage() == stage) {
            let Kind::Rate(rate) = &limit.policy.kind else { continue };
            let Ok(seed) = Local::seed(env) else {
                self.uncounted(&limit.policy, env)?;
                continue;
            };
            charges.push(Charge {
                policy: Rc::clone(&limit.policy),
                rate: rate.rate_for(facts.principal),
                place: rate.table.place(&seed, &key(&limit.key, facts)),
                cost: match (stage, rate.cost) {
                    (Stage::FailedAuthentication, _) | (_, Cost::Events) => None,
                    (_, Cost::Request) => Some(1),
                    (_, Cost::BodyBytes) => length,
                },
            });
        }
        for charge in &charges {
            charge.use_up(self.used.remove(&*charge.policy.name), env);
        }
        self.count_all(charges, env)?;
        for limit in limits.iter().filter(|limit| limit.stage() == stage) {
            if let Kind::InFlight(in_flight) = &limit.policy.kind {
                self.acquire(&limit.policy, in_flight, &key(&limit.key, facts), env)?;
            }
        }
        Ok(())
    }

    /// Counts what has been asked for and whose cost was not known: `cost` says it now, as far as it is.
    ///
    /// # Errors
    /// [`Refusal`]. Then nothing is used up.
    pub fn settle(&mut self, cost: impl Fn(Cost) -> Option<u64>, env: &mut dyn Env) -> Result<(), Refusal> {
        self.count_open(|counts, kind| if counts == Counts::Requests { cost(kind) } else { None }, env)
    }

    /// Counts a wrong credential.
    ///
    /// # Errors
    /// [`Refusal`] when there have been too many by now.
    pub fn failed_authentication(&mut self, env: &mut dyn Env) -> Result<(), Refusal> {
        self.count_open(|counts, _| (counts == Counts::FailedAuthentications).then_some(1), env)
    }

    /// Takes down what limits that gateways share count by; what they say comes with the outcome of the records.
    pub fn note_shared(&mut self, limits: &[RouteLimit], facts: &Facts<'_>) {
        for limit in limits.iter().filter(|limit| limit.stage() == Stage::WithRecords) {
            let Kind::Rate(rate) = &limit.policy.kind else { continue };
            let digest = Sha256::digest(key(&limit.key, facts));
            // Half of it tells as many callers apart as there will be.
            let text = digest.iter().take(16).fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
            self.shared.push((Rc::clone(&limit.policy), rate.rate_for(facts.principal), text));
        }
    }

    /// What to ask of limits that gateways share, for a request with a body of so many bytes and so many events.
    pub fn shared(&self, bytes: u64, events: u64) -> Vec<SharedLimit> {
        let shared = |(policy, rate, key): &(Rc<Policy>, Rate, String)| {
            let Kind::Rate(kind) = &policy.kind else { return None };
            Some(SharedLimit {
                name: policy.name.to_string(),
                key: key.clone(),
                limit: rate.limit(),
                period: rate.period().as_secs(),
                burst: rate.burst(),
                cost: match kind.cost {
                    Cost::Request => 1,
                    Cost::BodyBytes => bytes,
                    Cost::Events => events,
                },
                dry_run: policy.dry_run,
                allow_uncounted: policy.on_error == OnError::Allow,
            })
        };
        self.shared.iter().filter_map(shared).collect()
    }

    /// Takes in what limits that gateways share have said.
    pub fn shared_said(&mut self, states: &[LimitState], env: &mut dyn Env) {
        for (policy, rate, _) in self.shared.clone() {
            let Some(state) = states.iter().find(|state| *state.name == *policy.name) else { continue };
            let verdict = match state.allowed {
                Some(true) => Verdict::Allowed,
                Some(false) if policy.dry_run => Verdict::WouldDeny,
                Some(false) => Verdict::Denied,
                None if policy.dry_run || policy.on_error == OnError::Allow => Verdict::AllowedUncounted,
                None => Verdict::DeniedUncounted,
            };
            let quota = state.allowed.map(|_| Quota {
                limit: rate.limit(),
                burst: rate.burst(),
                period: Some(rate.period()),
                remaining: state.remaining.min(rate.burst()),
                next: Some(Duration::from_millis(state.next)),
            });
            self.report(&policy, verdict, quota, env);
            if verdict == Verdict::Denied {
                self.shared_wait = self.shared_wait.max(state.retry_after);
            }
        }
    }

    /// Why limits that gateways share did not let the request through. What others have counted of it is given back.
    pub fn shared_refused(&mut self, env: &mut dyn Env) -> Refusal {
        self.give_back(env);
        let with = |verdict: Verdict| {
            let reports = self.reports.iter().filter(move |report| report.verdict == verdict);
            reports.map(|report| report.policy.name.to_string())
        };
        let policies: Vec<String> = with(Verdict::Denied).collect();
        match with(Verdict::DeniedUncounted).next() {
            Some(policy) if policies.is_empty() => Refusal::Unavailable { policy },
            _ => {
                let seconds = self.shared_wait.map(|wait| wait.div_ceil(1_000).max(1));
                Refusal::Exceeded { policies, retry_after: seconds }
            }
        }
    }

    /// Gives up what is in flight.
    pub fn close(&mut self, env: &mut dyn Env) {
        self.leases.drain(..).for_each(|lease| lease.release(env));
    }

    /// What each limit has said last.
    pub fn reports(&self) -> &[Report] {
        &self.reports
    }

    fn count_open(
        &mut self,
        cost: impl Fn(Counts, Cost) -> Option<u64>,
        env: &mut dyn Env,
    ) -> Result<(), Refusal> {
        let mut charges = Vec::new();
        for charge in std::mem::take(&mut self.open) {
            let known = match &charge.policy.kind {
                Kind::Rate(rate) => cost(rate.counts, rate.cost),
                Kind::InFlight(_) => None,
            };
            match known {
                Some(cost) => charges.push(Charge { cost: Some(cost), ..charge }),
                None => self.open.push(charge),
            }
        }
        if charges.is_empty() { Ok(()) } else { self.count_all(charges, env) }
    }

    /// Asks first, all of them; then counts. What refuses because others were faster in between leaves nothing used up
    /// either: what was counted by then is given back.
    fn count_all(&mut self, charges: Vec<Charge>, env: &mut dyn Env) -> Result<(), Refusal> {
        let mut granted = Vec::with_capacity(charges.len());
        let mut denied = Vec::new();
        for charge in charges {
            match charge.ask(env) {
                Ok(asked) if asked.decision.allowed => granted.push((charge, asked)),
                Ok(asked) => {
                    if self.denied(&charge, asked.decision, env) {
                        denied.push((charge, asked.decision));
                    }
                }
                Err(_) => self.uncounted(&charge.policy, env)?,
            }
        }
        if !denied.is_empty() {
            for (charge, asked) in &granted {
                let unspent = charge.rate.decide(asked.tat(charge), asked.at, 0);
                self.report(&charge.policy, Verdict::Allowed, Some(charge.quota(unspent)), env);
            }
            return Err(self.refuse(&denied, env));
        }
        for (charge, asked) in granted {
            match charge.count(asked, env) {
                Ok((decision, at)) if decision.allowed => {
                    self.report(&charge.policy, Verdict::Allowed, Some(charge.quota(decision)), env);
                    match charge.cost {
                        Some(_) => self.spent.push((charge, at)),
                        None => self.open.push(charge),
                    }
                }
                Ok((decision, _)) => {
                    if self.denied(&charge, decision, env) {
                        return Err(self.refuse(&[(charge, decision)], env));
                    }
                }
                Err(_) => self.uncounted(&charge.policy, env)?,
            }
        }
        Ok(())
    }

    fn acquire(
        &mut self,
        policy: &Rc<Policy>,
        in_flight: &InFlight,
        key: &[u8],
        env: &mut dyn Env,
    ) -> Result<(), Refusal> {
        for _ in 0..self.used.remove(&*policy.name).unwrap_or_default().min(in_flight.limit.into()) {
            // As those that are never given back.
            let _ = in_flight.acquire(key, env);
        }
        let limit = u64::from(in_flight.limit);
        let quota = |left: u32| {
            let next = (left == in_flight.limit).then_some(Duration::ZERO);
            Some(Quota { limit, burst: limit, period: None, remaining: left.into(), next })
        };
        match in_flight.acquire(key, env) {
            Ok((left, Some(lease))) => {
                self.leases.push(lease);
                self.report(policy, Verdict::Allowed, quota(left), env);
            }
            Ok((left, None)) if policy.dry_run => self.report(policy, Verdict::WouldDeny, quota(left), env),
            Ok((left, None)) => {
                self.report(policy, Verdict::Denied, quota(left), env);
                self.give_back(env);
                return Err(Refusal::Exceeded {
                    policies: vec![policy.name.to_string()],
                    retry_after: Some(1),
                });
            }
            Err(_) => self.uncounted(policy, env)?,
        }
        Ok(())
    }

    /// Takes down that a limit says no. Returns whether that counts.
    fn denied(&mut self, charge: &Charge, decision: Decision, env: &mut dyn Env) -> bool {
        let verdict = if charge.policy.dry_run { Verdict::WouldDeny } else { Verdict::Denied };
        self.report(&charge.policy, verdict, Some(charge.quota(decision)), env);
        verdict == Verdict::Denied
    }

    /// Takes down that a limit cannot be counted.
    fn uncounted(&mut self, policy: &Rc<Policy>, env: &mut dyn Env) -> Result<(), Refusal> {
        if policy.dry_run || policy.on_error == OnError::Allow {
            self.report(policy, Verdict::AllowedUncounted, None, env);
            return Ok(());
        }
        self.report(policy, Verdict::DeniedUncounted, None, env);
        self.give_back(env);
        Err(Refusal::Unavailable { policy: policy.name.to_string() })
    }

    fn refuse(&mut self, denied: &[(Charge, Decision)], env: &mut dyn Env) -> Refusal {
        self.give_back(env);
        let waits: Option<Vec<Duration>> = denied.iter().map(|(_, decision)| decision.retry_after).collect();
        Refusal::Exceeded {
            policies: denied.iter().map(|(charge, _)| charge.policy.name.to_string()).collect(),
            retry_after: waits.and_then(|waits| waits.into_iter().max()).map(|wait| seconds_up(wait).max(1)),
        }
    }

    fn give_back(&mut self, env: &mut dyn Env) {
        self.close(env);
        for (charge, at) in std::mem::take(&mut self.spent) {
            if let Some(unspent) = charge.give_back(at, env) {
                let quota = charge.quota(unspent);
                let report =
                    self.reports.iter_mut().find(|report| Rc::ptr_eq(&report.policy, &charge.policy));
                report.into_iter().for_each(|report| report.quota = Some(quota));
            }
        }
    }

    fn report(&mut self, policy: &Rc<Policy>, verdict: Verdict, quota: Option<Quota>, env: &mut dyn Env) {
        env.count(Count::Limit { policy: &policy.name, verdict });
        let report = Report { policy: Rc::clone(policy), verdict, quota };
        match self.reports.iter_mut().find(|known| Rc::ptr_eq(&known.policy, policy)) {
            Some(known) => *known = report,
            None => self.reports.push(report),
        }
    }
}

impl Charge {
    /// What is to be paid at least. A limit that has nothing left refuses a request whatever it may come to cost.
    fn least(&self) -> u64 {
        self.cost.unwrap_or(1)
    }

    fn use_up(&self, units: Option<u64>, env: &mut dyn Env) {
        let Some(units) = units.filter(|units| *units > 0) else { return };
        let cost = Some(units.min(self.rate.burst()));
        let charge = Self { cost, ..self.clone() };
        // What cannot be counted is said when the request itself is.
        let _ = charge.ask(env).and_then(|asked| charge.count(asked, env));
    }

    fn ask(&self, env: &mut dyn Env) -> Result<Asked, TableError> {
        let set = self.place.read(env.shared())?;
        // After the set: by an earlier time, what another worker has written meanwhile would look as if the clock had
        // been set back.
        let at = env.now();
        let decision = self.rate.decide(self.place.tat(&set, at)?, at, self.least());
        let asked = Asked { set, decision, at };
        if let (false, Some(_)) = (decision.allowed, decision.write) {
            // The clock was set back: what is written now counts down from now on. If somebody else was faster, it does
            // so already.
            self.write(&asked, env)?;
        }
        Ok(asked)
    }

    /// Writes what was decided. Returns false if somebody else was faster.
    fn write(&self, asked: &Asked, env: &mut dyn Env) -> Result<bool, TableError> {
        let (Some(tat), Kind::Rate(rate)) = (asked.decision.write, &self.policy.kind) else {
            return Ok(true);
        };
        let grown = self.place.write(env.shared(), &asked.set, tat, asked.at, rate.capacity())?;
        if let Some(by) = grown.filter(|by| *by != 0) {
            env.count(Count::Slots { policy: &self.policy.name, by });
        }
        Ok(grown.is_some())
    }

    /// Counts what was asked for, and asks again as long as others are faster. The decision may then be another.
    fn count(&self, mut asked: Asked, env: &mut dyn Env) -> Result<(Decision, Timestamp), TableError> {
        if self.cost.is_none() {
            let decision = self.rate.decide(asked.tat(self), asked.at, 0);
            return Ok((decision, asked.at));
        }
        for _ in 0..=MAX_RETRIES {
            if !asked.decision.allowed || self.write(&asked, env)? {
                return Ok((asked.decision, asked.at));
            }
            asked = self.ask(env)?;
        }
        Err(TableError::Contended)
    }

    /// Gives back what was counted. Returns what is left then, or `None` if it could not be given back.
    fn give_back(&self, spent_at: Timestamp, env: &mut dyn Env) -> Option<Decision> {
        for _ in 0..=MAX_RETRIES {
            let set = self.place.read(env.shared()).ok()?;
            let at = env.now();
            let tat = self.place.tat(&set, at).ok()?;
            let tat = self.rate.refund(tat, spent_at, at, self.cost?);
            let decision = Decision { write: Some(tat), ..self.rate.decide(tat, at, 0) };
            if self.write(&Asked { set, decision, at }, env).ok()? {
                return Some(decision);
            }
        }
        None
    }

    fn quota(&self, decision: Decision) -> Quota {
        Quota {
            limit: self.rate.limit(),
            burst: self.rate.burst(),
            period: Some(self.rate.period()),
            remaining: decision.remaining,
            next: Some(decision.next),
        }
    }
}

impl Asked {
    /// The TAT that was read.
    fn tat(&self, charge: &Charge) -> super::gcra::Tat {
        charge.place.tat(&self.set, self.at).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
