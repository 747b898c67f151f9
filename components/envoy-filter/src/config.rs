//! The configuration of a plugin: JSON, which `config.schema.json` describes. Each error names its field.

mod fields;
mod protobuf;
mod rule;
mod source;
#[cfg(test)]
mod tests;

use std::time::Duration;

use token_broker::variables::{BUDGET_MS, LOG, TIMEOUT_MS};

use self::fields::{ConfigError, FieldValue, Fields, mistake};
use crate::rules::TokenRule;

pub(crate) use self::source::SourceConfig;

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
    pub(crate) fn parse(json: &[u8], environment: Vec<(String, String)>) -> Result<Self, ConfigError> {
        if json.is_empty() {
            return Err(mistake(
                "the configuration is empty",
                "write it in JSON; config.schema.json describes it",
            ));
        }
        if json.len() > MAX_BYTES {
            return Err(mistake(
                format_args!("the configuration has {} bytes", json.len()),
                format_args!("shorten it to {MAX_BYTES}"),
            ));
        }
        let mut fields = Fields::parse(json)?;
        let mut source = SourceConfig::read(fields.required("source")?, environment)?;
        for (field, variable) in [("timeout_ms", TIMEOUT_MS), ("budget_ms", BUDGET_MS)] {
            if let Some(ms) = fields.optional(field).map(FieldValue::milliseconds).transpose()? {
                source.settings.set_from(field, variable, ms.to_string());
            }
        }
        if let Some(level) = fields.optional("log_level") {
            source.settings.set_from("log_level", LOG, level.text()?);
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

/// Less than Envoy's default limit for a whole request.
const DEADLINE_MS: u64 = 10_000;
const MAX_BYTES: usize = 256 * 1024;
