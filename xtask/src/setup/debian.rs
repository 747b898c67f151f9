//! The targets from Debian's packages alone: its compiler and library source, and the C library of its backports.
//!
//! The system gets packages and nothing else: the standard library is built once, into a sysroot under `target/`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail, ensure};

use super::toolchain::{TARGETS, Target, Toolchain};
use crate::{process, repo, say};

pub(super) fn install() -> Result<Toolchain> {
    ensure!(
        process::exists("apt-get") && process::exists("dpkg-deb"),
        "this is not Debian: there is no apt-get"
    );
    require(&["rustc-web", "rust-web-src", "rust-web-clippy"])?;
    let path = linker()?;
    let sysroot = repo::target("debian/sysroot");
    let version = process::output(Command::new(RUSTC).arg("-vV"))?;
    let stamps = TARGETS.map(|target| sysroot.join(target.name()));
    let is_built = |stamp: &PathBuf| fs::read_to_string(stamp).is_ok_and(|built_by| built_by == version);
    if stamps.iter().all(is_built) {
        say::detail("the standard libraries are built already");
    } else {
        put_c_libraries(&sysroot)?;
        for (target, stamp) in TARGETS.into_iter().zip(&stamps) {
            put_standard_library(&sysroot, target)?;
            process::write_if_changed(stamp, version.as_bytes())?;
        }
    }
    let proof = [PathBuf::from(RUSTC)].into_iter().chain(stamps).collect();
    Ok(Toolchain {
        rustc: Some(RUSTC.into()),
        sysroot: Some(sysroot),
        path,
        proof,
        target_dir: "guest-debian".into(),
    })
}

/// Packages that must be there; only root can put them there. The services among them are not started.
pub(super) fn require(packages: &[&str]) -> Result<()> {
    let missing: Vec<&str> = packages.iter().copied().filter(|package| !is_installed(package)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let install = format!("apt-get install -y --no-install-recommends {}", missing.join(" "));
    ensure!(is_root(), "packages are missing; as root, run: apt-get update && {install}");
    say::step(&install);
    process::run(Command::new("apt-get").args(["update", "-qq"]))?;
    process::run(
        Command::new("apt-get")
            .args(["install", "-qy", "--no-install-recommends"])
            .args(&missing)
            .envs([("DEBIAN_FRONTEND", "noninteractive"), ("RUNLEVEL", "1")]),
    )
}

fn is_installed(package: &str) -> bool {
    let status =
        process::output(Command::new("dpkg-query").args(["-W", "-f", "${db:Status-Status}", package]));
    status.is_ok_and(|status| status == "installed")
}

fn is_root() -> bool {
    process::output(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0")
}

/// The folders of `wasm-component-ld` and of the `wasm-ld` that it calls: every rustup toolchain has both.
fn linker() -> Result<Vec<PathBuf>> {
    if let Some(folders) = linker_of("rustc") {
        return Ok(folders);
    }
    let llvm = llvm_version()?;
    require(&["rust-web-llvm", &format!("lld-{llvm}")])?;
    let of_rustc = linker_folder(RUSTC)?;
    let of_llvm = PathBuf::from(format!("/usr/lib/llvm-{llvm}/bin"));
    ensure!(of_rustc.join("wasm-component-ld").exists(), "rust-web-llvm brought no wasm-component-ld");
    ensure!(of_llvm.join("wasm-ld").exists(), "lld-{llvm} brought no wasm-ld");
    Ok(vec![of_rustc, of_llvm])
}

fn linker_of(rustc: &str) -> Option<Vec<PathBuf>> {
    let folder = linker_folder(rustc).ok()?;
    let inner = folder.join("gcc-ld");
    let complete = folder.join("wasm-component-ld").exists() && inner.join("wasm-ld").exists();
    complete.then(|| vec![folder, inner])
}

fn linker_folder(rustc: &str) -> Result<PathBuf> {
    let libraries = process::output(Command::new(rustc).args(["--print", "target-libdir"]))?;
    Ok(Path::new(libraries.trim()).with_file_name("bin"))
}

fn llvm_version() -> Result<String> {
    let version = process::output(Command::new(RUSTC).arg("-vV"))?;
    let llvm = version.lines().find_map(|line| line.strip_prefix("LLVM version: "));
    let major = llvm.and_then(|llvm| llvm.split('.').next());
    Ok(major.ok_or_else(|| anyhow!("{RUSTC} does not say which LLVM it uses"))?.to_owned())
}

/// `wasi-libc` is in the backports, which are rarely among a machine's sources: asked there without adding them.
fn put_c_libraries(sysroot: &Path) -> Result<()> {
    let began = Instant::now();
    let scratch = fresh("debian/libc")?;
    fs::create_dir_all(scratch.join("lists/partial"))?;
    fs::write(scratch.join("sources.list"), backports()?)?;
    process::output(apt(&scratch).arg("update"))?;
    process::output(apt(&scratch).args(["download", "wasi-libc"]))?;
    let package = files(&scratch, "deb")?.pop().ok_or_else(|| anyhow!("apt-get downloaded no wasi-libc"))?;
    process::output(Command::new("dpkg-deb").arg("-x").arg(&package).arg(scratch.join("unpacked")))?;
    for target in TARGETS {
        let own = sysroot.join("lib/rustlib").join(target.name()).join("lib/self-contained");
        fs::create_dir_all(&own)?;
        for file in ["libc.a", "crt1-command.o", "crt1-reactor.o"] {
            let from = scratch.join("unpacked/usr/lib").join(c_library(target)).join(file);
            fs::copy(&from, own.join(file))
                .with_context(|| format!("wasi-libc brought no {}", from.display()))?;
        }
    }
    say::done("the C library: wasi-libc of the backports", began);
    Ok(())
}

/// What Debian calls a target
fn c_library(target: Target) -> &'static str {
    match target {
        Target::Component => "wasm32-wasip2",
        Target::Module => "wasm32-wasi",
    }
}

fn apt(scratch: &Path) -> Command {
    let mut apt = Command::new("apt-get");
    apt.current_dir(scratch).arg("-q");
    let sources = format!("Dir::Etc::SourceList={}", scratch.join("sources.list").display());
    let lists = format!("Dir::State::Lists={}", scratch.join("lists").display());
    let cache = format!("Dir::Cache={}", scratch.display());
    for option in [sources.as_str(), "Dir::Etc::SourceParts=-", &lists, &cache, "APT::Sandbox::User="] {
        apt.args(["-o", option]);
    }
    apt
}

fn backports() -> Result<String> {
    let release = fs::read_to_string("/etc/os-release").context("cannot read /etc/os-release")?;
    let codename = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    let codename = codename.ok_or_else(|| anyhow!("/etc/os-release names no VERSION_CODENAME"))?;
    let format = ["indextargets", "--format", "$(SITE) $(CODENAME)", "Created-By: Packages"];
    let targets = process::output(Command::new("apt-get").args(format))?;
    backports_of(&targets, codename).ok_or_else(|| anyhow!("apt has no source for {codename}"))
}

/// The source of the backports, on the site where this machine gets its release
fn backports_of(targets: &str, codename: &str) -> Option<String> {
    let mut rows = targets.lines().filter_map(|row| row.split_once(' '));
    let (site, _) = rows.find(|(_, release)| *release == codename)?;
    Some(format!("deb {site} {codename}-backports main\n"))
}

/// Built from source as the dependencies of an empty library, which needs no linker.
fn put_standard_library(sysroot: &Path, target: Target) -> Result<()> {
    let began = Instant::now();
    say::step(&format!("building the standard library for {}, about half a minute", target.name()));
    let scratch = fresh("debian/std")?;
    fs::create_dir_all(scratch.join("src"))?;
    fs::write(scratch.join("Cargo.toml"), EMPTY_CRATE)?;
    fs::write(scratch.join("src/lib.rs"), "")?;
    process::run(build_std(&mut process::cargo(), &scratch, target))?;
    let to = sysroot.join("lib/rustlib").join(target.name()).join("lib");
    for library in files(&scratch.join("target").join(target.name()).join("release/deps"), "rlib")? {
        let name = library.file_name().unwrap_or_default();
        if !name.to_string_lossy().starts_with("libempty-") {
            fs::copy(&library, to.join(name))
                .with_context(|| format!("cannot copy {}", library.display()))?;
        }
    }
    say::done("the standard library", began);
    Ok(())
}

fn build_std<'a>(cargo: &'a mut Command, scratch: &Path, target: Target) -> &'a mut Command {
    cargo.current_dir(scratch).args([
        "build",
        "--release",
        "-Zbuild-std=std,panic_abort",
        "--target",
        target.name(),
    ]);
    cargo.arg("--target-dir").arg(scratch.join("target"));
    cargo.env("RUSTC", RUSTC).env_remove("LD_LIBRARY_PATH").env("RUSTC_BOOTSTRAP", "1");
    // Without its bitcode in the archives, a build with lto finds no section .llvmbc.
    cargo.env("RUSTFLAGS", "-Cembed-bitcode=yes")
}

fn fresh(folder: &str) -> Result<PathBuf> {
    let folder = repo::target(folder);
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

fn files(folder: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()?;
    let found: Vec<_> =
        paths.into_iter().filter(|path| path.extension().is_some_and(|it| it == extension)).collect();
    if found.is_empty() {
        bail!("there is no .{extension} in {}", folder.display());
    }
    Ok(found)
}

const RUSTC: &str = "/usr/bin/rustc";
const EMPTY_CRATE: &str = r#"
[package]
name = "empty"
version = "0.0.0"
edition = "2024"

[lib]
crate-type = ["rlib"]

[profile.release]
opt-level = "s"
panic = "abort"

[workspace]
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backports_are_asked_of_the_site_of_the_release_itself() {
        let targets = "http://updates.example bookworm-updates\nhttp://main.example/debian bookworm\n";

        let source = backports_of(targets, "bookworm");

        assert_eq!(source.as_deref(), Some("deb http://main.example/debian bookworm-backports main\n"));
        assert_eq!(backports_of(targets, "trixie"), None);
    }
}
