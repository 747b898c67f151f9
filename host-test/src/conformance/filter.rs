//! The filter for Envoy as a subject: a module in a minimal proxy, whose clusters are the script of a case.
//!
//! Each scope and identity that a case asks for becomes a rule, and a call becomes a request that the rule applies to.
//! A rule that the filter refuses at configuration is an error of every call for it.

mod configuration;
mod harness;
mod instance;
mod proxy;
mod upstream;
mod vm;

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use wasmtime::{Config, Engine, FuncType, InstancePre, Linker, Module, Store, Val};

use self::configuration::{cannot_play, rules_of};
use self::instance::FilterInstance;
use self::proxy::Proxy;
use super::case::Case;
use super::subject::Instantiate;
use super::world::World;

pub use self::harness::{FilterHarness, RequestState};

/// The filter, ready to be instantiated.
pub(crate) struct Filter {
    module: Module,
    linker: Linker<Proxy>,
    pre: InstancePre<Proxy>,
    failure: Option<HostFailure>,
}

/// A function of the proxy that does nothing and returns a status.
#[derive(Clone)]
struct HostFailure {
    module: String,
    function: String,
    of: FuncType,
    status: i32,
    since: FailsFrom,
}

/// The time from which a function of the proxy fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailsFrom {
    /// From the first call on.
    Start,
    /// After the plugin has accepted its configuration.
    Configured,
}

impl Filter {
    /// Compile the module in a file.
    pub(crate) fn load(path: &Path) -> Result<Self> {
        let engine = Engine::new(&Config::new())?;
        let module = Module::from_file(&engine, path).map_err(anyhow::Error::from);
        let module = module.with_context(|| format!("{} is not a module", path.display()))?;
        let linker = proxy::linker(&engine)?;
        let pre = linker.instantiate_pre(&module);
        let pre = pre.map_err(anyhow::Error::from);
        let pre = pre.with_context(|| format!("{} is not the filter", path.display()))?;
        Ok(Self { module, linker, pre, failure: None })
    }

    /// The names of the functions that the module imports.
    pub(crate) fn functions(&self) -> Vec<String> {
        self.module.imports().map(|import| import.name().to_owned()).collect()
    }

    /// The same in a proxy with one function that does nothing and returns a status.
    pub(crate) fn with_failing(&self, function: &str, status: i32, since: FailsFrom) -> Result<Self> {
        let import =
            self.module.imports().find(|import| import.name() == function).context("no such function")?;
        let of = import.ty().func().context("not a function")?.clone();
        ensure!(of.results().len() == 1, "{function} has no status");
        let (module, function) = (import.module().to_owned(), function.to_owned());
        Ok(Self {
            module: self.module.clone(),
            linker: self.linker.clone(),
            pre: self.pre.clone(),
            failure: Some(HostFailure { module, function, of, status, since }),
        })
    }

    fn engine(&self) -> &Engine {
        self.module.engine()
    }

    fn instantiate(&self, store: &mut Store<Proxy>) -> Result<wasmtime::Instance> {
        let Some(HostFailure { module, function, of, status, since }) = self.failure.clone() else {
            return Ok(self.pre.instantiate(store)?);
        };
        let mut linker = self.linker.clone();
        let works = linker.get(&mut *store, &module, &function)?.into_func().context("not a function")?;
        linker.allow_shadowing(true);
        linker.func_new(&module, &function, of, move |mut caller, arguments, results| {
            if since == FailsFrom::Configured && !caller.data().is_configured {
                return works.call(&mut caller, arguments, results);
            }
            results.iter_mut().for_each(|result| *result = Val::I32(status));
            Ok(())
        })?;
        Ok(linker.instantiate(store, &self.module)?)
    }

    /// The reason why the filter cannot play a case.
    pub(crate) fn cannot_play(&self, case: &Case) -> Option<&'static str> {
        cannot_play(case)
    }
}

impl Instantiate for Filter {
    type Instance = FilterInstance;

    async fn instantiate(&self, case: &Case, world: &World) -> Result<FilterInstance> {
        FilterInstance::begin(self, rules_of(case), world, case.store)
    }
}
