//! The programs that tests start: the hosts that people have, once `cargo xtask setup` was run, and those of this workspace.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

/// wasmtime's command line
pub fn wasmtime() -> PathBuf {
    program("wasmtime")
}

/// Envoy
pub fn envoy() -> PathBuf {
    program("envoy")
}

/// Caddy
pub fn caddy() -> PathBuf {
    program("caddy")
}

/// wasmCloud's command line
pub fn wash() -> PathBuf {
    program("wash")
}

/// A NATS server
pub fn nats() -> PathBuf {
    program("nats-server")
}

/// The folder of the components that `cargo xtask build` makes
pub fn components() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/components")
}

/// A program of this workspace, from the build that this one is from
///
/// # Errors
/// When cargo has not built it.
pub fn built(name: &str, package: &str) -> Result<PathBuf> {
    let current = std::env::current_exe()?;
    // Tests are in the folder `deps` beside the programs.
    let beside = current.ancestors().skip(1).take(2).map(|folder| folder.join(name));
    let found = beside.into_iter().find(|program| program.is_file());
    found.with_context(|| format!("{name} is missing; fix: cargo build --release -p {package}"))
}

/// A component of `cargo xtask build`
///
/// # Errors
/// When it is not built.
pub fn artefact(name: &str) -> Result<PathBuf> {
    let file = components().join(name);
    ensure!(file.exists(), "{} is missing: run `cargo xtask build`", file.display());
    Ok(file)
}

fn program(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/hosts/bin").join(name)
}
