//! The lease in a key-value store of Spin, by the compare-and-swap of `wasi:keyvalue/atomics`.
//!
//! The stores of Spin keep the interface to different degrees, so the answer of a swap decides nothing: the key is read
//! again, and the lease belongs to the instance whose bytes are there.
//!
//! | store | a swap of a value | a swap of no value | the answer |
//! |---|---|---|---|
//! | SQLite | exact | replaces a value that came meanwhile | right |
//! | Redis | exact | exact | a failure, even after a success |
//! | Azure Cosmos DB, Amazon DynamoDB | exact | exact | any error is a failure |
//!
//! A key is never deleted: an ended value takes the place of the lease, so that only the first lease of a key is a swap of
//! no value.

use std::cell::Cell;
use std::time::Duration;

use crate::StoreError;
use crate::bindings::wasi::keyvalue::atomics::{Cas, CasError, swap};
use crate::bindings::wasi::keyvalue::store::{Bucket, Error, open as open_bucket};
use crate::spin::{NOT_LISTED, UNDEFINED, not_allowed, store_failed};
use crate::timed_value::TimedValue;

/// The outcome of putting a lease.
pub(crate) enum Put {
    /// Another lease was there.
    Held,
    /// The lease is there if these bytes are. `was_absent`: another instance may replace it still.
    Own { bytes: Vec<u8>, was_absent: bool },
}

/// Puts a lease where there is none, or an ended one.
pub(crate) fn put(
    bucket: &Bucket,
    key: &str,
    value: &[u8],
    now_ms: u64,
    ttl_ms: u64,
) -> Result<Put, StoreError> {
    let lock = Lock::read(bucket, key)?;
    if lock.there().and_then(|there| there.live_value(now_ms)).is_some() {
        return Ok(Put::Held);
    }
    let (bytes, was_absent) = (TimedValue::new(value, now_ms, ttl_ms).to_bytes(), lock.value.is_none());
    lock.replace(bucket, key, &bytes)?;
    Ok(Put::Own { bytes, was_absent })
}

/// Ends a lease or another value, if this value is there.
pub(crate) fn end(bucket: &Bucket, key: &str, value: &[u8], now_ms: u64) -> Result<(), StoreError> {
    let lock = Lock::read(bucket, key)?;
    match lock.there() {
        Some(there) if there.value() == value => {
            lock.replace(bucket, key, &TimedValue::new(&[], now_ms, 0).to_bytes())
        }
        _ => Ok(()),
    }
}

/// Opens a store. It is opened for each operation, which costs Spin no I/O: an open store could outlive its provider.
pub(crate) fn open(label: &str) -> Result<Bucket, StoreError> {
    open_bucket(label).map_err(|error| match error {
        Error::AccessDenied | Error::NoSuchStore => StoreError::AccessDenied(not_allowed(label)),
        error @ Error::Other(_) => failed(error),
    })
}

/// The bytes under a key.
pub(crate) fn get(bucket: &Bucket, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
    bucket.get(key).map_err(failed)
}

/// Puts bytes under a key.
#[allow(dead_code, reason = "one of the two adapters puts values by another interface")]
pub(crate) fn set(bucket: &Bucket, key: &str, bytes: &[u8]) -> Result<(), StoreError> {
    bucket.set(key, bytes).map_err(failed)
}

/// A value and the right to replace it.
struct Lock {
    /// None if the instance has used up its handles: the value is then replaced without a comparison.
    cas: Option<Cas>,
    value: Option<Vec<u8>>,
}

impl Lock {
    fn read(bucket: &Bucket, key: &str) -> Result<Self, StoreError> {
        if HANDLES.get() >= MAX_HANDLES {
            return Ok(Self { cas: None, value: get(bucket, key)? });
        }
        let cas = Cas::new(bucket, key).map_err(failed)?;
        let value = cas.current().map_err(failed)?;
        Ok(Self { cas: Some(cas), value })
    }

    fn there(&self) -> Option<TimedValue<'_>> {
        self.value.as_deref().and_then(TimedValue::parse)
    }

    /// Replaces the value. Success says only that no error of the store was reported.
    fn replace(self, bucket: &Bucket, key: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let Some(cas) = self.cas else { return bucket.set(key, bytes).map_err(failed) };
        HANDLES.set(HANDLES.get().saturating_add(1));
        match swap(cas, bytes) {
            Ok(()) | Err(CasError::CasFailed(_)) => Ok(()),
            Err(CasError::StoreError(error)) => Err(failed(error)),
        }
    }
}

fn failed(error: Error) -> StoreError {
    match error {
        Error::NoSuchStore => StoreError::AccessDenied(UNDEFINED.to_owned()),
        Error::AccessDenied => StoreError::AccessDenied(NOT_LISTED.to_owned()),
        Error::Other(words) => StoreError::Other(store_failed(&words)),
    }
}

thread_local! {
    static HANDLES: Cell<u32> = const { Cell::new(0) };
}

/// The time in which a value of another instance, which saw no value either, replaces one in SQLite.
pub(crate) const PAUSE: Duration = Duration::from_millis(20);
/// Spin gives an instance 256 handles, and takes none back that was swapped.
const MAX_HANDLES: u32 = 240;
