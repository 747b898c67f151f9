//! Runs programs, and turns their failures into errors.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::repo;

/// The cargo that runs this program, at the root of the repository
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(repo::path(""));
    // The outer cargo's variables for this package: ring is built anew when they change, and wasmtime with it.
    for (name, _) in std::env::vars_os() {
        if name
            .to_str()
            .is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"))
        {
            command.env_remove(name);
        }
    }
    command
}

/// Run a program whose output goes to the terminal
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot run {}", line(command)))?;
    match status.success() {
        true => Ok(()),
        false => bail!("`{}` failed: {status}", line(command)),
    }
}

/// Run a program silently; its output, or an error with what it wrote
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {}", line(command)))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => bail!(
            "`{}` failed: {}\n{}",
            line(command),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim_end()
        ),
    }
}

/// The command line as a user would type it
pub(crate) fn line(command: &Command) -> String {
    let path = Path::new(command.get_program());
    let program = path.file_name().filter(|name| *name == "cargo").unwrap_or_else(|| command.get_program());
    let words = std::iter::once(program).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// Write a file unless it has this content already: builds compare the times of files
pub(crate) fn write_if_changed(path: &Path, content: &[u8]) -> Result<()> {
    if fs::read(path).is_ok_and(|held| held == content) {
        return Ok(());
    }
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_is_shown_as_it_is_typed_and_others_where_they_are() {
        assert_eq!(
            line(Command::new("/opt/toolchain/bin/cargo").args(["test", "-p", "x"])),
            "cargo test -p x"
        );
        assert_eq!(line(Command::new("target/venv/bin/python").arg("-V")), "target/venv/bin/python -V");
    }

    #[test]
    fn the_failure_of_a_silent_program_says_what_it_said() {
        let error = output(Command::new("ls").arg("/nowhere/at/all")).unwrap_err().to_string();

        assert!(error.contains("`ls /nowhere/at/all` failed"), "{error}");
        assert!(error.contains("No such file"), "{error}");
    }
}
