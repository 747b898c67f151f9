//! The contract's `credentials`, in the core's types.

use std::time::Duration;

use secrecy::ExposeSecret as _;
use token_broker::{Error, Failure, Identity, Secret};

use crate::bindings::token_broker::identity::{credentials, types};

/// Which token: two requests that demand the same can be shown the same one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Demand {
    pub(crate) scope: String,
    pub(crate) identity: Identity,
    pub(crate) tenant: Option<String>,
}

/// A token, and how long it may be shown without asking for it again.
#[derive(Clone)]
pub(crate) struct Held {
    pub(crate) token: Secret,
    pub(crate) token_type: String,
    /// Unix seconds; none if it lives too briefly for that.
    pub(crate) refresh_on: Option<u64>,
}

impl Held {
    /// Whether it is the same token.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.token.expose_secret() == other.token.expose_secret()
    }
}

/// The token for a scope and the default identity, if the broker has a fresh one at hand.
pub(crate) fn peek(scope: &str) -> Option<Held> {
    credentials::peek_token(scope).map(Held::from)
}

/// The token for a scope and the default identity.
pub(crate) async fn get(scope: String) -> Result<Held, Error> {
    credentials::get_token(scope).await.map(Held::from).map_err(error)
}

/// A token, a new one if it is to have claims.
pub(crate) async fn request(demand: Demand, claims: Option<String>) -> Result<Held, Error> {
    let Demand { scope, identity, tenant } = demand;
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
        // What peek-token finds is held without it.
        enable_cae: false,
        user_assertion: None,
    };
    credentials::request_token(request).await.map(Held::from).map_err(error)
}

/// Have the next call for a scope fetch.
pub(crate) fn forget(scope: &str) {
    credentials::forget_token(scope);
}

impl From<types::AccessToken> for Held {
    fn from(token: types::AccessToken) -> Self {
        Self { token: token.token.into(), token_type: token.token_type, refresh_on: token.refresh_on }
    }
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
