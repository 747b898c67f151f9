//! cargo-deny, which checks licences, sources and duplicates against `deny.toml`.

use std::path::PathBuf;
use std::time::Instant;

use super::Missing;
use crate::{process, repo, say};

/// Where setup puts it
pub(crate) fn cargo_deny() -> PathBuf {
    repo::target("tools/bin/cargo-deny")
}

pub(super) fn install() -> Result<(), Missing> {
    if cargo_deny().exists() {
        return Ok(());
    }
    let began = Instant::now();
    say::step("cargo-deny into target/tools, two to three minutes");
    let mut install = process::cargo();
    install
        .args(["install", "--locked", "--version", VERSION, "--root"])
        .arg(repo::target("tools"))
        .arg("cargo-deny");
    process::run(&mut install)
        .map_err(|_| Missing { what: "cargo-deny".into(), command: process::line(&install) })?;
    say::done("cargo-deny", began);
    Ok(())
}

const VERSION: &str = "0.20.2";
