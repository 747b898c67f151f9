//! The same for hosts with WASI 0.2, such as SpinKube: each call blocks the instance while it waits.
//!
//! A component that uses this module only imports `token-broker:identity/credentials-sync`, and runs on a host without
//! component-model async. Compose it with a broker for WASI 0.2, such as `token-broker-sync.wasm`.
//!
//! ```no_run
//! # fn authorize(mut request: http::Request<()>) -> Result<(), Box<dyn std::error::Error>> {
//! let token = token_broker_client::blocking::token("https://vault.azure.net/.default")?;
//! request.headers_mut().insert("authorization", token.authorization().parse()?);
//! # Ok(())
//! # }
//! ```

use bindings::token_broker::identity::credentials_sync as credentials;

use crate::{AccessToken, Error, TokenRequest};

/// A token for a scope and the default identity, from memory, from the store or from Azure
///
/// # Errors
///
/// The broker's error, with the fix where one is known.
pub fn token(scope: &str) -> Result<AccessToken, Error> {
    let token = credentials::get_token(scope)?;
    Ok(AccessToken::from(token))
}

/// A token for a request with an identity, a tenant, claims or a user assertion
///
/// # Errors
///
/// The broker's error, with the fix where one is known.
pub fn request(request: TokenRequest) -> Result<AccessToken, Error> {
    let token = credentials::request_token(&request.into())?;
    Ok(AccessToken::from(token))
}

/// Make the broker forget its tokens for a scope, because a service refused one
///
/// The next call fetches. A token is forgotten at most once in 30 seconds.
pub fn forget(scope: &str) {
    credentials::forget_token(scope);
}

mod bindings {
    #![allow(missing_docs, unsafe_code, unused_qualifications, clippy::use_self, reason = "generated")]

    wit_bindgen::generate!({
        path: "wit",
        world: "consumer-sync",
        with: { "token-broker:identity/types@0.1.0": crate::bindings::token_broker::identity::types },
    });
}
