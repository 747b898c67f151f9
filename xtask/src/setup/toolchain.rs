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
        cargo.args(["--target", target.name(), "--profile", PROFILE]);
        cargo.arg("--target-dir").arg(self.target_dir());
        Ok(cargo)
    }

    /// Cargo with this compiler, and nothing said about what to compile
    pub(crate) fn bare_cargo(&self, subcommand: &str) -> Result<Command> {
        let mut cargo = self.program(subcommand);
        cargo.arg(subcommand);
        self.equip(&mut cargo)?;
        Ok(cargo)
    }

    /// A shell with this compiler, for a command line that says what to compile
    pub(crate) fn shell(&self, command: &str) -> Result<Command> {
        let mut shell = Command::new("sh");
        shell.args(["-c", command]);
        self.equip(&mut shell)?;
        Ok(shell)
    }

    fn equip(&self, command: &mut Command) -> Result<()> {
        command.env("PATH", self.search_path()?).env("CARGO_ENCODED_RUSTFLAGS", self.rustflags());
        if let Some(rustc) = &self.rustc {
            // `cargo run` puts the libraries of its own compiler in front of those of this one.
            command.env("RUSTC", rustc).env_remove("LD_LIBRARY_PATH");
        }
        Ok(())
    }

    /// What the compiler calls itself
    pub(crate) fn version(&self) -> Result<String> {
        let rustc = self.rustc.clone().unwrap_or_else(|| "rustc".into());
        Ok(process::output(Command::new(rustc).arg("--version").env_remove("LD_LIBRARY_PATH"))?
            .trim()
            .to_owned())
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

    /// Between them what cargo takes for that: a path may have spaces.
    fn rustflags(&self) -> String {
        let sysroot = self.sysroot.iter().map(|sysroot| format!("--sysroot={}", sysroot.display()));
        let elsewhere =
            sources().into_iter().map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display()));
        [STACK, COMPRESSED]
            .map(str::to_owned)
            .into_iter()
            .chain(sysroot)
            .chain(elsewhere)
            .collect::<Vec<_>>()
            .join("\u{1f}")
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

/// Where sources lie on this machine, and what panics call it instead: components are the same wherever they are built.
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

/// Where the source of the standard library lies if it is installed, and what the compiler calls it if it is not
fn library() -> Option<(PathBuf, String)> {
    let said = |arguments: &[&str]| process::output(Command::new("rustc").args(arguments)).ok();
    let (sysroot, version) = (said(&["--print", "sysroot"])?, said(&["--version", "--verbose"])?);
    let commit = version.lines().find_map(|line| line.strip_prefix("commit-hash: "))?;
    Some((PathBuf::from(sysroot.trim()).join("lib/rustlib/src/rust"), format!("/rustc/{commit}")))
}

/// The folders where the compiler on `PATH` has the standard libraries of the targets, if it has all of them
fn libraries() -> Option<Vec<PathBuf>> {
    TARGETS.into_iter().map(libraries_of).collect()
}

fn libraries_of(target: Target) -> Option<PathBuf> {
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
    pub(crate) fn name(self) -> &'static str {
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
