//! The tokens of the broker that the injector is composed with.

use std::ops::Range;

use secrecy::ExposeSecret as _;
use token_broker::{Error, Identity, RawRequest, Secret, earliest_refresh, fingerprint};
use token_broker_egress::HeaderForm;

use crate::bindings::token_broker::identity::credentials;
use crate::types::AccessToken;

/// A token and the form of its header: requests with the same specification share one token.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TokenSpec {
    pub(crate) scope: String,
    pub(crate) identity: Identity,
    pub(crate) tenant: Option<String>,
    pub(crate) form: HeaderForm,
}

/// A token as the value of a header.
pub(crate) struct TokenHeader {
    /// The value of `Authorization`.
    pub(crate) authorization: Secret,
    /// The fingerprint of the token, for the log.
    pub(crate) token_sha256: String,
    /// The time, in Unix seconds, in which the broker need not be asked again.
    pub(crate) valid: Range<u64>,
}

impl TokenHeader {
    fn new(token: AccessToken, form: HeaderForm, now: u64) -> Self {
        let refresh_on = token.refresh_on.unwrap_or(now);
        // The broker must be asked by then, since it refreshes when it is asked.
        let until = earliest_refresh(now, refresh_on);
        let token_sha256 = fingerprint(&token.token);
        let authorization = form.authorization(&token.token_type, &token.token.into());
        Self { authorization, token_sha256, valid: now..until }
    }

    pub(crate) fn is(&self, other: &Self) -> bool {
        self.authorization.expose_secret() == other.authorization.expose_secret()
    }
}

/// A token from the broker; with claims, always a new one.
pub(crate) async fn token(spec: &TokenSpec, claims: Option<String>, now: u64) -> Result<TokenHeader, Error> {
    let TokenSpec { scope, identity, tenant, form } = spec.clone();
    let request =
        RawRequest { scopes: vec![scope], identity, tenant_id: tenant, claims, ..RawRequest::default() };
    let token = credentials::request_token(request.into()).await?;
    Ok(TokenHeader::new(token, form, now))
}

pub(crate) use credentials::forget_token as forget;
