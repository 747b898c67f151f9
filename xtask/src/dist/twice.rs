//! Compares a release with a second build of the same commit in another folder.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::{SUMS, git};
use crate::{process, repo, say};

/// A clone has what is committed.
pub(super) fn require_clean() -> Result<()> {
    ensure!(git(&["status", "--porcelain"])?.is_empty(), "there are changes; fix: commit them");
    Ok(())
}

/// Make the release of the commit again, in a clone, and compare the digests of all files
pub(super) fn check(target: Option<&str>) -> Result<()> {
    let clone = repo::target("again");
    say::step(&format!("dist: once more, in {}", clone.display()));
    if clone.exists() {
        fs::remove_dir_all(&clone).with_context(|| format!("cannot remove {}", clone.display()))?;
    }
    process::output(Command::new("git").args(["clone", "--quiet"]).arg(repo::path("")).arg(&clone))?;
    let mut again = process::cargo();
    again.current_dir(&clone).args(["xtask", "dist"]).args(target.iter().flat_map(|it| ["--target", *it]));
    process::run(&mut again)?;
    let [here, there] =
        [repo::path(""), clone].map(|root| fs::read_to_string(root.join("target/dist").join(SUMS)));
    let (here, there) = (here?, there?);
    let differing: Vec<&str> =
        here.lines().filter(|line| !there.lines().any(|other| other == *line)).collect();
    ensure!(here == there, "made again, these files are different:\n{}", differing.join("\n"));
    say::detail("the same bytes");
    Ok(())
}
