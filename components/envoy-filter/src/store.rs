//! The store of the core, made of the data that the VMs of a proxy share.
//!
//! Shared data has no expiry, so each value is stored with its end. Nothing can be removed, so an empty value counts as none.

mod shared_data;
mod wakeups;

use std::future::Future;
use std::time::Duration;

use token_broker::{Store, StoreError};

use self::shared_data::{KEY, NEVER, PREFIX};
use crate::abi;
use crate::runtime::clock::monotonic_now;

pub(crate) use self::wakeups::Wakeups;

/// The store that the VMs with the same VM id share.
pub(crate) struct ProxyStore {
    /// The beginning of the names of all keys.
    pub(crate) namespace: String,
    pub(crate) wakeups: Wakeups,
}

impl Store for ProxyStore {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.live(key)?.0)
    }

    async fn set(&self, key: &str, value: Vec<u8>, ttl: Duration) -> Result<(), StoreError> {
        shared_data::put(&self.name(key), &entry(&value, ttl))?;
        self.wakeups.send();
        Ok(())
    }

    async fn add(&self, key: &str, value: Vec<u8>, ttl: Duration) -> Result<bool, StoreError> {
        let (live, version) = self.live(key)?;
        if live.is_some() {
            return Ok(false);
        }
        shared_data::put_if(&self.name(key), &entry(&value, ttl), version)
    }

    async fn delete(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        let (live, version) = self.live(key)?;
        if live.is_some_and(|live| live == value) && shared_data::put_if(&self.name(key), &[], version)? {
            self.wakeups.send();
        }
        Ok(())
    }

    fn changed(&self) -> impl Future<Output = ()> {
        self.wakeups.next()
    }
}

impl ProxyStore {
    /// The value under a key unless it has expired, and the version of the data there.
    fn live(&self, key: &str) -> Result<(Option<Vec<u8>>, u32), StoreError> {
        Ok(match shared_data::get(&self.name(key))? {
            Some((entry, version)) => (value(&entry), version),
            None => (None, NEVER),
        })
    }

    fn name(&self, key: &str) -> String {
        format!("{PREFIX}{}/{key}", self.namespace)
    }
}

/// The key that seals the values which the VMs of a proxy share. The first VM makes it.
pub(crate) fn key() -> Result<[u8; 32], StoreError> {
    let mut key = [0; 32];
    if !abi::random(&mut key) {
        return Err(StoreError::Other("the proxy gives no random bytes".to_owned()));
    }
    shared_data::put_if(KEY, &key, NEVER)?;
    let shared = shared_data::get(KEY)?.and_then(|(key, _)| key.try_into().ok());
    shared.ok_or_else(|| StoreError::Other("the shared key is invalid".to_owned()))
}

fn entry(value: &[u8], ttl: Duration) -> Vec<u8> {
    let end = u64::try_from(monotonic_now().saturating_add(ttl).as_nanos()).unwrap_or(u64::MAX);
    [&end.to_be_bytes(), value].concat()
}

/// The value in an entry, unless it has expired.
fn value(entry: &[u8]) -> Option<Vec<u8>> {
    let (end, value) = entry.split_first_chunk()?;
    (monotonic_now() < Duration::from_nanos(u64::from_be_bytes(*end))).then(|| value.to_vec())
}
