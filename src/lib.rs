//! Azure tokens without secrets: the core of token-broker, free of any host.
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

mod answer;
mod broker;
mod cache;
mod chain;
mod config;
mod endpoint;
mod error;
mod expiry;
mod flight;
mod host;
mod jitter;
mod log;
mod policy;
mod request;
mod retry;
mod source;
mod stats;
mod token;
mod verify;

#[cfg(test)]
mod hostile;

pub use crate::broker::{Broker, Grant, Refresh};
pub use crate::chain::{SourceReport, Verdict};
pub use crate::config::{Settings, VARIABLES, Variable};
pub use crate::error::{Error, Failure};
pub use crate::host::{
    Body, Host, Limits, ReadError, SendError, SendErrorKind, Store, StoreError, milliseconds,
};
pub use crate::log::{Level, Record};
pub use crate::policy::Policy;
pub use crate::request::{Id, Identity, RawRequest, Scope, TokenRequest};
pub use crate::stats::Statistics;
pub use crate::token::{EXPIRING, Freshness, Secret, Token};
