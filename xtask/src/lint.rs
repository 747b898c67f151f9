//! `cargo xtask lint`: what can be said of the source without running it.

use std::process::{Command, ExitCode};

use anyhow::Result;

use crate::artefact::{GUESTS, MODULE};
use crate::setup::{self, Target, Toolchain};
use crate::tally::Tally;
use crate::{build, process, repo};

/// What to do about what is missing
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Fail if anything is skipped
    #[arg(long)]
    strict: bool,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let toolchain = setup::toolchain()?;
    let mut tally = Tally::default();
    // The host carries a component inside, so it does not compile without.
    tally.check("build", || build::components(&toolchain));
    checks(&mut tally, &toolchain)?;
    Ok(tally.finish(options.strict))
}

/// Format, clippy, documentation, licences
pub(crate) fn checks(tally: &mut Tally, toolchain: &Toolchain) -> Result<()> {
    if setup::components() {
        style(tally, toolchain)?;
    } else {
        tally.skip();
    }
    let mut doc = native("doc");
    tally.program(doc.args(["--no-deps", "--document-private-items"]).env("RUSTDOCFLAGS", "-Dwarnings"));
    match setup::deny() {
        true => tally.program(Command::new(setup::cargo_deny()).current_dir(repo::path("")).args(DENY_CHECK)),
        false => tally.skip(),
    }
    Ok(())
}

fn style(tally: &mut Tally, toolchain: &Toolchain) -> Result<()> {
    tally.program(process::cargo().args(["fmt", "--all", "--check"]));
    // In release as the tests are, so that wasmtime is checked once.
    tally.program(native("clippy").arg("--all-targets").args(DENY_WARNINGS));
    let guests = GUESTS.iter().map(|guest| (*guest, Target::Component));
    for (guest, target) in guests.chain([(MODULE, Target::Module)]) {
        tally.program(toolchain.cargo("clippy", target)?.args(["-p", guest]).args(DENY_WARNINGS));
    }
    let spin_app = repo::path("examples/spin-app");
    tally.program(process::cargo().args(["fmt", "--all", "--check"]).current_dir(&spin_app));
    let mut clippy = toolchain.bare_cargo("clippy")?;
    clippy
        .args(["--release", "--target", Target::Component.name()])
        .args(DENY_WARNINGS)
        .current_dir(spin_app);
    tally.program(&mut clippy);
    Ok(())
}

fn native(subcommand: &str) -> Command {
    let mut cargo = process::cargo();
    cargo.args([subcommand, "--release", "--workspace"]);
    for guest in GUESTS {
        cargo.args(["--exclude", guest]);
    }
    cargo
}

const DENY_WARNINGS: [&str; 3] = ["--", "-D", "warnings"];
const DENY_CHECK: [&str; 5] = ["--workspace", "check", "licenses", "bans", "sources"];
