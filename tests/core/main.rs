//! The core on a fake host with a virtual clock, polled by hand.

#![allow(missing_docs, reason = "the names of the tests say what they prove")]

mod broker;
mod fake;
mod flight;
mod give_up;
mod lease;
mod platforms;
mod recorded;
mod shared;
mod sources;
mod stage;
mod store;
