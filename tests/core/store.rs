//! A store in memory with the virtual clock, and with the faults of real stores.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use token_broker::{Host as _, Store, StoreError};

use crate::fake::World;

/// The fake store. All clones share one state.
#[derive(Clone)]
pub(crate) struct SharedStore(Rc<State>);

struct State {
    world: World,
    entries: RefCell<BTreeMap<String, (Vec<u8>, Duration)>>,
    fault: Cell<Fault>,
    operations: Cell<usize>,
    /// The writes that have not arrived in a lagging store.
    pending: RefCell<Vec<PendingWrite>>,
    reports_changes: Cell<bool>,
    changes: Cell<usize>,
    watchers: RefCell<Vec<Waker>>,
}

/// A write: the time of its arrival, the name, the value, and the time to live.
type PendingWrite = (Duration, String, Vec<u8>, Duration);

/// The fault of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// Operations fail at once.
    Down,
    /// Operations never end.
    Silent,
    /// Writes are lost, so `add` always succeeds.
    Forgetful,
    /// Writes arrive [`LAG`] later, even if the caller has given up.
    Lagging,
    /// Access is denied.
    Forbidden,
    /// `add` succeeds, but its result is lost.
    Mute,
    /// Entries do not expire.
    Endless,
    /// Entries expire in a tenth of their time.
    Hasty,
    /// Reads succeed, writes fail.
    Full,
    /// Reads succeed, writes are denied.
    ReadOnly,
    /// `add` puts the value and says that there was one.
    Denying,
    /// `add` puts nothing and says that there was a value.
    Refusing,
    /// `add` replaces a value that is there, and says that there was none.
    Overwriting,
    /// An operation blocks the instance for 5 ms, and succeeds.
    Sluggish,
    /// An operation blocks the instance for 30 s, and fails.
    Blocking,
    /// Each value that is read is another program's.
    Foreign,
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
            pending: RefCell::default(),
            reports_changes: Cell::default(),
            changes: Cell::default(),
            watchers: RefCell::default(),
        }))
    }

    pub(crate) fn ails(&self, fault: Fault) {
        self.0.fault.set(fault);
    }

    /// Reports changes from now on.
    pub(crate) fn tell(&self) {
        self.0.reports_changes.set(true);
    }

    pub(crate) fn operations(&self) -> usize {
        self.0.operations.get()
    }

    /// The present entries, by name.
    pub(crate) fn entries(&self) -> BTreeMap<String, Vec<u8>> {
        self.arrive();
        let (entries, now) = (self.0.entries.borrow(), self.0.world.now());
        let endless = self.0.fault.get() == Fault::Endless;
        let living = entries.iter().filter(|(_, (_, until))| endless || *until > now);
        living.map(|(name, (value, _))| (name.clone(), value.clone())).collect()
    }

    /// Restores old entries, without an expiry.
    pub(crate) fn put_back(&self, entries: &BTreeMap<String, Vec<u8>>) {
        let for_good = entries.iter().map(|(name, value)| (name.clone(), (value.clone(), Duration::MAX)));
        self.0.entries.borrow_mut().extend(for_good);
    }

    /// Replaces all values.
    pub(crate) fn tamper(&self, change: impl Fn(&mut Vec<u8>)) {
        self.0.entries.borrow_mut().values_mut().for_each(|(value, _)| change(value));
    }

    /// Exchanges the values of all entries of one size.
    pub(crate) fn rotate(&self) {
        let mut entries = self.0.entries.borrow_mut();
        let mut values: Vec<_> = entries.values().cloned().collect();
        values.rotate_left(1);
        entries.values_mut().zip(values).for_each(|(entry, value)| *entry = value);
    }

    async fn operate(&self) -> Result<(), StoreError> {
        self.0.operations.set(self.0.operations.get() + 1);
        match self.0.fault.get() {
            Fault::Forbidden => Err(StoreError::AccessDenied("as scripted".to_owned())),
            Fault::Down => Err(StoreError::Unavailable("as scripted".to_owned())),
            Fault::Silent => std::future::pending().await,
            Fault::Sluggish => {
                self.0.world.advance(Duration::from_millis(5));
                Ok(())
            }
            Fault::Blocking => {
                self.0.world.advance_secs(30);
                Err(StoreError::Unavailable("as scripted".to_owned()))
            }
            _ => Ok(()),
        }
    }

    async fn operate_on(&self) -> Result<(), StoreError> {
        self.operate().await?;
        match self.0.fault.get() {
            Fault::Full => Err(StoreError::Other("no space left".to_owned())),
            Fault::ReadOnly => Err(StoreError::AccessDenied("read-only".to_owned())),
            _ => Ok(()),
        }
    }

    fn arrive(&self) {
        let arrived = |(at, ..): &mut (Duration, _, _, _)| *at <= self.0.world.now();
        for (at, key, value, ttl) in self.0.pending.borrow_mut().extract_if(.., arrived) {
            self.0.entries.borrow_mut().insert(key, (value, at + ttl));
        }
    }

    fn put(&self, key: &str, value: Vec<u8>, ttl: Duration) {
        self.arrive();
        let ttl = if self.0.fault.get() == Fault::Hasty { ttl / 10 } else { ttl };
        if self.0.fault.get() != Fault::Forgetful {
            self.0.entries.borrow_mut().insert(key.to_owned(), (value, self.0.world.now() + ttl));
        }
        self.0.changes.set(self.0.changes.get() + 1);
        self.0.watchers.take().into_iter().for_each(Waker::wake);
    }
}

impl Store for SharedStore {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.operate().await?;
        let there = self.entries().remove(key);
        Ok(if self.0.fault.get() == Fault::Foreign { Some(b"another program's".to_vec()) } else { there })
    }

    async fn set(&self, key: &str, value: Vec<u8>, ttl: Duration) -> Result<(), StoreError> {
        self.operate_on().await?;
        if self.0.fault.get() == Fault::Lagging {
            let arrives = self.0.world.now() + LAG;
            self.0.pending.borrow_mut().push((arrives, key.to_owned(), value, ttl));
            self.0.world.sleep(LAG).await;
        } else {
            self.put(key, value, ttl);
        }
        Ok(())
    }

    async fn add(&self, key: &str, value: Vec<u8>, ttl: Duration) -> Result<bool, StoreError> {
        self.operate_on().await?;
        let free = match self.0.fault.get() {
            Fault::Overwriting => true,
            Fault::Refusing => false,
            _ => !self.entries().contains_key(key),
        };
        if free {
            self.put(key, value, ttl);
        }
        let free = free && self.0.fault.get() != Fault::Denying;
        if self.0.fault.get() == Fault::Mute {
            std::future::pending::<()>().await;
        }
        Ok(free)
    }

    async fn delete(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        self.operate_on().await?;
        self.0.entries.borrow_mut().retain(|name, (held, _)| name != key || held != value);
        Ok(())
    }

    fn changed(&self) -> impl Future<Output = ()> {
        let before = self.0.changes.get();
        poll_fn(move |context| {
            if self.0.reports_changes.get() && self.0.changes.get() != before {
                return Poll::Ready(());
            }
            self.0.watchers.borrow_mut().push(context.waker().clone());
            Poll::Pending
        })
    }
}
