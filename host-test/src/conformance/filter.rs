//! The filter for Envoy as a subject: a module in a thin proxy, whose clusters are the script of a case.
//!
//! What is asked for becomes a rule, and asking is a request that the rule is for. What the filter refuses at its
//! configuration, it has refused to whoever asks.

mod answer;
mod configuration;
mod instance;
mod passage;
mod proxy;
mod vm;

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use wasmtime::{Config, Engine, FuncType, InstancePre, Linker, Module, Store, Val};

use self::configuration::{cannot_play, rules_of};
use self::instance::Played;
use self::proxy::Proxy;
use super::case::Case;
use super::subject::Playable;
use super::world::World;

pub use self::passage::{Passage, Passed};

/// The filter, ready to be instantiated.
pub(crate) struct Filter {
    module: Module,
    linker: Linker<Proxy>,
    pre: InstancePre<Proxy>,
    failure: Option<HostFailure>,
}

/// A function of the proxy that does nothing and answers with a status.
#[derive(Clone)]
struct HostFailure {
    module: String,
    function: String,
    of: FuncType,
    status: i32,
    since: Since,
}

/// From when on a function of the proxy fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// From the first call on.
    Start,
    /// After the plugin has accepted its configuration.
    Configured,
}

impl Filter {
    /// Compile the module in a file.
    ///
    /// # Errors
    /// If there is none, or if it wants more of a proxy than this one has.
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

    /// The functions of the proxy that it calls.
    pub(crate) fn functions(&self) -> Vec<String> {
        self.module.imports().map(|import| import.name().to_owned()).collect()
    }

    /// The same in a proxy of which one function does nothing and answers with a status.
    ///
    /// # Errors
    /// If the filter calls no such function, or it has no status.
    pub(crate) fn where_fails(&self, function: &str, status: i32, since: Since) -> Result<Self> {
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
            if since == Since::Configured && !caller.data().is_configured {
                return works.call(&mut caller, arguments, results);
            }
            results.iter_mut().for_each(|result| *result = Val::I32(status));
            Ok(())
        })?;
        Ok(linker.instantiate(store, &self.module)?)
    }

    /// Why a case cannot be played to it, if it cannot.
    pub(crate) fn cannot_play(&self, case: &Case) -> Option<&'static str> {
        cannot_play(case)
    }
}

impl Playable for Filter {
    type Instance = Played;

    async fn instantiate(&self, case: &Case, world: &World) -> Result<Played> {
        Played::begin(self, rules_of(case), world, case.store)
    }
}
