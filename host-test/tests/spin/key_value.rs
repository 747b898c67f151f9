//! What Spin is to a component: key-value stores by label, in which nothing ends, and variables.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use wasmtime::component::{Accessor, ComponentType, Linker, Lower, Resource, ResourceTable, ResourceType};

/// The memory of one Spin application; its instances have clones.
#[derive(Clone, Default)]
pub(crate) struct Spin(Arc<Mutex<Memory>>);

#[derive(Default)]
struct Memory {
    /// The stores that the manifest gives to the component.
    stores: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
    variables: BTreeMap<String, String>,
    /// The name of the variable whose provider is down.
    broken: Option<String>,
    asked_for: Vec<String>,
    /// What another, who saw nothing there either, writes over the next value that is put.
    other: Option<Vec<u8>>,
}

impl Spin {
    pub(crate) fn with_store(self, label: &str) -> Self {
        self.memory().stores.entry(label.to_owned()).or_default();
        self
    }

    pub(crate) fn with_variable(self, name: &str, value: &str) -> Self {
        self.memory().variables.insert(name.to_owned(), value.to_owned());
        self
    }

    pub(crate) fn with_broken_variable(self, name: &str) -> Self {
        self.memory().broken = Some(name.to_owned());
        self
    }

    /// The variables that were asked for.
    pub(crate) fn asked_for(&self) -> Vec<String> {
        self.memory().asked_for.clone()
    }

    pub(crate) fn entries(&self, label: &str) -> BTreeMap<String, Vec<u8>> {
        self.memory().stores[label].clone()
    }

    /// Another writes this over everything that a store has.
    pub(crate) fn write_over(&self, label: &str, value: &[u8]) {
        self.memory().stores.get_mut(label).unwrap().values_mut().for_each(|there| *there = value.to_vec());
    }

    /// Another, who saw nothing there either, writes this over the next value that is put.
    pub(crate) fn write_over_next(&self, value: &[u8]) {
        self.memory().other = Some(value.to_vec());
    }

    fn put(&self, label: String, key: String, value: Vec<u8>) {
        let mut memory = self.memory();
        memory.stores.get_mut(&label).unwrap().insert(key.clone(), value);
        if let Some(other) = memory.other.take() {
            let this = self.clone();
            tokio::spawn(async move {
                tokio::time::sleep(OTHER_IS_LATER).await;
                this.put(label, key, other);
            });
        }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap()
    }
}

impl Memory {
    fn variable(&mut self, name: String) -> Result<String, VariableError> {
        self.asked_for.push(name.clone());
        if self.broken.as_ref() == Some(&name) {
            return Err(VariableError::Provider("vault is sealed".to_owned()));
        }
        self.variables.get(&name).cloned().ok_or(VariableError::Undefined(name))
    }
}

/// What a linker's data has of Spin.
type View<T> = fn(&mut T) -> (Spin, &mut ResourceTable);

/// Give a linker Spin's interfaces, as far as the adapter uses them.
pub(crate) fn add_to_linker<T: Send + 'static>(linker: &mut Linker<T>, view: View<T>) -> Result<()> {
    let mut variables = linker.instance("spin:variables/variables@3.0.0")?;
    variables.func_wrap_concurrent("get", move |accessor, (name,): (String,)| {
        let found = accessor.with(|mut access| view(access.data_mut()).0.memory().variable(name));
        Box::pin(later(move || Ok((found,))))
    })?;

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
                let value = spin.memory().stores[&label].get(&key).cloned();
                Ok((Ok::<_, Error>(value),))
            }))
        },
    )?;
    key_value.func_wrap_concurrent(
        "[method]store.set",
        move |accessor, (store, key, value): (Opened, String, Vec<u8>)| {
            let found = find(accessor, view, &store);
            Box::pin(later(move || {
                let (spin, label) = found?;
                spin.put(label, key, value);
                Ok((Ok::<_, Error>(()),))
            }))
        },
    )?;
    key_value.func_wrap_concurrent("[method]store.delete", move |accessor, (store, key): (Opened, String)| {
        let found = find(accessor, view, &store);
        Box::pin(later(move || {
            let (spin, label) = found?;
            spin.memory().stores.get_mut(&label).unwrap().remove(&key);
            Ok((Ok::<_, Error>(()),))
        }))
    })
}

fn open((spin, table): (Spin, &mut ResourceTable), label: String) -> Result<Result<Opened, Error>> {
    if !spin.memory().stores.contains_key(&label) {
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

/// Not at once, so that what instances do can come in between each other.
async fn later<T>(operation: impl FnOnce() -> T) -> T {
    tokio::task::yield_now().await;
    operation()
}

/// An open store.
struct Label(String);

type Opened = Resource<Label>;
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

const OTHER_IS_LATER: Duration = Duration::from_millis(5);
