//! The trait of the place that instances share.

use std::fmt;
use std::future::Future;
use std::time::Duration;

/// A place shared by broker instances, as the interface `store` of the contract says.
pub trait Store: 'static {
    /// The value under a key, or none when there is none or it has ended.
    ///
    /// # Errors
    /// A [`StoreError`]; the broker then serves itself.
    fn get(&self, key: &str) -> impl Future<Output = Result<Option<Vec<u8>>, StoreError>>;

    /// Put a value under a key, whatever was there, for a time.
    ///
    /// # Errors
    /// A [`StoreError`]; the broker then serves itself.
    fn set(&self, key: &str, value: Vec<u8>, ttl: Duration) -> impl Future<Output = Result<(), StoreError>>;

    /// Put a value under a key only if nothing is there, for a time. True if it was put.
    ///
    /// # Errors
    /// A [`StoreError`]; the broker then serves itself.
    fn add(&self, key: &str, value: Vec<u8>, ttl: Duration)
    -> impl Future<Output = Result<bool, StoreError>>;

    /// Remove what is under a key, if it is this value: nobody ends another's lease.
    ///
    /// # Errors
    /// A [`StoreError`]; the broker then serves itself.
    fn delete(&self, key: &str, value: &[u8]) -> impl Future<Output = Result<(), StoreError>>;

    /// Wait until something may have changed since this was called, so that whoever waits for another instance need not
    /// wait for its next look. A store that does not know never says so.
    fn changed(&self) -> impl Future<Output = ()> {
        std::future::pending()
    }
}

/// Why the store did not do it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// The store cannot be reached now.
    Unavailable(String),
    /// The host does not let us use the store.
    AccessDenied(String),
    /// Anything else.
    Other(String),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable(words) => write!(f, "it cannot be reached: {words}"),
            Self::AccessDenied(words) => write!(f, "it may not be used: {words}"),
            Self::Other(words) => f.write_str(words),
        }
    }
}
