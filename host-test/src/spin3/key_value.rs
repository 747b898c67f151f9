//! Key-value stores: what a compare-and-swap is worth in each backend of Spin.

use std::time::Duration;

use wasmtime::component::Resource;

use super::bindings::wasi::keyvalue::atomics::{self, CasError};
use super::bindings::wasi::keyvalue::store::{self, Error};
use super::{Entry, Shared, State};

/// A store's backend
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// Compares values. A swap of no value replaces a value that came meanwhile, and succeeds
    Sqlite,
    /// Exact, and reports a failure of every swap
    Redis,
    /// Exact, and reports every error as a failed swap
    Cosmos,
}

/// The condition of a store
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// As its backend is
    #[default]
    Working,
    /// Each operation is an error
    Down,
    /// Each write is an error
    ReadOnly,
    /// Each write reports success and changes nothing
    Loses,
    /// Each operation takes this long
    Slow(Duration),
}

/// An open store, by its label
pub struct Label(String);

/// A handle for a compare-and-swap: the value that it has read, if it has, with its version
pub struct Seen {
    label: String,
    key: String,
    value: Option<(Vec<u8>, u64)>,
}

impl Shared {
    fn put(&mut self, label: &str, key: &str, value: Vec<u8>) {
        if self.condition == Condition::Loses {
            return;
        }
        self.versions += 1;
        let entry = Entry { value, version: self.versions };
        self.entries.insert((label.to_owned(), key.to_owned()), entry);
    }

    fn get(&self, label: &str, key: &str) -> Option<(Vec<u8>, u64)> {
        let entry = self.entries.get(&(label.to_owned(), key.to_owned()))?;
        Some((entry.value.clone(), entry.version))
    }

    /// True if the value was swapped.
    fn swap(&mut self, seen: &Seen, value: Vec<u8>, backend: Backend) -> bool {
        let there = self.get(&seen.label, &seen.key);
        let is_same = match (&seen.value, backend) {
            (None, Backend::Sqlite) => true,
            (Some((old, _)), Backend::Sqlite) => there.is_some_and(|(there, _)| there == *old),
            (seen, Backend::Redis | Backend::Cosmos) => {
                seen.as_ref().map(|(_, version)| *version) == there.map(|(_, version)| version)
            }
        };
        if is_same {
            self.put(&seen.label, &seen.key, value);
        }
        if seen.value.is_none()
            && let Some(rival) = self.rival.take()
        {
            self.put(&seen.label, &seen.key, rival);
        }
        is_same
    }
}

impl State {
    /// Begins an operation; other instances may come in between.
    async fn operate(&mut self, writes: bool) -> Result<(), Error> {
        let condition = {
            let mut shared = self.data.spin.shared();
            shared.operations += 1;
            shared.condition
        };
        tokio::task::yield_now().await;
        match condition {
            Condition::Down => Err(Error::Other("the database is gone".to_owned())),
            Condition::ReadOnly if writes => Err(Error::Other("the database is read-only".to_owned())),
            Condition::Slow(delay) => {
                tokio::time::sleep(delay).await;
                Ok(())
            }
            Condition::Working | Condition::ReadOnly | Condition::Loses => Ok(()),
        }
    }

    fn label(&self, bucket: &Resource<Label>) -> Result<String, Error> {
        self.table.get(bucket).map(|label| label.0.clone()).map_err(|_| Error::NoSuchStore)
    }

    fn handle(
        &mut self,
        label: String,
        key: String,
        value: Option<(Vec<u8>, u64)>,
    ) -> Result<Resource<Seen>, Error> {
        self.data.handles += 1;
        if self.data.handles > MAX_HANDLES {
            return Err(Error::Other("too many handles".to_owned()));
        }
        self.table.push(Seen { label, key, value }).map_err(|error| Error::Other(error.to_string()))
    }
}

impl store::Host for State {
    async fn open(&mut self, identifier: String) -> Result<Resource<Label>, Error> {
        match self.data.spin.labels.contains(&identifier) {
            true => self.table.push(Label(identifier)).map_err(|error| Error::Other(error.to_string())),
            false => Err(Error::AccessDenied),
        }
    }
}

impl store::HostBucket for State {
    async fn get(&mut self, bucket: Resource<Label>, key: String) -> Result<Option<Vec<u8>>, Error> {
        self.operate(false).await?;
        let label = self.label(&bucket)?;
        Ok(self.data.spin.shared().get(&label, &key).map(|(value, _)| value))
    }

    async fn set(&mut self, bucket: Resource<Label>, key: String, value: Vec<u8>) -> Result<(), Error> {
        self.operate(true).await?;
        let label = self.label(&bucket)?;
        self.data.spin.shared().put(&label, &key, value);
        Ok(())
    }

    async fn drop(&mut self, bucket: Resource<Label>) -> wasmtime::Result<()> {
        self.table.delete(bucket)?;
        Ok(())
    }
}

impl atomics::Host for State {
    /// The handle is used up and not given back, as in Spin.
    async fn swap(&mut self, cas: Resource<Seen>, value: Vec<u8>) -> Result<(), CasError> {
        let seen =
            self.table.delete(cas).map_err(|error| CasError::StoreError(Error::Other(error.to_string())))?;
        let backend = self.data.spin.backend;
        let swapped = match self.operate(true).await {
            Ok(()) => self.data.spin.shared().swap(&seen, value, backend),
            Err(error) if backend == Backend::Sqlite => return Err(CasError::StoreError(error)),
            Err(_) => false,
        };
        if swapped && backend != Backend::Redis {
            return Ok(());
        }
        let there = self.data.spin.shared().get(&seen.label, &seen.key);
        let handle = self.handle(seen.label, seen.key, there).map_err(CasError::StoreError)?;
        Err(CasError::CasFailed(handle))
    }
}

impl atomics::HostCas for State {
    async fn new(&mut self, bucket: Resource<Label>, key: String) -> Result<Resource<Seen>, Error> {
        let label = self.label(&bucket)?;
        self.handle(label, key, None)
    }

    async fn current(&mut self, cas: Resource<Seen>) -> Result<Option<Vec<u8>>, Error> {
        self.operate(false).await?;
        let spin = self.data.spin.clone();
        let seen = self.table.get_mut(&cas).map_err(|error| Error::Other(error.to_string()))?;
        seen.value = spin.shared().get(&seen.label, &seen.key);
        Ok(seen.value.as_ref().map(|(value, _)| value.clone()))
    }

    async fn drop(&mut self, cas: Resource<Seen>) -> wasmtime::Result<()> {
        self.table.delete(cas)?;
        self.data.handles -= 1;
        Ok(())
    }
}

/// Spin's limit for one instance
const MAX_HANDLES: usize = 256;
