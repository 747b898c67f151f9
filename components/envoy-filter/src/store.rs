//! The store of the core, made of what the VMs of a proxy share: the same worker's memory for all.
//!
//! Nothing in it ends by itself, so the end is kept with the value. Nothing can be removed either: an empty value is none.

use std::future::Future;
use std::time::Duration;

use token_broker::{Store, StoreError};

use crate::abi::{self, Status};
use crate::host::monotonic_now;
use crate::notices::Notices;

/// The shared data of a VM id.
pub(crate) struct SharedData {
    /// What the names of all keys begin with.
    pub(crate) namespace: String,
    pub(crate) notices: Notices,
}

impl Store for SharedData {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.live(key)?.0)
    }

    async fn set(&self, key: &str, value: Vec<u8>, ttl: Duration) -> Result<(), StoreError> {
        abi::share(&self.name(key), &entry(&value, ttl), IN_ANY_CASE).map_err(failed)?;
        self.notices.send();
        Ok(())
    }

    async fn add(&self, key: &str, value: Vec<u8>, ttl: Duration) -> Result<bool, StoreError> {
        let (live, version) = self.live(key)?;
        if live.is_some() {
            return Ok(false);
        }
        put_if(&self.name(key), &entry(&value, ttl), version)
    }

    async fn delete(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        let (live, version) = self.live(key)?;
        if live.is_some_and(|live| live == value) && put_if(&self.name(key), &[], version)? {
            self.notices.send();
        }
        Ok(())
    }

    fn changed(&self) -> impl Future<Output = ()> {
        self.notices.next()
    }
}

impl SharedData {
    /// What is under a key unless it has ended, and the version of what is there.
    fn live(&self, key: &str) -> Result<(Option<Vec<u8>>, u32), StoreError> {
        match abi::shared(&self.name(key)) {
            Ok((bytes, version)) => Ok((value(bytes), version)),
            Err(Status::NOT_FOUND) => Ok((None, NEVER)),
            Err(status) => Err(failed(status)),
        }
    }

    fn name(&self, key: &str) -> String {
        format!("{PREFIX}{}/{key}", self.namespace)
    }
}

/// The key by which all VMs of a proxy seal what they share: whoever comes first makes it.
pub(crate) fn key() -> Result<[u8; 32], StoreError> {
    let name = format!("{PREFIX}key");
    let mut key = [0; 32];
    if !abi::random(&mut key) {
        return Err(StoreError::Other("the proxy gives no random bytes".to_owned()));
    }
    put_if(&name, &key, NEVER)?;
    let (there, _) = abi::shared(&name).map_err(failed)?;
    there.try_into().map_err(|_| StoreError::Other("the key in the shared data is none".to_owned()))
}

/// Put a value where there is this version of one, or where there was never any.
pub(crate) fn put_if(name: &str, value: &[u8], version: u32) -> Result<bool, StoreError> {
    match abi::share(name, value, version) {
        Ok(()) => Ok(true),
        Err(Status::CAS_MISMATCH) => Ok(false),
        Err(status) => Err(failed(status)),
    }
}

fn entry(value: &[u8], ttl: Duration) -> Vec<u8> {
    let end = u64::try_from(monotonic_now().saturating_add(ttl).as_nanos()).unwrap_or(u64::MAX);
    [&end.to_be_bytes(), value].concat()
}

/// The value in an entry, if it has not ended.
fn value(bytes: Vec<u8>) -> Option<Vec<u8>> {
    let (end, value) = bytes.split_first_chunk()?;
    (monotonic_now() < Duration::from_nanos(u64::from_be_bytes(*end))).then(|| value.to_vec())
}

fn failed(status: Status) -> StoreError {
    StoreError::Unavailable(status.to_string())
}

/// The beginning of all names, since other plugins may share the same data.
pub(crate) const PREFIX: &str = "token-broker/";
const IN_ANY_CASE: u32 = 0;
/// A version that no value has: versions count up from one.
pub(crate) const NEVER: u32 = u32::MAX;
