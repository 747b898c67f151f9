//! The subject of the cases: a component, or the filter for Envoy.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use super::broker::{AccessToken, Component, Outcome, SourceReport, Statistics};
use super::case::{Ask, Case, Step, StoreChange, StoreCondition};
use super::filter::{FailsFrom, Filter};
use super::world::World;

/// An artefact under test.
pub struct Subject(pub(super) Kind);

pub(super) enum Kind {
    Component(Box<Component>),
    Filter(Box<Filter>),
}

impl Subject {
    /// The broker or the filter in a file.
    ///
    /// # Errors
    /// If the file is neither.
    pub fn load(path: &Path) -> Result<Self> {
        let bytes = fs::read(path)
            .with_context(|| format!("cannot read {}; `cargo xtask build` makes it", path.display()))?;
        Ok(Self(match bytes.starts_with(MODULE) {
            true => Kind::Filter(Box::new(Filter::load(path)?)),
            false => Kind::Component(Box::new(Component::load(path)?)),
        }))
    }

    /// The names of the host functions that the filter imports; none of a component.
    pub fn functions(&self) -> Vec<String> {
        match &self.0 {
            Kind::Component(_) => Vec::new(),
            Kind::Filter(filter) => filter.functions(),
        }
    }

    /// The filter in a proxy with one function that does nothing and returns a status.
    ///
    /// # Errors
    /// If the subject is not the filter, or imports no such function.
    pub fn with_failing(&self, function: &str, status: i32, since: FailsFrom) -> Result<Self> {
        let Kind::Filter(filter) = &self.0 else { bail!("only a filter has a proxy") };
        Ok(Self(Kind::Filter(Box::new(filter.with_failing(function, status, since)?))))
    }

    /// The reason why it cannot play a case.
    pub(super) fn cannot_play(&self, case: &Case) -> Option<&'static str> {
        match &self.0 {
            Kind::Component(component) => component.cannot_play(case),
            Kind::Filter(filter) => filter.cannot_play(case),
        }
    }
}

/// A subject that is instantiated for each case, and at each restart in it.
pub(super) trait Instantiate {
    type Instance: Instance;

    async fn instantiate(&self, case: &Case, world: &World) -> Result<Self::Instance>;
}

/// A running instance.
pub(super) trait Instance {
    /// The part of a step that this kind of instance can play and show.
    fn playable(&self, step: &Step) -> Step {
        step.clone()
    }

    /// The environment has changed.
    fn set_env(&mut self, world: &World) -> Result<()>;

    /// Make the calls of an ask, and wait for everything that they started.
    async fn ask(&mut self, ask: &Ask) -> Result<Vec<Outcome>>;

    async fn peek(&mut self, scope: &str) -> Result<Option<AccessToken>>;

    async fn forget(&mut self, scope: &str) -> Result<()>;

    async fn stats(&mut self) -> Result<Statistics>;

    async fn explain(&mut self) -> Result<Vec<SourceReport>>;

    /// Set the condition of the store and change its content, where the world does not hold it.
    fn change_store(&mut self, _condition: Option<StoreCondition>, _change: Option<StoreChange>) {}

    /// Its log, where the world does not hold it.
    fn log(&self) -> String {
        String::new()
    }
}

/// The magic number of wasm, and the version and the layer of modules.
const MODULE: &[u8] = b"\0asm\x01\0\0\0";
