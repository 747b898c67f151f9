//! One instance for each request, in a store of its own.

use std::time::Duration;

use token_broker_host::Egress;
use wasmtime::component::{InstancePre, ResourceTable};
use wasmtime::{Result, Store, StoreLimits, StoreLimitsBuilder};
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;
use wasmtime_wasi::p3::bindings::CommandPre;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

/// The component, ready to be instantiated.
pub(crate) struct App {
    command: CommandPre<State>,
    vault: String,
    egress: Egress,
}

/// What an instance printed: on stdout when it did its work, else on stderr.
pub(crate) type Printed = Result<String, String>;

impl App {
    /// `vault`: what instances read, and all that they reach.
    pub(crate) fn new(component: InstancePre<State>, vault: String) -> Result<Self> {
        let egress = Egress::to([&vault])?;
        Ok(Self { command: CommandPre::new(component)?, vault, egress })
    }

    /// Run an instance to its end and drop it. The token that it used stays with the broker.
    ///
    /// # Errors
    /// The component trapped, or took too long.
    pub(crate) async fn run(&self) -> Result<Printed> {
        let (stdout, stderr) = (MemoryOutputPipe::new(MAX_OUTPUT), MemoryOutputPipe::new(MAX_OUTPUT));
        let mut store = Store::new(self.command.engine(), self.state(stdout.clone(), stderr.clone()));
        store.limiter(|state| &mut state.limits);
        let command = self.command.instantiate_async(&mut store).await?;
        let running = store.run_concurrent(async |accessor| command.wasi_cli_run().call_run(accessor).await);
        let done = tokio::time::timeout(LONGEST, running).await???;
        Ok(done.map(|()| text(&stdout)).map_err(|()| text(&stderr)))
    }

    fn state(&self, stdout: MemoryOutputPipe, stderr: MemoryOutputPipe) -> State {
        State {
            wasi: WasiCtx::builder().env("KEY_VAULT_URL", &self.vault).stdout(stdout).stderr(stderr).build(),
            http: WasiHttpCtx::new(),
            egress: self.egress.clone(),
            table: ResourceTable::new(),
            limits: StoreLimitsBuilder::new().memory_size(MAX_MEMORY).build(),
        }
    }
}

/// What the store of an instance holds.
pub(crate) struct State {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    egress: Egress,
    table: ResourceTable,
    limits: StoreLimits,
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

fn text(pipe: &MemoryOutputPipe) -> String {
    String::from_utf8_lossy(&pipe.contents()).into_owned()
}

/// More than the broker's own budget for a call, so that its error arrives first.
const LONGEST: Duration = Duration::from_secs(120);
const MAX_OUTPUT: usize = 64 * 1024;
const MAX_MEMORY: usize = 64 * 1024 * 1024;
