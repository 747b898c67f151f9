//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand};
use token_broker_host::{Error, Identity, RawRequest};

/// Azure tokens for where this runs: by a managed identity, a workload identity, or an app registration's credential.
///
/// The identity source is found as in Azure's own libraries, by its usual environment variables; without any it is
/// the agent of an Azure Arc-enabled server, or the instance metadata service (IMDS) of an Azure virtual machine.
/// AZURE_TOKEN_CREDENTIALS selects among them, and `token-broker explain` shows them all. SSL_CERT_FILE names
/// authorities, as PEM, to believe besides the public ones. TOKEN_BROKER_LOG=debug shows what the broker does.
/// TOKEN_BROKER_COMPONENT names another broker component than the one inside this command.
#[derive(Debug, Parser)]
#[command(version, after_help = EXIT_CODES)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Get a token, and show whose it is and how long it lives, but not the token itself.
    #[command(after_help = GET_EXAMPLES)]
    Get(Get),
    /// Show which identity sources are seen here, what each would be asked, and why it would work or not.
    ///
    /// Nothing is sent without --try. Where every call for a token would fail, this fails with the same exit code.
    #[command(after_help = EXPLAIN_EXAMPLES, mut_group("Who", |who| who.requires("attempt")))]
    Explain(Explain),
    /// Run a component that imports token-broker:identity/credentials, and give it tokens for what is named.
    ///
    /// The broker, its environment and the identity endpoint stay outside of the component, which sees the variables that
    /// are named, reaches the origins that are named, and nothing else. What it prints is printed. Exit code 1 means that it
    /// failed, or exceeded its limit of time or memory.
    #[command(after_help = RUN_EXAMPLES)]
    Run(Run),
    /// Give tokens to other processes on this machine, as IMDS and App Service do: to any Azure SDK.
    ///
    /// One cache for all of them, and one request for those that ask at once. Prints where it listens and what clients
    /// set. Any process that reaches it gets tokens, as far as TOKEN_BROKER_ALLOWED_SCOPES and
    /// TOKEN_BROKER_ALLOWED_IDENTITIES let it: other users' too, over TCP. GET /stats counts. SIGTERM ends it.
    #[command(after_help = SERVE_EXAMPLES)]
    Serve(Serve),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Get {
    /// What the token is for.
    #[arg(long, value_name = "SCOPE")]
    pub(crate) scope: String,
    #[command(flatten)]
    pub(crate) identity: Who,
    /// Print the token and everything known of it as JSON.
    #[arg(long, conflicts_with = "raw")]
    pub(crate) json: bool,
    /// Print the token and nothing else.
    #[arg(long)]
    pub(crate) raw: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Explain {
    /// Ask for a token for real, and show what came of it.
    #[arg(long = "try")]
    pub(crate) attempt: bool,
    /// What --try asks a token for.
    #[arg(
        long,
        value_name = "SCOPE",
        default_value = "https://management.azure.com/.default",
        requires = "attempt"
    )]
    pub(crate) scope: String,
    #[command(flatten)]
    pub(crate) identity: Who,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Run {
    /// What it may have tokens for; may be given several times.
    #[arg(long, value_name = "SCOPE", required = true)]
    pub(crate) scope: Vec<String>,
    /// Where it may send requests, such as https://my.vault.azure.net; may be given several times. Over plain http no name
    /// but localhost may lead to this machine: give its address.
    #[arg(long, value_name = "ORIGIN")]
    pub(crate) allow: Vec<String>,
    /// A variable that it sees, with this value or with the one that it has here; may be given several times.
    #[arg(long, value_name = "NAME[=VALUE]")]
    pub(crate) env: Vec<String>,
    /// Time limit: the component is stopped when it is reached.
    #[arg(long, value_name = "SECONDS", default_value_t = 3600, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) timeout: u64,
    /// Memory limit, for all memories and tables of the component together.
    #[arg(long, value_name = "MIB", default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_memory: u32,
    /// The component: a command of WASI 0.3 or 0.2.
    #[arg(value_name = "COMPONENT")]
    pub(crate) component: PathBuf,
    /// Its arguments.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) arguments: Vec<String>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Serve {
    /// Where to listen, on loopback; port 0 is a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4141")]
    pub(crate) listen: SocketAddr,
    /// Listen on a Unix socket that only this user can open, instead.
    #[arg(long, value_name = "PATH", conflicts_with = "listen")]
    pub(crate) unix: Option<PathBuf>,
    /// What clients of App Service's protocol show as IDENTITY_HEADER; TOKEN_BROKER_ENDPOINT_SECRET does as well.
    #[arg(long, value_name = "FILE")]
    pub(crate) secret_file: Option<PathBuf>,
    /// Let --listen name an address that other machines can reach.
    #[arg(long, conflicts_with = "unix")]
    pub(crate) allow_remote: bool,
}

/// Whose token it is. Without any of these: the identity that TOKEN_BROKER_FEDERATED_CLIENT_ID names, else the one
/// that AZURE_CLIENT_ID does, else the system-assigned one.
#[derive(Debug, ClapArgs)]
#[group(multiple = false)]
pub(crate) struct Who {
    /// The user-assigned identity with this client id (a GUID).
    #[arg(long, value_name = "ID")]
    client_id: Option<String>,
    /// The user-assigned identity with this object id (a GUID).
    #[arg(long, value_name = "ID")]
    object_id: Option<String>,
    /// The user-assigned identity with this resource id (/subscriptions/...).
    #[arg(long, value_name = "ID")]
    resource_id: Option<String>,
}

impl Who {
    /// # Errors
    /// As the id's form demands.
    pub(crate) fn request(&self, scope: &str) -> Result<RawRequest, Error> {
        Ok(RawRequest { scopes: vec![scope.to_owned()], identity: self.identity()?, ..RawRequest::default() })
    }

    fn identity(&self) -> Result<Identity, Error> {
        match (&self.client_id, &self.object_id, &self.resource_id) {
            (Some(id), _, _) => Identity::client_id(id),
            (_, Some(id), _) => Identity::object_id(id),
            (_, _, Some(id)) => Identity::resource_id(id),
            (None, None, None) => Ok(Identity::Default),
        }
    }
}

const EXIT_CODES: &str = "Exit codes: 0 done, 1 other, 2 usage or invalid request, 3 misconfigured, 4 denied, \
    5 unavailable, 6 rejected, 7 throttled, 8 transient, 9 protocol";

const GET_EXAMPLES: &str = "\
Examples:
  token-broker get --scope https://vault.azure.net/.default
  token-broker get --scope https://storage.azure.com/.default --client-id 11111111-1111-1111-1111-111111111111
  curl -H \"Authorization: Bearer $(token-broker get --raw --scope https://management.azure.com/.default)\" \\
    'https://management.azure.com/subscriptions?api-version=2022-12-01'";

const RUN_EXAMPLES: &str = "\
Examples:
  token-broker run --scope https://vault.azure.net --allow https://my.vault.azure.net \\
    --env KEY_VAULT_URL=https://my.vault.azure.net key-vault.wasm --show";

const EXPLAIN_EXAMPLES: &str = "\
Examples:
  token-broker explain
  token-broker explain --try --scope https://vault.azure.net/.default";

const SERVE_EXAMPLES: &str = "\
Examples:
  token-broker serve
  AZURE_POD_IDENTITY_AUTHORITY_HOST=http://127.0.0.1:4141 python3 app.py
  token-broker serve --unix /run/token-broker/socket
  curl --unix-socket /run/token-broker/socket -H Metadata:true \\
    'http://localhost/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://vault.azure.net'";

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }
}
