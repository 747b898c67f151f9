//! Spin 3.6 as SpinKube embeds it, to one component: variables, key-value stores as their backends really keep the
//! compare-and-swap of `wasi:keyvalue`, and Redis. An instance serves one request, on WASI 0.2.

#[allow(unreachable_pub, reason = "the bindings re-export the resources")]
mod key_value;
#[allow(unreachable_pub, reason = "the bindings re-export the resource")]
mod redis;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use mock_identity::{Endpoint, Mock};
use token_broker_host::Egress;
use wasmtime::component::{Component, HasSelf, Linker};
use wasmtime::{Config, Engine};
use wasmtime_wasi::WasiCtx;
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;

use crate::hosts::artefact;
use crate::serve::{Reuse, Server};
use crate::wasi;

pub use key_value::{Backend, Condition};

/// An application of one component
#[derive(Clone)]
pub struct Spin3 {
    shared: Arc<Mutex<Shared>>,
    backend: Backend,
    labels: BTreeSet<String>,
    variables: BTreeMap<String, Result<String, String>>,
    hosts: Vec<String>,
    log: MemoryOutputPipe,
}

/// The content of the stores
#[derive(Default)]
struct Shared {
    entries: BTreeMap<(String, String), Entry>,
    condition: Condition,
    versions: u64,
    operations: u64,
    connections: u64,
    rival: Option<Vec<u8>>,
}

struct Entry {
    value: Vec<u8>,
    version: u64,
}

impl Spin3 {
    /// An application with a kind of key-value store, to which nothing is lent yet
    pub fn new(backend: Backend) -> Self {
        Self {
            shared: Arc::default(),
            backend,
            labels: BTreeSet::new(),
            variables: BTreeMap::new(),
            hosts: Vec::new(),
            log: MemoryOutputPipe::new(LOG_BYTES),
        }
    }

    /// The same stores, for another application to which nothing is lent yet
    pub fn beside(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), ..Self::new(self.backend) }
    }

    /// The component may open this store
    pub fn with_store(mut self, label: &str) -> Self {
        self.labels.insert(label.to_owned());
        self
    }

    /// The component has this variable
    pub fn with_variable(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), Ok(value.to_owned()));
        self
    }

    /// The provider of this variable fails with this reason
    pub fn with_broken_variable(mut self, name: &str, why: &str) -> Self {
        self.variables.insert(name.to_owned(), Err(why.to_owned()));
        self
    }

    /// The component may reach this address, of HTTP or Redis
    pub fn with_host(mut self, host: &str) -> Self {
        self.hosts.push(host.to_owned());
        self
    }

    /// A mock is its identity endpoint
    pub fn with_imds(self, mock: &Mock) -> Self {
        let variables = mock.env(Endpoint::Imds).into_iter();
        let lent =
            variables.fold(self, |spin, (name, value)| spin.with_variable(&name.to_lowercase(), &value));
        lent.with_host(mock.url())
    }

    /// Serve the example for SpinKube, a fresh instance for each request
    ///
    /// # Errors
    /// If the component is not built, or imports an interface that Spin 3.6 does not have.
    pub async fn serve(&self) -> Result<Server> {
        let component = Component::from_file(&ENGINE, artefact("spinkube-composed.wasm")?)?;
        let http = self.hosts.iter().filter(|host| host.starts_with("http")).cloned();
        let (spin, egress) = (self.clone(), Egress::to(http)?);
        let state = move || {
            let mut wasi = WasiCtx::builder();
            wasi.stdout(spin.log.clone()).stderr(spin.log.clone());
            State::new(wasi.build(), egress.clone(), Instance { spin: spin.clone(), handles: 0 })
        };
        Server::start(&linker()?, &component, Reuse::default(), state).await
    }

    /// The condition of the stores from now on
    pub fn set_condition(&self, condition: Condition) {
        self.shared().condition = condition;
    }

    /// Another instance, which saw no value either, writes this after the next swap of no value
    pub fn write_over_next(&self, value: &[u8]) {
        self.shared().rival = Some(value.to_vec());
    }

    /// Another program writes these bytes over every value
    pub fn write_over(&self, value: &[u8]) {
        self.shared().entries.values_mut().for_each(|entry| entry.value = value.to_vec());
    }

    /// The values in all stores
    pub fn values(&self) -> Vec<Vec<u8>> {
        self.shared().entries.values().map(|entry| entry.value.clone()).collect()
    }

    /// The number of operations of key-value stores, and of connections to Redis
    pub fn operations(&self) -> (u64, u64) {
        let shared = self.shared();
        (shared.operations, shared.connections)
    }

    /// The output of its instances
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&self.log.contents()).into_owned()
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The state of one instance
struct Instance {
    spin: Spin3,
    /// The handles for compare-and-swap that were ever given
    handles: usize,
}

type State = wasi::State<Instance, Egress>;

fn linker() -> Result<Linker<State>> {
    let mut linker = Linker::new(&ENGINE);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    bindings::Host_::add_to_linker::<_, HasSelf<_>>(&mut linker, |state| state)?;
    Ok(linker)
}

impl bindings::fermyon::spin::variables::Host for State {
    async fn get(&mut self, name: String) -> Result<String, bindings::fermyon::spin::variables::Error> {
        use bindings::fermyon::spin::variables::Error;
        match self.data.spin.variables.get(&name) {
            Some(value) => value.clone().map_err(Error::Provider),
            None => Err(Error::Undefined(name)),
        }
    }
}

static ENGINE: LazyLock<Engine> = LazyLock::new(|| {
    let mut config = Config::new();
    // As Spin 3.6 has it, without an interface that needs it.
    config.wasm_component_model_async(true);
    #[allow(clippy::expect_used, reason = "the same for all tests, and there is nobody to tell")]
    Engine::new(&config).expect("the engine's options fit together")
});
const LOG_BYTES: usize = 1 << 20;

mod bindings {
    #![allow(missing_docs, unreachable_pub, unused_qualifications, clippy::use_self, reason = "generated")]

    wasmtime::component::bindgen!({
        path: ["../components/adapter-spin3/wit/deps/spin", "../components/adapter-spin3/wit/deps/wasi-keyvalue"],
        inline: "
            package host-test:spin3;
            world host {
                import fermyon:spin/redis@2.0.0;
                import fermyon:spin/variables@2.0.0;
                import wasi:keyvalue/atomics@0.2.0-draft2;
                import wasi:keyvalue/store@0.2.0-draft2;
            }
        ",
        imports: { default: async },
        with: {
            "wasi:keyvalue/store.bucket": super::key_value::Label,
            "wasi:keyvalue/atomics.cas": super::key_value::Seen,
            "fermyon:spin/redis.connection": super::redis::Open,
        },
    });
}
