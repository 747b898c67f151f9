//! A key-value store of Spin, by its label: values by `spin:key-value`, the lease by `wasi:keyvalue`.
//!
//! `wasi:keyvalue` is synchronous and blocks the instance, so only the lease, of which a fetch has one, uses it.

use wasip3::clocks::{monotonic_clock, system_clock};

use crate::StoreError;
use crate::bindings::spin::key_value::key_value::{Error, Store};
use crate::spin::{NOT_LISTED, UNDEFINED, not_allowed, store_failed};
use crate::spin_lease::{self, Put};
use crate::timed_value::TimedValue;

pub(crate) async fn get(label: &str, key: String) -> Result<Option<Vec<u8>>, StoreError> {
    let there = open(label).await?.get(key).await.map_err(failed)?;
    let live = there.as_deref().and_then(TimedValue::parse).and_then(|there| there.live_value(now_ms()));
    Ok(live.map(<[u8]>::to_vec))
}

pub(crate) async fn set(label: &str, key: String, value: &[u8], ttl_ms: u64) -> Result<(), StoreError> {
    let bytes = TimedValue::new(value, now_ms(), ttl_ms).to_bytes();
    open(label).await?.set(key, bytes).await.map_err(failed)
}

/// Puts a lease, and looks whether it is there.
pub(crate) async fn add(label: &str, key: &str, value: &[u8], ttl_ms: u64) -> Result<bool, StoreError> {
    let bucket = spin_lease::open(label)?;
    match spin_lease::put(&bucket, key, value, now_ms(), ttl_ms)? {
        Put::Held => Ok(false),
        Put::Own { bytes, was_absent } => {
            if was_absent {
                monotonic_clock::wait_for(spin_lease::PAUSE.as_nanos() as u64).await;
            }
            Ok(spin_lease::get(&bucket, key)? == Some(bytes))
        }
    }
}

pub(crate) fn delete(label: &str, key: &str, value: &[u8]) -> Result<(), StoreError> {
    spin_lease::end(&spin_lease::open(label)?, key, value, now_ms())
}

/// Opens the store. It is opened for each operation, which costs Spin no I/O: an open store could outlive its provider.
async fn open(label: &str) -> Result<Store, StoreError> {
    Store::open(label.to_owned()).await.map_err(|error| match error {
        Error::AccessDenied | Error::NoSuchStore => StoreError::AccessDenied(not_allowed(label)),
        error => failed(error),
    })
}

fn failed(error: Error) -> StoreError {
    match error {
        Error::StoreTableFull => StoreError::Unavailable(
            "too many stores are open in this instance; fix: close those that the application does not use"
                .to_owned(),
        ),
        Error::NoSuchStore => StoreError::AccessDenied(UNDEFINED.to_owned()),
        Error::AccessDenied => StoreError::AccessDenied(NOT_LISTED.to_owned()),
        Error::Other(words) => StoreError::Other(store_failed(&words)),
    }
}

fn now_ms() -> u64 {
    let now = system_clock::now();
    let seconds = u64::try_from(now.seconds).unwrap_or(0);
    seconds.saturating_mul(1000).saturating_add(u64::from(now.nanoseconds / 1_000_000))
}
