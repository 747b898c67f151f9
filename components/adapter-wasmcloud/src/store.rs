//! The contract's `store`: a bucket of `wasmcloud:keyvalue`, whose values hold their expiry.

use wasip3::clocks::system_clock;

use crate::WasmCloud;
use crate::bindings::exports::token_broker::identity::store::{Guest, StoreError};
use crate::bucket::Bucket;
use crate::timed_value::TimedValue;

impl Guest for WasmCloud {
    async fn get(key: String) -> Result<Option<Vec<u8>>, StoreError> {
        let there = Bucket::open().await?.get(&key).await?;
        Ok(there.as_deref().and_then(live_value).map(<[u8]>::to_vec))
    }

    async fn set(key: String, value: Vec<u8>, ttl_ms: u64) -> Result<(), StoreError> {
        let bytes = TimedValue::new(&value, now_ms(), ttl_ms).to_bytes();
        Bucket::open().await?.set(&key, &bytes).await
    }

    /// True if the own bytes are there afterwards, whatever the backend has answered.
    async fn add(key: String, value: Vec<u8>, ttl_ms: u64) -> Result<bool, StoreError> {
        let bucket = Bucket::open().await?;
        let bytes = TimedValue::new(&value, now_ms(), ttl_ms).to_bytes();
        if !bucket.create(&key, &bytes).await? {
            match bucket.entry(&key).await? {
                Some(entry) if live_value(&entry.value).is_some() => return Ok(entry.value == bytes),
                Some(entry) => bucket.replace(&key, entry, &bytes).await?,
                // It was deleted since: the next look tries again.
                None => return Ok(false),
            }
        }
        Ok(bucket.get(&key).await? == Some(bytes))
    }

    /// Ends the value if it is this one. wasmCloud has no deletion with a condition.
    async fn delete(key: String, value: Vec<u8>) -> Result<(), StoreError> {
        let bucket = Bucket::open().await?;
        match bucket.entry(&key).await? {
            Some(entry) if holds(&entry.value, &value) => {
                bucket.end(&key, entry, &TimedValue::new(&[], now_ms(), 0).to_bytes()).await
            }
            _ => Ok(()),
        }
    }
}

fn live_value(bytes: &[u8]) -> Option<&[u8]> {
    TimedValue::parse(bytes)?.live_value(now_ms())
}

fn holds(bytes: &[u8], value: &[u8]) -> bool {
    TimedValue::parse(bytes).is_some_and(|there| there.value() == value)
}

fn now_ms() -> u64 {
    let now = system_clock::now();
    let seconds = u64::try_from(now.seconds).unwrap_or(0);
    seconds.saturating_mul(1000).saturating_add(u64::from(now.nanoseconds / 1_000_000))
}
