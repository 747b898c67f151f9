//! The log lines of files.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use token_broker::{Level, Record};
use token_broker_host::log_line;

/// Writes lines of the broker's format to its log, up to a level.
#[derive(Clone, Copy)]
pub(super) struct Events(Level);

impl Events {
    pub(super) fn of_level(level: Level) -> Self {
        Self(level)
    }

    pub(super) fn log(self, level: Level, event: &'static str, fields: &[(&'static str, &str)]) {
        if level <= self.0 {
            log_line(&Record { level, event, fields }.to_json(now()));
        }
    }
}

/// The time since the Unix epoch.
pub(super) fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
