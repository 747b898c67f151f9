//! Puts `token-broker-core.wasm` into the CLI. Where it has not been built yet, the library compiles and the CLI does not.

#![allow(clippy::disallowed_methods, reason = "a build script reads its environment and files")]

use std::path::{Path, PathBuf};
use std::{env, fs};

use sha2::{Digest as _, Sha256};

fn main() {
    println!("cargo::rerun-if-env-changed={VARIABLE}");
    let component = env::var_os(VARIABLE).map_or_else(default_path, PathBuf::from);
    println!("cargo::rerun-if-changed={}", nearest_existing(&component).display());
    println!("cargo::rustc-check-cfg=cfg(has_component)");
    let (Ok(bytes), Some(out)) = (fs::read(&component), env::var_os("OUT_DIR")) else { return };
    println!("cargo::rustc-cfg=has_component");
    let write =
        |name, bytes: &[u8]| fs::write(Path::new(&out).join(name), bytes).expect("OUT_DIR can be written");
    write("token-broker-core.wasm", &bytes);
    write("token-broker-core.sha256", &Sha256::digest(&bytes));
}

fn default_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/components/token-broker-core.wasm")
}

/// A path that does not exist would run this at every build; its directory changes when the file appears.
fn nearest_existing(path: &Path) -> &Path {
    path.ancestors().find(|path| path.exists()).unwrap_or(path)
}

const VARIABLE: &str = "TOKEN_BROKER_CORE_WASM";
