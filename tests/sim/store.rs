//! The shared store, with the faults of real stores.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures_channel::oneshot;
use futures_util::future::{Either, select};
use token_broker::{Store, StoreError};

use crate::blocking::Blocking;
use crate::fault::{FaultKind, Plan};
use crate::invariant::Invariants;
use crate::world::World;

/// The store from the view of one machine.
#[derive(Clone)]
pub(crate) struct SharedStore {
    pub(crate) world: World,
    pub(crate) plan: Rc<Plan>,
    pub(crate) entries: Rc<RefCell<Entries>>,
    pub(crate) invariants: Invariants,
    pub(crate) machine: usize,
    /// Set for an instance of WASI 0.2.
    pub(crate) blocking: Option<Blocking>,
}

/// The present values with their expiry, and the previous values.
#[derive(Default)]
pub(crate) struct Entries {
    living: BTreeMap<String, (Vec<u8>, Duration)>,
    before: BTreeMap<String, Vec<u8>>,
}

impl Entries {
    pub(crate) fn clear(&mut self) {
        self.living.clear();
    }

    pub(crate) fn spoil(&mut self) {
        for (value, until) in self.living.values_mut() {
            value.reverse();
            *until = Duration::MAX;
        }
    }

    fn get(&mut self, key: &str, now: Duration) -> Option<Vec<u8>> {
        self.living.get(key).filter(|(_, until)| *until > now).map(|(value, _)| value.clone())
    }

    fn set(&mut self, key: &str, value: Vec<u8>, until: Duration) {
        self.remove(key);
        self.living.insert(key.to_owned(), (value, until));
    }

    fn remove(&mut self, key: &str) {
        self.before.extend(self.living.remove(key).map(|(value, _)| (key.to_owned(), value)));
    }
}

impl SharedStore {
    /// Runs an operation, which blocks an instance of WASI 0.2. Its host gives it up after [`LONGEST_BLOCK`].
    async fn operate<T: 'static>(
        &self,
        operation: impl FnOnce(&Self, &mut Entries, Option<FaultKind>) -> T + 'static,
    ) -> Result<T, StoreError> {
        let Some(blocking) = &self.blocking else { return self.run(operation).await };
        let limited = async {
            match select(pin!(self.run(operation)), self.world.sleep(LONGEST_BLOCK)).await {
                Either::Left((result, _)) => result,
                Either::Right(_) => Err(StoreError::Unavailable("no answer, as planned".to_owned())),
            }
        };
        blocking.block(limited).await
    }

    /// Runs an operation, which continues if the caller drops it.
    async fn run<T: 'static>(
        &self,
        operation: impl FnOnce(&Self, &mut Entries, Option<FaultKind>) -> T + 'static,
    ) -> Result<T, StoreError> {
        let kind = self.plan.store(self.machine, self.world.now());
        let longest = if kind == Some(FaultKind::StoreSlow) { 750_000 } else { 5000 };
        let (request_delay, reply_delay) =
            (self.world.between(100, longest), self.world.between(100, longest));
        match kind {
            Some(FaultKind::StoreDown) => {
                self.world.sleep(request_delay).await;
                return Err(StoreError::Unavailable("as planned".to_owned()));
            }
            Some(FaultKind::StoreSilent) => return std::future::pending().await,
            _ => {}
        }
        let (sender, receiver) = oneshot::channel();
        let store = self.clone();
        self.world.spawn(None, async move {
            store.world.sleep(request_delay).await;
            let result = operation(&store, &mut store.entries.borrow_mut(), kind);
            store.world.sleep(reply_delay).await;
            let _ = sender.send(result);
        });
        if kind == Some(FaultKind::StoreMute) && self.world.one_in(2) {
            return std::future::pending().await;
        }
        receiver.await.map_err(|_| StoreError::Other("the run is over".to_owned()))
    }

    fn read(&self, entries: &mut Entries, key: &str, kind: Option<FaultKind>) -> Option<Vec<u8>> {
        let value = entries.get(key, self.world.now());
        if self.world.one_in(2) {
            return value;
        }
        match kind {
            Some(FaultKind::StoreStale) => entries.before.get(key).cloned().or(value),
            Some(FaultKind::StoreCorrupts) => value.map(|value| self.corrupted(value)),
            Some(FaultKind::StoreSwaps) => {
                let nth = self.world.random(|rng| rng.usize(..entries.living.len().max(1)));
                entries.living.values().nth(nth).map(|(value, _)| value.clone())
            }
            _ => value,
        }
    }

    fn corrupted(&self, mut value: Vec<u8>) -> Vec<u8> {
        let index = self.world.random(|rng| rng.usize(..value.len().max(1)));
        match self.world.random(|rng| rng.u32(..3)) {
            0 => value.truncate(index),
            1 => value.push(0),
            _ => value.iter_mut().skip(index).take(1).for_each(|byte| *byte ^= 1),
        }
        value
    }

    fn loses(&self, kind: Option<FaultKind>) -> bool {
        kind == Some(FaultKind::StoreLoses) && self.world.one_in(2)
    }
}

impl Store for SharedStore {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let key = key.to_owned();
        self.operate(move |store, entries, kind| store.read(entries, &key, kind)).await
    }

    async fn set(&self, key: &str, value: Vec<u8>, ttl: Duration) -> Result<(), StoreError> {
        self.invariants.stored(key, &value);
        let key = key.to_owned();
        let put = move |store: &Self, entries: &mut Entries, kind| {
            if !store.loses(kind) {
                entries.set(&key, value, store.world.now() + ttl);
            }
        };
        self.operate(put).await
    }

    async fn add(&self, key: &str, value: Vec<u8>, ttl: Duration) -> Result<bool, StoreError> {
        self.invariants.stored(key, &value);
        let key = key.to_owned();
        let put = move |store: &Self, entries: &mut Entries, kind| {
            let free = entries.get(&key, store.world.now()).is_none();
            if free && !store.loses(kind) {
                entries.set(&key, value, store.world.now() + ttl);
            }
            free
        };
        self.operate(put).await
    }

    async fn delete(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        let (key, value) = (key.to_owned(), value.to_owned());
        let remove = move |store: &Self, entries: &mut Entries, kind| {
            if entries.get(&key, store.world.now()) == Some(value) && !store.loses(kind) {
                entries.remove(&key);
            }
        };
        self.operate(remove).await
    }
}

/// The time after which the host of a blocking instance gives an operation up.
pub(crate) const LONGEST_BLOCK: Duration = Duration::from_secs(2);
