//! Checks of the source: format, clippy, documentation and its links, licences.

use std::process::Command;

use anyhow::Result;

use crate::artefact::{self, GUESTS, MODULE};
use crate::guest::{self, Target};
use crate::setup::{self, Tool};
use crate::tally::Tally;
use crate::{build, process, repo, site};

pub(super) fn run(tally: &mut Tally) -> Result<()> {
    // The host carries it.
    build::artefacts(&artefact::selected(["token-broker-core"]))?;
    match setup::install(&[Tool::Lints]) {
        true => style(tally),
        false => tally.skip(),
    }
    // With `--examples`, of which there are none, cargo takes the features that tests need, for which clippy has checked
    // all dependencies. The command's page would overwrite that of the library of its name.
    let mut doc = native("doc");
    doc.args(["--no-deps", "--document-private-items", "--lib", "--bins", "--examples"]);
    doc.args(["--exclude", "token-broker-cli"]);
    tally.program(doc.env("RUSTDOCFLAGS", "-Dwarnings"));
    match setup::install(&[Tool::Checkers]) {
        true => tally.program(
            Command::new(repo::target("tools/bin/cargo-deny")).args(DENY).current_dir(repo::path("")),
        ),
        false => tally.skip(),
    }
    match setup::install(&[Tool::Checkers, Tool::MdBook]) {
        true => tally.check("the documentation", || site::book().and_then(|()| site::links())),
        false => tally.skip(),
    }
    Ok(())
}

fn style(tally: &mut Tally) {
    let spin_app = repo::path("examples/spin-app");
    tally.program(process::cargo().args(["fmt", "--all", "--check"]));
    tally.program(process::cargo().args(["fmt", "--all", "--check"]).current_dir(&spin_app));
    // In the profile of the tests that need wasmtime, so that its dependencies are built once.
    tally.program(native("clippy").arg("--all-targets").args(DENY_WARNINGS));
    // In one run: the features that they share change their imports, and no lint. Those without `std` cannot share.
    let (alone, together): (Vec<&str>, Vec<&str>) =
        GUESTS.iter().chain([&MODULE]).partition(|package| NO_STD.contains(*package));
    for packages in std::iter::once(together).chain(alone.into_iter().map(|package| vec![package])) {
        let mut clippy = guest::cargo("clippy", Target::Component);
        clippy.args(packages.iter().flat_map(|package| ["-p", package]));
        tally.program(clippy.args(DENY_WARNINGS));
    }
    let mut application = process::cargo();
    application.args(["clippy", "--release", "--target", Target::Component.name()]);
    tally.program(application.args(DENY_WARNINGS).current_dir(spin_app));
}

/// Cargo for all packages that compile for this machine
fn native(subcommand: &str) -> Command {
    let mut cargo = process::cargo();
    cargo.args([subcommand, "--release", "--workspace"]);
    cargo.args(GUESTS.iter().flat_map(|guest| ["--exclude", guest]));
    cargo
}

const NO_STD: [&str; 2] = ["adapter-none", "adapter-none-sync"];
const DENY_WARNINGS: [&str; 3] = ["--", "-D", "warnings"];
const DENY: [&str; 5] = ["--workspace", "check", "licenses", "bans", "sources"];
