//! The broker's `store` and `settings` on Spin: `spin:key-value` and `spin:variables`.
//!
//! The variable `token_broker_store` names the store; its default is `default`. Settings are the variables of the component,
//! under their names in the environment, in lower case.
//!
//! # Limits of the store
//! `spin:key-value` has neither an expiry nor an operation that adds a value only where there is none. So the expiry is
//! stored with the value, by the clocks of the instances that put and get it, and `add` reads, writes, pauses and reads
//! again: it succeeds if its own value is still there. Two instances can both succeed if
//! - one of them takes longer from its reading to its writing than the other pauses, or
//! - the store shows each instance its own write first, as a database with replicas may.
//!
//! Instances whose clocks differ by more than a lease's time find each other's leases expired. An instance ends its lease
//! after a read, and also ends a lease that another instance took since that read. In each of these cases two instances
//! fetch a token where one would have been enough: more requests, and never a wrong token.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod settings;
mod store;
#[path = "../../shared/timed_value.rs"]
mod timed_value;

/// The exports of this component.
struct Spin;

mod bindings {
    #![allow(missing_docs, unsafe_code, unused_qualifications, clippy::use_self, reason = "generated")]

    use super::Spin;

    wit_bindgen::generate!({
        path: ["../../wit", "wit"],
        world: "token-broker:adapter-spin/adapter-spin",
        generate_all,
    });

    export!(Spin);
}
