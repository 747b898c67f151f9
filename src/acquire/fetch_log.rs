//! The log record of a fetch.

use std::time::Duration;

use super::context::FetchContext;
use crate::memory::FetchResult;
use crate::model::{Host, Level, milliseconds};

/// Logs the result of a fetch, with the fields by which operators aggregate and search.
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
    let (attempts, correlation_id) = (fetch.requests().to_string(), fetch.correlation_id());
    let common = [
        ("audience", key.audience()),
        ("identity", &*identity),
        ("duration_ms", &*duration_ms),
        ("attempts", &*attempts),
    ];
    match outcome {
        Ok(token) => {
            let (token_hash, expires_on) = (token.fingerprint(), token.expires_on().to_string());
            let fields = [
                ("source", token.source()),
                ("correlation_id", &*correlation_id),
                ("token_sha256", &token_hash),
                ("expires_on", &expires_on),
            ];
            fetch.instance.log(Level::Info, event, &[common, fields].concat());
        }
        Err(error) => {
            let last = error.failures().last();
            let source = last.map_or("", |failure| &failure.source);
            let of_failure = last.and_then(|failure| failure.correlation_id.as_deref());
            let text = error.to_string();
            let fields = [
                ("kind", error.kind()),
                ("source", source),
                ("correlation_id", of_failure.unwrap_or(&correlation_id)),
                ("error", &*text),
            ];
            fetch.instance.log(Level::Warn, event, &[common, fields].concat());
        }
    }
}
