//! `wasi:keyvalue` over the same stores, with what SQLite keeps of its compare-and-swap.

use wasmtime::component::{ComponentType, Lift, Linker, Lower, Resource, ResourceType};

use super::{Error, Label, Opened, Result, View};

/// A handle for a compare-and-swap.
#[derive(Clone)]
struct Cas {
    label: String,
    key: String,
    seen: Option<Vec<u8>>,
}

pub(super) fn add_to_linker<T: Send + 'static>(linker: &mut Linker<T>, view: View<T>) -> Result<()> {
    let mut store = linker.instance("wasi:keyvalue/store@0.2.0-draft2")?;
    store.resource("bucket", ResourceType::host::<Label>(), move |mut access, rep| {
        view(access.data_mut()).1.delete(Resource::<Label>::new_own(rep))?;
        Ok(())
    })?;
    store.func_wrap("open", move |mut access, (label,): (String,)| {
        let opened = super::open(view(access.data_mut()), label)?;
        Ok((opened.map_err(WasiError::from),))
    })?;
    store.func_wrap("[method]bucket.get", move |mut access, (bucket, key): (Opened, String)| {
        let (spin, table) = view(access.data_mut());
        let label = &table.get(&bucket)?.0;
        Ok((Ok::<_, WasiError>(spin.entries(label).remove(&key)),))
    })?;
    store.func_wrap(
        "[method]bucket.set",
        move |mut access, (bucket, key, value): (Opened, String, Vec<u8>)| {
            let (spin, table) = view(access.data_mut());
            spin.put(table.get(&bucket)?.0.clone(), key, value);
            Ok((Ok::<_, WasiError>(()),))
        },
    )?;

    let mut atomics = linker.instance("wasi:keyvalue/atomics@0.2.0-draft2")?;
    atomics.resource("cas", ResourceType::host::<Cas>(), move |mut access, rep| {
        view(access.data_mut()).1.delete(Resource::<Cas>::new_own(rep))?;
        Ok(())
    })?;
    atomics.func_wrap("[static]cas.new", move |mut access, (bucket, key): (Opened, String)| {
        let (_, table) = view(access.data_mut());
        let label = table.get(&bucket)?.0.clone();
        Ok((table.push(Cas { label, key, seen: None }).map_err(|full| WasiError::Other(full.to_string())),))
    })?;
    atomics.func_wrap("[method]cas.current", move |mut access, (cas,): (Resource<Cas>,)| {
        let (spin, table) = view(access.data_mut());
        let cas = table.get_mut(&cas)?;
        cas.seen = spin.entries(&cas.label).remove(&cas.key);
        Ok((Ok::<_, WasiError>(cas.seen.clone()),))
    })?;
    atomics.func_wrap("swap", move |mut access, (cas, value): (Resource<Cas>, Vec<u8>)| {
        let (spin, table) = view(access.data_mut());
        // The handle stays in the table, as in Spin.
        let Cas { label, key, seen } = table.get(&cas)?.clone();
        // An upsert, where no value was seen.
        let is_same = seen.is_none() || spin.entries(&label).remove(&key) == seen;
        if is_same {
            spin.put(label, key, value);
            return Ok((Ok(()),));
        }
        Ok((Err(CasError::CasFailed(table.push(Cas { label, key, seen: None })?)),))
    })
}

#[derive(ComponentType, Lift, Lower)]
#[component(variant)]
#[allow(dead_code, reason = "the cases of the interface")]
enum WasiError {
    #[component(name = "no-such-store")]
    NoSuchStore,
    #[component(name = "access-denied")]
    AccessDenied,
    #[component(name = "other")]
    Other(String),
}

impl From<Error> for WasiError {
    fn from(error: Error) -> Self {
        match error {
            Error::AccessDenied => Self::AccessDenied,
            Error::NoSuchStore | Error::StoreTableFull => Self::NoSuchStore,
            Error::Other(words) => Self::Other(words),
        }
    }
}

#[derive(ComponentType, Lower)]
#[component(variant)]
#[allow(dead_code, reason = "the cases of the interface")]
enum CasError {
    #[component(name = "store-error")]
    StoreError(WasiError),
    #[component(name = "cas-failed")]
    CasFailed(Resource<Cas>),
}
