//! Parts of the Rust toolchain, by rustup, and programs of crates.io, by cargo.

use std::process::Command;
use std::time::Instant;

use anyhow::Result;

use super::missing;
use crate::guest::Target;
use crate::{process, repo, say};

/// The standard libraries for WebAssembly
pub(super) fn targets() -> Result<()> {
    if Target::ALL.into_iter().all(has_library) {
        return Ok(());
    }
    let names = Target::ALL.map(Target::name);
    rustup(&["target", "add"], &names).map_err(|add| {
        let why = "or a distribution's packages with the standard libraries of these targets";
        missing(
            &format!("the Rust targets {}", names.join(" and ")),
            &format!("install Rust with https://rustup.rs, then run `{add}`; {why}"),
        )
    })
}

/// rustfmt and clippy, which a minimal toolchain lacks
pub(super) fn lints() -> Result<()> {
    let exists = |tool: &str| process::output(process::cargo().args([tool, "--version"])).is_ok();
    if exists("fmt") && exists("clippy") {
        return Ok(());
    }
    rustup(&["component", "add"], &["rustfmt", "clippy"])
        .map_err(|add| missing("rustfmt and clippy", &format!("`{add}`, or your distribution's packages")))
}

/// A program of crates.io, in a folder of `target/` that has its name
pub(super) struct Program {
    name: &'static str,
    package: &'static str,
    version: &'static str,
    features: &'static str,
}

/// Makes the documentation a site
pub(super) const MDBOOK: Program =
    Program { name: "mdbook", package: "mdbook", version: "0.5.4", features: "search" };

/// Without its access to registries, which takes longer to compile than the rest of it; the release of the library that
/// composes the artefacts
pub(super) const WAC: Program = Program { name: "wac", package: "wac-cli", version: "0.12.0", features: "" };

impl Program {
    pub(super) fn install(&self) -> Result<()> {
        let Self { name, package, version, features } = self;
        let folder = repo::target(name);
        let installed = process::output(Command::new(folder.join("bin").join(name)).arg("--version"));
        if installed.is_ok_and(|said| said.trim_end().ends_with(version)) {
            return Ok(());
        }
        let began = Instant::now();
        say::step(&format!("{name} into target/{name}"));
        let mut install = process::cargo();
        install.args(["install", package, "--version", version, "--locked", "--quiet", "--force"]);
        // Unoptimised: it takes longer to compile than it ever runs.
        install.args(["--debug", "--no-default-features", "--features", features]);
        // Apart from this workspace, whose features are not its own.
        install.arg("--root").arg(&folder).arg("--target-dir").arg(folder.join("target"));
        process::run(&mut install).map_err(|_| missing(name, &process::line(&install)))?;
        say::done(name, began);
        Ok(())
    }
}

fn has_library(target: Target) -> bool {
    let mut rustc = Command::new("rustc");
    rustc.args(["--print", "target-libdir", "--target", target.name()]);
    let folder = process::output(&mut rustc);
    let mut files = folder.ok().and_then(|it| std::fs::read_dir(it.trim()).ok()).into_iter().flatten();
    files.any(|file| file.is_ok_and(|file| file.file_name().to_string_lossy().starts_with("libstd-")))
}

/// The command line that failed, if it did
fn rustup(command: &[&str], names: &[&str]) -> Result<(), String> {
    let mut rustup = Command::new("rustup");
    rustup.args(command).args(names);
    process::run(&mut rustup).map_err(|_| process::line(&rustup))
}
