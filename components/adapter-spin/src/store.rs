//! The contract's `store`: one of Spin's key-value stores.

use std::cell::OnceCell;

use wasip3::clocks::{monotonic_clock, system_clock};

use crate::Spin;
use crate::bindings::exports::token_broker::identity::store::{Guest, StoreError};
use crate::bindings::spin::key_value::key_value::{Error, Store};
use crate::entry::Entry;
use crate::settings::variable;

impl Guest for Spin {
    async fn get(key: String) -> Result<Option<Vec<u8>>, StoreError> {
        live_value(&open().await?, &key).await
    }

    async fn set(key: String, value: Vec<u8>, ttl_ms: u64) -> Result<(), StoreError> {
        let store = open().await?;
        put(&store, key, &value, ttl_ms).await.map(drop)
    }

    /// True if our entry is what is there after the time in which another, who saw nothing there either, would have put
    /// his.
    async fn add(key: String, value: Vec<u8>, ttl_ms: u64) -> Result<bool, StoreError> {
        let store = open().await?;
        let began = monotonic_clock::now();
        if live_value(&store, &key).await?.is_some() {
            return Ok(false);
        }
        let ours = put(&store, key.clone(), &value, ttl_ms).await?;
        let taken = monotonic_clock::now().saturating_sub(began);
        monotonic_clock::wait_for(pause(taken)).await;
        Ok(store.get(key).await.map_err(failed)? == Some(ours))
    }

    async fn delete(key: String, value: Vec<u8>) -> Result<(), StoreError> {
        let store = open().await?;
        let there = store.get(key.clone()).await.map_err(failed)?;
        if there.as_deref().and_then(Entry::parse).is_some_and(|entry| entry.value() == value) {
            store.delete(key).await.map_err(failed)?;
        }
        Ok(())
    }
}

async fn put(store: &Store, key: String, value: &[u8], ttl_ms: u64) -> Result<Vec<u8>, StoreError> {
    let entry = Entry::new(value, now_ms(), ttl_ms).to_bytes();
    store.set(key, entry.clone()).await.map_err(failed)?;
    Ok(entry)
}

async fn live_value(store: &Store, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
    let there = store.get(key.to_owned()).await.map_err(failed)?;
    Ok(there
        .as_deref()
        .and_then(Entry::parse)
        .and_then(|entry| entry.live_value(now_ms()))
        .map(<[u8]>::to_vec))
}

/// Opened for each operation, which Spin does from memory: what is kept open could outlive what it leads to.
async fn open() -> Result<Store, StoreError> {
    let label = label().await?;
    Store::open(label.clone()).await.map_err(|error| match error {
        Error::AccessDenied | Error::NoSuchStore => StoreError::AccessDenied(not_allowed(&label)),
        error => failed(error),
    })
}

/// The name of the store, looked up once: it may come from a provider that is far away.
async fn label() -> Result<String, StoreError> {
    if let Some(label) = LABEL.with(|cell| cell.get().cloned()) {
        return Ok(label);
    }
    let label = variable(STORE).await.map_err(|why| {
        StoreError::Other(format!("the variable that names the store cannot be looked up: {why}"))
    })?;
    let label = label.filter(|label| !label.is_empty()).unwrap_or_else(|| DEFAULT_STORE.to_owned());
    Ok(LABEL.with(|cell| cell.get_or_init(|| label).clone()))
}

thread_local! {
    static LABEL: OnceCell<String> = const { OnceCell::new() };
}

fn not_allowed(label: &str) -> String {
    format!("give this component key_value_stores = [\"{label}\"] in spin.toml")
}

fn failed(error: Error) -> StoreError {
    match error {
        Error::StoreTableFull => {
            StoreError::Unavailable("too many stores are open in this instance".to_owned())
        }
        Error::NoSuchStore => StoreError::AccessDenied("Spin has no such key-value store".to_owned()),
        Error::AccessDenied => StoreError::AccessDenied("Spin does not allow it".to_owned()),
        Error::Other(words) => StoreError::Other(words),
    }
}

/// How long another's entry may still be on its way, if his reading and writing takes as long as ours did. Nanoseconds.
fn pause(taken: u64) -> u64 {
    taken.saturating_mul(2).clamp(SHORTEST_PAUSE, LONGEST_PAUSE)
}

fn now_ms() -> u64 {
    let now = system_clock::now();
    let seconds = u64::try_from(now.seconds).unwrap_or(0);
    seconds.saturating_mul(1000).saturating_add(u64::from(now.nanoseconds / 1_000_000))
}

/// The variable that names the store.
const STORE: &str = "TOKEN_BROKER_STORE";
/// Spin's own name for the store that needs no configuration.
const DEFAULT_STORE: &str = "default";
const SHORTEST_PAUSE: u64 = 10_000_000;
/// The broker gives an operation half a second, and each of these is three of Spin's.
const LONGEST_PAUSE: u64 = 100_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_is_twice_what_reading_and_writing_took_within_bounds() {
        assert_eq!([0, 5_000_000].map(pause), [SHORTEST_PAUSE; 2]);
        assert_eq!(pause(20_000_000), 40_000_000);
        assert_eq!([50_000_000, u64::MAX].map(pause), [LONGEST_PAUSE; 2]);
    }
}
