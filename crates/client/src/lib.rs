//! Azure tokens for WebAssembly components in Rust.
//!
//! A component with this crate imports `token-broker:identity/credentials`. A broker on the other side gets, caches and
//! refreshes the tokens: compose the component with `token-broker.wasm`, or run it in a host that embeds the broker.
//!
//! ```no_run
//! # async fn authorize(mut request: http::Request<()>) -> Result<(), Box<dyn std::error::Error>> {
//! let token = token_broker_client::token("https://vault.azure.net/.default").await?;
//! request.headers_mut().insert("authorization", token.authorization().parse()?);
//! # Ok(())
//! # }
//! ```
//!
//! Call [`token()`] for each request, and do not keep the token: the broker has it in memory and refreshes it in time
//! ([what a call costs](https://github.com/OWNER/token-broker/blob/main/docs/benchmarks.md)). When a service refuses a
//! token, call [`forget()`] and ask again. [`request()`] asks for another identity or tenant, with claims, or on behalf of
//! a user:
//!
//! ```no_run
//! use token_broker_client::{Identity, TokenRequest};
//!
//! # async fn other() -> Result<(), token_broker_client::Error> {
//! let identity = Identity::ClientId("11112222-bbbb-3333-cccc-4444dddd5555".into());
//! let request = TokenRequest::new("https://storage.azure.com/.default").identity(identity);
//! let token = token_broker_client::request(request).await?;
//! # Ok(())
//! # }
//! ```
//!
//! An [`Error`] is one line for the operator: the request, the service, its answer, and the fix.
//!
//! These functions need a host with WASI 0.3 (component-model async). On a host with WASI 0.2, call those of [`blocking`]
//! instead, and no other.
//!
//! See [the quickstarts](https://github.com/OWNER/token-broker#pick-your-host) for each host,
//! [configuration](https://github.com/OWNER/token-broker/blob/main/docs/configuration.md) for the broker's variables, and
//! [troubleshooting](https://github.com/OWNER/token-broker/blob/main/docs/troubleshooting.md) for errors.

pub mod blocking;
#[cfg(test)]
#[path = "../../../components/shared/contract.rs"]
mod contract;
mod error;
mod request;
mod token;

use bindings::token_broker::identity::{credentials, types};

pub use bindings::token_broker::identity::types::{Error as Cause, Failure, Identity};
pub use error::Error;
pub use request::TokenRequest;
pub use token::AccessToken;

/// A token for a scope and the default identity, from memory or from Azure
///
/// # Errors
///
/// The broker's error, with the fix where one is known.
pub async fn token(scope: &str) -> Result<AccessToken, Error> {
    // Peeking is a plain call, which costs a fraction of one that could wait.
    if let Some(held) = credentials::peek_token(scope) {
        return Ok(AccessToken::from(held));
    }
    let token = credentials::get_token(scope.into()).await?;
    Ok(AccessToken::from(token))
}

/// A token for a request with an identity, a tenant, claims or a user assertion
///
/// # Errors
///
/// The broker's error, with the fix where one is known.
pub async fn request(request: TokenRequest) -> Result<AccessToken, Error> {
    let token = credentials::request_token(request.into()).await?;
    Ok(AccessToken::from(token))
}

/// Make the broker forget its tokens for a scope, because a service refused one
///
/// The next call fetches. A token is forgotten at most once in 30 seconds.
pub async fn forget(scope: &str) {
    credentials::forget_token(scope.into()).await;
}

mod bindings {
    #![allow(missing_docs, unsafe_code, unused_qualifications, clippy::use_self, reason = "generated")]

    wit_bindgen::generate!({
        path: "wit",
        world: "consumer",
    });
}
