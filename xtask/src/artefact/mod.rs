//! What is shipped, how it comes about, and what is true of it.

mod compose;
mod contract;
#[cfg(test)]
mod fixture;
mod imports;
mod strip;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::setup::{Target, Toolchain};
use crate::{process, repo, say};

/// A file of `target/components/`
pub(crate) struct Artefact {
    name: &'static str,
    origin: Origin,
    /// Whether other components import the contract from it
    is_broker: bool,
    /// In bytes
    limit: Option<usize>,
}

enum Origin {
    /// A package of the workspace
    Guest(&'static str),
    /// A package that is for hosts without components
    Module(&'static str),
    /// One artefact, with the exports of a guest or of another artefact plugged into its imports
    Plugged { socket: &'static str, plug: Plug },
}

enum Plug {
    Guest(&'static str),
    Artefact(&'static str),
}

/// Something that must be true of an artefact, and whether it is
pub(crate) struct Check {
    pub(crate) name: String,
    pub(crate) outcome: Result<()>,
}

impl Artefact {
    /// Build it after the ones it is made of; its size in bytes
    pub(crate) fn build(&self, toolchain: &Toolchain) -> Result<usize> {
        let component = match &self.origin {
            Origin::Guest(package) => compile(package, toolchain)?,
            Origin::Module(package) => cargo(package, Target::Module, toolchain)?,
            Origin::Plugged { socket, plug } => {
                let socket = fs::read(path(socket)).with_context(|| format!("cannot read {socket}.wasm"))?;
                compose::plug(&socket, &plug.component(toolchain)?).with_context(|| self.file())?
            }
        };
        process::write_if_changed(&path(self.name), &component)?;
        Ok(component.len())
    }

    pub(crate) fn file(&self) -> String {
        format!("{}.wasm", self.name)
    }

    fn read(&self) -> Result<Vec<u8>> {
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
        if self.is_broker {
            checks.push(check("exports the contract", self.read().and_then(|it| contract::check(&it))));
        }
        if let Some(limit) = self.limit {
            checks.push(check("keeps its size", self.read().and_then(|it| check_size(it.len(), limit))));
        }
        checks
    }
}

impl Plug {
    fn component(&self, toolchain: &Toolchain) -> Result<Vec<u8>> {
        match self {
            Self::Guest(package) => compile(package, toolchain),
            Self::Artefact(name) => fs::read(path(name)).with_context(|| format!("cannot read {name}.wasm")),
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

/// The packages that are built for wasm alone
pub(crate) const GUESTS: [&str; 5] = ["adapter-none", "adapter-spin", "broker", "consumer", "key-vault"];

/// The package that is built for hosts without components
pub(crate) const MODULE: &str = "envoy-filter";

/// In the order in which they are made of each other
pub(crate) const ARTEFACTS: [Artefact; 7] = [
    Artefact { name: "token-broker-core", origin: Origin::Guest("broker"), is_broker: true, limit: None },
    Artefact {
        name: "token-broker",
        origin: Origin::Plugged { socket: "token-broker-core", plug: Plug::Guest("adapter-none") },
        is_broker: true,
        limit: Some(720_000),
    },
    Artefact {
        name: "token-broker-spin",
        origin: Origin::Plugged { socket: "token-broker-core", plug: Plug::Guest("adapter-spin") },
        is_broker: true,
        limit: Some(800_000),
    },
    Artefact { name: "token-filter", origin: Origin::Module(MODULE), is_broker: false, limit: Some(500_000) },
    Artefact { name: "key-vault", origin: Origin::Guest("key-vault"), is_broker: false, limit: None },
    Artefact { name: "consumer", origin: Origin::Guest("consumer"), is_broker: false, limit: None },
    Artefact {
        name: "consumer-composed",
        origin: Origin::Plugged { socket: "consumer", plug: Plug::Artefact("token-broker") },
        is_broker: false,
        limit: None,
    },
];
