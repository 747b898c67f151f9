//! `token-broker run`

use std::path::Path;
use std::process::ExitCode;

use token_broker_host::{Egress, Error, Policy, engine_config};
use wasmtime::component::{Component, InstancePre, Linker, ResourceTable};
use wasmtime::{Engine, Store};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView, p2, p3};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::args::Run;
use crate::failure::Failed;
use crate::prepare::{self, ROOTS};

/// Run a component to its end, with credentials from a broker that is outside of it.
pub(crate) async fn run(args: &Run) -> Result<ExitCode, Failed> {
    let policy = Policy::new(Some(&args.scope.join(" ")), None).map_err(of_arguments)?;
    let state = State::new(args)?;
    let engine = Engine::new(&engine_config())?;
    let component = component(&engine, &args.component)?;
    let mut linker = Linker::new(&engine);
    p2::add_to_linker_async(&mut linker)?;
    p3::add_to_linker(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p3::add_to_linker(&mut linker)?;
    let broker = prepare::shared_broker(prepare::environment("error")).await?;
    broker.add_to_linker(&mut linker, policy)?;
    let ended = run_to_its_end(Store::new(&engine, state), linker.instantiate_pre(&component)?).await?;
    // What went wrong, the component has said itself.
    Ok(if ended.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The policy's list is the arguments', not the variable's.
fn of_arguments(error: Error) -> Error {
    match error {
        Error::Misconfigured(why) => {
            Error::InvalidRequest(why.replace("TOKEN_BROKER_ALLOWED_SCOPES", "--scope"))
        }
        other => other,
    }
}

fn component(engine: &Engine, file: &Path) -> Result<Component, Failed> {
    Component::from_file(engine, file)
        .map_err(|error| Error::InvalidRequest(format!("{} cannot be run: {error:#}", file.display())).into())
}

/// As the version of WASI that it is made for wants it.
async fn run_to_its_end(
    mut store: Store<State>,
    component: InstancePre<State>,
) -> wasmtime::Result<Result<(), ()>> {
    if let Ok(command) = p3::bindings::CommandPre::new(component.clone()) {
        let command = command.instantiate_async(&mut store).await?;
        return store.run_concurrent(async |store| command.wasi_cli_run().call_run(store).await).await?;
    }
    let command = p2::bindings::CommandPre::new(component)?.instantiate_async(&mut store).await?;
    command.wasi_cli_run().call_run(&mut store).await
}

/// What the component is lent.
struct State {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    egress: Egress,
    table: ResourceTable,
}

impl State {
    fn new(args: &Run) -> Result<Self, Failed> {
        let mut wasi = WasiCtxBuilder::new();
        wasi.inherit_stdio().arg(args.component.to_string_lossy()).args(&args.arguments);
        for variable in &args.env {
            let (name, value) = match variable.split_once('=') {
                Some((name, value)) => (name, value.to_owned()),
                None => (variable.as_str(), std::env::var(variable).unwrap_or_default()),
            };
            wasi.env(name, value);
        }
        let egress = match std::env::var_os(ROOTS).filter(|file| !file.is_empty()) {
            Some(file) => Egress::to_and_trusting(&args.allow, file),
            None => Egress::to(&args.allow),
        };
        let egress = egress.map_err(|error| match error.is::<Error>() {
            true => prepare::named(error),
            false => Error::InvalidRequest(format!("--allow: {error:#}")).into(),
        })?;
        Ok(Self { wasi: wasi.build(), http: WasiHttpCtx::new(), egress, table: ResourceTable::new() })
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.egress }
    }
}
