//! Compiles guests: the crates that run as WebAssembly.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::{process, repo};

/// A WebAssembly target of the compiler
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// For components
    Component,
    /// For core modules, on hosts that have no components
    Module,
}

impl Target {
    pub(crate) const ALL: [Self; 2] = [Self::Component, Self::Module];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Component => "wasm32-wasip2",
            Self::Module => "wasm32-wasip1",
        }
    }
}

/// Compile one package; what the linker made of it
///
/// One at a time: packages that are built together share their features, and with them their imports.
pub(crate) fn build(package: &str, target: Target) -> Result<Vec<u8>> {
    let mut build = cargo("build", target);
    build.args(["-p", package]);
    process::run(build.env("CARGO_ENCODED_RUSTFLAGS", rustflags()))?;
    let file = format!("{}.wasm", package.replace('-', "_"));
    let output = target_dir().join(target.name()).join(PROFILE).join(file);
    fs::read(&output).with_context(|| format!("cargo left no {}", output.display()))
}

/// Cargo for a target, in the profile of guests
pub(crate) fn cargo(subcommand: &str, target: Target) -> Command {
    let mut cargo = process::cargo();
    cargo.args([subcommand, "--target", target.name(), "--profile", PROFILE]);
    cargo.arg("--target-dir").arg(target_dir());
    cargo
}

/// A shell for a command line that compiles a component
pub(crate) fn shell(command: &str) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).env("CARGO_ENCODED_RUSTFLAGS", rustflags());
    shell
}

/// Separated as cargo expects it: a path may contain spaces.
fn rustflags() -> String {
    let linker = [STACK, COMPRESSED].map(str::to_owned).into_iter();
    linker.chain(remapped()).collect::<Vec<_>>().join("\u{1f}")
}

/// The flags that name sources in panics alike on every machine
pub(crate) fn remapped() -> impl Iterator<Item = String> {
    sources().into_iter().map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display()))
}

/// The folders of sources, and their names in panics
fn sources() -> Vec<(PathBuf, String)> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let cargo = home.or_else(|| Some(env::home_dir()?.join(".cargo")));
    // One folder for each registry, named after its address.
    let registries = cargo.and_then(|cargo| fs::read_dir(cargo.join("registry/src")).ok());
    let mut registries: Vec<PathBuf> =
        registries.into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())).collect();
    registries.sort();
    registries.into_iter().map(|registry| (registry, "crates".to_owned())).chain(library()).collect()
}

/// The folder of the standard library's source, and the compiler's name for it where it is not installed
fn library() -> Option<(PathBuf, String)> {
    let said = |arguments: &[&str]| process::output(Command::new("rustc").args(arguments)).ok();
    let (sysroot, version) = (said(&["--print", "sysroot"])?, said(&["--version", "--verbose"])?);
    let commit = version.lines().find_map(|line| line.strip_prefix("commit-hash: "))?;
    Some((PathBuf::from(sysroot.trim()).join("lib/rustlib/src/rust"), format!("/rustc/{commit}")))
}

/// Not that of the native builds: those are told nothing of linker flags.
fn target_dir() -> PathBuf {
    repo::target("guest")
}

const PROFILE: &str = "guest";
/// Each guest has a stack of its own in its linear memory; rustc's 1 MiB is for programs that recurse.
const STACK: &str = "-Clink-arg=-zstack-size=131072";
/// Else each address in the code has five bytes, whatever it is: a twelfth of the whole.
const COMPRESSED: &str = "-Clink-arg=--compress-relocations";
