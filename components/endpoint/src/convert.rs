//! Between the contract's types and the core's.

use std::borrow::Cow;
use std::time::Duration;

use token_broker::{Error, Failure, Identity};
use token_broker_client::{Cause, TokenRequest};

pub(crate) fn request(audience: &str, identity: &Identity) -> TokenRequest {
    use token_broker_client::Identity as Wire;

    TokenRequest::new(audience).identity(match identity {
        Identity::Default => Wire::Default,
        Identity::SystemAssigned => Wire::SystemAssigned,
        Identity::ClientId(id) => Wire::ClientId(id.as_str().to_owned()),
        Identity::ObjectId(id) => Wire::ObjectId(id.as_str().to_owned()),
        Identity::ResourceId(id) => Wire::ResourceId(id.as_str().to_owned()),
    })
}

pub(crate) fn error(cause: &Cause) -> Error {
    match cause {
        Cause::InvalidRequest(text) => Error::InvalidRequest(text.clone()),
        Cause::Misconfigured(text) => Error::Misconfigured(text.clone()),
        Cause::Denied(text) => Error::Denied(text.clone()),
        Cause::Unavailable(failures) => Error::Unavailable(failures.iter().map(failure).collect()),
        Cause::Rejected(why) => Error::Rejected(failure(why)),
        Cause::Throttled(why) => Error::Throttled(failure(why)),
        Cause::Transient(why) => Error::Transient(failure(why)),
        Cause::Protocol(why) => Error::Protocol(failure(why)),
        Cause::Other(text) => Error::Other(text.clone()),
    }
}

fn failure(failure: &token_broker_client::Failure) -> Failure {
    Failure {
        source: Cow::Owned(failure.source.clone()),
        status: failure.status,
        code: failure.code.clone(),
        message: failure.message.clone(),
        correlation_id: failure.correlation_id.clone(),
        remedy: failure.remedy.clone(),
        retry_after: failure.retry_after_ms.map(Duration::from_millis),
    }
}
