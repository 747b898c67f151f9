//! What each component weighs. What it may weigh, `cargo xtask build` checks.

use std::fs;
use std::path::Path;

use anyhow::Result;

use crate::report::Report;

pub(crate) fn run(report: &mut Report) -> Result<()> {
    report.section("size");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/components");
    let mut files: Vec<_> = fs::read_dir(folder)?.collect::<std::io::Result<_>>()?;
    files.sort_by_key(fs::DirEntry::file_name);
    for file in files {
        let name = file.file_name().to_string_lossy().into_owned();
        report.figure(&name, file.metadata()?.len() as f64 / 1e3, "kB");
    }
    Ok(())
}
