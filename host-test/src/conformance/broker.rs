//! The component under test, compiled once and instantiated for every case.

use std::future::poll_fn;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow, bail};
use futures_util::future::join_all;
use wasmtime::component::{self, Accessor, ComponentNamedList, InstancePre, Lift, Linker, Lower, TypedFunc};
use wasmtime::{Config, Engine, Store};

use self::bindings::exports::token_broker::identity::types;
pub(crate) use self::bindings::exports::token_broker::identity::types::{
    AccessToken, Error, Failure, SourceReport, Statistics, Verdict,
};
use super::case::{Ask, Case, Identity};
use super::store;
use super::subject::{Instance, Instantiate};
use super::world::{State, World};

/// A broker component, ready to be instantiated, and the one for hosts that have a store.
pub(crate) struct Component {
    broker: Compiled,
    core: Option<Compiled>,
}

impl Component {
    /// Compile the component in a file, and the one with an open store for the same version of WASI beside it, if there
    /// is one.
    ///
    /// A component for WASI 0.2 gets a host without component-model async and without WASI 0.3.
    pub(crate) fn load(path: &Path) -> Result<Self> {
        let file = path.display();
        let bytes =
            std::fs::read(path).with_context(|| format!("cannot read the component {file}; {ADVICE}"))?;
        // An engine without async takes no component for WASI 0.3.
        let broker = Compiled::new(Wasi::P2, &bytes, false).or_else(|old| {
            let of_both =
                |new| format!("{file} is no token broker, of WASI 0.2: {old:#}; of WASI 0.3: {new:#}");
            Compiled::new(Wasi::P3, &bytes, false).map_err(|new| anyhow!("{}; {ADVICE}", of_both(new)))
        })?;
        let name = broker.wasi.core();
        let core = path.with_file_name(name);
        let core =
            core.exists().then(|| Compiled::new(broker.wasi, &std::fs::read(&core)?, true).context(name));
        Ok(Self { core: core.transpose()?, broker })
    }

    /// The reason why this component cannot play a case.
    pub(crate) fn cannot_play(&self, case: &Case) -> Option<&'static str> {
        match self.broker.wasi {
            Wasi::P2 if case.is_concurrent() => Some("calls at the same time"),
            Wasi::P2 | Wasi::P3 => None,
        }
    }
}

impl Instantiate for Component {
    type Instance = Broker;

    async fn instantiate(&self, _case: &Case, world: &World) -> Result<Broker> {
        let compiled = match world.store.is_some() {
            true => {
                let name = self.broker.wasi.core();
                self.core.as_ref().with_context(|| format!("there is no {name}; {ADVICE}"))?
            }
            false => &self.broker,
        };
        let mut store = Store::new(compiled.pre.engine(), world.state()?);
        let instance = compiled.pre.instantiate_async(&mut store).await?;
        let exports = Exports::of(&mut store, &instance, compiled.wasi)?;
        Ok(Broker { store, exports, wasi: compiled.wasi })
    }
}

/// The version of WASI that a component is built for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wasi {
    /// 0.2: calls run one after the other.
    P2,
    /// 0.3: calls run at the same time, and tasks outlive them.
    P3,
}

impl Wasi {
    fn credentials(self) -> &'static str {
        match self {
            Self::P2 => "token-broker:identity/credentials-sync@0.1.0",
            Self::P3 => "token-broker:identity/credentials@0.1.0",
        }
    }

    /// The component that plays the cases with a store.
    fn core(self) -> &'static str {
        match self {
            Self::P2 => "token-broker-sync-core.wasm",
            Self::P3 => "token-broker-core.wasm",
        }
    }
}

struct Compiled {
    wasi: Wasi,
    pre: InstancePre<State>,
}

impl Compiled {
    fn new(wasi: Wasi, bytes: &[u8], with_store: bool) -> Result<Self> {
        let mut config = Config::new();
        if wasi == Wasi::P2 {
            config.wasm_component_model_async(false).concurrency_support(false);
        }
        let engine = Engine::new(&config)?;
        let component = component::Component::new(&engine, bytes)?;
        let credentials = wasi.credentials();
        component
            .get_export_index(None, credentials)
            .with_context(|| format!("it does not export {credentials}"))?;
        let pre = linker(&engine, wasi, with_store)?.instantiate_pre(&component)?;
        Ok(Self { wasi, pre })
    }
}

fn linker(engine: &Engine, wasi: Wasi, with_store: bool) -> Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    if wasi == Wasi::P3 {
        wasmtime_wasi::p3::add_to_linker(&mut linker)?;
        wasmtime_wasi_http::p3::add_to_linker(&mut linker)?;
    }
    match (with_store, wasi) {
        (false, _) => {}
        (true, Wasi::P2) => store::add_to_linker_sync(&mut linker)?,
        (true, Wasi::P3) => store::add_to_linker(&mut linker)?,
    }
    Ok(linker)
}

/// An instance, and the wasmtime store that it runs in.
pub(crate) struct Broker {
    store: Store<State>,
    exports: Exports,
    wasi: Wasi,
}

pub(crate) type Outcome = std::result::Result<AccessToken, Error>;

impl Instance for Broker {
    fn set_env(&mut self, world: &World) -> Result<()> {
        self.store.data_mut().wasi = world.wasi()?;
        Ok(())
    }

    async fn ask(&mut self, ask: &Ask) -> Result<Vec<Outcome>> {
        match self.wasi {
            Wasi::P2 => self.ask_in_turn(ask).await,
            Wasi::P3 => self.ask_at_once(ask).await,
        }
    }

    async fn peek(&mut self, scope: &str) -> Result<Option<AccessToken>> {
        Ok(self.exports.peek.call_async(&mut self.store, (scope.to_owned(),)).await?.0)
    }

    async fn forget(&mut self, scope: &str) -> Result<()> {
        Ok(self.exports.forget.call_async(&mut self.store, (scope.to_owned(),)).await?)
    }

    async fn stats(&mut self) -> Result<Statistics> {
        Ok(self.exports.stats.call_async(&mut self.store, ()).await?.0)
    }

    async fn explain(&mut self) -> Result<Vec<SourceReport>> {
        Ok(self.exports.explain.call_async(&mut self.store, ()).await?.0)
    }
}

impl Broker {
    async fn ask_in_turn(&mut self, ask: &Ask) -> Result<Vec<Outcome>> {
        let (exports, store) = (&self.exports, &mut self.store);
        let mut outcomes = Vec::new();
        for _ in 0..ask.times {
            let (outcome,) = match ask.only_scope() {
                Some(scope) => exports.get.call_async(&mut *store, (scope.to_owned(),)).await?,
                None => exports.request.call_async(&mut *store, (ask.request(),)).await?,
            };
            outcomes.push(outcome);
        }
        Ok(outcomes)
    }

    async fn ask_at_once(&mut self, ask: &Ask) -> Result<Vec<Outcome>> {
        let exports = &self.exports;
        self.store
            .run_concurrent(async |accessor| {
                let mut outcomes = Vec::new();
                for _ in 0..ask.times {
                    let at_once = (0..ask.concurrent).map(|_| call(exports, accessor, ask));
                    for outcome in join_all(at_once).await {
                        outcomes.push(outcome?);
                    }
                }
                settle(accessor).await?;
                Ok(outcomes)
            })
            .await?
    }
}

/// The functions of the contract. Their types are the same for calls that wait and calls that block.
struct Exports {
    peek: TypedFunc<(String,), (Option<AccessToken>,)>,
    get: TypedFunc<(String,), (Outcome,)>,
    request: TypedFunc<(types::TokenRequest,), (Outcome,)>,
    forget: TypedFunc<(String,), ()>,
    explain: TypedFunc<(), (Vec<SourceReport>,)>,
    stats: TypedFunc<(), (Statistics,)>,
}

impl Exports {
    fn of(store: &mut Store<State>, instance: &component::Instance, wasi: Wasi) -> Result<Self> {
        let credentials = wasi.credentials();
        Ok(Self {
            peek: function(store, instance, credentials, "peek-token")?,
            get: function(store, instance, credentials, "get-token")?,
            request: function(store, instance, credentials, "request-token")?,
            forget: function(store, instance, credentials, "forget-token")?,
            explain: function(store, instance, DIAGNOSTICS, "explain")?,
            stats: function(store, instance, DIAGNOSTICS, "stats")?,
        })
    }
}

fn function<P: ComponentNamedList + Lower, R: ComponentNamedList + Lift>(
    store: &mut Store<State>,
    instance: &component::Instance,
    interface: &str,
    name: &str,
) -> Result<TypedFunc<P, R>> {
    let exporting = instance.get_export_index(&mut *store, None, interface);
    let index = exporting.and_then(|it| instance.get_export_index(&mut *store, Some(&it), name));
    let index = index.with_context(|| format!("it exports no {name} of {interface}"))?;
    instance.get_typed_func(store, index).map_err(anyhow::Error::from).context(name.to_owned())
}

async fn call(exports: &Exports, accessor: &Accessor<State>, ask: &Ask) -> wasmtime::Result<Outcome> {
    let (outcome,) = match ask.only_scope() {
        Some(scope) => exports.get.call_concurrent(accessor, (scope.to_owned(),)).await?,
        None => exports.request.call_concurrent(accessor, (ask.request(),)).await?,
    };
    Ok(outcome)
}

/// Wait until the component has no task left, such as a refresh that outlives its call.
async fn settle(accessor: &Accessor<State>) -> Result<()> {
    let settled = poll_fn(|context| accessor.poll_no_interesting_tasks(context));
    if tokio::time::timeout(LONGEST_STEP, settled).await.is_err() {
        bail!("the component is still busy an hour (of virtual time) after it answered");
    }
    Ok(())
}

impl Ask {
    /// The scope, if nothing else is asked for: `get-token` is enough then.
    fn only_scope(&self) -> Option<&str> {
        let asks_more = self.tenant_id.is_some()
            || self.claims.is_some()
            || self.enable_cae
            || self.user_assertion.is_some();
        match (self.scopes.as_slice(), &self.identity) {
            ([scope], Identity::Default) if !asks_more => Some(scope),
            _ => None,
        }
    }

    fn request(&self) -> types::TokenRequest {
        types::TokenRequest {
            scopes: self.scopes.clone(),
            identity: match self.identity.clone() {
                Identity::Default => types::Identity::Default,
                Identity::SystemAssigned => types::Identity::SystemAssigned,
                Identity::ClientId(id) => types::Identity::ClientId(id),
                Identity::ObjectId(id) => types::Identity::ObjectId(id),
                Identity::ResourceId(id) => types::Identity::ResourceId(id),
            },
            tenant_id: self.tenant_id.clone(),
            claims: self.claims.clone(),
            enable_cae: self.enable_cae,
            user_assertion: self.user_assertion.clone(),
        }
    }
}

const DIAGNOSTICS: &str = "token-broker:identity/diagnostics@0.1.0";
const ADVICE: &str = "`cargo xtask build` makes it";

/// Far beyond any budget of the component.
const LONGEST_STEP: std::time::Duration = std::time::Duration::from_secs(3600);

pub(crate) mod bindings {
    #![allow(missing_docs, unreachable_pub, unused_qualifications, clippy::use_self, reason = "generated")]

    wasmtime::component::bindgen!({ path: "../wit", world: "broker", exports: { default: async } });
}
