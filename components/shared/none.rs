//! A store that refuses every operation, and no settings, without `std`: its panic messages alone would be half of the
//! artefact, and would import six WASI interfaces.

use alloc::{string::String, vec::Vec};

use crate::NoHost;
use crate::exports::{settings, store};

impl store::Guest for NoHost {
    fn get(_key: String) -> Result<Option<Vec<u8>>, store::StoreError> {
        Err(no_store())
    }

    fn set(_key: String, _value: Vec<u8>, _ttl_ms: u64) -> Result<(), store::StoreError> {
        Err(no_store())
    }

    fn add(_key: String, _value: Vec<u8>, _ttl_ms: u64) -> Result<bool, store::StoreError> {
        Err(no_store())
    }

    fn delete(_key: String, _value: Vec<u8>) -> Result<(), store::StoreError> {
        Err(no_store())
    }
}

impl settings::Guest for NoHost {
    fn get(_name: String) -> Result<Option<String>, String> {
        Ok(None)
    }
}

fn no_store() -> store::StoreError {
    store::StoreError::AccessDenied(NO_STORE.into())
}

#[cfg(target_family = "wasm")]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

#[cfg(target_family = "wasm")]
#[panic_handler]
fn trap(_: &core::panic::PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}

/// The function by which callers allocate their arguments. With `std`, the C library has it.
#[cfg(target_family = "wasm")]
#[allow(unsafe_code, reason = "the ABI of components")]
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

const NO_STORE: &str = "this component was composed without a store; fix: unset TOKEN_BROKER_STORE_KEY";
