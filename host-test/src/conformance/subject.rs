//! What cases are played to.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use super::broker::{AccessToken, Component, Outcome, SourceReport, Statistics};
use super::case::{Ask, Case, Happens, Stands, Step};
use super::filter::{Filter, Since};
use super::world::World;

/// Something that has been built and does what cases say
pub struct Subject(Kind);

pub(super) enum Kind {
    Component(Box<Component>),
    Filter(Box<Filter>),
}

impl Subject {
    /// The broker or the filter in a file.
    ///
    /// # Errors
    /// If it is neither.
    pub fn load(path: &Path) -> Result<Self> {
        let bytes = fs::read(path)
            .with_context(|| format!("cannot read {}; `cargo xtask build` makes it", path.display()))?;
        Ok(Self(match bytes.starts_with(MODULE) {
            true => Kind::Filter(Box::new(Filter::load(path)?)),
            false => Kind::Component(Box::new(Component::load(path)?)),
        }))
    }

    /// The functions of its host that it calls by their names; only the filter's are known.
    pub fn functions(&self) -> Vec<String> {
        match &self.0 {
            Kind::Component(_) => Vec::new(),
            Kind::Filter(filter) => filter.functions(),
        }
    }

    /// The filter in a proxy of which one function does nothing and answers with a status.
    ///
    /// # Errors
    /// If it is no filter, or calls no such function.
    pub fn where_fails(&self, function: &str, status: i32, since: Since) -> Result<Self> {
        match &self.0 {
            Kind::Component(_) => bail!("only a filter has a proxy"),
            Kind::Filter(filter) => {
                Ok(Self(Kind::Filter(Box::new(filter.where_fails(function, status, since)?))))
            }
        }
    }

    /// Why a case cannot be played to it, if it cannot.
    pub(super) fn cannot_play(&self, case: &Case) -> Option<&'static str> {
        match &self.0 {
            Kind::Component(component) => component.lacks(case),
            Kind::Filter(filter) => filter.cannot_play(case),
        }
    }

    pub(super) fn kind(&self) -> &Kind {
        &self.0
    }
}

/// What begins anew for each case, and within one when it says so
pub(super) trait Playable {
    type Instance: Instance;

    /// # Errors
    /// Why it cannot begin in this world.
    async fn instantiate(&self, case: &Case, world: &World) -> Result<Self::Instance>;
}

/// One that runs
pub(super) trait Instance {
    /// What of a step can be done with it and seen of it.
    fn visible(&self, step: &Step) -> Step {
        step.clone()
    }

    /// The surroundings have changed.
    fn see(&mut self, world: &World) -> Result<()>;

    /// Ask as often and as concurrently as a case says, and let everything that this set off come to its end.
    async fn ask(&mut self, ask: &Ask) -> Result<Vec<Outcome>>;

    async fn peek(&mut self, scope: &str) -> Result<Option<AccessToken>>;

    async fn forget(&mut self, scope: &str) -> Result<()>;

    async fn stats(&mut self) -> Result<Statistics>;

    async fn explain(&mut self) -> Result<Vec<SourceReport>>;

    /// How the store is from now on, and what happens to all that it holds, where that is not in the world.
    fn shared(&mut self, _stands: Option<Stands>, _happens: Option<Happens>) {}

    /// What it logged, where that is not in the world's log.
    fn log(&self) -> String {
        String::new()
    }
}

/// The magic number of wasm, and the version and the layer of modules.
const MODULE: &[u8] = b"\0asm\x01\0\0\0";
