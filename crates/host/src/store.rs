//! The store that broker instances share.

pub(crate) mod memory;
#[cfg(feature = "redis")]
pub(crate) mod redis;

use std::sync::Arc;
use std::time::Duration;

use token_broker::StoreError;

use crate::future::BoxFuture;

/// The outcome of a store's operation.
pub type StoreFuture<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// A key-value store that broker instances share, in this process or across machines.
///
/// The broker seals each value: a store never learns whose token it holds, or for which scope. An implementation must
/// have bounded waits, an `add` that one of several callers wins at most, and entries that end with their time to live;
/// `test_kit::check_store`, behind the feature `test-kit`, tests the latter two.
pub trait Store: Send + Sync + 'static {
    /// The value of a key; none if there is no value, or its time to live is over.
    fn get<'a>(&'a self, key: &'a str) -> StoreFuture<'a, Option<Vec<u8>>>;

    /// Set the value of a key, for a time to live.
    fn set<'a>(&'a self, key: &'a str, value: Vec<u8>, ttl: Duration) -> StoreFuture<'a, ()>;

    /// Set the value of a key that has none, for a time to live. Returns whether it did.
    fn add<'a>(&'a self, key: &'a str, value: Vec<u8>, ttl: Duration) -> StoreFuture<'a, bool>;

    /// Remove a key that has this value: a broker must not end another one's lease. A missing key is no error.
    fn delete<'a>(&'a self, key: &'a str, value: &'a [u8]) -> StoreFuture<'a, ()>;
}

/// So that several brokers can be given one store.
impl<S: Store + ?Sized> Store for Arc<S> {
    fn get<'a>(&'a self, key: &'a str) -> StoreFuture<'a, Option<Vec<u8>>> {
        self.as_ref().get(key)
    }

    fn set<'a>(&'a self, key: &'a str, value: Vec<u8>, ttl: Duration) -> StoreFuture<'a, ()> {
        self.as_ref().set(key, value, ttl)
    }

    fn add<'a>(&'a self, key: &'a str, value: Vec<u8>, ttl: Duration) -> StoreFuture<'a, bool> {
        self.as_ref().add(key, value, ttl)
    }

    fn delete<'a>(&'a self, key: &'a str, value: &'a [u8]) -> StoreFuture<'a, ()> {
        self.as_ref().delete(key, value)
    }
}

/// The store of a host without one. The broker works alone when its store is unavailable.
pub(crate) struct NoStore;

impl Store for NoStore {
    fn get<'a>(&'a self, _: &'a str) -> StoreFuture<'a, Option<Vec<u8>>> {
        Box::pin(async { Err(no_store()) })
    }

    fn set<'a>(&'a self, _: &'a str, _: Vec<u8>, _: Duration) -> StoreFuture<'a, ()> {
        Box::pin(async { Err(no_store()) })
    }

    fn add<'a>(&'a self, _: &'a str, _: Vec<u8>, _: Duration) -> StoreFuture<'a, bool> {
        Box::pin(async { Err(no_store()) })
    }

    fn delete<'a>(&'a self, _: &'a str, _: &'a [u8]) -> StoreFuture<'a, ()> {
        Box::pin(async { Err(no_store()) })
    }
}

fn no_store() -> StoreError {
    StoreError::AccessDenied(
        "this host has no store; fix: give it one with Builder::store, or unset TOKEN_BROKER_STORE_KEY"
            .to_owned(),
    )
}

/// The longest value that a broker gets, in bytes: ten times a sealed token.
pub(crate) const MAX_VALUE: usize = 64 * 1024;
