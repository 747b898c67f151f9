//! The configuration of a plugin: JSON, which `config.schema.json` describes. Each error names its field.

mod fields;
mod protobuf;
mod rule;
mod source;
#[cfg(test)]
mod tests;

use std::time::Duration;

use token_broker::{Level, Settings};

use self::fields::{ConfigError, FieldValue, Fields};
use crate::rules::TokenRule;

pub(crate) use self::source::{FieldNames, SourceConfig};

/// The configuration of a plugin.
pub(crate) struct PluginConfig {
    pub(crate) source: SourceConfig,
    pub(crate) rules: Vec<TokenRule>,
    pub(crate) behavior: Behavior,
}

/// The treatment of requests.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Behavior {
    /// A request without a rule continues as it is if true, and is refused otherwise.
    pub(crate) passes_unmatched: bool,
    /// A request for which there is no token continues without one if true, and is refused otherwise.
    pub(crate) forwards_failed: bool,
    /// A header that the request has already stays if true, and is replaced otherwise.
    pub(crate) keeps_header: bool,
    /// The longest time that a request waits for its token.
    pub(crate) deadline: Duration,
}

impl PluginConfig {
    /// Reads a configuration. `environment` is the fallback for values that it leaves out.
    ///
    /// # Errors
    /// The field that cannot be used, and why.
    pub(crate) fn parse(json: &[u8], environment: Vec<(String, String)>) -> Result<Self, ConfigError> {
        if json.is_empty() {
            return Err("the configuration is empty".to_owned());
        }
        if json.len() > MAX_BYTES {
            return Err(format!("the configuration has {} bytes; {MAX_BYTES} are allowed", json.len()));
        }
        let mut fields = Fields::parse(json)?;
        let mut source = SourceConfig::read(fields.required("source")?, environment)?;
        for (field, variable) in LIMITS {
            if let Some(ms) = fields.optional(field).map(FieldValue::milliseconds).transpose()? {
                source.settings.set(variable, ms.to_string());
            }
        }
        if let Some(level) = fields.optional("log_level") {
            let level = level.one_of(LEVELS.map(|level| (level.name(), level)))?;
            source.settings.set(Settings::LOG, level.name().to_owned());
        }
        let identity = fields.optional("identity").map(|value| rule::identity(value, &source)).transpose()?;
        let rules = fields.required("rules")?;
        let config = Self {
            rules: rule::read_all(rules, identity.as_ref(), &mut source)?,
            behavior: Behavior::take(&mut fields)?,
            source,
        };
        fields.end()?;
        Ok(config)
    }
}

impl Behavior {
    fn take(fields: &mut Fields) -> Result<Self, ConfigError> {
        let mut choice = |name: &str, keywords| {
            fields.optional(name).map_or(Ok(None), |value| value.one_of(keywords).map(Some))
        };
        Ok(Self {
            passes_unmatched: choice("unmatched", [("pass", true), ("refuse", false)])?.unwrap_or(true),
            forwards_failed: choice("on_failure", [("refuse", false), ("forward", true)])?.unwrap_or(false),
            keeps_header: choice("existing_header", [("replace", false), ("keep", true)])?.unwrap_or(false),
            deadline: Duration::from_millis(
                fields.optional("deadline_ms").map_or(Ok(DEADLINE_MS), FieldValue::milliseconds)?,
            ),
        })
    }
}

const LIMITS: [(&str, &str); 2] =
    [("timeout_ms", "TOKEN_BROKER_TIMEOUT_MS"), ("budget_ms", "TOKEN_BROKER_BUDGET_MS")];
const LEVELS: [Level; 5] = [Level::Off, Level::Error, Level::Warn, Level::Info, Level::Debug];

/// Less than Envoy's default limit for a whole request.
const DEADLINE_MS: u64 = 10_000;
const MAX_BYTES: usize = 256 * 1024;
