//! What comes from npm, each set of packages in a folder of its own.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::Result;

use super::Missing;
use crate::{process, repo, say};

/// Packages that are wanted together
pub(super) struct Packages {
    what: &'static str,
    /// With the lock file
    source: &'static str,
    /// Inside `target/`
    folder: &'static str,
}

/// Azure's JavaScript SDK, for the tests that use it as a client
pub(super) const SDK: Packages =
    Packages { what: "Azure's JavaScript SDK", source: "crates/test-support/sdk", folder: "node" };

/// jco, which makes JavaScript of a component, for the example that does
pub(super) const JCO: Packages = Packages { what: "jco", source: "examples/node", folder: "example-node" };

/// componentize-qjs, which makes a component of JavaScript, for the example that does
pub(super) const COMPONENTIZE: Packages =
    Packages { what: "componentize-qjs", source: "examples/js", folder: "example-js" };

/// Azure Storage as Microsoft emulates it, for the test of the example that uses it
pub(super) const AZURITE: Packages =
    Packages { what: "Azurite", source: "host-test/azurite", folder: "azurite" };

impl Packages {
    pub(super) fn install(&self) -> Result<(), Missing> {
        let Self { what, source, folder } = self;
        let lock = format!("{source}/{LOCK}");
        let wanted = fs::read(repo::path(&lock)).map_err(|_| missing(&lock, "git checkout"))?;
        let target = repo::target(folder);
        let (stamp, program) = (target.join("installed"), target.join("bin/node"));
        if program.exists() && fs::read(&stamp).is_ok_and(|installed| installed == wanted) {
            return Ok(());
        }
        let began = Instant::now();
        say::step(&format!("{what} into target/{folder}"));
        let node = node().map_err(|_| missing("Node.js 20 or newer, with npm", INSTALL))?;
        let unwritable = || missing(&format!("target/{folder}"), "make target/ writable");
        self.prepare(&target, &program, node.trim()).map_err(|_| unwritable())?;
        let mut npm = npm(&target);
        process::run(&mut npm).map_err(|_| {
            missing(&format!("the packages of {lock}, for Node.js 20 or newer"), &process::line(&npm))
        })?;
        process::write_if_changed(&stamp, &wanted).map_err(|_| unwritable())?;
        say::done(what, began);
        Ok(())
    }

    /// npm installs into the folder of the lock file.
    fn prepare(&self, target: &Path, program: &Path, node: &str) -> Result<()> {
        for file in [LOCK, PACKAGE] {
            let text = fs::read(repo::path(self.source).join(file))?;
            process::write_if_changed(&target.join(file), &text)?;
        }
        fs::create_dir_all(target.join("bin"))?;
        // A link that leads nowhere is in the way, too.
        let _ = fs::remove_file(program);
        Ok(symlink(node, program)?)
    }
}

/// Where it really is: what is on `PATH` may be a switch between versions, which wants an environment.
fn node() -> Result<String> {
    process::output(Command::new("npm").arg("--version"))?;
    process::output(Command::new("node").args(["--print", "process.execPath"]))
}

fn npm(folder: &Path) -> Command {
    let mut npm = Command::new("npm");
    npm.arg("ci").arg("--prefix").arg(folder);
    // Without the first it installs for a Node that is too old, and only warns.
    npm.args(["--engine-strict", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]);
    npm
}

fn missing(what: &str, command: &str) -> Missing {
    Missing { what: what.into(), command: command.into() }
}

const LOCK: &str = "package-lock.json";
const PACKAGE: &str = "package.json";
const INSTALL: &str =
    "apt-get install -y nodejs npm (since Debian 13; before, the packages of the Node.js project)";
