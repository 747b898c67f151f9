//! The mock platform over the wire: how strict it is, and every way in which it can be told to fail.
#![allow(clippy::disallowed_methods, reason = "tests of a server use a clock and sockets")]

mod admin;
mod app_service;
mod arc;
mod assertion;
mod azure_pipelines;
mod client;
mod cloud_shell;
mod discovery;
mod entra;
mod faults;
mod federation;
mod framing;
mod gcp_metadata;
mod github_actions;
mod imds;
mod msi_2017;
mod on_behalf_of;
mod program;
mod recorded;
mod secure;
mod service_fabric;
mod token_proxy;
mod vault;
