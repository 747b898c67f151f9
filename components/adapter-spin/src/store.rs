//! The contract's `store`: a key-value store of Spin, or a Redis server.

use std::cell::OnceCell;

use crate::bindings::exports::token_broker::identity::store::Guest;
use crate::settings::variable;
use crate::spin::{STORE, StoreName, not_found};
use crate::{Spin, StoreError, key_value, redis};

impl Guest for Spin {
    async fn get(key: String) -> Result<Option<Vec<u8>>, StoreError> {
        match store().await? {
            StoreName::KeyValue(label) => key_value::get(&label, key).await,
            StoreName::Redis(url) => redis::get(&url, key).await,
        }
    }

    async fn set(key: String, value: Vec<u8>, ttl_ms: u64) -> Result<(), StoreError> {
        match store().await? {
            StoreName::KeyValue(label) => key_value::set(&label, key, &value, ttl_ms).await,
            StoreName::Redis(url) => redis::set(&url, key, value, ttl_ms).await,
        }
    }

    async fn add(key: String, value: Vec<u8>, ttl_ms: u64) -> Result<bool, StoreError> {
        match store().await? {
            StoreName::KeyValue(label) => key_value::add(&label, &key, &value, ttl_ms).await,
            StoreName::Redis(url) => redis::add(&url, key, value, ttl_ms).await,
        }
    }

    async fn delete(key: String, value: Vec<u8>) -> Result<(), StoreError> {
        match store().await? {
            StoreName::KeyValue(label) => key_value::delete(&label, &key, &value),
            StoreName::Redis(url) => redis::delete(&url, key, value).await,
        }
    }
}

/// The store, looked up once: the variable may come from a remote provider.
async fn store() -> Result<StoreName, StoreError> {
    if let Some(store) = NAME.with(|cell| cell.get().cloned()) {
        return Ok(store);
    }
    let name = variable(STORE).await.map_err(|why| StoreError::Other(not_found(&why)))?;
    Ok(NAME.with(|cell| cell.get_or_init(|| StoreName::parse(name)).clone()))
}

thread_local! {
    static NAME: OnceCell<StoreName> = const { OnceCell::new() };
}
