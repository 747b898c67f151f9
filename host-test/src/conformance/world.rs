//! The world of a component: environment, files, a clock, a random source of zeros, and its log.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;

use anyhow::Result;
use rand_core::TryRng;
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxBuilder};

use super::case::Case;
use super::content::Text;
use super::files::Files;
use super::script::{Hooks, Script};
use super::store::MemoryStore;
use crate::wasi::{self, Clock};

/// Values and their versions, by key.
pub(crate) type SharedData = Rc<RefCell<BTreeMap<Vec<u8>, (Vec<u8>, u32)>>>;

/// Everything that survives a restart of the component.
pub(crate) struct World {
    pub(crate) clock: Clock,
    pub(crate) files: Arc<Files>,
    pub(crate) env: BTreeMap<String, Text>,
    log: MemoryOutputPipe,
    pub(crate) script: Arc<Script>,
    /// The data that the VMs of a proxy share.
    pub(crate) shared: SharedData,
    /// The store and the settings, in cases that have them.
    pub(crate) store: Option<Arc<MemoryStore>>,
}

impl World {
    pub(crate) fn of(case: &Case) -> Result<Self> {
        Ok(Self {
            clock: Clock::at(case.now),
            files: Arc::new(Files::new(&case.files)?),
            env: case.env.clone(),
            log: MemoryOutputPipe::new(MAX_LOG),
            script: Arc::default(),
            shared: SharedData::default(),
            store: case.store.then(|| Arc::new(MemoryStore::with(&case.settings))),
        })
    }

    /// The log so far.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&self.log.contents()).into_owned()
    }

    /// The WASI context with the current environment.
    pub(crate) fn wasi(&self) -> Result<WasiCtx> {
        let mut wasi = WasiCtxBuilder::new();
        for (name, value) in &self.env {
            wasi.env(name, &value.0);
        }
        wasi.stdout(self.log.clone()).stderr(self.log.clone());
        wasi.wall_clock(self.clock).monotonic_clock(self.clock);
        wasi.secure_random(Zeros).insecure_random(Zeros).insecure_random_seed(0);
        // A thread that reads a file would stop the virtual clock.
        wasi.allow_blocking_current_thread(true);
        wasi.preopened_dir(self.files.root(), "/", FsPerms::ReadOnly).map_err(anyhow::Error::from)?;
        Ok(wasi.build())
    }

    pub(crate) fn state(&self) -> Result<State> {
        let hooks = Hooks { script: Arc::clone(&self.script), files: Arc::clone(&self.files) };
        Ok(State::new(self.wasi()?, hooks, self.store.clone().unwrap_or_default()))
    }
}

/// The state of the wasmtime store that the component runs in.
pub(crate) type State = wasi::State<Arc<MemoryStore>, Hooks>;

/// No jitter, and the same request ids every time.
struct Zeros;

impl TryRng for Zeros {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(0)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(0)
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        bytes.fill(0);
        Ok(())
    }
}

/// More than any case logs, in bytes. Writes beyond it fail.
const MAX_LOG: usize = 64 << 20;
