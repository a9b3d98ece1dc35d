//! What is counted, as metrics of the host. Names in them are those of the document, so there are as many metrics as there
//! are names in it; each is defined when it is first counted, once for each VM and configuration.
//!
//! A host has names and no labels. Labels are parts of the name, which `wicketgate render envoy` tells Envoy to take
//! apart again: `wicketgate_requests_total.route.orders.outcome.accepted`. What the document names comes before what the
//! filter does, so that a name may have dots.

use std::collections::HashMap;

use wicketgate_policy::env::Count;

use crate::host::{Calls, MetricKind};

/// A metric by what makes its name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Metric<'a> {
    pub(crate) kind: MetricKind,
    pub(crate) name: &'static str,
    /// A label whose value the document chose.
    pub(crate) named: Option<(&'static str, &'a str)>,
    /// A label whose values are known beforehand.
    pub(crate) fixed: Option<(&'static str, &'static str)>,
}

/// The host's numbers of metrics.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    /// By the value that the document chose.
    defined: HashMap<Box<str>, Vec<Defined>>,
}

#[derive(Debug)]
struct Defined {
    name: &'static str,
    fixed: &'static str,
    /// `None` where the host did not define it.
    metric: Option<u32>,
}

/// What stands for the route of a request that no route has.
const UNMATCHED: &str = "(unmatched)";

impl<'a> Metric<'a> {
    pub(crate) fn counter(name: &'static str) -> Self {
        Self { kind: MetricKind::Counter, name, named: None, fixed: None }
    }

    pub(crate) fn gauge(name: &'static str) -> Self {
        Self { kind: MetricKind::Gauge, ..Self::counter(name) }
    }

    pub(crate) fn histogram(name: &'static str) -> Self {
        Self { kind: MetricKind::Histogram, ..Self::counter(name) }
    }

    pub(crate) fn of(self, label: &'static str, value: &'a str) -> Self {
        Self { named: Some((label, value)), ..self }
    }

    pub(crate) fn with(self, label: &'static str, value: &'static str) -> Self {
        Self { fixed: Some((label, value)), ..self }
    }

    fn full_name(&self) -> String {
        let mut name = self.name.to_owned();
        for (label, value) in self.named.iter().chain(&self.fixed) {
            for part in [".", label, ".", value] {
                name.push_str(part);
            }
        }
        name
    }
}

impl Metrics {
    /// Counts what the core has seen.
    pub(crate) fn count(&mut self, count: Count<'_>, calls: &dyn Calls) {
        match count {
            Count::Request { route, decided, millis } => {
                let route = route.unwrap_or(UNMATCHED);
                let requests = Metric::counter("wicketgate_requests_total").of("route", route);
                self.add(requests.with("outcome", decided.as_str()), 1, calls);
                if let Some(problem) = decided.problem() {
                    let problems = Metric::counter("wicketgate_problems_total").of("route", route);
                    self.add(problems.with("problem", problem), 1, calls);
                }
                let took = Metric::histogram("wicketgate_request_duration_milliseconds").of("route", route);
                self.record(took, millis, calls);
            }
            Count::Authenticated { method } => {
                self.add(Metric::counter("wicketgate_authenticated_total").of("method", method), 1, calls);
            }
            Count::Cache { cache, hit } => {
                // Two values of one label that are both known beforehand.
                let lookups = Metric::counter("wicketgate_cache_lookups_total").of("cache", cache);
                self.add(lookups.with("result", if hit { "hit" } else { "miss" }), 1, calls);
            }
            Count::Limit { policy, verdict } => {
                let requests = Metric::counter("wicketgate_limit_requests_total").of("limit", policy);
                self.add(requests.with("verdict", verdict.as_str()), 1, calls);
            }
            Count::Slots { policy, by } => {
                let slots = Metric::gauge("wicketgate_limit_slots").of("limit", policy);
                self.add(slots, i64::try_from(by).unwrap_or_default(), calls);
            }
        }
    }

    /// Adds to a counter or a gauge. A number that the host does not take is lost, and nothing else.
    pub(crate) fn add(&mut self, metric: Metric<'_>, by: i64, calls: &dyn Calls) {
        // Hosts refuse to add nothing to a counter.
        if by != 0
            && let Some(metric) = self.defined(metric, calls)
        {
            calls.add_to_metric(metric, by);
        }
    }

    /// Sets a gauge, or takes a value into a histogram.
    pub(crate) fn record(&mut self, metric: Metric<'_>, value: u64, calls: &dyn Calls) {
        if let Some(metric) = self.defined(metric, calls) {
            calls.record_metric(metric, value);
        }
    }

    fn defined(&mut self, metric: Metric<'_>, calls: &dyn Calls) -> Option<u32> {
        let value = metric.named.map_or("", |(_, value)| value);
        let fixed = metric.fixed.map_or("", |(_, value)| value);
        if !self.defined.contains_key(value) {
            self.defined.insert(value.into(), Vec::new());
        }
        let of_value = self.defined.get_mut(value)?;
        match of_value.iter().find(|defined| defined.name == metric.name && defined.fixed == fixed) {
            Some(defined) => defined.metric,
            None => {
                let number = calls.define_metric(metric.kind, &metric.full_name());
                of_value.push(Defined { name: metric.name, fixed, metric: number });
                number
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use wicketgate_policy::exchange::Decided;
    use wicketgate_policy::limit::Verdict;

    use super::*;
    use crate::host::fake::Fake;

    #[test]
    fn each_metric_is_defined_once_and_counted_by_name() {
        let (fake, mut metrics) = (Fake::new(), Metrics::default());
        for _ in 0..3 {
            metrics.count(Count::Limit { policy: "daily", verdict: Verdict::Denied }, fake.as_ref());
            metrics.count(Count::Slots { policy: "daily", by: 2 }, fake.as_ref());
            // A route may have the name of a limit.
            let decided = Decided::Problem("forbidden", 403);
            metrics.count(Count::Request { route: Some("daily"), decided, millis: 7 }, fake.as_ref());
        }
        metrics.count(Count::Slots { policy: "daily", by: -1 }, fake.as_ref());
        metrics.count(Count::Slots { policy: "daily", by: 0 }, fake.as_ref());
        metrics.count(Count::Request { route: None, decided: Decided::Passed, millis: 0 }, fake.as_ref());
        let counted = fake.metrics.borrow();
        let wanted = [
            ("wicketgate_limit_requests_total.limit.daily.verdict.denied", 3),
            ("wicketgate_limit_slots.limit.daily", 5),
            ("wicketgate_requests_total.route.daily.outcome.denied", 3),
            ("wicketgate_problems_total.route.daily.problem.forbidden", 3),
            ("wicketgate_request_duration_milliseconds.route.daily", 7),
            ("wicketgate_requests_total.route.(unmatched).outcome.passed", 1),
            ("wicketgate_request_duration_milliseconds.route.(unmatched)", 0),
        ];
        assert_eq!(counted.iter().map(|(name, value)| (name.as_str(), *value)).collect::<Vec<_>>(), wanted);
    }
}
