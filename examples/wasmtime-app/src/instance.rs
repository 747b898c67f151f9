//! One instance for each request, in a store of its own.

use std::time::Duration;

use token_broker_host::{ConsumerState, Egress};
use wasmtime::component::InstancePre;
use wasmtime::{Result, Store, StoreLimits, StoreLimitsBuilder};
use wasmtime_wasi::WasiCtx;
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;
use wasmtime_wasi::p3::bindings::CommandPre;

/// The component, ready to be instantiated.
pub(crate) struct App {
    command: CommandPre<State>,
    vault: String,
    egress: Egress,
}

/// The output of an instance: stdout if it succeeded, else stderr.
pub(crate) type Printed = Result<String, String>;

impl App {
    /// `vault`: the only service that instances reach.
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
        store.limiter(|state| &mut state.data);
        let command = self.command.instantiate_async(&mut store).await?;
        let running = store.run_concurrent(async |accessor| command.wasi_cli_run().call_run(accessor).await);
        let done = tokio::time::timeout(LONGEST, running).await???;
        Ok(done.map(|()| text(&stdout)).map_err(|()| text(&stderr)))
    }

    fn state(&self, stdout: MemoryOutputPipe, stderr: MemoryOutputPipe) -> State {
        let wasi = WasiCtx::builder().env("KEY_VAULT_URL", &self.vault).stdout(stdout).stderr(stderr).build();
        let limits = StoreLimitsBuilder::new().memory_size(MAX_MEMORY).build();
        ConsumerState::new(wasi, self.egress.clone(), limits)
    }
}

/// The store data of an instance.
pub(crate) type State = ConsumerState<StoreLimits>;

fn text(pipe: &MemoryOutputPipe) -> String {
    String::from_utf8_lossy(&pipe.contents()).into_owned()
}

/// More than the broker's own budget for a call, so that its error arrives first.
const LONGEST: Duration = Duration::from_secs(120);
const MAX_OUTPUT: usize = 64 * 1024;
const MAX_MEMORY: usize = 64 * 1024 * 1024;
