//! A broker for this process.

use std::mem::ManuallyDrop;
use std::path::PathBuf;

use serde_json::Value;
use token_broker_host::{Broker, Builder, Cache, Environment, Error, Instance, log_line};

use crate::failure::Failed;

/// Never dropped: the process ends with it, and gives its memory back faster than the instance would.
pub(crate) async fn broker() -> Result<ManuallyDrop<Instance>, Failed> {
    let mut builder = builder(Environment::inherit())?;
    if !is_set(LOG) {
        builder = builder.log(|line| {
            if !tells_the_failure(line) {
                log_line(line);
            }
        });
    }
    Ok(ManuallyDrop::new(builder.instantiate().await.map_err(named)?))
}

/// The failure of the one call is told once, by the command itself, unless the log was asked for.
fn tells_the_failure(line: &str) -> bool {
    serde_json::from_str(line).is_ok_and(|line: Value| line["event"] == "could not fetch a token")
}

/// One for many callers, which lives as long as this process.
pub(crate) async fn shared_broker(environment: Environment) -> Result<Broker, Failed> {
    builder(environment)?.build().await.map_err(named)
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
    if let Some(file) = file_in(ROOTS) {
        builder = builder.trusted_roots_file(file);
    }
    if let Some(cache) = Cache::of_user() {
        builder = builder.cache(cache);
    }
    Ok(builder)
}

/// Of the environment, the builder itself uses nothing but the roots.
pub(crate) fn named(error: wasmtime::Error) -> Failed {
    match error.downcast_ref() {
        Some(Error::Misconfigured(why)) => Error::Misconfigured(format!("{ROOTS}: {why}")).into(),
        _ => error.into(),
    }
}

const COMPONENT: &str = "TOKEN_BROKER_COMPONENT";
/// As OpenSSL and curl know it; here the authorities in it are added to the public ones.
pub(crate) const ROOTS: &str = "SSL_CERT_FILE";
pub(crate) const LOG: &str = "TOKEN_BROKER_LOG";
