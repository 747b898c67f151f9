//! The tokens of the broker that the endpoint is composed with.

use token_broker::{Error, Identity, RawRequest};

use crate::bindings::token_broker::identity::credentials;
use crate::types::AccessToken;

/// A token for an audience and an identity, from memory or from Azure.
///
/// # Errors
/// The broker's error.
pub(crate) async fn token(audience: &str, identity: &Identity) -> Result<AccessToken, Error> {
    // A peek is a plain call, which costs a fraction of one that could wait.
    if *identity == Identity::Default
        && let Some(held) = credentials::peek_token(audience)
    {
        return Ok(held);
    }
    let request =
        RawRequest { scopes: vec![audience.to_owned()], identity: identity.clone(), ..RawRequest::default() };
    Ok(credentials::request_token(request.into()).await?)
}
