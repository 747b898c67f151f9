//! The broker's `store-sync` and `settings-sync` for a host of WASI 0.2 that has neither.
//!
//! A component of its own: a host without component-model async refuses one with async functions, used or not.
#![cfg_attr(target_family = "wasm", no_std)]

extern crate alloc;

#[path = "../../shared/none.rs"]
mod none;

/// The exports by their names on WASI 0.3.
mod exports {
    pub(crate) use crate::bindings::exports::token_broker::identity::{
        settings_sync as settings, store_sync as store,
    };
}

/// The exports of this component.
struct NoHost;

mod bindings {
    #![allow(missing_docs, unsafe_code, unused_qualifications, clippy::use_self, reason = "generated")]

    use super::NoHost;

    wit_bindgen::generate!({
        path: "../../wit",
        world: "adapter-sync",
    });

    export!(NoHost);
}
