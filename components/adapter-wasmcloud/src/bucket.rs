//! A bucket of wasmCloud, and the errors of its operations.

use std::cell::{Cell, OnceCell};

use wasip3::cli::environment::get_environment;

use crate::bindings::exports::token_broker::identity::store::StoreError;
use crate::bindings::wasmcloud::keyvalue::cas::{self, CasOptions, CasResult};
use crate::bindings::wasmcloud::keyvalue::store;
use crate::bindings::wasmcloud::keyvalue::types::{self, Error, SetOptions};

/// A value, and its version where the backend has versions.
pub(crate) struct Entry {
    pub(crate) value: Vec<u8>,
    version: Option<String>,
}

/// An open bucket.
pub(crate) struct Bucket(types::Bucket);

impl Bucket {
    /// Opens the bucket of the configuration.
    pub(crate) async fn open() -> Result<Self, StoreError> {
        let name = NAME.with(|cell| cell.get_or_init(configured).clone());
        store::open(name).await.map(Self).map_err(failed)
    }

    pub(crate) async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.get(key.to_owned()).await.map_err(failed)
    }

    pub(crate) async fn set(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        self.0.set(key.to_owned(), value.to_vec(), None).await.map_err(failed)
    }

    /// Puts a value if there is none. False if there was one.
    pub(crate) async fn create(&self, key: &str, value: &[u8]) -> Result<bool, StoreError> {
        let options = SetOptions { ttl_ms: None, if_not_exists: true };
        match self.0.set(key.to_owned(), value.to_vec(), Some(options)).await {
            Ok(()) => Ok(true),
            Err(Error::PreconditionFailed) => Ok(false),
            Err(error) => Err(failed(error)),
        }
    }

    /// The value under a key, to be replaced.
    pub(crate) async fn entry(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        if !LACKS_SWAP.get() {
            match cas::current(&self.0, key.to_owned()).await {
                Ok(entry) => return Ok(entry.map(|it| Entry { value: it.value, version: Some(it.version) })),
                Err(Error::Other(words)) if is_unsupported(&words) => LACKS_SWAP.set(true),
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(self.get(key).await?.map(|value| Entry { value, version: None }))
    }

    /// Replaces an entry, exactly if the backend compares and swaps.
    pub(crate) async fn replace(&self, key: &str, entry: Entry, value: &[u8]) -> Result<(), StoreError> {
        let Some(version) = entry.version else { return self.set(key, value).await };
        let options = CasOptions { require_version: Some(version), require_value: None };
        match cas::swap(&self.0, key.to_owned(), value.to_vec(), options).await {
            Ok(CasResult::Swapped | CasResult::Stale(_)) => Ok(()),
            Err(error) => Err(failed(error)),
        }
    }

    /// Ends an entry: puts an ended value in its place if the backend compares and swaps. Otherwise deletes it, so that
    /// the next lease is put where there is none, which is exact.
    pub(crate) async fn end(&self, key: &str, entry: Entry, ended: &[u8]) -> Result<(), StoreError> {
        match entry.version {
            Some(_) => self.replace(key, entry, ended).await,
            None => self.0.delete(key.to_owned()).await.map_err(failed),
        }
    }
}

/// The name of the bucket.
fn configured() -> String {
    let mut variables = get_environment().into_iter();
    let named = variables.rfind(|(name, value)| name == STORE && !value.is_empty());
    named.map_or_else(|| DEFAULT.to_owned(), |(_, value)| value)
}

/// wasmCloud's words for an operation that the backend does not have: `compare-and-swap is not supported by this backend`.
fn is_unsupported(words: &str) -> bool {
    words.contains("not supported")
}

fn failed(error: Error) -> StoreError {
    let name = NAME.with(|cell| cell.get().cloned()).unwrap_or_default();
    let bucket = format!("the bucket {name}");
    match error {
        Error::NoSuchStore => StoreError::AccessDenied(format!(
            "{bucket} does not exist; fix: create it in NATS, or name another in {STORE}"
        )),
        Error::AccessDenied => StoreError::AccessDenied(format!(
            "wasmCloud does not give this component {bucket}; fix: add wasmcloud:keyvalue to the host interfaces of \
             the workload"
        )),
        Error::Timeout | Error::StoreUnavailable => StoreError::Unavailable(format!(
            "{bucket} does not answer; fix: check that the backend of wasmcloud:keyvalue runs, and the way to it"
        )),
        Error::QuotaExceeded => StoreError::Other(format!(
            "{bucket} is full; fix: raise its limit, in NATS `nats stream edit KV_{name} --max-bytes=-1`"
        )),
        Error::InvalidArgument | Error::PreconditionFailed => StoreError::Other(format!(
            "{bucket} refuses a key or a value; fix: set the backend in the host interface wasmcloud:keyvalue of the \
             workload to nats, redis or in-memory"
        )),
        Error::Other(words) => StoreError::Other(format!(
            "{bucket}: {words}; fix: check the backend in the host interface wasmcloud:keyvalue of the workload"
        )),
    }
}

thread_local! {
    static NAME: OnceCell<String> = const { OnceCell::new() };
    /// Set once the backend has refused to compare and swap.
    static LACKS_SWAP: Cell<bool> = const { Cell::new(false) };
}

const STORE: &str = "TOKEN_BROKER_STORE";
const DEFAULT: &str = "default";
