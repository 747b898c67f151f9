//! The metrics of a plugin in the proxy's statistics: `wasmcustom.token_broker.*`.
//!
//! Times are Unix seconds and not ages: a metric changes only when the plugin runs.

use std::cell::RefCell;

use token_broker::{Statistics, Token};

use crate::abi::{self, MetricKind};

/// The metrics of a plugin. A metric that the proxy refuses is left out: no request depends on it.
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
    /// The core's counters at the last update.
    last: RefCell<Statistics>,
}

/// A metric of the proxy, if it has accepted the definition.
#[derive(Clone, Copy)]
pub(crate) struct Metric(Option<u32>);

/// The metrics of a rule's token.
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
            last: RefCell::default(),
        }
    }

    /// Adds the increments of the core's counters since the last update.
    pub(crate) fn update(&self, now: Statistics) {
        let mut last = self.last.borrow_mut();
        if *last == now {
            return;
        }
        let add = |metric: Metric, counter: fn(&Statistics) -> u64| {
            let more = counter(&now).saturating_sub(counter(&last));
            if more > 0 {
                metric.add(i64::try_from(more).unwrap_or(i64::MAX));
            }
        };
        add(self.fetches, |stats| stats.fetches);
        add(self.refreshes, |stats| stats.refreshes);
        add(self.store_hits, |stats| stats.store_hits);
        add(self.lease_waits, |stats| stats.lease_waits);
        for (kind, count) in &now.failures {
            let before = last.failures.iter().find(|(last, _)| last == kind).map_or(0, |(_, count)| *count);
            if *count > before {
                self.failures_of(kind).add(i64::try_from(count - before).unwrap_or(i64::MAX));
            }
        }
        *last = now;
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
        let define = |name: &str| Metric::define(MetricKind::Gauge, &format!("rule.{rule}.{name}"));
        Self {
            received_at: define("token_received_at_seconds"),
            expires_at: define("token_expires_at_seconds"),
        }
    }

    pub(crate) fn set(&self, token: &Token) {
        self.received_at.set(token.received_on());
        self.expires_at.set(token.expires_on());
    }
}
