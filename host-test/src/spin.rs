//! What Spin is to a component: key-value stores by label, in which nothing ends, and variables; and the [`app`]
//! that a manifest describes.

pub mod app;
mod lease;
mod redis;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use wasmtime::component::{Accessor, ComponentType, Linker, Lower, Resource, ResourceTable, ResourceType};

/// What Spin lends to one component of an application; its instances have clones.
#[derive(Clone, Default)]
pub struct Spin {
    stores: Arc<Mutex<Stores>>,
    lent: Arc<Mutex<Lent>>,
}

/// The key-value stores of an application.
#[derive(Default)]
struct Stores {
    by_label: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
    /// What another, who saw nothing there either, writes over the next value that is put.
    other: Option<Vec<u8>>,
}

/// What the manifest gives to the component.
#[derive(Default)]
struct Lent {
    stores: BTreeSet<String>,
    variables: BTreeMap<String, String>,
    /// The URL of the Redis that it may reach.
    redis: Option<String>,
    /// The name of the variable whose provider is down.
    broken: Option<String>,
    asked_for: Vec<String>,
}

impl Spin {
    /// What it lends to another component of the same application: nothing yet, of the same stores.
    pub fn beside(&self) -> Self {
        Self { stores: Arc::clone(&self.stores), lent: Arc::default() }
    }

    /// The component may open this store.
    pub fn with_store(self, label: &str) -> Self {
        self.stores().by_label.entry(label.to_owned()).or_default();
        self.lent().stores.insert(label.to_owned());
        self
    }

    /// The component has this variable.
    pub fn with_variable(self, name: &str, value: &str) -> Self {
        self.lent().variables.insert(name.to_owned(), value.to_owned());
        self
    }

    /// The component may reach this Redis.
    pub fn with_redis(self, url: &str) -> Self {
        self.lent().redis = Some(url.to_owned());
        self
    }

    /// The provider of this variable is down.
    pub fn with_broken_variable(self, name: &str) -> Self {
        self.lent().broken = Some(name.to_owned());
        self
    }

    /// The variables that were asked for.
    pub fn asked_for(&self) -> Vec<String> {
        self.lent().asked_for.clone()
    }

    /// What is in a store: nothing, if there is none.
    pub fn entries(&self, label: &str) -> BTreeMap<String, Vec<u8>> {
        self.stores().by_label.get(label).cloned().unwrap_or_default()
    }

    /// Another writes this over everything that a store has.
    pub fn write_over(&self, label: &str, value: &[u8]) {
        let mut stores = self.stores();
        let there = stores.by_label.entry(label.to_owned()).or_default();
        there.values_mut().for_each(|there| *there = value.to_vec());
    }

    /// Another, who saw nothing there either, writes this over the next value that is put.
    pub fn write_over_next(&self, value: &[u8]) {
        self.stores().other = Some(value.to_vec());
    }

    fn put(&self, label: String, key: String, value: Vec<u8>) {
        let mut stores = self.stores();
        stores.by_label.entry(label.clone()).or_default().insert(key.clone(), value);
        if let Some(other) = stores.other.take() {
            let this = self.clone();
            tokio::spawn(async move {
                tokio::time::sleep(OTHER_IS_LATER).await;
                this.put(label, key, other);
            });
        }
    }

    /// Nobody panics with the lock.
    fn stores(&self) -> MutexGuard<'_, Stores> {
        self.stores.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lent(&self) -> MutexGuard<'_, Lent> {
        self.lent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lent {
    fn variable(&mut self, name: String) -> Result<String, VariableError> {
        self.asked_for.push(name.clone());
        if self.broken.as_ref() == Some(&name) {
            return Err(VariableError::Provider("vault is sealed".to_owned()));
        }
        self.variables.get(&name).cloned().ok_or(VariableError::Undefined(name))
    }
}

/// What a linker's data has of Spin.
pub type View<T> = fn(&mut T) -> (Spin, &mut ResourceTable);

/// Give a linker Spin's interfaces, as far as they are used here.
///
/// # Errors
/// If the linker has them already.
pub fn add_to_linker<T: Send + 'static>(linker: &mut Linker<T>, view: View<T>) -> Result<()> {
    let mut variables = linker.instance("spin:variables/variables@3.0.0")?;
    variables.func_wrap_concurrent("get", move |accessor, (name,): (String,)| {
        let found = accessor.with(|mut access| view(access.data_mut()).0.lent().variable(name));
        Box::pin(later(move || Ok((found,))))
    })?;

    lease::add_to_linker(linker, view)?;
    redis::add_to_linker(linker, view)?;

    let mut key_value = linker.instance("spin:key-value/key-value@3.0.0")?;
    key_value.resource("store", ResourceType::host::<Label>(), move |mut access, rep| {
        view(access.data_mut()).1.delete(Resource::<Label>::new_own(rep))?;
        Ok(())
    })?;
    key_value.func_wrap_concurrent("[static]store.open", move |accessor, (label,): (String,)| {
        let opened = accessor.with(|mut access| open(view(access.data_mut()), label));
        Box::pin(later(move || Ok((opened?,))))
    })?;
    key_value.func_wrap_concurrent(
        "[method]store.get",
        move |accessor, (store, key): (Opened, String)| {
            let found = find(accessor, view, &store);
            Box::pin(later(move || {
                let (spin, label) = found?;
                Ok((checked(&key).map(|()| spin.entries(&label).remove(&key)),))
            }))
        },
    )?;
    key_value.func_wrap_concurrent(
        "[method]store.set",
        move |accessor, (store, key, value): (Opened, String, Vec<u8>)| {
            let found = find(accessor, view, &store);
            Box::pin(later(move || {
                let (spin, label) = found?;
                Ok((checked(&key).map(|()| spin.put(label, key, value)),))
            }))
        },
    )?;
    key_value.func_wrap_concurrent("[method]store.delete", move |accessor, (store, key): (Opened, String)| {
        let found = find(accessor, view, &store);
        Box::pin(later(move || {
            let (spin, label) = found?;
            Ok((checked(&key).map(|()| {
                spin.stores().by_label.entry(label).or_default().remove(&key);
            }),))
        }))
    })
}

fn open((spin, table): (Spin, &mut ResourceTable), label: String) -> Result<Result<Opened, Error>> {
    if !spin.lent().stores.contains(&label) {
        return Ok(Err(Error::AccessDenied));
    }
    Ok(Ok(table.push(Label(label))?))
}

fn find<T>(accessor: &Accessor<T>, view: View<T>, store: &Opened) -> Result<(Spin, String)> {
    accessor.with(|mut access| {
        let (spin, table) = view(access.data_mut());
        Ok((spin, table.get(store)?.0.clone()))
    })
}

/// Spin's limit of a key.
fn checked(key: &str) -> Result<(), Error> {
    match (1..=LONGEST_KEY).contains(&key.len()) {
        true => Ok(()),
        false => Err(Error::Other(format!("a key of {} bytes; it may have {LONGEST_KEY}", key.len()))),
    }
}

/// Not at once, so that what instances do can come in between each other.
async fn later<T>(operation: impl FnOnce() -> T) -> T {
    tokio::task::yield_now().await;
    operation()
}

/// An open store.
struct Label(String);

type Opened = Resource<Label>;
/// A host function ends so.
type Result<T, E = wasmtime::Error> = std::result::Result<T, E>;

#[derive(ComponentType, Lower)]
#[component(variant)]
#[allow(dead_code, reason = "the cases of the interface")]
enum Error {
    #[component(name = "store-table-full")]
    StoreTableFull,
    #[component(name = "no-such-store")]
    NoSuchStore,
    #[component(name = "access-denied")]
    AccessDenied,
    #[component(name = "other")]
    Other(String),
}

#[derive(ComponentType, Lower)]
#[component(variant)]
#[allow(dead_code, reason = "the cases of the interface")]
enum VariableError {
    #[component(name = "invalid-name")]
    InvalidName(String),
    #[component(name = "undefined")]
    Undefined(String),
    #[component(name = "provider")]
    Provider(String),
    #[component(name = "other")]
    Other(String),
}

const LONGEST_KEY: usize = 256;
const OTHER_IS_LATER: Duration = Duration::from_millis(5);
