//! What is told of requests: where they went and with whose token, and never their path, query or body.

use std::io::Write as _;
use std::time::Duration;

use token_broker::{Error, Identity, Level, Record, milliseconds};
use token_broker_egress::Target;
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

    /// A request is about to be sent with a token; none if that is not told.
    pub(crate) fn sending<'a>(
        &'a self,
        way: &'a Way,
        demand: &'a Demand,
        held: &'a Held,
    ) -> Option<Sending<'a>> {
        self.tells(Level::Info).then(|| {
            let began = monotonic_clock::now();
            Sending { audit: self, way, demand, held, began, status: GIVEN_UP.to_owned() }
        })
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

/// A request that is under way with a token. Its line is written when it ends, be it that the application waits no longer:
/// the service has been shown the token all the same.
pub(crate) struct Sending<'a> {
    audit: &'a Audit,
    way: &'a Way,
    demand: &'a Demand,
    held: &'a Held,
    /// In nanoseconds.
    began: u64,
    status: String,
}

impl Sending<'_> {
    /// This came back.
    pub(crate) fn answered(mut self, answer: &Result<Response, ErrorCode>) {
        self.status = match answer {
            Ok(response) => response.get_status_code().to_string(),
            Err(code) => format!("{code:?}"),
        };
    }
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        let took = Duration::from_nanos(monotonic_clock::now().saturating_sub(self.began));
        let identity = match &self.demand.identity {
            Identity::Default => &self.audit.default_identity,
            named => named,
        };
        let fields = [
            ("host", &*self.way.target.to_string()),
            ("rule", self.way.rule.pattern()),
            ("audience", audience(&self.demand.scope)),
            ("identity", &identity.to_string()),
            ("token_sha256", &self.held.token_sha256),
            ("status", &self.status),
            ("duration_ms", &milliseconds(took).to_string()),
        ];
        self.audit.write(Level::Info, "sent a request with a token", &fields);
    }
}

fn audience(scope: &str) -> &str {
    scope.strip_suffix("/.default").unwrap_or(scope)
}

/// In the place of a status where the application did not wait for one.
const GIVEN_UP: &str = "given up";
