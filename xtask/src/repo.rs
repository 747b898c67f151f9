//! Paths of the repository.

use std::path::{Path, PathBuf};

/// A path inside the repository
pub(crate) fn path(relative: &str) -> PathBuf {
    root().join(relative)
}

/// A path inside `target/`
pub(crate) fn target(relative: &str) -> PathBuf {
    root().join("target").join(relative)
}

fn root() -> &'static Path {
    const XTASK: &str = env!("CARGO_MANIFEST_DIR");
    Path::new(XTASK).parent().unwrap_or_else(|| Path::new("."))
}
