//! The broker's `store` and `settings` on Spin 4.1.
//!
//! Settings are the variables of the component, under their names in the environment, in lower case. The variable
//! `token_broker_store` names the store: a label of `key_value_stores` (default: `default`), or the URL of a Redis server.
//!
//! # Limits of the stores
//! Redis by its URL keeps everything that the contract asks for. A key-value store of Spin has no expiry, so the expiry is
//! stored with the value, by the clocks of the instances that put and get it: instances whose clocks differ by more than a
//! lease's time find each other's leases expired. The lease of a key is exact (`spin_lease.rs`) but for the very first one
//! in SQLite. In each of these cases two instances fetch a token where one would have been enough: more requests, and never
//! a wrong token.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod key_value;
mod redis;
mod settings;
#[path = "../../shared/spin.rs"]
mod spin;
#[path = "../../shared/spin_lease.rs"]
mod spin_lease;
#[path = "../../shared/spin_redis.rs"]
mod spin_redis;
mod store;
#[path = "../../shared/timed_value.rs"]
mod timed_value;

use bindings::exports::token_broker::identity::store::StoreError;
use bindings::spin::redis::redis as redis_api;

/// The exports of this component.
struct Spin;

mod bindings {
    #![allow(missing_docs, unsafe_code, unused_qualifications, clippy::use_self, reason = "generated")]

    use super::Spin;

    wit_bindgen::generate!({
        path: ["../../wit", "../adapter-spin3/wit/deps/wasi-keyvalue", "wit"],
        world: "token-broker:adapter-spin/adapter-spin",
        generate_all,
    });

    export!(Spin);
}
