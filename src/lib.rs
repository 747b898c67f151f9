//! Azure tokens without secrets: the host-independent core of token-broker.
//!
//! A [`Broker`] gets access tokens from Azure's managed identities and from Entra, caches them, refreshes them before
//! they expire, and gives them to the callers that its policy admits. It is `async` and single-threaded, and reaches
//! the outside world only through the traits [`Host`] and [`Store`], so the same code runs in a WASI component, in a
//! proxy, and natively in tests.
//!
//! - **Single-flight**: concurrent calls for the same token share one fetch, and its failure.
//! - **Never expired**: an expired token is not returned; a token that expires soon is replaced first.
//! - **Failed refreshes are harmless**: a token that is still valid stays in use.
//! - **No substitution**: an identity that is throttled or broken is never replaced by another one.
//!
//! ```
//! use token_broker::{Broker, Error, ExposeSecret, Host, Store, TokenRequest};
//!
//! async fn authorization<H: Host, S: Store>(broker: &Broker<H, S>) -> Result<String, Error> {
//!     let request = TokenRequest::for_scope("https://vault.azure.net/.default")?;
//!     let grant = broker.token(&request).await?;
//!     if let Some(ticket) = grant.refresh {
//!         broker.refresh(ticket).await; // in a separate task, if the host has tasks
//!     }
//!     Ok(format!("Bearer {}", grant.token.secret().expose_secret()))
//! }
//! ```
//!
//! # Rooms
//! Each room imports only from the rooms below it. A test of `xtask` enforces this table.
//!
//! | room | |
//! |---|---|
//! | `broker` | one call: look up, join, fetch, answer |
//! | `fleet` | one fetch for many instances, through a store: leases, sealed entries |
//! | `acquire` | tries the sources in order until there is a token: retries, rate limits |
//! | `sources` | one file for each platform, which implements `Protocol`: a pure request, and the reading of its response |
//! | `memory` | the state of this instance: cache, single-flight, freshness |
//! | `policy` | the allowed scopes and identities; the cache key |
//! | `settings` | environment variables and the checks of their values |
//! | `wire` | formats of peers: expiry, hosts, loose JSON, redaction, forms |
//! | `model` | the shared vocabulary: requests, tokens, errors, `Host` and `Store` |
//!
//! # Features
//! - `certificate` (default): client certificates. Without it the wasm module is 80 kB smaller.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unwrap_used
    )
)]

mod acquire;
mod broker;
mod fleet;
mod memory;
mod model;
mod policy;
mod settings;
mod sources;
#[cfg(test)]
mod tests;
pub mod wire;

pub use crate::acquire::{SourceReport, Verdict};
pub use crate::broker::{Broker, Grant, RefreshTicket};
pub use crate::memory::earliest_refresh;
pub use crate::model::{
    Body, Claims, EXPIRING, Error, Failure, Host, Id, Identity, Level, Limits, Links, MAX_ASSERTION,
    RawRequest, ReadError, Record, Scope, Secret, SendError, SendErrorKind, Statistics, Store, StoreError,
    Token, TokenRequest, fingerprint, milliseconds,
};
pub use crate::policy::Policy;
pub use crate::settings::{
    Credential, EntraHosts, MAX_MS, ProxyAuthorities, Settings, TokenProxy, VARIABLES, Variable,
    concerns_broker, variables,
};
pub use crate::sources::{IMDS_URL, names as source_names};
pub use secrecy::ExposeSecret;
