//! Azure's JavaScript SDK for Node, for the tests that use it as a client.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::Result;

use super::Missing;
use crate::{process, repo, say};

pub(super) fn install() -> Result<(), Missing> {
    let wanted = fs::read(repo::path(LOCK)).map_err(|_| missing(LOCK, "git checkout"))?;
    let folder = repo::target("node");
    let (stamp, program) = (folder.join("installed"), folder.join("bin/node"));
    if program.exists() && fs::read(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    let began = Instant::now();
    say::step("Azure's JavaScript SDK into target/node");
    let node = node().map_err(|_| missing("Node.js 20 or newer, with npm", INSTALL))?;
    prepare(&folder, &program, node.trim()).map_err(|_| missing("target/node", "make target/ writable"))?;
    let mut npm = npm(&folder);
    process::run(&mut npm).map_err(|_| {
        missing("the packages of package-lock.json, for Node.js 20 or newer", &process::line(&npm))
    })?;
    process::write_if_changed(&stamp, &wanted)
        .map_err(|_| missing("target/node", "make target/ writable"))?;
    say::done("the JavaScript SDK", began);
    Ok(())
}

/// Where it really is: what is on `PATH` may be a switch between versions, which wants an environment.
fn node() -> Result<String> {
    process::output(Command::new("npm").arg("--version"))?;
    process::output(Command::new("node").args(["--print", "process.execPath"]))
}

/// npm installs into the folder of the lock file.
fn prepare(folder: &Path, program: &Path, node: &str) -> Result<()> {
    for file in [LOCK, PACKAGE] {
        let file = repo::path(file);
        process::write_if_changed(&folder.join(file.file_name().unwrap_or_default()), &fs::read(&file)?)?;
    }
    fs::create_dir_all(folder.join("bin"))?;
    // A link that leads nowhere is in the way, too.
    let _ = fs::remove_file(program);
    Ok(symlink(node, program)?)
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

const LOCK: &str = "host-test/sdk/package-lock.json";
const PACKAGE: &str = "host-test/sdk/package.json";
const INSTALL: &str =
    "apt-get install -y nodejs npm (since Debian 13; before, the packages of the Node.js project)";
