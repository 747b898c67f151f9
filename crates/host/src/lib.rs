//! Embed the token broker in a wasmtime program.
//!
//! One long-lived broker instance holds the tokens in its own store. Other components get `credentials` through
//! their linkers, each linker with its own policy; instances may be as short-lived as a request, the tokens stay.
//!
//! ```no_run
//! use token_broker_host::{Broker, Environment, Policy};
//! use wasmtime::component::Linker;
//!
//! # struct State;
//! # async fn embed(engine: &wasmtime::Engine) -> wasmtime::Result<()> {
//! let broker = Broker::builder()
//!     .environment(Environment::inherit())
//!     .build()
//!     .await?;
//!
//! let mut linker = Linker::<State>::new(engine);
//! let policy = Policy::new(Some("https://vault.azure.net/.default"), None)?;
//! broker.add_to_linker(&mut linker, policy)?;
//!
//! let token = broker.get_token("https://vault.azure.net/.default").await?;
//! println!("good until {} (Unix seconds)", token.expires_on());
//! # Ok(())
//! # }
//! ```
//!
//! An embedder that wants the broker in a store of its own takes [`Builder::instantiate`] instead: no task, no
//! channel, no sharing.

#![allow(
    clippy::disallowed_methods,
    reason = "the bans are the core's; this crate is where clock, environment and files are lent to it"
)]

mod broker;
mod builder;
mod cache;
mod clock;
mod component;
mod diagnostics;
mod driver;
mod egress;
mod environment;
mod exchange;
mod files;
mod guest;
mod held;
mod http;
mod imports;
mod instance;
mod limits;
mod linker;
mod log;
mod network;
mod precompiled;
#[cfg(feature = "redis")]
mod redis_store;
mod report;
mod stderr;
mod store;
mod tls;
mod token;
mod wasi;
mod wire;

#[cfg(test)]
mod https;

pub use broker::Broker;
pub use builder::Builder;
pub use cache::Cache;
pub use clock::{Clock, SystemClock};
pub use component::engine_config;
pub use egress::Egress;
pub use environment::Environment;
pub use http::{Answer, Decision, HttpError, HttpPolicy, LocalOrHttps, WasiBody};
pub use imports::{Settings, add_settings_to_linker, add_store_to_linker};
pub use instance::Instance;
#[cfg(feature = "redis")]
pub use redis_store::RedisStore;
pub use report::{SourceReport, Statistics, Verdict};
pub use stderr::{flush_log, log_line};
pub use store::{BoxFuture, MemoryStore, Store};
pub use token::AccessToken;
pub use token_broker::{Error, Failure, Identity, Policy, RawRequest, StoreError};
