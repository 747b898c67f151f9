//! The compiler that builds guests: rustup's or the machine's own, else Debian's.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::debian;
use crate::{process, repo, say};

/// How guests are compiled; kept in `target/toolchain.json`
#[derive(Serialize, Deserialize)]
pub(crate) struct Toolchain {
    /// The compiler; none is the one that cargo finds by itself
    pub(super) rustc: Option<PathBuf>,
    /// The standard library for the target, where the compiler does not have it
    pub(super) sysroot: Option<PathBuf>,
    /// Folders in front of `PATH`, for the linker
    pub(super) path: Vec<PathBuf>,
    /// What proves that the toolchain is still there
    pub(super) proof: Vec<PathBuf>,
    /// Inside `target/`. Cargo tells compilers apart only by version, and they would undo each other's builds.
    pub(super) target_dir: String,
}

impl Toolchain {
    /// The one that an earlier setup chose, if it is still there
    pub(crate) fn load() -> Option<Self> {
        let kept = fs::read(repo::target(KEPT)).ok()?;
        let toolchain = serde_json::from_slice::<Self>(&kept).ok()?;
        toolchain.proof.iter().all(|path| path.exists()).then_some(toolchain)
    }

    fn save(&self) -> Result<()> {
        let json = serde_json::to_vec_pretty(self).context("the toolchain cannot be written as JSON")?;
        process::write_if_changed(&repo::target(KEPT), &json)?;
        Ok(())
    }

    /// Cargo, told to compile for a target with this compiler
    pub(crate) fn cargo(&self, subcommand: &str, target: Target) -> Result<Command> {
        let mut cargo = self.bare_cargo(subcommand)?;
        cargo
            .args(["--target", target.name(), "--profile", PROFILE])
            .env("RUSTFLAGS", self.rustflags(target));
        cargo.arg("--target-dir").arg(self.target_dir());
        Ok(cargo)
    }

    /// Cargo with this compiler, and nothing said about what to compile
    fn bare_cargo(&self, subcommand: &str) -> Result<Command> {
        let mut cargo = self.program(subcommand);
        cargo.arg(subcommand).env("PATH", self.search_path()?);
        if let Some(rustc) = &self.rustc {
            // `cargo run` puts the libraries of its own compiler in front of those of this one.
            cargo.env("RUSTC", rustc).env_remove("LD_LIBRARY_PATH");
        }
        Ok(cargo)
    }

    /// Where cargo leaves what it makes of a package
    pub(crate) fn output(&self, package: &str, target: Target) -> PathBuf {
        let file = format!("{}.wasm", package.replace('-', "_"));
        self.target_dir().join(target.name()).join(PROFILE).join(file)
    }

    /// What components of this toolchain may import: its C library brings interfaces of its own
    pub(crate) fn import_lists(&self) -> PathBuf {
        repo::path(if self.sysroot.is_some() { "components/imports/debian" } else { "components/imports" })
    }

    /// Clippy must be of the compiler's version, and lies beside it.
    fn program(&self, subcommand: &str) -> Command {
        match &self.rustc {
            Some(rustc) if subcommand == "clippy" => {
                let mut clippy = Command::new(rustc.with_file_name("cargo-clippy"));
                clippy.current_dir(repo::path(""));
                clippy
            }
            _ => process::cargo(),
        }
    }

    fn rustflags(&self, target: Target) -> String {
        let mut flags = STACK.to_owned();
        if let Target::Module = target {
            flags = format!("{flags} {COMPRESSED}");
        }
        if let Some(sysroot) = &self.sysroot {
            flags = format!("{flags} --sysroot={}", sysroot.display());
        }
        flags
    }

    fn search_path(&self) -> Result<std::ffi::OsString> {
        let inherited = env::var_os("PATH").unwrap_or_default();
        let folders = self.path.iter().cloned().chain(env::split_paths(&inherited));
        env::join_paths(folders).context("a folder of the toolchain cannot be put into PATH")
    }

    fn target_dir(&self) -> PathBuf {
        repo::target(&self.target_dir)
    }
}

/// Bring the target in the first way that works, and remember it for every build
pub(super) fn choose(debian_only: bool) -> Result<Toolchain> {
    let began = Instant::now();
    let toolchain = match debian_only {
        true => debian::install().context("the target cannot be had from Debian's packages")?,
        false => any()?,
    };
    toolchain.save()?;
    let compiler = if toolchain.sysroot.is_some() { "Debian's compiler" } else { "the Rust in use" };
    say::done(&format!("{}: ready, by {compiler}", names().join(" and ")), began);
    Ok(toolchain)
}

fn any() -> Result<Toolchain> {
    if let Some(libraries) = libraries() {
        return Ok(Toolchain::plain(libraries));
    }
    let mut add = Command::new("rustup");
    add.args(["target", "add"]).args(names());
    say::step(&process::line(&add));
    match (process::run(&mut add), libraries()) {
        (Ok(()), Some(libraries)) => Ok(Toolchain::plain(libraries)),
        (Ok(()), None) => debian::install().with_context(by_hand),
        (Err(error), _) => {
            say::detail(&format!("{error:#}; trying Debian's packages"));
            debian::install().with_context(by_hand)
        }
    }
}

impl Toolchain {
    fn plain(libraries: Vec<PathBuf>) -> Self {
        Self { rustc: None, sysroot: None, path: vec![], proof: libraries, target_dir: "guest".into() }
    }
}

/// The folders where the compiler on `PATH` has the standard libraries of the targets, if it has all of them
fn libraries() -> Option<Vec<PathBuf>> {
    TARGETS.into_iter().map(library).collect()
}

fn library(target: Target) -> Option<PathBuf> {
    let mut rustc = Command::new("rustc");
    let printed =
        process::output(rustc.args(["--print", "target-libdir", "--target", target.name()])).ok()?;
    let folder = PathBuf::from(printed.trim());
    let mut files = fs::read_dir(&folder).ok()?.filter_map(Result::ok);
    files.any(|file| file.file_name().to_string_lossy().starts_with("libstd-")).then_some(folder)
}

/// What guests are compiled to
#[derive(Clone, Copy)]
pub(crate) enum Target {
    /// A component
    Component,
    /// A module, for hosts that know no components
    Module,
}

impl Target {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Component => "wasm32-wasip2",
            Self::Module => "wasm32-wasip1",
        }
    }
}

fn names() -> Vec<&'static str> {
    TARGETS.map(Target::name).to_vec()
}

fn by_hand() -> String {
    format!(
        "{} are missing: install Rust by https://rustup.rs and run `rustup target add {}`, or use Debian 12, whose \
         packages do as well",
        names().join(" and "),
        names().join(" ")
    )
}

pub(super) const TARGETS: [Target; 2] = [Target::Component, Target::Module];
const PROFILE: &str = "guest";
const KEPT: &str = "toolchain.json";
/// Each guest has a stack of its own in its linear memory; rustc's 1 MiB is for programs that recurse.
const STACK: &str = "-Clink-arg=-zstack-size=131072";
/// Else each address in the code has five bytes, whatever it is: a twelfth of the whole.
const COMPRESSED: &str = "-Clink-arg=--compress-relocations";
