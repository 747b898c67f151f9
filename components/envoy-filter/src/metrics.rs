//! What operators see of a plugin in the proxy's statistics: `wasmcustom.token_broker.*`.
//!
//! Times are exported as such, in Unix seconds: an age or what is left of a life would be wrong as soon as nobody asks.

use std::cell::RefCell;

use token_broker::{Statistics, Token};

use crate::abi::{self, MetricKind};

/// The metrics of a plugin. One that the proxy does not define is not counted: no request depends on it.
pub(crate) struct Metrics {
    pub(crate) hits: Metric,
    pub(crate) misses: Metric,
    pub(crate) refused: Metric,
    pub(crate) forwarded: Metric,
    pub(crate) waiting: Metric,
    fetches: Metric,
    refreshes: Metric,
    store_hits: Metric,
    lease_waits: Metric,
    failures: RefCell<Vec<(&'static str, Metric)>>,
    /// What was told of the core's counters.
    told: RefCell<Statistics>,
}

/// One metric.
#[derive(Clone, Copy)]
pub(crate) struct Metric(Option<u32>);

/// The metrics of a rule.
pub(crate) struct RuleMetrics {
    received_at: Metric,
    expires_at: Metric,
}

impl Metric {
    fn define(kind: MetricKind, name: &str) -> Self {
        Self(abi::define_metric(kind, &format!("token_broker.{name}")).ok())
    }

    /// For tests, where there is no proxy.
    #[cfg(test)]
    pub(crate) fn none() -> Self {
        Self(None)
    }

    fn counter(name: &str) -> Self {
        Self::define(MetricKind::Counter, name)
    }

    pub(crate) fn add(self, count: i64) {
        if let (Self(Some(metric)), true) = (self, count != 0) {
            let _ = abi::add_to_metric(metric, count);
        }
    }

    fn set(self, value: u64) {
        if let Self(Some(metric)) = self {
            let _ = abi::set_metric(metric, value);
        }
    }
}

impl Metrics {
    pub(crate) fn define() -> Self {
        Self {
            hits: Metric::counter("hits"),
            misses: Metric::counter("misses"),
            refused: Metric::counter("refused"),
            forwarded: Metric::counter("forwarded_without_token"),
            waiting: Metric::define(MetricKind::Gauge, "waiting"),
            fetches: Metric::counter("fetches"),
            refreshes: Metric::counter("refreshes"),
            store_hits: Metric::counter("store_hits"),
            lease_waits: Metric::counter("lease_waits"),
            failures: RefCell::default(),
            told: RefCell::default(),
        }
    }

    /// Tell what the core has counted since.
    pub(crate) fn follow(&self, now: Statistics) {
        let mut told = self.told.borrow_mut();
        if *told == now {
            return;
        }
        let tell = |metric: Metric, counter: fn(&Statistics) -> u64| {
            let more = counter(&now).saturating_sub(counter(&told));
            if more > 0 {
                metric.add(i64::try_from(more).unwrap_or(i64::MAX));
            }
        };
        tell(self.fetches, |stats| stats.fetches);
        tell(self.refreshes, |stats| stats.refreshes);
        tell(self.store_hits, |stats| stats.store_hits);
        tell(self.lease_waits, |stats| stats.lease_waits);
        for (kind, count) in &now.failures {
            let before = told.failures.iter().find(|(told, _)| told == kind).map_or(0, |(_, count)| *count);
            if *count > before {
                self.failures_of(kind).add(i64::try_from(count - before).unwrap_or(i64::MAX));
            }
        }
        *told = now;
    }

    fn failures_of(&self, kind: &'static str) -> Metric {
        let mut failures = self.failures.borrow_mut();
        if let Some((_, metric)) = failures.iter().find(|(known, _)| *known == kind) {
            return *metric;
        }
        let metric = Metric::counter(&format!("failures.{}", kind.replace('-', "_")));
        failures.push((kind, metric));
        metric
    }
}

impl RuleMetrics {
    pub(crate) fn define(rule: &str) -> Self {
        let define = |what: &str| Metric::define(MetricKind::Gauge, &format!("rule.{rule}.{what}"));
        Self {
            received_at: define("token_received_at_seconds"),
            expires_at: define("token_expires_at_seconds"),
        }
    }

    pub(crate) fn tell(&self, token: &Token) {
        self.received_at.set(token.received_on());
        self.expires_at.set(token.expires_on());
    }
}
