//! The command line.

mod examples;
mod request;
mod write;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

pub(crate) use request::RequestOptions;
pub(crate) use write::{FileFormat, FileOption, ProcessOption, SignalOption, WriteOptions};

/// Get Azure tokens for this machine, from a managed identity, a workload identity or an app registration.
///
/// Finds the identity source as Azure's own libraries do, by the usual environment variables. Without any it asks the
/// agent of an Azure Arc-enabled server, or the instance metadata service (IMDS) of an Azure virtual machine.
/// AZURE_TOKEN_CREDENTIALS selects among the sources; `token-broker explain` lists them.
///
/// SSL_CERT_FILE names a PEM file of authorities to trust besides the public ones, HTTPS_PROXY a proxy for the requests
/// to Entra ID, NO_PROXY the hosts that are reached without it. TOKEN_BROKER_LOG sets the level of
/// the log. TOKEN_BROKER_COMPONENT names a broker component to use instead of the one inside this command. NO_COLOR
/// turns off colours in help texts.
#[derive(Debug, Parser)]
#[command(name = "token-broker", version, after_help = examples::EXIT_CODES)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Log more: -v is TOKEN_BROKER_LOG=info, -vv is debug
    #[arg(short, long, global = true, display_order = 900, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Get a token, and show its audience, identity, source and expiry, but not the token itself.
    ///
    /// --output prints the token in the form that another program takes; --write puts it into a file.
    #[command(after_help = examples::GET)]
    Get(Get),
    /// Show the identity sources in the order of trial: the variables, the request and the state of each.
    ///
    /// Sends nothing without --try. If the configuration fails every call for a token, exits with the code of that
    /// error.
    #[command(
        after_help = examples::EXPLAIN,
        mut_group("IdentityOptions", |options| options.requires("attempt")),
        mut_arg("tenant", |option| option.requires("attempt")),
        mut_arg("claims", |option| option.requires("attempt")),
        mut_arg("cae", |option| option.requires("attempt")),
        mut_group("Timeout", |options| options.requires("attempt"))
    )]
    Explain(Explain),
    /// Run a component that imports token-broker:identity/credentials, with tokens for the given scopes.
    ///
    /// The broker, its environment and the identity endpoint stay outside the component. The component sees the given
    /// variables, reaches the given origins, and shares stdin, stdout and stderr. Exit code 1: the component failed, or
    /// exceeded its limit of time or memory.
    #[command(after_help = examples::RUN)]
    Run(Run),
    /// Serve tokens to other processes on this machine with any Azure SDK, as IMDS and App Service do.
    ///
    /// All clients share one cache, and concurrent requests share one fetch. Prints its URL and the variables for
    /// clients. Every process that can connect gets the tokens that TOKEN_BROKER_ALLOWED_SCOPES and
    /// TOKEN_BROKER_ALLOWED_IDENTITIES allow; over TCP, so do processes of other users. GET /stats returns counters.
    /// SIGTERM ends the server.
    #[command(after_help = examples::SERVE)]
    Serve(Serve),
    /// Print the completion script for a shell.
    #[command(after_help = examples::COMPLETIONS)]
    Completions(Completions),
    /// Print the manual page, with every subcommand.
    #[command(after_help = examples::MAN)]
    Man,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Get {
    /// Scope of the token, such as https://vault.azure.net/.default
    #[arg(long, value_name = "SCOPE")]
    pub(crate) scope: String,
    #[command(flatten)]
    pub(crate) request: RequestOptions,
    #[command(flatten)]
    pub(crate) timeout: Timeout,
    /// Format of the output
    #[arg(long, short, value_enum, value_name = "FORMAT", default_value_t, conflicts_with = "files")]
    output: Output,
    #[command(flatten)]
    pub(crate) write: WriteOptions,
    /// Deprecated: use --output json, or --output az for the token as well
    #[arg(long, conflicts_with_all = ["output", "raw", "files"], hide = true)]
    json: bool,
    /// Deprecated: use --output token
    #[arg(long, conflicts_with_all = ["output", "files"], hide = true)]
    raw: bool,
}

/// The format in which `get` prints a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people: audience, identity, source, expiry and a fingerprint, without the token
    #[default]
    Text,
    /// Everything that is known of the token, without the token
    Json,
    /// The token and nothing else
    Token,
    /// As `az account get-access-token` prints it
    Az,
    /// An ExecCredential, for kubectl and other Kubernetes clients
    ExecCredential,
    /// The header of a request, for `curl -H @-`
    Header,
    /// The format of the deprecated option `--json`.
    #[value(skip)]
    JsonWithToken,
}

impl Output {
    /// True for the formats in JSON.
    pub(crate) fn is_json(self) -> bool {
        matches!(self, Self::Json | Self::JsonWithToken)
    }
}

impl Get {
    /// The warning for an option that goes in version 0.2.
    pub(crate) fn deprecation(&self) -> Option<&'static str> {
        match (self.json, self.raw) {
            (true, _) => {
                Some("--json is deprecated; fix: use --output json, or --output az for the token as well")
            }
            (_, true) => Some("--raw is deprecated; fix: use --output token"),
            _ => None,
        }
    }

    pub(crate) fn output(&self) -> Output {
        match (self.json, self.raw) {
            (true, _) => Output::JsonWithToken,
            (_, true) => Output::Token,
            _ => self.output,
        }
    }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Explain {
    /// Request a token, and show the outcome
    #[arg(long = "try")]
    pub(crate) attempt: bool,
    /// Scope of the token that --try requests
    #[arg(long, value_name = "SCOPE", default_value = Self::DEFAULT_SCOPE, requires = "attempt")]
    pub(crate) scope: String,
    #[command(flatten)]
    pub(crate) request: RequestOptions,
    #[command(flatten)]
    pub(crate) timeout: Timeout,
    /// Format of the output
    #[arg(long, short, value_enum, value_name = "FORMAT", default_value_t)]
    pub(crate) output: ReportOutput,
}

impl Explain {
    pub(crate) const DEFAULT_SCOPE: &str = "https://management.azure.com/.default";
}

/// The format of a report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportOutput {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Timeout {
    /// Time limit of the request for a token with all its retries, 1 to 600; overrides TOKEN_BROKER_BUDGET_MS
    #[arg(long = "timeout", value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=600))]
    pub(crate) seconds: Option<u64>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Run {
    /// Scope that the component may get tokens for; repeatable
    #[arg(long, value_name = "SCOPE", required = true)]
    pub(crate) scope: Vec<String>,
    /// Origin that the component may send requests to, such as https://my.vault.azure.net; repeatable. Over plain http,
    /// give this machine's address: no name but localhost may lead to it
    #[arg(long, value_name = "ORIGIN")]
    pub(crate) allow: Vec<String>,
    /// Variable of the component, with this value or its value here; repeatable
    #[arg(long, value_name = "NAME[=VALUE]", value_parser = variable)]
    pub(crate) env: Vec<String>,
    /// Time limit of the component
    #[arg(long, value_name = "SECONDS", default_value_t = 3600, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) timeout: u64,
    /// Memory limit for all memories and tables of the component together
    #[arg(long, value_name = "MIB", default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_memory: u32,
    /// Component to run: a command of WASI 0.3 or 0.2
    #[arg(value_name = "COMPONENT")]
    pub(crate) component: PathBuf,
    /// Arguments of the component
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) arguments: Vec<String>,
}

/// Of `--env`: a name, perhaps with a value.
fn variable(text: &str) -> Result<String, &'static str> {
    if text.is_empty() || text.starts_with('=') {
        Err("the variable has no name")
    } else {
        Ok(text.to_owned())
    }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Serve {
    /// Loopback address to listen on; port 0 selects a free port
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4141")]
    pub(crate) listen: SocketAddr,
    /// Listen on a Unix socket that only this user can open, instead
    #[arg(long, value_name = "PATH", conflicts_with = "listen")]
    pub(crate) unix: Option<PathBuf>,
    /// File with the secret that clients of App Service's protocol send as IDENTITY_HEADER; may also be set in
    /// TOKEN_BROKER_ENDPOINT_SECRET
    #[arg(long, value_name = "FILE")]
    pub(crate) secret_file: Option<PathBuf>,
    /// Allow an address that other machines can reach in --listen
    #[arg(long, conflicts_with = "unix")]
    pub(crate) allow_remote: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Completions {
    /// Shell to complete for
    pub(crate) shell: Shell,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }
}
