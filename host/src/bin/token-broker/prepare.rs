//! A broker for this process.

use std::mem::ManuallyDrop;

use token_broker_host::{Broker, Builder, Cache, Environment, Error, Instance};

use crate::failure::Failed;

/// Never dropped: the process ends with it, and gives its memory back faster than the instance would.
pub(crate) async fn broker() -> Result<ManuallyDrop<Instance>, Failed> {
    // A failure is told once, by this command, unless the log was asked for.
    let builder = builder(environment("off"))?;
    Ok(ManuallyDrop::new(builder.instantiate().await.map_err(named)?))
}

/// One for many callers, which lives as long as this process.
pub(crate) async fn shared_broker(environment: Environment) -> Result<Broker, Failed> {
    builder(environment)?.build().await.map_err(named)
}

/// The environment of this process, with this level of the log where it says none.
pub(crate) fn environment(level: &str) -> Environment {
    let environment = Environment::inherit();
    let says = std::env::var_os(LOG).is_some_and(|level| !level.is_empty());
    if says { environment } else { environment.with(LOG, level) }
}

fn builder(environment: Environment) -> Result<Builder, Failed> {
    let mut builder = Broker::builder().environment(environment);
    if std::env::var_os(COMPONENT).is_none_or(|path| path.is_empty()) {
        builder = built_in(builder)?;
    }
    if let Some(file) = std::env::var_os(ROOTS).filter(|file| !file.is_empty()) {
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

fn built_in(builder: Builder) -> Result<Builder, Failed> {
    if BUILT_IN.is_empty() {
        return Err(Failed::from(Error::Other(format!(
            "this command was built without a broker component; run `cargo xtask build` and build it again, \
             or set {COMPONENT} to a token-broker-core.wasm"
        ))));
    }
    Ok(builder.component_built_in(BUILT_IN, *DIGEST))
}

const COMPONENT: &str = "TOKEN_BROKER_COMPONENT";
/// As OpenSSL and curl know it; here the authorities in it are added to the public ones.
pub(crate) const ROOTS: &str = "SSL_CERT_FILE";
const LOG: &str = "TOKEN_BROKER_LOG";

static BUILT_IN: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/token-broker-core.wasm"));
static DIGEST: &[u8; 32] = include_bytes!(concat!(env!("OUT_DIR"), "/token-broker-core.sha256"));
