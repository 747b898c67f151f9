//! The trait of the store that instances share.

use std::fmt;
use std::future::Future;
use std::time::Duration;

/// A store that broker instances share: the interface `store` of the contract.
pub trait Store: 'static {
    /// The value under a key; none if there is no value or it has expired.
    ///
    /// # Errors
    /// A [`StoreError`]; the broker then continues without the store.
    fn get(&self, key: &str) -> impl Future<Output = Result<Option<Vec<u8>>, StoreError>>;

    /// Puts a value under a key for a time, and replaces a value that is there.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    fn set(&self, key: &str, value: Vec<u8>, ttl: Duration) -> impl Future<Output = Result<(), StoreError>>;

    /// Puts a value under a key for a time if there is none. True if it was put.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    fn add(&self, key: &str, value: Vec<u8>, ttl: Duration)
    -> impl Future<Output = Result<bool, StoreError>>;

    /// Removes the value under a key if it is this value, so that no instance ends another's lease.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    fn delete(&self, key: &str, value: &[u8]) -> impl Future<Output = Result<(), StoreError>>;

    /// Waits until the store may have changed since this call, so that a waiter need not poll. Never ends in a store
    /// that does not report changes.
    fn changed(&self) -> impl Future<Output = ()> {
        std::future::pending()
    }
}

/// The reason why a store operation failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreError {
    /// The store cannot be reached now.
    Unavailable(String),
    /// The host does not allow the use of the store.
    AccessDenied(String),
    /// Another error.
    Other(String),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable(text) => write!(f, "unavailable: {text}"),
            Self::AccessDenied(text) => write!(f, "access denied: {text}"),
            Self::Other(text) => f.write_str(text),
        }
    }
}
