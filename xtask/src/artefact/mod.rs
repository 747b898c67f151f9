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

use crate::setup::Toolchain;
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
    /// One component, with the exports of others plugged into its imports
    Plugged { socket: Plug, plugs: &'static [Plug] },
}

enum Plug {
    /// A package of the workspace
    Guest(&'static str),
    /// One that is made before
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
            Origin::Plugged { socket, plugs } => {
                let plugs = plugs.iter().map(|plug| plug.component(toolchain)).collect::<Result<Vec<_>>>()?;
                compose::plug(&socket.component(toolchain)?, &plugs).with_context(|| self.file())?
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

/// Packages are built one at a time: together, their features unify, and with them their imports.
fn compile(package: &str, toolchain: &Toolchain) -> Result<Vec<u8>> {
    process::run(toolchain.cargo("build")?.args(["-p", package]))?;
    let component = toolchain.component(package);
    let component = fs::read(&component).with_context(|| format!("cargo left no {}", component.display()))?;
    strip::names(&component)
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
pub(crate) const GUESTS: [&str; 8] =
    ["adapter-none", "adapter-spin", "broker", "consumer", "egress", "injector", "key-vault", "operator"];

/// In the order in which they are made of each other
pub(crate) const ARTEFACTS: [Artefact; 12] = [
    Artefact { name: "token-broker-core", origin: Origin::Guest("broker"), is_broker: true, limit: None },
    Artefact {
        name: "token-broker",
        origin: Origin::Plugged {
            socket: Plug::Artefact("token-broker-core"),
            plugs: &[Plug::Guest("adapter-none")],
        },
        is_broker: true,
        limit: Some(720_000),
    },
    Artefact {
        name: "token-broker-spin",
        origin: Origin::Plugged {
            socket: Plug::Artefact("token-broker-core"),
            plugs: &[Plug::Guest("adapter-spin")],
        },
        is_broker: true,
        limit: Some(800_000),
    },
    Artefact {
        name: "token-injector",
        origin: Origin::Plugged {
            socket: Plug::Guest("injector"),
            plugs: &[Plug::Artefact("token-broker"), Plug::Guest("adapter-none")],
        },
        is_broker: false,
        limit: Some(1_080_000),
    },
    Artefact {
        name: "token-injector-spin",
        origin: Origin::Plugged {
            socket: Plug::Guest("injector"),
            plugs: &[Plug::Artefact("token-broker-spin"), Plug::Guest("adapter-spin")],
        },
        is_broker: false,
        limit: Some(1_250_000),
    },
    Artefact { name: "key-vault", origin: Origin::Guest("key-vault"), is_broker: false, limit: None },
    Artefact { name: "consumer", origin: Origin::Guest("consumer"), is_broker: false, limit: None },
    Artefact { name: "operator", origin: Origin::Guest("operator"), is_broker: false, limit: None },
    Artefact { name: "egress", origin: Origin::Guest("egress"), is_broker: false, limit: None },
    Artefact {
        name: "egress-composed",
        origin: Origin::Plugged {
            socket: Plug::Artefact("egress"),
            plugs: &[Plug::Artefact("token-injector")],
        },
        is_broker: false,
        limit: None,
    },
    Artefact {
        name: "egress-spin",
        origin: Origin::Plugged {
            socket: Plug::Artefact("egress"),
            plugs: &[Plug::Artefact("token-injector-spin")],
        },
        is_broker: false,
        limit: None,
    },
    Artefact {
        name: "consumer-composed",
        origin: Origin::Plugged {
            socket: Plug::Artefact("consumer"),
            plugs: &[Plug::Artefact("token-broker")],
        },
        is_broker: false,
        limit: None,
    },
];
