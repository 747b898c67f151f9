//! A place shared by broker instances.

pub(crate) mod memory;
#[cfg(feature = "redis")]
pub(crate) mod redis;

use std::sync::Arc;
use std::time::Duration;

use token_broker::StoreError;

use crate::future::BoxFuture;

/// A place shared by broker instances, in this process or beyond it.
///
/// What is kept is sealed by the broker: a store never learns whose token it holds, or for what. An implementer owes
/// bounded waits, an `add` that at most one of several callers wins, and entries that end when their time is over;
/// `test_kit::check_store`, behind the feature `test-kit`, tests the latter two.
pub trait Store: Send + Sync + 'static {
    /// The value under a key, or none when there is none or it has ended.
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Vec<u8>>, StoreError>>;

    /// Put a value under a key, whatever was there, for a time.
    fn set<'a>(
        &'a self,
        key: &'a str,
        value: Vec<u8>,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Put a value under a key only if nothing is there, for a time. True if it was put.
    fn add<'a>(
        &'a self,
        key: &'a str,
        value: Vec<u8>,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<bool, StoreError>>;

    /// Remove what is under a key if it is this value, so that nobody ends another's lease. Removing nothing is no error.
    fn delete<'a>(&'a self, key: &'a str, value: &'a [u8]) -> BoxFuture<'a, Result<(), StoreError>>;
}

/// So that several brokers can be given one store.
impl<S: Store + ?Sized> Store for Arc<S> {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Vec<u8>>, StoreError>> {
        self.as_ref().get(key)
    }

    fn set<'a>(
        &'a self,
        key: &'a str,
        value: Vec<u8>,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        self.as_ref().set(key, value, ttl)
    }

    fn add<'a>(
        &'a self,
        key: &'a str,
        value: Vec<u8>,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        self.as_ref().add(key, value, ttl)
    }

    fn delete<'a>(&'a self, key: &'a str, value: &'a [u8]) -> BoxFuture<'a, Result<(), StoreError>> {
        self.as_ref().delete(key, value)
    }
}

/// The store of a host that has none. The broker serves itself when a store is unavailable.
pub(crate) struct NoStore;

impl Store for NoStore {
    fn get<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Option<Vec<u8>>, StoreError>> {
        Box::pin(async { Err(no_store()) })
    }

    fn set<'a>(&'a self, _: &'a str, _: Vec<u8>, _: Duration) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async { Err(no_store()) })
    }

    fn add<'a>(&'a self, _: &'a str, _: Vec<u8>, _: Duration) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(async { Err(no_store()) })
    }

    fn delete<'a>(&'a self, _: &'a str, _: &'a [u8]) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async { Err(no_store()) })
    }
}

fn no_store() -> StoreError {
    StoreError::AccessDenied(
        "this host was given no store: Builder::store sets one, and without TOKEN_BROKER_STORE_KEY none is asked"
            .to_owned(),
    )
}

/// The longest value that a broker is given, in bytes: a token, sealed, is a tenth of it.
pub(crate) const MAX_VALUE: usize = 64 * 1024;
