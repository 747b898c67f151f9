//! What is shipped, how it comes about, and what is true of it.

mod compose;
mod contract;
#[cfg(test)]
pub(crate) mod fixture;
mod imports;
mod strip;
mod table;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::setup::{Target, Toolchain};
use crate::{process, repo, say};

pub(crate) use compose::{plug, wire};
pub(crate) use imports::{exported as exports, names as imports};
pub(crate) use table::{ARTEFACTS, GUESTS, MODULE};

/// A file of `target/components/`
pub(crate) struct Artefact {
    name: &'static str,
    socket: Part,
    /// What has its exports plugged into the imports of the socket
    plugs: &'static [Part],
    /// The world of `wit/` whose exports other components import from it
    world: Option<&'static str>,
    /// In bytes
    limit: Option<usize>,
    /// What it is to somebody who finds it in a registry, if it is shipped
    about: Option<&'static str>,
}

/// A component that an artefact is made of
enum Part {
    /// A package of the workspace
    Guest(&'static str),
    /// A package that is for hosts without components
    Module(&'static str),
    /// An artefact that is made before
    Made(&'static str),
}

/// Something that must be true of an artefact, and whether it is
pub(crate) struct Check {
    pub(crate) name: String,
    pub(crate) outcome: Result<()>,
}

impl Artefact {
    /// Build it after the ones it is made of; its size in bytes
    pub(crate) fn build(&self, toolchain: &Toolchain) -> Result<usize> {
        let mut component = self.socket.component(toolchain)?;
        if !self.plugs.is_empty() {
            let plugs =
                self.plugs.iter().map(|plug| plug.component(toolchain)).collect::<Result<Vec<_>>>()?;
            component = plug(&component, &plugs).with_context(|| self.file())?;
        }
        process::write_if_changed(&path(self.name), &component)?;
        Ok(component.len())
    }

    pub(crate) fn file(&self) -> String {
        format!("{}.wasm", self.name)
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn about(&self) -> Option<&'static str> {
        self.about
    }

    /// The packages of the workspace that are in it
    pub(crate) fn packages(&self) -> BTreeSet<&'static str> {
        let parts = std::iter::once(&self.socket).chain(self.plugs);
        parts.flat_map(|part| part.packages()).collect()
    }

    pub(crate) fn target(&self) -> Target {
        match self.socket {
            Part::Module(_) => Target::Module,
            Part::Guest(_) | Part::Made(_) => Target::Component,
        }
    }

    pub(crate) fn read(&self) -> Result<Vec<u8>> {
        fs::read(path(self.name))
            .with_context(|| format!("cannot read {}; run cargo xtask build", self.file()))
    }

    fn import_list(&self, toolchain: &Toolchain) -> PathBuf {
        toolchain.import_lists().join(self.name).with_extension("txt")
    }

    fn checks(&self, toolchain: &Toolchain) -> Vec<Check> {
        let list = self.import_list(toolchain);
        let check = |what: &str, outcome| Check { name: format!("{} {what}", self.file()), outcome };
        let mut checks =
            vec![check("imports what is agreed", self.read().and_then(|it| imports::check(&list, &it)))];
        if let Some(world) = self.world {
            let exports = self.read().and_then(|it| contract::check(&it, world));
            checks.push(check("exports the contract", exports));
        }
        if let Some(limit) = self.limit {
            checks.push(check("keeps its size", self.read().and_then(|it| check_size(it.len(), limit))));
        }
        checks
    }
}

impl Part {
    fn packages(&self) -> BTreeSet<&'static str> {
        match self {
            Self::Guest(package) | Self::Module(package) => BTreeSet::from([*package]),
            Self::Made(name) => {
                let made = ARTEFACTS.iter().filter(|artefact| artefact.name == *name);
                made.flat_map(Artefact::packages).collect()
            }
        }
    }

    fn component(&self, toolchain: &Toolchain) -> Result<Vec<u8>> {
        match self {
            Self::Guest(package) => compile(package, toolchain),
            Self::Module(package) => cargo(package, Target::Module, toolchain),
            Self::Made(name) => fs::read(path(name)).with_context(|| format!("cannot read {name}.wasm")),
        }
    }
}

/// Every check of every artefact
pub(crate) fn checks(toolchain: &Toolchain) -> Vec<Check> {
    ARTEFACTS.iter().flat_map(|artefact| artefact.checks(toolchain)).collect()
}

/// Write down what each artefact imports now
pub(crate) fn bless(toolchain: &Toolchain) -> Result<()> {
    ARTEFACTS
        .iter()
        .try_for_each(|artefact| imports::bless(&artefact.import_list(toolchain), &artefact.read()?))
}

fn compile(package: &str, toolchain: &Toolchain) -> Result<Vec<u8>> {
    strip::names(&cargo(package, Target::Component, toolchain)?)
}

/// Packages are built one at a time: together, their features unify, and with them their imports.
fn cargo(package: &str, target: Target, toolchain: &Toolchain) -> Result<Vec<u8>> {
    process::run(toolchain.cargo("build", target)?.args(["-p", package]))?;
    let output = toolchain.output(package, target);
    fs::read(&output).with_context(|| format!("cargo left no {}", output.display()))
}

fn check_size(bytes: usize, limit: usize) -> Result<()> {
    if bytes > limit {
        bail!("it weighs {}, and may weigh {}", say::size(bytes), say::size(limit));
    }
    Ok(())
}

fn path(name: &str) -> PathBuf {
    repo::target("components").join(format!("{name}.wasm"))
}
