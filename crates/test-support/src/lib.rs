//! What the tests of several crates need: a way to [`skip`] a test, a reserved [`port`], Azure's [`sdk`]s as clients.
#![allow(
    clippy::disallowed_methods,
    reason = "the bans are for the core; tests have files, sockets and processes"
)]

pub mod port;
pub mod sdk;
mod skip;

pub use skip::skip;
