//! The contract's imports of the broker: `store` and `settings`.

use std::sync::Arc;
use std::time::Duration;

use token_broker::StoreError;
use wasmtime::component::Linker;

use crate::contract::wire::WireStoreError;
use crate::environment::is_of_host;
use crate::environment::settings::Settings;
use crate::guest::state::State;
use crate::store::{MAX_VALUE, Store};

pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    add_store_to_linker(linker, |state| Arc::clone(&state.store))?;
    add_settings_to_linker(linker, |state| state.settings.clone())
}

/// Give `token-broker:identity/store` to the components of a linker: for compositions with `token-broker-core.wasm`,
/// which import it. `store` gets it from the data of the component's wasmtime store.
///
/// # Errors
/// The linker already has the interface.
pub fn add_store_to_linker<T: Send + 'static>(
    linker: &mut Linker<T>,
    store: impl Fn(&mut T) -> Arc<dyn Store> + Clone + Send + Sync + 'static,
) -> wasmtime::Result<()> {
    let mut instance = linker.instance("token-broker:identity/store@0.1.0")?;
    let of = store.clone();
    instance.func_wrap_concurrent("get", move |accessor, (key,): (String,)| {
        let store = accessor.with(|mut access| of(access.data_mut()));
        Box::pin(async move { Ok((bounded(store.get(&key).await).map_err(WireStoreError::from),)) })
    })?;
    let of = store.clone();
    instance.func_wrap_concurrent("set", move |accessor, (key, value, ttl): (String, Vec<u8>, u64)| {
        let store = accessor.with(|mut access| of(access.data_mut()));
        Box::pin(async move {
            Ok((store.set(&key, value, Duration::from_millis(ttl)).await.map_err(WireStoreError::from),))
        })
    })?;
    let of = store.clone();
    instance.func_wrap_concurrent("add", move |accessor, (key, value, ttl): (String, Vec<u8>, u64)| {
        let store = accessor.with(|mut access| of(access.data_mut()));
        Box::pin(async move {
            Ok((store.add(&key, value, Duration::from_millis(ttl)).await.map_err(WireStoreError::from),))
        })
    })?;
    instance.func_wrap_concurrent("delete", move |accessor, (key, value): (String, Vec<u8>)| {
        let store = accessor.with(|mut access| store(access.data_mut()));
        Box::pin(async move { Ok((store.delete(&key, &value).await.map_err(WireStoreError::from),)) })
    })
}

/// Refuses a longer value: no broker put it there, and it must not fill the memory of one.
fn bounded(value: Result<Option<Vec<u8>>, StoreError>) -> Result<Option<Vec<u8>>, StoreError> {
    match value {
        Ok(Some(value)) if value.len() > MAX_VALUE => Err(StoreError::Other(format!(
            "the store holds a value of {} bytes, and {MAX_VALUE} are allowed; fix: let brokers alone write to it",
            value.len()
        ))),
        value => value,
    }
}

/// Give `token-broker:identity/settings` to the components of a linker, as [`add_store_to_linker`] does with the store.
/// With `None`, every variable is unset.
///
/// # Errors
/// The linker already has the interface.
pub fn add_settings_to_linker<T: Send + 'static>(
    linker: &mut Linker<T>,
    settings: impl Fn(&mut T) -> Option<Arc<dyn Settings>> + Send + Sync + 'static,
) -> wasmtime::Result<()> {
    let mut instance = linker.instance("token-broker:identity/settings@0.1.0")?;
    instance.func_wrap_concurrent("get", move |accessor, (name,): (String,)| {
        let settings = accessor.with(|mut access| settings(access.data_mut()));
        Box::pin(async move {
            Ok((match settings {
                // Only this host says what it verifies.
                Some(settings) if !is_of_host(&name) => settings.get(&name).await,
                _ => Ok(None),
            },))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_no_broker_put_does_not_reach_one() {
        let of = |length| Ok(Some(vec![0; length]));
        assert_eq!(bounded(of(MAX_VALUE)), of(MAX_VALUE));
        assert!(matches!(bounded(of(MAX_VALUE + 1)), Err(StoreError::Other(why)) if why.contains("65537")));
    }
}
