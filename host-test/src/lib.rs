//! What the tests of the built components need: [`conformance`] cases, a host that [`serve`]s, and the hosts, stores and
//! [`endpoint`]s as programs.
#![allow(clippy::disallowed_methods, reason = "the bans are the core's; a server has a clock and files")]

pub mod certificate;
pub mod conformance;
pub mod console;
pub mod endpoint;
pub mod envoy;
pub mod fleet;
pub mod hosts;
pub mod nats;
pub mod serve;
pub mod spin;
pub mod spin3;
pub mod wash;
pub mod wasi;
