//! The store of the core, made of the contract's `store`.

use std::time::Duration;

use token_broker::{Store, StoreError, milliseconds};

use crate::bindings::token_broker::identity::store;

/// The store that the contract's `store` gives.
pub(crate) struct ContractStore;

impl Store for ContractStore {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        store::get(key.to_owned()).await.map_err(Into::into)
    }

    async fn set(&self, key: &str, value: Vec<u8>, ttl: Duration) -> Result<(), StoreError> {
        store::set(key.to_owned(), value, milliseconds(ttl)).await.map_err(Into::into)
    }

    async fn add(&self, key: &str, value: Vec<u8>, ttl: Duration) -> Result<bool, StoreError> {
        store::add(key.to_owned(), value, milliseconds(ttl)).await.map_err(Into::into)
    }

    async fn delete(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        store::delete(key.to_owned(), value.to_vec()).await.map_err(Into::into)
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
