//! An example as a user has it, and the commands that its README says to type.

use std::ffi::OsString;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use mock_identity::Environment;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use crate::hosts;

/// A copy of an example's folder, beside the contract and the built components. The next copy takes its place.
pub struct Example {
    folder: PathBuf,
    commands: Vec<String>,
    variables: String,
}

/// A server that an example's README says to start; it ends when dropped.
pub struct Served {
    process: Child,
    address: String,
    log: JoinHandle<String>,
}

impl Served {
    /// Host and port.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// End it; all that it has printed since it listened.
    ///
    /// # Errors
    /// When the system does not let us.
    pub async fn end(mut self) -> Result<String> {
        self.process.kill().await?;
        Ok(self.log.await?)
    }
}

/// What one of an example's commands would install, and `cargo xtask setup` has installed already.
pub struct Installed {
    /// The command.
    pub by: &'static str,
    /// Where in the example's folder it would put it.
    pub at: &'static str,
    /// Where in `target/` it lies.
    pub lies: &'static str,
}

impl Example {
    /// Copy `examples/NAME`.
    ///
    /// # Errors
    /// If something is not installed, if the README does not say to install it, or what kept the copy from being made.
    pub fn copy(name: &str, installed: &[Installed]) -> Result<Self> {
        let repo = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize()?;
        let source = repo.join("examples").join(name);
        // Inside `target/`, so that `cargo xtask` is found from there as from the example itself.
        let root = repo.join("target/copied").join(name);
        let _ = std::fs::remove_dir_all(&root);
        let folder = root.join("examples").join(name);
        copy(&source, &folder)?;
        for shared in ["target", "wit"] {
            symlink(repo.join(shared), root.join(shared))?;
        }
        let readme = std::fs::read_to_string(source.join("README.md"))?;
        let mut commands = commands(&readme);
        for Installed { by, at, lies } in installed {
            let position = commands.iter().position(|command| command == by);
            commands.remove(position.with_context(|| format!("its README does not say: {by}"))?);
            let lies = repo.join("target").join(lies);
            ensure!(lies.exists(), "{} is missing; cargo xtask setup brings it", lies.display());
            symlink(lies, folder.join(at))?;
        }
        Ok(Self { folder, commands, variables: variables(&readme) })
    }

    /// Its commands, in order.
    ///
    /// # Errors
    /// What keeps a command from being typed.
    pub fn commands(&self) -> Result<Vec<Command>> {
        self.commands.iter().map(|command| self.typed(command)).collect()
    }

    /// The lines themselves.
    pub fn lines(&self) -> &[String] {
        &self.commands
    }

    /// Type every command but the last, which is what the example is about.
    ///
    /// # Errors
    /// What a command that failed has said.
    pub fn build(&self) -> Result<()> {
        for command in self.commands.split_last().map(|(_, before)| before).unwrap_or_default() {
            let output = self.typed(command)?.as_std_mut().output()?;
            let said = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.success(), "`{command}` failed: {}\n{said}", output.status);
        }
        Ok(())
    }

    /// The last command, to be run with more variables perhaps.
    ///
    /// # Errors
    /// If there is none.
    pub fn shown(&self) -> Result<Command> {
        self.typed(self.commands.last().context("its README says to type nothing")?)
    }

    /// Our command, and hosts that setup has brought, are found before those of the machine. A variable that the README
    /// says to export has that value, unless the command is given another.
    ///
    /// # Errors
    /// What keeps it from being typed.
    pub fn typed(&self, command: &str) -> Result<Command> {
        let mut shell = Command::new("sh");
        shell
            .args(["-c", &format!("{}{command}", self.variables)])
            .current_dir(&self.folder)
            .env("PATH", path()?)
            .kill_on_drop(true);
        Ok(shell)
    }

    /// Type one of its commands that begins a server, and wait until it says where it listens.
    ///
    /// # Errors
    /// If it ends without saying so.
    pub async fn serve(&self, command: &str, variables: &Environment) -> Result<Served> {
        // In the place of the shell, so that it ends with this.
        let mut server = self.typed(&format!("exec {command} 2>&1"))?;
        server.envs(variables.iter().map(|(name, value)| (name, value)));
        let mut process = server.stdout(Stdio::piped()).spawn()?;
        let mut output = BufReader::new(process.stdout.take().context("a child without its pipe")?);
        let mut line = String::new();
        output.read_line(&mut line).await?;
        let (_, address) = line.split_once("http://").with_context(|| format!("it said {line}"))?;
        let address = address.trim_end().trim_end_matches('/').to_owned();
        let log = tokio::spawn(async move {
            let mut log = String::new();
            _ = output.read_to_string(&mut log).await;
            log
        });
        Ok(Served { process, address, log })
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

/// The lines of the README's consoles that begin with a prompt.
fn commands(readme: &str) -> Vec<String> {
    let consoles = readme.split("```").skip(1).step_by(2).filter_map(|block| block.strip_prefix("console\n"));
    consoles.flat_map(str::lines).filter_map(|line| line.strip_prefix("$ ")).map(str::to_owned).collect()
}

/// The lines of a README that begin with `export`, as a shell's words for the same that leave alone what is set.
fn variables(readme: &str) -> String {
    let exported = readme.lines().filter_map(|line| line.strip_prefix("export "));
    let pairs = exported.flat_map(str::split_whitespace).filter_map(|word| word.split_once('='));
    pairs.map(|(name, value)| format!("export {name}=\"${{{name}:-{value}}}\"\n")).collect()
}

fn path() -> Result<OsString> {
    let inherited = std::env::var_os("PATH").unwrap_or_default();
    let hosts = hosts::wasmtime().parent().map(Path::to_owned);
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release").canonicalize()?;
    let brought = std::iter::once(ours).chain(hosts);
    Ok(std::env::join_paths(brought.chain(std::env::split_paths(&inherited)))?)
}

/// Without what somebody may have made there by the same commands, and without what makes it a package: cargo refuses a
/// member of a workspace that the workspace does not know.
fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let (name, to) = (entry.file_name(), to.join(entry.file_name()));
        let kind = entry.file_type()?;
        if LEFT_OUT.iter().any(|out| name == *out) {
            continue;
        } else if kind.is_symlink() {
            symlink(std::fs::read_link(entry.path())?, to)?;
        } else if kind.is_dir() {
            copy(&entry.path(), &to)?;
        } else {
            std::fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}

const LEFT_OUT: [&str; 5] = [".venv", "Cargo.toml", "__pycache__", "broker", "node_modules"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_console_shows_behind_its_prompt_is_typed_and_nothing_else() {
        let readme =
            "A `word`.\n\n```console\n$ one --two\nits output\n$ three\n```\n\n```sh\n$ not this\n```\n";

        assert_eq!(commands(readme), ["one --two", "three"]);
    }

    #[test]
    fn what_a_readme_exports_is_set_unless_it_is_already() {
        let readme = "```sh\nexport ACCOUNT=https://example.com URL=$ACCOUNT/it\n```\n";

        let script = format!("{}echo $ACCOUNT $URL", variables(readme));

        let echo = |given: &[(&str, &str)]| {
            let mut shell = std::process::Command::new("sh");
            let output =
                shell.args(["-c", &script]).env_clear().envs(given.iter().copied()).output().unwrap();
            String::from_utf8(output.stdout).unwrap()
        };
        assert_eq!(echo(&[]), "https://example.com https://example.com/it\n");
        assert_eq!(echo(&[("ACCOUNT", "http://here")]), "http://here http://here/it\n");
    }
}
