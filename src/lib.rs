//! Azure tokens without secrets: the core of token-broker, free of any host.
//!
//! A [`Broker`] gets access tokens from Azure's managed identities and from Entra, keeps them, refreshes them before
//! they end, and gives them to whoever its policy admits. It is `async`, single-threaded, and touches the world only
//! through the traits [`Host`] and [`Store`], so the same code runs in a WASI component, in a proxy and natively in
//! tests.
//!
//! - **One fetch**: callers that want the same token at the same time share one fetch, and its failure too.
//! - **Never expired**: a token past its end is not returned; one close to it is replaced first.
//! - **Not taken away**: a refresh that fails leaves a token that still works.
//! - **No substitute**: an identity that is throttled or broken is never replaced by another one.
//!
//! ```
//! use token_broker::{Broker, Error, ExposeSecret, Host, Store, TokenRequest};
//!
//! async fn authorization<H: Host, S: Store>(broker: &Broker<H, S>) -> Result<String, Error> {
//!     let request = TokenRequest::for_scope("https://vault.azure.net/.default")?;
//!     let grant = broker.token(&request).await?;
//!     if let Some(duty) = grant.refresh {
//!         broker.refresh(duty).await; // in a task of its own, where the host has tasks
//!     }
//!     Ok(format!("Bearer {}", grant.token.secret().expose_secret()))
//! }
//! ```
//!
//! # Rooms
//! Each imports only from those below it, which a test of `xtask` holds by this table.
//!
//! | room | |
//! |---|---|
//! | `broker` | a call: look, join, fetch, answer |
//! | `fleet` | one fetch for many instances, through a store: leases, sealed entries |
//! | `acquire` | ask the sources in order until there is a token: retries, rate limits |
//! | `sources` | one file a platform, a request and the reading of its response, both pure |
//! | `memory` | what this instance holds, and who is fetching: cache, single flight, freshness |
//! | `policy` | who may have a token for what; the key under which it is held |
//! | `settings` | environment variables, and what their values are checked for |
//! | `wire` | what peers say: expiry, hosts, loose JSON, redaction, forms |
//! | `model` | what everybody speaks of: requests, tokens, errors, `Host` and `Store` |
//!
//! # Features
//! - `certificate` (on): client certificates. Without it the core signs nothing and weighs 80 kB less as wasm.
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
pub use crate::model::{
    Body, Claims, EXPIRING, Error, Failure, Host, Id, Identity, Level, Limits, Links, RawRequest, ReadError,
    Record, Scope, Secret, SendError, SendErrorKind, Statistics, Store, StoreError, Token, TokenRequest,
    fingerprint, milliseconds,
};
pub use crate::policy::Policy;
pub use crate::settings::{
    Credential, EntraHosts, MAX_MS, Settings, VARIABLES, Variable, concerns_broker, variables,
};
pub use crate::sources::{IMDS_URL, names as source_names};
pub use secrecy::ExposeSecret;
