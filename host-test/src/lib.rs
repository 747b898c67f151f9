//! What the tests of the built components need: a [`mock`] Azure identity platform, [`conformance`] cases, and Azure's
//! own [`sdk`].
#![allow(
    clippy::disallowed_methods,
    reason = "the bans are for the core; a server has a clock, files and sockets"
)]

pub mod conformance;
pub mod envoy;
pub mod fleet;
pub mod hosts;
pub mod mock;
pub mod sdk;
