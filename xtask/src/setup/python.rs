//! What comes from the Python Package Index, each set of packages in a virtual environment of its own.

use std::fs;
use std::process::Command;
use std::time::Instant;

use super::Missing;
use crate::{process, repo, say};

/// Packages that are wanted together
pub(super) struct Venv {
    what: &'static str,
    folder: &'static str,
    requirements: &'static str,
    /// What is still to be done with them, in Python
    then: &'static str,
}

/// Azure's Python SDK, for the tests that use it as a client
pub(super) const SDK: Venv = Venv {
    what: "Azure's Python SDK",
    folder: "venv",
    requirements: "crates/test-support/sdk/requirements.txt",
    then: "",
};

/// The hosts that people have, as programs, for the tests that start them
pub(super) const HOSTS: Venv = Venv {
    what: "the hosts",
    folder: "hosts",
    requirements: "host-test/hosts/requirements.txt",
    then: MAKE_EXECUTABLE,
};

/// componentize-py, which makes a component of Python, for the example that does
pub(super) const COMPONENTIZE: Venv = Venv {
    what: "componentize-py",
    folder: "example-python",
    requirements: "examples/python/requirements.txt",
    then: "",
};

impl Venv {
    pub(super) fn install(&self) -> Result<(), Missing> {
        let Self { what, folder, requirements, then } = self;
        let wanted = fs::read(repo::path(requirements)).map_err(|_| missing(requirements, "git checkout"))?;
        let venv = repo::target(folder);
        let stamp = venv.join("requirements.txt");
        if fs::read(&stamp).is_ok_and(|installed| installed == wanted) {
            return Ok(());
        }
        let began = Instant::now();
        say::step(&format!("{what} into target/{folder}"));
        process::run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv))
            .map_err(|_| missing("python3 with venv", "apt-get install -y python3 python3-venv"))?;
        let mut pip = Command::new(venv.join("bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"])
            .arg(repo::path(requirements));
        process::run(&mut pip)
            .map_err(|_| missing(&format!("the packages of {requirements}"), &process::line(&pip)))?;
        process::run(Command::new(venv.join("bin/python")).args(["-c", then]))
            .map_err(|_| missing(&format!("all of {requirements}"), "a look at what it brings"))?;
        process::write_if_changed(&stamp, &wanted)
            .map_err(|_| missing(&format!("target/{folder}"), "make target/ writable"))?;
        say::done(what, began);
        Ok(())
    }
}

fn missing(what: &str, command: &str) -> Missing {
    Missing { what: what.into(), command: command.into() }
}

/// The wheel has lost its program's mode.
const MAKE_EXECUTABLE: &str = "import os, wasmtime_cli
os.chmod(os.path.join(os.path.dirname(wasmtime_cli.__file__), 'wasmtime'), 0o755)";
