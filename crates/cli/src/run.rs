//! `token-broker run`

use std::env::VarError;
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use token_broker_host::{ConsumerState, Egress, Error, Policy, engine_config, flush_log, log_line};
use wasmtime::component::{Component, InstancePre, Linker};
use wasmtime::error::format_err;
use wasmtime::{Engine, ResourceLimiter, Store};
use wasmtime_wasi::{WasiCtxBuilder, p2, p3};

use crate::args::Run;
use crate::failure::Failed;
use crate::prepare::{self, Setup};
use crate::{FREE_RESOURCES, LAST_WORDS, wasm_file};

/// Run a component to its end, with credentials from a broker outside it.
pub(crate) async fn run(args: &Run, setup: &Setup) -> Result<ExitCode, Failed> {
    let policy = Policy::for_scopes("--scope", &args.scope.join(" ")).map_err(of_arguments)?;
    let state = state(args, setup)?;
    let engine = Engine::new(&engine_config())?;
    let component = async { component(&engine, &args.component) };
    let component = setup.while_showing("compiling the component", component).await?;
    let mut linker = Linker::new(&engine);
    p2::add_to_linker_async(&mut linker)?;
    p3::add_to_linker(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p3::add_to_linker(&mut linker)?;
    let broker = setup.shared_broker().await?;
    broker.add_to_linker(&mut linker, policy)?;
    let mut store = Store::new(&engine, state);
    store.limiter(|state| &mut state.data);
    end_after(Duration::from_secs(args.timeout))?;
    let component = linker.instantiate_pre(&component).map_err(|error| {
        Failed::other(
            format_args!("the component imports what this command does not have: {error:#}"),
            "build it for WASI 0.3 or 0.2 and token-broker:identity/credentials@0.1.0",
        )
    })?;
    let ended = run_to_its_end(&mut store, component).await;
    let ended = ended.map_err(|trap| match store.data().data.was_refused {
        true => Failed::other(
            format_args!("the component needs more memory than {} MiB", args.max_memory),
            "give it more with --max-memory",
        ),
        false => of_component(&trap),
    })?;
    // The component itself reports its error.
    Ok(if ended.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The error of a component that did not run to its end. An error of the host has a fix.
fn of_component(error: &wasmtime::Error) -> Failed {
    let what = format!("the component failed: {error:#}");
    match what.contains("; fix: ") {
        true => Error::Other(what).into(),
        false => Failed::other(what, "report it to the author of the component"),
    }
}

/// The scopes of the policy are arguments of the command.
fn of_arguments(error: Error) -> Error {
    match error {
        Error::Misconfigured(why) => Error::InvalidRequest(why),
        other => other,
    }
}

fn component(engine: &Engine, file: &Path) -> Result<Component, Failed> {
    let bytes = wasm_file::read(file).map_err(Error::InvalidRequest)?;
    Component::new(engine, bytes).map_err(|error| {
        let what = format_args!("{} cannot be compiled: {error:#}", file.display());
        Error::invalid_request(what, "build the component for WASI 0.3 or 0.2").into()
    })
}

/// End this process after a time. A thread, not a timer of the runtime: the component may occupy the runtime's only
/// thread with a computation, or with output that nobody reads.
fn end_after(limit: Duration) -> Result<(), Failed> {
    let ended = move || {
        thread::sleep(limit);
        let seconds = limit.as_secs();
        let what = format_args!("the component did not end within {seconds} s");
        let failed = Failed::other(what, "give it more time with --timeout");
        log_line(&failed.to_string());
        flush_log(LAST_WORDS);
        std::process::exit(1);
    };
    let spawned = thread::Builder::new().spawn(ended);
    spawned.map(drop).map_err(|error| Failed::other(error, FREE_RESOURCES))
}

/// By WASI 0.3 or 0.2, as the component exports it.
async fn run_to_its_end(
    store: &mut Store<State>,
    component: InstancePre<State>,
) -> wasmtime::Result<Result<(), ()>> {
    if let Ok(command) = p3::bindings::CommandPre::new(component.clone()) {
        let command = command.instantiate_async(&mut *store).await?;
        return store.run_concurrent(async |store| command.wasi_cli_run().call_run(store).await).await?;
    }
    let command = p2::bindings::CommandPre::new(component);
    let command = command.map_err(|error| {
        format_err!("it exports no wasi:cli/run ({error:#}); fix: build a command, not a library")
    })?;
    let command = command.instantiate_async(&mut *store).await?;
    command.wasi_cli_run().call_run(store).await
}

/// The store data of the component.
type State = ConsumerState<Memory>;

/// The limit for all memories and tables of the component together.
struct Memory {
    bytes: usize,
    max_bytes: usize,
    was_refused: bool,
}

impl Memory {
    /// Growth beyond the component's own maximum is not counted: wasmtime refuses it afterwards.
    fn grow(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
        each: usize,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let bytes = self.bytes.saturating_add(desired.saturating_sub(current).saturating_mul(each));
        self.was_refused |= bytes > self.max_bytes;
        if bytes <= self.max_bytes {
            self.bytes = bytes;
        }
        Ok(bytes <= self.max_bytes)
    }
}

impl ResourceLimiter for Memory {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.grow(current, desired, maximum, 1)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.grow(current, desired, maximum, size_of::<usize>())
    }
}

fn state(args: &Run, setup: &Setup) -> Result<State, Failed> {
    let mut wasi = WasiCtxBuilder::new();
    wasi.inherit_stdio().arg(args.component.to_string_lossy()).args(&args.arguments);
    for variable in &args.env {
        match variable.split_once('=') {
            Some((name, value)) => wasi.env(name, value),
            None => wasi.env(variable, inherited(variable)?),
        };
    }
    let max_bytes = usize::try_from(args.max_memory).map_or(usize::MAX, |mib| mib.saturating_mul(MIB));
    let memory = Memory { bytes: 0, max_bytes, was_refused: false };
    Ok(ConsumerState::new(wasi.build(), egress(&args.allow, setup)?, memory))
}

fn egress(origins: &[String], setup: &Setup) -> Result<Egress, Failed> {
    let egress = Egress::to(origins).map_err(|error| Error::InvalidRequest(format!("--allow: {error:#}")))?;
    let egress = match prepare::trusted_roots()? {
        Some(roots) => egress.trusted_roots(roots)?,
        None => egress,
    };
    Ok(match setup.log_level() {
        Some("off") => egress.log(|_| {}),
        _ => egress,
    })
}

/// The value that a variable has for this process.
fn inherited(name: &str) -> Result<String, Failed> {
    std::env::var(name).map_err(|why| {
        let why = match why {
            VarError::NotPresent => "is not set here",
            VarError::NotUnicode(_) => "is not UTF-8",
        };
        let what = format_args!("--env {name}: the variable {name} {why}");
        Error::invalid_request(what, format_args!("set it, or use --env {name}=VALUE")).into()
    })
}

const MIB: usize = 1024 * 1024;
