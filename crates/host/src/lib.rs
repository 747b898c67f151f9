//! Azure tokens for the components that a wasmtime program runs.
//!
//! A [`Broker`] is one long-lived instance of the broker component, which the crate contains. It gets, caches and refreshes
//! the tokens. Components get `token-broker:identity/credentials` through their linkers, each linker with its own
//! [`Policy`]. Their instances can live for one request: the tokens stay with the broker.
//!
//! ```no_run
//! use token_broker_host::{Broker, Environment, Policy};
//! use wasmtime::component::Linker;
//!
//! # struct State;
//! # async fn embed(engine: &wasmtime::Engine) -> wasmtime::Result<()> {
//! let broker = Broker::builder().environment(Environment::inherit()).build().await?;
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
//! The program itself can use the broker, too, as the last lines do. [`Builder`] has everything else:
//!
//! | to | use |
//! |---|---|
//! | give the broker its variables and the files that they name | [`Builder::environment`], [`Environment`]; [`Builder::settings`] for another source |
//! | share tokens with other processes | [`Builder::store`]: [`MemoryStore`], `RedisStore` (feature `redis`), or your [`Store`] |
//! | send the broker's requests through a company's proxy | [`Builder::proxies`] with [`Proxies`] |
//! | restrict the broker's requests | [`Builder::http`] with an [`HttpPolicy`]; [`Builder::trusted_roots`] |
//! | restrict the components' requests, so that they cannot go around their policy | [`Egress`] as the hooks of their HTTP |
//! | compile the component once, and not at each start | [`Builder::cache`] with a [`Cache`] |
//! | show the sources, their states and the counters | [`Broker::explain`], [`Broker::stats`], [`Broker::add_diagnostics_to_linker`] |
//! | run an instance without a task and a channel, for one caller | [`Builder::instantiate`] |
//! | give a store or settings to components that contain a broker | [`add_store_to_linker`], [`add_settings_to_linker`] |
//!
//! The HTTP interface is that of WASI 0.3, `wasmtime-wasi-http`'s module `p3`, which wasmtime marks as experimental.
//!
//! See [the quickstart](https://github.com/OWNER/token-broker/blob/main/docs/quickstart/rust.md),
//! [configuration](https://github.com/OWNER/token-broker/blob/main/docs/configuration.md),
//! [sharing](https://github.com/OWNER/token-broker/blob/main/docs/sharing.md) and
//! [security](https://github.com/OWNER/token-broker/blob/main/docs/security.md).
//!
//! # Modules
//! Arrows go down only:
//!
//! ```text
//! builder                     the parts of a broker
//! broker, component           a handle for many callers and linkers; the component and its precompiled form
//! guest                       an instance: its resources, imports and exports
//! network, store, contract    its requests, its shared store, the contract's values
//! environment, log            variables and the files that they name; log lines
//! ```
//!
//! # Features
//! - `redis`: `RedisStore`, a store for brokers on many machines.
//! - `test-kit`: `test_kit`, tests for implementations of [`Store`].

#![allow(
    clippy::disallowed_methods,
    reason = "the bans are the core's; this crate is where clock, environment and files are lent to it"
)]

mod broker;
mod builder;
mod component;
mod consumer;
mod contract;
mod environment;
mod future;
mod guest;
mod log;
mod network;
mod store;
#[cfg(any(test, feature = "test-kit"))]
pub mod test_kit;
#[cfg(test)]
mod tests;

pub use token_broker::{Error, Failure, Identity, Policy, RawRequest, StoreError};

pub use broker::Broker;
pub use builder::Builder;
pub use component::cache::Cache;
pub use component::engine_config;
pub use consumer::ConsumerState;
pub use contract::report::{SourceReport, Statistics, Verdict};
pub use contract::token::AccessToken;
pub use environment::Environment;
pub use environment::settings::Settings;
pub use future::BoxFuture;
pub use guest::clock::{Clock, SystemClock};
pub use guest::imports::{add_settings_to_linker, add_store_to_linker};
pub use guest::instance::Instance;
pub use log::stderr::{flush_log, log_line};
pub use network::egress::Egress;
pub use network::http::{HttpError, WasiBody};
pub use network::policy::{Answer, Decision, DefaultHttpPolicy, HttpPolicy};
pub use network::proxy::Proxies;
pub use network::trusted_roots::TrustedRoots;
pub use store::memory::MemoryStore;
#[cfg(feature = "redis")]
pub use store::redis::RedisStore;
pub use store::{Store, StoreFuture};
