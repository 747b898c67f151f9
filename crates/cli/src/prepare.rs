//! The broker of the command, configured by the environment and the options that override it.

use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};

use serde_json::Value;
use token_broker::variables::BUDGET_MS;
use token_broker_host::{
    Broker, Builder, Cache, Environment, Error, HttpPolicy, Instance, Proxies, TrustedRoots, log_line,
};

use crate::args::Timeout;
use crate::failure::Failed;
use crate::progress::Progress;
use crate::wasm_file;

/// The configuration of a broker.
#[derive(Clone)]
pub(crate) struct Setup {
    environment: Environment,
    log_level: Option<String>,
    shows_progress: bool,
    cache: Option<Cache>,
}

impl Setup {
    /// That of the environment. `-v` overrides the level of the log in it, and shows progress to a pipe, too.
    pub(crate) fn new(verbose: u8) -> Self {
        let shows_progress = verbose > 0 || std::io::IsTerminal::is_terminal(&std::io::stderr());
        let log_level = std::env::var_os(LOG).filter(|level| !level.is_empty());
        let log_level = log_level.map(|level| level.to_string_lossy().into_owned());
        let environment = Environment::inherit();
        let setup = Self { environment, log_level, shows_progress, cache: Cache::of_user() };
        match verbose {
            0 => setup,
            1 => setup.with(LOG, "info"),
            _ => setup.with(LOG, "debug"),
        }
    }

    /// The same with another value of a variable.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.environment = self.environment.with(name, value);
        if name == LOG {
            self.log_level = Some(value.to_owned());
        }
        self
    }

    pub(crate) fn with_timeout(&self, timeout: &Timeout) -> Self {
        match timeout.seconds {
            Some(seconds) => self.clone().with(BUDGET_MS, &seconds.saturating_mul(1000).to_string()),
            None => self.clone(),
        }
    }

    /// The level of the log, if `-v` or the environment sets it.
    pub(crate) fn log_level(&self) -> Option<&str> {
        self.log_level.as_deref()
    }

    /// One instance for one call. Never dropped: the end of the process frees its memory faster.
    pub(crate) async fn instance(&self) -> Result<ManuallyDrop<Instance>, Failed> {
        self.instance_of(self.builder()?).await
    }

    /// An instance whose requests a policy decides on.
    pub(crate) async fn instance_with(
        &self,
        policy: impl HttpPolicy,
    ) -> Result<ManuallyDrop<Instance>, Failed> {
        self.instance_of(self.builder()?.http(policy)).await
    }

    /// A shared broker, which lives as long as the process.
    pub(crate) async fn shared_broker(&self) -> Result<Broker, Failed> {
        self.made(self.builder()?.build()).await
    }

    /// The same with another log.
    pub(crate) async fn shared_broker_with_log(
        &self,
        log: impl Fn(&str) + Send + Sync + 'static,
    ) -> Result<Broker, Failed> {
        self.made(self.builder()?.log(log).build()).await
    }

    /// Wait for a token.
    pub(crate) async fn waiting<T>(&self, token: impl Future<Output = T>) -> T {
        self.while_showing("waiting for the identity service", token).await
    }

    /// Name the work on stderr if it takes longer than a second.
    pub(crate) async fn while_showing<T>(&self, work: &'static str, done: impl Future<Output = T>) -> T {
        let _progress = self.shows_progress.then(|| Progress::on(work));
        done.await
    }

    async fn instance_of(&self, mut builder: Builder) -> Result<ManuallyDrop<Instance>, Failed> {
        if self.log_level.is_none() {
            builder = builder.log(|line| {
                if !repeats_the_error(line) {
                    log_line(line);
                }
            });
        }
        self.made(builder.instantiate()).await.map(ManuallyDrop::new)
    }

    /// A broker, once it is compiled, which is said if it takes long or will take as long again.
    async fn made<T>(&self, broker: impl Future<Output = wasmtime::Result<T>>) -> Result<T, Failed> {
        let broker = self.while_showing(COMPILING, broker).await.map_err(|error| of_host(&error))?;
        if let Some(why) = self.cache.as_ref().and_then(Cache::failure) {
            log_line(&format!("warning: each start compiles the broker component again: {why}"));
        }
        Ok(broker)
    }

    fn builder(&self) -> Result<Builder, Failed> {
        let mut builder =
            Broker::builder().environment(self.environment.clone()).proxies(Proxies::inherit()?);
        if let Some(file) = file_in(COMPONENT) {
            builder = with_component(builder, &file)?;
        }
        if let Some(roots) = trusted_roots()? {
            builder = builder.trusted_roots(roots);
        }
        if let Some(cache) = &self.cache {
            builder = builder.cache(cache.clone());
        }
        Ok(builder)
    }
}

/// A file that ends in `.cwasm` is precompiled; the host has rules for its owner.
fn with_component(builder: Builder, file: &Path) -> Result<Builder, Error> {
    if file.extension().is_some_and(|extension| extension == "cwasm") {
        return Ok(builder.component_file(file));
    }
    wasm_file::read(file).map(|bytes| builder.component_bytes(bytes)).map_err(of_component)
}

/// An error of the host, which has a fix in it: the component that the environment names, or its own, is of no use.
fn of_host(error: &wasmtime::Error) -> Failed {
    match (error.downcast_ref::<Error>(), file_in(COMPONENT)) {
        (Some(error), _) => error.clone().into(),
        (None, Some(file)) => of_component(format!("{}: {error:#}", file.display())).into(),
        (None, None) => Error::Other(format!("{error:#}")).into(),
    }
}

fn of_component(why: String) -> Error {
    Error::Misconfigured(format!("{COMPONENT}: {why}"))
}

/// True for a log line that repeats an error: the command prints the error itself.
pub(crate) fn repeats_the_error(line: &str) -> bool {
    serde_json::from_str(line).is_ok_and(|line: Value| line["event"] == "could not fetch a token")
}

/// The file that a variable names.
fn file_in(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// The authorities that `SSL_CERT_FILE` names, as for OpenSSL and curl; here they are added to the public ones.
pub(crate) fn trusted_roots() -> Result<Option<TrustedRoots>, Error> {
    let roots = file_in(ROOTS).map(TrustedRoots::from_file).transpose();
    roots.map_err(|error| match error {
        Error::Misconfigured(why) => Error::Misconfigured(format!("{ROOTS}: {why}")),
        other => other,
    })
}

const COMPILING: &str = "compiling the broker component";
const COMPONENT: &str = "TOKEN_BROKER_COMPONENT";
const ROOTS: &str = "SSL_CERT_FILE";
pub(crate) const LOG: &str = token_broker::Settings::LOG;
