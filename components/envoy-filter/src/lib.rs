//! The token broker as a proxy-wasm module: Envoy adds Azure's tokens to requests.
//!
//! A binding of the crate `token-broker`: its host is made of the proxy's calls and ticks, its store of the data that the
//! proxy's VMs share, and its callers are requests that wait. It speaks the ABI itself, without the SDK: see `abi`.
//!
//! A VM may have several plugins at once: when a listener is replaced, the plugin of the old one stays until its requests
//! have ended.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod abi;
mod calls;
mod clusters;
mod config;
mod exports;
mod host;
mod log;
mod metrics;
mod plugin;
mod random;
mod refusal;
mod rules;
mod runtime;
mod store;
mod vm;
