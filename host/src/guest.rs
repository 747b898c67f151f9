//! A broker instance's store: what the host lends to the guest, and how a fresh one is made.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use rand_core::TryRng;
use wasmtime::component::{Component, InstancePre, Linker, ResourceTable};
use wasmtime::{Engine, Result, Store as WasmStore};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::clock::{Clock, GuestClock};
use crate::environment::Environment;
use crate::http::{Hooks, HttpPolicy};
use crate::imports::{self, Settings};
use crate::limits::Limits;
use crate::log::Log;
use crate::store::Store;
use crate::wasi;

/// What the store of a broker instance holds.
pub(crate) struct State {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    hooks: Hooks,
    table: ResourceTable,
    pub(crate) limits: Limits,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) settings: Option<Arc<dyn Settings>>,
}

/// Everything that a broker instance is lent.
pub(crate) struct Lent {
    pub(crate) environment: Environment,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Option<Random>,
    pub(crate) http: Arc<dyn HttpPolicy>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) settings: Option<Arc<dyn Settings>>,
    pub(crate) log: Log,
    pub(crate) max_memory: usize,
}

/// Makes broker instances that are all lent the same.
pub(crate) struct Template {
    pub(crate) lent: Lent,
    pre: InstancePre<State>,
}

impl Template {
    pub(crate) fn new(engine: &Engine, component: &Component, lent: Lent) -> Result<Self> {
        let mut linker = Linker::new(engine);
        wasi::add_to_linker(&mut linker)?;
        imports::add_to_linker(&mut linker)?;
        Ok(Self { lent, pre: linker.instantiate_pre(component)? })
    }

    /// A fresh instance in a store of its own.
    pub(crate) async fn instantiate(&self) -> Result<(WasmStore<State>, wasmtime::component::Instance)> {
        let mut store = WasmStore::new(self.pre.engine(), self.lent.state()?);
        store.limiter(|state| &mut state.limits);
        let instance = self.pre.instantiate_async(&mut store).await?;
        Ok((store, instance))
    }
}

impl Lent {
    fn state(&self) -> Result<State> {
        let mut wasi = WasiCtxBuilder::new();
        wasi.stderr(self.log.clone());
        wasi.wall_clock(GuestClock(Arc::clone(&self.clock)));
        wasi.monotonic_clock(GuestClock(Arc::clone(&self.clock)));
        if let Some(random) = &self.random {
            wasi.secure_random(random.clone());
            wasi.insecure_random(random.clone());
        }
        self.environment.lend(&mut wasi)?;
        Ok(State {
            wasi: wasi.build(),
            http: WasiHttpCtx::new(),
            hooks: Hooks { policy: Arc::clone(&self.http), log: self.log.clone() },
            table: ResourceTable::new(),
            limits: Limits::new(self.max_memory),
            store: Arc::clone(&self.store),
            settings: self.settings.clone(),
        })
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.hooks }
    }
}

/// A source of random bytes that every instance draws from.
#[derive(Clone)]
pub(crate) struct Random(Arc<Mutex<Fill>>);

type Fill = dyn FnMut(&mut [u8]) + Send;

impl Random {
    pub(crate) fn new(fill: impl FnMut(&mut [u8]) + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(fill)))
    }

    fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }

    fn fill(&self, bytes: &mut [u8]) {
        (self.0.lock().unwrap_or_else(PoisonError::into_inner))(bytes);
    }
}

impl TryRng for Random {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(u32::from_le_bytes(self.bytes()))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(u64::from_le_bytes(self.bytes()))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.fill(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use wasmtime_wasi::cli::WasiCliView as _;
    use wasmtime_wasi::filesystem::WasiFilesystemView as _;
    use wasmtime_wasi::p2::bindings::cli::environment::Host as _;
    use wasmtime_wasi::p2::bindings::filesystem::preopens::Host as _;
    use wasmtime_wasi::p2::bindings::filesystem::types::{Descriptor, DescriptorFlags, HostDescriptor as _};
    use wasmtime_wasi::p2::bindings::filesystem::types::{OpenFlags, PathFlags};

    use super::*;
    use crate::clock::SystemClock;
    use crate::environment::lend_directory;
    use crate::http::LocalOrHttps;
    use crate::store::NoStore;

    fn lent(environment: Environment) -> Lent {
        Lent {
            environment,
            clock: Arc::new(SystemClock::default()),
            random: None,
            http: Arc::new(LocalOrHttps),
            store: Arc::new(NoStore),
            settings: None,
            log: Log::stderr(),
            max_memory: 0,
        }
    }

    fn directories(state: &mut State) -> Vec<(wasmtime::component::Resource<Descriptor>, String)> {
        state.filesystem().get_directories().unwrap()
    }

    #[test]
    fn a_guest_sees_the_documented_variables_and_no_others() {
        let pairs = [("AZURE_CLIENT_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b"), ("HOME", "/root")];
        let mut state = lent(Environment::from_iter(pairs)).state().unwrap();
        assert_eq!(state.cli().get_environment().unwrap(), [("AZURE_CLIENT_ID".to_owned(), "a".to_owned())]);
        assert!(state.cli().get_arguments().unwrap().is_empty());
    }

    #[test]
    fn a_guest_sees_no_directory_that_no_variable_names() {
        let mut state = lent(Environment::inherit()).state().unwrap();
        let names: Vec<_> = directories(&mut state).into_iter().map(|(_, name)| name).collect();
        assert!(names.iter().all(|name| name.contains("azcmagent")), "{names:?}");
    }

    #[tokio::test]
    async fn a_directory_is_lent_for_reading_and_nothing_around_it() {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join("tokens");
        std::fs::create_dir(&directory).unwrap();
        std::fs::write(directory.join("token"), "t").unwrap();
        std::fs::write(home.path().join("beside"), "b").unwrap();
        let mut wasi = WasiCtxBuilder::new();
        lend_directory(&mut wasi, &directory).unwrap();
        let mut state = State { wasi: wasi.build(), ..lent(Environment::default()).state().unwrap() };
        let [(lent, name)] = directories(&mut state).try_into().unwrap();
        assert_eq!(name, directory.to_str().unwrap());

        let mut open = async |path: &str, opening, flags| {
            let lent = wasmtime::component::Resource::new_borrow(lent.rep());
            state
                .filesystem()
                .open_at(lent, PathFlags::SYMLINK_FOLLOW, path.to_owned(), opening, flags)
                .await
                .is_ok()
        };
        assert!(open("token", OpenFlags::empty(), DescriptorFlags::READ).await);
        assert!(!open("token", OpenFlags::empty(), DescriptorFlags::WRITE).await);
        assert!(!open("new", OpenFlags::CREATE, DescriptorFlags::READ).await);
        assert!(!open("../beside", OpenFlags::empty(), DescriptorFlags::READ).await);
    }
}
