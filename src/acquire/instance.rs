//! One instance of the broker: the state that its calls and fetches share.

use std::cell::RefCell;
use std::time::Duration;

use super::rate_limit::RateLimits;
use crate::memory::Memory;
use crate::model::{Host, Level, Record, Statistics, count};
use crate::settings::SettingNames;

/// The host, memory, rate limits and counters of an instance.
#[derive(Debug)]
pub(crate) struct Instance<H> {
    pub(crate) host: H,
    pub(crate) memory: Memory,
    pub(crate) rate_limits: RateLimits,
    pub(crate) stats: RefCell<Statistics>,
    /// The names of settings, for errors.
    pub(crate) names: SettingNames,
    log: Level,
}

impl<H: Host> Instance<H> {
    pub(crate) fn new(host: H, names: SettingNames, log: Level) -> Self {
        let (memory, rate_limits, stats) = Default::default();
        Self { host, memory, rate_limits, stats, names, log }
    }

    pub(crate) fn now(&self) -> Duration {
        self.host.now()
    }

    pub(crate) fn random(&self) -> u64 {
        self.host.random()
    }

    pub(crate) fn count(&self, counter: impl FnOnce(&mut Statistics) -> &mut u64) {
        count(counter(&mut self.stats.borrow_mut()));
    }

    pub(crate) fn logs(&self, level: Level) -> bool {
        level <= self.log
    }

    /// Logs an event, if the configured level includes its own.
    pub(crate) fn log(&self, level: Level, event: &'static str, fields: &[(&'static str, &str)]) {
        if self.logs(level) {
            self.host.log(&Record { level, event, fields });
        }
    }
}
