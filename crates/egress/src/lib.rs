//! Egress: which requests of an application may go out, and with which token.
//!
//! - [`Guard`] keeps requests away from the endpoints that give tokens to every caller (SSRF).
//! - [`Rules`] say which token goes with a request to a host; those of Azure's services are built in.
//! - [`Challenge`] reads which other token a service asks for when it refuses one.
//! - [`Problem`] is the HTTP response to a request for which there is no token.
//!
//! ```
//! use token_broker::Settings;
//! use token_broker_egress::{Guard, Target};
//!
//! let guard = Guard::detect(&Settings::default())?;
//! assert!(guard.access(&Target::parse(Some("http"), "169.254.169.254")?).is_err());
//! assert!(guard.access(&Target::parse(Some("https"), "my.vault.azure.net")?).is_ok());
//! # Ok::<(), token_broker::Error>(())
//! ```
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unwrap_used
    )
)]

mod azure_services;
mod challenge;
mod guard;
mod method;
mod pattern;
mod problem;
mod rules;
mod target;
#[cfg(test)]
mod tests;
mod wanted;

pub use crate::challenge::Challenge;
pub use crate::guard::{Access, Guard};
pub use crate::method::check_method;
pub use crate::problem::Problem;
pub use crate::rules::{HeaderForm, RawRule, Rule, Rules};
pub use crate::target::Target;
pub use crate::wanted::Wanted;
