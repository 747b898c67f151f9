//! The core on a fake host with a virtual clock, polled by hand.

#![allow(missing_docs, reason = "the names of the tests say what they prove")]

mod broker;
mod chain;
mod entra;
mod fake;
mod federation;
mod flight;
mod freshness;
mod give_up;
mod lease;
mod managed_identity;
mod outage;
mod platforms;
mod rate_limit;
mod recorded;
mod region;
mod retries;
mod shared;
mod stage;
mod store;
mod token_proxy;
