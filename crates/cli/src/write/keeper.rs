//! A file, and the token in it.

use std::convert::Infallible;
use std::time::Duration;

use secrecy::ExposeSecret as _;
use token_broker::{Level, fingerprint};
use token_broker_host::{AccessToken, Broker, RawRequest, log_line};
use tokio::time::sleep;

use crate::args::FileFormat;
use crate::failure::Failed;
use crate::get::ignored_tenant;
use crate::write::event::{Events, now};
use crate::write::on_change::OnChange;
use crate::write::token_file::TokenFile;

/// Keeps the token of a request in a file.
pub(super) struct Keeper {
    file: TokenFile,
    format: FileFormat,
    request: RawRequest,
    /// The token in the file.
    token: Option<AccessToken>,
    events: Events,
}

impl Keeper {
    pub(super) fn new(file: TokenFile, format: FileFormat, request: RawRequest, events: Events) -> Self {
        Self { file, format, request, token: None, events }
    }

    /// Write the file for the first time.
    ///
    /// # Errors
    /// There is no token, or the file cannot be written. A file that is there stays.
    pub(super) async fn write(&mut self, broker: &Broker) -> Result<(), Failed> {
        let token = broker.request_token(&self.request).await?;
        if let Some(warning) = ignored_tenant(&self.request, &token) {
            log_line(&format!("warning: {warning}"));
        }
        self.put(token)
    }

    /// Replace the file when the broker has another token, and remove it when its token has ended.
    ///
    /// The broker decides when a token is due for a refresh, and gives the old one as long as it is valid. It is asked
    /// again and again, and not at a computed time: a timer does not run while the machine sleeps.
    pub(super) async fn keep(&mut self, broker: &Broker, on_change: &OnChange) -> Infallible {
        loop {
            sleep(pause(self.token.as_ref().map(AccessToken::expires_on), now())).await;
            // The broker itself logs an error of its own.
            if let Ok(token) = broker.request_token(&self.request).await
                && self.is_due(&token)
            {
                match self.put(token) {
                    Ok(()) => on_change.log(on_change.tell().await),
                    Err(error) => {
                        self.log(Level::Error, "could not write a token", &[("error", &error.to_string())]);
                    }
                }
            }
            self.remove_if_ended();
        }
    }

    fn is_due(&self, token: &AccessToken) -> bool {
        let is_held = self.token.as_ref().is_some_and(|held| held.token() == token.token());
        !is_held || !self.file.exists()
    }

    fn put(&mut self, token: AccessToken) -> Result<(), Failed> {
        let scope = self.request.scopes.join(" ");
        self.file.replace(self.format.content(&token, &scope).expose_secret())?;
        let (digest, expires_on) = (fingerprint(token.token()), token.expires_on().to_string());
        let fields = [("scope", &*scope), ("token_sha256", &digest), ("expires_on", &expires_on)];
        self.log(Level::Info, "wrote a token", &fields);
        self.token = Some(token);
        Ok(())
    }

    /// Readers that find no file fail, as they should: a service would refuse the token.
    fn remove_if_ended(&mut self) {
        if self.token.as_ref().is_none_or(|token| now().as_secs() < token.expires_on()) {
            return;
        }
        self.token = None;
        match self.file.remove() {
            Ok(true) => self.log(Level::Error, "removed a token that has expired", &[]),
            Ok(false) => {}
            Err(error) => {
                self.log(
                    Level::Error,
                    "could not remove a token that has expired",
                    &[("error", &error.to_string())],
                );
            }
        }
    }

    fn log(&self, level: Level, event: &'static str, fields: &[(&'static str, &str)]) {
        let file = self.file.path().to_string_lossy();
        self.events.log(level, event, &[&[("file", &*file)], fields].concat());
    }
}

/// The time until the broker is asked again: half of what is left of a short-lived token.
fn pause(expires_on: Option<u64>, now: Duration) -> Duration {
    match expires_on {
        Some(end) => (Duration::from_secs(end).saturating_sub(now) / 2).clamp(SHORTEST, LONGEST),
        None => WITHOUT_TOKEN,
    }
}

/// As long as the broker waits between two refreshes that fail.
const LONGEST: Duration = Duration::from_secs(30);
const SHORTEST: Duration = Duration::from_secs(1);
/// The broker remembers failures itself, some longer than this.
const WITHOUT_TOKEN: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_broker_is_asked_often_enough_for_every_lifetime() {
        let left = |left: u64| pause(Some(1000 + left), Duration::from_secs(1000)).as_secs();
        assert_eq!([left(86_400), left(60), left(20), left(1), left(0)], [30, 30, 10, 1, 1]);
        assert_eq!(pause(Some(0), Duration::from_secs(1000)), SHORTEST);
        assert_eq!(pause(None, Duration::ZERO), WITHOUT_TOKEN);
    }
}
