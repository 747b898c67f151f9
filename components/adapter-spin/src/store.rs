//! The contract's `store`: one of Spin's key-value stores.

use std::cell::OnceCell;

use wasip3::clocks::{monotonic_clock, system_clock};

use crate::Spin;
use crate::bindings::exports::token_broker::identity::store::{Guest, StoreError};
use crate::bindings::spin::key_value::key_value::{Error, Store};
use crate::settings::{spin_name, variable};
use crate::timed_value::TimedValue;

impl Guest for Spin {
    async fn get(key: String) -> Result<Option<Vec<u8>>, StoreError> {
        live_value(&open().await?, &key).await
    }

    async fn set(key: String, value: Vec<u8>, ttl_ms: u64) -> Result<(), StoreError> {
        let store = open().await?;
        put(&store, key, &value, ttl_ms).await.map(drop)
    }

    /// True if the own value is still there after a pause. In that time another instance that found no value either would
    /// have put its own.
    async fn add(key: String, value: Vec<u8>, ttl_ms: u64) -> Result<bool, StoreError> {
        let store = open().await?;
        let began = monotonic_clock::now();
        if live_value(&store, &key).await?.is_some() {
            return Ok(false);
        }
        let own = put(&store, key.clone(), &value, ttl_ms).await?;
        let taken = monotonic_clock::now().saturating_sub(began);
        monotonic_clock::wait_for(pause(taken)).await;
        Ok(store.get(key).await.map_err(failed)? == Some(own))
    }

    async fn delete(key: String, value: Vec<u8>) -> Result<(), StoreError> {
        let store = open().await?;
        let there = store.get(key.clone()).await.map_err(failed)?;
        if there.as_deref().and_then(TimedValue::parse).is_some_and(|there| there.value() == value) {
            store.delete(key).await.map_err(failed)?;
        }
        Ok(())
    }
}

async fn put(store: &Store, key: String, value: &[u8], ttl_ms: u64) -> Result<Vec<u8>, StoreError> {
    let bytes = TimedValue::new(value, now_ms(), ttl_ms).to_bytes();
    store.set(key, bytes.clone()).await.map_err(failed)?;
    Ok(bytes)
}

async fn live_value(store: &Store, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
    let there = store.get(key.to_owned()).await.map_err(failed)?;
    Ok(there
        .as_deref()
        .and_then(TimedValue::parse)
        .and_then(|there| there.live_value(now_ms()))
        .map(<[u8]>::to_vec))
}

/// Opens the store. It is opened for each operation, which costs Spin no I/O: an open store could outlive its provider.
async fn open() -> Result<Store, StoreError> {
    let label = label().await?;
    Store::open(label.clone()).await.map_err(|error| match error {
        Error::AccessDenied | Error::NoSuchStore => StoreError::AccessDenied(not_allowed(&label)),
        error => failed(error),
    })
}

/// The name of the store, looked up once: the variable may come from a remote provider.
async fn label() -> Result<String, StoreError> {
    if let Some(label) = LABEL.with(|cell| cell.get().cloned()) {
        return Ok(label);
    }
    let label = variable(STORE).await.map_err(|why| {
        StoreError::Other(format!(
            "the variable {} cannot be looked up: {why}; fix: make its provider answer, or remove it for the store \
             {DEFAULT_STORE}",
            spin_name(STORE)
        ))
    })?;
    let label = label.filter(|label| !label.is_empty()).unwrap_or_else(|| DEFAULT_STORE.to_owned());
    Ok(LABEL.with(|cell| cell.get_or_init(|| label).clone()))
}

thread_local! {
    static LABEL: OnceCell<String> = const { OnceCell::new() };
}

fn not_allowed(label: &str) -> String {
    format!(
        "Spin does not give this component the store {label}; fix: add key_value_stores = [\"{label}\"] to it in \
         spin.toml"
    )
}

fn failed(error: Error) -> StoreError {
    match error {
        Error::StoreTableFull => StoreError::Unavailable(
            "too many stores are open in this instance; fix: close those that the application does not use"
                .to_owned(),
        ),
        Error::NoSuchStore => StoreError::AccessDenied(
            "Spin has no such store; fix: define it in Spin's runtime configuration".to_owned(),
        ),
        Error::AccessDenied => StoreError::AccessDenied(
            "Spin does not allow it; fix: list the store in key_value_stores in spin.toml".to_owned(),
        ),
        Error::Other(words) => StoreError::Other(format!(
            "{words}; fix: check the store's provider in Spin's runtime configuration"
        )),
    }
}

/// The time in which another instance's value would arrive, if its reading and writing took as long as here. In
/// nanoseconds.
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
/// The store that Spin has without configuration.
const DEFAULT_STORE: &str = "default";
const SHORTEST_PAUSE: u64 = 10_000_000;
/// The broker's limit for an operation is half a second, and `add` is three operations of Spin and this pause.
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
