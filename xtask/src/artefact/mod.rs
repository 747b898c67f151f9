//! The artefacts: the files of `target/components/`, how they are built, and their checks.

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

use crate::guest::{self, Target};
use crate::{process, repo, say};

pub(crate) use compose::{plug, wire};
pub(crate) use imports::{exported as exports, names as imports};
pub(crate) use table::{ARTEFACTS, GUESTS, MODULE};

/// A file of `target/components/`
pub(crate) struct Artefact {
    pub(crate) name: &'static str,
    socket: Part,
    /// The components whose exports satisfy imports of the socket
    plugs: &'static [Part],
    /// The world of `wit/` whose exports other components import from it
    world: Option<&'static str>,
    /// In bytes
    limit: Option<usize>,
    /// Its description in a registry, if it is shipped
    pub(crate) about: Option<&'static str>,
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

/// A property that an artefact must have, and whether it has it
pub(crate) struct Check {
    pub(crate) name: String,
    pub(crate) outcome: Result<()>,
}

impl Artefact {
    /// Build it, after the artefacts that it is made of; its size in bytes
    pub(crate) fn build(&self) -> Result<usize> {
        let mut component = self.socket.component()?;
        if !self.plugs.is_empty() {
            let plugs = self.plugs.iter().map(Part::component).collect::<Result<Vec<_>>>()?;
            component = plug(&component, &plugs).with_context(|| self.file())?;
        }
        process::write_if_changed(&path(self.name), &component)?;
        Ok(component.len())
    }

    pub(crate) fn file(&self) -> String {
        format!("{}.wasm", self.name)
    }

    /// The packages of the workspace that are in it
    pub(crate) fn packages(&self) -> BTreeSet<&'static str> {
        self.parts().flat_map(Part::packages).collect()
    }

    fn parts(&self) -> impl Iterator<Item = &Part> {
        std::iter::once(&self.socket).chain(self.plugs)
    }

    pub(crate) fn target(&self) -> Target {
        match self.socket {
            Part::Module(_) => Target::Module,
            Part::Guest(_) | Part::Made(_) => Target::Component,
        }
    }

    pub(crate) fn read(&self) -> Result<Vec<u8>> {
        fs::read(path(self.name))
            .with_context(|| format!("cannot read {}; fix: cargo xtask build", self.file()))
    }

    fn import_list(&self) -> PathBuf {
        repo::path("components/imports").join(self.name).with_extension("txt")
    }

    /// Write down its present imports as those that it may have
    pub(crate) fn bless(&self) -> Result<()> {
        imports::bless(&self.import_list(), &self.read()?)
    }

    /// Its imports, exports and size
    pub(crate) fn checks(&self) -> Vec<Check> {
        let list = self.import_list();
        let check = |what: &str, outcome| Check { name: format!("{} {what}", self.file()), outcome };
        let mut checks =
            vec![check("has the imports of its list", self.read().and_then(|it| imports::check(&list, &it)))];
        if let Some(world) = self.world {
            let exports = self.read().and_then(|it| contract::check(&it, world));
            checks.push(check("exports the contract", exports));
        }
        if let Some(limit) = self.limit {
            checks.push(check(
                "is within its size limit",
                self.read().and_then(|it| check_size(it.len(), limit)),
            ));
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

    fn made(&self) -> Option<&str> {
        match self {
            Self::Made(name) => Some(name),
            Self::Guest(_) | Self::Module(_) => None,
        }
    }

    fn component(&self) -> Result<Vec<u8>> {
        match self {
            Self::Guest(package) => strip::names(&guest::build(package, Target::Component)?),
            Self::Module(package) => guest::build(package, Target::Module),
            Self::Made(name) => fs::read(path(name)).with_context(|| format!("cannot read {name}.wasm")),
        }
    }
}

/// The artefacts of these names and those that they are made of, in the order in which they are built
pub(crate) fn selected<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<&'static Artefact> {
    let mut wanted: BTreeSet<&str> = names.into_iter().collect();
    for artefact in ARTEFACTS.iter().rev() {
        if wanted.contains(artefact.name) {
            wanted.extend(artefact.parts().filter_map(|part| part.made()));
        }
    }
    ARTEFACTS.iter().filter(|artefact| wanted.contains(artefact.name)).collect()
}

fn check_size(bytes: usize, limit: usize) -> Result<()> {
    if bytes > limit {
        bail!("{} exceed the limit of {}", say::size(bytes), say::size(limit));
    }
    Ok(())
}

fn path(name: &str) -> PathBuf {
    repo::target("components").join(format!("{name}.wasm"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_artefact_is_built_after_all_that_it_is_made_of() {
        let names: Vec<&str> = selected(["egress-composed"]).iter().map(|artefact| artefact.name).collect();

        assert_eq!(
            names,
            ["token-broker-core", "token-broker", "token-injector", "egress", "egress-composed"]
        );
    }
}
