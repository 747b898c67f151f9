//! What a component that shares is lent besides: a store in memory that can fail, and settings.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use wasmtime::Result;
use wasmtime::component::Linker;

use super::broker::bindings::token_broker::identity::store::StoreError;
use super::case::{Happens, Stands};
use super::content::Text;
use super::world::State;

/// The store and the settings of a case; they stay when the component is started anew.
#[derive(Default)]
pub(crate) struct Lent {
    settings: BTreeMap<String, Text>,
    stands: Mutex<Stands>,
    entries: Mutex<BTreeMap<String, Entry>>,
}

struct Entry {
    value: Vec<u8>,
    ends: Instant,
}

impl Lent {
    pub(crate) fn with(settings: &BTreeMap<String, Text>) -> Self {
        Self { settings: settings.clone(), ..Self::default() }
    }

    pub(crate) fn stand(&self, stands: Stands) {
        *self.stands.lock().unwrap_or_else(PoisonError::into_inner) = stands;
    }

    pub(crate) fn happen(&self, happens: Happens) {
        self.entries(|entries| match happens {
            Happens::Emptied => entries.clear(),
            Happens::Changed => entries.values_mut().for_each(|entry| entry.value.reverse()),
            Happens::Cut => {
                entries.values_mut().for_each(|entry| entry.value.truncate(entry.value.len() / 2))
            }
            Happens::Exchanged => {
                let mut values: Vec<_> = entries.values().map(|entry| entry.value.clone()).collect();
                let one = 1.min(values.len());
                values.rotate_right(one);
                entries.values_mut().zip(values).for_each(|(entry, value)| entry.value = value);
            }
        });
    }

    /// What operators of the store see.
    pub(crate) fn shown(&self) -> String {
        self.entries(|entries| {
            let shown =
                entries.iter().map(|(name, entry)| format!("{name} {}\n", entry.value.escape_ascii()));
            shown.collect()
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
        let stands = *self.stands.lock().unwrap_or_else(PoisonError::into_inner);
        match stands {
            Stands::Well => Ok(operation(self)),
            Stands::Gone => Err(StoreError::Unavailable("the store of this case is gone".to_owned())),
            Stands::Forbidden => Err(StoreError::AccessDenied("this case forbids the store".to_owned())),
            Stands::Silent => pending().await,
        }
    }
}

pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> Result<()> {
    let mut store = linker.instance("token-broker:identity/store@0.1.0")?;
    store.func_wrap_concurrent("get", |accessor, (key,): (String,)| {
        let lent = accessor.with(|mut access| Arc::clone(&access.data_mut().lent));
        Box::pin(async move { Ok((lent.operate(|store| store.get(&key)).await,)) })
    })?;
    store.func_wrap_concurrent("set", |accessor, (key, value, ttl): (String, Vec<u8>, u64)| {
        let lent = accessor.with(|mut access| Arc::clone(&access.data_mut().lent));
        Box::pin(async move { Ok((lent.operate(|store| store.set(key, value, ttl)).await,)) })
    })?;
    store.func_wrap_concurrent("add", |accessor, (key, value, ttl): (String, Vec<u8>, u64)| {
        let lent = accessor.with(|mut access| Arc::clone(&access.data_mut().lent));
        Box::pin(async move { Ok((lent.operate(|store| store.add(key, value, ttl)).await,)) })
    })?;
    store.func_wrap_concurrent("delete", |accessor, (key, value): (String, Vec<u8>)| {
        let lent = accessor.with(|mut access| Arc::clone(&access.data_mut().lent));
        Box::pin(async move { Ok((lent.operate(|store| store.delete(&key, &value)).await,)) })
    })?;
    let mut settings = linker.instance("token-broker:identity/settings@0.1.0")?;
    settings.func_wrap_concurrent("get", |accessor, (name,): (String,)| {
        let lent = accessor.with(|mut access| Arc::clone(&access.data_mut().lent));
        let value = lent.settings.get(&name).map(|value| value.0.clone());
        Box::pin(async move { Ok((Ok::<_, String>(value),)) })
    })
}
