//! Between the contract's types and the core's.
//!
//! Each binding compiles this file anew, against the types that were generated for it.

use secrecy::ExposeSecret as _;
use token_broker::{
    Error, Failure, Identity, RawRequest, SourceReport, Statistics, Token, TokenRequest, Verdict,
    milliseconds,
};

use crate::bindings::exports::token_broker::identity::types;

pub(crate) fn request(request: types::TokenRequest) -> Result<TokenRequest, Error> {
    TokenRequest::parse(RawRequest {
        scopes: request.scopes,
        identity: match request.identity {
            types::Identity::Default => Identity::Default,
            types::Identity::SystemAssigned => Identity::SystemAssigned,
            types::Identity::ClientId(id) => Identity::client_id(&id)?,
            types::Identity::ObjectId(id) => Identity::object_id(&id)?,
            types::Identity::ResourceId(id) => Identity::resource_id(&id)?,
        },
        tenant_id: request.tenant_id,
        claims: request.claims,
        enable_cae: request.enable_cae,
        user_assertion: request.user_assertion.map(Into::into),
    })
}

pub(crate) fn access_token(token: &Token) -> types::AccessToken {
    types::AccessToken {
        token: token.secret().expose_secret().to_owned(),
        token_type: token.token_type().to_owned(),
        expires_on: token.expires_on(),
        refresh_on: token.refresh_on(),
    }
}

pub(crate) fn error(error: Error) -> types::Error {
    match error {
        Error::InvalidRequest(text) => types::Error::InvalidRequest(text),
        Error::Misconfigured(text) => types::Error::Misconfigured(text),
        Error::Denied(text) => types::Error::Denied(text),
        Error::Unavailable(failures) => {
            types::Error::Unavailable(failures.into_iter().map(failure).collect())
        }
        Error::Rejected(why) => types::Error::Rejected(failure(why)),
        Error::Throttled(why) => types::Error::Throttled(failure(why)),
        Error::Transient(why) => types::Error::Transient(failure(why)),
        Error::Protocol(why) => types::Error::Protocol(failure(why)),
        Error::Other(text) => types::Error::Other(text),
    }
}

fn failure(failure: Failure) -> types::Failure {
    types::Failure {
        source: failure.source.into_owned(),
        status: failure.status,
        code: failure.code,
        message: failure.message,
        correlation_id: failure.correlation_id,
        remedy: failure.remedy,
        retry_after_ms: failure.retry_after.map(milliseconds),
    }
}

pub(crate) fn source_report(report: SourceReport) -> types::SourceReport {
    types::SourceReport {
        source: report.source.to_owned(),
        verdict: match report.verdict {
            Verdict::Used => types::Verdict::Used,
            Verdict::Ready => types::Verdict::Ready,
            Verdict::NotConfigured => types::Verdict::NotConfigured,
            Verdict::Misconfigured => types::Verdict::Misconfigured,
            Verdict::Failed => types::Verdict::Failed,
        },
        reason: report.reason,
        would_send: report.would_send,
        variables: report.variables.into_iter().map(|(name, set)| (name.to_owned(), set)).collect(),
        last_failure: report.last_failure.map(failure),
    }
}

pub(crate) fn statistics(stats: Statistics) -> types::Statistics {
    types::Statistics {
        requests: stats.requests,
        hits: stats.hits,
        stale_hits: stats.stale_hits,
        misses: stats.misses,
        refreshes: stats.refreshes,
        fetches: stats.fetches,
        waiters: stats.waiters,
        failures: stats.failures.into_iter().map(|(kind, count)| (kind.to_owned(), count)).collect(),
        store_hits: stats.store_hits,
        store_misses: stats.store_misses,
        store_errors: stats.store_errors,
        store_tampered: stats.store_tampered,
        lease_waits: stats.lease_waits,
        lease_takeovers: stats.lease_takeovers,
        budget_waits: stats.budget_waits,
    }
}
