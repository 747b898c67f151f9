//! The line that the log has for each fetch.

use std::time::Duration;

use super::context::FetchContext;
use crate::memory::FetchResult;
use crate::model::{Host, Level, milliseconds};

/// One line for each fetch, with what the operator of a fleet sums up and searches for.
pub(super) fn log_fetch<H: Host>(
    fetch: &FetchContext<'_, H>,
    refreshes: bool,
    took: Duration,
    outcome: &FetchResult,
) {
    let event = match (outcome, refreshes) {
        (Ok(_), false) => "fetched a token",
        (Ok(_), true) => "refreshed a token",
        (Err(_), false) => "could not fetch a token",
        (Err(_), true) => "could not refresh a token",
    };
    let key = fetch.request.key();
    let (identity, duration_ms) = (key.identity().to_string(), milliseconds(took).to_string());
    let (attempts, sent_as) = (fetch.requests().to_string(), fetch.correlation_id());
    let of_all = [
        ("audience", key.audience()),
        ("identity", &*identity),
        ("duration_ms", &*duration_ms),
        ("attempts", &*attempts),
    ];
    match outcome {
        Ok(token) => {
            let (token_hash, expires_on) = (token.fingerprint(), token.expires_on().to_string());
            let own = [
                ("source", token.source()),
                ("correlation_id", &*sent_as),
                ("token_sha256", &token_hash),
                ("expires_on", &expires_on),
            ];
            fetch.instance.log(Level::Info, event, &[of_all, own].concat());
        }
        Err(error) => {
            let last = error.failures().last();
            let source = last.map_or("", |failure| &failure.source);
            let told = last.and_then(|failure| failure.correlation_id.as_deref());
            let text = error.to_string();
            let own = [
                ("kind", error.kind()),
                ("source", source),
                ("correlation_id", told.unwrap_or(&sent_as)),
                ("error", &*text),
            ];
            fetch.instance.log(Level::Warn, event, &[of_all, own].concat());
        }
    }
}
