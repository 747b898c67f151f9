//! `token-broker serve`

mod desk;
mod listener;
mod server;
mod write_limit;

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

use token_broker::Settings;
use token_broker_host::{Environment, Error};
use token_broker_identity_endpoint::{IdentityApi, Question};
use tokio::signal::unix::{SignalKind, signal};

use crate::args::Serve;
use crate::failure::Failed;
use crate::prepare::{self, LOG};
use crate::print;
use desk::Desk;
use listener::Listener;

/// Give tokens to other processes until this one is told to end.
pub(crate) async fn run(args: &Serve) -> Result<(), Failed> {
    let settings = settings(args.secret_file.as_deref())?;
    let api = IdentityApi::new(&settings)?;
    let audits = Question::AUDIT <= settings.log_level()?;
    let listener = match &args.unix {
        Some(path) => Listener::unix(path)?,
        None => Listener::tcp(args.listen, args.allow_remote).await?,
    };
    // What clients show to this process is no business of the broker's.
    let mut environment = Environment::inherit().with(SECRET, "");
    if !prepare::is_set(LOG) {
        environment = environment.with(LOG, LEVEL);
    }
    let desk = Desk::new(prepare::shared_broker(environment).await?, api, audits);
    let end = end().map_err(Failed::other)?;
    print(&announcement(&listener, &desk))?;
    server::serve(&listener, Arc::new(desk), end).await;
    Ok(())
}

/// The variables that the endpoint itself reads, the secret from a file if one is named.
fn settings(secret_file: Option<&Path>) -> Result<Settings, Failed> {
    let lossy = |text: OsString| text.to_string_lossy().into_owned();
    let mut settings =
        Settings::from_pairs(std::env::vars_os().map(|(name, value)| (lossy(name), lossy(value))));
    if let Some(file) = secret_file {
        let unreadable =
            |why: &str| Error::Misconfigured(format!("the secret file {}: {why}", file.display()));
        if settings.is_set(SECRET) {
            return Err(unreadable(&format!("{SECRET} is set too; leave one of them out")).into());
        }
        let text = std::fs::read_to_string(file).map_err(|error| unreadable(&error.to_string()))?;
        let secret = text.trim_end_matches(['\r', '\n']);
        if secret.is_empty() {
            return Err(unreadable("it is empty").into());
        }
        settings.set(SECRET, secret.to_owned());
    }
    if !settings.is_set(LOG) {
        settings.set(LOG, LEVEL.to_owned());
    }
    Ok(settings)
}

/// One line: where it listens, then what clients set, as a shell takes it. The secret is not among it.
fn announcement(listener: &Listener, desk: &Desk) -> String {
    let url = listener.url();
    if !listener.is_tcp() {
        return format!("{url}\n");
    }
    let app_service = match desk.has_secret() {
        true => format!(" IDENTITY_ENDPOINT={url}{}", IdentityApi::APP_SERVICE_PATH),
        false => String::new(),
    };
    format!("{url} AZURE_POD_IDENTITY_AUTHORITY_HOST={url}{app_service}\n")
}

/// Until a service manager or a person says so.
fn end() -> std::io::Result<impl Future<Output = ()>> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Its work is to give out tokens, so each is in its log unless less is asked for.
const LEVEL: &str = "info";
const SECRET: &str = "TOKEN_BROKER_ENDPOINT_SECRET";
