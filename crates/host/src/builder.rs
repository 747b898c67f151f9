//! The builder of a broker.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;

use token_broker::variables::{ALLOWED_ENDPOINT, STORE_KEY};
use token_broker::{Identity, Settings as Variables};
use wasmtime::error::{bail, format_err};
use wasmtime::{Engine, Result};

use crate::broker::Broker;
use crate::component::cache::Cache;
use crate::component::{self, Source};
use crate::environment::Environment;
use crate::environment::settings::Settings;
use crate::guest::clock::{Clock, SystemClock};
use crate::guest::instance::Instance;
use crate::guest::prototype::{HostResources, Prototype};
use crate::guest::random::Random;
use crate::log::Log;
use crate::network::policy::{HttpPolicy, WithAllowedEndpoint};
use crate::network::proxy::Proxies;
use crate::network::tls::Tls;
use crate::network::trusted_roots::TrustedRoots;
use crate::store::{NoStore, Store};

/// Builds a [`Broker`] or an [`Instance`] from the resources that you lend to it. Apart from clock and randomness, a
/// broker gets nothing by default.
#[must_use]
#[derive(Default)]
pub struct Builder {
    engine: Option<Engine>,
    component: Source,
    cache: Option<Cache>,
    environment: Environment,
    http: Option<Arc<dyn HttpPolicy>>,
    proxies: Proxies,
    roots: TrustedRoots,
    store: Option<Arc<dyn Store>>,
    settings: Option<Arc<dyn Settings>>,
    clock: Option<Arc<dyn Clock>>,
    random: Option<Random>,
    log: Option<Log>,
    max_memory: Option<usize>,
}

impl Broker {
    /// A builder with the defaults.
    pub fn builder() -> Builder {
        Builder::default()
    }
}

impl Builder {
    /// A component to use instead of the one in this crate. It must have the same imports and exports.
    pub fn component_bytes(mut self, bytes: impl Into<Cow<'static, [u8]>>) -> Self {
        self.component = Source::Bytes(bytes.into());
        self
    }

    /// As [`Builder::component_bytes`], from a file; a `.cwasm` is precompiled.
    ///
    /// A precompiled component is native code, so its file must be writable by this user and root only.
    pub fn component_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.component = Source::File(path.into());
        self
    }

    /// Keep the precompiled component in a cache. Default: compile at every start.
    pub fn cache(mut self, cache: Cache) -> Self {
        self.cache = Some(cache);
        self
    }

    /// The engine. Its configuration must start from [`engine_config`](crate::engine_config). Default: a new engine.
    pub fn engine(mut self, engine: &Engine) -> Self {
        self.engine = Some(engine.clone());
        self
    }

    /// The broker's environment variables. Default: none.
    pub fn environment(mut self, environment: Environment) -> Self {
        self.environment = environment;
        self
    }

    /// The policy for the broker's HTTP requests. Default: [`DefaultHttpPolicy`](crate::DefaultHttpPolicy), and those
    /// to the endpoint that `TOKEN_BROKER_ALLOWED_ENDPOINT` names.
    pub fn http(mut self, policy: impl HttpPolicy) -> Self {
        self.http = Some(Arc::new(policy));
        self
    }

    /// The proxy for the broker's https requests, [`Proxies::inherit`] for example. Default: none, whatever the variables
    /// of the process are.
    pub fn proxies(mut self, proxies: Proxies) -> Self {
        self.proxies = proxies;
        self
    }

    /// Authorities to trust besides the public ones. Default: none.
    pub fn trusted_roots(mut self, roots: TrustedRoots) -> Self {
        self.roots.extend(roots);
        self
    }

    /// The store to share tokens through. Default: none. Needs `TOKEN_BROKER_STORE_KEY`.
    pub fn store(mut self, store: impl Store) -> Self {
        self.store = Some(Arc::new(store));
        self
    }

    /// The source of variables that are not in the environment. Default: none.
    ///
    /// Each new instance reads them. A file that a setting names is lent like one that the environment names.
    ///
    /// Service Fabric's three variables and those of AKS identity bindings (`AZURE_KUBERNETES_…`) must be in the
    /// environment: only servers named there have their certificates checked.
    pub fn settings(mut self, settings: impl Settings) -> Self {
        self.settings = Some(Arc::new(settings));
        self
    }

    /// The broker's clock. Default: [`SystemClock`].
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Some(Arc::new(clock));
        self
    }

    /// The source of random bytes. Default: a generator that the operating system seeds.
    pub fn random(mut self, fill: impl FnMut(&mut [u8]) + Send + 'static) -> Self {
        self.random = Some(Random::new(fill));
        self
    }

    /// The sink of log lines, JSON objects. Default: stderr.
    pub fn log(mut self, sink: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.log = Some(Log::new(sink));
        self
    }

    /// The limit of the linear memory of an instance, in bytes. Default: 64 MiB.
    pub fn max_memory(mut self, bytes: usize) -> Self {
        self.max_memory = Some(bytes);
        self
    }

    /// Start a shared broker on the current tokio runtime.
    ///
    /// # Errors
    /// The component cannot be loaded or instantiated, or the settings contradict each other.
    pub async fn build(self) -> Result<Broker> {
        let default_identity = self.default_identity().await?;
        let prototype = self.prototype().await?;
        let instance = Instance::new(&prototype).await?;
        Ok(Broker::start(prototype, instance, default_identity))
    }

    /// Make a single instance in a wasmtime store of its own.
    ///
    /// # Errors
    /// As [`Builder::build`].
    pub async fn instantiate(self) -> Result<Instance> {
        Instance::new(&self.prototype().await?).await
    }

    async fn prototype(self) -> Result<Prototype> {
        self.check_store_key().await?;
        let is_silent = self.variable(Variables::LOG).await?.as_deref() == Some("off");
        let engine = self.engine.clone().map_or_else(|| Engine::new(&component::engine_config()), Ok)?;
        let component = component::load(&engine, &self.component, self.cache.as_ref())?;
        let allowed = self.variable(ALLOWED_ENDPOINT).await?;
        let default_policy = WithAllowedEndpoint::new(allowed.as_deref());
        Prototype::new(&engine, &component, self.resources(is_silent, default_policy)?)
    }

    fn resources(self, is_silent: bool, default_policy: WithAllowedEndpoint) -> Result<HostResources> {
        let log = self.log.unwrap_or_else(Log::stderr);
        Ok(HostResources {
            proxies: self.proxies,
            tls: Arc::new(Tls::new(&self.environment, self.roots)?),
            environment: self.environment,
            clock: self.clock.unwrap_or_else(|| Arc::new(SystemClock::default())),
            random: self.random,
            http: self.http.unwrap_or_else(|| Arc::new(default_policy)),
            store: self.store.unwrap_or_else(|| Arc::new(NoStore)),
            settings: self.settings,
            log: if is_silent { log.without_events() } else { log },
            max_memory: self.max_memory.unwrap_or(MAX_MEMORY),
        })
    }

    /// The identity that the linkers' policies check for the default one. An unusable value fails each call later on.
    async fn default_identity(&self) -> Result<Identity> {
        let mut variables = Variables::default();
        for name in Variables::DEFAULT_IDENTITY {
            if let Some(value) = self.variable(name).await? {
                variables.set(name, value);
            }
        }
        Ok(variables.default_identity().unwrap_or_default())
    }

    async fn check_store_key(&self) -> Result<()> {
        if self.store.is_some() && self.variable(STORE_KEY).await?.is_none() {
            bail!(
                "the broker has a store, and {STORE_KEY} is not set; \
                 fix: make a key with `openssl rand -base64 32`, and set it for every broker that shares the store"
            );
        }
        Ok(())
    }

    async fn variable(&self, name: &str) -> Result<Option<String>> {
        if let Some(value) = self.environment.get(name) {
            return Ok(Some(value.to_owned()));
        }
        let Some(settings) = &self.settings else { return Ok(None) };
        let value = settings.get(name).await.map_err(|error| {
            format_err!(
                "the program's settings failed to look up {name}: {error}; fix: return its value, or none"
            )
        })?;
        Ok(value.filter(|value| !value.is_empty()))
    }
}

const MAX_MEMORY: usize = 64 * 1024 * 1024;
