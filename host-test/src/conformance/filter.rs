//! The filter for Envoy as a subject: a module in a thin proxy, whose clusters are the script of a case.
//!
//! What is asked for becomes a rule, and asking is a request that the rule is for. What the filter refuses at its
//! configuration, it has refused to whoever asks.

mod answer;
mod configuration;
mod instance;
mod proxy;

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use wasmtime::{Config, Engine, InstancePre, Linker, Module, Val};

use self::configuration::{cannot_play, rules_of};
use self::instance::Played;
use self::proxy::Proxy;
use super::case::Case;
use super::subject::Playable;
use super::world::World;

/// The filter, ready to be instantiated.
pub(crate) struct Filter {
    module: Module,
    linker: Linker<Proxy>,
    pre: InstancePre<Proxy>,
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
        Self::linked(&module, proxy::linker(&engine)?)
            .with_context(|| format!("{} is not the filter", path.display()))
    }

    fn linked(module: &Module, linker: Linker<Proxy>) -> Result<Self> {
        let pre = linker.instantiate_pre(module)?;
        Ok(Self { module: module.clone(), linker, pre })
    }

    /// The functions of the proxy that it calls.
    pub(crate) fn functions(&self) -> Vec<String> {
        self.module.imports().map(|import| import.name().to_owned()).collect()
    }

    /// The same in a proxy of which one function does nothing and answers with a status.
    ///
    /// # Errors
    /// If the filter calls no such function, or it has no status.
    pub(crate) fn where_fails(&self, function: &str, status: i32) -> Result<Self> {
        let import =
            self.module.imports().find(|import| import.name() == function).context("no such function")?;
        let of = import.ty().func().context("not a function")?.clone();
        ensure!(of.results().len() == 1, "{function} has no status");
        let mut linker = self.linker.clone();
        linker.allow_shadowing(true);
        linker.func_new(import.module(), function, of, move |_, _, results| {
            results.iter_mut().for_each(|result| *result = Val::I32(status));
            Ok(())
        })?;
        Self::linked(&self.module, linker)
    }
}

impl Filter {
    /// Why a case cannot be played to it, if it cannot.
    pub(crate) fn cannot_play(&self, case: &Case) -> Option<&'static str> {
        cannot_play(case)
    }
}

impl Playable for Filter {
    type Instance = Played;

    async fn instantiate(&self, case: &Case, world: &World) -> Result<Played> {
        Played::begin(&self.pre, rules_of(case), world, case.store)
    }
}
