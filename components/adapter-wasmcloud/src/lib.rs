//! The broker's `store` on wasmCloud: `wasmcloud:keyvalue`.
//!
//! `TOKEN_BROKER_STORE` in the environment names the bucket; its default is `default`. There are no settings: wasmCloud puts
//! configuration and secrets into the environment.
//!
//! # Limits of the store
//! No backend has a time to live, so the expiry is stored with the value, by the clocks of the instances that put and get
//! it: instances whose clocks differ by more than a lease's time find each other's leases expired. The lease is exact where
//! the backend compares and swaps (memory, NATS). Without that (Redis, the file system) two instances that find the lease of
//! one that died may both take it, and one that is late may end another's. In each of these cases two instances fetch a
//! token where one would have been enough: more requests, and never a wrong token.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod bucket;
mod store;
#[path = "../../shared/timed_value.rs"]
mod timed_value;

use bindings::exports::token_broker::identity::settings;

/// The exports of this component.
struct WasmCloud;

impl settings::Guest for WasmCloud {
    async fn get(_name: String) -> Result<Option<String>, String> {
        Ok(None)
    }
}

mod bindings {
    #![allow(missing_docs, unsafe_code, unused_qualifications, clippy::use_self, reason = "generated")]

    use super::WasmCloud;

    wit_bindgen::generate!({
        path: ["../../wit", "wit"],
        world: "token-broker:adapter-wasmcloud/adapter-wasmcloud",
        generate_all,
    });

    export!(WasmCloud);
}
