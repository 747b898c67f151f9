//! The log: lines in the log of the proxy.

use token_broker::{Level, Record};

use crate::abi;
use crate::runtime::clock::now;

pub(crate) fn write(level: Level, line: &str) {
    let level = match level {
        Level::Off => return,
        Level::Error => 4,
        Level::Warn => 3,
        Level::Info => 2,
        Level::Debug => 1,
    };
    abi::log(level, line);
}

/// Writes an error that no response tells.
pub(crate) fn write_error(event: &'static str, why: &str) {
    let record = Record { level: Level::Error, event, fields: &[("error", why)] };
    write(record.level, &record.to_json(now()));
}
