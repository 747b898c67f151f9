//! The filter for Envoy as a subject: a module in a thin proxy, whose clusters are the script of a case.
//!
//! What is asked for becomes a rule, and asking is a request that the rule is for. What the filter refuses at its
//! configuration, it has refused to whoever asks.

mod answer;
mod configuration;
mod instance;
mod proxy;

use std::path::Path;

use anyhow::{Context as _, Result};
use wasmtime::{Config, Engine, InstancePre, Module};

use self::configuration::{cannot_play, rules_of};
use self::instance::Played;
use self::proxy::Proxy;
use super::case::Case;
use super::subject::Playable;
use super::world::World;

/// The filter, ready to be instantiated.
pub(crate) struct Filter(InstancePre<Proxy>);

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
        let pre = linker.instantiate_pre(&module).map_err(anyhow::Error::from);
        Ok(Self(pre.with_context(|| format!("{} is not the filter", path.display()))?))
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
        Played::begin(&self.0, rules_of(case), world, case.store)
    }
}
