//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand};
use token_broker_host::{Error, Identity, RawRequest};

/// Get Azure tokens for this machine, from a managed identity, a workload identity or an app registration.
///
/// Finds the identity source as Azure's own libraries do, by the usual environment variables. Without any it asks the
/// agent of an Azure Arc-enabled server, or the instance metadata service (IMDS) of an Azure virtual machine.
/// AZURE_TOKEN_CREDENTIALS selects among the sources; `token-broker explain` lists them.
///
/// SSL_CERT_FILE names a PEM file of authorities to trust besides the public ones. TOKEN_BROKER_LOG=debug logs each
/// step. TOKEN_BROKER_COMPONENT names a broker component to use instead of the one inside this command.
#[derive(Debug, Parser)]
#[command(version, after_help = EXIT_CODES)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Get a token, and show its audience, identity, source and expiry, but not the token itself.
    #[command(after_help = GET_EXAMPLES)]
    Get(Get),
    /// Show the identity sources in the order of trial: the variables, the request and the state of each.
    ///
    /// Sends nothing without --try. If the configuration fails every call for a token, exits with the code of that
    /// error.
    #[command(after_help = EXPLAIN_EXAMPLES, mut_group("IdentityOptions", |options| options.requires("attempt")))]
    Explain(Explain),
    /// Run a component that imports token-broker:identity/credentials, with tokens for the given scopes.
    ///
    /// The broker, its environment and the identity endpoint stay outside the component. The component sees the given
    /// variables, reaches the given origins, and shares stdin, stdout and stderr. Exit code 1: the component failed, or
    /// exceeded its limit of time or memory.
    #[command(after_help = RUN_EXAMPLES)]
    Run(Run),
    /// Serve tokens to other processes on this machine with any Azure SDK, as IMDS and App Service do.
    ///
    /// All clients share one cache, and concurrent requests share one fetch. Prints its URL and the variables for
    /// clients. Every process that can connect gets the tokens that TOKEN_BROKER_ALLOWED_SCOPES and
    /// TOKEN_BROKER_ALLOWED_IDENTITIES allow; over TCP, so do processes of other users. GET /stats returns counters.
    /// SIGTERM ends the server.
    #[command(after_help = SERVE_EXAMPLES)]
    Serve(Serve),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Get {
    /// Scope of the token, such as https://vault.azure.net/.default
    #[arg(long, value_name = "SCOPE")]
    pub(crate) scope: String,
    #[command(flatten)]
    pub(crate) identity: IdentityOptions,
    /// Print the token, its type, expiry and source as JSON
    #[arg(long, conflicts_with = "raw")]
    pub(crate) json: bool,
    /// Print the token and nothing else
    #[arg(long)]
    pub(crate) raw: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Explain {
    /// Request a token, and show the outcome
    #[arg(long = "try")]
    pub(crate) attempt: bool,
    /// Scope of the token that --try requests
    #[arg(
        long,
        value_name = "SCOPE",
        default_value = "https://management.azure.com/.default",
        requires = "attempt"
    )]
    pub(crate) scope: String,
    #[command(flatten)]
    pub(crate) identity: IdentityOptions,
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
    #[arg(long, value_name = "NAME[=VALUE]")]
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

/// The identity of the token. Default: the one that TOKEN_BROKER_FEDERATED_CLIENT_ID names, else AZURE_CLIENT_ID, else
/// the system-assigned one.
#[derive(Debug, ClapArgs)]
#[group(multiple = false)]
pub(crate) struct IdentityOptions {
    /// Client id (a GUID) of a user-assigned identity
    #[arg(long, value_name = "ID")]
    client_id: Option<String>,
    /// Object id (a GUID) of a user-assigned identity
    #[arg(long, value_name = "ID")]
    object_id: Option<String>,
    /// Resource id (/subscriptions/...) of a user-assigned identity
    #[arg(long, value_name = "ID")]
    resource_id: Option<String>,
}

impl IdentityOptions {
    /// # Errors
    /// The id is malformed.
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

const EXIT_CODES: &str = "Exit codes: 0 success, 1 other, 2 usage or invalid request, 3 misconfigured, 4 denied, \
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
