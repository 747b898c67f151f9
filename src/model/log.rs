//! The log: JSON lines with a level, without secrets.

use std::time::Duration;

use serde::ser::{SerializeMap, Serializer};

use super::duration::milliseconds;

/// A log level. Each level includes the levels above it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing.
    Off,
    /// Faults that need an operator.
    Error,
    /// Faults that may need an operator soon.
    #[default]
    Warn,
    /// Every fetch.
    Info,
    /// Every request.
    Debug,
}

impl Level {
    /// The name of the level in `TOKEN_BROKER_LOG` and in log lines.
    pub fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }
}

/// One log record.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// The level.
    pub level: Level,
    /// The event: a fixed text to search for.
    pub event: &'static str,
    /// The details, by name.
    pub fields: &'a [(&'static str, &'a str)],
}

impl Record<'_> {
    /// The record as one line of JSON without a line end: `time` in Unix milliseconds, `level`, `event`, the fields.
    pub fn to_json(&self, now: Duration) -> String {
        let mut line = Vec::new();
        // Writing strings into a Vec cannot fail.
        let _ = self.write(&mut serde_json::Serializer::new(&mut line), now);
        String::from_utf8(line).unwrap_or_default()
    }

    fn write<S: Serializer>(&self, serializer: S, now: Duration) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("time", &milliseconds(now))?;
        map.serialize_entry("level", self.level.name())?;
        map.serialize_entry("event", self.event)?;
        for (name, value) in self.fields {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_one_json_line_whatever_its_values_hold() {
        let fields = [("audience", "a\"b\nc")];
        let record = Record { level: Level::Info, event: "fetched", fields: &fields };
        assert_eq!(
            record.to_json(Duration::from_millis(1500)),
            r#"{"time":1500,"level":"info","event":"fetched","audience":"a\"b\nc"}"#
        );
    }
}
