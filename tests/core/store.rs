//! A store in memory, by the same virtual clock as everything else, with the faults of real ones.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use token_broker::{Host as _, Store, StoreError};

use crate::fake::World;

/// What instances share; all clones are the same store.
#[derive(Clone)]
pub(crate) struct SharedStore(Rc<State>);

struct State {
    world: World,
    entries: RefCell<BTreeMap<String, (Vec<u8>, Duration)>>,
    fault: Cell<Fault>,
    operations: Cell<usize>,
    /// What is on its way to a store that lags.
    under_way: RefCell<Vec<UnderWay>>,
    tells: Cell<bool>,
    changes: Cell<usize>,
    told: RefCell<Vec<Waker>>,
}

/// When it arrives, and where what is put for how long.
type UnderWay = (Duration, String, Vec<u8>, Duration);

/// What ails the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// Every operation fails at once.
    Down,
    /// No operation ends.
    Silent,
    /// What is written is lost, and so nobody is refused a turn.
    Forgetful,
    /// What is set arrives [`LAG`] later, also if whoever set it has gone on.
    Lagging,
    /// Nobody may use it.
    Forbidden,
    /// What is added is there, and whoever added it is not told.
    Mute,
    /// Nothing ends.
    Endless,
}

pub(crate) const LAG: Duration = Duration::from_millis(100);

impl std::fmt::Debug for SharedStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SharedStore")
    }
}

impl SharedStore {
    pub(crate) fn new(world: &World) -> Self {
        Self(Rc::new(State {
            world: world.clone(),
            entries: RefCell::default(),
            fault: Cell::new(Fault::None),
            operations: Cell::default(),
            under_way: RefCell::default(),
            tells: Cell::default(),
            changes: Cell::default(),
            told: RefCell::default(),
        }))
    }

    pub(crate) fn ails(&self, fault: Fault) {
        self.0.fault.set(fault);
    }

    /// Tell from now on when something has changed.
    pub(crate) fn tell(&self) {
        self.0.tells.set(true);
    }

    pub(crate) fn operations(&self) -> usize {
        self.0.operations.get()
    }

    /// What is there now, by name.
    pub(crate) fn entries(&self) -> BTreeMap<String, Vec<u8>> {
        self.arrive();
        let (entries, now) = (self.0.entries.borrow(), self.0.world.now());
        let endless = self.0.fault.get() == Fault::Endless;
        let living = entries.iter().filter(|(_, (_, until))| endless || *until > now);
        living.map(|(name, (value, _))| (name.clone(), value.clone())).collect()
    }

    /// Put back what was there once, for good.
    pub(crate) fn put_back(&self, entries: &BTreeMap<String, Vec<u8>>) {
        let for_good = entries.iter().map(|(name, value)| (name.clone(), (value.clone(), Duration::MAX)));
        self.0.entries.borrow_mut().extend(for_good);
    }

    /// Put something else in the place of everything.
    pub(crate) fn tamper(&self, change: impl Fn(&mut Vec<u8>)) {
        self.0.entries.borrow_mut().values_mut().for_each(|(value, _)| change(value));
    }

    /// Exchange the contents of all entries of one size.
    pub(crate) fn rotate(&self) {
        let mut entries = self.0.entries.borrow_mut();
        let mut values: Vec<_> = entries.values().cloned().collect();
        values.rotate_left(1);
        entries.values_mut().zip(values).for_each(|(entry, value)| *entry = value);
    }

    async fn operate(&self) -> Result<(), StoreError> {
        self.0.operations.set(self.0.operations.get() + 1);
        match self.0.fault.get() {
            Fault::None | Fault::Forgetful | Fault::Lagging | Fault::Mute | Fault::Endless => Ok(()),
            Fault::Forbidden => Err(StoreError::AccessDenied("as scripted".to_owned())),
            Fault::Down => Err(StoreError::Unavailable("as scripted".to_owned())),
            Fault::Silent => std::future::pending().await,
        }
    }

    fn arrive(&self) {
        let arrived = |(at, ..): &mut (Duration, _, _, _)| *at <= self.0.world.now();
        for (at, key, value, ttl) in self.0.under_way.borrow_mut().extract_if(.., arrived) {
            self.0.entries.borrow_mut().insert(key, (value, at + ttl));
        }
    }

    fn put(&self, key: &str, value: Vec<u8>, ttl: Duration) {
        self.arrive();
        if self.0.fault.get() != Fault::Forgetful {
            self.0.entries.borrow_mut().insert(key.to_owned(), (value, self.0.world.now() + ttl));
        }
        self.0.changes.set(self.0.changes.get() + 1);
        self.0.told.take().into_iter().for_each(Waker::wake);
    }
}

impl Store for SharedStore {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.operate().await?;
        Ok(self.entries().remove(key))
    }

    async fn set(&self, key: &str, value: Vec<u8>, ttl: Duration) -> Result<(), StoreError> {
        self.operate().await?;
        if self.0.fault.get() == Fault::Lagging {
            let arrives = self.0.world.now() + LAG;
            self.0.under_way.borrow_mut().push((arrives, key.to_owned(), value, ttl));
            self.0.world.sleep(LAG).await;
        } else {
            self.put(key, value, ttl);
        }
        Ok(())
    }

    async fn add(&self, key: &str, value: Vec<u8>, ttl: Duration) -> Result<bool, StoreError> {
        self.operate().await?;
        let free = !self.entries().contains_key(key);
        if free {
            self.put(key, value, ttl);
        }
        if self.0.fault.get() == Fault::Mute {
            std::future::pending::<()>().await;
        }
        Ok(free)
    }

    async fn delete(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        self.operate().await?;
        self.0.entries.borrow_mut().retain(|name, (held, _)| name != key || held != value);
        Ok(())
    }

    fn changed(&self) -> impl Future<Output = ()> {
        let before = self.0.changes.get();
        poll_fn(move |context| {
            if self.0.tells.get() && self.0.changes.get() != before {
                return Poll::Ready(());
            }
            self.0.told.borrow_mut().push(context.waker().clone());
            Poll::Pending
        })
    }
}
