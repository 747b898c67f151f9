//! The store of the core, made of the contract's `store-sync`.

use std::time::Duration;

use token_broker::{Store, StoreError, milliseconds};

use crate::bindings::token_broker::identity::store_sync as store;

/// The store that the contract's `store-sync` gives. An operation blocks the instance.
pub(crate) struct ContractStore;

impl Store for ContractStore {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        store::get(key).map_err(Into::into)
    }

    async fn set(&self, key: &str, value: Vec<u8>, ttl: Duration) -> Result<(), StoreError> {
        store::set(key, &value, milliseconds(ttl)).map_err(Into::into)
    }

    async fn add(&self, key: &str, value: Vec<u8>, ttl: Duration) -> Result<bool, StoreError> {
        store::add(key, &value, milliseconds(ttl)).map_err(Into::into)
    }

    async fn delete(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        store::delete(key, value).map_err(Into::into)
    }
}

impl From<store::StoreError> for StoreError {
    fn from(error: store::StoreError) -> Self {
        match error {
            store::StoreError::Unavailable(text) => Self::Unavailable(text),
            store::StoreError::AccessDenied(text) => Self::AccessDenied(text),
            store::StoreError::Other(text) => Self::Other(text),
        }
    }
}
