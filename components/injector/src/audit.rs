//! What is told of requests: where they went and with whose token, and never their path, query or body.

use std::io::Write as _;
use std::time::Duration;

use token_broker::{Error, Identity, Level, Record, Target, milliseconds};
use wasip3::clocks::{monotonic_clock, system_clock};
use wasip3::http::types::{ErrorCode, Response};

use crate::credentials::{Demand, Held};
use crate::place::Way;

/// Writes the lines that the configured level lets through, and before there is a configuration those of the default one.
#[derive(Default)]
pub(crate) struct Audit {
    level: Level,
    /// Whom requests stand for whose rule names nobody.
    default_identity: Identity,
}

impl Audit {
    pub(crate) fn new(level: Level, default_identity: Identity) -> Self {
        Self { level, default_identity }
    }

    /// When a request began, in nanoseconds; none if it is not told of.
    pub(crate) fn now(&self) -> Option<u64> {
        self.tells(Level::Info).then(monotonic_clock::now)
    }

    /// A request was sent with a token, and this came back.
    pub(crate) fn injected(
        &self,
        began: Option<u64>,
        about: &About<'_>,
        answer: &Result<Response, ErrorCode>,
    ) {
        let Some(began) = began else { return };
        let took = Duration::from_nanos(monotonic_clock::now().saturating_sub(began));
        let status = match answer {
            Ok(response) => response.get_status_code().to_string(),
            Err(code) => format!("{code:?}"),
        };
        let identity = match &about.demand.identity {
            Identity::Default => &self.default_identity,
            named => named,
        };
        let fields = [
            ("host", &*about.way.target.to_string()),
            ("rule", about.way.rule.pattern()),
            ("audience", audience(&about.demand.scope)),
            ("identity", &identity.to_string()),
            ("token_sha256", &about.held.token_sha256),
            ("status", &status),
            ("duration_ms", &milliseconds(took).to_string()),
        ];
        self.write(Level::Info, "sent a request with a token", &fields);
    }

    /// A request was not sent.
    pub(crate) fn refused(&self, error: &Error) {
        let event = if error.kind() == "denied" { "refused a request" } else { "had no token for a request" };
        self.write(Level::Warn, event, &[("kind", error.kind()), ("error", &error.to_string())]);
    }

    /// A service refused a token, and no other one could be had for it.
    pub(crate) fn unanswered(&self, target: &Target, error: &Error) {
        let fields = [("host", &*target.to_string()), ("kind", error.kind()), ("error", &error.to_string())];
        self.write(Level::Warn, "could not answer a challenge", &fields);
    }

    /// A request went out as it was.
    pub(crate) fn passed(&self, target: &Target) {
        if self.tells(Level::Debug) {
            self.write(Level::Debug, "passed a request on without a token", &[("host", &target.to_string())]);
        }
    }

    fn tells(&self, level: Level) -> bool {
        level <= self.level
    }

    fn write(&self, level: Level, event: &'static str, fields: &[(&'static str, &str)]) {
        if self.tells(level) {
            let now = system_clock::now();
            let now = Duration::new(u64::try_from(now.seconds).unwrap_or(0), now.nanoseconds);
            // A log that cannot be written must not end the application.
            let _ = writeln!(std::io::stderr(), "{}", Record { level, event, fields }.to_json(now));
        }
    }
}

/// What a line is about.
pub(crate) struct About<'a> {
    pub(crate) way: &'a Way,
    pub(crate) demand: &'a Demand,
    pub(crate) held: &'a Held,
}

fn audience(scope: &str) -> &str {
    scope.strip_suffix("/.default").unwrap_or(scope)
}
