//! The hosts that people have, as programs, once `cargo xtask setup` was run.

use std::path::{Path, PathBuf};

/// wasmtime's command line
pub fn wasmtime() -> PathBuf {
    program("wasmtime")
}

/// Envoy
pub fn envoy() -> PathBuf {
    program("envoy")
}

fn program(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/hosts/bin").join(name)
}
