//! Packages of the Python Package Index, each set of them in a virtual environment of its own.

use std::fs;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};

use super::missing;
use crate::{process, repo, say};

/// Packages that are installed together
pub(super) struct Venv {
    name: &'static str,
    folder: &'static str,
    requirements: &'static str,
    /// Python that completes the installation
    then: &'static str,
}

pub(super) const SDK: Venv = Venv {
    name: "Azure's Python SDK",
    folder: "venv",
    requirements: "crates/test-support/sdk/requirements.txt",
    then: "",
};

pub(super) const HOSTS: Venv = Venv {
    name: "the hosts",
    folder: "hosts",
    requirements: "host-test/hosts/requirements.txt",
    then: MAKE_EXECUTABLE,
};

/// Programs that check the source
pub(super) const TOOLS: Venv =
    Venv { name: "the checkers", folder: "tools", requirements: "xtask/tools/requirements.txt", then: "" };

pub(super) const COMPONENTIZE: Venv = Venv {
    name: "componentize-py",
    folder: "example-python",
    requirements: "examples/python/requirements.txt",
    then: "",
};

impl Venv {
    pub(super) fn install(&self) -> Result<()> {
        let Self { name, folder, requirements, then } = self;
        let wanted =
            fs::read(repo::path(requirements)).with_context(|| format!("cannot read {requirements}"))?;
        let venv = repo::target(folder);
        let stamp = venv.join("requirements.txt");
        if fs::read(&stamp).is_ok_and(|installed| installed == wanted) {
            return Ok(());
        }
        let began = Instant::now();
        say::step(&format!("{name} into target/{folder}"));
        process::run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv))
            .map_err(|_| missing("python3 with venv", "apt-get install -y python3 python3-venv"))?;
        let mut pip = Command::new(venv.join("bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"])
            .arg(repo::path(requirements));
        process::run(&mut pip)
            .map_err(|_| missing(&format!("the packages of {requirements}"), &process::line(&pip)))?;
        process::run(Command::new(venv.join("bin/python")).args(["-c", then]))
            .with_context(|| format!("{requirements} brings other files than expected"))?;
        process::write_if_changed(&stamp, &wanted)?;
        say::done(name, began);
        Ok(())
    }
}

/// The wheel has lost its program's mode.
const MAKE_EXECUTABLE: &str = "import os, wasmtime_cli
os.chmod(os.path.join(os.path.dirname(wasmtime_cli.__file__), 'wasmtime'), 0o755)";
