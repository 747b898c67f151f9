//! The state of a component's store: WASI, its HTTP, and the data of the host.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use tokio::time::Instant;
use wasmtime::component::{Linker, ResourceTable};
use wasmtime::{Engine, ResourceLimiter};
use wasmtime_wasi::{HostMonotonicClock, HostWallClock, WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{Error, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView};

/// The state of a store, with the data of the host and the hooks that send its requests
pub struct State<D = (), H = DefaultHooks> {
    /// The data of the host
    pub data: D,
    /// The hooks of its HTTP
    pub hooks: H,
    /// Its resources
    pub table: ResourceTable,
    /// Its WASI
    pub wasi: WasiCtx,
    http: WasiHttpCtx,
}

/// Requests are sent as wasmtime sends them
#[derive(Clone, Copy, Debug, Default)]
pub struct DefaultHooks;

impl<D, H> State<D, H> {
    /// A state without resources
    pub fn new(wasi: WasiCtx, hooks: H, data: D) -> Self {
        Self { data, hooks, table: ResourceTable::new(), wasi, http: WasiHttpCtx::new() }
    }
}

impl<D: Send, H: WasiHttpHooks> WasiView for State<D, H> {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl<D: Send, H: WasiHttpHooks> WasiHttpView for State<D, H> {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.hooks }
    }
}

impl WasiHttpHooks for DefaultHooks {}

/// The result of a hook that sends a request
pub type Sent = Result<(http::Response<WasiBody>, Io), Error>;
/// The input and output of an exchange, until its end
pub type Io = Box<dyn Future<Output = Result<(), Error>> + Send>;

/// An answer from memory, with nothing left to send
///
/// # Errors
/// Never; the type is that of the hooks.
pub fn answered(response: http::Response<WasiBody>) -> Sent {
    Ok((response, Box::new(async { Ok(()) })))
}

/// A body from memory
pub fn text(text: impl Into<Bytes>) -> WasiBody {
    Full::new(text.into()).map_err(|never| match never {}).boxed_unsync()
}

/// The time since a moment, by the clock of tokio, which a test pauses
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
    now: Duration,
}

impl Clock {
    /// Now is this time, in Unix seconds
    pub fn at(seconds: u64) -> Self {
        Self { start: Instant::now(), now: Duration::from_secs(seconds) }
    }

    /// The time since the Unix epoch
    pub fn since_epoch(&self) -> Duration {
        self.now + self.start.elapsed()
    }

    /// The time since this clock was made
    pub fn since_start(&self) -> Duration {
        self.start.elapsed()
    }
}

impl HostWallClock for Clock {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(1)
    }

    fn now(&self) -> Duration {
        self.since_epoch()
    }
}

impl HostMonotonicClock for Clock {
    fn resolution(&self) -> u64 {
        1
    }

    fn now(&self) -> u64 {
        u64::try_from(self.since_start().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// The linear memory of all components in a store, in bytes
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory(pub usize);

impl ResourceLimiter for Memory {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        self.0 += desired.saturating_sub(current);
        Ok(true)
    }

    fn table_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(true)
    }
}

/// A linker with WASI 0.2 and 0.3, and the HTTP of 0.3
///
/// # Errors
/// When wasmtime defines a name twice.
pub fn linker<D, H>(engine: &Engine) -> wasmtime::Result<Linker<State<D, H>>>
where
    D: Send + 'static,
    H: WasiHttpHooks + 'static,
{
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi::p3::add_to_linker(&mut linker)?;
    wasmtime_wasi_http::p3::add_to_linker(&mut linker)?;
    Ok(linker)
}
