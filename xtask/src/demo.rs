//! `cargo xtask demo`: runs the commands that a user would type, and shows them with their output.

use std::collections::BTreeMap;
use std::env;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};

use anyhow::{Context, Result, ensure};

use crate::{artefact, build, process, repo, say};

/// The platform that is asked
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Ask this machine's own identity endpoint instead of a mock; KEY_VAULT_URL names a vault
    #[arg(long)]
    real: bool,
    /// With --real, a user-assigned identity of this machine
    #[arg(long, value_name = "GUID", requires = "real")]
    client_id: Option<String>,
    /// Run the programs of this folder, and build none
    #[arg(long, value_name = "FOLDER")]
    programs: Option<PathBuf>,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    build::artefacts(&artefact::selected(["token-broker-core", "key-vault"]))?;
    if options.programs.is_none() {
        say::step(
            "build: the command and the mock platform; the first time it takes minutes, most of them for wasmtime",
        );
        process::run(process::cargo().args(["build", "--profile", "demo"]).args(PROGRAMS))?;
    }
    say::step("demo");
    let programs = options.programs.clone().unwrap_or_else(|| repo::target("demo"));
    let mut shell = Shell { programs, exported: BTreeMap::new(), mock: None };
    let (client_id, vault) = match options.real {
        true => (options.client_id.clone(), env::var("KEY_VAULT_URL").ok()),
        false => {
            let url = shell.start_mock()?;
            shell.export("AZURE_POD_IDENTITY_AUTHORITY_HOST", &url);
            (Some(USER_ASSIGNED.to_owned()), Some(url))
        }
    };
    let get = ["get", "--scope", SCOPE];
    heading("The sources of tokens, and which of them answers here");
    shell.token_broker(&["explain"], OK)?;
    heading("A token of the system-assigned identity");
    shell.token_broker(&get, OK)?;
    if let Some(id) = client_id {
        heading("A token of a user-assigned identity");
        shell.token_broker(&[&get[..], &["--client-id", &id]].concat(), OK)?;
    }
    heading("An identity that does not exist: the error, and the commands that fix it");
    shell.token_broker(&[&get[..], &["--client-id", NOBODY]].concat(), REJECTED)?;
    if let Some(vault) = vault {
        heading("A component reads a secret, with a token from its host");
        shell.export("KEY_VAULT_URL", &vault);
        let run = ["run", "--scope", SCOPE, "--allow", &vault, "--env", "KEY_VAULT_URL", COMPONENT];
        shell.token_broker(&run, OK)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Run the demo with the programs of a folder, and build none
pub(crate) fn with(programs: &Path) -> Result<()> {
    run(&Options { real: false, client_id: None, programs: Some(programs.to_owned()) }).map(drop)
}

/// Shows commands and runs them, at the root of the repository
struct Shell {
    /// The folder of the programs
    programs: PathBuf,
    exported: BTreeMap<&'static str, String>,
    mock: Option<Mock>,
}

impl Shell {
    /// Start the mock in the background; its URL
    fn start_mock(&mut self) -> Result<String> {
        heading("A mock of Azure's identity platform");
        println!("$ mock-identity &");
        let mut mock = Command::new(self.programs.join("mock-identity"));
        let mut mock = Mock(mock.stdout(Stdio::piped()).spawn().context("mock-identity does not start")?);
        let mut url = String::new();
        BufReader::new(mock.0.stdout.take().context("no output")?).read_line(&mut url)?;
        print!("{url}");
        self.mock = Some(mock);
        Ok(url.trim().to_owned())
    }

    fn export(&mut self, name: &'static str, value: &str) {
        println!("$ export {name}={value}");
        self.exported.insert(name, value.to_owned());
    }

    /// Run the command, which must exit with this code
    fn token_broker(&self, arguments: &[&str], code: i32) -> Result<()> {
        println!("$ token-broker {}", arguments.join(" "));
        let mut command = Command::new(self.programs.join("token-broker"));
        if self.mock.is_some() {
            // Variables of this machine may select another source.
            command.env_clear().envs(env::vars_os().filter(|(name, _)| name == "HOME"));
        }
        command.current_dir(repo::path("")).args(arguments).envs(&self.exported);
        let exited = command.status().context("token-broker does not start")?.code();
        ensure!(exited == Some(code), "it exited with {exited:?} in place of {code}");
        Ok(())
    }
}

fn heading(title: &str) {
    println!("\n# {title}");
}

/// Runs until it is dropped
struct Mock(Child);

impl Drop for Mock {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const PROGRAMS: [&str; 8] =
    ["-p", "token-broker-cli", "--bin", "token-broker", "-p", "mock-identity", "--bin", "mock-identity"];
const SCOPE: &str = "https://vault.azure.net";
const COMPONENT: &str = "target/components/key-vault.wasm";
/// Of the identities that the mock has without a configuration
const USER_ASSIGNED: &str = "11112222-bbbb-3333-cccc-4444dddd5555";
const NOBODY: &str = "99999999-9999-9999-9999-999999999999";
/// Exit codes of the command
const OK: i32 = 0;
const REJECTED: i32 = 6;
