//! The broker of the command, configured by the environment.

use std::mem::ManuallyDrop;
use std::path::PathBuf;

use serde_json::Value;
use token_broker_host::{Broker, Builder, Cache, Environment, Error, Instance, TrustedRoots, log_line};

use crate::failure::Failed;

/// One instance for one call. Never dropped: the end of the process frees its memory faster.
pub(crate) async fn broker() -> Result<ManuallyDrop<Instance>, Failed> {
    let mut builder = builder(Environment::inherit())?;
    if !is_set(LOG) {
        builder = builder.log(|line| {
            if !repeats_the_error(line) {
                log_line(line);
            }
        });
    }
    let instance = builder.instantiate().await.map_err(|error| Failed::of_host(&error))?;
    Ok(ManuallyDrop::new(instance))
}

/// Whether a log line repeats the error that the command itself prints.
fn repeats_the_error(line: &str) -> bool {
    serde_json::from_str(line).is_ok_and(|line: Value| line["event"] == "could not fetch a token")
}

/// A shared broker, which lives as long as the process.
pub(crate) async fn shared_broker(environment: Environment) -> Result<Broker, Failed> {
    builder(environment)?.build().await.map_err(|error| Failed::of_host(&error))
}

/// Whether a variable is set for this process, and not empty.
pub(crate) fn is_set(name: &str) -> bool {
    file_in(name).is_some()
}

/// The file that a variable names.
pub(crate) fn file_in(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
}

fn builder(environment: Environment) -> Result<Builder, Failed> {
    let mut builder = Broker::builder().environment(environment);
    if let Some(file) = file_in(COMPONENT) {
        builder = builder.component_file(file);
    }
    if let Some(roots) = trusted_roots()? {
        builder = builder.trusted_roots(roots);
    }
    if let Some(cache) = Cache::of_user() {
        builder = builder.cache(cache);
    }
    Ok(builder)
}

/// The authorities that `SSL_CERT_FILE` names, as for OpenSSL and curl; here they are added to the public ones.
pub(crate) fn trusted_roots() -> Result<Option<TrustedRoots>, Error> {
    let roots = file_in(ROOTS).map(TrustedRoots::from_file).transpose();
    roots.map_err(|error| match error {
        Error::Misconfigured(why) => Error::Misconfigured(format!("{ROOTS}: {why}")),
        other => other,
    })
}

const COMPONENT: &str = "TOKEN_BROKER_COMPONENT";
const ROOTS: &str = "SSL_CERT_FILE";
pub(crate) const LOG: &str = token_broker::Settings::LOG;
