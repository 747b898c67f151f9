//! `cargo xtask build`: builds and checks the artefacts, into `target/components/`.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use clap::builder::PossibleValuesParser;

use crate::artefact::{self, ARTEFACTS, Artefact, Check};
use crate::setup::{self, Tool};
use crate::{process, repo, say, spin_app};

/// Which artefacts to build
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Record the present imports of the artefacts as those that they may have
    #[arg(long)]
    bless: bool,
    /// The artefacts to build, with those that they are made of; all of them by default
    #[arg(value_name = "NAME", value_parser = PossibleValuesParser::new(ARTEFACTS.iter().map(|artefact| artefact.name)))]
    names: Vec<String>,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let all = options.names.is_empty();
    let chosen = artefact::selected(options.names.iter().map(String::as_str));
    let chosen = if all { ARTEFACTS.iter().collect() } else { chosen };
    match all {
        true => everything()?,
        false => artefacts(&chosen)?,
    }
    if options.bless {
        chosen.iter().try_for_each(|artefact| artefact.bless())?;
    }
    let of_artefacts = chosen.iter().flat_map(|artefact| artefact.checks());
    let of_spin_app = if all { spin_app::checks() } else { vec![] };
    let failed = of_artefacts.chain(of_spin_app).filter(|check| !report(check)).count();
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

pub(crate) fn everything() -> Result<()> {
    artefacts(&ARTEFACTS.iter().collect::<Vec<_>>())?;
    spin_app::build()
}

/// Build artefacts in this order, and print their sizes
pub(crate) fn artefacts(artefacts: &[&Artefact]) -> Result<()> {
    let began = Instant::now();
    say::step("build: target/components");
    setup::require(Tool::Targets)?;
    for artefact in artefacts {
        let bytes = artefact.build()?;
        say::detail(&format!("{:<24}{:>8}", artefact.file(), say::size(bytes)));
    }
    carried_by_host(artefacts)?;
    say::done("build", began);
    Ok(())
}

/// Copy the broker into the crate that carries it
fn carried_by_host(built: &[&Artefact]) -> Result<()> {
    let Some(broker) = built.iter().find(|artefact| artefact.name == CARRIED) else { return Ok(()) };
    let carried = repo::path("crates/host/component");
    process::write_if_changed(&carried.join(broker.file()), &broker.read()?)
}

pub(crate) fn checks() -> Vec<Check> {
    ARTEFACTS.iter().flat_map(Artefact::checks).chain(spin_app::checks()).collect()
}

/// Print the outcome of a check, with all differences; whether it passed
pub(crate) fn report(check: &Check) -> bool {
    match &check.outcome {
        Ok(()) => say::detail(&format!("{}: ok", check.name)),
        Err(error) => say::detail(&format!("{}: FAILED\n{error:#}", check.name)),
    }
    check.outcome.is_ok()
}

/// The artefact that `token-broker-host` carries
const CARRIED: &str = "token-broker-core";
