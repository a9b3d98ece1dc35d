//! What is counted, as metrics of the host. Names in them are those of the document, so there are as many metrics as there
//! are names in it; each is defined when it is first counted, once for each VM and configuration.

use std::collections::HashMap;

use wicketgate_policy::env::Count;
use wicketgate_policy::limit::Verdict;

use crate::host::{Calls, MetricKind};

/// The host's numbers of the metrics of each limit; `None` where the host did not define it.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    limits: HashMap<Box<str>, OfLimit>,
}

#[derive(Debug, Default)]
struct OfLimit {
    verdicts: Vec<(Verdict, Option<u32>)>,
    slots: Option<Option<u32>>,
}

impl Metrics {
    pub(crate) fn count(&mut self, count: Count<'_>, calls: &dyn Calls) {
        let (metric, by) = match count {
            Count::Limit { policy, verdict } => {
                let verdicts = &mut self.limit(policy).verdicts;
                let known = verdicts.iter().find(|(known, _)| *known == verdict).map(|(_, metric)| *metric);
                let metric = known.unwrap_or_else(|| {
                    let name = format!(
                        "wicketgate_limit_requests_total.limit.{policy}.verdict.{}",
                        verdict.as_str()
                    );
                    let metric = calls.define_metric(MetricKind::Counter, &name);
                    verdicts.push((verdict, metric));
                    metric
                });
                (metric, 1)
            }
            Count::Slots { policy, by } => {
                let slots = &mut self.limit(policy).slots;
                let metric = *slots.get_or_insert_with(|| {
                    calls.define_metric(MetricKind::Gauge, &format!("wicketgate_limit_slots.limit.{policy}"))
                });
                (metric, i64::try_from(by).unwrap_or_default())
            }
        };
        if let Some(metric) = metric.filter(|_| by != 0) {
            // A number that the host does not take is lost, and nothing else.
            calls.add_to_metric(metric, by);
        }
    }

    fn limit(&mut self, policy: &str) -> &mut OfLimit {
        self.limits.entry(policy.into()).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fake::Fake;

    #[test]
    fn each_metric_is_defined_once_and_counted_by_name() {
        let (fake, mut metrics) = (Fake::new(), Metrics::default());
        for _ in 0..3 {
            metrics.count(Count::Limit { policy: "daily", verdict: Verdict::Denied }, fake.as_ref());
            metrics.count(Count::Slots { policy: "daily", by: 2 }, fake.as_ref());
        }
        metrics.count(Count::Slots { policy: "daily", by: -1 }, fake.as_ref());
        metrics.count(Count::Slots { policy: "daily", by: 0 }, fake.as_ref());
        let counted = fake.metrics.borrow();
        let wanted = [
            ("wicketgate_limit_requests_total.limit.daily.verdict.denied", 3),
            ("wicketgate_limit_slots.limit.daily", 5),
        ];
        assert_eq!(counted.iter().map(|(name, value)| (name.as_str(), *value)).collect::<Vec<_>>(), wanted);
    }
}
