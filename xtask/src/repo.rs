//! Paths of the repository.

use std::path::{Path, PathBuf};

pub(crate) fn path(relative: &str) -> PathBuf {
    const XTASK: &str = env!("CARGO_MANIFEST_DIR");
    Path::new(XTASK).parent().unwrap_or_else(|| Path::new(".")).join(relative)
}

pub(crate) fn target(relative: &str) -> PathBuf {
    path("target").join(relative)
}

/// The files of Rust in a folder, in order, but for those of tests
#[cfg(test)]
pub(crate) fn sources(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        match path.file_name().and_then(|name| name.to_str()).unwrap_or_default() {
            "tests" | "tests.rs" | "test_kit.rs" => {}
            _ if path.is_dir() => found.extend(sources(&path)?),
            name if name.ends_with(".rs") => found.push(path),
            _ => {}
        }
    }
    found.sort();
    Ok(found)
}
