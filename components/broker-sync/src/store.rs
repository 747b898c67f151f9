//! The store of a broker without a store.

use std::time::Duration;

use token_broker::{Store, StoreError};

/// Refuses every operation: the world of WASI 0.2 has no store.
///
/// The broker calls it only where `TOKEN_BROKER_STORE_KEY` is set.
pub(crate) struct NoStore;

impl Store for NoStore {
    async fn get(&self, _key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Err(no_store())
    }

    async fn set(&self, _key: &str, _value: Vec<u8>, _ttl: Duration) -> Result<(), StoreError> {
        Err(no_store())
    }

    async fn add(&self, _key: &str, _value: Vec<u8>, _ttl: Duration) -> Result<bool, StoreError> {
        Err(no_store())
    }

    async fn delete(&self, _key: &str, _value: &[u8]) -> Result<(), StoreError> {
        Err(no_store())
    }
}

fn no_store() -> StoreError {
    StoreError::Unavailable("this component has no store; fix: unset TOKEN_BROKER_STORE_KEY".to_owned())
}
