//! Parts of the Rust toolchain, by rustup, and programs, by cargo.

use std::process::Command;

use anyhow::Result;

use super::missing;
use crate::guest::Target;
use crate::{process, repo};

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

/// wac, without its access to registries, which takes longer to compile than the rest of it
pub(super) fn wac() -> Result<()> {
    let folder = repo::target("wac");
    let version = process::output(Command::new(folder.join("bin/wac")).arg("--version"));
    if version.is_ok_and(|version| version.trim_end().ends_with(WAC)) {
        return Ok(());
    }
    let mut install = process::cargo();
    install.args(["install", "wac-cli", "--version", WAC, "--locked", "--no-default-features", "--quiet"]);
    install.arg("--force").arg("--root").arg(folder);
    process::run(&mut install).map_err(|_| missing("wac", &process::line(&install)))
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

/// The release of the library that composes the artefacts
const WAC: &str = "0.12.0";
