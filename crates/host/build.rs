//! Requires the component that the library carries, and computes its digest: a start of a program then need not.

#![allow(clippy::disallowed_methods, reason = "a build script reads its environment and files")]

use std::path::Path;
use std::{env, fs};

use sha2::{Digest as _, Sha256};

fn main() {
    println!("cargo::rerun-if-changed={COMPONENT}");
    let Ok(component) = fs::read(COMPONENT) else {
        println!("cargo::error=crates/host/{COMPONENT} is missing; fix: run `cargo xtask build`");
        return;
    };
    let out = env::var_os("OUT_DIR").expect("cargo sets OUT_DIR");
    let digest = Path::new(&out).join("token-broker-core.sha256");
    fs::write(digest, Sha256::digest(&component)).expect("OUT_DIR can be written");
}

/// A path in this package.
const COMPONENT: &str = "component/token-broker-core.wasm";
