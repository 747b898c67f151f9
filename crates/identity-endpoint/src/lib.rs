//! The protocols of Azure's identity endpoints from the other side: any Azure SDK can be the client of a broker.
//!
//! Two are spoken, each at the path where SDKs look for it: IMDS's, and that of App Service of 2019-08-01. A request is
//! read into a [`Question`], which knows how its protocol spells the answer. Nothing here waits or sends.
//!
//! ```
//! use http::Request;
//! use token_broker::Settings;
//! use token_broker_identity_endpoint::IdentityApi;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let api = IdentityApi::new(&Settings::default())?;
//! let uri = "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://vault.azure.net";
//! let (request, ()) = Request::get(uri).header("metadata", "true").body(())?.into_parts();
//! let question = api.read(&request).unwrap();
//! assert_eq!(question.audience(), "https://vault.azure.net");
//! # Ok(())
//! # }
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

mod api;
mod audit;
mod query;
mod reply;

pub use crate::api::{IdentityApi, Protocol, Question};
pub use crate::reply::{Granted, Outcome, Reply};
