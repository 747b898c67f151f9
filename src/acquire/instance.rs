//! One instance of the broker: its host, and what its calls and its fetches share.

use std::cell::RefCell;
use std::time::Duration;

use super::rate_limit::RateLimits;
use crate::memory::Memory;
use crate::model::{Host, Level, Record, Statistics, count};
use crate::settings::SettingNames;

/// The host, the memory and the counters of an instance.
#[derive(Debug)]
pub(crate) struct Instance<H> {
    pub(crate) host: H,
    pub(crate) memory: Memory,
    pub(crate) rate_limits: RateLimits,
    pub(crate) stats: RefCell<Statistics>,
    /// For errors that tell the deployer which setting to change.
    pub(crate) names: SettingNames,
    log: Level,
}

impl<H: Host> Instance<H> {
    /// `log`: how much is logged.
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

    /// Tell the operator, if the level lets it through.
    pub(crate) fn log(&self, level: Level, event: &'static str, fields: &[(&'static str, &str)]) {
        if self.logs(level) {
            self.host.log(&Record { level, event, fields });
        }
    }
}
