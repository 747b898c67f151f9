//! The contract's `credentials`, in the core's types.

use std::ops::Range;
use std::time::Duration;

use secrecy::ExposeSecret as _;
use token_broker::{Error, Failure, Identity, Secret, fingerprint};
use token_broker_egress::HeaderForm;

use crate::bindings::token_broker::identity::{credentials, types};

/// Which token, and how it is shown: two requests that demand the same can be shown the same one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Demand {
    pub(crate) scope: String,
    pub(crate) identity: Identity,
    pub(crate) tenant: Option<String>,
    pub(crate) form: HeaderForm,
}

/// A token, ready to be shown.
pub(crate) struct Held {
    /// The value of `Authorization`.
    pub(crate) authorization: Secret,
    /// What a log may say of it.
    pub(crate) token_sha256: String,
    /// In Unix seconds, when it may be shown without asking the broker for it again.
    pub(crate) good: Range<u64>,
}

impl Held {
    fn new(token: types::AccessToken, form: HeaderForm, now: u64) -> Self {
        let refresh_on = token.refresh_on.unwrap_or(now);
        // The broker refreshes up to a tenth earlier, and not at the same time everywhere. It must be asked by then.
        let until = now.saturating_add(refresh_on.saturating_sub(now).saturating_mul(9) / 10);
        let token_sha256 = fingerprint(&token.token);
        let authorization = form.authorization(&token.token_type, &token.token.into());
        Self { authorization, token_sha256, good: now..until }
    }

    /// Whether it is the same token.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.authorization.expose_secret() == other.authorization.expose_secret()
    }
}

/// A token from the broker: a new one if it is to have claims.
///
/// # Errors
/// Why there is none.
pub(crate) async fn token(demand: &Demand, claims: Option<String>, now: u64) -> Result<Held, Error> {
    let Demand { scope, identity, tenant, form } = demand.clone();
    let request = types::TokenRequest {
        scopes: vec![scope],
        identity: match identity {
            Identity::Default => types::Identity::Default,
            Identity::SystemAssigned => types::Identity::SystemAssigned,
            Identity::ClientId(id) => types::Identity::ClientId(id.as_str().to_owned()),
            Identity::ObjectId(id) => types::Identity::ObjectId(id.as_str().to_owned()),
            Identity::ResourceId(id) => types::Identity::ResourceId(id.as_str().to_owned()),
        },
        tenant_id: tenant,
        claims,
        enable_cae: false,
        user_assertion: None,
    };
    let token = credentials::request_token(request).await.map_err(error)?;
    Ok(Held::new(token, form, now))
}

/// Have the next call for a scope fetch.
pub(crate) fn forget(scope: &str) {
    credentials::forget_token(scope);
}

fn error(error: types::Error) -> Error {
    match error {
        types::Error::InvalidRequest(text) => Error::InvalidRequest(text),
        types::Error::Misconfigured(text) => Error::Misconfigured(text),
        types::Error::Denied(text) => Error::Denied(text),
        types::Error::Unavailable(failures) => {
            Error::Unavailable(failures.into_iter().map(failure).collect())
        }
        types::Error::Rejected(why) => Error::Rejected(failure(why)),
        types::Error::Throttled(why) => Error::Throttled(failure(why)),
        types::Error::Transient(why) => Error::Transient(failure(why)),
        types::Error::Protocol(why) => Error::Protocol(failure(why)),
        types::Error::Other(text) => Error::Other(text),
    }
}

fn failure(failure: types::Failure) -> Failure {
    Failure {
        source: failure.source.into(),
        status: failure.status,
        code: failure.code,
        message: failure.message,
        correlation_id: failure.correlation_id,
        remedy: failure.remedy,
        retry_after: failure.retry_after_ms.map(Duration::from_millis),
    }
}
