//! The filter in a real Envoy, between clients, a service and the mock platform.
#![allow(clippy::disallowed_methods, reason = "tests of programs start them, and wait for them")]

mod answers;
mod bomb;
mod change;
mod cold;
mod examples;
mod input;
mod life;
mod load;
mod rules;
mod sources;
mod stage;
mod waiting;
