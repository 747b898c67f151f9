//! A store in memory that can fail, and settings: the imports of a component that shares tokens, for both versions of
//! WASI.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use wasmtime::Result;
use wasmtime::component::Linker;

use super::broker::bindings::token_broker::identity::store::StoreError;
use super::case::{StoreChange, StoreCondition};
use super::content::Text;
use super::world::State;

/// The store and the settings of a case. They survive a restart.
#[derive(Default)]
pub(crate) struct MemoryStore {
    settings: BTreeMap<String, Text>,
    condition: Mutex<StoreCondition>,
    entries: Mutex<BTreeMap<String, Entry>>,
}

struct Entry {
    value: Vec<u8>,
    ends: Instant,
}

impl MemoryStore {
    pub(crate) fn with(settings: &BTreeMap<String, Text>) -> Self {
        Self { settings: settings.clone(), ..Self::default() }
    }

    pub(crate) fn set_condition(&self, condition: StoreCondition) {
        *self.condition.lock().unwrap_or_else(PoisonError::into_inner) = condition;
    }

    pub(crate) fn change(&self, change: StoreChange) {
        self.entries(|entries| match change {
            StoreChange::Emptied => entries.clear(),
            StoreChange::Reversed => entries.values_mut().for_each(|entry| entry.value.reverse()),
            StoreChange::Truncated => {
                entries.values_mut().for_each(|entry| entry.value.truncate(entry.value.len() / 2))
            }
            StoreChange::Swapped => {
                let mut values: Vec<_> = entries.values().map(|entry| entry.value.clone()).collect();
                let one = 1.min(values.len());
                values.rotate_right(one);
                entries.values_mut().zip(values).for_each(|(entry, value)| entry.value = value);
            }
        });
    }

    /// The content as the operator of the store sees it.
    pub(crate) fn dump(&self) -> String {
        self.entries(|entries| {
            let lines =
                entries.iter().map(|(name, entry)| format!("{name} {}\n", entry.value.escape_ascii()));
            lines.collect()
        })
    }

    fn get(&self, key: &str) -> Option<Vec<u8>> {
        self.entries(|entries| {
            entries.get(key).filter(|entry| Instant::now() < entry.ends).map(|entry| entry.value.clone())
        })
    }

    fn set(&self, key: String, value: Vec<u8>, ttl: u64) {
        let ends = Instant::now() + Duration::from_millis(ttl);
        self.entries(|entries| entries.insert(key, Entry { value, ends }));
    }

    fn add(&self, key: String, value: Vec<u8>, ttl: u64) -> bool {
        let is_free = self.get(&key).is_none();
        if is_free {
            self.set(key, value, ttl);
        }
        is_free
    }

    fn delete(&self, key: &str, value: &[u8]) {
        self.entries(|entries| {
            if entries.get(key).is_some_and(|entry| entry.value == value) {
                entries.remove(key);
            }
        });
    }

    fn entries<T>(&self, with: impl FnOnce(&mut BTreeMap<String, Entry>) -> T) -> T {
        with(&mut self.entries.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn operate<T>(&self, operation: impl FnOnce(&Self) -> T) -> Result<T, StoreError> {
        let condition = *self.condition.lock().unwrap_or_else(PoisonError::into_inner);
        match condition {
            StoreCondition::Working => Ok(operation(self)),
            StoreCondition::Unavailable => {
                Err(StoreError::Unavailable("this case has no store now".to_owned()))
            }
            StoreCondition::Denied => Err(StoreError::AccessDenied("this case denies access".to_owned())),
            StoreCondition::Hanging => pending().await,
        }
    }

    /// An operation that blocks its caller: the adapter of a store limits its time.
    async fn operate_blocking<T>(&self, operation: impl FnOnce(&Self) -> T) -> Result<T, StoreError> {
        tokio::select! {
            result = self.operate(operation) => result,
            () = sleep(LONGEST_BLOCK) => Err(StoreError::Unavailable("the store does not answer".to_owned())),
        }
    }
}

pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> Result<()> {
    let mut store = linker.instance("token-broker:identity/store@0.1.0")?;
    store.func_wrap_concurrent("get", |accessor, (key,): (String,)| {
        let store = accessor.with(|mut access| Arc::clone(&access.data_mut().data));
        Box::pin(async move { Ok((store.operate(|store| store.get(&key)).await,)) })
    })?;
    store.func_wrap_concurrent("set", |accessor, (key, value, ttl): (String, Vec<u8>, u64)| {
        let store = accessor.with(|mut access| Arc::clone(&access.data_mut().data));
        Box::pin(async move { Ok((store.operate(|store| store.set(key, value, ttl)).await,)) })
    })?;
    store.func_wrap_concurrent("add", |accessor, (key, value, ttl): (String, Vec<u8>, u64)| {
        let store = accessor.with(|mut access| Arc::clone(&access.data_mut().data));
        Box::pin(async move { Ok((store.operate(|store| store.add(key, value, ttl)).await,)) })
    })?;
    store.func_wrap_concurrent("delete", |accessor, (key, value): (String, Vec<u8>)| {
        let store = accessor.with(|mut access| Arc::clone(&access.data_mut().data));
        Box::pin(async move { Ok((store.operate(|store| store.delete(&key, &value)).await,)) })
    })?;
    let mut settings = linker.instance("token-broker:identity/settings@0.1.0")?;
    settings.func_wrap_concurrent("get", |accessor, (name,): (String,)| {
        let store = accessor.with(|mut access| Arc::clone(&access.data_mut().data));
        let value = store.settings.get(&name).map(|value| value.0.clone());
        Box::pin(async move { Ok((Ok::<_, String>(value),)) })
    })
}

/// The store and the settings for a broker that blocks.
pub(crate) fn add_to_linker_sync(linker: &mut Linker<State>) -> Result<()> {
    let mut store = linker.instance("token-broker:identity/store-sync@0.1.0")?;
    store.func_wrap_async("get", |access, (key,): (String,)| {
        let store = Arc::clone(&access.data().data);
        Box::new(async move { Ok((store.operate_blocking(|store| store.get(&key)).await,)) })
    })?;
    store.func_wrap_async("set", |access, (key, value, ttl): (String, Vec<u8>, u64)| {
        let store = Arc::clone(&access.data().data);
        Box::new(async move { Ok((store.operate_blocking(|store| store.set(key, value, ttl)).await,)) })
    })?;
    store.func_wrap_async("add", |access, (key, value, ttl): (String, Vec<u8>, u64)| {
        let store = Arc::clone(&access.data().data);
        Box::new(async move { Ok((store.operate_blocking(|store| store.add(key, value, ttl)).await,)) })
    })?;
    store.func_wrap_async("delete", |access, (key, value): (String, Vec<u8>)| {
        let store = Arc::clone(&access.data().data);
        Box::new(async move { Ok((store.operate_blocking(|store| store.delete(&key, &value)).await,)) })
    })?;
    let mut settings = linker.instance("token-broker:identity/settings-sync@0.1.0")?;
    settings.func_wrap("get", |access, (name,): (String,)| {
        let value = access.data().data.settings.get(&name).map(|value| value.0.clone());
        Ok((Ok::<_, String>(value),))
    })
}

/// The limit that `store-sync` sets for an operation.
const LONGEST_BLOCK: Duration = Duration::from_millis(500);
