//! The token broker as a proxy-wasm module: Envoy adds Azure's tokens to requests.
//!
//! This is the binding only. What it does is in the crate `token-broker`; here it gets a host made of the proxy's calls
//! and ticks, a store made of what the proxy's VMs share, and requests that wait. Not the SDK's dispatcher is in between:
//! see `abi`.
//!
//! A VM may have several plugins at once: when a listener is replaced, the old one's stays until its requests are done.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod abi;
mod calls;
mod clusters;
mod config;
mod exports;
mod fields;
mod host;
mod metrics;
mod notices;
mod pairs;
mod plugin;
mod protobuf;
mod random;
mod refusal;
mod rules;
mod store;
mod tasks;
mod timers;
mod vm;
mod waiting;
