//! The broker's `store` and `settings` on Spin: `spin:key-value` and `spin:variables`.
//!
//! The store is the one that the variable `token_broker_store` names, without it `default`. Settings are the variables of
//! the component, under their name in the environment written small.
//!
//! # What the store does not guarantee
//! `spin:key-value` ends no value and cannot put one only where there is none. An end is therefore kept in the value, by
//! the clocks of those who put and get it, and `add` reads, writes, pauses, and reads again: it is ours if what we wrote
//! is still there. Two can both believe so where
//! - one of them takes longer from his reading to his writing than the other's pause lasts, or
//! - the store shows each his own write before that of the other, as a database with replicas may.
//!
//! Clocks that are apart by more than a lease's time find each other's leases ended. In each of these cases two instances
//! fetch the token where one would have done: more requests, and never a wrong token. A lease is ended by who holds it
//! after a look, and a lease that another took between the look and the end goes with it: the same.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod entry;
mod settings;
mod store;

/// What exports both interfaces.
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
