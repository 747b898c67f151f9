//! A store in the memory of this process.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use token_broker::StoreError;
use tokio::time::Instant;

use crate::store::{MAX_VALUE, Store, StoreFuture};

/// A [`Store`] in the memory of this process, for several brokers in it: give each a clone of one `Arc`.
#[derive(Debug, Default)]
pub struct MemoryStore {
    entries: Mutex<HashMap<String, Entry>>,
}

struct Entry {
    value: Vec<u8>,
    ends: Instant,
}

/// The values are sealed, yet nobody needs to see them.
impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry").field("bytes", &self.value.len()).field("ends", &self.ends).finish()
    }
}

impl MemoryStore {
    fn read(&self, key: &str) -> Option<Vec<u8>> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.get(key).filter(|entry| Instant::now() < entry.ends).map(|entry| entry.value.clone())
    }

    fn write(
        &self,
        key: &str,
        value: Vec<u8>,
        ttl: Duration,
        only_if_absent: bool,
    ) -> Result<bool, StoreError> {
        check_size(key, &value)?;
        let now = Instant::now();
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if only_if_absent && entries.get(key).is_some_and(|entry| now < entry.ends) {
            return Ok(false);
        }
        if entries.len() >= MAX_ENTRIES && !entries.contains_key(key) {
            make_room(&mut entries, now);
        }
        entries.insert(key.to_owned(), Entry { value, ends: now + ttl.min(MAX_TTL) });
        Ok(true)
    }

    fn remove(&self, key: &str, value: &[u8]) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.get(key).is_some_and(|entry| entry.value == value) {
            entries.remove(key);
        }
    }
}

impl Store for MemoryStore {
    fn get<'a>(&'a self, key: &'a str) -> StoreFuture<'a, Option<Vec<u8>>> {
        Box::pin(async move { Ok(self.read(key)) })
    }

    fn set<'a>(&'a self, key: &'a str, value: Vec<u8>, ttl: Duration) -> StoreFuture<'a, ()> {
        Box::pin(async move { self.write(key, value, ttl, false).map(drop) })
    }

    fn add<'a>(&'a self, key: &'a str, value: Vec<u8>, ttl: Duration) -> StoreFuture<'a, bool> {
        Box::pin(async move { self.write(key, value, ttl, true) })
    }

    fn delete<'a>(&'a self, key: &'a str, value: &'a [u8]) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            self.remove(key, value);
            Ok(())
        })
    }
}

fn check_size(key: &str, value: &[u8]) -> Result<(), StoreError> {
    if key.len() > MAX_KEY || value.len() > MAX_VALUE {
        return Err(StoreError::Other(format!(
            "a key of {} or a value of {} bytes is longer than {MAX_KEY} or {MAX_VALUE}; fix: use a store for larger entries",
            key.len(),
            value.len()
        )));
    }
    Ok(())
}

/// Removes the entries that have ended; if there are none, the one that ends first.
fn make_room(entries: &mut HashMap<String, Entry>, now: Instant) {
    entries.retain(|_, entry| now < entry.ends);
    if entries.len() >= MAX_ENTRIES {
        let first = entries.iter().min_by_key(|(_, entry)| entry.ends).map(|(key, _)| key.clone());
        first.and_then(|key| entries.remove(&key));
    }
}

const MAX_ENTRIES: usize = 4096;
const MAX_KEY: usize = 512;
/// No token lives longer, and an `Instant` must not overflow.
const MAX_TTL: Duration = Duration::from_secs(7 * 24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn an_entry_ends_when_its_time_is_over() {
        let store = MemoryStore::default();
        store.set("k", vec![1], MINUTE).await.unwrap();
        tokio::time::advance(MINUTE - Duration::from_millis(1)).await;
        assert_eq!(store.get("k").await, Ok(Some(vec![1])));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(store.get("k").await, Ok(None));
    }

    #[tokio::test(start_paused = true)]
    async fn it_does_what_a_store_must() {
        crate::test_kit::check_store(&MemoryStore::default()).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_store_drops_what_ends_first() {
        let store = MemoryStore::default();
        store.set("first", vec![0], Duration::from_secs(1)).await.unwrap();
        for n in 1..=MAX_ENTRIES {
            store.set(&n.to_string(), vec![1], MINUTE).await.unwrap();
        }
        assert_eq!(store.entries.lock().unwrap().len(), MAX_ENTRIES);
        assert_eq!(store.get("first").await, Ok(None));
        assert_eq!(store.get("1").await, Ok(Some(vec![1])));
    }

    #[tokio::test]
    async fn what_is_too_large_is_refused_by_size() {
        let error = MemoryStore::default().set("k", vec![0; MAX_VALUE + 1], MINUTE).await.unwrap_err();
        assert!(matches!(error, StoreError::Other(text) if text.contains("65537")));
    }
}
