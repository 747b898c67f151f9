//! What the broker tells the operator while it runs: JSON lines, by level, never a secret.

use std::time::Duration;

use serde::ser::{SerializeMap, Serializer};

use super::duration::milliseconds;

/// How much is logged. Each level includes the ones above it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing.
    Off,
    /// What needs somebody.
    Error,
    /// What may need somebody soon.
    #[default]
    Warn,
    /// Every fetch.
    Info,
    /// Every try.
    Debug,
}

impl Level {
    /// The level as it is spelled in `TOKEN_BROKER_LOG` and in a log line.
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

/// One thing that happened.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// How urgent it is.
    pub level: Level,
    /// What happened, in a few fixed words.
    pub event: &'static str,
    /// The particulars, by name.
    pub fields: &'a [(&'static str, &'a str)],
}

impl Record<'_> {
    /// The record as one JSON line without its end of line: `time` in Unix milliseconds, `level`, `event`, the fields.
    pub fn to_json(&self, now: Duration) -> String {
        let mut line = Vec::new();
        // Neither a Vec nor plain strings can fail to serialize; a line that did would be cut, not lost.
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
