//! The audit log: the host and the token of each request, and never its path, query or body.

use std::time::Duration;

use secrecy::ExposeSecret as _;
use token_broker::wire::redacted;
use token_broker::{Error, Identity, Level, Record, Scope, milliseconds};
use token_broker_egress::Target;
use wasip3::clocks::monotonic_clock;
use wasip3::http::types::{ErrorCode, Response};

use crate::credentials::{TokenHeader, TokenSpec};
use crate::destination::Route;
use crate::http_error::described;
use crate::{clock, log};

/// Writes the lines of the configured level, or of the default level where the configuration cannot be read.
#[derive(Default)]
pub(crate) struct Audit {
    level: Level,
    /// The identity of requests whose rule names none.
    default_identity: Identity,
}

impl Audit {
    pub(crate) fn new(level: Level, default_identity: Identity) -> Self {
        Self { level, default_identity }
    }

    /// Begins the line of a request with a token; none if the level leaves it out.
    pub(crate) fn begin<'a>(
        &'a self,
        route: &'a Route,
        spec: &'a TokenSpec,
        token: &'a TokenHeader,
    ) -> Option<AuditedRequest<'a>> {
        self.includes(Level::Info).then(|| {
            let began = monotonic_clock::now();
            AuditedRequest { audit: self, route, spec, token, began, status: CANCELLED.to_owned() }
        })
    }

    pub(crate) fn refused(&self, error: &Error) {
        let event = if error.kind() == "denied" { "refused a request" } else { "had no token for a request" };
        self.write(Level::Warn, event, &[("kind", error.kind()), ("error", &error.to_string())]);
    }

    /// Logs a challenge of a service for which there is no token.
    pub(crate) fn unanswered(&self, target: &Target, error: &Error) {
        let fields = [("host", &*target.to_string()), ("kind", error.kind()), ("error", &error.to_string())];
        self.write(Level::Warn, "could not answer a challenge", &fields);
    }

    /// Logs a request that was sent without a token.
    pub(crate) fn passed(&self, target: &Target) {
        if self.includes(Level::Debug) {
            self.write(Level::Debug, "passed a request on without a token", &[("host", &target.to_string())]);
        }
    }

    fn includes(&self, level: Level) -> bool {
        level <= self.level
    }

    fn write(&self, level: Level, event: &'static str, fields: &[(&'static str, &str)]) {
        if self.includes(level) {
            log::write(&Record { level, event, fields }.to_json(clock::now()));
        }
    }
}

/// A request that is under way with a token.
///
/// Its line is written when it is dropped, also when the application stops waiting: the service has seen the token all the
/// same.
pub(crate) struct AuditedRequest<'a> {
    audit: &'a Audit,
    route: &'a Route,
    spec: &'a TokenSpec,
    token: &'a TokenHeader,
    /// In nanoseconds.
    began: u64,
    status: String,
}

impl AuditedRequest<'_> {
    /// Ends the line with the status of the answer.
    pub(crate) fn end(mut self, answer: &Result<Response, ErrorCode>) {
        self.status = match answer {
            Ok(response) => response.get_status_code().to_string(),
            // The host may quote what was sent.
            Err(code) => {
                let sent = self.token.authorization.expose_secret();
                redacted(described(code).1, &[Some(sent), sent.rsplit(' ').next()])
            }
        };
    }
}

impl Drop for AuditedRequest<'_> {
    fn drop(&mut self) {
        let took = Duration::from_nanos(monotonic_clock::now().saturating_sub(self.began));
        let identity = match &self.spec.identity {
            Identity::Default => &self.audit.default_identity,
            named => named,
        };
        let scope = Scope::parse(&self.spec.scope);
        let fields = [
            ("host", &*self.route.target.to_string()),
            ("rule", self.route.rule.pattern()),
            ("audience", scope.as_ref().map_or(&*self.spec.scope, Scope::audience)),
            ("identity", &identity.to_string()),
            ("token_sha256", &self.token.token_sha256),
            ("status", &self.status),
            ("duration_ms", &milliseconds(took).to_string()),
        ];
        self.audit.write(Level::Info, "sent a request with a token", &fields);
    }
}

/// The status of a request whose answer the application did not wait for.
const CANCELLED: &str = "given up";
