//! Azure's Python SDK in a virtual environment, for the tests that use it as a client.

use std::fs;
use std::process::Command;
use std::time::Instant;

use super::Missing;
use crate::{process, repo, say};

pub(super) fn install() -> Result<(), Missing> {
    let wanted = fs::read(repo::path(REQUIREMENTS)).map_err(|_| missing(REQUIREMENTS, "git checkout"))?;
    let stamp = repo::target("venv/requirements.txt");
    if fs::read(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    let began = Instant::now();
    say::step("Azure's Python SDK into target/venv");
    let venv = repo::target("venv");
    process::run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv))
        .map_err(|_| missing("python3 with venv", "apt-get install -y python3 python3-venv"))?;
    let mut pip = Command::new(venv.join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"])
        .arg(repo::path(REQUIREMENTS));
    process::run(&mut pip).map_err(|_| missing("the packages of requirements.txt", &process::line(&pip)))?;
    process::write_if_changed(&stamp, &wanted)
        .map_err(|_| missing("target/venv", "make target/ writable"))?;
    say::done("the Python SDK", began);
    Ok(())
}

fn missing(what: &str, command: &str) -> Missing {
    Missing { what: what.into(), command: command.into() }
}

const REQUIREMENTS: &str = "host-test/sdk/requirements.txt";
