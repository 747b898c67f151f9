//! An application of Spin's, served as its manifest says: the components that `cargo xtask build` has composed, each with
//! what it is lent and no more.

use std::collections::BTreeMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use token_broker_host::{Egress, engine_config};
use wasmtime::Engine;
use wasmtime::component::{Component, Linker};
use wasmtime_wasi::WasiCtx;
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;

use super::Spin;
use crate::hosts::artefact;
use crate::serve::{Reuse, Server};
use crate::wasi;

/// A running application; it stops when dropped.
pub struct App {
    /// Each route's component, by its name
    routes: BTreeMap<String, String>,
    servers: BTreeMap<String, Server>,
    spin: Spin,
    log: MemoryOutputPipe,
}

impl App {
    /// Serve the application whose manifest this is, with values of its variables as `spin up --variable` gives them.
    ///
    /// # Errors
    /// What is wrong with the manifest or the values, or a component that is missing or imports what Spin does not have.
    pub async fn start(manifest: &str, values: &[(&str, &str)], reuse: Reuse) -> Result<Self> {
        let manifest: Manifest = toml::from_str(manifest)?;
        let values = manifest.values(values)?;
        let (spin, log) = (Spin::default(), MemoryOutputPipe::new(LOG_BYTES));
        let (mut routes, mut servers) = (BTreeMap::new(), BTreeMap::new());
        for Trigger { route, component: name } in &manifest.trigger.http {
            let granted = manifest.component.get(name).with_context(|| format!("there is no {name}"))?;
            let lent = granted.lend(&spin, &values, &log).with_context(|| name.clone())?;
            let component = compiled(name)?;
            let server = Server::start(&linker()?, &component, reuse, move || lent.state()).await?;
            servers.insert(route.clone(), server);
            routes.insert(route.clone(), name.clone());
        }
        Ok(Self { routes, servers, spin, log })
    }

    /// The routes, each with the name of its component.
    pub fn routes(&self) -> impl Iterator<Item = (&String, &String)> {
        self.routes.iter()
    }

    /// Where a route is served, if it is one of the manifest's.
    pub fn server(&self, route: &str) -> Option<&Server> {
        self.servers.get(route)
    }

    /// What is in a key-value store.
    pub fn entries(&self, label: &str) -> BTreeMap<String, Vec<u8>> {
        self.spin.entries(label)
    }

    /// What its components have printed.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&self.log.contents()).into_owned()
    }
}

/// What of a manifest says how an application runs
#[derive(Deserialize)]
struct Manifest {
    variables: BTreeMap<String, Variable>,
    trigger: Triggers,
    component: BTreeMap<String, Granted>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Variable {
    default: Option<String>,
    #[serde(default)]
    required: bool,
    #[serde(default, rename = "secret")]
    _secret: bool,
}

#[derive(Deserialize)]
struct Triggers {
    http: Vec<Trigger>,
}

#[derive(Deserialize)]
struct Trigger {
    route: String,
    component: String,
}

#[derive(Deserialize)]
struct Granted {
    #[serde(default)]
    allowed_outbound_hosts: Vec<String>,
    #[serde(default)]
    key_value_stores: Vec<String>,
    #[serde(default)]
    variables: BTreeMap<String, String>,
    #[serde(default)]
    environment: BTreeMap<String, String>,
}

type Values = BTreeMap<String, String>;

impl Manifest {
    fn values(&self, given: &[(&str, &str)]) -> Result<Values> {
        for (name, _) in given {
            ensure!(self.variables.contains_key(*name), "the manifest has no variable {name}");
        }
        let value = |(name, variable): (&String, &Variable)| {
            ensure!(variable.required != variable.default.is_some(), "{name} is required, or has a default");
            let given = given.iter().find(|(given, _)| given == name).map(|(_, value)| (*value).to_owned());
            let value = given.or_else(|| variable.default.clone());
            Ok((name.clone(), value.with_context(|| format!("the variable {name} needs a value"))?))
        };
        self.variables.iter().map(value).collect()
    }
}

impl Granted {
    fn lend(&self, app: &Spin, values: &Values, log: &MemoryOutputPipe) -> Result<Lent> {
        let spin = self.key_value_stores.iter().fold(app.beside(), |spin, label| spin.with_store(label));
        let variables = self.variables.iter();
        let spin = variables
            .map(|(name, text)| Ok((name, expand(text, values)?)))
            .try_fold(spin, |spin, variable: Result<_>| {
                variable.map(|(name, value)| spin.with_variable(name, &value))
            })?;
        let hosts = self.allowed_outbound_hosts.iter().map(|host| expand(host, values));
        let egress = Egress::to(hosts.collect::<Result<Vec<_>>>()?)?;
        Ok(Lent { spin, egress, environment: self.environment.clone(), log: log.clone() })
    }
}

/// A text of the manifest with the values of the variables that it names.
fn expand(text: &str, values: &Values) -> Result<String> {
    let Some((before, rest)) = text.split_once("{{") else { return Ok(text.to_owned()) };
    let (name, after) = rest.split_once("}}").context("a `{{` without its `}}`")?;
    let value = values.get(name.trim()).with_context(|| format!("there is no variable {name}"))?;
    Ok(format!("{before}{value}{}", expand(after, values)?))
}

/// What each instance of a component gets.
struct Lent {
    spin: Spin,
    egress: Egress,
    environment: BTreeMap<String, String>,
    log: MemoryOutputPipe,
}

impl Lent {
    fn state(&self) -> State {
        let mut wasi = WasiCtx::builder();
        wasi.stdout(self.log.clone()).stderr(self.log.clone());
        self.environment.iter().for_each(|(name, value)| _ = wasi.env(name, value));
        State::new(wasi.build(), self.egress.clone(), self.spin.clone())
    }
}

type State = wasi::State<Spin, Egress>;

fn linker() -> Result<Linker<State>> {
    let mut linker = wasi::linker(&ENGINE)?;
    super::add_to_linker(&mut linker, |state: &mut State| (state.data.clone(), &mut state.table))?;
    Ok(linker)
}

/// A component that was built, compiled once.
fn compiled(name: &str) -> Result<Component> {
    let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(component) = compiled.get(name) {
        return Ok(component.clone());
    }
    let component = Component::from_file(&ENGINE, artefact(&format!("spin-{name}.wasm"))?)?;
    compiled.insert(name.to_owned(), component.clone());
    Ok(component)
}

static ENGINE: LazyLock<Engine> = LazyLock::new(|| {
    #[allow(clippy::expect_used, reason = "the same for all tests, and there is nobody to tell")]
    Engine::new(&engine_config()).expect("the engine's options fit together")
});
static COMPILED: Mutex<BTreeMap<String, Component>> = Mutex::new(BTreeMap::new());
const LOG_BYTES: usize = 1 << 20;
