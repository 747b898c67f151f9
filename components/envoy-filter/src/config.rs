//! The plugin's configuration: JSON, read once, with the field named in every refusal. `config.schema.json` describes it.

mod rule;
mod source;
#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::fields::{At, Fields, Wrong};
use crate::rules::Rule;

pub(crate) use self::source::{FieldNames, Source};

/// What a plugin does.
pub(crate) struct Config {
    pub(crate) source: Source,
    pub(crate) rules: Vec<Rule>,
    pub(crate) manners: Manners,
}

/// What becomes of requests.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Manners {
    /// Whether requests that no rule is for pass.
    pub(crate) passes_unmatched: bool,
    /// Whether requests for which there is no token go on without.
    pub(crate) forwards_failed: bool,
    /// Whether a header that is there already stays.
    pub(crate) keeps_header: bool,
    /// How long a request waits for its token.
    pub(crate) deadline: Duration,
}

impl Config {
    /// # Errors
    /// The field that cannot be used, and why.
    pub(crate) fn parse(json: &[u8], environment: Vec<(String, String)>) -> Result<Self, Wrong> {
        if json.is_empty() {
            return Err("the configuration is empty".to_owned());
        }
        if json.len() > MAX_BYTES {
            return Err(format!("the configuration has {} bytes; {MAX_BYTES} are allowed", json.len()));
        }
        let mut fields = Fields::parse(json)?;
        let mut source = Source::read(fields.required("source")?, environment)?;
        for (field, variable) in LIMITS {
            if let Some(ms) = fields.optional(field).map(At::milliseconds).transpose()? {
                source.settings.set(variable, ms.to_string());
            }
        }
        if let Some(level) = fields.optional("log_level") {
            source.settings.set(LOG, level.one_of(LEVELS)?.to_owned());
        }
        let identity = fields.optional("identity").map(|at| rule::identity(at, &source)).transpose()?;
        let rules = fields.required("rules")?;
        let config = Self {
            rules: rule::read_all(rules, identity.as_ref(), &mut source)?,
            manners: Manners::take(&mut fields)?,
            source,
        };
        fields.end()?;
        Ok(config)
    }
}

impl Manners {
    fn take(fields: &mut Fields) -> Result<Self, Wrong> {
        let mut choice =
            |name: &str, words| fields.optional(name).map_or(Ok(None), |at| at.one_of(words).map(Some));
        Ok(Self {
            passes_unmatched: choice("unmatched", [("pass", true), ("refuse", false)])?.unwrap_or(true),
            forwards_failed: choice("on_failure", [("refuse", false), ("forward", true)])?.unwrap_or(false),
            keeps_header: choice("existing_header", [("replace", false), ("keep", true)])?.unwrap_or(false),
            deadline: Duration::from_millis(
                fields.optional("deadline_ms").map_or(Ok(DEADLINE_MS), At::milliseconds)?,
            ),
        })
    }
}

const LIMITS: [(&str, &str); 2] =
    [("timeout_ms", "TOKEN_BROKER_TIMEOUT_MS"), ("budget_ms", "TOKEN_BROKER_BUDGET_MS")];
const LOG: &str = "TOKEN_BROKER_LOG";
const LEVELS: [(&str, &str); 5] =
    [("off", "off"), ("error", "error"), ("warn", "warn"), ("info", "info"), ("debug", "debug")];

/// Less than Envoy's own limit for a whole request.
const DEADLINE_MS: u64 = 10_000;
const MAX_BYTES: usize = 256 * 1024;
