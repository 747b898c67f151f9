//! The mock platform over the wire: how strict it is, and every way in which it can be told to fail.
#![allow(clippy::disallowed_methods, reason = "tests of a server use a clock and sockets")]

mod admin;
mod app_service;
mod client;
mod faults;
mod imds;
mod program;
mod vault_and_tenant;
