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

mod aadsts;
mod answer;
mod asking;
mod broker;
mod cache;
mod call;
mod candidate;
#[cfg(feature = "certificate")]
mod certificate;
mod chain;
mod challenge;
mod claims;
mod cloud;
mod config;
mod endpoint;
mod error;
mod expiry;
mod fetch;
mod flight;
mod guard;
mod host;
mod identity_api;
mod inject;
mod jitter;
mod lenient;
mod log;
mod policy;
mod problem;
mod random;
mod rate_limit;
mod request;
mod retry;
mod selection;
mod shared;
mod source;
mod stats;
mod target;
mod tenant;
mod token;
mod verify;
mod words;

#[cfg(not(feature = "certificate"))]
#[path = "no_certificate.rs"]
mod certificate;

#[cfg(test)]
mod hostile;

pub use crate::broker::{Broker, Grant, Refresh};
pub use crate::candidate::{SourceReport, Verdict};
pub use crate::challenge::Challenge;
pub use crate::config::{Settings, VARIABLES, Variable};
pub use crate::error::{Error, Failure};
pub use crate::guard::{Access, Guard};
pub use crate::host::{
    Body, Host, Limits, Links, ReadError, SendError, SendErrorKind, Store, StoreError, milliseconds,
};
pub use crate::identity_api::{Granted, IdentityApi, Outcome, Protocol, Question, Reply};
pub use crate::inject::{HeaderForm, RawRule, Rule, Rules, Wanted};
pub use crate::log::{Level, Record};
pub use crate::policy::Policy;
pub use crate::problem::Problem;
pub use crate::request::{Id, Identity, RawRequest, Scope, TokenRequest};
pub use crate::stats::Statistics;
pub use crate::target::Target;
pub use crate::token::{EXPIRING, Freshness, Secret, Token, fingerprint};
pub use secrecy::ExposeSecret;
