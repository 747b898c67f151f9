//! The audit log: a line for each request, with the client and the token that it got, or the error.

use std::time::Duration;

use token_broker::{Level, Record, fingerprint};

use crate::api::Question;
use crate::reply::{Granted, Outcome};

impl Question {
    /// The level of a line of the audit.
    pub const AUDIT: Level = Level::Info;

    /// The line with the outcome of the question. `client` names the client as far as it is known, `now` is the time since
    /// the Unix epoch.
    pub fn audit_line(&self, outcome: Outcome<'_>, client: &str, now: Duration) -> String {
        match outcome {
            Ok(Granted { token, expires_on, .. }) => {
                let (token, expires_on) = (fingerprint(token), expires_on.to_string());
                self.line(
                    "gave out a token",
                    &[("token_sha256", &token), ("expires_on", &expires_on)],
                    client,
                    now,
                )
            }
            Err(error) => {
                let text = error.to_string();
                self.line("gave out no token", &[("kind", error.kind()), ("error", &text)], client, now)
            }
        }
    }

    fn line(
        &self,
        event: &'static str,
        outcome: &[(&'static str, &str)],
        client: &str,
        now: Duration,
    ) -> String {
        let identity = self.identity().to_string();
        let asked = [
            ("client", client),
            ("protocol", self.protocol().name()),
            ("audience", self.audience()),
            ("identity", &*identity),
        ];
        Record { level: Self::AUDIT, event, fields: &[&asked, outcome].concat() }.to_json(now)
    }
}
