//! rustfmt and clippy, which a minimal toolchain lacks.

use std::process::Command;

use super::Missing;
use crate::process;

pub(super) fn install() -> Result<(), Missing> {
    let lacks = |tool: &&str| process::output(process::cargo().args([tool, "--version"])).is_err();
    let missing: Vec<&str> = ["fmt", "clippy"].into_iter().filter(lacks).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut add = Command::new("rustup");
    add.args(["component", "add", "rustfmt", "clippy"]);
    process::output(&mut add).map(drop).map_err(|_| Missing {
        what: format!("cargo {}", missing.join(" and cargo ")),
        command: format!("{}, or your distribution's packages rustfmt and rust-clippy", process::line(&add)),
    })
}
