//! `cargo xtask plug`: a component with a broker inside, as `wac plug` makes it, and proof that it fitted.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::{artefact, say};

/// What to put into what
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The component that needs tokens
    socket: PathBuf,
    /// The broker, and whatever else it needs
    #[arg(long = "plug", value_name = "FILE", required = true)]
    plugs: Vec<PathBuf>,
    /// Where to write the component that needs nothing of ours any more
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
