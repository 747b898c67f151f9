//! What a Rust component adds to `Cargo.toml` to get Azure tokens.
//!
//! The component imports `token-broker:identity/credentials`; compose it with `token-broker.wasm`, or let a host that
//! embeds the broker provide it.
//!
//! ```no_run
//! # async fn authorize(mut request: http::Request<()>) -> Result<(), Box<dyn std::error::Error>> {
//! let token = token_broker_client::token("https://vault.azure.net/.default").await?;
//! request.headers_mut().insert("authorization", token.authorization().parse()?);
//! # Ok(())
//! # }
//! ```
//!
//! Ask for the token each time that one is needed and do not keep it: a held one costs 1.2 µs by [`token()`], which peeks
//! first, and 3.9 µs by [`request()`]; the broker renews it in time.

mod error;
mod request;
mod token;

use bindings::token_broker::identity::credentials;

pub use bindings::token_broker::identity::types::{Error as Cause, Failure, Identity};
pub use error::Error;
pub use request::TokenRequest;
pub use token::AccessToken;

/// A token for a scope and the default identity, from memory or from Azure
///
/// # Errors
///
/// Why there is none, and who can mend it.
pub async fn token(scope: &str) -> Result<AccessToken, Error> {
    // Peeking is a plain call, which costs a fraction of one that could wait.
    if let Some(held) = credentials::peek_token(scope) {
        return Ok(AccessToken::from(held));
    }
    let token = credentials::get_token(scope.into()).await?;
    Ok(AccessToken::from(token))
}

/// A token for a request that says more than a scope
///
/// # Errors
///
/// Why there is none, and who can mend it.
pub async fn request(request: TokenRequest) -> Result<AccessToken, Error> {
    let token = credentials::request_token(request.into()).await?;
    Ok(AccessToken::from(token))
}

/// Forget what is held for a scope, because a service refused it; the next call fetches
pub fn forget(scope: &str) {
    credentials::forget_token(scope);
}

mod bindings {
    #![allow(missing_docs, unsafe_code, unused_qualifications, clippy::use_self, reason = "generated")]

    wit_bindgen::generate!({
        path: "../../wit",
        world: "consumer",
    });
}
