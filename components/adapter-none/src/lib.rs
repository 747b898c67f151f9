//! The broker's `store` and `settings` for a host that has neither, for WASI 0.3 and 0.2.
//!
//! Every operation of the store is refused. The broker calls it only where `TOKEN_BROKER_STORE_KEY` is set.
//!
//! Built without `std`: its panic messages alone would be half of the artefact, and would import six WASI interfaces.
#![cfg_attr(target_family = "wasm", no_std)]

extern crate alloc;

use alloc::{string::String, vec::Vec};

use bindings::exports::token_broker::identity::{settings, settings_sync, store, store_sync};

struct NoHost;

/// The exports for one version of WASI.
macro_rules! export_none {
    ($store:ident, $settings:ident) => {
        impl $store::Guest for NoHost {
            fn get(_key: String) -> Result<Option<Vec<u8>>, $store::StoreError> {
                Err($store::StoreError::AccessDenied(NO_STORE.into()))
            }

            fn set(_key: String, _value: Vec<u8>, _ttl_ms: u64) -> Result<(), $store::StoreError> {
                Err($store::StoreError::AccessDenied(NO_STORE.into()))
            }

            fn add(_key: String, _value: Vec<u8>, _ttl_ms: u64) -> Result<bool, $store::StoreError> {
                Err($store::StoreError::AccessDenied(NO_STORE.into()))
            }

            fn delete(_key: String, _value: Vec<u8>) -> Result<(), $store::StoreError> {
                Err($store::StoreError::AccessDenied(NO_STORE.into()))
            }
        }

        impl $settings::Guest for NoHost {
            fn get(_name: String) -> Result<Option<String>, String> {
                Ok(None)
            }
        }
    };
}

export_none!(store, settings);
export_none!(store_sync, settings_sync);

#[cfg(target_family = "wasm")]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

#[cfg(target_family = "wasm")]
#[panic_handler]
fn trap(_: &core::panic::PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}

const NO_STORE: &str = "this component was composed without a store; fix: unset TOKEN_BROKER_STORE_KEY";

mod bindings {
    #![allow(missing_docs, unsafe_code, unused_qualifications, clippy::use_self, reason = "generated")]

    use super::NoHost;

    wit_bindgen::generate!({
        path: ["../../wit", "wit"],
        world: "token-broker:adapter-none/adapter-none",
        generate_all,
        // No function waits here, and the synchronous form takes a tenth of the space.
        async: false,
    });

    export!(NoHost);

    /// The function by which callers allocate their arguments. With `std`, the C library has it.
    #[cfg(target_family = "wasm")]
    #[unsafe(no_mangle)]
    unsafe extern "C" fn cabi_realloc(old: *mut u8, old_len: usize, align: usize, new_len: usize) -> *mut u8 {
        use alloc::alloc::{Layout, alloc, realloc};

        // SAFETY: by the canonical ABI `align` is a power of two, and `old` came from here with `old_len` and `align`.
        unsafe {
            match (old_len, new_len) {
                (0, 0) => core::ptr::without_provenance_mut(align),
                (0, _) => alloc(Layout::from_size_align_unchecked(new_len, align)),
                _ => realloc(old, Layout::from_size_align_unchecked(old_len, align), new_len),
            }
        }
    }
}
