//! The crates as crates.io gets them, and an installation of the command from them.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{process, repo};

/// Package the crates, install the command from the packages without a network, and run it
pub(crate) fn install() -> Result<()> {
    process::run(process::cargo().args(["fetch", "--locked", "--quiet"]))?;
    let crates = published()?;
    let mut package = process::cargo();
    // The tests of the published crates prove that they compile. Dirty is the component that one of them carries, which is
    // built and not in git.
    package.args(["package", "--quiet", "--offline", "--locked", "--no-verify", "--allow-dirty"]);
    process::output(package.args(crates.iter().flat_map(|name| ["-p", name])))?;
    let source = unpack(&crates)?;
    let program = compile(&source)?;
    let version = process::output(Command::new(&program).arg("--version"))?;
    ensure!(version.trim().ends_with(VERSION), "it is {version}");
    let explained = process::output(Command::new(&program).arg("explain").env_clear())?;
    ensure!(explained.contains("imds"), "it explains:\n{explained}");
    Ok(())
}

/// The names of the crates that are for crates.io
fn published() -> Result<Vec<String>> {
    let said = process::output(process::cargo().args(["metadata", "--no-deps", "--format-version", "1"]))?;
    let metadata: Value = serde_json::from_str(&said)?;
    let packages = metadata["packages"].as_array().context("no packages")?;
    let published = packages.iter().filter(|it| it["publish"].is_null());
    Ok(published.filter_map(|it| it["name"].as_str().map(str::to_owned)).collect())
}

/// Unpack the packages into a workspace of the command alone, in which they stand for those of crates.io; its folder
///
/// Cargo has no registry that is laid over another one. To replace crates.io by folders would compile wasmtime again.
fn unpack(crates: &[String]) -> Result<PathBuf> {
    let folder = repo::target("packaged");
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    fs::create_dir_all(&folder)?;
    let mut manifest =
        format!("[workspace]\nresolver = \"3\"\nmembers = [\"{COMMAND}-{VERSION}\"]\n\n[patch.crates-io]\n");
    for name in crates {
        let file = repo::target("package").join(format!("{name}-{VERSION}.crate"));
        process::output(Command::new("tar").arg("-xzf").arg(file).arg("-C").arg(&folder))?;
        if name != COMMAND {
            writeln!(manifest, "{name}.path = \"{name}-{VERSION}\"")?;
        }
    }
    fs::write(folder.join("Cargo.toml"), manifest)?;
    let command = folder.join(format!("{COMMAND}-{VERSION}"));
    // The versions of the package's own lock file, but for the crates that are not on crates.io yet.
    fs::copy(command.join("Cargo.lock"), folder.join("Cargo.lock"))?;
    let mut update = process::cargo();
    process::output(update.args(["update", "--workspace", "--offline"]).current_dir(&folder))?;
    Ok(command)
}

/// Install the command; the program
fn compile(source: &Path) -> Result<PathBuf> {
    let root = repo::target("installed");
    let mut install = process::cargo();
    install
        .args(["install", "--quiet", "--offline", "--locked", "--no-track", "--force", "--path"])
        .arg(source);
    install.arg("--root").arg(&root).arg("--target-dir").arg(repo::target(""));
    for package in UNOPTIMISED {
        install.args(["--config", &format!("profile.release.package.{package}.opt-level=0")]);
    }
    process::output(&mut install)?;
    Ok(root.join("bin/token-broker"))
}

const VERSION: &str = env!("CARGO_PKG_VERSION");
const COMMAND: &str = "token-broker-cli";
/// Packages that the tests compile with other features: here they are compiled again, without optimisation
const UNOPTIMISED: [&str; 8] = [
    "token-broker-cli",
    "token-broker-host",
    "h2",
    "hyper",
    "tokio",
    "tokio-util",
    "wasmtime-wasi",
    "wasmtime-wasi-http",
];
