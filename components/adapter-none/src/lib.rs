//! The broker's `store` and `settings` for a host of WASI 0.3 that has neither.
//!
//! Every operation of the store is refused. The broker calls it only where `TOKEN_BROKER_STORE_KEY` is set.
#![cfg_attr(target_family = "wasm", no_std)]

extern crate alloc;

#[path = "../../shared/none.rs"]
mod none;

use bindings::exports::token_broker::identity as exports;

/// The exports of this component.
struct NoHost;

mod bindings {
    #![allow(missing_docs, unsafe_code, unused_qualifications, clippy::use_self, reason = "generated")]

    use super::NoHost;

    wit_bindgen::generate!({
        path: "../../wit",
        world: "adapter",
        // No function waits here, and the synchronous form takes a tenth of the space.
        async: false,
    });

    export!(NoHost);
}
