//! What the tests of the built components need: a [`mock`] Azure identity platform, [`conformance`] cases, a host that
//! [`serve`]s, the [`endpoint`]s as programs, and Azure's own [`sdk`].
#![allow(
    clippy::disallowed_methods,
    reason = "the bans are for the core; a server has a clock, files and sockets"
)]

pub mod azurite;
pub mod certificate;
pub mod conformance;
pub mod endpoint;
pub mod envoy;
pub mod example;
pub mod fleet;
pub mod hosts;
pub mod mock;
pub mod port;
pub mod sdk;
pub mod serve;
mod skip;
pub mod spin;

pub use skip::skip;
