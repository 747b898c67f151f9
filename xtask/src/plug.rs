//! `cargo xtask plug`: composes components as `wac plug` does, and checks that no import of ours is left.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::{artefact, say};

/// Which components to compose
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The component whose imports are satisfied
    socket: PathBuf,
    /// A component whose exports satisfy its imports: the broker, an injector
    #[arg(long = "plug", value_name = "FILE", required = true)]
    plugs: Vec<PathBuf>,
    /// The composed component
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let plugs = options.plugs.iter().map(|plug| read(plug)).collect::<Result<Vec<_>>>()?;
    let composed = artefact::plug(&read(&options.socket)?, &plugs)?;
    fs::write(&options.output, &composed)
        .with_context(|| format!("cannot write {}", options.output.display()))?;
    say::detail(&format!("{}: {}", options.output.display(), say::size(composed.len())));
    Ok(ExitCode::SUCCESS)
}

fn read(file: &Path) -> Result<Vec<u8>> {
    fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}
