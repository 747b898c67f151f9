//! Programs of the system, from Debian's packages.

use std::process::Command;

use anyhow::Result;

use super::missing;
use crate::{process, say};

/// Install the package of a program unless the program is there; a service among them is not started
pub(super) fn install(program: &str, package: &str) -> Result<()> {
    if Command::new(program).arg("--version").output().is_ok() {
        return Ok(());
    }
    say::step(&format!("apt-get install {package}"));
    let apt = |arguments: &[&str]| {
        let mut apt = Command::new("apt-get");
        apt.args(arguments).envs([("DEBIAN_FRONTEND", "noninteractive"), ("RUNLEVEL", "1")]);
        process::output(&mut apt)
    };
    apt(&["update"])
        .and_then(|_| apt(&["install", "-y", "--no-install-recommends", package]))
        .map(drop)
        .map_err(|_| missing(program, &format!("as root, `apt-get install {package}`")))
}
