//! Helpers for the tests of several crates: [`skip()`] a test, reserve a [`port`], put a [`proxy`] in between, run Azure's [`sdk`]s as clients.
#![allow(
    clippy::disallowed_methods,
    reason = "the bans are for the core; tests have files, sockets and processes"
)]

pub mod port;
pub mod proxy;
pub mod sdk;
mod skip;

pub use skip::skip;
