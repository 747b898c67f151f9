//! The component under test, compiled once and instantiated for every case.

use std::future::poll_fn;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use futures_util::future::join_all;
use wasmtime::component::{Accessor, Linker};
use wasmtime::{Config, Engine, Store};

use self::bindings::exports::token_broker::identity::types;
pub(crate) use self::bindings::exports::token_broker::identity::types::{
    AccessToken, Error, Failure, SourceReport, Statistics, Verdict,
};
use super::case::{Ask, Case, Identity};
use super::store;
use super::subject::{Instance, Playable};
use super::world::{State, World};

/// A broker component, ready to be instantiated, and beside it the one for hosts that have a store.
pub(crate) struct Component {
    engine: Engine,
    pre: bindings::BrokerPre<State>,
    core: Option<bindings::BrokerPre<State>>,
}

impl Component {
    /// Compile the component in a file, and `token-broker-core.wasm` beside it if it is there.
    ///
    /// # Errors
    /// If there is none, or if it is not a broker that runs on WASI alone.
    pub(crate) fn load(path: &Path) -> Result<Self> {
        let engine = Engine::new(&Config::new())?;
        let core = path.with_file_name(CORE);
        let pre = compile(&engine, path, linker(&engine)?)?;
        let core = core.exists().then(|| compile(&engine, &core, lending_linker(&engine)?)).transpose()?;
        Ok(Self { engine, pre, core })
    }
}

impl Playable for Component {
    type Instance = Broker;

    async fn instantiate(&self, _case: &Case, world: &World) -> Result<Broker> {
        let pre = match world.lends() {
            true => self.core.as_ref().with_context(|| format!("there is no {CORE}; {ADVICE}"))?,
            false => &self.pre,
        };
        let mut store = Store::new(&self.engine, world.state()?);
        let broker = pre.instantiate_async(&mut store).await?;
        Ok(Broker { store, broker })
    }
}

fn compile(engine: &Engine, path: &Path, linker: Linker<State>) -> Result<bindings::BrokerPre<State>> {
    let file = path.display();
    let bytes = std::fs::read(path).with_context(|| format!("cannot read the component {file}; {ADVICE}"))?;
    let component = wasmtime::component::Component::new(engine, bytes)
        .map_err(anyhow::Error::from)
        .with_context(|| format!("{file} is not a component"))?;
    linker
        .instantiate_pre(&component)
        .and_then(bindings::BrokerPre::new)
        .map_err(anyhow::Error::from)
        .with_context(|| format!("{file} is not a token broker for WASI 0.3; {ADVICE}"))
}

fn lending_linker(engine: &Engine) -> Result<Linker<State>> {
    let mut linker = linker(engine)?;
    store::add_to_linker(&mut linker)?;
    Ok(linker)
}

fn linker(engine: &Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi::p3::add_to_linker(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p3::add_to_linker(&mut linker)?;
    Ok(linker)
}

/// One instance, and the store that it lives in.
pub(crate) struct Broker {
    store: Store<State>,
    broker: bindings::Broker,
}

pub(crate) type Outcome = std::result::Result<AccessToken, Error>;

impl Instance for Broker {
    fn see(&mut self, world: &World) -> Result<()> {
        self.store.data_mut().wasi = world.wasi()?;
        Ok(())
    }

    async fn ask(&mut self, ask: &Ask) -> Result<Vec<Outcome>> {
        let broker = &self.broker;
        self.store
            .run_concurrent(async |accessor| {
                let mut outcomes = Vec::new();
                for _ in 0..ask.times {
                    let at_once = (0..ask.concurrent).map(|_| call(broker, accessor, ask));
                    for outcome in join_all(at_once).await {
                        outcomes.push(outcome?);
                    }
                }
                settle(accessor).await?;
                Ok(outcomes)
            })
            .await?
    }

    async fn peek(&mut self, scope: &str) -> Result<Option<AccessToken>> {
        let credentials = self.broker.token_broker_identity_credentials();
        Ok(credentials.call_peek_token(&mut self.store, scope).await?)
    }

    async fn forget(&mut self, scope: &str) -> Result<()> {
        let credentials = self.broker.token_broker_identity_credentials();
        Ok(credentials.call_forget_token(&mut self.store, scope).await?)
    }

    async fn stats(&mut self) -> Result<Statistics> {
        let diagnostics = self.broker.token_broker_identity_diagnostics();
        Ok(diagnostics.call_stats(&mut self.store).await?)
    }

    async fn explain(&mut self) -> Result<Vec<SourceReport>> {
        let diagnostics = self.broker.token_broker_identity_diagnostics();
        Ok(diagnostics.call_explain(&mut self.store).await?)
    }
}

async fn call(broker: &bindings::Broker, accessor: &Accessor<State>, ask: &Ask) -> wasmtime::Result<Outcome> {
    let credentials = broker.token_broker_identity_credentials();
    match ask.only_scope() {
        Some(scope) => credentials.call_get_token(accessor, scope.to_owned()).await,
        None => credentials.call_request_token(accessor, ask.request()).await,
    }
}

/// Wait until no task of the component is left, a refresh that outlives its call for one.
async fn settle(accessor: &Accessor<State>) -> Result<()> {
    let settled = poll_fn(|context| accessor.poll_no_interesting_tasks(context));
    if tokio::time::timeout(LONGEST_STEP, settled).await.is_err() {
        bail!("the component still works an hour (of virtual time) after it answered");
    }
    Ok(())
}

impl Ask {
    /// The scope, if it is all that is asked for: then the short function of the contract serves.
    fn only_scope(&self) -> Option<&str> {
        match (self.scopes.as_slice(), &self.identity) {
            ([scope], Identity::Default)
                if self.tenant_id.is_none()
                    && self.claims.is_none()
                    && !self.enable_cae
                    && self.user_assertion.is_none() =>
            {
                Some(scope)
            }
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

/// What is played the cases that lend a store.
const CORE: &str = "token-broker-core.wasm";
const ADVICE: &str = "`cargo xtask build` makes it";

/// Far beyond any budget of the component.
const LONGEST_STEP: std::time::Duration = std::time::Duration::from_secs(3600);

pub(crate) mod bindings {
    #![allow(missing_docs, unreachable_pub, unused_qualifications, clippy::use_self, reason = "generated")]

    wasmtime::component::bindgen!({ path: "../wit", world: "broker", exports: { default: async } });
}
