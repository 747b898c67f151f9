//! What the log says of each answer: which client got a token for what, or why it got none.

use std::time::Duration;

use crate::error::Error;
use crate::identity_api::{Granted, Question};
use crate::log::{Level, Record};
use crate::token::fingerprint;

impl Question {
    /// The level of the lines below.
    pub const AUDIT: Level = Level::Info;

    /// The line for a token that is given out. `client` is what is known of who asks, `now` the time since the Unix epoch.
    pub fn grant_line(&self, granted: Granted<'_>, client: &str, now: Duration) -> String {
        let (token, expires_on) = (fingerprint(granted.token), granted.expires_on.to_string());
        self.line("gave out a token", &[("token_sha256", &token), ("expires_on", &expires_on)], client, now)
    }

    /// The line for a question that is answered without a token.
    pub fn refusal_line(&self, error: &Error, client: &str, now: Duration) -> String {
        let text = error.to_string();
        self.line("gave out no token", &[("kind", error.kind()), ("error", &text)], client, now)
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
