//! A broker instance for this process.

use token_broker_host::{Broker, Cache, Environment, Error, Instance};

use crate::failure::Failed;

pub(crate) async fn broker() -> Result<Instance, Failed> {
    let mut environment = Environment::inherit();
    if std::env::var_os(LOG).is_none() {
        // A failure is told once, by this command, unless the log was asked for.
        environment = environment.with(LOG, "off");
    }
    let mut builder = Broker::builder().environment(environment);
    if std::env::var_os(COMPONENT).is_none_or(|path| path.is_empty()) {
        builder = builder.component_bytes(built_in()?);
    }
    if let Some(cache) = Cache::of_user() {
        builder = builder.cache(cache);
    }
    Ok(builder.instantiate().await?)
}

fn built_in() -> Result<&'static [u8], Failed> {
    if BUILT_IN.is_empty() {
        return Err(Failed::from(Error::Other(format!(
            "this command was built without a broker component; run `cargo xtask build`, \
             or set {COMPONENT} to a token-broker-core.wasm"
        ))));
    }
    Ok(BUILT_IN)
}

const COMPONENT: &str = "TOKEN_BROKER_COMPONENT";
const LOG: &str = "TOKEN_BROKER_LOG";

static BUILT_IN: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/token-broker-core.wasm"));
