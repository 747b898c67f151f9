//! Short-lived consumer components, each in a store of its own.

use host_test::hosts::artefact;
use host_test::wasi::{DefaultHooks, State};
use token_broker_host::{Broker, Policy, engine_config};
use wasmtime::component::{Component, ComponentNamedList, InstancePre, Lift, Linker, Lower, TypedFunc};
use wasmtime::{Engine, Store};
use wasmtime_wasi::WasiCtx;

/// What makes consumers behind one linker.
pub(crate) struct Consumers(InstancePre<State>);

impl Consumers {
    /// Consumers on an engine of their own, whose tokens come from this broker as far as the policy goes.
    pub(crate) fn new(broker: &Broker, policy: Policy) -> Self {
        let engine = Engine::new(&engine_config()).unwrap();
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).unwrap();
        broker.add_to_linker(&mut linker, policy).unwrap();
        let component = Component::from_file(&engine, artefact("consumer.wasm").unwrap()).unwrap();
        Self(linker.instantiate_pre(&component).unwrap())
    }

    pub(crate) async fn fresh(&self) -> Consumer {
        let mut store = Store::new(self.0.engine(), state());
        let instance = self.0.instantiate_async(&mut store).await.unwrap();
        Consumer { store, instance }
    }
}

/// An instance of `host-test/consumer`.
pub(crate) struct Consumer {
    store: Store<State>,
    instance: wasmtime::component::Instance,
}

impl Consumer {
    pub(crate) async fn get(&mut self, scope: &str) -> Result<u64, String> {
        self.call::<_, (Result<u64, String>,)>("get", (scope,)).await.0
    }

    pub(crate) async fn get_concurrent(&mut self, scope: &str, n: u32) -> Result<u32, String> {
        self.call::<_, (Result<u32, String>,)>("get-concurrent", (scope, n)).await.0
    }

    pub(crate) async fn peek_many(&mut self, scope: &str, n: u32) -> u32 {
        self.call::<_, (u32,)>("peek-many", (scope, n)).await.0
    }

    /// The token of the user-assigned identity with this client id, else of the default identity.
    pub(crate) async fn request(&mut self, scope: &str, client_id: Option<&str>) -> Result<String, String> {
        self.call::<_, (Result<String, String>,)>("request", (scope, client_id)).await.0
    }

    pub(crate) async fn forget(&mut self, scope: &str) {
        self.call::<_, ()>("forget", (scope,)).await;
    }

    async fn call<P, R>(&mut self, name: &str, parameters: P) -> R
    where
        P: ComponentNamedList + Lower + Send + Sync,
        R: ComponentNamedList + Lift + Send + Sync + 'static,
    {
        let interface = self.instance.get_export_index(&mut self.store, None, INTERFACE).unwrap();
        let index = self.instance.get_export_index(&mut self.store, Some(&interface), name).unwrap();
        let function: TypedFunc<P, R> = self.instance.get_typed_func(&mut self.store, index).unwrap();
        function.call_async(&mut self.store, parameters).await.unwrap()
    }
}

/// What an operator's component sees, which is given diagnostics and nothing else of ours.
pub(crate) async fn look(broker: &Broker) -> Vec<String> {
    let engine = Engine::new(&engine_config()).unwrap();
    let mut linker = Linker::new(&engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker).unwrap();
    broker.add_diagnostics_to_linker(&mut linker).unwrap();
    let component = Component::from_file(&engine, artefact("operator.wasm").unwrap()).unwrap();
    let mut store = Store::new(&engine, state());
    let instance = linker.instantiate_async(&mut store, &component).await.unwrap();
    let interface = instance.get_export_index(&mut store, None, "token-broker:test/look").unwrap();
    let index = instance.get_export_index(&mut store, Some(&interface), "look").unwrap();
    let look: TypedFunc<(), (Vec<String>,)> = instance.get_typed_func(&mut store, index).unwrap();
    look.call_async(&mut store, ()).await.unwrap().0
}

fn state() -> State {
    State::new(WasiCtx::builder().build(), DefaultHooks, ())
}

const INTERFACE: &str = "token-broker:test/bench";
