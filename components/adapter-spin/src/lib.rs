//! The broker's `store` and `settings` on Spin 4.1.
//!
//! `spin.rs` says which variables it reads, and what its stores keep.
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
