//! Conversions between the contract's types and the core's, in both directions.
//!
//! Each component compiles this file against the types that are generated for it: a broker exports them, the injector
//! and the endpoint import them.

use std::time::Duration;

use secrecy::ExposeSecret as _;
use token_broker::{
    Error, Failure, Identity, RawRequest, SourceReport, Statistics, Token, TokenRequest, Verdict,
    milliseconds,
};

use crate::types;

impl TryFrom<types::TokenRequest> for TokenRequest {
    type Error = Error;

    fn try_from(request: types::TokenRequest) -> Result<Self, Error> {
        Self::parse(RawRequest {
            scopes: request.scopes,
            identity: request.identity.try_into()?,
            tenant_id: request.tenant_id,
            claims: request.claims,
            enable_cae: request.enable_cae,
            user_assertion: request.user_assertion.map(Into::into),
        })
    }
}

impl From<RawRequest> for types::TokenRequest {
    fn from(request: RawRequest) -> Self {
        Self {
            scopes: request.scopes,
            identity: request.identity.into(),
            tenant_id: request.tenant_id,
            claims: request.claims,
            enable_cae: request.enable_cae,
            user_assertion: request.user_assertion.map(|assertion| assertion.expose_secret().to_owned()),
        }
    }
}

impl TryFrom<types::Identity> for Identity {
    type Error = Error;

    fn try_from(identity: types::Identity) -> Result<Self, Error> {
        match identity {
            types::Identity::Default => Ok(Self::Default),
            types::Identity::SystemAssigned => Ok(Self::SystemAssigned),
            types::Identity::ClientId(id) => Self::client_id(&id),
            types::Identity::ObjectId(id) => Self::object_id(&id),
            types::Identity::ResourceId(id) => Self::resource_id(&id),
        }
    }
}

impl From<Identity> for types::Identity {
    fn from(identity: Identity) -> Self {
        match identity {
            Identity::Default => Self::Default,
            Identity::SystemAssigned => Self::SystemAssigned,
            Identity::ClientId(id) => Self::ClientId(id.as_str().to_owned()),
            Identity::ObjectId(id) => Self::ObjectId(id.as_str().to_owned()),
            Identity::ResourceId(id) => Self::ResourceId(id.as_str().to_owned()),
        }
    }
}

impl From<&Token> for types::AccessToken {
    fn from(token: &Token) -> Self {
        Self {
            token: token.secret().expose_secret().to_owned(),
            token_type: token.token_type().to_owned(),
            expires_on: token.expires_on(),
            refresh_on: token.refresh_on(),
        }
    }
}

impl From<Error> for types::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::InvalidRequest(text) => Self::InvalidRequest(text),
            Error::Misconfigured(text) => Self::Misconfigured(text),
            Error::Denied(text) => Self::Denied(text),
            Error::Unavailable(failures) => Self::Unavailable(failures.into_iter().map(Into::into).collect()),
            Error::Rejected(failure) => Self::Rejected(failure.into()),
            Error::Throttled(failure) => Self::Throttled(failure.into()),
            Error::Transient(failure) => Self::Transient(failure.into()),
            Error::Protocol(failure) => Self::Protocol(failure.into()),
            Error::Other(text) => Self::Other(text),
            // A case that the contract does not have yet.
            other => Self::Other(other.to_string()),
        }
    }
}

impl From<types::Error> for Error {
    fn from(error: types::Error) -> Self {
        match error {
            types::Error::InvalidRequest(text) => Self::InvalidRequest(text),
            types::Error::Misconfigured(text) => Self::Misconfigured(text),
            types::Error::Denied(text) => Self::Denied(text),
            types::Error::Unavailable(failures) => {
                Self::Unavailable(failures.into_iter().map(Into::into).collect())
            }
            types::Error::Rejected(failure) => Self::Rejected(failure.into()),
            types::Error::Throttled(failure) => Self::Throttled(failure.into()),
            types::Error::Transient(failure) => Self::Transient(failure.into()),
            types::Error::Protocol(failure) => Self::Protocol(failure.into()),
            types::Error::Other(text) => Self::Other(text),
        }
    }
}

impl From<Failure> for types::Failure {
    fn from(failure: Failure) -> Self {
        Self {
            source: failure.source.into_owned(),
            status: failure.status,
            code: failure.code,
            message: failure.message,
            correlation_id: failure.correlation_id,
            remedy: failure.remedy,
            retry_after_ms: failure.retry_after.map(milliseconds),
        }
    }
}

impl From<types::Failure> for Failure {
    fn from(wire: types::Failure) -> Self {
        let mut failure = Self::new(wire.source, wire.message);
        failure.status = wire.status;
        failure.code = wire.code;
        failure.correlation_id = wire.correlation_id;
        failure.remedy = wire.remedy;
        failure.retry_after = wire.retry_after_ms.map(Duration::from_millis);
        failure
    }
}

impl From<SourceReport> for types::SourceReport {
    fn from(report: SourceReport) -> Self {
        Self {
            source: report.source.to_owned(),
            verdict: match report.verdict {
                Verdict::Used => types::Verdict::Used,
                Verdict::Ready => types::Verdict::Ready,
                Verdict::NotConfigured => types::Verdict::NotConfigured,
                Verdict::Misconfigured => types::Verdict::Misconfigured,
                _ => types::Verdict::Failed,
            },
            reason: report.reason,
            would_send: report.would_send,
            variables: report.variables.into_iter().map(|(name, set)| (name.to_owned(), set)).collect(),
            last_failure: report.last_failure.map(Into::into),
        }
    }
}

impl From<Statistics> for types::Statistics {
    fn from(stats: Statistics) -> Self {
        Self {
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
}
