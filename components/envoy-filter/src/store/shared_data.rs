//! The data that the VMs of a proxy share: the same worker's memory for all.

use token_broker::StoreError;

use crate::abi::{self, Status};

/// The value under a name and its version; none if there was never a value.
pub(super) fn get(name: &str) -> Result<Option<(Vec<u8>, u32)>, StoreError> {
    match abi::shared(name) {
        Ok(found) => Ok(Some(found)),
        Err(Status::NOT_FOUND) => Ok(None),
        Err(status) => Err(failed(status)),
    }
}

pub(super) fn put(name: &str, value: &[u8]) -> Result<(), StoreError> {
    abi::share(name, value, ANY_VERSION).map_err(failed)
}

/// Puts a value under a name if the value there has this version. False if it has another one.
pub(super) fn put_if(name: &str, value: &[u8], version: u32) -> Result<bool, StoreError> {
    match abi::share(name, value, version) {
        Ok(()) => Ok(true),
        Err(Status::CAS_MISMATCH) => Ok(false),
        Err(status) => Err(failed(status)),
    }
}

fn failed(status: Status) -> StoreError {
    StoreError::Unavailable(status.to_string())
}

/// The beginning of all names: other plugins may share the same data.
pub(super) const PREFIX: &str = "token-broker/";
/// The name of the key that seals the values.
pub(super) const KEY: &str = "token-broker/key";
/// The name of the list of queues.
pub(super) const QUEUES: &str = "token-broker/queues";
const ANY_VERSION: u32 = 0;
/// The version where there was never a value: the host counts versions up from one.
pub(super) const NEVER: u32 = u32::MAX;
