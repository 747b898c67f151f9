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

/// mdBook, in `target/mdbook`
pub(super) fn mdbook() -> Result<()> {
    let root = repo::target("mdbook");
    let installed = process::output(Command::new(root.join("bin/mdbook")).arg("--version"));
    if installed.is_ok_and(|version| version.trim().ends_with(MDBOOK)) {
        return Ok(());
    }
    let began = Instant::now();
    say::step("mdBook into target/mdbook");
    let mut install = process::cargo();
    // Unoptimised: it is built once and makes some twenty pages.
    install.args([
        "install",
        "--locked",
        "--quiet",
        "--debug",
        "--no-default-features",
        "--features",
        "search",
    ]);
    install.args(["mdbook", "--version", MDBOOK, "--root"]).arg(root);
    // Its workspace is not this one, whose features and profile are not its own.
    install.arg("--target-dir").arg(repo::target("mdbook/target"));
    process::run(&mut install).map_err(|_| missing("mdBook", &process::line(&install)))?;
    say::done("mdBook", began);
    Ok(())
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

const MDBOOK: &str = "0.5.4";
