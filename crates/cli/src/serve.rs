//! `token-broker serve`

mod handler;
mod listener;
mod server;
mod write_limit;

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

use token_broker::Settings;
use token_broker_host::Error;
use token_broker_identity_endpoint::{IdentityApi, Question};

use crate::args::Serve;
use crate::end::end;
use crate::failure::Failed;
use crate::prepare::{LOG, Setup};
use crate::print;
use handler::Handler;
use listener::Listener;

/// Serve tokens to other processes until a signal ends this one.
pub(crate) async fn run(args: &Serve, setup: &Setup) -> Result<(), Failed> {
    let level = setup.log_level().unwrap_or(LEVEL);
    let settings = settings(args.secret_file.as_deref(), level)?;
    let api = IdentityApi::new(&settings)?;
    let audits = Question::AUDIT <= settings.log_level()?;
    let listener = match &args.unix {
        Some(path) => Listener::unix(path)?,
        None => Listener::tcp(args.listen, args.allow_remote).await?,
    };
    // The secret is for clients of this process; the broker must not get it.
    let setup = setup.clone().with(SECRET, "").with(LOG, level);
    let handler = Handler::new(setup.shared_broker().await?, api, audits);
    let end = end()?;
    print(announcement(&listener, &handler))?;
    server::serve(&listener, Arc::new(handler), end).await;
    Ok(())
}

/// The variables of the endpoint itself, with the secret from a file if one is named.
fn settings(secret_file: Option<&Path>, level: &str) -> Result<Settings, Failed> {
    let lossy = |text: OsString| text.to_string_lossy().into_owned();
    let mut settings =
        Settings::from_pairs(std::env::vars_os().map(|(name, value)| (lossy(name), lossy(value))));
    if let Some(file) = secret_file {
        let place = format!("the secret file {}", file.display());
        if settings.is_set(SECRET) {
            let what = format_args!("--secret-file is given, and {SECRET} is set");
            return Err(Error::misconfigured(what, "use one of them").into());
        }
        let text = std::fs::read_to_string(file).map_err(|error| {
            let what = format_args!("{place} cannot be read: {error}");
            Error::misconfigured(what, "name a text file that this user can read")
        })?;
        let secret = text.trim_end_matches(['\r', '\n']);
        if secret.is_empty() {
            let fix = "write the secret into it, `openssl rand -hex 32` prints one";
            return Err(Error::misconfigured(format_args!("{place} is empty"), fix).into());
        }
        settings.set_from(&place, SECRET, secret.to_owned());
    }
    settings.set(LOG, level.to_owned());
    Ok(settings)
}

/// One line: the URL, then the variables for clients, in shell syntax. The secret is not among them.
fn announcement(listener: &Listener, handler: &Handler) -> String {
    let url = listener.url();
    if !listener.is_tcp() {
        return format!("{url}\n");
    }
    let app_service = match handler.has_secret() {
        true => format!(" IDENTITY_ENDPOINT={url}{}", IdentityApi::APP_SERVICE_PATH),
        false => String::new(),
    };
    format!("{url} AZURE_POD_IDENTITY_AUTHORITY_HOST={url}{app_service}\n")
}

/// The default level: the log has a line for each token.
const LEVEL: &str = "info";
const SECRET: &str = token_broker::variables::ENDPOINT_SECRET;
