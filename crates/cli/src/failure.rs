//! The failure of a command: one line, one exit code.

use std::fmt;
use std::process::ExitCode;

use serde_json::{Value, json};
use token_broker::milliseconds;
use token_broker_host::{Error, Failure};

/// The error of a command.
#[derive(Debug)]
pub(crate) struct Failed(Error);

impl Failed {
    /// A failure outside the broker, and its fix.
    pub(crate) fn other(what: impl fmt::Display, fix: impl fmt::Display) -> Self {
        Self(Error::Other(format!("{what}; fix: {fix}")))
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self.0 {
            Error::InvalidRequest(_) => 2,
            Error::Misconfigured(_) => 3,
            Error::Denied(_) => 4,
            Error::Unavailable(_) => 5,
            Error::Rejected(_) => 6,
            Error::Throttled(_) => 7,
            Error::Transient(_) => 8,
            Error::Protocol(_) => 9,
            _ => 1,
        })
    }

    pub(crate) fn to_json(&self) -> String {
        let failures: Vec<Value> = self.0.failures().iter().map(failure_to_json).collect();
        json!({ "error": self.0.kind(), "message": self.to_string(), "failures": failures }).to_string()
    }
}

pub(crate) fn failure_to_json(failure: &Failure) -> Value {
    json!({
        "source": failure.source,
        "status": failure.status,
        "code": failure.code,
        "message": failure.message,
        "correlationId": failure.correlation_id,
        "remedy": failure.remedy,
        "retryAfterMs": failure.retry_after.map(milliseconds),
    })
}

/// One line, also where a service's text has several.
impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&one_line(&self.0.to_string()))
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl From<wasmtime::Error> for Failed {
    fn from(error: wasmtime::Error) -> Self {
        match error.downcast_ref::<Error>() {
            Some(error) => Self(error.clone()),
            None => Self::other(format_args!("{error:#}"), "report it, with `token-broker --version`"),
        }
    }
}

/// Replaces control characters: the answer of a service must not control a terminal.
pub(crate) fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_one_line_without_control_characters() {
        let failed = Failed::from(Error::Denied("a\r\nb\u{1b}[31m".to_owned()));
        assert_eq!(failed.to_string(), "denied: a  b [31m");
    }

    #[test]
    fn a_failure_as_json_names_its_kind_and_every_source() {
        let mut failure = Failure::new("imds", "");
        failure.status = Some(400);
        let json: Value = serde_json::from_str(&Failed::from(Error::Rejected(failure)).to_json()).unwrap();
        assert_eq!(json["error"], "rejected");
        assert_eq!(json["failures"][0]["source"], "imds");
        assert_eq!(json["failures"][0]["status"], 400);
    }
}
