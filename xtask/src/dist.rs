//! `cargo xtask dist`: makes the files of a release, into `target/dist/`.
//!
//! The components with metadata for registries, the contract as a WIT package, or the programs for one target; a bill of
//! materials for each, and the digests of all of them.

pub(crate) mod crates;
mod materials;
mod metadata;
mod programs;
mod twice;

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use sha2::{Digest as _, Sha256};
use wit_parser::Resolve;

use crate::artefact::ARTEFACTS;
use crate::{build, process, repo, say};

use materials::Materials;

/// Parts of a release
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Make the programs for a target of Rust, in place of the components, and run the demo with them
    #[arg(long, value_name = "TRIPLE")]
    target: Option<String>,
    /// Make it again in another folder, and compare the digests
    #[arg(long)]
    twice: bool,
}

/// The metadata that all files of a release share
struct Release {
    version: &'static str,
    /// The commit
    revision: String,
    /// The time of the commit: the same commit makes the same files
    created: String,
    /// The address of the repository
    source: &'static str,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    if options.twice {
        twice::require_clean()?;
    }
    let files = match &options.target {
        Some(target) => programs::release(target)?,
        None => {
            build::everything()?;
            let failed = build::checks().iter().filter(|check| !build::report(check)).count();
            ensure!(failed == 0, "{failed} checks of the artefacts failed");
            say::step("dist");
            release()?
        }
    };
    for (name, contents) in &files {
        say::detail(&format!("{name:<48}{:>8}", say::size(contents.len())));
    }
    if options.twice {
        twice::check(options.target.as_deref())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Write the release of the artefacts that are built
pub(crate) fn release() -> Result<Files> {
    let release = Release::of_this_commit()?;
    let mut files = BTreeMap::from([("token-broker-identity.wasm".to_owned(), contract()?)]);
    for artefact in ARTEFACTS {
        let Some(about) = artefact.about else { continue };
        let component = release.describe(&artefact.read()?, artefact.name, about)?;
        let materials = Materials::of(artefact.packages(), artefact.target().name())?;
        let bill = materials.bill(&release, &artefact.file(), "LIBRARY", &digest(&component))?;
        files.insert(format!("{}.spdx.json", artefact.file()), bill);
        files.insert(artefact.file(), component);
    }
    write(files)
}

impl Release {
    fn of_this_commit() -> Result<Self> {
        let clean = git(&["status", "--porcelain"])?.is_empty();
        let commit = git(&["rev-parse", "HEAD"])?;
        let created = git(&["log", "-1", "--date=format-local:%Y-%m-%dT%H:%M:%SZ", "--format=%cd"])?;
        let revision = if clean { commit } else { format!("{commit}+changes") };
        Ok(Self { version: env!("CARGO_PKG_VERSION"), revision, created, source: SOURCE })
    }
}

fn git(arguments: &[&str]) -> Result<String> {
    let said =
        process::output(Command::new("git").current_dir(repo::path("")).env("TZ", "UTC").args(arguments))?;
    Ok(said.trim().to_owned())
}

/// `wit/` as a WIT package for registries
fn contract() -> Result<Vec<u8>> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(repo::path("wit")).context("wit/ cannot be read")?;
    wit_component::encode(&resolve, package).context("wit/ cannot be encoded")
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Write the files and their digests; nothing of an earlier release stays
fn write(mut files: Files) -> Result<Files> {
    let sums: String = files.iter().map(|(name, file)| format!("{}  {name}\n", digest(file))).collect();
    files.insert(SUMS.to_owned(), sums.into_bytes());
    let folder = repo::target("dist");
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    fs::create_dir_all(&folder)?;
    for (name, contents) in &files {
        fs::write(folder.join(name), contents).with_context(|| format!("cannot write {name}"))?;
    }
    Ok(files)
}

/// The files of a release, by name
type Files = BTreeMap<String, Vec<u8>>;

const SUMS: &str = "SHA256SUMS";
const SOURCE: &str = env!("CARGO_PKG_REPOSITORY");
