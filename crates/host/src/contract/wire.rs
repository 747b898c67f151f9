//! The contract's records as they cross between wasmtime stores, and their conversions.
//!
//! Written by hand rather than by `bindgen!`: tokens must be shared between stores without a copy of the secret, wiped
//! on drop and never printed, and generated records do none of that.

use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret as _;
use token_broker::{Error, Failure, Identity, RawRequest, StoreError, milliseconds};
use wasmtime::component::{ComponentType, Lift, Lower};

pub(crate) type TokenResult = Result<Arc<WireToken>, WireError>;

/// A token as the broker lifts it out of its memory; shared from then on, so that the secret is not copied again.
#[derive(ComponentType, Lift, Lower)]
#[component(record)]
pub(crate) struct WireToken {
    pub(crate) token: String,
    #[component(name = "token-type")]
    pub(crate) token_type: String,
    #[component(name = "expires-on")]
    pub(crate) expires_on: u64,
    #[component(name = "refresh-on")]
    pub(crate) refresh_on: Option<u64>,
}

/// Wiped at once and not byte by byte, as zeroize does it: that took a tenth of a cached call.
impl Drop for WireToken {
    fn drop(&mut self) {
        let mut secret = std::mem::take(&mut self.token).into_bytes();
        secret.fill(0);
        // Without this the compiler sees that nobody reads the zeros, and saves itself the trouble.
        std::hint::black_box(&secret);
    }
}

#[derive(ComponentType, Lift, Lower)]
#[component(variant)]
pub(crate) enum WireIdentity {
    #[component(name = "default")]
    Default,
    #[component(name = "system-assigned")]
    SystemAssigned,
    #[component(name = "client-id")]
    ClientId(String),
    #[component(name = "object-id")]
    ObjectId(String),
    #[component(name = "resource-id")]
    ResourceId(String),
}

#[derive(ComponentType, Lift, Lower)]
#[component(record)]
pub(crate) struct WireRequest {
    pub(crate) scopes: Vec<String>,
    pub(crate) identity: WireIdentity,
    #[component(name = "tenant-id")]
    pub(crate) tenant_id: Option<String>,
    pub(crate) claims: Option<String>,
    #[component(name = "enable-cae")]
    pub(crate) enable_cae: bool,
    #[component(name = "user-assertion")]
    pub(crate) user_assertion: Option<String>,
}

#[derive(ComponentType, Lift, Lower)]
#[component(record)]
pub(crate) struct WireFailure {
    source: String,
    status: Option<u16>,
    code: Option<String>,
    message: String,
    #[component(name = "correlation-id")]
    correlation_id: Option<String>,
    remedy: Option<String>,
    #[component(name = "retry-after-ms")]
    retry_after_ms: Option<u64>,
}

#[derive(ComponentType, Lift, Lower)]
#[component(variant)]
pub(crate) enum WireError {
    #[component(name = "invalid-request")]
    InvalidRequest(String),
    #[component(name = "misconfigured")]
    Misconfigured(String),
    #[component(name = "denied")]
    Denied(String),
    #[component(name = "unavailable")]
    Unavailable(Vec<WireFailure>),
    #[component(name = "rejected")]
    Rejected(WireFailure),
    #[component(name = "throttled")]
    Throttled(WireFailure),
    #[component(name = "transient")]
    Transient(WireFailure),
    #[component(name = "protocol")]
    Protocol(WireFailure),
    #[component(name = "other")]
    Other(String),
}

#[derive(ComponentType, Lift, Lower)]
#[component(variant)]
pub(crate) enum WireStoreError {
    #[component(name = "unavailable")]
    Unavailable(String),
    #[component(name = "access-denied")]
    AccessDenied(String),
    #[component(name = "other")]
    Other(String),
}

impl From<WireFailure> for Failure {
    fn from(wire: WireFailure) -> Self {
        let mut failure = Self::new(wire.source, wire.message);
        failure.status = wire.status;
        failure.code = wire.code;
        failure.correlation_id = wire.correlation_id;
        failure.remedy = wire.remedy;
        failure.retry_after = wire.retry_after_ms.map(Duration::from_millis);
        failure
    }
}

impl From<Failure> for WireFailure {
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

impl From<WireError> for Error {
    fn from(error: WireError) -> Self {
        match error {
            WireError::InvalidRequest(text) => Self::InvalidRequest(text),
            WireError::Misconfigured(text) => Self::Misconfigured(text),
            WireError::Denied(text) => Self::Denied(text),
            WireError::Unavailable(failures) => {
                Self::Unavailable(failures.into_iter().map(Into::into).collect())
            }
            WireError::Rejected(failure) => Self::Rejected(failure.into()),
            WireError::Throttled(failure) => Self::Throttled(failure.into()),
            WireError::Transient(failure) => Self::Transient(failure.into()),
            WireError::Protocol(failure) => Self::Protocol(failure.into()),
            WireError::Other(text) => Self::Other(text),
        }
    }
}

impl From<Error> for WireError {
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

impl From<&Identity> for WireIdentity {
    fn from(identity: &Identity) -> Self {
        match identity {
            Identity::Default => Self::Default,
            Identity::SystemAssigned => Self::SystemAssigned,
            Identity::ClientId(id) => Self::ClientId(id.as_str().to_owned()),
            Identity::ObjectId(id) => Self::ObjectId(id.as_str().to_owned()),
            Identity::ResourceId(id) => Self::ResourceId(id.as_str().to_owned()),
        }
    }
}

impl From<&RawRequest> for WireRequest {
    fn from(request: &RawRequest) -> Self {
        Self {
            scopes: request.scopes.clone(),
            identity: (&request.identity).into(),
            tenant_id: request.tenant_id.clone(),
            claims: request.claims.clone(),
            enable_cae: request.enable_cae,
            user_assertion: request.user_assertion.as_ref().map(|secret| secret.expose_secret().to_owned()),
        }
    }
}

impl TryFrom<WireRequest> for RawRequest {
    type Error = Error;

    fn try_from(request: WireRequest) -> Result<Self, Error> {
        let identity = match request.identity {
            WireIdentity::Default => Identity::Default,
            WireIdentity::SystemAssigned => Identity::SystemAssigned,
            WireIdentity::ClientId(id) => Identity::client_id(&id)?,
            WireIdentity::ObjectId(id) => Identity::object_id(&id)?,
            WireIdentity::ResourceId(id) => Identity::resource_id(&id)?,
        };
        Ok(Self {
            scopes: request.scopes,
            identity,
            tenant_id: request.tenant_id,
            claims: request.claims,
            enable_cae: request.enable_cae,
            user_assertion: request.user_assertion.map(Into::into),
        })
    }
}

impl From<StoreError> for WireStoreError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(text) => Self::Unavailable(text),
            StoreError::AccessDenied(text) => Self::AccessDenied(text),
            StoreError::Other(text) => Self::Other(text),
            other => Self::Other(other.to_string()),
        }
    }
}
