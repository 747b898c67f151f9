//! The programs of a release, for one target.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::materials::Materials;
use super::{Files, Release, digest, write};
use crate::{artefact, build, demo, guest, process, repo, say};

/// Build the programs, run the demo with them, and write them with their bills of materials
pub(super) fn release(target: &str) -> Result<Files> {
    build::artefacts(&artefact::selected(["token-broker-core"]))?;
    say::step(&format!("build: the programs for {target}"));
    let built = compile(target)?;
    demo::with(&built)?;
    say::step("dist");
    let release = Release::of_this_commit()?;
    let mut files = Files::new();
    for (package, program) in PROGRAMS {
        let file = format!("{program}-{target}");
        let contents = fs::read(built.join(program)).with_context(|| format!("cargo left no {program}"))?;
        let bill =
            Materials::of([package], target)?.bill(&release, &file, "APPLICATION", &digest(&contents))?;
        files.insert(format!("{file}.spdx.json"), bill);
        files.insert(file, contents);
    }
    let files = write(files)?;
    for (_, program) in PROGRAMS {
        let file = repo::target("dist").join(format!("{program}-{target}"));
        fs::set_permissions(file, fs::Permissions::from_mode(0o755))?;
    }
    Ok(files)
}

/// Compile the programs; their folder
///
/// In the profile of the tests. With a target named, the flags are not those of build scripts, which nobody ships.
fn compile(target: &str) -> Result<PathBuf> {
    let mut cargo = process::cargo();
    cargo.args(["build", "--locked", "--release", "--target", target]);
    cargo.args(PROGRAMS.iter().flat_map(|(package, program)| ["-p", package, "--bin", program]));
    // Generated sources are in the target directory; a component has none that it names.
    let root = format!("--remap-path-prefix={}=token-broker", repo::path("").display());
    let flags = guest::remapped().chain([root]).collect::<Vec<_>>().join("\u{1f}");
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags);
    // The archiver of macOS writes the time into a library unless it is told not to.
    process::run(cargo.env("ZERO_AR_DATE", "1"))?;
    Ok(repo::target("").join(Path::new(target).join("release")))
}

/// Packages and their programs
const PROGRAMS: [(&str, &str); 2] =
    [("token-broker-cli", "token-broker"), ("mock-identity", "mock-identity")];
